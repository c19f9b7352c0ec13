"""Nearest neighbors against brute force in float64; what must not matter: blocks, and what else is asked."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.analysis.tables import brute_force, random_table, table_of
from unfreeze.errors import UserError
from unfreeze.vectors import neighbors
from unfreeze.vectors.neighbors import NeighborIndex, as_formula
from unfreeze.vectors.table import VectorTable

MEASURES: tuple[Literal["cosine", "dot"], ...] = ("cosine", "dot")


@settings(max_examples=60)
@given(
    st.integers(1, 60), st.integers(1, 9), st.integers(1, 6), st.integers(1, 70), st.sampled_from(MEASURES),
    st.integers(0, 1000), st.data(),
)  # fmt: skip
def test_as_brute_force(
    n_words: int, size: int, n_queries: int, top: int, measure: Literal["cosine", "dot"], seed: int, data: st.DataObject
) -> None:  # fmt: skip
    table = random_table(n_words, size, seed)
    queries = np.random.default_rng(seed + 1).standard_normal((n_queries, size))
    excluded = data.draw(
        st.lists(st.sets(st.integers(0, n_words - 1)), min_size=n_queries, max_size=n_queries)
    )
    index = NeighborIndex(table, measure=measure, block_rows=data.draw(st.integers(1, n_words)))
    found = index.nearest_to_vectors(queries, top=top, excluded=excluded)
    for query, barred, nearest in zip(queries, excluded, found, strict=True):
        expected = brute_force(table, query, measure, barred)[:top]
        assert [n.row for n in nearest] == [row for _, row in expected]
        assert [n.score for n in nearest] == pytest.approx([score for score, _ in expected], rel=1e-12)
        assert [n.word for n in nearest] == [f"w{row}" for _, row in expected]


@settings(max_examples=60)
@given(
    st.integers(1, 40),
    st.integers(1, 5),
    st.integers(1, 4),
    st.integers(1, 12),
    st.integers(0, 99),
    st.data(),
)
def test_neither_blocks_nor_other_queries_matter(
    n_words: int, size: int, repeated: int, top: int, seed: int, data: st.DataObject
) -> None:
    """To the last bit, also where vectors are equal: then the first rows win."""
    table = random_table(n_words, size, seed, repeated=repeated)
    queries = np.random.default_rng(seed + 1).standard_normal((4, size))
    whole = NeighborIndex(table).nearest_to_vectors(queries, top=top)
    blocks = NeighborIndex(table, block_rows=data.draw(st.integers(1, n_words)))
    assert [blocks.nearest_to_vectors(query[None], top=top)[0] for query in queries] == whole
    for nearest in whole:
        assert [(-n.score, n.row) for n in nearest] == sorted((-n.score, n.row) for n in nearest)


def test_more_queries_than_fit_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    table = random_table(50, 4, seed=1)
    index = NeighborIndex(table)
    excluded = [{row} for row in range(50)]
    queries = np.stack([index.combined([word]) for word in table.words])
    together = index.nearest_to_vectors(queries, top=3, excluded=excluded)
    monkeypatch.setattr(neighbors, "QUERIES_AT_ONCE", 7)
    assert index.nearest_to_vectors(queries, top=3, excluded=excluded) == together
    assert [NeighborIndex(table).nearest(word, top=3) for word in table.words] == together


@pytest.mark.parametrize("measure", MEASURES)
def test_the_first_rows_of_thousands_of_equal_ones(measure: Literal["cosine", "dot"]) -> None:
    table = VectorTable([f"w{n}" for n in range(3000)], np.full((3000, 3), 0.1, np.float32))
    found = NeighborIndex(table, measure=measure, block_rows=700).nearest("w2", top=4)
    assert [neighbor.row for neighbor in found] == [0, 1, 3, 4]


def test_rows_that_get_better_to_the_end() -> None:
    """Every row of a block beats all earlier ones: the most that can be left over for the exact scores."""
    angles = np.linspace(3, 0.001, 5000)
    table = VectorTable(
        [f"w{n}" for n in range(5000)], np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)
    )
    found = NeighborIndex(table, block_rows=400).nearest_to_vectors([[1.0, 0.0]], top=3)[0]
    assert [neighbor.row for neighbor in found] == [4999, 4998, 4997]


def test_cosines_that_only_float64_tells_apart() -> None:
    angles = 1e-4 * np.arange(1, 6)  # cosines differ by less than float32's 6e-8
    matrix = np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)[::-1]
    table = VectorTable(list("edcba"), np.ascontiguousarray(matrix))
    found = NeighborIndex(table).nearest_to_vectors([[1.0, 0.0]], top=5)[0]
    assert [neighbor.word for neighbor in found] == list("abcde")


def test_king_and_queen() -> None:
    table = table_of(
        king=(5, 1, 0.1), man=(0, 2, 0), woman=(0, 0, 3), queen=(9, 0.2, 2), prince=(5, 1, 0), pear=(-1, 0, 0)
    )
    index = NeighborIndex(table)
    units = table.matrix / np.linalg.norm(table.matrix, axis=1, keepdims=True)
    expected = brute_force(table, units[0] + units[2] - units[1], excluded=[0, 1, 2])
    found = index.nearest(["king", "woman"], ["man"], top=9)
    assert [(n.word, n.row) for n in found] == [(table.words[row], row) for _, row in expected]
    assert found[0].word == "queen"
    assert found[0].score == pytest.approx(expected[0][0], rel=1e-6)
    assert index.nearest("king", top=1)[0].word == "prince"
    assert as_formula(["king", "woman"], ["man", "x"]) == "king + woman - man - x"
    assert as_formula([], ["man"]) == "- man"


def test_dot_products_add_up_unscaled_vectors() -> None:
    table = table_of(a=(1, 0), b=(0, 4), c=(1, 1), d=(3, -1), e=(0, 0))
    found = NeighborIndex(table, measure="dot").nearest(["a", "b"], top=5)
    assert [(n.word, pytest.approx(n.score)) for n in found] == [("c", 5.0), ("d", -1.0)]


def test_a_zero_vector_is_no_neighbor_and_no_query() -> None:
    index = NeighborIndex(table_of(a=(1, 0), nothing=(0, 0), b=(-1, 0)))
    assert [n.word for n in index.nearest("a")] == ["b"]
    with pytest.raises(UserError, match="'nothing' is zero: it has no direction"):
        index.nearest("nothing")
    with pytest.raises(UserError, match="a \\+ b is zero"):
        index.nearest(["a", "b"])
    with pytest.raises(UserError, match="a query is zero"):
        index.nearest_to_vectors([[1, 0], [0, 0]])
    rows, scores = index.search(np.array([[0.0, 0.0], [1.0, 0.0]]), 2)
    assert rows.tolist() == [[-1, -1], [0, 2]] and scores[0].tolist() == [-np.inf, -np.inf]


def test_a_word_that_stands_twice_is_no_neighbor_of_itself() -> None:
    table = VectorTable(["a", "b", "a", "b"], np.array([[1, 0], [1, 1], [1, 0], [2, 2]], np.float32))
    assert [(n.word, n.row) for n in NeighborIndex(table).nearest("a")] == [("b", 1)]


@pytest.mark.parametrize("scale", [1e-38, 1e-20, 1e20, 1e37])
@pytest.mark.parametrize("measure", MEASURES)
def test_very_short_and_very_long_vectors(scale: float, measure: Literal["cosine", "dot"]) -> None:
    table = random_table(30, 5, seed=3)
    scaled = VectorTable(table.words, (table.matrix * np.float64(scale)).astype(np.float32))
    for word in table.words[:5]:
        expected = [n.row for n in NeighborIndex(table, measure=measure).nearest(word, top=5)]
        assert [n.row for n in NeighborIndex(scaled, measure=measure).nearest(word, top=5)] == expected


def test_what_cannot_be_asked() -> None:
    index = NeighborIndex(table_of(king=(1, 0), queen=(0, 1)))
    for top in (0, -1):
        with pytest.raises(UserError, match=f"at least 1, not {top}"):
            index.nearest("king", top=top)
    with pytest.raises(UserError, match="'quene' is none of the 2 words .* did you mean 'queen'"):
        index.nearest(["king", "quene"])
    with pytest.raises(UserError, match="no word was given"):
        index.nearest([])
    with pytest.raises(UserError, match=r"shape \(1, 3\): they must be \(queries, 2\)"):
        index.nearest_to_vectors([[1, 2, 3]])
    with pytest.raises(UserError, match="NaN"):
        index.nearest_to_vectors([[1, np.nan]])
    with pytest.raises(UserError, match="the table is empty"):
        NeighborIndex(VectorTable([], np.empty((0, 2), np.float32)))
    with pytest.raises(UserError, match=r"the vector of 'b' \(row 1\) holds NaN or infinity"):
        NeighborIndex(table_of(a=(1, 1), b=(1, np.nan)))
