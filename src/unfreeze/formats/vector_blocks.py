"""What the readers of word vectors share: a file comes as blocks of words and rows, which are cleaned and collected.

So a file of any size is read in the memory of one block beside what is kept, and goes to memory or to another file
(`vector_cache`) by the same way.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from itertools import compress
from typing import Protocol

import numpy as np

from unfreeze.formats.vector_table import Floats, LoadReport, VectorTable

Block = tuple[list[str], Floats]
"""N words and their (N, D) rows, all of them finite."""

_FIRST_ALLOCATION = 1 << 28
"""Numbers (1 GiB): a damaged file may promise any number of words."""


@dataclass(frozen=True)
class VectorSource:
    """A file that is open and whose beginning is understood."""

    size: int
    """Numbers in one vector."""
    n_words: int | None
    """As far as it is known beforehand."""
    blocks: Iterator[Block]


class RowStore(Protocol):
    """Where rows go."""

    def add(self, rows: Floats) -> None: ...

    def matrix(self) -> Floats: ...


class MemoryRows:
    """A matrix that grows; without copies, since a large block of memory is moved by the system's page tables."""

    def __init__(self, size: int, n_words: int | None) -> None:
        self._n, self._expected = 0, n_words
        self._rows = np.empty((0, size), np.float32)

    def add(self, rows: Floats) -> None:
        """Copy (N, D) behind what is there."""
        end, size = self._n + len(rows), self._rows.shape[1]
        if not self._n:
            first = min(self._expected or 0, _FIRST_ALLOCATION // size)
            self._rows = np.empty((max(first, end), size), np.float32)
        elif end > len(self._rows):
            wanted = max(end, len(self._rows) + len(self._rows) // 2)
            if self._expected is not None and end <= self._expected:
                wanted = min(wanted, self._expected)
            self._rows.resize((wanted, size), refcheck=False)
        self._rows[self._n : end] = rows
        self._n = end

    def matrix(self) -> Floats:
        """(N, D) of all that was added."""
        if self._n < len(self._rows):
            self._rows.resize((self._n, self._rows.shape[1]), refcheck=False)
        return self._rows


def collect(
    source: VectorSource, rows: RowStore, report: LoadReport, only: Set[str] | None = None
) -> VectorTable:
    """Keep the first row of each word, of those in `only` where it is given, and count in `report` what was odd.

    Ends as soon as all of `only` is found.
    """
    words: list[str] = []
    seen: set[str] = set()
    for block in source.blocks:
        some, vectors = _cleaned(block, seen, only, report)
        words += some
        seen.update(some)
        rows.add(vectors)
        if only is not None and len(seen) == len(only):
            break
    return VectorTable(words, rows.matrix(), report)


def _cleaned(block: Block, seen: Set[str], only: Set[str] | None, report: LoadReport) -> Block:
    if only is not None:
        block = _chosen(block, [word in only for word in block[0]])
    if empty := block[0].count(""):
        report.empty_words += empty
        block = _chosen(block, [word != "" for word in block[0]])
    if not seen.isdisjoint(block[0]) or len(set(block[0])) < len(block[0]):
        fresh = _first_times(block[0], seen)
        report.duplicates += fresh.count(False)
        block = _chosen(block, fresh)
    words, rows = block
    suspects = rows[rows[:, 0] == 0]  # a whole look at every row would take longer than reading it
    report.zero_vectors += int((~suspects.any(axis=1)).sum())
    return words, rows


def _chosen(block: Block, choice: Sequence[bool]) -> Block:
    return list(compress(block[0], choice)), block[1][np.array(choice, bool)]


def _first_times(words: Iterable[str], seen: Set[str]) -> list[bool]:
    here: set[str] = set()
    fresh = []
    for word in words:
        fresh.append(word not in seen and word not in here)
        here.add(word)
    return fresh


def decoded(words: list[bytes], report: LoadReport) -> list[str]:
    """UTF-8; what is not is replaced by U+FFFD and counted."""
    try:
        together = b"\n".join(words).decode().split("\n")  # an order faster than one by one
        if len(together) == len(words):
            return together
    except UnicodeDecodeError:
        pass
    return [_decoded_word(word, report) for word in words]


def _decoded_word(word: bytes, report: LoadReport) -> str:
    try:
        return word.decode()
    except UnicodeDecodeError:
        report.not_utf8 += 1
        return word.decode("utf-8", "replace")
