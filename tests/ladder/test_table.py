"""Scores, intervals and labels saved, against drawing one by one and interpolation by NumPy."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unfreeze.analysis.curves import Curve
from unfreeze.analysis.intervals import Draws, between
from unfreeze.ladder.table import LadderTable, equivalent_labels, make_rows, score_of

RANDOM = np.random.default_rng(0)


def result(above: Any, below: Any = None) -> dict[str, Any]:
    """A stored result."""
    above = np.asarray(above, dtype=float).tolist()
    below = None if below is None else np.asarray(below, dtype=float).tolist()
    return {
        "score": score_of(above, below),
        "numerators": above,
        "denominators": below,
        "seconds": 6.0,
        "parameters": 8,
        "pretrained": 2,
        "size": 100,
    }


def test_the_interval_of_a_ratio_is_that_of_drawing_seeds_and_examples() -> None:
    below = RANDOM.integers(0, 6, size=(3, 25)).astype(float)
    above = RANDOM.integers(0, 6, size=(3, 25)).clip(max=below)
    found = []
    for _ in range(4000):
        seeds, examples = RANDOM.integers(3, size=3), RANDOM.integers(25, size=25)
        drawn = np.ix_(seeds, examples)
        found.append(np.mean(above[drawn].sum(1) / below[drawn].sum(1)))
    draws = Draws(25, 4000)
    low, high = between(draws.ratios(draws.sums(above), draws.sums(below)))
    np.testing.assert_allclose([low, high], np.percentile(found, [2.5, 97.5]), atol=0.015)
    (row,) = make_rows({("a", 10): [result(*each) for each in zip(above, below, strict=True)]}, (), 4000)
    assert row.score.mean == pytest.approx(np.mean(above.sum(1) / below.sum(1)))
    assert (row.score.low, row.score.high) == pytest.approx((low, high))


def test_chunks_of_draws_are_the_same_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = RANDOM.random((2, 30))
    whole = Draws(30, 50).sums(scores)
    monkeypatch.setattr("unfreeze.analysis.intervals.LARGEST", 100)
    np.testing.assert_array_equal(Draws(30, 50).sums(scores), whole)


def test_rows_compare_with_the_baselines_on_the_same_seeds() -> None:
    theirs = RANDOM.random((2, 40)) < 0.6
    ours = theirs | (RANDOM.random((2, 40)) < 0.5)
    results = {
        ("base", 10): [result(each) for each in theirs],
        ("ours", 10): [result(each) for each in ours],
        ("ours", 30): [result(ours[0])],
    }
    base, at_10, at_30 = make_rows(results, ("base",), 500)
    assert base.against == {} and base.pretrained_share == 0.25
    difference = at_10.against["base"].difference
    assert difference is not None
    assert difference.mean == pytest.approx(ours.mean() - theirs.mean())
    # Pairing: what is never worse has a difference that is never below 0.
    assert 0 <= difference.low <= difference.mean <= difference.high
    assert at_10.score.low < difference.mean + theirs.mean() < at_10.score.high
    assert at_30.against["base"].difference is None
    assert at_30.against["base"].equivalent == (10, ">")


def test_an_order_of_results_does_not_matter() -> None:
    results = {(name, 10): [result(RANDOM.random(9) < 0.5) for _ in range(2)] for name in "ab"}
    rows = make_rows(results, ("a",), 100)
    assert make_rows(dict(reversed(results.items())), ("a",), 100) == rows[::-1]


def test_equivalent_labels_are_interpolated_on_the_logarithm() -> None:
    curve = Curve("other", {10: [0.5], 100: [0.7], 1000: [0.8]})
    wanted = 10 ** np.interp(0.65, [0.5, 0.7, 0.8], [1, 2, 3])
    found = equivalent_labels(curve, 0.65)
    assert found.labels == pytest.approx(wanted) and found.bound == "" and str(found) == "56"
    assert str(equivalent_labels(curve, 0.81)) == "> 1,000"
    assert str(equivalent_labels(curve, 0.4)) == "≤ 10"
    assert str(equivalent_labels(curve, 0.5)) == "10"


def test_a_table_for_people_and_as_csv(tmp_path: Path) -> None:
    results = {(name, 10): [result([1, 0, 1, 1])] for name in ("TF-IDF", "<b>")}
    table = LadderTable(
        measure="accuracy",
        rows=make_rows(results, ("TF-IDF",), 50),
        baselines=("TF-IDF",),
        about={"TF-IDF": "counts", "<b>": "bold"},
        prepared={},
        left_out={"<b>": {30: 1}},
        n_test=4,
        n_train=50,
        seeds=1,
        duplicates=0,
    )
    assert "75.0" in str(table) and "25.00 %" in str(table)
    table.write_csv(tmp_path / "a.csv")
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as file:
        first, second = csv.DictReader(file)
    assert (first["rung"], first["score"], first["as_tf_idf_with"]) == ("TF-IDF", "0.75", "")
    assert (second["as_tf_idf_with"], second["over_tf_idf_mean"]) == ("10.0", "0.0")
    assert table.as_dict()["rows"][1]["against"]["TF-IDF"]["equivalent"] == {"labels": 10.0, "bound": ""}
