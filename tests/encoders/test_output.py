"""The tied softmax, full and adaptive, against float64 definitions and finite differences."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from unfreeze.encoders.layers import output as output_module
from unfreeze.encoders.layers.output import TiedSoftmax, default_cutoffs
from unfreeze.errors import UserError


def random_softmax(vocabulary_size: int, width: int, cutoffs: tuple[int, ...]) -> tuple[TiedSoftmax, Tensor]:
    softmax = TiedSoftmax(vocabulary_size, width, cutoffs).double()
    for parameter in softmax.parameters():
        torch.nn.init.normal_(parameter)
    return softmax, torch.randn(vocabulary_size, width, dtype=torch.double, requires_grad=True)


def defined_log_probabilities(softmax: TiedSoftmax, weight: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """log p of every word at every position, by the definition of Grave et al. 2017, section 4, in NumPy float64."""
    bias = softmax.bias.detach().numpy()
    bounds = softmax.bounds

    def log_softmax(logits: np.ndarray) -> np.ndarray:
        peak = logits.max(1, keepdims=True)
        return logits - peak - np.log(np.exp(logits - peak).sum(1, keepdims=True))

    n_head = bounds[1]
    head_weight = np.concatenate([weight[:n_head], softmax.cluster_weight.detach().numpy()])
    head_bias = np.concatenate([bias[:n_head], softmax.cluster_bias.detach().numpy()])
    head = log_softmax(hidden @ head_weight.T + head_bias)
    result = np.empty((len(hidden), bounds[-1]))
    result[:, :n_head] = head[:, :n_head]
    for cluster in range(len(bounds) - 2):
        low, high = bounds[cluster + 1], bounds[cluster + 2]
        within = log_softmax(hidden @ weight[low:high].T + bias[low:high])
        result[:, low:high] = within + head[:, n_head + cluster, None]
    return result


cutoff_choices = st.sampled_from([(), (10,), (5, 20), (1, 2, 49)])


@settings(max_examples=25, deadline=None)
@given(
    cutoffs=cutoff_choices,
    n=st.integers(1, 40),
    seed=st.integers(0, 1000),
    chunk=st.sampled_from([8, 480, 1 << 26]),
)
def test_loss_and_log_probabilities_equal_the_definition(
    cutoffs: tuple[int, ...], n: int, seed: int, chunk: int
) -> None:
    torch.manual_seed(seed)
    softmax, weight = random_softmax(50, 6, cutoffs)
    hidden, targets = torch.randn(n, 6, dtype=torch.double), torch.randint(0, 50, (n,))
    expected = defined_log_probabilities(softmax, weight.detach().numpy(), hidden.numpy())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(output_module, "CHUNK_BYTES", chunk)
        loss = softmax.loss(hidden, weight, targets)
        assert math.isclose(loss.item(), -expected[np.arange(n), targets.numpy()].sum(), rel_tol=1e-10)
    single, weight_32 = softmax.float(), weight.detach().float()
    np.testing.assert_allclose(
        single.log_probabilities(hidden.float(), weight_32).numpy(), expected, atol=2e-5
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(output_module, "SCORED_ELEMENTS", chunk)
        found = single.target_log_probabilities(hidden.float(), weight_32, targets)
    np.testing.assert_allclose(found.numpy(), expected[np.arange(n), targets.numpy()], atol=2e-5)
    np.testing.assert_allclose(np.exp(expected).sum(1), 1.0, rtol=1e-10)


@pytest.mark.parametrize("cutoffs", [(), (4, 9)])
def test_gradients_equal_finite_differences(cutoffs: tuple[int, ...]) -> None:
    torch.manual_seed(1)
    softmax, weight = random_softmax(12, 3, cutoffs)
    hidden = torch.randn(7, 3, dtype=torch.double, requires_grad=True)
    targets = torch.tensor([0, 3, 4, 8, 9, 11, 2])

    def loss(hidden: Tensor, weight: Tensor, *_: Tensor) -> Tensor:
        return softmax.loss(hidden, weight, targets)

    assert torch.autograd.gradcheck(loss, (hidden, weight, *softmax.parameters()))


def test_full_softmax_equals_torch_cross_entropy() -> None:
    torch.manual_seed(2)
    softmax, weight = random_softmax(30, 5, ())
    hidden = torch.randn(9, 5, dtype=torch.double, requires_grad=True)
    targets = torch.randint(0, 30, (9,))
    logits = hidden @ weight.T + softmax.bias
    expected = torch.nn.functional.cross_entropy(logits, targets, reduction="sum")
    found = softmax.loss(hidden, weight, targets)
    torch.testing.assert_close(found, expected)
    for got, wanted in zip(
        torch.autograd.grad(found * 3, (hidden, weight, softmax.bias)),
        torch.autograd.grad(expected * 3, (hidden, weight, softmax.bias)),
        strict=True,
    ):
        torch.testing.assert_close(got, wanted)


def test_no_logits_of_a_whole_batch_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output_module, "CHUNK_BYTES", 100)
    monkeypatch.setattr(output_module, "SCORED_ELEMENTS", 100)
    seen: list[int] = []
    original = torch.nn.functional.linear

    def spy(x: Tensor, *rest: Tensor) -> Tensor:
        result = original(x, *rest)
        seen.append(result.numel())
        return result

    monkeypatch.setattr(torch.nn.functional, "linear", spy)
    softmax, weight = random_softmax(50, 4, ())
    softmax.loss(torch.randn(64, 4, dtype=torch.double), weight, torch.randint(0, 50, (64,)))
    softmax.float().target_log_probabilities(torch.randn(64, 4), weight.float(), torch.randint(0, 50, (64,)))
    assert seen and max(seen) <= 100


def test_cutoffs_must_rise_within_the_vocabulary() -> None:
    for wrong in [(5, 5), (8, 3), (50,), (0,)]:
        with pytest.raises(UserError, match="cutoffs"):
            TiedSoftmax(50, 4, wrong)


def test_default_cutoffs_are_none_for_small_vocabularies() -> None:
    assert default_cutoffs(1000) == ()
    assert default_cutoffs(30_000) == (2000, 8000)
    TiedSoftmax(4000, 2, default_cutoffs(4000))


@pytest.mark.parametrize("cutoffs", [(), (7, 20)])
def test_the_biases_start_from_the_words_frequencies(cutoffs: tuple[int, ...]) -> None:
    counts = [int(1000 / (n + 1)) for n in range(49)] + [0]
    softmax = TiedSoftmax(50, 4, cutoffs)
    softmax.start_from_counts(counts)
    found = softmax.log_probabilities(torch.zeros(1, 4), torch.zeros(50, 4))[0].exp()
    weights = torch.tensor(counts) + 0.5
    torch.testing.assert_close(found, weights / weights.sum())


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
@pytest.mark.parametrize("cutoffs", [(), (10, 33)])
def test_the_compiled_softmax_is_the_one_in_float64(
    dtype: torch.dtype, tolerance: float, cutoffs: tuple[int, ...]
) -> None:
    softmax, weight = random_softmax(83, 16, cutoffs)
    hidden = torch.randn(60, 16, dtype=torch.double, requires_grad=True)
    targets = torch.randint(0, 83, (60,))
    found, sizes = [], [softmax.bias, softmax.cluster_weight, softmax.cluster_bias]
    for exact in (True, False):
        layer = softmax if exact else TiedSoftmax(83, 16, cutoffs)
        layer.load_state_dict(softmax.state_dict())
        inputs = [
            x.detach().to(torch.double if exact else torch.float32).requires_grad_() for x in (hidden, weight)
        ]
        with torch.autocast("cpu", dtype, enabled=not exact and dtype == torch.bfloat16):
            loss = layer.loss(inputs[0], inputs[1], targets)
        loss.backward()
        gradients = [x.grad for x in (*inputs, layer.bias, layer.cluster_weight, layer.cluster_bias)]
        found.append([loss.detach().double()] + [g.double() for g in gradients if g is not None])
    assert len(found[0]) == len(found[1]) == 3 + len(sizes)
    for wanted, got in zip(*found, strict=True):
        assert (got - wanted).norm() <= tolerance * (1.0 + wanted.norm())


@pytest.mark.parametrize("cutoffs", [(), (16,), (16, 32)])
@pytest.mark.parametrize("chunk", [1 << 26, 800])
@pytest.mark.parametrize("types", [(torch.float32, torch.bfloat16), (torch.bfloat16, torch.bfloat16)])
def test_gradients_in_bf16_are_those_of_float64(
    cutoffs: tuple[int, ...],
    chunk: int,
    types: tuple[torch.dtype, torch.dtype],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Weights in the first format, states in the second; in several chunks, and clusters whose rows are filled up."""
    monkeypatch.setattr(output_module, "CHUNK_BYTES", chunk)
    torch.manual_seed(0)
    exact, weight = random_softmax(64, 16, cutoffs)
    hidden = torch.randn(70, 16, dtype=torch.double, requires_grad=True)
    targets = torch.randint(0, 64, (70,))
    (exact.loss(hidden, weight, targets) / 70).backward()
    own = TiedSoftmax(64, 16, cutoffs).to(types[0])
    own.load_state_dict(exact.state_dict())
    own_weight = weight.detach().to(types[0]).requires_grad_()
    own_hidden = hidden.detach().to(types[1]).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        (own.loss(own_hidden, own_weight, targets) / 70).backward()
    pairs = [
        (own_weight, weight),
        (own_hidden, hidden),
        *zip(own.parameters(), exact.parameters(), strict=True),
    ]
    for found, expected in pairs:
        assert found.grad is not None and expected.grad is not None
        if expected.numel():
            error = (found.grad.double() - expected.grad).norm() / expected.grad.norm()
            assert error < 0.03, float(error)


def test_a_frozen_embedding_takes_no_gradient_and_the_rest_the_same() -> None:
    torch.manual_seed(0)
    softmax, targets = TiedSoftmax(64, 16, (16, 32)), torch.randint(0, 64, (50,))
    for parameter in softmax.parameters():
        torch.nn.init.normal_(parameter)
    weight, hidden = torch.randn(64, 16), torch.randn(50, 16)
    gradients = []
    for moves in (True, False):
        own, states = weight.clone().requires_grad_(moves), hidden.clone().requires_grad_()
        softmax.zero_grad()
        softmax.loss(states, own, targets).backward()
        assert (own.grad is not None) == moves
        gradients.append([states.grad, *(parameter.grad.clone() for parameter in softmax.parameters())])  # type: ignore[union-attr]
    for first, second in zip(*gradients, strict=True):
        torch.testing.assert_close(first, second)


def test_backward_runs_once() -> None:
    softmax, hidden = TiedSoftmax(20, 8), torch.randn(5, 8, requires_grad=True)
    loss = softmax.loss(hidden, torch.randn(20, 8), torch.arange(5))
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="run forward again"):
        loss.backward()
