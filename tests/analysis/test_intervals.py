"""Bootstrap intervals against drawing one by one, and against the normal distribution."""

from __future__ import annotations

import numpy as np
import pytest

from unfreeze.analysis.intervals import paired_difference

RANDOM = np.random.default_rng(0)


def test_an_interval_is_that_of_drawing_rows_and_columns() -> None:
    ours, theirs = RANDOM.random((5, 12)), RANDOM.random((5, 12)) - 0.3
    means = []
    for _ in range(4000):
        rows, columns = RANDOM.integers(5, size=5), RANDOM.integers(12, size=12)
        means.append((ours - theirs)[np.ix_(rows, columns)].mean())
    found = paired_difference(ours, theirs)
    assert found.mean == pytest.approx((ours - theirs).mean())
    np.testing.assert_allclose(found[1:], np.percentile(means, [2.5, 97.5]), atol=0.02)


def test_with_one_seed_it_is_that_of_a_mean() -> None:
    ours = RANDOM.normal(size=(1, 400))
    found = paired_difference(ours, np.zeros((1, 400)))
    half = 1.96 * ours.std() / 20
    np.testing.assert_allclose(found[1:], [ours.mean() - half, ours.mean() + half], atol=0.01)


def test_what_is_equal_differs_by_nothing() -> None:
    scores = RANDOM.random((3, 7))
    assert tuple(paired_difference(scores, scores)) == (0, 0, 0)
    assert str(paired_difference(scores + 0.25, scores)) == "+0.250 [+0.250, +0.250]"
    # What differs between seeds alone is no surer with more examples.
    by_seed = np.repeat([[0.0], [1.0], [2.0]], 1000, axis=1)
    low, high = paired_difference(by_seed, np.zeros((3, 1000)))[1:]
    assert low < 0.4 and high > 1.6
