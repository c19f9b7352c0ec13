"""Words as rows of UTF-8 bytes, the input of a character CNN, for which there are no unknown words.

A row is [begin of word, bytes of the word, end of word, padding ...], 50 numbers; words of more than 48 bytes are cut, possibly
within a character. All numbers are one more than the byte, because 0 masks positions without a word. The begin and the end of a
sentence are words of one symbol. This is the format of bilm-tf and AllenNLP, whose published models can be read.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

LONGEST = 50
"""Length of a row in published models."""
BEGIN_SENTENCE, END_SENTENCE, BEGIN_WORD, END_WORD, PADDING = 257, 258, 259, 260, 261
"""Symbols other than bytes, which are 1 to 256."""
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
