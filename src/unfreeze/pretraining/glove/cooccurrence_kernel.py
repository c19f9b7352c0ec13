"""The compiled inner loops of counting co-occurrences.

A pair of words is one 64-bit key: both ids, scattered by a bijection (that of splitmix64, Steele et al. 2014). The scattered
key serves three purposes. It is the hash of the pair, so that a table is read out almost in the order of its keys. It is the
sort order of the runs on disk, whose parts are then of equal size whatever the frequencies of the words. And pairs sorted by
it are shuffled, as training needs them.

Weights are integer multiples of 2^-28 in 64 bits, so that sums depend neither on the order nor on where a run was cut.

Cost: 50 ns (a table of 100 MB) to 70 ns (1 GB) per pair of positions on one core: 9 to 13 s for window 10 and 22 million
tokens, of which 19 million are words of a vocabulary of 30,000.

A table is (slots, 2): key, weight; key 0 marks an empty slot. Pairs are (n, 2) of the same,
sorted by key and without duplicates.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from unfreeze.compiled.decorators import allocating, compiled, inlined

UNIT = 1 << 28
"""Integer that stands for a weight of 1. A pair can occur 2^63 / UNIT = 3e10 times at distance 1 without overflow."""
PART_BITS = 12
"""Number of highest bits of a key that determine its part of a run."""
SLACK = 256
"""Slots after the last home of a table, for the keys that collide there."""

_FACTORS = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_INVERSES = (np.uint64(0x96DE1B173F119089), np.uint64(0x319642B2D24D8EC3))

Pairs = NDArray[np.uint64]


@inlined
def _scatter(row: Any, column: Any) -> Any:
    """Return the key of a pair; 1 is added, since the bijection maps 0 to 0, which marks an empty slot."""
    z = ((np.uint64(row) << np.uint64(32)) | np.uint64(column)) + np.uint64(1)
    z = (z ^ (z >> np.uint64(30))) * _FACTORS[0]
    z = (z ^ (z >> np.uint64(27))) * _FACTORS[1]
    return z ^ (z >> np.uint64(31))


@inlined
def _gather(key: Any) -> Any:
    """Return the pair of a key as row * 2^32 + column, the inverse of `_scatter`."""
    z = (key ^ (key >> np.uint64(31)) ^ (key >> np.uint64(62))) * _INVERSES[1]
    z = (z ^ (z >> np.uint64(27)) ^ (z >> np.uint64(54))) * _INVERSES[0]
    z = z ^ (z >> np.uint64(30)) ^ (z >> np.uint64(60))
    return z - np.uint64(1)


@inlined
def _add(table: Pairs, homes: Any, key: Any, weight: Any) -> int:
    """Add `weight` to the slot of `key` (linear probing); returns 1 if the key is new, else 0."""
    slot = np.int64(((key >> np.uint64(32)) * homes) >> np.uint64(32))
    while True:
        found = table[slot, 0]
        if found == key:
            table[slot, 1] += weight
            return 0
        if found == 0:
            table[slot, 0] = key
            table[slot, 1] = weight
            return 1
        slot += 1


@compiled
def count_words(
    words: NDArray[np.int32],
    starts: NDArray[np.int64],
    first: int,
    units: NDArray[np.uint64],
    symmetric: bool,
    table: Pairs,
    filled: int,
    limit: int,
) -> tuple[int, int]:
    """Add the pairs of `words[first:]` with the words to their left, until the table is full.

    Args:
        words: (W,) ids below 2^31.
        starts: (documents + 1,) where each document starts, and W.
        units: (window + 1,) the weight of each distance, in multiples of 1 / UNIT.
        symmetric: count (smaller id, larger id), and a word with itself twice; else (word, word to its left).
        table: its last SLACK + window slots are not the home of any key.
        filled, limit: number of slots of `table` in use, and the largest allowed number.

    Returns:
        The first word that was not counted (W if all were), and the number of slots then in use.
    """
    window = len(units) - 1
    homes, last = np.uint64(len(table) - SLACK - window), len(table) - window
    for document in range(len(starts) - 1):
        start = starts[document]
        for i in range(max(start, first), starts[document + 1]):
            # Slots after the homes fill up from the left, so if this one is free, so are the `window` slots from here on.
            if filled + window > limit or table[last, 0] != 0:
                return i, filled
            word = words[i]
            for j in range(max(start, i - window), i):
                other, weight = words[j], units[i - j]
                if symmetric:
                    key = _scatter(min(word, other), max(word, other))
                    weight <<= np.uint64(word == other)
                else:
                    key = _scatter(word, other)
                filled += _add(table, homes, key, weight)
    return len(words), filled


@compiled
def sort_table(table: Pairs) -> int:
    """Move the pairs to the front of the table, by rising key; returns their number.

    Insertion sort is fast here, because keys are out of order only within clusters of the table.
    """
    n = 0
    for slot in range(len(table)):
        key, weight = table[slot, 0], table[slot, 1]
        if key != 0:
            place = n
            while place > 0 and table[place - 1, 0] > key:
                table[place, 0], table[place, 1] = table[place - 1, 0], table[place - 1, 1]
                place -= 1
            table[place, 0], table[place, 1] = key, weight
            n += 1
    return n


@allocating
def part_sizes(pairs: Pairs) -> NDArray[np.int64]:
    """Return the number of pairs (2^PART_BITS,) for each value of the highest bits of their keys."""
    sizes = np.zeros(1 << PART_BITS, np.int64)
    for i in range(len(pairs)):
        sizes[np.int64(pairs[i, 0] >> np.uint64(64 - PART_BITS))] += 1
    return sizes


@allocating
def merge(left: Pairs, right: Pairs) -> Pairs:
    """Merge two sorted arrays of pairs; the weights of a key that is in both are added."""
    result = np.empty((len(left) + len(right), 2), np.uint64)
    i = j = n = 0
    while i < len(left) and j < len(right):
        a, b = left[i, 0], right[j, 0]
        result[n, 0] = min(a, b)
        result[n, 1] = np.uint64(0)
        if a <= b:
            result[n, 1] += left[i, 1]
            i += 1
        if b <= a:
            result[n, 1] += right[j, 1]
            j += 1
        n += 1
    rest, begin = (left, i) if i < len(left) else (right, j)
    for k in range(begin, len(rest)):
        result[n, 0], result[n, 1] = rest[k, 0], rest[k, 1]
        n += 1
    return result[:n]


@allocating
def decode(pairs: Pairs) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32]]:
    """Return rows (N,), columns (N,) and weights (N,), in the order of the keys."""
    rows, columns = np.empty(len(pairs), np.int32), np.empty(len(pairs), np.int32)
    values = np.empty(len(pairs), np.float32)
    for i in range(len(pairs)):
        pair = _gather(pairs[i, 0])
        rows[i] = pair >> np.uint64(32)
        columns[i] = pair & np.uint64(0xFFFFFFFF)
        values[i] = np.float64(pairs[i, 1]) / UNIT
    return rows, columns, values
