"""Format text, numbers and times for people."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""Control characters, except tab and line feed."""


def cut(text: str, most: int) -> str:
    """`text`, or its beginning and an ellipsis: at most `most` characters."""
    return text if len(text) <= most else text[: most - 1] + "…"


def printable(text: str) -> str:
    r"""`text` with its control characters escaped, such as `\x1b`, so that a terminal does not obey them."""
    return _CONTROLS.sub(lambda match: f"\\x{ord(match[0]):02x}", text)


def counted(count: float, noun: str) -> str:
    """ "1 text", "2,000 texts", "2 classes", "0.5 minutes"."""
    number = f"{count:,}" if isinstance(count, int) else f"{count:g}"
    plural = f"{noun}es" if noun.endswith(("s", "x", "tch")) else f"{noun}s"
    return f"{number} {noun if count == 1 else plural}"


def duration(seconds: float) -> str:
    """ "47 seconds", "12 minutes", "3.5 hours": two digits or so."""
    if round(seconds) < 90:
        return counted(round(seconds), "second")
    if round(seconds / 60) < 90:
        return counted(round(seconds / 60), "minute")
    return f"{seconds / 3600:.1f} hours"


def did_you_mean(word: str, candidates: Iterable[str], before: str = "") -> str:
    """ "; did you mean 'X'?" for the nearest candidate, with `before` before it; nothing where none is near."""
    nearest = difflib.get_close_matches(word, list(candidates), n=1)
    return f"; did you mean {before + nearest[0]!r}?" if nearest else ""


LONGEST_CELL = 100
"""Characters of a table cell; longer values are cut."""


def cell(value: object) -> str:
    """Format a value with four significant digits, or None and NaN as "-"."""
    if value is None or value != value:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def aligned(rows: Sequence[Mapping[str, object]]) -> str:
    """A text table with the keys of the first row as its header; numbers are aligned to the right."""
    names = list(rows[0])
    lines = [names] + [[cut(cell(row.get(name)), LONGEST_CELL) for name in names] for row in rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(names))]
    to_right = [all(isinstance(row.get(name), (int, float, type(None))) for row in rows) for name in names]
    return "\n".join(
        "  ".join(
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(line, widths, to_right, strict=True)
        ).rstrip()
        for line in lines
    )
