"""What to say of a word that has no vector: its lower-case form if that has one, and known words that are spelled alike.

Only words of about the same length that begin or end like it are compared, and of these the first ones of the table
(usually the frequent ones), so that nobody waits for the error among a million words.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator
from itertools import islice

from unfreeze.errors import UserError
from unfreeze.text.rules import normalized
from unfreeze.vectors.table import VectorTable

_MOST_COMPARED = 20_000
_LENGTH_GAP = 2
_AFFIX = 2
"""Letters that a near word has in common at its beginning or at its end."""


def unknown_word(word: str, table: VectorTable) -> UserError:
    """The error of one line for a word that `table` lacks."""
    said = f"{word!r} is none of the {len(table):,} words that have a vector"
    row = table.row(normalized(word))
    if row is not None:
        return UserError(f"{said}; its lower-case form {table.words[row]!r} is")
    near = close_spellings(word, table)
    if not near:
        return UserError(said)
    *others, last = map(repr, near)
    return UserError(f"{said}; did you mean {', '.join(others)}{' or ' if others else ''}{last}?")


def close_spellings(word: str, table: VectorTable, most: int = 3) -> list[str]:
    """Known words spelled like `word`, whatever their case, the nearest first."""
    near: dict[str, int] = {}
    lower = word.lower()
    for row in islice(_nearby(lower, table.words), _MOST_COMPARED):
        near.setdefault(table.words[row].lower(), row)

    def likeness(other: str) -> float:
        # Of words nearly as alike the more frequent one is more likely meant.
        ratio = difflib.SequenceMatcher(None, other, lower).ratio()
        return ratio - 0.01 * math.log2(1 + near[other])

    alike = difflib.get_close_matches(lower, near, n=20, cutoff=0.7)
    found = sorted(alike, key=likeness, reverse=True)[:most]
    return [other if word == lower and other in table.index else table.words[near[other]] for other in found]


def _nearby(lower: str, words: list[str]) -> Iterator[int]:
    """The rows of words of about that length that begin or end alike."""
    shortest, longest = len(lower) - _LENGTH_GAP, len(lower) + _LENGTH_GAP
    begins, ends = lower[:_AFFIX], lower[-_AFFIX:]
    for row, word in enumerate(words):
        if shortest <= len(word) <= longest and (
            word[:_AFFIX].lower() == begins or word[-_AFFIX:].lower() == ends
        ):
            yield row
