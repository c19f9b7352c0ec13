"""Ensembles: weights from out-of-fold predictions, and what must not matter."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import log_softmax, softmax

from tests.tasks.test_tfidf import TEXTS, network_of
from unfreeze import TextClassifier
from unfreeze.errors import UserError
from unfreeze.tasks.cross_validation import Folds
from unfreeze.tasks.ensemble import (
    EnsembleNetwork,
    Member,
    calibration_error,
    combined,
    fit_weights,
    log_odds,
    losses,
)
from unfreeze.tasks.suggestions import suggest
from unfreeze.text.examples import example_set

Floats = NDArray[np.float64]


def predictions(seed: int, n: int = 400, n_labels: int = 3) -> tuple[Floats, NDArray[np.int64]]:
    """Log-probabilities (2, n, K) of a good and of a useless member, and the labels."""
    random = np.random.default_rng(seed)
    targets = random.integers(n_labels, size=n)
    good = random.normal(size=(n, n_labels))
    good[np.arange(n), targets] += 2
    return log_softmax(np.stack([good, random.normal(size=good.shape)]), axis=-1), targets


def test_weights_minimize_the_loss() -> None:
    scores, targets = predictions(0)
    weights = fit_weights(scores, targets, prior=0.0)

    def loss(w: Floats) -> float:
        logits = w[0] * scores[0] + w[1] * scores[1]
        return float(-np.log(softmax(logits, axis=-1)[np.arange(len(targets)), targets]).mean())

    grid = [np.array([a, b]) for a in np.linspace(0, 2.5, 51) for b in np.linspace(0, 1, 41)]
    best = min(grid, key=loss)
    assert loss(weights) <= loss(best) + 1e-6
    assert weights[0] > 0.5 and weights[1] < 0.15


def test_several_labels() -> None:
    random = np.random.default_rng(0)
    targets = (random.random((300, 4)) < 0.4).astype(np.float64)
    scores = np.stack(
        [2 * (2 * targets - 1) + random.normal(size=targets.shape) * 2, random.normal(size=targets.shape)]
    )
    weights = fit_weights(scores, targets, multi_label=True, prior=0.0)

    def loss(w: Floats) -> float:
        found = 1 / (1 + np.exp(-(w[0] * scores[0] + w[1] * scores[1])))
        return float(-(targets * np.log(found) + (1 - targets) * np.log(1 - found)).sum(1).mean())

    around = [weights + delta for delta in ([0.02, 0], [-0.02, 0], [0, 0.02])]
    assert all(loss(weights) < loss(each) for each in around)
    np.testing.assert_allclose(losses(combined(weights, scores, True), targets, True).mean(), loss(weights))


def test_the_prior_pulls_towards_the_mean_of_the_members() -> None:
    scores, targets = predictions(1, n=50)
    free, pulled, equal = (fit_weights(scores, targets, prior=prior) for prior in (0.0, 8.0, 1e9))
    assert abs(pulled - 0.5).sum() < abs(free - 0.5).sum()
    np.testing.assert_allclose(equal, [0.5, 0.5], atol=1e-4)


def test_repetitions_count_as_one() -> None:
    scores, targets = predictions(2, n=60)
    once = fit_weights(scores, targets)
    thrice = fit_weights(np.concatenate([scores] * 3, axis=1), np.tile(targets, 3), repeats=3)
    np.testing.assert_allclose(once, thrice, atol=1e-4)


def test_a_single_member_gets_a_temperature() -> None:
    scores, targets = predictions(3, n=3000)
    overconfident = log_softmax(3 * scores[:1], axis=-1)
    weights = fit_weights(overconfident, targets, prior=0.0)
    assert weights[0] == pytest.approx(fit_weights(scores[:1], targets, prior=0.0)[0] / 3, rel=0.02)


def test_calibration_error_by_hand() -> None:
    # Bins .9 to 1 (two of three right) and .5 to .6 (one of one).
    confidence, right = np.array([0.95, 0.95, 0.95, 0.55]), np.array([True, True, False, True])
    assert calibration_error(confidence, right) == pytest.approx((3 * abs(0.95 - 2 / 3) + 0.45) / 4)
    assert calibration_error(np.ones(3), np.ones(3, bool)) == 0


@settings(deadline=None, max_examples=20)
@given(st.permutations(range(len(TEXTS))), st.integers(1, 3))
def test_order_and_batch_do_not_matter(order: list[int], size: int) -> None:
    network = ensemble()
    alone = network.classify(TEXTS)[0].numpy()
    given = [TEXTS[number] for number in order]
    parts = [network.classify(given[start : start + size])[0].numpy() for start in range(0, len(given), size)]
    np.testing.assert_allclose(np.concatenate(parts), alone[order], atol=1e-6)


def ensemble() -> EnsembleNetwork:
    """Of words and characters, with weights."""
    members = [
        Member(kind, network_of(kind), {"network": "tfidf", "kind": kind}) for kind in ("words", "characters")
    ]
    network = EnsembleNetwork(members)
    network.weights.data = torch.tensor([0.7, 0.4])
    return network.eval()


def test_sum_of_logarithms() -> None:
    network = ensemble()
    each = [member.network.classify(TEXTS)[0].double().log().numpy() for member in network.members]
    np.testing.assert_allclose(
        network.classify(TEXTS)[0].numpy(), softmax(0.7 * each[0] + 0.4 * each[1], axis=1), atol=1e-6
    )


def test_log_odds_are_bounded() -> None:
    found = log_odds(torch.tensor([[0.0, 1.0]]), multi_label=False)
    np.testing.assert_allclose(found.numpy(), [[np.log(1e-4), 0.0]])
    assert torch.isfinite(log_odds(torch.tensor([[0.0, 1.0]]), multi_label=True)).all()


def test_saved_with_its_members(tmp_path: Path) -> None:
    network = ensemble()
    arguments = {"network": "ensemble", "members": ["words", "characters"]}
    classifier = TextClassifier.of_network(network, ["bad", "good"], arguments, [4 / 7, 3 / 7])
    classifier.save_pretrained(tmp_path / "model")
    loaded = TextClassifier.from_pretrained(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict_proba(TEXTS), classifier.predict_proba(TEXTS))
    member = TextClassifier.from_pretrained(tmp_path / "model" / "members" / "0")
    np.testing.assert_allclose(
        member.predict_proba(TEXTS[:1]), network.members[0].network.classify(TEXTS[:1])[0], atol=1e-6
    )
    (tmp_path / "model" / "members" / "1" / "terms.json").unlink()
    with pytest.raises(UserError, match="terms.json"):
        TextClassifier.from_pretrained(tmp_path / "model")


def labeled(labels: list[str]) -> Folds:
    """Folds of texts with these labels."""
    return Folds.of(example_set([f"text {number}" for number in range(len(labels))], labels, "texts"), seed=3)


@given(st.lists(st.sampled_from("abc"), min_size=12, max_size=60))
def test_folds_hold_each_example_out_once_in_each_repetition(labels: list[str]) -> None:
    folds = labeled(labels)
    held = np.zeros((folds.n_repeats, len(labels)), int)
    for repeat, train, held_out in folds.parts():
        held[repeat, held_out] += 1
        assert not set(train) & set(held_out) and len(train) + len(held_out) == len(labels)
        for label in set(labels):  # stratified
            share = sum(labels[number] == label for number in held_out)
            assert abs(share - labels.count(label) / 5) < 1
    assert (held == 1).all()


def test_folds_of_a_class_with_one_example() -> None:
    folds = labeled(["a"] * 10 + ["b"])
    assert sum(10 in held_out for _, _, held_out in folds.parts()) == folds.n_repeats == 3


def test_explained_by_leaving_out_each_word() -> None:
    network, text = ensemble(), "a great film, not dull"
    found = network.explain(text, 1)

    def evidence(one: str) -> float:
        shares = network.classify([one])[0].double().numpy()[0]
        return float(np.log(shares[1]) - np.log(shares[0]))

    assert found.evidence == pytest.approx(evidence(text), abs=1e-5)
    assert [each.word for each in found.words] == ["a", "great", "film", ",", "not", "dull"]
    for word in found.words:
        left = f"{text[: word.start]} {text[word.end :]}"
        assert word.contribution == pytest.approx(evidence(text) - evidence(left), abs=1e-5)
    strongest = {each.word: each.contribution for each in found.words}
    assert strongest["great"] > 0 > strongest["dull"]
    with pytest.raises(UserError, match="explain_by='gradients' is for a classifier on one encoder"):
        network.explain(text, 1, "gradients")


def test_suggestions_of_an_ensemble_read_the_features_of_all_members() -> None:
    network = ensemble()
    classifier = TextClassifier.of_network(network, ["bad", "good"], {"network": "ensemble"}, [4 / 7, 3 / 7])
    features, probabilities, _ = network.describe(TEXTS)
    assert features.shape == (len(TEXTS), network.n_features) == (len(TEXTS), 4)
    found = suggest(classifier, TEXTS, 3)
    assert len({each.input for each in found.found}) == 3
    margins = dict(zip(TEXTS, (probabilities[:, 0] - probabilities[:, 1]).abs().tolist(), strict=True))
    for each in found.found:
        assert each.margin == pytest.approx(margins[str(each.input)], abs=1e-6)


@given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from("ab")), min_size=6, max_size=50))
def test_copies_are_in_one_fold(pairs: list[tuple[int, str]]) -> None:
    texts = [f"Text  {number}" if place % 2 else f"text {number}" for place, (number, _) in enumerate(pairs)]
    folds = Folds.of(example_set(texts, [label for _, label in pairs], "texts"), seed=1)
    for row in folds.of_example:
        for number in {number for number, _ in pairs}:
            assert len({row[place] for place, (own, _) in enumerate(pairs) if own == number}) == 1
    assert folds.n_copies == len(pairs) - len({number for number, _ in pairs})
