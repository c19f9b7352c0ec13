"""Words as rows of UTF-8 bytes, which a character CNN reads: no word is unknown to it.

A row is [begin of word, the word's bytes, end of word, padding ...], 50 numbers; a word of more than 48 bytes is cut
there, within a character if need be. All numbers are raised by one: 0 masks a place where no word is. Begin and end of a
sentence are rows of one symbol. So it is in bilm-tf and AllenNLP, whose published models we read.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

LONGEST = 50
"""Length of a row in published models."""
BEGIN_SENTENCE, END_SENTENCE, BEGIN_WORD, END_WORD, PADDING = 257, 258, 259, 260, 261
"""Symbols besides the bytes, which are 1 to 256."""
N_SYMBOLS = 262
"""With the mask, 0."""

Rows = NDArray[np.int16]


def spell(words: Sequence[str], longest: int = LONGEST) -> Rows:
    """The rows (n, longest) of words.

    Args:
        longest: length of a row, at least 3.
    """
    spelled = [word.encode("utf-8", "ignore")[: longest - 2] for word in words]
    lengths = np.fromiter(map(len, spelled), dtype=np.int64, count=len(spelled))
    rows = np.full((len(words), longest), PADDING, dtype=np.int16)
    place = np.arange(longest)[None, :]
    rows[:, 0] = BEGIN_WORD
    rows[(place > 0) & (place <= lengths[:, None])] = (
        np.frombuffer(b"".join(spelled), dtype=np.uint8).astype(np.int16) + 1
    )
    rows[np.arange(len(words)), lengths + 1] = END_WORD
    return rows


def frame_rows(longest: int = LONGEST) -> Rows:
    """The rows (2, longest) of the begin and the end of a sentence, which are words of one symbol."""
    rows = np.full((2, longest), PADDING, dtype=np.int16)
    rows[:, :3] = [[BEGIN_WORD, symbol, END_WORD] for symbol in (BEGIN_SENTENCE, END_SENTENCE)]
    return rows
