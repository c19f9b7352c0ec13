"""Tables of word2vec: subsampling, the alias table of negatives, the Huffman tree, bags of n-grams.

All tables are computed once, from the counts of the corpus.

Shapes: V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unfreeze.compiled.decorators import allocating
from unfreeze.pretraining.word2vec.step import Floats, Ids
from unfreeze.pretraining.word2vec.walk import Tables

Counts = NDArray[np.float64]
Starts = NDArray[np.int64]


def make_tables(
    counts: Counts, *, subsample: float, hierarchical: bool = False, bags: tuple[Starts, Ids] | None = None
) -> Tables:
    """Return the tables of a training run.

    Args:
        counts: (V,) occurrences; ids with count 0 are not used.
        bags: (V + 1,) starts and row numbers of the inputs of each word, as from `bag_table`; None is one row per word.
    """
    none, starts = np.empty(0, np.int32), np.zeros(1, np.int64)
    path = huffman_paths(counts) if hierarchical else (starts, none, np.empty(0, np.float32))
    acceptance, alias = (np.empty(0), none) if hierarchical else alias_table(counts**0.75)
    bag_starts, bag_rows = bags or (starts, none)
    keep = keep_probabilities(counts, subsample)
    return Tables(keep, acceptance.astype(np.float32), alias, *path, bag_starts, bag_rows)


def keep_probabilities(counts: Counts, subsample: float) -> Counts:
    """(V,) sqrt(s / f) + s / f, at most 1, for words of relative frequency f (word2vec's code); 0 where the count is 0."""
    with np.errstate(divide="ignore"):
        ratio = subsample * counts.sum() / counts if subsample else np.full_like(counts, np.inf)
    return np.where(counts > 0, np.minimum(np.sqrt(ratio) + ratio, 1.0), 0.0)


def alias_table(weights: Counts) -> tuple[Counts, Ids]:
    """Vose's alias table: draw a column uniformly, keep it with its acceptance, else take its alias. O(V).

    Returns:
        Acceptance (V,) in [0, 1], and alias (V,).
    """
    acceptance = weights * (len(weights) / weights.sum())
    alias = np.arange(len(weights), dtype=np.int32)
    small, large = np.flatnonzero(acceptance < 1).tolist(), np.flatnonzero(acceptance >= 1).tolist()
    while small and large:
        poor, rich = small.pop(), large[-1]
        alias[poor] = rich
        acceptance[rich] -= 1 - acceptance[poor]
        if acceptance[rich] < 1:
            small.append(large.pop())
    acceptance[[i for i in small + large if weights[i] > 0]] = 1.0  # only these are left over, by rounding
    return acceptance, alias


def huffman_paths(counts: Counts) -> tuple[Starts, Ids, Floats]:
    """Return the path to each word through a Huffman tree, from the root down; frequent words have short paths.

    Returns:
        Where the path of each word begins (V + 1,); the inner nodes on the paths, where the root is n - 2 for n words that
        occur; and the turn at each node, 1 to the left and -1 to the right. Words that do not occur have an empty path.
    """
    words = np.flatnonzero(counts > 0)
    words = words[np.argsort(counts[words], kind="stable")]
    parents, signs = _join_rarest(counts[words])
    depths, nodes, turns = _climb(parents, signs, len(words))
    lengths = np.zeros(len(counts), np.int64)
    lengths[words] = depths
    starts = np.concatenate([[0], np.cumsum(lengths)])
    order = np.argsort(words, kind="stable")  # the paths are in the order of rising counts
    begins = np.cumsum(depths) - depths
    pick = np.repeat(begins[order] - (np.cumsum(depths[order]) - depths[order]), depths[order])
    pick += np.arange(len(nodes))
    return starts, nodes[pick], turns[pick]


@allocating
def _join_rarest(counts: Counts) -> Any:
    """Return the parent and the turn of each node of a Huffman tree: n leaves by rising counts, then n - 1 inner nodes.

    New inner nodes have rising counts too, so the rarest node is always the first of one of two queues.
    """
    n = len(counts)
    weights = np.empty(2 * n - 1, np.float64)
    weights[:n] = counts
    parents, signs = np.full(2 * n - 1, -1, np.int64), np.ones(2 * n - 1, np.float32)
    leaf, inner = 0, n
    for new in range(n, 2 * n - 1):
        weights[new] = 0.0
        for turn in range(2):
            if leaf < n and (inner >= new or weights[leaf] <= weights[inner]):
                rarest = leaf
                leaf += 1
            else:
                rarest = inner
                inner += 1
            parents[rarest] = new
            weights[new] += weights[rarest]
            if turn:
                signs[rarest] = -1.0
    return parents, signs


@allocating
def _climb(parents: NDArray[np.int64], signs: Floats, n: int) -> Any:
    """Return the depths of the n leaves, and their paths from the root down, one after the other."""
    depths = np.zeros(n, np.int64)
    for leaf in range(n):
        node = parents[leaf]
        while node >= 0:
            depths[leaf] += 1
            node = parents[node]
    nodes, turns = np.empty(depths.sum(), np.int32), np.empty(depths.sum(), np.float32)
    end = 0
    for leaf in range(n):
        end += depths[leaf]
        node, place = leaf, end
        while parents[node] >= 0:
            place -= 1
            nodes[place], turns[place] = parents[node] - n, signs[node]
            node = parents[node]
    return depths, nodes, turns


def bag_table(bags: Sequence[Sequence[int]]) -> tuple[Starts, Ids]:
    """Concatenate lists of row numbers: where each begins (V + 1,), and the row numbers."""
    starts = np.concatenate([[0], np.cumsum([len(bag) for bag in bags])]).astype(np.int64)
    return starts, np.fromiter((row for bag in bags for row in bag), np.int32, int(starts[-1]))
