"""Counts of the n-grams of a corpus, as sorted arrays; ngram.py computes probabilities from them.

The arrays are the levels of a trie. A row of level 1 is a word of the vocabulary. Level k is the sorted array of the keys

    (row of the first k - 1 words at level k - 1) * V + last word

An n-gram is found by one binary search from the row of its words before the last one; rows are in the order of their words,
and the n-grams that share a context are adjacent. Six words of 60,000 would need 96 bits; a key needs 48.

The corpus is read from its store once for each level, `CHUNK` tokens at a time: the keys of a chunk are sorted and counted, and
the counts of the chunks are merged. Between levels each token keeps the row of the n-gram that ends there, so that the keys of
the next level need no search. Contexts never cross the beginning of a document, and the begin symbol is never the last word.

Memory: 4 bytes per token, 8 + 4 + 8 per distinct n-gram of the finished levels, and some copies of the level that is merged
(at most 2.4 GB for order 5 of 22 million tokens, including ngram.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unfreeze.progress import SILENT, Progress
from unfreeze.text.token_store import TokenStore

CHUNK = 1 << 22
"""Tokens that are sorted at once."""

Keys = NDArray[np.int64]
Rows = NDArray[np.int64]
Counts = NDArray[np.int64]
Advance = Callable[[int], None]


@dataclass(frozen=True)
class CountedLevel:
    """The n-grams of one length k."""

    keys: Keys
    """(n,) ascending; for k = 1 the V ids."""
    suffixes: NDArray[np.integer[Any]]
    """(n,) row at level k - 1 of the n-gram without its first word; empty for k = 1."""
    counts: Counts
    """(n,) adjusted counts; see `count_ngrams`."""


def count_ngrams(
    store: TokenStore, order: int, vocabulary: int, bos_id: int, progress: Progress = SILENT
) -> list[CountedLevel]:
    """The n-grams of lengths 1 to `order` with the counts of Kneser & Ney (1995).

    The count of the longest n-grams is their number of occurrences. That of shorter ones is the number of different words that
    precede them (so "Francisco" is rare, however often "San Francisco" occurs), except those that begin with the begin symbol,
    which nothing precedes: they keep their number of occurrences. Only the begin symbol has 0, because it is never predicted.

    Args:
        store: every document begins with `bos_id`, which is nowhere else.
        vocabulary: V.
    """
    corpus = _Corpus(store, vocabulary, bos_id)
    raw = np.zeros(vocabulary, dtype=np.int64)
    for _, _, ids in corpus.chunks():
        raw += np.bincount(ids, minlength=vocabulary)
    raw[bos_id] = 0
    levels = [CountedLevel(np.arange(vocabulary), np.empty(0, dtype=np.int32), raw)]
    begun = slice(bos_id, bos_id + 1)  # the rows that begin with the begin symbol
    for length in range(2, order + 1):
        with progress.bar(f"counting {length}-grams", total=2 * store.n_tokens, unit="token") as bar:
            keys, counts = corpus.count(bar.advance)
            suffixes = corpus.place(keys, bar.advance)
        lower = levels[-1]
        preceding = np.bincount(suffixes, minlength=len(lower.keys))
        preceding[begun] = lower.counts[begun]
        levels[-1] = CountedLevel(lower.keys, lower.suffixes, preceding)
        levels.append(CountedLevel(keys, suffixes, counts))
        first, last = np.searchsorted(keys, np.array([begun.start, begun.stop]) * vocabulary).tolist()
        begun = slice(first, last)
    return levels


class _Corpus:
    """The tokens of a store, and for each the row of the n-gram of the current length that ends there, or -1."""

    def __init__(self, store: TokenStore, vocabulary: int, bos_id: int) -> None:
        self.store, self.vocabulary, self.bos_id = store, vocabulary, bos_id
        self._order = np.arange(store.n_documents)
        self._cumulative = np.concatenate([[0], np.cumsum(store.lengths)])
        largest = max(store.n_tokens, vocabulary)  # of all rows
        self._rows = np.empty(store.n_tokens, dtype=np.int32 if largest < 2**31 else np.int64)
        for start, stop, ids in self.chunks():
            self._rows[start:stop] = ids

    def chunks(self) -> Iterator[tuple[int, int, Rows]]:
        """Ids [start, stop) of all documents one after the other."""
        for start in range(0, self.store.n_tokens, CHUNK):
            stop = min(start + CHUNK, self.store.n_tokens)
            yield start, stop, self.store.gather(self._order, self._cumulative, start, stop).astype(np.int64)

    def _keys(self) -> Iterator[tuple[int, int, Keys]]:
        """The keys of the next level, -1 where there is no such n-gram; a chunk's rows may be replaced meanwhile."""
        before = -1
        for start, stop, ids in self.chunks():
            context = np.empty(stop - start, dtype=np.int64)
            context[0], context[1:] = before, self._rows[start : stop - 1]
            before = int(self._rows[stop - 1])
            yield (
                start,
                stop,
                np.where((context >= 0) & (ids != self.bos_id), context * self.vocabulary + ids, -1),
            )

    def count(self, advance: Advance) -> tuple[Keys, Counts]:
        """The distinct n-grams of the next length, and how often each occurs."""
        runs = _Runs()
        for start, stop, keys in self._keys():
            runs.add(*_distinct(keys[keys >= 0]))
            advance(stop - start)
        return runs.merged()

    def place(self, level: Keys, advance: Advance) -> NDArray[np.integer[Any]]:
        """Move to the rows of the next level, and return its suffixes: the shorter n-gram that ends at the same token."""
        suffixes = np.empty(len(level), dtype=self._rows.dtype)
        for start, stop, keys in self._keys():
            rows = find_rows(level, keys)
            found = rows >= 0
            suffixes[rows[found]] = self._rows[start:stop][found]
            self._rows[start:stop] = rows
            advance(stop - start)
        return suffixes


class _Runs:
    """Sorted distinct keys with counts, merged like the runs of a merge sort: a key is moved O(log n) times."""

    def __init__(self) -> None:
        self._runs: list[tuple[Keys, Counts]] = []

    def add(self, keys: Keys, counts: Counts) -> None:
        self._runs.append((keys, counts))
        while len(self._runs) > 1 and len(self._runs[-2][0]) <= 2 * len(self._runs[-1][0]):
            self._merge_last()

    def merged(self) -> tuple[Keys, Counts]:
        while len(self._runs) > 1:
            self._merge_last()
        return self._runs.pop()

    def _merge_last(self) -> None:
        self._runs.append(merged_counts(*self._runs.pop(), *self._runs.pop()))


def merged_counts(a: Keys, a_counts: Counts, b: Keys, b_counts: Counts) -> tuple[Keys, Counts]:
    """Merge two runs of sorted distinct keys; the counts of equal keys are added."""
    keys = np.concatenate([a, b])
    order = np.argsort(keys, kind="stable")  # linear for two sorted runs
    keys, counts = keys[order], np.concatenate([a_counts, b_counts])[order]
    begins = _begins(keys)
    return keys[begins], np.add.reduceat(counts, begins) if len(keys) else counts


def _distinct(keys: Keys) -> tuple[Keys, Counts]:
    """The distinct keys, sorted, and their counts."""
    keys = np.sort(keys)
    begins = _begins(keys)
    return keys[begins], np.diff(begins, append=len(keys))


def _begins(keys: Keys) -> Rows:
    """Where each distinct key begins in sorted keys."""
    different = np.empty(len(keys), dtype=bool)
    different[:1] = True
    np.not_equal(keys[1:], keys[:-1], out=different[1:])
    return np.flatnonzero(different)


def find_rows(level: Keys, keys: Keys) -> Rows:
    """The row of each key in a level, -1 for a key that it lacks: (n,) ascending, (Q,) in any order -> (Q,).

    The keys are sorted first, so that consecutive searches touch the same memory: 0.4 seconds instead of 4.7 for 4 million keys
    in a level of 10 million.
    """
    if not len(level):
        return np.full(len(keys), -1, dtype=np.int64)
    order = np.argsort(keys)
    ordered = keys[order]
    places = np.searchsorted(level, ordered)
    found = level[np.minimum(places, len(level) - 1)] == ordered
    rows = np.empty(len(keys), dtype=np.int64)
    rows[order] = np.where(found, places, -1)
    return rows
