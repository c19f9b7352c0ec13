"""The penalties on activations and their gradients, against the formulas of Merity et al. written out with torch."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from unfreeze.pretraining.activation_penalties import activation_penalties


def by_the_formulas(dropped: Tensor, raw: Tensor, real: Tensor, alpha: float, beta: float) -> Tensor:
    pairs = real[1:] & real[:-1]
    return (
        alpha * dropped[real].square().mean()
        + beta * (raw[1:] - raw[:-1])[pairs].square().mean().nan_to_num()
    )


@pytest.mark.parametrize("steps", [1, 2, 7])
@pytest.mark.parametrize("padded", [False, True])
def test_gradients_are_those_of_the_formulas(steps: int, padded: bool) -> None:
    torch.manual_seed(steps)
    dropped, raw = (torch.randn(steps, 3, 5, dtype=torch.float64, requires_grad=True) for _ in range(2))
    real = torch.ones(steps, 3, dtype=torch.bool)
    if padded:
        real[steps // 2 :, 1] = False
        real[1:, 2] = False
    found = activation_penalties(dropped, raw, real, 2.0, 1.0)
    expected = by_the_formulas(dropped, raw, real, 2.0, 1.0)
    assert found.item() == pytest.approx(expected.item(), rel=1e-12)
    gradients = [
        torch.autograd.grad(7.0 * penalty, (dropped, raw), materialize_grads=True)
        for penalty in (found, expected)
    ]
    for mine, right in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, right)


def test_states_in_bf16_have_gradients_in_bf16() -> None:
    torch.manual_seed(0)
    exact = torch.randn(9, 4, 64, requires_grad=True)
    states = exact.detach().bfloat16().requires_grad_()
    real = torch.ones(9, 4, dtype=torch.bool)
    found = activation_penalties(states, states, real, 2.0, 1.0)
    expected = by_the_formulas(exact, exact, real, 2.0, 1.0)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(expected.item(), rel=2e-3)
    (mine,) = torch.autograd.grad(found, states)
    (right,) = torch.autograd.grad(expected, exact)
    assert mine.dtype == torch.bfloat16
    assert float((mine.float() - right).norm() / right.norm()) < 1e-2
