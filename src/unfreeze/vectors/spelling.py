"""Suggestions for a word that has no vector: its lower-case form, or known words with a similar spelling.

Only words of similar length that begin or end alike are compared, and of these only the first ones of the table
(usually the most frequent), so that the error message comes at once even among a million words.
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
"""Letters that a similar word shares at its beginning or end."""


class UnknownWord(UserError, KeyError):
    """A word has no vector; a `KeyError` too, since tables of vectors are used like a dictionary."""


def unknown_word(word: str, table: VectorTable) -> UnknownWord:
    """Return the error for a word that is not in `table`."""
    message = f"{word!r} is none of the {len(table):,} words that have a vector"
    row = table.row(normalized(word))
    if row is not None:
        return UnknownWord(f"{message}; its lower-case form {table.words[row]!r} is")
    near = close_spellings(word, table)
    if not near:
        return UnknownWord(message)
    *others, last = map(repr, near)
    return UnknownWord(f"{message}; did you mean {', '.join(others)}{' or ' if others else ''}{last}?")


def close_spellings(word: str, table: VectorTable, most: int = 3) -> list[str]:
    """Return known words with a spelling similar to `word`, ignoring case, most similar first."""
    near: dict[str, int] = {}
    lower = word.lower()
    for row in islice(_nearby(lower, table.words), _MOST_COMPARED):
        near.setdefault(table.words[row].lower(), row)

    def likeness(other: str) -> float:
        # Among words of nearly the same similarity prefer the more frequent one.
        ratio = difflib.SequenceMatcher(None, other, lower).ratio()
        return ratio - 0.01 * math.log2(1 + near[other])

    alike = difflib.get_close_matches(lower, near, n=20, cutoff=0.7)
    found = sorted(alike, key=likeness, reverse=True)[:most]
    return [other if word == lower and other in table.index else table.words[near[other]] for other in found]


def _nearby(lower: str, words: list[str]) -> Iterator[int]:
    """The rows of words of similar length that begin or end alike."""
    shortest, longest = len(lower) - _LENGTH_GAP, len(lower) + _LENGTH_GAP
    begins, ends = lower[:_AFFIX], lower[-_AFFIX:]
    for row, word in enumerate(words):
        if shortest <= len(word) <= longest and (
            word[:_AFFIX].lower() == begins or word[-_AFFIX:].lower() == ends
        ):
            yield row
