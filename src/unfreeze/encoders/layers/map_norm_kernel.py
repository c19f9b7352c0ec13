"""Batch normalization of feature maps with what follows it (a residual, ReLU), compiled: two passes forward and two backward.

As operations of torch these are four passes forward and six backward, which together take as long as the convolutions in
bfloat16 (docs/lab-notes.md). Arithmetic is in float32; sums over all rows are sums of those of blocks of rows.

Shapes: N rows, one for each place of each image, D channels (a multiple of 16).
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unfreeze.compiled import lanes
from unfreeze.compiled.decorators import compiled_in_order
from unfreeze.encoders.layers.parallel import as_array, run_parallel, split_work

LANES = 16
BLOCK = 16_384
"""Numbers of a block of rows, which stays in the cache while its channels are read 16 at a time."""
Sums = NDArray[np.float64]


def moments(x: Tensor) -> tuple[Sums, Sums]:
    """Mean and (biased) variance of each channel: (N, D) -> (D,), (D,)."""
    rows = as_array(x)
    # Sums of differences from the first row lose no digits where the mean is large beside the deviation.
    first = x[:1].float().numpy()
    totals = _summed(len(x), x.shape[1], partial(_sum_moments, rows, first))
    mean = totals[0] / len(x)
    return mean + first[0], np.maximum(totals[1] / len(x) - mean**2, 0.0)


def apply(
    x: Tensor, residual: Tensor | None, mean: Tensor, scale: Tensor, shift: Tensor, relu: bool
) -> Tensor:
    """(x - mean) * scale + shift + residual, and the positive part of it, if asked for: (N, D) in the format of x."""
    out = torch.empty_like(x)
    other = as_array(x if residual is None else residual)
    arrays = as_array(x), other, torch.stack([mean, scale, shift]).numpy(), as_array(out)
    calls = [
        partial(_apply, *arrays, residual is not None, relu, first, last)
        for first, last in split_work(len(x))
    ]
    run_parallel(calls)
    return out


def gradients(
    x: Tensor,
    out: Tensor | None,
    d_out: Tensor,
    mean: Tensor,
    inverse: Tensor,
    weight: Tensor,
    *,
    has_residual: bool,
) -> tuple[Tensor, Tensor | None, Tensor, Tensor]:
    """The backward pass of batch normalization over these rows, then `apply`.

    Args:
        x, d_out: (N, D), the input and the gradient of the output.
        out: (N, D), the output, whose gradient counts where it is above 0; None without ReLU.
        mean, inverse: (D,), the mean and 1 / the standard deviation.
        weight: (D,).
        has_residual: whether the gradient of a residual is wanted.

    Returns:
        The gradients of x and of the residual (N, D), of the weight and of the bias (D,).
    """
    relu = out is not None
    arrays = as_array(x), as_array(x if out is None else out), as_array(d_out)
    numbers = mean.numpy()[None], inverse.numpy()[None]
    totals = _summed(len(x), x.shape[1], partial(_sum_gradients, *arrays, *numbers, relu))
    d_bias, d_weight = (torch.from_numpy(each.astype(np.float32)) for each in totals)
    # weight / std * (g - mean(g) - x_hat * mean(g x_hat)), as a factor of g, a factor of x - mean, and a summand
    factor = weight * inverse
    of_centered = -factor * inverse * d_weight / len(x)
    factors = torch.stack([factor, of_centered, -factor * d_bias / len(x), mean]).numpy()
    d_x = torch.empty_like(x)
    d_residual = torch.empty_like(x) if has_residual and relu else d_out
    results = as_array(d_x), as_array(d_residual)
    calls = [
        partial(_gradient, *arrays, factors, *results, relu, has_residual and relu, first, last)
        for first, last in split_work(len(x))
    ]
    run_parallel(calls)
    return d_x, d_residual if has_residual else None, d_weight, d_bias


def _summed(n: int, width: int, kernel: Any) -> Sums:
    """(2, D): two sums over all rows, which threads compute in parts."""
    parts = split_work(n)
    sums = np.zeros((len(parts), 2, width), np.float32)
    run_parallel([partial(kernel, sums[k], *parts[k]) for k in range(len(parts))])
    total: Sums = sums.sum(0, dtype=np.float64)
    return total


@compiled_in_order
def _sum_moments(x: Any, origin: Any, sums: Any, first: int, last: int) -> None:
    width = x.shape[1]
    step = max(16, BLOCK // width)
    for start in range(first, last, step):
        stop = min(start + step, last)
        for j in range(0, width, 16):
            zero, total, squares = lanes.load(origin, 0, j), lanes.zeros(), lanes.zeros()
            for row in range(start, stop):
                value = lanes.subtract(lanes.load(x, row, j), zero)
                total = lanes.add(total, value)
                squares = lanes.fused(value, value, squares)
            lanes.store(sums, 0, j, lanes.add(lanes.load(sums, 0, j), total))
            lanes.store(sums, 1, j, lanes.add(lanes.load(sums, 1, j), squares))


@compiled_in_order
def _apply(
    x: Any,
    residual: Any,
    factors: Any,
    out: Any,
    has_residual: bool,
    relu: bool,
    first: int,
    last: int,
) -> None:
    zero = lanes.zeros()
    for row in range(first, last):
        for j in range(0, x.shape[1], 16):
            centered = lanes.subtract(lanes.load(x, row, j), lanes.load(factors, 0, j))
            value = lanes.fused(centered, lanes.load(factors, 1, j), lanes.load(factors, 2, j))
            if has_residual:
                value = lanes.add(value, lanes.load(residual, row, j))
            if relu:
                value = lanes.where_greater(zero, value, zero, value)  # NaN stays
            lanes.store(out, row, j, value)


@compiled_in_order
def _sum_gradients(
    x: Any,
    out: Any,
    d_out: Any,
    mean: Any,
    inverse: Any,
    relu: bool,
    sums: Any,
    first: int,
    last: int,
) -> None:
    width, zero = x.shape[1], lanes.zeros()
    step = max(16, BLOCK // width)
    for start in range(first, last, step):
        stop = min(start + step, last)
        for j in range(0, width, 16):
            center, factor = lanes.load(mean, 0, j), lanes.load(inverse, 0, j)
            total, products = zero, zero
            for row in range(start, stop):
                gradient = lanes.load(d_out, row, j)
                if relu:
                    gradient = lanes.where_greater(lanes.load(out, row, j), zero, gradient, zero)
                total = lanes.add(total, gradient)
                centered = lanes.subtract(lanes.load(x, row, j), center)
                products = lanes.fused(gradient, centered, products)
            lanes.store(sums, 0, j, lanes.add(lanes.load(sums, 0, j), total))
            lanes.store(sums, 1, j, lanes.fused(products, factor, lanes.load(sums, 1, j)))


@compiled_in_order
def _gradient(
    x: Any,
    out: Any,
    d_out: Any,
    factors: Any,
    d_x: Any,
    d_residual: Any,
    relu: bool,
    has_residual: bool,
    first: int,
    last: int,
) -> None:
    zero = lanes.zeros()
    for row in range(first, last):
        for j in range(0, x.shape[1], 16):
            gradient = lanes.load(d_out, row, j)
            if relu:
                gradient = lanes.where_greater(lanes.load(out, row, j), zero, gradient, zero)
            if has_residual:
                lanes.store(d_residual, row, j, gradient)
            centered = lanes.subtract(lanes.load(x, row, j), lanes.load(factors, 3, j))
            value = lanes.fused(centered, lanes.load(factors, 1, j), lanes.load(factors, 2, j))
            lanes.store(d_x, row, j, lanes.fused(gradient, lanes.load(factors, 0, j), value))
