"""Small tables of word vectors for the tests, and what is nearest in them by brute force."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from unfreeze.vectors.neighbors import Measure
from unfreeze.vectors.table import VectorTable


def table_of(**vectors: Sequence[float]) -> VectorTable:
    """A table with these words."""
    return VectorTable(list(vectors), np.array(list(vectors.values()), np.float32))


def random_table(n_words: int, size: int, seed: int, *, repeated: int = 1) -> VectorTable:
    """Words w0, w1, ... with normal vectors, each of which stands `repeated` times, in a random order."""
    random = np.random.default_rng(seed)
    distinct = random.standard_normal((-(-n_words // repeated), size))
    matrix = np.repeat(distinct, repeated, axis=0)[random.permutation(n_words)]
    return VectorTable([f"w{number}" for number in range(n_words)], matrix.astype(np.float32))


def brute_force(
    table: VectorTable, query: ArrayLike, measure: Measure = "cosine", excluded: Iterable[int] = ()
) -> list[tuple[float, int]]:
    """(score, row) of every row that may be a neighbor, the best first, row by row in float64."""
    vector = np.asarray(query, np.float64)
    found = []
    for row, other in enumerate(table.matrix.astype(np.float64)):
        if row not in set(excluded) and other.any():
            score = float(sum(vector * other))
            if measure == "cosine":
                score /= float(np.sqrt(sum(vector**2)) * np.sqrt(sum(other**2)))
            found.append((score, row))
    return sorted(found, key=lambda pair: (-pair[0], pair[1]))
