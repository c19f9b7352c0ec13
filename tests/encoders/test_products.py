"""Gradients of weights by transposed tiles, rows added to an embedding's gradient, and masks of weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from unfreeze.encoders.layers import dropouts
from unfreeze.encoders.layers.dropouts import add_rows, drop_weight, look_up_tied
from unfreeze.encoders.layers.products import transposed, weight_gradient

sizes = st.tuples(st.integers(1, 70), st.integers(1, 70), st.integers(1, 70))


@settings(max_examples=60, deadline=None)
@given(shape=sizes, seed=st.integers(0, 1000))
def test_transposing_changes_nothing(shape: tuple[int, int, int], seed: int) -> None:
    torch.manual_seed(seed)
    for x in (
        torch.randn(shape[:2]).bfloat16(),
        torch.randn(shape[:2]),
        torch.randn(shape[1::-1]).bfloat16().t(),
    ):
        assert transposed(x).is_contiguous() and torch.equal(transposed(x), x.t())


@settings(max_examples=60, deadline=None)
@given(shape=sizes, seed=st.integers(0, 1000))
def test_gradient_of_a_weight(shape: tuple[int, int, int], seed: int) -> None:
    torch.manual_seed(seed)
    n, outputs, inputs = shape
    d_out, x = torch.randn(n, outputs).bfloat16(), torch.randn(n, inputs).bfloat16()
    expected = d_out.double().numpy().T @ x.double().numpy()
    found = weight_gradient(d_out, x)
    assert found.dtype == torch.float32 and found.is_contiguous()
    np.testing.assert_allclose(found.numpy(), expected, atol=0.01 * (1 + np.abs(expected).max()))
    before = torch.randn(outputs, inputs)
    out = before.clone()
    weight_gradient(d_out, x, out, add=True)
    torch.testing.assert_close(out, before + found)
    assert torch.equal(weight_gradient(d_out, x, out), found)
    exact = weight_gradient(d_out.double(), x.double())
    np.testing.assert_allclose(exact.numpy(), expected, rtol=1e-10, atol=1e-10)


def test_two_threads_transpose_as_one() -> None:
    threads, x = torch.get_num_threads(), torch.randn(700, 900).bfloat16()
    try:
        torch.set_num_threads(2)
        assert torch.equal(transposed(x), x.t())
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("tied_first", [True, False])
def test_a_tied_lookup_adds_to_the_other_gradient(tied_first: bool) -> None:
    torch.manual_seed(0)
    ids, factors = torch.tensor([[3, 1, 3], [0, 3, 1]]), torch.randn(5, 4)
    gradients = []
    for lookup in (look_up_tied, F.embedding):
        weight = nn.Parameter(torch.randn(5, 4, generator=torch.Generator().manual_seed(1)))
        twice = lookup(ids, weight).pow(3).sum() + lookup(ids[:1], weight).sum()
        dense = (weight * factors).pow(2).sum()
        (twice + dense if tied_first else dense + twice).backward()
        gradients.append(weight.grad)
    torch.testing.assert_close(gradients[0], gradients[1])
    weight = nn.Parameter(torch.randn(5, 4))
    look_up_tied(ids, weight).sum().backward()  # without another gradient it stands alone
    assert weight.grad is not None and weight.grad.sum(1).tolist() == [4, 8, 0, 12, 0]
    assert not look_up_tied(ids, nn.Parameter(torch.ones(5, 4), requires_grad=False)).requires_grad


def test_rows_are_added_in_any_format() -> None:
    torch.manual_seed(0)
    ids, rows = torch.tensor([2, 0, 2]), torch.randn(3, 7)
    for dtype in (torch.float32, torch.float64):
        target = torch.randn(4, 7, dtype=dtype)
        expected = target.index_add(0, ids, rows.to(dtype))
        add_rows(target, ids, rows)
        torch.testing.assert_close(target, expected)


@settings(max_examples=30, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 50), st.integers(1, 50)),
    seed=st.integers(0, 1000),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
)
def test_a_dropped_weight_and_its_gradient_have_one_mask(
    shape: tuple[int, int], seed: int, dtype: torch.dtype
) -> None:
    torch.manual_seed(seed)
    weight = torch.rand(shape).add_(1.0).requires_grad_()
    dropped = drop_weight(weight, 0.4, training=True, dtype=dtype)
    kept = dropped != 0
    assert dropped.dtype == dtype
    torch.testing.assert_close(dropped[kept], (weight / 0.6).to(dtype)[kept])
    dropped.sum().backward()
    assert weight.grad is not None
    torch.testing.assert_close(weight.grad, kept.float() / 0.6)


def test_threads_draw_the_mask_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dropouts, "_MIN_BLOCKS_PER_THREAD", 4)
    threads, weight, masks = torch.get_num_threads(), torch.ones(37, 41), []
    try:
        for number in (1, 3):
            torch.set_num_threads(number)
            torch.manual_seed(0)
            masks.append(drop_weight(weight, 0.3, training=True, dtype=torch.float32))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*masks)


def test_masks_are_random_and_follow_torchs_seed() -> None:
    weight = torch.ones(1000, 1000)

    def mask(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return drop_weight(weight, 0.2, training=True, dtype=torch.float32) == 0

    first, second = mask(0).double(), mask(1).double()
    assert torch.equal(first, mask(0).double())
    spread = (0.2 * 0.8 / 1e6) ** 0.5  # standard deviation of a mean of a million
    centered, other = first - 0.2, second - 0.2
    assert abs(float(centered.mean())) < 5 * spread
    for product in (centered * other, centered[1:] * centered[:-1], centered[:, 1:] * centered[:, :-1]):
        assert abs(float(product.mean())) < 5 * 0.16 / 1e3
    for dim in (0, 1):  # rows and columns vary as binomial counts do
        assert abs(float(first.mean(dim).std()) / (0.16 / 1000) ** 0.5 - 1.0) < 0.15
