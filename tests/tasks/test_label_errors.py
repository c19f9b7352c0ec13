"""Label errors: the confident joint against brute force, planted errors found, what cannot be judged is said."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.commands.toy import reviews
from unfreeze.errors import UserError
from unfreeze.tasks.label_errors import (
    _folds,
    confident_joint,
    find_label_errors,
    likely_errors,
    normalized_margins,
)
from unfreeze.tasks.text_classifier import TextClassifier, example_set


def joint_by_hand(probabilities: list[list[float]], labels: list[int], n_labels: int) -> np.ndarray:
    """Equations 1 to 3 of Northcutt et al. 2021, an example at a time."""
    thresholds = {}
    for k in range(n_labels):
        own = [row[k] for row, label in zip(probabilities, labels, strict=True) if label == k]
        if own:
            thresholds[k] = sum(own) / len(own)
    counts = np.zeros((n_labels, n_labels))
    for row, label in zip(probabilities, labels, strict=True):
        reached = [k for k in thresholds if row[k] >= thresholds[k] - 1e-9]
        if reached:
            counts[label, max(reached, key=lambda k: (row[k], -k))] += 1
    joint = np.zeros_like(counts)
    for k in thresholds:
        counts[k, k] = max(counts[k, k], 1)
        joint[k] = counts[k] / counts[k].sum() * labels.count(k)
    return joint / len(labels)


@st.composite
def predictions(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    n_labels, n = draw(st.integers(2, 4)), draw(st.integers(1, 30))
    random = np.random.default_rng(draw(st.integers(0, 10_000)))
    return random.dirichlet(np.ones(n_labels), n), random.integers(0, n_labels, n)


@settings(max_examples=60)
@given(case=predictions())
def test_the_joint_is_that_of_brute_force(case: tuple[np.ndarray, np.ndarray]) -> None:
    shares, labels = case
    found = confident_joint(shares, labels)
    np.testing.assert_allclose(
        found, joint_by_hand(shares.tolist(), labels.tolist(), shares.shape[1]), atol=1e-12
    )
    assert found.sum() == pytest.approx(1)
    np.testing.assert_allclose(found.sum(1) * len(labels), np.bincount(labels, minlength=shares.shape[1]))
    order = np.random.default_rng(0).permutation(len(labels))
    np.testing.assert_allclose(confident_joint(shares[order], labels[order]), found, atol=1e-12)


@settings(max_examples=30)
@given(case=predictions())
def test_errors_are_the_smallest_margins(case: tuple[np.ndarray, np.ndarray]) -> None:
    shares, labels = case
    margins = normalized_margins(shares, labels)
    for row, label, margin in zip(shares, labels, margins, strict=True):
        assert margin == pytest.approx(row[label] - max(np.delete(row, label)))
    chosen = likely_errors(shares, labels)
    assert (margins[chosen] < 0).all() and (np.diff(margins[chosen]) >= 0).all()
    off_diagonal = 1 - np.trace(confident_joint(shares, labels))
    assert len(chosen) == min(round(len(labels) * off_diagonal), (margins < 0).sum())


def test_planted_errors_are_found() -> None:
    """A tenth of the labels of generated reviews is flipped: several times as many of those listed are wrong."""
    rows = reviews(120, seed=3)
    flipped = set(Random(0).sample(range(120), 12))
    other = {"pos": "neg", "neg": "pos"}
    labels = [other[label] if n in flipped else label for n, (_, label) in enumerate(rows)]
    examples = example_set([text for text, _ in rows], labels)
    classifier = TextClassifier(transfer="frozen", pooling="vectors").fit(examples.inputs()[:20], labels[:20])
    found = find_label_errors(classifier, examples, folds=3)
    right = [each.example.number in flipped for each in found.issues]
    assert found.n_judged == 120 and found.folds == 3 and found.accuracy > found.majority + 0.2
    assert 6 <= len(right) <= 36
    assert np.mean(right) > 3 * 12 / 120 and sum(right) >= 6
    assert np.mean(right[:6]) >= np.mean(right)
    for issue in found.issues:
        assert issue.given == labels[issue.example.number] != issue.suggested
        assert issue.margin == pytest.approx(issue.self_confidence - issue.score, abs=1e-6)


def test_folds_hold_out_each_judged_example_once() -> None:
    given = np.array([0] * 7 + [1] * 2 + [2])
    judged = np.array([True] * 9 + [False])
    seen = []
    for learned, held_out in _folds(given, np.arange(10), judged, 5, seed=1):
        assert not {*learned} & {*held_out} and {*given[learned]} == {0, 1, 2}
        seen += held_out.tolist()
    assert sorted(seen) == list(range(9))


def test_copies_of_a_text_are_held_out_together() -> None:
    given, groups = np.arange(20) % 2, np.arange(20) // 4
    for learned, held_out in _folds(given, groups, np.ones(20, bool), 3, seed=1):
        assert not {*groups[learned]} & {*groups[held_out]}


def test_a_class_of_one_example_is_not_judged() -> None:
    rows = [*reviews(12, seed=1), ("a mouse by the river", "mouse")]
    examples = example_set(*map(list, zip(*rows, strict=True)))
    classifier = TextClassifier(transfer="frozen", pooling="vectors").fit(*zip(*rows[:6], strict=True))
    found = find_label_errors(classifier, examples, folds=2)
    assert found.single == ("mouse",) and found.n_judged == 12
    with pytest.raises(UserError, match="1 class with two examples or more"):
        find_label_errors(classifier, examples.subset([*examples.examples[:12:2], examples.examples[12]]))
    with pytest.raises(UserError, match="folds must be at least 2"):
        find_label_errors(classifier, examples, folds=1)
    several = example_set(["a", "b"], [["x", "y"], ["x"]])
    with pytest.raises(UserError, match="may have several labels"):
        find_label_errors(classifier, several)
