"""The parallel scan against the recurrence step by step, and its gradients against finite differences."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from unfreeze.encoders.layers import scan
from unfreeze.encoders.layers.scan import forget_scan


def step_by_step(forget: Tensor, x: Tensor, before: Tensor) -> Tensor:
    cells = []
    for f, new in zip(forget, x, strict=True):
        before = f * before + new
        cells.append(before)
    return torch.stack(cells)


@settings(max_examples=40, deadline=None)
@given(steps=st.integers(1, 150), seed=st.integers(0, 100))
def test_equals_the_recurrence(steps: int, seed: int) -> None:
    torch.manual_seed(seed)
    forget, x = torch.rand(steps, 2, 3, dtype=torch.double), torch.randn(steps, 2, 3, dtype=torch.double)
    before = torch.randn(2, 3, dtype=torch.double)
    torch.testing.assert_close(forget_scan(forget, x, before), step_by_step(forget, x, before))


@pytest.mark.parametrize("steps", [1, 4, 5, 9])
def test_gradients_and_their_gradients_equal_finite_differences(
    steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan, "CHUNK", 4)
    torch.manual_seed(0)
    inputs = [torch.rand(steps, 2, 3), torch.randn(steps, 2, 3), torch.randn(2, 3)]
    doubles = [tensor.double().requires_grad_() for tensor in inputs]
    assert torch.autograd.gradcheck(forget_scan, doubles)
    assert torch.autograd.gradgradcheck(forget_scan, doubles)
