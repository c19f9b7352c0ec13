"""From the words of a command line to a verb's dataclass: tyro underneath, its reports made one line.

tyro answers a mistake with a box of several lines. Here a mistake is a `UserError` like every other, so that the user
sees one line with what is wrong and what would be right. tyro's box is read for what it says (only tyro's public surface
is used); a box of an unknown form still becomes one line.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import io
import re
import typing
from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

import tyro
from tyro.conf import DisallowNone, FlagCreatePairsOff, Positional, PositionalMetavarFromFieldName

from unfreeze.errors import UserError
from unfreeze.text.display import did_you_mean

HELP = ("--help", "-h")


COMMON_HELP = """every verb:
  --help   its options and an example
  --json   results as one JSON object a line on standard output, nothing else there
  --quiet  no progress, only results and warnings
  --debug  more log lines, and the traceback of an error"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class CommonOptions:
    """What every verb understands, whatever its own options are (`COMMON_HELP` says what they mean)."""

    json: bool = False
    quiet: bool = False
    debug: bool = False


ArgumentsT = TypeVar("ArgumentsT")


def split_common_options(tokens: Sequence[str]) -> tuple[CommonOptions, list[str]]:
    """The options that every verb has, wherever they stand before a bare "--", and the other words."""
    spellings = {f"--{field.name}": field.name for field in dataclasses.fields(CommonOptions)}
    options = _before_separator(tokens)
    given = {spellings[token]: True for token in options if token in spellings}
    others = [token for token in options if token not in spellings]
    return CommonOptions(**given), [*others, *tokens[len(options) :]]


def parse(kind: type[ArgumentsT], tokens: Sequence[str], prog: str) -> ArgumentsT | None:
    """The verb's arguments from the words after it; None when they asked for help, which has then been printed.

    Args:
        kind: the verb's dataclass; its options are its own flat fields. Its docstring is the help, up to a line
            "Example:"; what follows is printed below the options.
        tokens: the words after the verb, without the common options.
        prog: how the user called the verb, "unfreeze fit classifier".

    Raises:
        UserError: an option is unknown or missing, or a value does not fit.
    """
    asks_for_help = any(token in HELP for token in _before_separator(tokens))
    if not asks_for_help:
        _check_option_names(kind, tokens, prog)
    description, example = split_docstring(kind)
    report = io.StringIO()
    try:
        with contextlib.redirect_stderr(report):
            return tyro.cli(
                _as_help_shows_it(kind) if asks_for_help else kind,
                prog=prog,
                description=description,
                args=tokens,
                config=(DisallowNone, PositionalMetavarFromFieldName),
            )
    except SystemExit as stop:
        if asks_for_help and not stop.code:
            print(f"\n{COMMON_HELP}\n\nexample:\n{example}")
            return None
        raise UserError(f"{one_line(report.getvalue())}; see {prog} --help") from None


def split_docstring(kind: type[object]) -> tuple[str, str]:
    """The description and the indented example in a verb's docstring."""
    text = inspect.getdoc(kind) or ""
    description, _, example = text.partition("\nExample:\n")
    return description.strip(), example.rstrip()


def _as_help_shows_it(kind: type[ArgumentsT]) -> type[ArgumentsT]:
    """The same dataclass, but its help does not say "(default: None)" where an option is simply absent.

    Options that the verb shares with others stand behind its own.
    """
    hints = typing.get_type_hints(kind, include_extras=True)
    absent = [field.name for field in dataclasses.fields(kind) if field.default in (None, ())]  # type: ignore[arg-type]
    silent = {name: Annotated[hints[name], tyro.conf.arg(help_behavior_hint="")] for name in absent}
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    order = sorted(fields, key=lambda name: _place_in_help(kind, fields[name]))
    body = {
        "__annotations__": silent,
        "__doc__": kind.__doc__,
        "__dataclass_fields__": {name: fields[name] for name in order},
    }
    return type(kind.__name__, (kind,), body)


def _place_in_help(kind: type[Any], field: dataclasses.Field[Any]) -> int:
    """0 for the verb's own options, more the farther away the class they come from; those that must be given are first."""
    place = next(n for n, base in enumerate(kind.__mro__) if field.name in inspect.get_annotations(base))
    required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    return -1 if required and place else place


def _before_separator(tokens: Sequence[str]) -> Sequence[str]:
    """The tokens before a bare "--", after which everything is a positional."""
    return tokens[: tokens.index("--")] if "--" in tokens else tokens


def _check_option_names(kind: type[Any], tokens: Sequence[str], prog: str) -> None:
    known = _option_names(kind)
    for token in _before_separator(tokens):
        name = token.split("=", 1)[0].replace("_", "-")
        if token.startswith("--") and name not in known:
            raise UserError(f"unknown option {name!r}{did_you_mean(name, known)} (see {prog} --help)")


def _option_names(kind: type[Any]) -> set[str]:
    """The options' spellings, "--seed"; yes-or-no options have a "--no-" form unless it was turned off."""
    hints: dict[str, Any] = typing.get_type_hints(kind, include_extras=True)
    positional, no_pair = _marker(Positional), _marker(FlagCreatePairsOff)
    names = {f"--{field.name}" for field in dataclasses.fields(CommonOptions)}
    for field in dataclasses.fields(kind):
        hint = hints[field.name]
        markers = getattr(hint, "__metadata__", ())
        if positional in markers:
            continue
        name = field.name.replace("_", "-")
        names.add(f"--{name}")
        if getattr(hint, "__origin__", hint) in (bool, bool | None) and no_pair not in markers:
            names.add(f"--no-{name}")
    return names


def _marker(annotation: Any) -> object:
    """The object that a tyro marker leaves in the metadata of an annotated type."""
    return typing.get_args(annotation[int])[1]


def one_line(report: str) -> str:
    """What tyro's boxed report says, as one line without its box, its colors and its hints at the help."""
    title, sections = _read_box(report)
    first = " ".join(row.strip() for row in sections[0]) if sections else report.strip()
    first = re.sub(r"'None', |, 'None'", "", first)  # of a choice that may be left out
    if title == "Required options":
        return "missing " + ", ".join(row.strip() for row in sections[0][1:] if _indent(row) == 4)
    if title == "Unrecognized options":
        return f"unexpected {first.partition(': ')[2]!r}"
    if title == "Value error":
        return _value_error(first, sections)
    return first.rstrip(".")


def _value_error(first: str, sections: list[list[str]]) -> str:
    message = re.sub(r"^Error parsing [^:]*: ", "", first)
    if (
        len(sections) < 3 or sections[1][0] != "Argument helptext:"
    ):  # the verb's own check, in its __post_init__
        return message
    name, _, kind = sections[1][1].strip().partition(" ")
    given = re.findall(r"'([^']*)'", message)
    return f"{name} takes {kind}, not {given[0]!r}" if given and kind else f"{name}: {message}"


def _read_box(report: str) -> tuple[str, list[list[str]]]:
    """The title and the sections (rows between rules) of a box that tyro drew, in Unicode or in ASCII."""
    head, *rows = re.sub(r"\x1b\[[0-9;]*m", "", report).splitlines() or [""]
    sections: list[list[str]] = [[]]
    for row in rows:
        inner = row[2:].rstrip(" │╯")
        if inner.strip("─-"):
            sections[-1].append(inner)
        elif inner:
            sections.append([])
    return head.strip("╭─╮ "), [section for section in sections if section]


def _indent(row: str) -> int:
    return len(row) - len(row.lstrip())
