"""The output layer of a biLM: its three forms, and the sampled loss against its definition in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unfreeze.encoders.layers.word_softmax import (
    WordSoftmax,
    _SampledLoss,
    draw_unique,
    expected_counts,
    log_uniform,
)


@given(size=st.integers(5, 300), share=st.floats(0.01, 0.7), seed=st.integers(0, 99))
def test_draws_are_different_ids_and_as_many_as_asked(size: int, share: float, seed: int) -> None:
    count = max(1, int(size * share))
    drawn, tries = draw_unique(size, count, seed)
    assert len(set(drawn.tolist())) == len(drawn) == count <= tries
    assert drawn.min() >= 0 and drawn.max() < size
    again, _ = draw_unique(size, count, seed)
    assert np.array_equal(drawn, again)


def test_probabilities_sum_to_one_and_are_those_of_the_draws() -> None:
    share = log_uniform(torch.arange(50), 50)
    assert float(share.sum()) == pytest.approx(1.0)
    counts = np.zeros(50)
    for seed in range(3000):
        drawn, _ = draw_unique(50, 1, seed)
        counts[drawn] += 1
    np.testing.assert_allclose(counts / 3000, share.numpy(), atol=4 * np.sqrt(0.25 / 3000))


def test_expected_counts_are_how_often_a_word_is_among_the_draws() -> None:
    found, expected, n = np.zeros(30), np.zeros(30), 4000
    for seed in range(n):
        drawn, tries = draw_unique(30, 8, seed)
        found[drawn] += 1 / n
        expected += expected_counts(torch.arange(30), 30, tries).numpy() / n
    np.testing.assert_allclose(found, expected, atol=0.05)


@settings(max_examples=20)
@given(seed=st.integers(0, 99), compute=st.sampled_from([torch.float64, torch.float32, torch.bfloat16]))
def test_the_sampled_loss_is_its_definition(seed: int, compute: torch.dtype) -> None:
    torch.manual_seed(seed)
    size, width, n = 40, 6, 9
    exact = torch.float64 if compute == torch.float64 else torch.float32
    hidden = torch.randn(n, width, dtype=exact, requires_grad=True)
    weight = torch.randn(size, width, dtype=exact, requires_grad=True)
    bias = torch.randn(size, dtype=exact, requires_grad=True)
    targets = torch.randint(0, size, (n,))
    drawn_ids, tries = draw_unique(size, 15, seed)
    drawn = torch.from_numpy(drawn_ids)
    loss = _SampledLoss.apply(hidden, weight, bias, targets, drawn, tries, compute)
    (2.0 * loss).backward()
    own = [hidden.detach().double(), weight.detach().double(), bias.detach().double()]
    for tensor in own:
        tensor.requires_grad_()
    h, w, b = own
    correct = b - expected_counts(torch.arange(size), size, tries).log()
    scores = h @ w.t() + correct
    total = torch.zeros((), dtype=torch.float64)
    for row in range(n):  # the target, and the draws that are none
        others = [int(k) for k in drawn if int(k) != int(targets[row])]
        columns = torch.tensor([int(targets[row]), *others])
        total = total - torch.log_softmax(scores[row, columns], dim=0)[0]
    (2.0 * total).backward()
    tolerance = {torch.float64: 1e-9, torch.float32: 1e-4, torch.bfloat16: 3e-2}[compute]
    assert abs(loss.item() - total.item()) <= tolerance * (1 + abs(total.item()))
    for mine, theirs in zip((hidden, weight, bias), own, strict=True):
        assert mine.grad is not None and theirs.grad is not None
        assert (mine.grad.double() - theirs.grad).norm() <= tolerance * (1 + theirs.grad.norm())


@pytest.mark.parametrize("kind", ["full", "adaptive", "sampled"])
def test_measuring_is_exact_whatever_the_training(kind: str) -> None:
    softmax = WordSoftmax(5000, 8, kind, n_samples=20)  # type: ignore[arg-type]
    hidden, targets = torch.randn(7, 8), torch.randint(0, 5000, (7,))
    every = softmax.log_probabilities(hidden)
    torch.testing.assert_close(every.exp().sum(1), torch.ones(7), rtol=1e-4, atol=1e-4)
    picked = every.gather(1, targets[:, None])[:, 0]
    torch.testing.assert_close(
        softmax.target_log_probabilities(hidden, targets), picked, rtol=1e-4, atol=1e-4
    )
    assert float(softmax.eval().loss(hidden, targets)) == pytest.approx(-float(picked.sum()), rel=1e-4)
    sampled = float(softmax.train().loss(hidden, targets))
    assert (sampled < -float(picked.sum()) - 1) == (kind == "sampled")


def test_more_samples_than_words_is_the_full_softmax() -> None:
    softmax = WordSoftmax(10, 4, "sampled", n_samples=10).train()
    hidden, targets = torch.randn(3, 4), torch.tensor([1, 2, 3])
    assert float(softmax.loss(hidden, targets)) == pytest.approx(float(softmax.eval().loss(hidden, targets)))
