"""Batch normalization of maps with residual and ReLU: the compiled kernel against operations of torch in float64."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from unfreeze.encoders.layers import map_norm
from unfreeze.encoders.layers.map_norm import MapNorm


@pytest.fixture(autouse=True, scope="module")
def _small_maps_too() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(map_norm, "SMALLEST", 0)
        yield


def maps(*shape: int, seed: int = 0) -> Tensor:
    found = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return found.contiguous(memory_format=torch.channels_last)


def expected(norm: MapNorm, given: list[Tensor], relu: bool, d_out: Tensor) -> list[Tensor]:
    """Output, gradients and running statistics by torch, in float64."""
    given = [each.double().requires_grad_() for each in given]
    weight, bias = (each.detach().double().requires_grad_() for each in (norm.weight, norm.bias))
    mean, variance = torch.zeros(len(weight)).double(), torch.ones(len(weight)).double()
    y = F.batch_norm(given[0], mean, variance, weight, bias, True, 1.0, norm.eps)  # the first batch
    y = y + given[1] if len(given) > 1 else y
    y = F.relu(y) if relu else y
    return [y.detach(), *torch.autograd.grad(y, [*given, weight, bias], d_out.double()), mean, variance]


@settings(max_examples=30, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 5), st.sampled_from([16, 48]), st.integers(2, 5), st.integers(2, 9)),
    with_residual=st.booleans(),
    relu=st.booleans(),
    offset=st.sampled_from([0.0, 30.0]),
)
def test_the_kernel_does_what_torch_does(
    shape: tuple[int, int, int, int], with_residual: bool, relu: bool, offset: float
) -> None:
    norm = MapNorm(shape[1]).train()
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    given = [maps(*shape) + offset, *([maps(*shape, seed=1)] if with_residual else [])]
    d_out = maps(*shape, seed=2)
    leaves = [each.requires_grad_() for each in given]
    assert map_norm._has_kernel(*(*leaves, None)[:2])
    y = norm(*leaves, relu=relu) if with_residual else norm(leaves[0], None, relu)
    found = [y.detach(), *torch.autograd.grad(y, [*leaves, norm.weight, norm.bias], d_out)]
    found += [norm.running_mean, norm.running_var]  # type: ignore[list-item]
    for own, wanted in zip(found, expected(norm, [x.detach() for x in given], relu, d_out), strict=True):
        torch.testing.assert_close(own.double(), wanted, rtol=1e-3, atol=1e-3 if offset else 1e-4)


def test_bfloat16_is_rounded_once_on_the_way_out() -> None:
    norm, x, d_out = MapNorm(32).train(), maps(4, 32, 6, 6).bfloat16(), maps(4, 32, 6, 6, seed=2).bfloat16()
    leaf = x.clone().requires_grad_()
    y = norm(leaf, None, True)
    (d_x,) = torch.autograd.grad(y, leaf, d_out)
    wanted, wanted_d_x = expected(norm, [x], True, d_out)[:2]
    assert y.dtype == d_x.dtype == torch.bfloat16 and y.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(y, wanted.bfloat16(), rtol=2**-7, atol=1e-6)
    torch.testing.assert_close(d_x.double(), wanted_d_x, rtol=2**-7, atol=1e-3)


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("shape", [(3, 16, 7, 7), (4, 64, 67, 61)])
def test_threads_and_blocks_give_the_same(shape: tuple[int, ...], n_threads: int) -> None:
    """The larger shape has 2**20 numbers in 64 blocks of rows, none of which end where an image does."""
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        norm, x, d_out = MapNorm(shape[1]).train(), maps(*shape).requires_grad_(), maps(*shape, seed=2)
        y = norm(x, x.detach(), True)
        found = [y.detach(), *torch.autograd.grad(y, [x, norm.weight, norm.bias], d_out)]
        found += [norm.running_mean, norm.running_var]  # type: ignore[list-item]
    finally:
        torch.set_num_threads(before)
    wanted = expected(norm, [x.detach(), x.detach()], True, d_out)
    del wanted[2]  # the gradient of the residual
    for own, other in zip(found, wanted, strict=True):
        assert float((own - other).norm()) <= 1e-4 * float(other.norm())


def test_other_numbers_of_channels_take_operations_of_torch() -> None:
    norm, x = MapNorm(8).train(), maps(2, 8, 3, 3)
    assert not map_norm._has_kernel(x, None)
    torch.testing.assert_close(norm(x, x, True), F.relu(F.batch_norm(x, None, None, training=True) + x))


def test_a_single_place_is_normalized_by_the_running_statistics() -> None:
    norm, x = MapNorm(16).train(), maps(1, 16, 1, 1)
    torch.testing.assert_close(norm(x), x / (1 + norm.eps) ** 0.5)
    assert norm.num_batches_tracked == 0


@pytest.mark.parametrize("channels", [16, 8])
def test_running_statistics_are_the_mean_of_the_first_batches(channels: int) -> None:
    """With the kernel (16 channels) and without: 1/2 of each of two batches, and after ten a moving average with torch's momentum."""
    norm, means = MapNorm(channels).train(), []
    for number in range(12):
        x = maps(2, channels, 3, 3, seed=number) + number
        norm(x)
        means.append(x.mean((0, 2, 3)))
        assert norm.running_mean is not None
        if number < 10:
            torch.testing.assert_close(norm.running_mean, torch.stack(means).mean(0))
    wanted = torch.stack(means[:10]).mean(0)
    for mean in means[10:]:
        wanted = wanted + 0.1 * (mean - wanted)
    torch.testing.assert_close(norm.running_mean, wanted)
