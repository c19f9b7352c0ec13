"""From the words of a command line to a verb's dataclass, by tyro, with each mistake reported as one line.

A verb's dataclass holds its own options and, as fields, groups of options (`commands.options`) and the settings of the
recipe that it runs. All of them are flattened: `settings.training.policy.learning_rate` is `--learning-rate`. Two class
variables refine this: `hidden` names settings that are not options of this verb, and a field `given`, if there is one,
receives the values of the settings that were given on the command line, as opposed to those left at their defaults.

A check in `__post_init__` raises a UserError that names fields (`errors.setting`); `as_option` is the only place that
turns these names into options. What tyro itself finds wrong it only prints, in a box: its public interface has no other
way to learn it, so the box is read here (`one_line`). A box of an unknown form still becomes one line.
"""

from __future__ import annotations

import ast
import contextlib
import copy
import dataclasses
import inspect
import io
import re
import shutil
import sys
import textwrap
import typing
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, TypeVar

import tyro
from tyro.conf import (
    DisallowNone,
    FlagCreatePairsOff,
    OmitArgPrefixes,
    Positional,
    PositionalMetavarFromFieldName,
    Suppress,
)

from unfreeze import checked
from unfreeze.display import did_you_mean
from unfreeze.errors import UserError

HELP = ("--help", "-h")


COMMON_HELP = """every verb:
  --help   show its options and an example
  --json   print results as one JSON object per line, and nothing else on standard output
  --quiet  show no progress, only results and warnings
  --debug  show more log messages, and the traceback of an error"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class CommonOptions:
    """Options of every verb; `COMMON_HELP` describes them."""

    json: bool = False
    quiet: bool = False
    debug: bool = False


ArgumentsT = TypeVar("ArgumentsT")


def split_common_options(tokens: Sequence[str]) -> tuple[CommonOptions, list[str]]:
    """The options that every verb has, anywhere before a bare "--", and the other words."""
    names = {f"--{field.name}": field.name for field in dataclasses.fields(CommonOptions)}
    options = _before_separator(tokens)
    given = {names[token]: True for token in options if token in names}
    others = [token for token in options if token not in names]
    return CommonOptions(**given), [*others, *tokens[len(options) :]]


def parse(kind: type[ArgumentsT], tokens: Sequence[str], prog: str) -> ArgumentsT | None:
    """The verb's arguments from the words after it, or None if they asked for help, which has then been printed.

    Args:
        kind: the verb's dataclass. Its docstring is the help, up to a line "Example:"; what follows is printed below the
            options.
        tokens: the words after the verb, without the common options.
        prog: how the user called the verb, "unfreeze fit classifier".

    Raises:
        UserError: an option is unknown or missing, or a value does not fit.
    """
    options = _options(kind)
    asks_for_help = any(token in HELP for token in _before_separator(tokens))
    named = {} if asks_for_help else _named_options(options, tokens, prog)
    description, example = split_docstring(kind)
    report, help_text = io.StringIO(), _Captured()
    try:
        with contextlib.redirect_stderr(report), contextlib.redirect_stdout(help_text):
            arguments = tyro.cli(
                _as_help_shows_it(kind, getattr(kind, "hidden", ())) if asks_for_help else kind,
                prog=prog,
                description=" ",
                args=tokens,
                config=(DisallowNone, PositionalMetavarFromFieldName, OmitArgPrefixes),
            )
    except SystemExit as stop:
        if asks_for_help and not stop.code:
            # tyro would not wrap the description, which is between the usage and the first box.
            usage, _, boxes = help_text.getvalue().partition("\n\n")
            width = shutil.get_terminal_size().columns
            paragraphs = [textwrap.fill(" ".join(text.split()), width) for text in description.split("\n\n")]
            print("\n\n".join([usage, *paragraphs, boxes.strip("\n")]))
            print(f"\n{COMMON_HELP}\n\nexample:\n{example}")
            return None
        raise UserError(f"{_reason(stop) or one_line(report.getvalue())}; see {prog} --help") from None
    if hasattr(arguments, "given"):
        leaves = _leaves(typing.cast(Any, arguments).settings)
        arguments.given = {name: value for name, value in leaves if name in named.values()}
    return arguments


class _Captured(io.StringIO):
    """Captured output that tyro draws and colors as it would on standard output."""

    def __init__(self) -> None:
        super().__init__()
        self.real = sys.stdout

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """That of standard output: boxes need Unicode."""
        return self.real.encoding or "ascii"

    def isatty(self) -> bool:
        """Whether standard output is a terminal, which can show colors."""
        return self.real.isatty()


def as_option(name: str, value: str) -> str:
    """A setting, with the repr of its value or "", as the option that sets it: `--softmax full`, `--no-gradual`."""
    name = name.replace("_", "-")
    if value in ("True", "False"):
        return f"--{'no-' * (value == 'False')}{name}"
    return f"--{name} {value.strip(chr(39))}".rstrip()


def split_docstring(kind: type[object]) -> tuple[str, str]:
    """The description and the indented example in a verb's docstring."""
    text = inspect.getdoc(kind) or ""
    description, _, example = text.partition("\nExample:\n")
    return description.strip(), example.rstrip()


def _before_separator(tokens: Sequence[str]) -> Sequence[str]:
    """The tokens before a bare "--", after which everything is a positional."""
    return tokens[: tokens.index("--")] if "--" in tokens else tokens


def _options(kind: type[Any]) -> dict[str, str]:
    """The field of each option, "--seed" -> "seed"; yes-or-no options have a "--no-" form unless it was turned off."""
    hints: dict[str, Any] = typing.get_type_hints(kind, include_extras=True)
    positional, no_pair, suppress = map(_marker, (Positional, FlagCreatePairsOff, Suppress))
    options = {f"--{field.name}": field.name for field in dataclasses.fields(CommonOptions)}
    for field in dataclasses.fields(kind):
        hint, markers = hints[field.name], getattr(hints[field.name], "__metadata__", ())
        if positional in markers or suppress in markers or not field.init:
            continue
        if dataclasses.is_dataclass(hint):
            options |= _options(typing.cast(type[Any], hint))
            continue
        name = field.name.replace("_", "-")
        options[f"--{name}"] = field.name
        if getattr(hint, "__origin__", hint) in (bool, bool | None) and no_pair not in markers:
            options[f"--no-{name}"] = field.name
    hidden = getattr(kind, "hidden", ())
    return {option: name for option, name in options.items() if name not in hidden}


def _marker(annotation: Any) -> object:
    """The object that a tyro marker leaves in the metadata of an annotated type."""
    return typing.get_args(annotation[int])[1]


def _named_options(options: Mapping[str, str], tokens: Sequence[str], prog: str) -> dict[str, str]:
    """The options among the tokens and their fields; raises UserError for one that does not exist."""
    found = {}
    for token in _before_separator(tokens):
        if token.startswith("--"):
            option = token.split("=", 1)[0].replace("_", "-")
            if option not in options:
                raise UserError(
                    f"unknown option {option!r}{did_you_mean(option, options)} (see {prog} --help)"
                )
            found[option] = options[option]
    return found


def _leaves(settings: Any) -> Iterator[tuple[str, Any]]:
    """The fields of a dataclass and of those inside it, with their values."""
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if dataclasses.is_dataclass(value):
            yield from _leaves(value)
        else:
            yield field.name, value


def _as_help_shows_it(kind: type[Any], hidden: Collection[str], start: object = None) -> type[Any]:
    """A copy of a dataclass whose help leaves out `hidden` fields, and "(default: None)" where None means no choice.

    A verb's own options come before inherited ones, and required options before both.

    Args:
        start: an instance whose values are the defaults.
    """
    hints = typing.get_type_hints(kind, include_extras=True)
    bases = list(enumerate(kind.__mro__))
    place = {name: n for n, base in reversed(bases) for name in inspect.get_annotations(base)}
    if start is not None:  # settings come in their own order
        place = dict.fromkeys(place, 0)
    docs = {name: {"help": text} for name, text in _field_docs(kind).items()}
    shown: list[tuple[int, str, Any, Any]] = []
    for field in dataclasses.fields(kind):
        if not field.init:
            continue
        hint, value = hints[field.name], field.default
        if {str, Path} <= {*typing.get_args(hint)}:  # a name or a path is a word like any other
            hint = str | None if type(None) in typing.get_args(hint) else str
        if start is not None:
            value = getattr(start, field.name)
        elif field.default_factory is not dataclasses.MISSING:
            value = field.default_factory()
        if value is dataclasses.MISSING:
            # tyro shows "(default: )" for several positionals, although an empty list of them is a mistake.
            if typing.get_origin(getattr(hint, "__origin__", hint)) is tuple:
                hint = Annotated[hint, tyro.conf.arg(help_behavior_hint="(required)")]
            shown.append(
                (
                    -1 if place[field.name] else 0,
                    field.name,
                    hint,
                    dataclasses.field(metadata=docs.get(field.name)),
                )
            )
            continue
        make: Callable[[], Any] = partial(copy.copy, value)
        if dataclasses.is_dataclass(value):
            make = _as_help_shows_it(typing.cast(type[Any], hint), hidden, value)
            hint = Annotated[make, tyro.conf.arg(name="")]
        elif field.name in hidden:
            hint = Annotated[hint, _marker(Suppress)]
        elif value in (None, ()):
            hint = Annotated[hint, tyro.conf.arg(help_behavior_hint="")]
        own = dataclasses.field(default_factory=make, metadata=docs.get(field.name))
        shown.append((place[field.name], field.name, hint, own))
    shown.sort(key=lambda each: each[0])
    view: Any = dataclasses.make_dataclass(
        kind.__name__,
        [each[1:] for each in shown],
        bases=(kind,),
        namespace={"__doc__": kind.__doc__},
        kw_only=True,
        frozen=kind.__dataclass_params__.frozen,
    )
    # A subclass keeps the order of its base's fields, and the help shows them in that order.
    view.__dataclass_fields__ = {name: view.__dataclass_fields__[name] for _, name, *_ in shown}
    return typing.cast(type[Any], view)


def _field_docs(kind: type[Any]) -> dict[str, str]:
    """The docstring under each field of a dataclass on one line; tyro would keep the line breaks of the source."""
    docs = {}
    for base in filter(dataclasses.is_dataclass, reversed(kind.__mro__)):
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        for field, doc in pairwise(typing.cast(ast.ClassDef, tree).body):
            if (
                isinstance(field, ast.AnnAssign)
                and isinstance(doc, ast.Expr)
                and isinstance(doc.value, ast.Constant)
            ):
                docs[ast.unparse(field.target)] = " ".join(str(doc.value.value).split())
    return docs


def _reason(stop: BaseException) -> str:
    """The message of the `UserError` that made tyro stop, with the names of settings still marked; "" if there was none."""
    error = stop.__context__
    while error is not None and not isinstance(error, UserError):
        error = error.__context__
    return "" if error is None else str(error.args[0])


def one_line(report: str) -> str:
    """tyro's report without its box, its colors and its hints at the help, as one line."""
    head, *rows = re.sub(r"\x1b\[[0-9;]*m", "", report).splitlines() or [""]
    sections: list[list[str]] = [[]]  # rows between rules, which are of "-" on terminals without Unicode
    for row in (row[2:].rstrip(" │╯") for row in rows):
        if row.strip("─- "):
            sections[-1].append(row)
        elif row:
            sections.append([])
    sections = [section for section in sections if section]
    message = " ".join(row.strip() for row in sections[0]) if sections else report.strip()
    if head.strip("╭─╮ ") == "Required options":  # names are indented by four, their help by more
        return "missing " + ", ".join(row.strip() for row in sections[0][1:] if re.match(r" {4}\S", row))
    if wrong := re.match(r"Error parsing (\S+): .*?'([^']*)'", message):
        named = next(
            (row.split(maxsplit=1) for row in sum(sections[1:], []) if row.split()[0] == wrong[1]), []
        )
        if len(named) == 2:
            values = re.sub(r"\{([^}]*)\}\|", lambda found: found[1].replace(",", ", ") + " or ", named[1])
            return f"{wrong[1]} takes {values}, not {checked.shown(wrong[2])}"
    if wrong := re.match(r"invalid choice (.*) for argument '(\S+)'. Expected one of \((.*)\)", message):
        found = re.findall(r"'([^']*)'", wrong[3])
        if "None" in found:  # an optional choice, whose values tyro lists in the order of a set
            found = sorted(name for name in found if name != "None")
        return f"{wrong[2]} takes {', '.join(found[:-1])} or {found[-1]}, not {wrong[1]}"
    if wrong := re.match(r"Missing value for argument '(\S+)'", message):
        return f"{wrong[1]} needs a value"
    message = re.sub(r"^Error parsing [^:]*: |'None', |, 'None'", "", message)
    message = re.sub(r"^Unrecognized options: (.*)", r"unexpected '\1'", message)
    return message.rstrip(".")
