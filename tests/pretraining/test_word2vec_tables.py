"""What word2vec draws from: against its definition, gensim and a heap."""

from __future__ import annotations

import heapq

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unfreeze.pretraining.word2vec.tables import alias_table, bag_table, huffman_paths, keep_probabilities


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=30).filter(lambda weights: sum(weights) > 1e-3))
def test_alias_table_holds_exactly_the_distribution(weights: list[float]) -> None:
    acceptance, alias = alias_table(np.array(weights))
    drawn = acceptance.copy()
    np.add.at(drawn, alias, 1 - acceptance)
    assert ((acceptance >= 0) & (acceptance <= 1)).all()
    np.testing.assert_allclose(drawn / len(weights), np.array(weights) / sum(weights), atol=1e-9)


def test_keep_probabilities_are_gensims() -> None:
    gensim = pytest.importorskip("gensim.models")
    counts = [50_000, 9_000, 400, 30, 1]
    model = gensim.Word2Vec(sample=1e-3, min_count=1)
    model.build_vocab_from_freq({str(i): count for i, count in enumerate(counts)})
    theirs = [model.wv.get_vecattr(str(i), "sample_int") / 2**32 for i in range(len(counts))]
    np.testing.assert_allclose(keep_probabilities(np.array(counts, float), 1e-3), theirs, rtol=1e-6)
    assert keep_probabilities(np.array([5.0, 0.0]), 0.0).tolist() == [1.0, 0.0]


def optimal_cost(counts: list[int]) -> int:
    """Sum of count times code length of an optimal code: what a heap joins, added up."""
    heap, cost = list(counts), 0
    heapq.heapify(heap)
    while len(heap) > 1:
        joined = heapq.heappop(heap) + heapq.heappop(heap)
        cost += joined
        heapq.heappush(heap, joined)
    return cost


@given(st.lists(st.integers(0, 1000), min_size=2, max_size=60).filter(lambda c: sum(n > 0 for n in c) >= 2))
def test_huffman_paths_are_an_optimal_prefix_code(counts: list[int]) -> None:
    starts, nodes, signs = huffman_paths(np.array(counts, np.float64))
    lengths = np.diff(starts)
    occur = [n for n in counts if n]
    assert [bool(length) for length in lengths] == [n > 0 for n in counts]
    assert int((lengths * counts).sum()) == optimal_cost(occur)
    paths = [
        tuple(zip(nodes[a:b].tolist(), signs[a:b].tolist(), strict=True))
        for a, b in zip(starts, starts[1:], strict=False)
        if b > a
    ]
    assert {path[0][0] for path in paths} == {len(occur) - 2}  # the root
    assert set(nodes.tolist()) == set(range(len(occur) - 1)) and set(signs.tolist()) == {1.0, -1.0}
    assert sum(2.0 ** -len(path) for path in paths) == 1.0  # a full tree
    assert not any(a != b and a == b[: len(a)] for a in paths for b in paths)


def test_huffman_probabilities_sum_to_one() -> None:
    rng = np.random.default_rng(0)
    counts = rng.integers(1, 100, 20).astype(float)
    starts, nodes, signs = huffman_paths(counts)
    scores = rng.normal(size=20)
    by_word = [
        np.prod(1 / (1 + np.exp(-signs[a:b] * scores[nodes[a:b]])))
        for a, b in zip(starts, starts[1:], strict=False)
    ]
    assert sum(by_word) == pytest.approx(1.0)


def test_bag_table() -> None:
    starts, rows = bag_table([[0, 5], [], [2, 7, 7]])
    assert (starts.tolist(), rows.tolist()) == ([0, 2, 2, 5], [0, 5, 2, 7, 7])
