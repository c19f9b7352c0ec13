"""Learning curves: tables, how many labels reach an accuracy, names that do not lie upon each other, pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import isotonic_regression

from unfreeze.analysis.curves import STYLES, Curve, curve_rows, plot_curves, spread
from unfreeze.errors import UserError

CURVES = [
    Curve("transfer", {1000: [0.9], 100: [0.8, 0.9]}),
    Curve("from scratch", {100: [0.6], 10: [0.5]}),
]


def test_tables_have_every_number_of_labels() -> None:
    assert curve_rows(CURVES) == [
        {"labels": 10, "transfer": None, "from scratch": 0.5},
        {"labels": 100, "transfer": pytest.approx(0.85), "from scratch": 0.6},
        {"labels": 1000, "transfer": 0.9, "from scratch": None},
    ]


@given(st.lists(st.floats(0.01, 1), min_size=2, max_size=6, unique=True), st.floats(0, 1))
def test_labels_for_an_accuracy_are_the_inverse_of_a_rising_curve(
    heights: list[float], wanted: float
) -> None:
    heights = sorted(heights)
    curve = Curve("one", {10**n: [height] for n, height in enumerate(heights)})
    found = curve.labels_for(wanted)
    if wanted > heights[-1]:
        assert found is None
    else:
        assert found == pytest.approx(10 ** np.interp(wanted, heights, range(len(heights))), rel=1e-9)


def test_labels_for_an_accuracy_of_a_curve_that_dips_are_the_first() -> None:
    curve = Curve("one", {1: [0.5], 10: [0.7], 100: [0.6], 1000: [0.8]})
    assert curve.labels_for(0.7) == 10.0
    assert curve.labels_for(0.75) == pytest.approx(10**2.75)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.floats(0, 0.3))
def test_names_are_moved_as_little_as_they_must_be(heights: list[float], gap: float) -> None:
    found = spread(heights, gap)
    order = sorted(range(len(heights)), key=lambda n: heights[n])
    places = gap * np.arange(len(heights))
    expected = isotonic_regression(np.array(heights)[order] - places).x + places
    np.testing.assert_allclose([found[n] for n in order], expected, atol=1e-9)


def test_pictures(tmp_path: Path) -> None:
    for suffix in (".png", ".svg", ".pdf"):
        plot_curves(CURVES, tmp_path / f"a{suffix}", title="two", chance=0.5)
        assert (tmp_path / f"a{suffix}").stat().st_size > 3000
    svg = (tmp_path / "a.svg").read_text(encoding="utf-8")
    assert all(f"<!-- {words} -->" in svg for words in ("transfer", "from scratch", "guessing", "two"))
    with pytest.raises(UserError, match=r"end in \.png, \.svg or \.pdf"):
        plot_curves(CURVES, tmp_path / "a.doc")
    with pytest.raises(UserError, match="at most 6 distinguishable curves"):
        plot_curves(CURVES[:1] * (len(STYLES) + 1), tmp_path / "b.png")
