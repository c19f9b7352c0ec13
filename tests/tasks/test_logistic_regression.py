"""The solved head against scikit-learn on the same features, and against the conditions of an optimum."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.preprocessing import StandardScaler

from unfreeze.generated import movie_reviews
from unfreeze.tasks.baselines import folds
from unfreeze.tasks.classifier_network import LinearHead
from unfreeze.tasks.logistic_regression import CANDIDATES, UNCHOSEN, fit_regression, solve_head
from unfreeze.tasks.text_classifier import TextClassifier


def problem(n: int, n_labels: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    x = random.normal(size=(n, 6))
    scores = x @ random.normal(size=(6, n_labels)) + random.normal(size=(n, n_labels))
    return x * [1, 5, 0.1, 1, 1, 1] + [0, 9, 0, 0, 0, 3], scores.argmax(1)


@pytest.mark.parametrize("n_labels", [2, 4])
def test_a_solved_head_says_what_scikit_learn_says(n_labels: int) -> None:
    x, targets = problem(120, n_labels)
    head = LinearHead(6, n_labels)
    solution = solve_head(head, torch.from_numpy(x).float(), torch.from_numpy(targets))
    scaled = StandardScaler().fit_transform(x)
    reference = LogisticRegression(C=solution.C, max_iter=1000).fit(scaled, targets)
    with torch.no_grad():
        found = head.eval()(torch.from_numpy(x).float()).softmax(1)
    np.testing.assert_allclose(found.numpy(), reference.predict_proba(scaled), atol=2e-4)


def test_a_head_solved_with_weights_says_what_scikit_learn_says() -> None:
    x, targets = problem(120, 3)
    weights = np.random.default_rng(1).integers(0, 4, 120).astype(np.float64)
    head = LinearHead(6, 3)
    features = torch.from_numpy(x).float()
    solution = solve_head(head, features, torch.from_numpy(targets), torch.from_numpy(weights))
    scaler = StandardScaler().fit(x, sample_weight=weights)
    reference = LogisticRegression(C=solution.C, max_iter=1000)
    reference.fit(scaler.transform(x), targets, sample_weight=weights)
    with torch.no_grad():
        found = head.eval()(features).softmax(1)
    np.testing.assert_allclose(found.numpy(), reference.predict_proba(scaler.transform(x)), atol=2e-4)
    # C is chosen as GridSearchCV chooses it with the same weights in its scores.
    scaled = scaler.transform(x)
    losses = {}
    for C in CANDIDATES:
        losses[C] = 0.0
        for train, held_out in folds(targets, 0):
            part = LogisticRegression(C=C, max_iter=1000).fit(scaled[train], targets[train], weights[train])
            shares = part.predict_proba(scaled[held_out])
            losses[C] += log_loss(
                targets[held_out],
                shares,
                sample_weight=weights[held_out],
                normalize=False,
                labels=part.classes_,
            )
    assert min(losses, key=losses.__getitem__) == solution.C


def test_the_gradient_of_the_penalized_loss_is_zero() -> None:
    x, targets = problem(80, 3)
    found = fit_regression(x, targets, 3, candidates=[0.1])
    logits = x @ found.weight.T + found.bias
    shares = np.exp(logits - logits.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    gradient = (shares - np.eye(3)[targets]).T @ x + found.weight / 0.1
    assert np.abs(gradient).max() < 1e-2


def test_a_label_without_an_example_is_never_predicted_and_a_single_one_is_enough() -> None:
    x, targets = problem(30, 2)
    found = fit_regression(x, np.where(targets == 0, 0, 2), 3)
    assert ((x @ found.weight.T + found.bias).argmax(1) != 1).all()
    targets = np.array([0] * 29 + [1])
    assert fit_regression(x, targets, 2).C == UNCHOSEN


def test_a_linear_head_on_a_frozen_encoder_is_solved_the_same_each_time() -> None:
    reviews = movie_reviews(60, 3)
    texts, labels = [r.text for r in reviews], [r.label for r in reviews]
    both = [TextClassifier(transfer="frozen", pooling="vectors").fit(texts, labels) for _ in range(2)]
    found = [classifier.predict_proba(texts) for classifier in both]
    np.testing.assert_array_equal(*found)
    right = np.array(both[0].label_names)[found[0].argmax(1)] == np.array(labels)
    assert right.mean() > 0.7
