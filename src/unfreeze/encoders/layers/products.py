"""Matrix products for the gradients of weights, with operands in the memory layout that is fast on a CPU.

With AMX, oneDNN multiplies bf16 matrices at 1,200 to 1,500 GFLOP/s on one core, but only at 500 if the first matrix is
read by columns, as in the gradient of a weight. So the inputs are transposed beforehand and the result afterwards, by a
kernel that moves tiles of 16 x 16 through registers (docs/lab-notes.md has the measurements).
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from unfreeze.compiled import lanes
from unfreeze.compiled.decorators import compiled_in_order
from unfreeze.encoders.layers.parallel import as_array, run_parallel, split_work

TILE = 16
_MIN_TILES_PER_THREAD = 256


def compute_type(x: Tensor) -> torch.dtype:
    """Return the dtype of matrix products: autocast's if enabled, which custom functions have to look up themselves."""
    device = x.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype


def weight_gradient(
    d_outputs: Tensor, inputs: Tensor, out: Tensor | None = None, *, add: bool = False
) -> Tensor:
    """Return the gradient of W in outputs = inputs W^T.

    Args:
        d_outputs: (N, M).
        inputs: (N, K), of the same dtype.
        out: tensor (M, K) of float32 for the result; contiguous if the inputs are bf16.
        add: whether to add the result to `out` instead of overwriting it.

    Returns:
        `out`, or a new tensor (M, K) in float32 or float64.
    """
    if inputs.device.type != "cpu" or inputs.dtype != torch.bfloat16:
        product = d_outputs.t() @ inputs
        if out is None:
            return product.float() if product.dtype == torch.bfloat16 else product
        return out.add_(product) if add else out.copy_(product)
    assert out is None or (out.dtype == torch.float32 and out.is_contiguous())
    product = transposed(inputs) @ d_outputs
    if out is None:
        out = torch.empty(product.shape[1], product.shape[0])
    _transpose_into(product, out, add)
    return out


def transposed(x: Tensor) -> Tensor:
    """Return a contiguous transpose, (N, K) -> (K, N)."""
    if x.device.type != "cpu" or x.dtype != torch.bfloat16:
        return x.t().contiguous()
    result = x.new_empty(x.shape[1], x.shape[0])
    _transpose_into(x.contiguous(), result, False)
    return result


def _transpose_into(x: Tensor, out: Tensor, add: bool) -> None:
    """Transpose x (N, K) in bfloat16 into out (K, N) in bfloat16, or in float32 with optional addition."""
    n_rows, n_columns = x.shape
    whole_rows, whole_columns = n_rows - n_rows % TILE, n_columns - n_columns % TILE
    columns = whole_columns // TILE
    least = max(1, _MIN_TILES_PER_THREAD * TILE // max(TILE, whole_rows))
    calls = [
        partial(_tiles, as_array(x), as_array(out), TILE * first, TILE * last, whole_rows, add)
        for first, last in split_work(columns, least)
    ]
    run_parallel(calls)
    # What is left below and to the right of the whole tiles.
    below = slice(whole_rows, None), slice(None)
    right = slice(0, whole_rows), slice(whole_columns, None)
    for rows, some_columns in (below, right):
        rest = x[rows, some_columns].t()
        if rest.numel():
            target = out[some_columns, rows]
            target.copy_(target + rest if add else rest)


@compiled_in_order
def _tiles(source: Any, target: Any, first: int, last: int, n_rows: int, add: bool) -> None:
    # Columns `first` to `last` of the source.
    for column in range(first, last, TILE):
        for row in range(0, n_rows, TILE):
            lanes.transpose_tile(source, row, column, target, add)
