"""Heads against the same layers of torch, batches of one, and the solved head against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.preprocessing import StandardScaler
from torch import nn

from tests.language_models.models import random_model, word_tokenizer
from unfreeze.encoders.directions import module_name
from unfreeze.encoders.layers.batch_norm import BatchNorm
from unfreeze.generated import movie_reviews
from unfreeze.tasks.baselines import folds
from unfreeze.tasks.classifier_network import pooled_network
from unfreeze.tasks.heads import LinearHead, TwoLayerHead, solve_head
from unfreeze.tasks.regression import CANDIDATES, UNCHOSEN, fit_regression
from unfreeze.tasks.text_classifier import TextClassifier


def reference_two_layer() -> nn.Sequential:
    return nn.Sequential(
        nn.BatchNorm1d(12, momentum=None),  # a plain mean over batches: ours in its first ten
        nn.Dropout(0.4),
        nn.Linear(12, 50, bias=False),
        nn.ReLU(),
        nn.BatchNorm1d(50, momentum=None),
        nn.Dropout(0.1),
        nn.Linear(50, 3, bias=False),
    )


def reference_linear() -> nn.Sequential:
    return nn.Sequential(nn.BatchNorm1d(12, affine=False, momentum=None), nn.Dropout(0.4), nn.Linear(12, 3))


@pytest.mark.parametrize(
    ("head", "reference", "names"),
    [
        (TwoLayerHead(12, 3), reference_two_layer(), ["norm_0", "linear_0", "norm_1", "linear_1"]),
        (LinearHead(12, 3), reference_linear(), ["norm", "linear"]),
    ],
    ids=["two-layer", "linear"],
)
def test_a_head_is_the_sequence_of_its_layers(
    head: nn.Module, reference: nn.Sequential, names: list[str]
) -> None:
    """The same logits, gradients and running statistics, in training (with the same masks) and afterwards."""
    torch.manual_seed(0)
    head, reference = head.double(), reference.double()  # ours has its statistics in float64 in any case
    for parameter in head.parameters():
        nn.init.normal_(parameter)
    layers = [layer for layer in reference if layer.state_dict()]
    for name, layer in zip(names, layers, strict=True):
        layer.load_state_dict(head.get_submodule(name).state_dict())
    for seed in range(3):
        x = torch.randn(6, 12, dtype=torch.double) * 3 + 1
        logits = []
        for module in (head, reference):
            torch.manual_seed(seed)
            module.zero_grad()
            logits.append(module.train()(x))
            logits[-1].square().sum().backward()
        torch.testing.assert_close(*logits)
        for name, layer in zip(names, layers, strict=True):
            own = head.get_submodule(name)
            for key, value in layer.state_dict().items():
                torch.testing.assert_close(own.state_dict()[key], value)
            for (_, mine), (_, theirs) in zip(own.named_parameters(), layer.named_parameters(), strict=True):
                torch.testing.assert_close(mine.grad, theirs.grad)
    torch.testing.assert_close(head.eval()(x), reference.eval()(x))


def test_running_statistics_are_a_mean_at_first_and_torchs_moving_mean_later() -> None:
    ours, theirs = BatchNorm(3), nn.BatchNorm1d(3)
    batches = torch.randn(14, 8, 3) * 2 + 5
    for x in batches[:10]:
        ours(x)
    torch.testing.assert_close(ours.running_mean, batches[:10].mean((0, 1)))
    theirs.load_state_dict(ours.state_dict())
    for x in batches[10:]:
        ours(x)
        theirs(x)
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict())


def test_a_batch_of_one_is_normalized_by_the_running_statistics() -> None:
    torch.manual_seed(0)
    norm = BatchNorm(5).train()
    norm(torch.randn(20, 5) * 2 + 3)
    before = {name: tensor.clone() for name, tensor in norm.state_dict().items()}
    one = torch.randn(1, 5)
    torch.testing.assert_close(norm(one), norm.eval()(one))
    for name, tensor in before.items():
        assert torch.equal(norm.state_dict()[name], tensor)
    with pytest.raises(ValueError, match="more than 1 value"):
        nn.BatchNorm1d(5).train()(one)


def test_a_new_linear_head_says_that_all_labels_are_alike() -> None:
    assert not LinearHead(4, 3)(torch.randn(5, 4)).any()


@pytest.mark.parametrize("multi_label", [False, True])
def test_a_whole_weight_counts_as_so_many_copies_of_the_example(multi_label: bool) -> None:
    """The loss and its gradient are those of the repeated examples (scikit-learn's `check_sample_weight_equivalence`)."""
    torch.manual_seed(0)
    network = pooled_network(
        random_model(word_tokenizer()).encoder, 3, multi_label=multi_label, head="linear"
    ).eval()
    ((name, width),) = network.body.widths.items()
    torch.nn.init.normal_(network.heads[module_name(name)].linear.weight)
    x, copies = torch.randn(4, width), torch.tensor([1, 0, 3, 2])
    targets = torch.eye(3)[[0, 1, 2, 0]] if multi_label else torch.tensor([0, 1, 2, 0])
    repeated = network.loss({name: x.repeat_interleave(copies, 0)}, targets.repeat_interleave(copies, 0))
    weighted = network.loss({name: x}, targets, copies.float())
    torch.testing.assert_close(weighted, repeated)
    parameters = list(network.heads.parameters())
    for own, other in zip(
        torch.autograd.grad(weighted, parameters), torch.autograd.grad(repeated, parameters), strict=True
    ):
        torch.testing.assert_close(own, other)


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
