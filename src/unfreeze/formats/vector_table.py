"""The table of vectors that a file holds, and what was odd about that file."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unfreeze.errors import UserError
from unfreeze.text.rules import composed, normalized

_logger = logging.getLogger(__name__)

Floats = NDArray[np.float32]

_HARMLESS = {"zero_vectors", "trailing_spaces", "carriage_returns", "blank_last_lines", "byte_order_marks"}


@dataclass(kw_only=True)
class LoadReport:
    """How often a file was odd in each way; of what was read of it.

    The words and vectors are those of the file but for the first six.
    """

    duplicates: int = field(default=0, metadata={"said": "words that stood there before (left out)"})
    empty_words: int = field(default=0, metadata={"said": "empty words (left out)"})
    not_utf8: int = field(default=0, metadata={"said": "words with bytes that are not UTF-8 (replaced)"})
    zero_vectors: int = field(default=0, metadata={"said": "vectors of zeros (kept)"})
    beyond_header: int = field(
        default=0, metadata={"said": "words more than the first line says (read as well)"}
    )
    bytes_behind: int = field(default=0, metadata={"said": "bytes behind the last word (not read)"})
    words_with_spaces: int = field(default=0, metadata={"said": "words with spaces in them (kept)"})
    trailing_spaces: int = field(default=0, metadata={"said": "lines with spaces at the end"})
    carriage_returns: int = field(default=0, metadata={"said": "lines that end in CRLF"})
    blank_last_lines: int = field(default=0, metadata={"said": "blank last lines"})
    byte_order_marks: int = field(default=0, metadata={"said": "byte order mark"})

    def describe(self) -> str:
        """What was odd, with counts; empty where nothing was."""
        said = {one.metadata["said"]: getattr(self, one.name) for one in fields(self)}
        return ", ".join(f"{count:,} {what}" for what, count in said.items() if count)

    def log(self, path: Path) -> None:
        """Say it once: as a warning, or where no word is another for it as information."""
        odd = any(getattr(self, one.name) for one in fields(self) if one.name not in _HARMLESS)
        if text := self.describe():
            _logger.log(logging.WARNING if odd else logging.INFO, "%s: %s", path, text)


@dataclass(frozen=True, eq=False)
class VectorTable:
    """One vector a word.

    A word that stands twice means its first row.
    """

    words: list[str]
    """(V,) as in the file, usually by falling frequency."""
    matrix: Floats
    """(V, D); not to be written to where it is mapped from a file."""
    report: LoadReport = field(default_factory=LoadReport)
    """What was odd about the file it comes from."""
    n_made: int = 0
    """So many last words are no part of the vocabulary: their vectors were made of n-grams."""

    def __post_init__(self) -> None:
        assert self.matrix.ndim == 2 and len(self.words) == len(self.matrix), "a row a word"

    def __len__(self) -> int:
        return len(self.words)

    def known(self) -> VectorTable:
        """The vocabulary alone."""
        n = len(self) - self.n_made
        return VectorTable(self.words[:n], self.matrix[:n], self.report) if self.n_made else self

    @property
    def size(self) -> int:
        """Numbers in one vector."""
        return int(self.matrix.shape[1])

    @cached_property
    def index(self) -> dict[str, int]:
        """The row of each word."""
        return dict(zip(reversed(self.words), range(len(self.words) - 1, -1, -1), strict=True))

    def row(self, word: str) -> int | None:
        """The row of a word, or of the first that differs from it in how accents or apostrophes are written."""
        for spelling in (word, composed(word)):
            if spelling in self.index:
                return self.index[spelling]
        return self._composed_index.get(composed(word))

    @cached_property
    def _composed_index(self) -> dict[str, int]:
        """The first row for the composed form of words that are written otherwise."""
        rows: dict[str, int] = {}
        for row, word in enumerate(self.words):
            if not word.isascii():
                rows.setdefault(composed(word), row)
        return rows

    @cached_property
    def _normalized_index(self) -> dict[str, int]:
        """The row for a normalized word: of that word itself, else of the first that has this normal form."""
        rows: dict[str, int] = {}
        for row, word in enumerate(self.words):
            rows.setdefault(normalized(word), row)
        return rows | {word: row for word, row in self.index.items() if word == normalized(word)}

    def matrix_for(self, vocabulary: Sequence[str], *, seed: int = 0) -> tuple[Floats, NDArray[np.bool_]]:
        """Vectors for `vocabulary`: an exact match wins, then one in the same case, then in lower case (`text.rules.normalized`).

        Returns: a (len(vocabulary), D) matrix and which of its rows were found; the others are normal with mean 0 and
            the standard deviation of those found, drawn from `seed`.

        Raises:
            UserError: not one word was found.
        """
        rows = np.array([self._row(word) for word in vocabulary], dtype=np.int64)
        found = rows >= 0
        if not found.any():
            raise UserError(
                f"none of the {len(vocabulary)} words of the vocabulary ({', '.join(vocabulary[:3])}, ...) has a vector"
                f" ({', '.join(self.words[:3])}, ...): the vectors must be of the same language and kind of token"
            )
        matrix = np.empty((len(vocabulary), self.size), np.float32)
        matrix[found] = self.matrix[rows[found]]
        missing = (int((~found).sum()), self.size)
        matrix[~found] = np.random.default_rng(seed).normal(0.0, float(matrix[found].std()), missing)
        return matrix, found

    def _row(self, word: str) -> int:
        row = self.row(word)
        return self._normalized_index.get(normalized(word), -1) if row is None else row
