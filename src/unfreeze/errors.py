"""Errors that mean a user's mistake, the interruption that can be resumed, and checks that all models share.

Any other exception is a bug in unfreeze. The command line turns a `UserError` into one line on standard error and exit
status 2.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterable
from types import ModuleType

_SETTING = re.compile("\ue000([a-z_0-9A-Z]+)=([^\ue001]*)\ue001")


def setting(name: str, value: object = None) -> str:
    """The name of a setting, with its value if one is given, for the message of a `UserError`.

    Python callers read `softmax='full'`, users of the command line `--softmax full`: the two characters around it, from
    Unicode's private use area, let `UserError.written` tell a setting's name from any other word.

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
        """As `UserError.written`."""
        return _SETTING.sub(lambda found: write(found[1], found[2]), self._text)

    def __str__(self) -> str:
        return self.written(_as_argument)


class UserError(ValueError):
    """What the user gave cannot work: the message is one line that says what, where, and what would be right."""

    def written(self, write: Callable[[str, str], str]) -> str:
        """The message, each `setting` in it put into words by `write(name, repr of the value or "")`."""
        return _SETTING.sub(lambda found: write(found[1], found[2]), Exception.__str__(self))

    def __str__(self) -> str:
        return self.written(_as_argument)


class UnknownLabel(UserError):
    """Held-out data has a label or a tag that is not in the training data; `evaluate` can count it as an error instead."""


class MissingExtra(UserError):
    """An optional dependency is not installed; the message names the `pip install` that mends it."""

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
    """Ctrl-C reached a stage that has saved where it is; the message is one line that says how to go on."""


def need_several(given: object, what: str) -> None:
    """Raise the UserError for one text where a list of texts or words is needed: it would be taken for its letters."""
    if isinstance(given, str):
        raise UserError(f"{what} come in a list, and {given[:40]!r} is one text")


def need_texts(given: Iterable[object], what: str, *, first: int = 0) -> None:
    """Raise the UserError for one text instead of a list, and for what is no text, by its position (from `first`)."""
    need_several(given, what)
    for position, text in enumerate(given, first):
        if not isinstance(text, str):
            kind = repr(text) if text is None or isinstance(text, float) else f"of type {type(text).__name__}"
            mend = ": decode it first" if isinstance(text, bytes) else ""
            raise UserError(f"{what}[{position}] is {kind}, not a text{mend}")
