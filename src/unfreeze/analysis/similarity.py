"""Word similarity, and its Spearman correlation with human judgments on sets of word pairs.

As in gensim's `evaluate_word_pairs`, only the first 300,000 words are used, case is ignored, and the first of words
that differ only in case counts. Pairs with a word that has no vector are skipped and counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from unfreeze.analysis.word_sets import PairSet
from unfreeze.errors import UserError
from unfreeze.text.rules import composed
from unfreeze.vectors.neighbors import Floats
from unfreeze.vectors.table import VectorTable

RESTRICT = 300_000
"""Number of words of a table that are used, from the first; gensim's default."""


@dataclass(frozen=True)
class PairsReport:
    """Agreement of a table with human judgments on one set."""

    name: str
    n_pairs: int
    n_missing: int
    """Pairs skipped because a word has no vector, or a zero vector."""
    spearman: float
    """Over the other pairs; NaN if there are fewer than two, or all values are equal."""


def form(word: str, case_insensitive: bool) -> str:
    """Normalized form by which words are compared: Unicode-composed, and in upper case if case is ignored."""
    return composed(word).upper() if case_insensitive else composed(word)


def rows_of_forms(
    table: VectorTable, *, restrict: int = RESTRICT, case_insensitive: bool = True
) -> dict[str, int]:
    """Map the `form` of each of the first `restrict` words to its row."""
    rows: dict[str, int] = {}
    for row, word in enumerate(table.words[:restrict]):
        rows.setdefault(form(word, case_insensitive), row)
    return rows


def evaluate_pairs(
    table: VectorTable, sets: Sequence[PairSet], *, restrict: int = RESTRICT, case_insensitive: bool = True
) -> list[PairsReport]:
    """Correlate cosine similarities with human scores, set by set.

    Raises:
        UserError: no pair of any set has two vectors.
    """
    rows = rows_of_forms(table, restrict=restrict, case_insensitive=case_insensitive)
    reports = [_evaluate(table, rows, pair_set, case_insensitive) for pair_set in sets]
    if reports and all(report.n_missing == report.n_pairs for report in reports):
        a, b = sets[0].pairs[0]
        raise UserError(
            f"no pair of words ({a!r} and {b!r}, ...) has vectors ({', '.join(table.words[:3])}, ...): "
            "sets and vectors must be of the same language and kind of token"
        )
    return reports


def _evaluate(
    table: VectorTable, rows: dict[str, int], pair_set: PairSet, case_insensitive: bool
) -> PairsReport:
    row_pairs = np.array(
        [[rows.get(form(word, case_insensitive), -1) for word in pair] for pair in pair_set.pairs]
    )
    cosines = np.full(len(row_pairs), np.nan)
    known = (row_pairs >= 0).all(axis=1)
    cosines[known] = _cosines(table, row_pairs[known])
    known = ~np.isnan(cosines)
    scores = np.array(pair_set.scores)
    correlation = spearman(scores[known], cosines[known])
    return PairsReport(pair_set.name, len(row_pairs), int((~known).sum()), correlation)


def _cosines(table: VectorTable, row_pairs: NDArray[np.int64]) -> Floats:
    """Cosine similarities (n,) of pairs of rows (n, 2); NaN where a vector is zero."""
    first, second = (table.matrix[row_pairs[:, side]].astype(np.float64) for side in (0, 1))
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    broken = np.flatnonzero(~np.isfinite(lengths))
    if len(broken):
        a, b = (table.words[row] for row in row_pairs[broken[0]])
        raise UserError(f"the vector of {a!r} or that of {b!r} holds NaN or infinity")
    cosines: Floats = np.full(len(row_pairs), np.nan)
    np.divide(np.einsum("nd,nd->n", first, second), lengths, out=cosines, where=lengths > 0)
    return cosines


def spearman(a: ArrayLike, b: ArrayLike) -> float:
    """Return Spearman's rank correlation of two sequences (n,), with mean ranks for ties.

    NaN if n is below 2, or all values of one sequence are equal.
    """
    ranks = [_ranks(np.asarray(side, np.float64)) for side in (a, b)]
    assert ranks[0].shape == ranks[1].shape, "both sequences have the same length"
    first, second = (side - side.mean() if len(side) else side for side in ranks)
    scale = np.sqrt((first @ first) * (second @ second))
    return float(first @ second / scale) if scale > 0 else float("nan")


def _ranks(values: Floats) -> Floats:
    """Ranks from 1, with the mean rank for ties."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last: NDArray[np.int64] = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[inverse], np.float64)
