"""Validation of files and options: JSON, and values against the types of a dataclass.

Files from elsewhere may contain anything. Any error becomes a `UserError` that names the place, and nothing is converted
silently: true is not a number, 2.5 is not an integer, and a number is not a list of strings.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from inspect import isabstract, isclass, signature
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from unfreeze.errors import UserError, setting

LONGEST_SHOWN = 40
"""Maximum number of characters of a wrong value in a message."""

_SEVERAL: dict[object, str] = {int: "whole numbers", float: "numbers", str: "strings"}
LARGEST = sys.float_info.max
LARGEST_NUMBER, MAX_WORKERS = 2**31 - 1, 1024
"""Of settings that are whole numbers; of workers, each of which is a thread."""

_NAMES: dict[object, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a string",
    NoneType: "null",
    list: "a list",
    dict: "an object",
    Path: "a path",
}


class NotJson(ValueError):
    """Text is not valid JSON. `line` and `column` give the position, from 1 (0 if unknown)."""

    def __init__(self, reason: str, line: int = 0, column: int = 0) -> None:
        super().__init__(reason)
        self.line, self.column = line, column


def read_json(text: str | bytes) -> Any:
    """`json.loads` that raises only `NotJson`."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise NotJson(f"not JSON: {error.msg}", error.lineno, error.colno) from None
    except RecursionError:
        raise NotJson("lists or objects are nested too deeply to be read") from None
    except UnicodeDecodeError as error:
        raise NotJson(f"not JSON: not UTF-8 at byte offset {error.start}") from None
    except ValueError:  # Python's limit
        raise NotJson(f"a number has more than {sys.get_int_max_str_digits():,} digits") from None


def parse_json(text: str | bytes, place: str | Path, advice: str, *, line: int | None = None) -> Any:
    """Parse JSON.

    Args:
        place: the file, for messages.
        advice: what would be right, for messages.
        line: number of the line in the file, from 1, if the text is a single line.

    Raises:
        UserError: the text is not JSON, is nested too deeply, or contains a number of thousands of digits.
    """
    try:
        return read_json(text)
    except NotJson as error:
        row = line or error.line
        where = f"{place}:{row}" if row else str(place)
        column = f":{error.column}" if error.column else ""
        raise UserError(f"{where}{column}: {error}; {advice}") from None


def read_json_file(path: Path, advice: str = "the file is damaged") -> Any:
    """Parse a JSON file.

    Raises:
        UserError: as for a text, or the file is missing or cannot be read.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path} is missing: the saved model is incomplete") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from None
    return parse_json(data, path, advice)


def need_setting_types(settings: object) -> None:
    """Raise UserError for a field of a settings dataclass that has a value of another type.

    Scalars of NumPy, which grids and random searches draw, are numbers as well. Choices (`Literal`) are left to the checks
    of the dataclass, whose messages list them.
    """
    form = next(each for each in type(settings).__mro__ if "__dataclass_fields__" in vars(each))
    for name, hint in _setting_hints(form).items():
        value = plain(getattr(settings, name))
        accepted = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
        if any(get_origin(each) is Literal for each in accepted) or _fits(value, hint):
            continue
        text = repr(value)
        found = text if len(text) <= LONGEST_SHOWN and "\n" not in text else f"of type {type(value).__name__}"
        wanted = " or ".join(_described(each) for each in accepted if each is not NoneType)
        raise UserError(f"{setting(name)} must be {wanted}, not {found}")


@cache
def _setting_hints(form: type) -> dict[str, object]:
    hints = get_type_hints(form)
    return {field.name: hints[field.name] for field in fields(form)}


def plain(value: Any) -> Any:
    """A setting as JSON has it: a scalar of NumPy as Python's, a path as a string."""
    if isinstance(value, Path):
        return str(value)
    return value.item() if getattr(value, "shape", None) == () else value


def need_positive(settings: object, *names: str) -> None:
    """Raise UserError unless each field is None, or a finite number above 0 of reasonable size."""
    for name in names:
        value = getattr(settings, name)
        if value is not None and not 0 < value < math.inf:
            raise UserError(f"{setting(name)} must be above 0, not {shown(value)}")
        most = MAX_WORKERS if name == "workers" else LARGEST_NUMBER
        if isinstance(value, int) and value > most:
            raise UserError(f"{setting(name)} must be at most {most:,}, not {shown(value)}")


def need_not_negative(settings: object, *names: str) -> None:
    """Raise UserError for a number below 0 among these fields; None passes."""
    for name in names:
        value = getattr(settings, name)
        if value is not None and not value >= 0:  # also catches NaN
            raise UserError(f"{setting(name)} must be at least 0, not {value}")


def need_seed(seed: int) -> None:
    """Raise UserError for a seed that some random number generator does not accept."""
    if not 0 <= seed < 2**32:
        raise UserError(f"{setting('seed')} must be from 0 to {2**32 - 1}, not {shown(seed)}")


def whole_number(text: str) -> int | None:
    """Parse an integer; None if the text is not one, or has thousands of digits."""
    try:
        return int(text)
    except ValueError:
        return None


def need_call(make: Callable[..., object], place: object, /, *own: object, **arguments: object) -> None:
    """Check that the arguments of `make(*own, **arguments)` match its signature, with the right types.

    Raises:
        UserError: an argument is unknown, missing, or of another type.
    """
    try:
        signature(make).bind(*own, **arguments)
    except TypeError as error:
        raise UserError(
            f"{place} does not fit this version of unfreeze ({error}): upgrade with pip install -U unfreeze"
        ) from None
    hints = get_type_hints(make.__init__ if isclass(make) and not is_dataclass(make) else make)
    for name, value in arguments.items():
        if name in hints:
            _need_fit(value, hints[name], f"{place}: {name}")  # no object of JSON becomes a dataclass here


def need_concrete(kind: type) -> None:
    """Raise TypeError for an abstract class: `Encoder("name")` was meant to load a model."""
    if isabstract(kind):
        name = kind.__name__
        raise TypeError(f"{name} is abstract; {name}.from_pretrained(name_or_dir) loads a saved model")


def need_fields(values: Mapping[str, object], form: type, place: object, inside: str = "") -> None:
    """Check that a JSON object has the fields of the dataclass `form`, with the right types; other fields are allowed.

    Raises:
        UserError: a field without a default is missing, or one is of another type.
    """
    hints = get_type_hints(form)
    for field in fields(form):
        if field.name in values:
            need_type(values[field.name], hints[field.name], f"{place}: {inside}{field.name}")
        elif field.default is MISSING and field.default_factory is MISSING:
            raise UserError(f"{place} lacks {inside + field.name!r}: the file is damaged")


def need_type(value: object, hint: object, place: str) -> None:
    """Check a JSON value against a type.

    Raises:
        UserError: the value is of another type; the message begins with `place`.
    """
    part = next((each for each in (hint, *get_args(hint)) if isclass(each) and is_dataclass(each)), None)
    if part is not None and isinstance(value, dict):
        file, _, name = place.rpartition(": ")
        need_fields(value, part, file, f"{name}.")
    else:
        _need_fit(value, hint, place)


def _need_fit(value: object, hint: object, place: str) -> None:
    if not _fits(value, hint):
        raise UserError(f"{place} is {shown(value)}, not {_described(hint)}")


def shown(value: object) -> str:
    """Format a wrong value for a message, shortened if necessary."""
    if isinstance(value, (list, dict, bool, NoneType)):
        return _NAMES[type(value)] if isinstance(value, (list, dict)) else json.dumps(value)
    text = repr(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."


def _fits(value: Any, hint: Any) -> bool:
    origin, inner = get_origin(hint), get_args(hint)
    if hint is Any:
        return True
    if origin in (Union, UnionType):
        return any(_fits(value, each) for each in inner)
    if origin is Literal:
        return any(type(value) is type(each) and value == each for each in inner)
    if origin is tuple and inner[-1:] != (Ellipsis,):
        return isinstance(value, (list, tuple)) and len(value) == len(inner) and all(map(_fits, value, inner))
    if origin in (list, tuple, Sequence):
        return isinstance(value, (list, tuple)) and _all_fit(value, inner[0])
    if origin is dict:
        return isinstance(value, dict) and _all_fit(value.values(), inner[1])
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if hint is float:  # finite, and no integer beyond the range of floats
        return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= LARGEST
    return isinstance(value, hint or NoneType)


def _all_fit(values: Collection[object], hint: Any) -> bool:
    if hint in (int, str):  # fast, because vocabularies are long
        return set(map(type, values)) <= {hint}
    return all(_fits(each, hint) for each in values)


def _described(hint: Any) -> str:
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return " or ".join(map(_described, inner))
    if origin is Literal:
        return " or ".join(map(repr, inner))
    if origin in (list, tuple, Sequence):
        return f"a list of {_SEVERAL.get(inner[0], 'lists')}"
    if origin is dict and inner[1] in _SEVERAL:
        return f"an object of {_SEVERAL[inner[1]]}"
    if origin is dict or is_dataclass(hint):
        return "an object"
    return _NAMES.get(hint, getattr(hint, "__name__", str(hint)))
