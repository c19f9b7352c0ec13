"""The one error type that stands for a user's mistake, the interruption that can be resumed, and a check that all models share.

Everything else that is raised is a bug of ours. Commands turn a `UserError` into one line on stderr and exit status 2.
"""

from __future__ import annotations

from collections.abc import Iterable


class UserError(ValueError):
    """What the user gave cannot work: the message is one line that says what, where, and what would be right."""


class UnknownLabel(UserError):
    """Held-out data has a label or a tag that training lacked; `evaluate` can count it as an error instead."""


class MissingExtra(UserError):
    """An optional dependency is not installed; the message names the `pip install` that mends it."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"this needs the package {package!r}: pip install 'unfreeze[{extra}]'")


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
