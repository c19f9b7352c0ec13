"""Exact nearest neighbors among word vectors, by cosine similarity or dot product.

A float32 product of a block of rows with all queries only selects candidates, whose scores are then computed again in
float64. Results therefore depend neither on the block size nor on the other queries, and ties are ordered by row.
The memory needed in addition to the table is its norms and one block of scores, independent of V.

Shapes: V words, D vector dimension, Q queries, k neighbors per query, R rows per block.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from unfreeze.errors import UserError
from unfreeze.vectors.table import VectorTable, row_not_finite

Measure = Literal["cosine", "dot"]
Floats: TypeAlias = NDArray[np.float64]
Rows: TypeAlias = NDArray[np.int64]

QUERIES_AT_ONCE = 512
_BLOCK_SCORES = 1 << 21
"""Q * R of a block: 8 MB of scores in float32."""
_EXACT_NUMBERS = 1 << 20
"""Elements that are converted to float64 at once."""
_ORDINARY_NORMS = (1e-15, 1e15)
"""Within this range products do not overflow or underflow in float32."""
_NO_DIRECTION = 1e-7
"""A sum of unit vectors as short as this is a rounding error of float32."""


class Neighbor(NamedTuple):
    """A neighbor of a query, with its score."""

    word: str
    score: float
    """Cosine or dot product."""
    row: int
    """Row of the word in the table."""


class NeighborIndex:
    """Nearest-neighbor search in a table of word vectors. Zero vectors are never returned, as they have no direction.

    Args:
        table: its matrix is not copied (except with norms below 1e-15 or above 1e15).
        measure: cosine similarity or dot product.
        block_rows: R, the rows that are compared at once; by default it depends on the number of queries.

    Raises:
        UserError: the table is empty, or a vector holds NaN or infinity.
    """

    def __init__(
        self, table: VectorTable, *, measure: Measure = "cosine", block_rows: int | None = None
    ) -> None:
        if not len(table):
            raise UserError("there are no word vectors to search: the table is empty")
        self.table = table
        self.measure = measure
        self.norms = vector_norms(table)
        self._block_rows = block_rows
        self._usable = self.norms > 0
        if len(table.index) < len(table):  # the first row of a duplicate word counts
            is_first = np.zeros(len(table), np.bool_)
            is_first[list(table.index.values())] = True
            self._usable &= is_first
        longest = float(self.norms.max())
        self._divisors = np.where(self.norms > 0, self.norms if measure == "cosine" else longest, 1.0)
        self._rows, self._scale = table.matrix, (1.0 / self._divisors).astype(np.float32)
        if self._divisors.min() < _ORDINARY_NORMS[0] or self._divisors.max() > _ORDINARY_NORMS[1]:
            self._rows = (table.matrix / self._divisors[:, None]).astype(np.float32)
            self._scale = np.ones(len(table), np.float32)
        # Error bound of a float32 sum of D products whose absolute values add up to at most 1.
        self._slack = (table.size + 8) * 2.0**-24

    def combined(self, positive: Sequence[str], negative: Sequence[str] = ()) -> Floats:
        """Return the sum (D,) of the vectors of `positive` minus those of `negative`, normalized first for cosines.

        Raises:
            UserError: a word is unknown or has a zero vector, or the sum is zero.
        """
        signed = [(word, 1.0) for word in positive] + [(word, -1.0) for word in negative]
        if not signed:
            raise UserError("no word was given to look for neighbors of")
        total = np.zeros(self.table.size)
        for word, sign in signed:
            row = self.table.known_row(word)
            if not self.norms[row]:
                raise UserError(f"the vector of {word!r} is zero: it has no direction and no neighbors")
            vector = self.table.matrix[row].astype(np.float64)
            total += sign * (vector / self.norms[row] if self.measure == "cosine" else vector)
        longest = 1.0 if self.measure == "cosine" else float(self.norms.max())
        if np.linalg.norm(total) <= _NO_DIRECTION * longest and len(signed) > 1:
            raise UserError(f"{as_formula(positive, negative)} is zero: it has no direction and no neighbors")
        return total

    def nearest(
        self, positive: str | Sequence[str], negative: Sequence[str] = (), *, top: int = 10
    ) -> list[Neighbor]:
        """Return the words nearest to a word or to a sum of words (`["king", "woman"], ["man"]`), except those words.

        Raises:
            UserError: a word is unknown, the query is a zero vector, or `top` is below 1.
        """
        words = [positive] if isinstance(positive, str) else list(positive)
        query = self.combined(words, negative)
        excluded = {self.table.known_row(word) for word in [*words, *negative]}
        return self.nearest_to_vectors(query[None], top=top, excluded=[excluded])[0]

    def nearest_to_vectors(
        self, vectors: ArrayLike, *, top: int = 10, excluded: Sequence[Collection[int]] = ()
    ) -> list[list[Neighbor]]:
        """Return the words nearest to each vector of (Q, D), fewer than `top` if there are no more.

        Args:
            excluded: for each query the rows to leave out; by default none.

        Raises:
            UserError: the vectors are not (Q, D), hold NaN or infinity or are zero, or `top` is below 1.
        """
        queries = np.asarray(vectors, np.float64)
        if top < 1:
            raise UserError(f"the number of neighbors must be at least 1, not {top}")
        if queries.ndim != 2 or queries.shape[1] != self.table.size:
            raise UserError(f"queries of shape {queries.shape}: they must be (queries, {self.table.size})")
        if not np.isfinite(queries).all():
            raise UserError("a query holds NaN or infinity")
        if not queries.any(axis=1).all():
            raise UserError("a query is zero: it has no direction and no neighbors")
        rows, scores = self.search(queries, top, excluded)
        return [
            [
                Neighbor(self.table.words[row], score, row)
                for row, score in zip(found, of_found, strict=True)
                if row >= 0
            ]
            for found, of_found in zip(rows.tolist(), scores.tolist(), strict=True)
        ]

    def search(
        self, queries: Floats, top: int, excluded: Sequence[Collection[int]] = ()
    ) -> tuple[Rows, Floats]:
        """Return rows and scores, each (Q, k), of the words nearest to `queries` (Q, D), best first.

        Missing neighbors have row -1 and score -inf; a zero query has no neighbors.
        """
        lengths = np.linalg.norm(queries, axis=1)
        units = queries / np.where(lengths > 0, lengths, 1.0)[:, None]
        top = min(top, len(self.table))
        best = _Best(len(queries), top)
        for first in range(0, len(queries), QUERIES_AT_ONCE):
            part = slice(first, first + QUERIES_AT_ONCE)
            best.rows[part], best.scores[part] = self._search_part(units[part], top, excluded[part])
        best.rows[lengths == 0], best.scores[lengths == 0] = -1, -np.inf
        if self.measure == "dot":
            best.scores *= (lengths * self.norms.max())[:, None]
            best.scores[best.rows < 0] = -np.inf
        return best.rows, best.scores

    def _search_part(
        self, units: Floats, top: int, excluded: Sequence[Collection[int]]
    ) -> tuple[Rows, Floats]:
        """`search` for queries of length 1, in one pass over the table."""
        rough = units.astype(np.float32)
        pairs = np.array([(q, row) for q, rows in enumerate(excluded) for row in rows], np.int64)
        excluded_queries, excluded_rows = pairs.reshape(-1, 2).T
        best = _Best(len(units), top)
        size = self._block_rows or min(1 << 16, max(256, _BLOCK_SCORES // len(units)))
        for start in range(0, len(self.table), size):
            block = slice(start, start + size)
            scores = rough @ self._rows[block].T  # (Q, R)
            scores *= self._scale[block]
            scores[:, ~self._usable[block]] = -np.inf
            inside = (excluded_rows >= start) & (excluded_rows < start + size)
            scores[excluded_queries[inside], excluded_rows[inside] - start] = -np.inf
            of_query, places = best.candidates(scores, self._slack)
            if len(places):
                best.merge(of_query, places + start, self._exact_scores(units, of_query, places + start))
        return best.rows, best.scores

    def _exact_scores(self, units: Floats, of_query: Rows, rows: Rows) -> Floats:
        """The scores (n,) of pairs of a query and a row, in float64."""
        scores = np.empty(len(rows))
        step = max(1, _EXACT_NUMBERS // self.table.size)
        for first in range(0, len(rows), step):
            part = slice(first, first + step)
            vectors = self.table.matrix[rows[part]].astype(np.float64)
            scores[part] = np.einsum("nd,nd->n", vectors, units[of_query[part]]) / self._divisors[rows[part]]
        return scores


class _Best:
    """The best rows (Q, k) of each query so far, best first, padded with row -1 and score -inf."""

    def __init__(self, n_queries: int, top: int) -> None:
        self.top = top
        self.rows: Rows = np.full((n_queries, top), -1, np.int64)
        self.scores: Floats = np.full((n_queries, top), -np.inf)

    def candidates(self, scores: NDArray[np.float32], slack: float) -> tuple[Rows, Rows]:
        """Queries and places (n,) that may be among the best, given `scores` (Q, R) with an error of at most `slack`."""
        floors = np.maximum(self.scores[:, -1] - slack, -2.0)  # above the -inf of excluded rows
        wanted = scores >= floors[:, None].astype(np.float32)
        crowded = np.flatnonzero(wanted.sum(axis=1) > 4 * self.top + 16)
        n_rows = scores.shape[1]
        if len(crowded) and n_rows > self.top:
            kth = np.partition(scores[crowded], n_rows - self.top, axis=1)[:, n_rows - self.top]
            floors[crowded] = np.maximum(floors[crowded], kth.astype(np.float64) - 2 * slack)
            wanted[crowded] = scores[crowded] >= floors[crowded, None].astype(np.float32)
        of_query, places = np.divmod(np.flatnonzero(wanted), n_rows)  # faster than nonzero over two axes
        return of_query, places

    def merge(self, of_query: Rows, rows: Rows, scores: Floats) -> None:
        """Add rows with their exact scores."""
        n_queries = len(self.rows)
        of_query = np.concatenate([np.repeat(np.arange(n_queries), self.top), of_query])
        rows = np.concatenate([self.rows.ravel(), rows])
        scores = np.concatenate([self.scores.ravel(), scores])
        order = np.lexsort((rows, -scores, of_query))
        starts = np.searchsorted(of_query[order], np.arange(n_queries))
        best = order[np.arange(len(order)) - starts[of_query[order]] < self.top]
        self.rows, self.scores = rows[best].reshape(-1, self.top), scores[best].reshape(-1, self.top)


def vector_norms(table: VectorTable) -> Floats:
    """Return the Euclidean norms (V,) of the vectors.

    Raises:
        UserError: a vector holds NaN or infinity.
    """
    norms = np.empty(len(table))
    step = max(1, _EXACT_NUMBERS // max(1, table.size))
    for start in range(0, len(table), step):
        rows = table.matrix[start : start + step].astype(np.float64)
        norms[start : start + step] = np.sqrt(np.einsum("nd,nd->n", rows, rows))
    broken = np.flatnonzero(~np.isfinite(norms))
    if len(broken):
        raise UserError(f"the vector of {table.words[broken[0]]!r} (row {broken[0]}) holds NaN or infinity")
    return norms


def similarity(table: VectorTable, a: str, b: str, *, measure: Measure = "cosine") -> float:
    """Return the cosine similarity or the dot product of the vectors of two words.

    Raises:
        UserError: a word is unknown, or its vector holds NaN or infinity or, for a cosine, is zero.
    """
    vectors = table.matrix[[table.known_row(a), table.known_row(b)]].astype(np.float64)
    if (row := row_not_finite(vectors)) is not None:
        raise UserError(f"the vector of {(a, b)[row]!r} holds NaN or infinity")
    if measure == "cosine":
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        for word, norm in zip((a, b), norms, strict=True):
            if not norm:
                raise UserError(f"the vector of {word!r} is zero: it has no direction, so it has no cosine")
        vectors = vectors / norms
    return float(vectors[0] @ vectors[1])


def as_formula(positive: Sequence[str], negative: Sequence[str] = ()) -> str:
    """Format a query as "king + woman - man"."""
    return " ".join([" + ".join(positive), *(f"- {word}" for word in negative)]).strip()
