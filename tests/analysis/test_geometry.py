"""Measures of clouds of vectors against loops over all pairs, and in clouds whose figures are known."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unfreeze.analysis.geometry import (
    Estimate,
    Numbers,
    draw_counts,
    drawn_explained_variances,
    drawn_mean_cosines,
    drawn_means,
    effective_dimension,
    explained_variance,
    isotropy_score,
    mean_cosine,
    measures_of_words,
    similarity_to_mean,
)

SHAPES = [(2, 3), (7, 4), (4, 9), (30, 6)]


def cloud(shape: tuple[int, int], seed: int = 0, shift: float = 0.5) -> Numbers:
    return np.random.default_rng(seed).normal(size=shape) + shift


def cosine(a: Numbers, b: Numbers) -> float:
    dot = sum(float(p) * float(q) for p, q in zip(a, b, strict=True))
    return dot / math.sqrt(sum(float(p) ** 2 for p in a) * sum(float(q) ** 2 for q in b))


@pytest.mark.parametrize("shape", SHAPES)
def test_cosines_are_those_of_a_loop(shape: tuple[int, int]) -> None:
    x = cloud(shape)
    pairs = [cosine(a, b) for a, b in combinations(x, 2)]
    assert mean_cosine(x) == pytest.approx(sum(pairs) / len(pairs), abs=1e-12)
    mean = sum(x) / len(x)
    assert similarity_to_mean(x) == pytest.approx(sum(cosine(each, mean) for each in x) / len(x), abs=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("centered", [False, True])
def test_explained_variance_is_that_of_singular_values(shape: tuple[int, int], centered: bool) -> None:
    x = cloud(shape)
    values = np.linalg.svd(x - x.mean(0) * centered, compute_uv=False)
    assert explained_variance(x, centered=centered) == pytest.approx(values[0] ** 2 / (values**2).sum())


@pytest.mark.parametrize("shape", SHAPES)
def test_effective_dimension_is_that_of_the_covariance(shape: tuple[int, int]) -> None:
    x = cloud(shape)
    variances = np.linalg.eigvalsh(np.cov(x.T))
    assert effective_dimension(x) == pytest.approx(variances.sum() ** 2 / (variances**2).sum())
    assert effective_dimension(x) <= min(len(x) - 1, x.shape[1]) + 1e-9


@pytest.mark.parametrize("shape", SHAPES)
def test_isotropy_score_is_that_of_a_loop(shape: tuple[int, int]) -> None:
    x = cloud(shape)
    directions = np.linalg.svd(x, full_matrices=True)[2]
    sums = [sum(math.exp(sign * (a @ v)) for v in x) for a in directions for sign in (1, -1)]
    assert isotropy_score(x) == pytest.approx(min(sums) / max(sums))


def test_known_clouds() -> None:
    alike, orthonormal = np.tile([[3.0, 4.0]], (5, 1)), 2 * np.eye(4)
    assert mean_cosine(alike) == pytest.approx(1) and explained_variance(alike) == pytest.approx(1)
    assert similarity_to_mean(alike) == pytest.approx(1)
    assert mean_cosine(orthonormal) == pytest.approx(0)
    assert explained_variance(orthonormal) == pytest.approx(1 / 4)
    assert similarity_to_mean(orthonormal) == pytest.approx(1 / 2)
    assert effective_dimension(orthonormal) == pytest.approx(3)  # around their mean
    line = np.outer([1.0, -2.0, 5.0], [1.0, 2.0, 2.0])
    assert explained_variance(line) == pytest.approx(1) and effective_dimension(line) == pytest.approx(1)
    assert mean_cosine(line) == pytest.approx((-1 + 1 - 1) / 3)
    both_ways = np.concatenate([np.eye(3), -np.eye(3)])
    assert isotropy_score(both_ways) == pytest.approx(1)
    assert isotropy_score(1000 * alike) == 0  # without overflow


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 100),
    factor=st.floats(0.1, 10),
    order=st.permutations(range(8)),
)
def test_order_turns_and_lengths_do_not_matter(seed: int, factor: float, order: list[int]) -> None:
    x = cloud((8, 5), seed)
    turn = np.linalg.qr(cloud((5, 5), seed + 1))[0]
    other = factor * x[order] @ turn
    for measure in (mean_cosine, similarity_to_mean, explained_variance, effective_dimension):
        assert measure(other) == pytest.approx(measure(x), abs=1e-9)
    assert isotropy_score(x[order] @ turn) == pytest.approx(isotropy_score(x), abs=1e-9)


@given(
    st.integers(1, 4),
    st.integers(2, 80),
    st.integers(1, 90),
    st.sampled_from([0, 0.3, 5]),
    st.integers(0, 99),
)
def test_words_are_measured_together_as_one_by_one(
    words: int, n: int, width: int, shift: float, seed: int
) -> None:
    x = np.random.default_rng(seed).normal(size=(words, n, width)) + shift
    for centered in (False, True):
        cosines, shares = measures_of_words(x, centered=centered)
        for each, own_cosine, own_share in zip(x, cosines, shares, strict=True):
            assert own_cosine == pytest.approx(mean_cosine(each), abs=1e-9)
            moved = each - each.mean(0) if centered else each
            squares = np.linalg.svd(moved, compute_uv=False) ** 2
            assert own_share == pytest.approx(squares[0] / squares.sum(), abs=1e-9)


def test_a_first_singular_value_that_a_power_iteration_does_not_find_from_the_mean() -> None:
    """The mean is 0 along the first direction, or 0; or two directions are alike."""
    random = np.random.default_rng(0)
    vectors = random.normal(size=(10, 12))
    opposite = np.concatenate([vectors, -vectors])
    hidden = np.zeros((20, 12))
    hidden[:, 0], hidden[:10, 1], hidden[10:, 1] = 1, 3, -3
    alike = np.zeros((20, 12))
    alike[:10, 0], alike[10:, 1] = 1, 1
    x = np.stack([opposite, hidden, alike, random.normal(size=(20, 12)) + 4])
    shares = measures_of_words(x)[1]
    assert shares.tolist() == pytest.approx([explained_variance(each) for each in x], abs=1e-9)
    assert shares[1] == pytest.approx(0.9) and shares[2] == pytest.approx(0.5)


def test_of_words_with_equal_vectors_the_mean_explains_everything() -> None:
    x = np.stack([np.full((9, 10), 0.1), np.random.default_rng(0).normal(size=(9, 10))])
    assert measures_of_words(x)[1][0] == pytest.approx(1) == measures_of_words(x, centered=True)[1][0]
    assert measures_of_words(x, centered=True)[1][1] == pytest.approx(explained_variance(x[1], centered=True))


# The bootstrap


@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize("shape", [(12, 4), (6, 9)])
def test_draws_are_figures_of_repeated_vectors(shape: tuple[int, int], centered: bool) -> None:
    x, n = cloud(shape, shift=1.0), shape[0]
    counts = np.random.default_rng(5).multinomial(n, np.full(n, 1 / n), 20)
    np.testing.assert_array_equal(draw_counts(n, 20, np.random.default_rng(5)), counts)
    cosines = drawn_mean_cosines(x, counts)
    shares = drawn_explained_variances(x, counts, centered=centered)
    means = drawn_means(x[:, 0], 20, np.random.default_rng(5))
    for row, repeats in enumerate(counts):
        drawn = np.repeat(np.arange(n), repeats)
        pairs = [cosine(x[a], x[b]) for a in drawn for b in drawn if a != b]
        assert cosines[row] == pytest.approx(sum(pairs) / len(pairs), abs=1e-12)
        assert shares[row] == pytest.approx(explained_variance(x[drawn], centered=centered), abs=1e-3)
        assert means[row] == pytest.approx(x[drawn, 0].mean())


def test_an_interval_has_the_width_that_statistics_gives_it() -> None:
    """Of the mean of 400 values with standard deviation 1: 2 x 1.96 / 20."""
    values = np.random.default_rng(0).normal(size=400)
    values = (values - values.mean()) / values.std()
    found = Estimate.of(values.mean(), drawn_means(values, 4000, np.random.default_rng(1)))
    assert found.low < found.value < found.high
    assert found.high - found.low == pytest.approx(2 * 1.96 / 20, rel=0.06)
    assert str(Estimate(0.1234, -0.5, 1)) == "0.123 [-0.500, 1.000]"


@pytest.mark.parametrize("centered", [False, True])
def test_draws_of_one_vector_have_no_pairs_and_no_variance(centered: bool) -> None:
    """Half of the draws of two vectors have one of them twice."""
    x, counts = cloud((2, 3)), np.array([[2, 0], [1, 1], [0, 2]])
    cosines = drawn_mean_cosines(x, counts)
    shares = drawn_explained_variances(x, counts, centered=centered)
    assert np.isnan(cosines).tolist() == [True, False, True]
    assert np.isnan(shares).tolist() == ([True, False, True] if centered else [False] * 3)
    assert shares[1] == pytest.approx(explained_variance(x, centered=centered))
    assert Estimate.of(cosines[1], cosines) == Estimate(cosines[1], cosines[1], cosines[1])
    assert Estimate.of(0.5, np.full(3, np.nan)) == Estimate(0.5, 0.5, 0.5)
