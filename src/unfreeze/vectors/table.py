"""Tables of word vectors, and their collection from the blocks that a reader yields.

A reader yields blocks of words and rows, which are cleaned and appended to a store in memory or in another file (`cache`).
Reading takes the memory of one block in addition to the store.

Shapes: V words, N words of a block, D vector dimension.
"""

from __future__ import annotations

import difflib
import logging
import math
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, field, fields
from functools import cached_property
from itertools import compress, islice
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from unfreeze.errors import UserError
from unfreeze.text.rules import composed, normalized

_logger = logging.getLogger(__name__)

Floats = NDArray[np.float32]
Block = tuple[list[str], Floats]
"""N words and their finite vectors (N, D)."""

_HARMLESS = {"zero_vectors", "trailing_spaces", "carriage_returns", "blank_last_lines", "byte_order_marks"}
_MAX_COMPARED = 20_000
"""Words compared with an unknown one, so that the error is immediate even with a million words."""
_LENGTH_GAP, _AFFIX = 2, 2
"""A word is similar only if its length differs by at most 2, and 2 letters at the beginning or the end are the same."""
_FIRST_ALLOCATION = 1 << 28
"""Maximum number of elements (1 GiB) of the first allocation: the header of a damaged file may claim any number of words."""


@dataclass(kw_only=True)
class LoadReport:
    """Counts of the irregularities in the part of a file that was read.

    Only the first three change a word or a vector.
    """

    duplicates: int = field(default=0, metadata={"text": "repeated words (left out)"})
    empty_words: int = field(default=0, metadata={"text": "empty words (left out)"})
    not_utf8: int = field(default=0, metadata={"text": "words with bytes that are not UTF-8 (replaced)"})
    zero_vectors: int = field(default=0, metadata={"text": "vectors of zeros (kept)"})
    beyond_header: int = field(
        default=0, metadata={"text": "words more than the first line says (read as well)"}
    )
    bytes_behind: int = field(default=0, metadata={"text": "bytes behind the last word (not read)"})
    words_with_spaces: int = field(default=0, metadata={"text": "words with spaces in them (kept)"})
    trailing_spaces: int = field(default=0, metadata={"text": "lines with spaces at the end"})
    carriage_returns: int = field(default=0, metadata={"text": "lines that end in CRLF"})
    blank_last_lines: int = field(default=0, metadata={"text": "blank last lines"})
    byte_order_marks: int = field(default=0, metadata={"text": "byte order mark"})

    def describe(self) -> str:
        """The irregularities with their counts; empty if there are none."""
        texts = {one.metadata["text"]: getattr(self, one.name) for one in fields(self)}
        return ", ".join(f"{count:,} {text}" for text, count in texts.items() if count)

    def log(self, path: Path) -> None:
        """Log the irregularities: as a warning, or as information if all of them are harmless."""
        odd = any(getattr(self, one.name) for one in fields(self) if one.name not in _HARMLESS)
        if text := self.describe():
            _logger.log(logging.WARNING if odd else logging.INFO, "%s: %s", path, text)


class UnknownWord(UserError, KeyError):
    """A word has no vector; a `KeyError` too, since tables of vectors are used like a dictionary."""


@dataclass(frozen=True, eq=False)
class VectorTable:
    """One vector per word. If a word occurs twice, its first row is used."""

    words: list[str]
    """(V,) in the order of the file, usually by falling frequency."""
    matrix: Floats
    """(V, D); read-only if it is mapped from a file."""
    report: LoadReport = field(default_factory=LoadReport)
    """Irregularities of the file that the table was read from."""
    n_made: int = 0
    """Number of words at the end that are not in the vocabulary: their vectors were composed from n-grams."""

    def __post_init__(self) -> None:
        assert self.matrix.ndim == 2 and len(self.words) == len(self.matrix), "one row per word"

    def __len__(self) -> int:
        return len(self.words)

    def known(self) -> VectorTable:
        """The table without the words whose vectors were composed from n-grams."""
        n = len(self) - self.n_made
        return VectorTable(self.words[:n], self.matrix[:n], self.report) if self.n_made else self

    @property
    def size(self) -> int:
        """D, the vector dimension."""
        return int(self.matrix.shape[1])

    @cached_property
    def index(self) -> dict[str, int]:
        """Word -> row; of equal words the first one counts."""
        return dict(zip(reversed(self.words), range(len(self.words) - 1, -1, -1), strict=True))

    def row(self, word: str) -> int | None:
        """The row of a word, or of the first word that differs from it only in the encoding of accents or apostrophes."""
        for form in (word, composed(word)):
            if form in self.index:
                return self.index[form]
        return self._composed_index.get(composed(word))

    def known_row(self, word: str) -> int:
        """The row of a word.

        Raises:
            UnknownWord: it has none.
        """
        row = self.row(word)
        if row is None:
            raise self.unknown_word(word)
        return row

    def unknown_word(self, word: str) -> UnknownWord:
        """The error for a word without a vector, which suggests its lower-case form or words with a similar spelling."""
        message = f"{word!r} is none of the {len(self):,} words that have a vector"
        row = self.row(normalized(word))
        if row is not None:
            return UnknownWord(f"{message}; its lower-case form {self.words[row]!r} is")
        if near := self.similar_spellings(word):
            *others, last = map(repr, near)
            message += f"; did you mean {', '.join(others)}{' or ' if others else ''}{last}?"
        return UnknownWord(message)

    def similar_spellings(self, word: str, most: int = 3) -> list[str]:
        """Known words with a spelling similar to `word`, ignoring case, most similar first.

        Only the first words of the table (usually the most frequent) with a similar length and beginning or end are compared.
        """
        lower = word.lower()
        begins, ends = lower[:_AFFIX], lower[-_AFFIX:]
        nearby = (
            row
            for row, other in enumerate(self.words)
            if abs(len(other) - len(lower)) <= _LENGTH_GAP
            and (other[:_AFFIX].lower() == begins or other[-_AFFIX:].lower() == ends)
        )
        near: dict[str, int] = {}
        for row in islice(nearby, _MAX_COMPARED):
            near.setdefault(self.words[row].lower(), row)

        def likeness(other: str) -> float:
            # Among words of nearly the same similarity prefer the more frequent one.
            ratio = difflib.SequenceMatcher(None, other, lower).ratio()
            return ratio - 0.01 * math.log2(1 + near[other])

        similar = difflib.get_close_matches(lower, near, n=20, cutoff=0.7)
        found = sorted(similar, key=likeness, reverse=True)[:most]
        return [
            other if word == lower and other in self.index else self.words[near[other]] for other in found
        ]

    @cached_property
    def _composed_index(self) -> dict[str, int]:
        rows: dict[str, int] = {}
        for row, word in enumerate(self.words):
            if not word.isascii():
                rows.setdefault(composed(word), row)
        return rows

    @cached_property
    def _normalized_index(self) -> dict[str, int]:
        """Normal form -> row of the word that is written like it, or of the first word that has it."""
        rows: dict[str, int] = {}
        for row, word in enumerate(self.words):
            rows.setdefault(normalized(word), row)
        return rows | {word: row for word, row in self.index.items() if word == normalized(word)}

    def matrix_for(self, vocabulary: Sequence[str], *, seed: int = 0) -> tuple[Floats, NDArray[np.bool_]]:
        """Vectors for another vocabulary; an exact match wins, then the same case, then lower case (`text.rules.normalized`).

        Returns: a (len(vocabulary), D) matrix and a mask of the rows that were found; the others are drawn from a normal
            distribution with mean 0 and the standard deviation of those found.

        Raises:
            UserError: no word was found.
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


@dataclass(frozen=True)
class VectorSource:
    """An open file whose beginning has been parsed."""

    size: int
    """D, the vector dimension."""
    n_words: int | None
    """Number of words, if it is known in advance."""
    blocks: Iterator[Block]


class RowStore(Protocol):
    """The store to which `collect` appends vectors."""

    def add(self, rows: Floats) -> None:
        """Append rows (N, D)."""

    def matrix(self) -> Floats:
        """Return all rows (V, D)."""


class MemoryRows:
    """A matrix that grows in place; the operating system moves large allocations through its page tables, without a copy."""

    def __init__(self, size: int, n_words: int | None) -> None:
        self._n, self._expected = 0, n_words
        self._rows = np.empty((0, size), np.float32)

    def add(self, rows: Floats) -> None:
        end, size = self._n + len(rows), self._rows.shape[1]
        if not self._n:
            first = min(self._expected or 0, _FIRST_ALLOCATION // size)
            self._rows = np.empty((max(first, end), size), np.float32)
        elif end > len(self._rows):
            capacity = max(end, len(self._rows) + len(self._rows) // 2)
            if self._expected is not None and end <= self._expected:
                capacity = min(capacity, self._expected)
            self._rows.resize((capacity, size), refcheck=False)
        self._rows[self._n : end] = rows
        self._n = end

    def matrix(self) -> Floats:
        if self._n < len(self._rows):
            self._rows.resize((self._n, self._rows.shape[1]), refcheck=False)
        return self._rows


def collect(
    source: VectorSource, rows: RowStore, report: LoadReport, only: Set[str] | None = None
) -> VectorTable:
    """Append the first row of each word to `rows` and count irregularities in `report`.

    Args:
        only: keep only these words, and stop when all of them have been found.
    """
    found: list[str] = []
    seen: set[str] = set()
    for words, vectors in source.blocks:
        if only is not None:
            words, vectors = _selected(words, vectors, [word in only for word in words])
        if empty := words.count(""):
            report.empty_words += empty
            words, vectors = _selected(words, vectors, [word != "" for word in words])
        if not seen.isdisjoint(words) or len(set(words)) < len(words):
            first = dict(zip(reversed(words), range(len(words) - 1, -1, -1), strict=True))
            new = [first[word] == row and word not in seen for row, word in enumerate(words)]
            report.duplicates += new.count(False)
            words, vectors = _selected(words, vectors, new)
        candidates = vectors[vectors[:, 0] == 0]  # testing every number would take longer than reading
        report.zero_vectors += int((~candidates.any(axis=1)).sum())
        found += words
        seen.update(words)
        rows.add(vectors)
        if only is not None and len(seen) == len(only):
            break
    return VectorTable(found, rows.matrix(), report)


def _selected(words: list[str], rows: Floats, mask: Sequence[bool]) -> Block:
    return list(compress(words, mask)), rows[np.array(mask, bool)]


def row_not_finite(vectors: NDArray[np.number]) -> int | None:
    """The first row of vectors (N, D) that holds NaN or infinity; None if there is none."""
    finite = np.isfinite(vectors).all(axis=1)
    return None if finite.all() else int(np.argmin(finite))


def decoded(words: list[bytes], report: LoadReport) -> list[str]:
    """Decode UTF-8; other bytes are replaced by U+FFFD, and the words that contain them are counted."""
    try:
        together = b"\n".join(words).decode().split("\n")  # ten times as fast as word by word
        if len(together) == len(words):
            return together
    except UnicodeDecodeError:
        pass
    texts = []
    for word in words:
        try:
            texts.append(word.decode())
        except UnicodeDecodeError:
            report.not_utf8 += 1
            texts.append(word.decode("utf-8", "replace"))
    return texts
