"""Co-occurrence counts of words, on which GloVe is trained (Pennington et al. 2014, section 3).

A pair of words at distance d counts as 1/d. Windows never cross documents, and words outside the vocabulary are removed before
distances are measured.

Counts are collected in hash tables of a fixed size. A full table is written out as one sorted run, and the runs are merged
part by part, so that memory depends neither on the vocabulary nor on the corpus. Sums are exact in units of 2^-28, so that
the result has the same bits whatever the memory and the number of threads. The order of the pairs looks random but
is always the same, so they need not be shuffled on disk before training.

Cost: see `cooccurrence_kernel`; 12 bytes per pair on disk, and 16 bytes per pair and run until they are merged.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from unfreeze.errors import UserError
from unfreeze.folders import written_folder
from unfreeze.pretraining.glove.cooccurrence_kernel import (
    SLACK,
    UNIT,
    Pairs,
    count_words,
    decode,
    merge,
    part_sizes,
    sort_table,
)
from unfreeze.progress import SILENT, Bar, Progress

if TYPE_CHECKING:
    from unfreeze.text.token_store import TokenStore

BLOCK_TOKENS = 1 << 18
_LOAD = 0.7
"""Largest fraction of a table's slots in use; beyond it, searches for a free slot become long."""
_SLOT_BYTES = 16
_MERGE_BYTES = 64
"""Bytes per pair while parts are merged: the inputs and the output of a merge, then the decoded arrays."""

Entries = tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32]]


@dataclass(frozen=True)
class Cooccurrences:
    """Weighted counts of pairs in a folder: three files of N numbers, in scattered order."""

    folder: Path
    n_pairs: int
    """N, the number of stored pairs."""
    n_entries: int
    """Number of nonzero entries of the matrix: off the diagonal, a symmetric pair is two entries."""
    symmetric: bool
    """Whether each pair is stored once, with row <= column, for both directions."""

    def read(self, start: int, stop: int) -> Entries:
        """Read the rows (int32), columns (int32) and values (float32) of pairs [start, stop)."""
        return tuple(  # type: ignore[return-value]
            np.fromfile(self.folder / name, dtype, stop - start, offset=4 * start)
            for name, dtype in _FILES.items()
        )


_FILES = {"rows.bin": "<i4", "columns.bin": "<i4", "values.bin": "<f4"}


def count_cooccurrences(
    store: TokenStore,
    folder: str | Path,
    *,
    keep: NDArray[np.bool_],
    window: int = 10,
    symmetric: bool = True,
    memory_mb: float = 1024,
    workers: int | None = None,
    progress: Progress = SILENT,
) -> Cooccurrences:
    """Count the words around each word of `store` and write the counts to `folder`.

    Args:
        keep: (V,) the ids to count; all others, and those from V on, are removed before windows are made.
        window: largest number of words to each side.
        symmetric: count words on both sides; otherwise X[i, j] counts how often j is to the left of i.
        memory_mb: megabytes for the tables, and later for merging. Less memory costs little time but more disk: with 100,
            22 million tokens made 8 runs with twice as many pairs in total.
        workers: threads, which share that memory; None is one per core. The result does not depend on their number.
        progress: reports tokens and the runs written, then the pairs merged.

    Raises:
        UserError: no two words of the vocabulary occur in the same window, or the disk is full.
    """
    assert window >= 1 and memory_mb > 0 and keep.dtype == np.bool_
    workers, budget = workers or os.cpu_count() or 1, int(memory_mb * 1e6)
    with written_folder(Path(folder)) as temporary, tempfile.TemporaryFile(dir=temporary) as file:
        counting = _Counting(store, keep, _units(window), symmetric, budget // workers, _Runs(file))
        with progress.bar("count pairs", total=store.n_tokens, unit="token") as bar:
            counting.work(bar, workers)
        n_pairs, n_diagonal = _write_merged(counting.runs, temporary, budget, progress)
        if not n_pairs:
            raise UserError(
                "no two words of the vocabulary occur near each other in the corpus: GloVe needs more text"
            )
    n_entries = 2 * n_pairs - n_diagonal if symmetric else n_pairs
    return Cooccurrences(Path(folder), n_pairs, n_entries, symmetric)


def _units(window: int) -> NDArray[np.uint64]:
    """Return the weight 1/d of each distance d in units (window + 1,); no word is at distance 0."""
    return np.array([0, *(round(UNIT / distance) for distance in range(1, window + 1))], np.uint64)


@dataclass(frozen=True)
class _Runs:
    """Sorted runs of pairs, one after the other in an unnamed file, which disappears however the process ends."""

    file: IO[bytes]
    sizes: list[NDArray[np.int64]] = field(default_factory=list)
    """For each run, the number of pairs in each part of the range of keys."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, pairs: Pairs) -> None:
        sizes = part_sizes(pairs)
        with self.lock:
            self.file.write(pairs.data)
            self.sizes.append(sizes)

    def merged(self, max_pairs: int) -> Iterator[tuple[int, Pairs]]:
        """Yield all pairs sorted by key, merged from at most `max_pairs` pairs of the runs (or one part), and their number."""
        sizes = np.array(self.sizes)  # (runs, parts)
        begins = np.cumsum(sizes).reshape(sizes.shape) - sizes
        for first, last in _groups(sizes.sum(axis=0).tolist(), max_pairs):
            counts = sizes[:, first:last].sum(axis=1)
            slices = [
                self._read(int(begin), int(count))
                for begin, count in zip(begins[:, first], counts, strict=True)
            ]
            while len(slices) > 1:
                odd = slices[-1:] if len(slices) % 2 else []
                slices = [*map(merge, slices[0::2], slices[1::2]), *odd]
            yield int(counts.sum()), slices[0]

    def _read(self, begin: int, count: int) -> Pairs:
        self.file.seek(_SLOT_BYTES * begin)
        return np.fromfile(self.file, np.uint64, 2 * count).reshape(count, 2)


def _groups(sizes: list[int], max_pairs: int) -> Iterator[tuple[int, int]]:
    """Yield ranges of consecutive parts with at most `max_pairs` pairs in total, or of a single larger part."""
    first = total = 0
    for part, size in enumerate(sizes):
        if total and total + size > max_pairs:
            yield first, part
            first, total = part, 0
        total += size
    yield first, len(sizes)


def _write_merged(runs: _Runs, folder: Path, budget: int, progress: Progress) -> tuple[int, int]:
    """Write the pairs of all runs to three files; return their number, and the number of those on the diagonal."""
    if not runs.sizes:
        return 0, 0
    n_pairs = n_diagonal = 0
    with ExitStack() as stack:
        files = [stack.enter_context(open(folder / name, "wb")) for name in _FILES]
        bar = stack.enter_context(progress.bar("merge pairs", total=int(np.sum(runs.sizes)), unit="pair"))
        for n_read, pairs in runs.merged(max(budget // _MERGE_BYTES, 1)):
            columns = decode(pairs)
            for file, numbers, dtype in zip(files, columns, _FILES.values(), strict=True):
                file.write(numbers.astype(dtype, copy=False).data)
            n_pairs += len(pairs)
            n_diagonal += int(np.count_nonzero(columns[0] == columns[1]))
            bar.advance(n_read)
    return n_pairs, n_diagonal


@dataclass(frozen=True)
class _Counting:
    """Threads that each count a range of documents in a table of their own."""

    store: TokenStore
    keep: NDArray[np.bool_]
    units: NDArray[np.uint64]
    symmetric: bool
    budget: int
    """Bytes per table."""
    runs: _Runs
    stopped: threading.Event = field(default_factory=threading.Event)

    def work(self, bar: Bar, workers: int) -> None:
        offsets = np.concatenate([[0], np.cumsum(self.store.lengths)])
        cuts = np.searchsorted(offsets, np.linspace(0, self.store.n_tokens, workers + 1))
        with ThreadPoolExecutor(workers, thread_name_prefix="cooccurrence") as threads:
            ranges = zip(offsets[cuts[:-1]].tolist(), offsets[cuts[1:]].tolist(), strict=True)
            futures = [threads.submit(self._count, bar, offsets, *each) for each in ranges]
            try:
                for future in futures:
                    future.result()
            finally:
                self.stopped.set()

    def _count(self, bar: Bar, offsets: NDArray[np.int64], begin: int, end: int) -> None:
        """Count tokens [begin, end), which are whole documents, and write their runs."""
        table, limit, filled = *self._table(end - begin), 0
        for n_tokens, words, starts, first in self._blocks(offsets, begin, end):
            if self.stopped.is_set():
                return
            while first < len(words):
                first, filled = count_words(
                    words, starts, first, self.units, self.symmetric, table, filled, limit
                )
                if first < len(words):
                    self._write(table)
                    filled = 0
            with self.runs.lock:
                bar.advance(n_tokens, runs=len(self.runs.sizes))
        if filled:
            self._write(table)

    def _table(self, n_tokens: int) -> tuple[Pairs, int]:
        """Return an empty table, as large as memory allows or as `n_tokens` can need, and the number of usable slots."""
        window = len(self.units) - 1
        needed = int(window * n_tokens / _LOAD) + 2
        homes = max(2 * window + 2, min(self.budget // _SLOT_BYTES - SLACK - window, needed))
        return np.zeros((homes + SLACK + window, 2), np.uint64), max(int(_LOAD * homes), window)

    def _write(self, table: Pairs) -> None:
        self.runs.add(table[: sort_table(table)])
        table.fill(0)

    def _blocks(
        self, offsets: NDArray[np.int64], begin: int, end: int
    ) -> Iterator[tuple[int, NDArray[np.int32], NDArray[np.int64], int]]:
        """Yield for each block of tokens their number, the words to count, the starts of documents, and the first new word.

        The words begin with the last ones of the previous block, so that no window is cut.
        """
        order = np.arange(self.store.n_documents)
        carried = np.empty(0, np.int32)
        for position in range(begin, end, BLOCK_TOKENS):
            stop = min(position + BLOCK_TOKENS, end)
            tokens = self.store.gather(order, offsets, position, stop)
            kept = self.keep.take(tokens, mode="clip") & (tokens < len(self.keep))
            words = np.concatenate([carried, tokens[kept]]).astype(np.int32)
            inside = offsets[slice(*np.searchsorted(offsets, [position, stop]))] - position
            kept_before = np.concatenate([[0], np.cumsum(kept)])
            starts = np.concatenate([[0], kept_before[inside] + len(carried), [len(words)]])
            yield stop - position, words, starts, len(carried)
            carried = words[max(starts[-2], len(words) - len(self.units) + 1) :]
