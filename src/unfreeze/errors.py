"""Errors that mean a user's mistake, the interruption that can be resumed, and checks that all models share.

Any other exception is a bug in unfreeze. The command line turns a `UserError` into one line on standard error and exit
status 2.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterable, Sequence
from types import ModuleType
from typing import Any

_SETTING = re.compile("\ue000([a-z_0-9A-Z]+)=([^\ue001]*)\ue001")


def setting(name: str, value: object = None) -> str:
    """Format the name of a setting, with its value if given, for the message of a `UserError`.

    Python callers read `softmax='full'`, users of the command line `--softmax full`. The two characters around it, from
    Unicode's private use area, let `UserError.written` find the names of settings.

    Example:
        >>> str(UserError(f"{setting('epochs')} must be above 0, not -1"))
        'epochs must be above 0, not -1'
    """
    return f"\ue000{name}={'' if value is None else repr(value)}\ue001"


def _as_argument(name: str, value: str) -> str:
    return f"{name}={value}" if value else name


class Notice:
    """A log message that may name settings, as the message of a `UserError` does; `logger.warning(Notice(...))`."""

    def __init__(self, text: str) -> None:
        self._text = text

    def written(self, write: Callable[[str, str], str]) -> str:
        """The message, with each `setting` in it formatted by `write(name, repr of the value or "")`."""
        return _SETTING.sub(lambda found: write(found[1], found[2]), self._text)

    def __str__(self) -> str:
        return self.written(_as_argument)


class UserError(ValueError):
    """A mistake of the user. The message is one line: what is wrong, where, and what would be right."""

    def written(self, write: Callable[[str, str], str]) -> str:
        """The message, with each `setting` in it formatted by `write(name, repr of the value or "")`."""
        return _SETTING.sub(lambda found: write(found[1], found[2]), Exception.__str__(self))

    def __str__(self) -> str:
        return self.written(_as_argument)


class UnknownLabel(UserError):
    """Held-out data has a label or a tag that is not in the training data; `evaluate` can count it as an error instead."""


class MissingExtra(UserError):
    """An optional dependency is not installed; the message says how to install it."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"this needs the package {package!r}: pip install 'unfreeze[{extra}]'")


def import_extra(package: str, extra: str, module: str | None = None) -> ModuleType:
    """Import an optional package, or a `module` of it.

    Raises:
        MissingExtra: the package is not installed.
    """
    try:
        return importlib.import_module(module or package)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != package:
            raise
        raise MissingExtra(package, extra) from None


class CannotWrite(UserError):
    """A file, a folder or the cache cannot be written."""


class Interrupted(KeyboardInterrupt):
    """Training was interrupted and its state has been saved; the message is one line that says how to resume."""


def need_several(given: object, what: str) -> None:
    """Raise UserError for a string, which would be read as its letters, and for anything else that is not a sequence.

    Iterators are accepted; sets and mappings are not, because they have no order or hold keys.
    """
    if isinstance(given, str):
        raise UserError(f"{what} come in a list, and {given[:40]!r} is one text")
    unordered = (bytes, dict, set, frozenset)
    if isinstance(given, unordered) or not isinstance(given, Iterable) or getattr(given, "ndim", 1) == 0:
        found = "None" if given is None else f"of type {type(given).__name__}"
        raise UserError(f"{what} come in a list, an array or a pandas Series; what was given is {found}")


def need_texts(given: Iterable[object], what: str, *, first: int = 0) -> None:
    """Raise UserError for a string instead of a list, and for an item that is not a string, with its index from `first`."""
    need_several(given, what)
    for position, text in enumerate(given, first):
        if not isinstance(text, str):
            kind = repr(text) if text is None or isinstance(text, float) else f"of type {type(text).__name__}"
            hint = ": decode it first" if isinstance(text, bytes) else ""
            raise UserError(f"{what}[{position}] is {kind}, not a text{hint}")


def column_of(given: Any, what: str = "texts") -> Sequence[Any]:
    """The values of a list, an iterator, an array, a pandas Series, or a data frame or matrix of one column.

    Raises:
        UserError: one text instead of several, several columns, or no sequence at all.
    """
    need_several(given, what)
    if getattr(given, "ndim", 1) == 2:
        if given.shape[1] != 1:
            raise UserError(
                f"the {what} have {given.shape[1]} columns: choose one of them, such as X[{what[:-1]!r}]"
            )
        if hasattr(given, "toarray"):  # a sparse matrix
            given = given.toarray()
        given = given.iloc[:, 0] if hasattr(given, "iloc") else given[:, 0]
    return given if isinstance(given, (list, tuple)) else list(given)
