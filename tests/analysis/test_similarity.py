"""Spearman's correlation against scipy; sets of pairs against brute force."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from tests.analysis.tables import random_table, table_of
from unfreeze.analysis.similarity import evaluate_pairs, spearman
from unfreeze.analysis.word_sets import PairSet
from unfreeze.errors import UserError
from unfreeze.vectors.neighbors import similarity
from unfreeze.vectors.table import VectorTable


@given(st.lists(st.tuples(st.integers(0, 6), st.floats(-1, 1)), min_size=2, max_size=30))
def test_spearman_is_scipys(pairs: list[tuple[int, float]]) -> None:
    """The integers are mostly ties."""
    first, second = (list(side) for side in zip(*pairs, strict=True))
    if len(set(first)) == 1 or len(set(second)) == 1:
        assert math.isnan(spearman(first, second))
    else:
        assert spearman(first, second) == pytest.approx(spearmanr(first, second).statistic, abs=1e-12)


@pytest.mark.parametrize("side", [[], [1.0]])
def test_spearman_of_less_than_two(side: list[float]) -> None:
    assert math.isnan(spearman(side, side))


def test_similarity() -> None:
    table = table_of(a=(3, 4), b=(4, 3), nothing=(0, 0), broken=(np.nan, 1), far=(1e30, 1e30))
    assert similarity(table, "a", "b") == pytest.approx(24 / 25)
    assert similarity(table, "a", "b", measure="dot") == 24
    assert similarity(table, "a", "far") == pytest.approx(7 / (5 * math.sqrt(2)))
    assert similarity(table, "a", "nothing", measure="dot") == 0
    for word, said in (
        ("nothing", "'nothing' is zero"),
        ("broken", "'broken' holds NaN"),
        ("xyz", "'xyz' is none of"),
    ):
        with pytest.raises(UserError, match=said):
            similarity(table, "a", word)


def brute_correlation(table: VectorTable, pairs: list[tuple[str, str]], scores: list[float]) -> float:
    matrix = table.matrix.astype(np.float64)
    cosines = []
    for a, b in pairs:
        first, second = matrix[table.words.index(a)], matrix[table.words.index(b)]
        cosines.append(first @ second / np.sqrt((first @ first) * (second @ second)))
    return float(spearmanr(scores, cosines).statistic)


def test_a_set_as_scipy_has_it() -> None:
    table = random_table(40, 6, seed=0)
    random = np.random.default_rng(1)
    pairs = [(f"w{a}", f"w{b}") for a, b in random.integers(0, 40, (60, 2))]
    scores = random.integers(0, 10, 60).astype(float).tolist()
    unknown = [("w1", "unknown"), ("other", "w2")]
    (report,) = evaluate_pairs(table, [PairSet("set", [*unknown, *pairs], [9.0, 1.0, *scores])])
    assert (report.name, report.n_pairs, report.n_missing) == ("set", 62, 2)
    assert report.spearman == pytest.approx(brute_correlation(table, pairs, scores), abs=1e-12)
    few = [
        (pair, score) for pair, score in zip(pairs, scores, strict=True) if all(int(w[1:]) < 25 for w in pair)
    ]
    (report,) = evaluate_pairs(table, [PairSet("set", pairs, scores)], restrict=25)
    assert report.n_missing == 60 - len(few)
    expected = brute_correlation(table, [pair for pair, _ in few], [score for _, score in few])
    assert report.spearman == pytest.approx(expected, abs=1e-12)


def test_upper_and_lower_case() -> None:
    table = table_of(Cat=(1, 0), cat=(0, 1), dog=(1, 0.1), bird=(1, 1), fish=(1, 5))
    pairs = PairSet("set", [("CAT", "Dog"), ("cat", "bird"), ("cat", "fish")], [3.0, 2.0, 1.0])
    (report,) = evaluate_pairs(table, [pairs])
    assert (report.n_missing, report.spearman) == (0, 1.0)  # "Cat", the first, stands for all of its forms
    (report,) = evaluate_pairs(table, [pairs], case_insensitive=False)
    assert (report.n_missing, report.spearman) == (1, -1.0)


def test_a_zero_vector_is_missing() -> None:
    table = table_of(a=(1, 0), b=(1, 1), c=(0, 1), nothing=(0, 0))
    pairs = PairSet("set", [("a", "nothing"), ("a", "b"), ("a", "c")], [9.0, 2.0, 1.0])
    (report,) = evaluate_pairs(table, [pairs])
    assert (report.n_missing, report.spearman) == (1, 1.0)


def test_sets_of_which_nothing_is_known() -> None:
    table = table_of(a=(1, 0), b=(1, 1))
    strange = PairSet("strange", [("x", "y")], [1.0])
    reports = evaluate_pairs(table, [strange, PairSet("one", [("a", "b")], [1.0])])
    assert [report.n_missing for report in reports] == [1, 0]
    assert all(math.isnan(report.spearman) for report in reports)
    with pytest.raises(UserError, match="no pair of words .*'x' and 'y'.* same language"):
        evaluate_pairs(table, [strange])
    assert evaluate_pairs(table, []) == []
    with pytest.raises(UserError, match="'a' or that of 'b' holds NaN"):
        evaluate_pairs(table_of(a=(1, 0), b=(np.nan, 1)), [PairSet("set", [("a", "b")], [1.0])])


def test_words_are_found_however_accents_and_apostrophes_are_written() -> None:
    table = VectorTable(["O’Neill", "cafe\u0301", "n't"], np.array([[3, 4], [4, 3], [1, 0]], np.float32))
    assert similarity(table, "O'Neill", "café") == pytest.approx(24 / 25)
    pairs = [("o'neill", "CAFÉ"), ("N’T", "O’NEILL"), ("n't", "cafe\u0301")]
    (report,) = evaluate_pairs(table, [PairSet("all", pairs, [0.9, 0.1, 0.5])])
    assert report.n_missing == 0 and report.spearman == pytest.approx(1.0)
    pairs = [("O'Neill", "café"), ("n’t", "O’Neill"), ("N’T", "café")]
    (report,) = evaluate_pairs(table, [PairSet("all", pairs, [0.9, 0.1, 0.5])], case_insensitive=False)
    assert report.n_missing == 1
