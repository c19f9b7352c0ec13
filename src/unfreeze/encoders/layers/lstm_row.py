"""Inference of one layer of the projected LSTM on a single sequence, all steps in one compiled call.

With a batch of one, a step consists of matrix-vector products, whose time is that of reading the weights once. The
weights are therefore stored in the order in which they are read: for each block of 16 cells the 64 columns of their
four gates next to each other, for every element of the state. The cells are computed from the sums while these are
still in registers.

Shapes: T steps, I input size, H hidden size (a multiple of 16), P projection size (a multiple of 64).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from unfreeze.compiled import lanes
from unfreeze.compiled.decorators import compiled_in_order, inlined_in_order
from unfreeze.compiled.lane_math import sigmoid, tanh
from unfreeze.encoders.layers.parallel import KERNEL_FORMATS, as_array

CELLS, COLUMNS = 16, 64


class RowWeights(NamedTuple):
    """Weights of a layer, with those of the state and of the projection in the order in which they are read."""

    input: Tensor
    """(I, 4 H)"""
    bias: Tensor
    """(4 H,)"""
    state: Tensor
    """(H / 16 * P, 64)"""
    projection: Tensor
    """(P / 64 * H, 64)"""


def can_run(projection_size: int, hidden_size: int, compute: torch.dtype, device: torch.device) -> bool:
    """Whether the compiled loop supports these sizes and formats."""
    return (
        device.type == "cpu"
        and compute in KERNEL_FORMATS
        and projection_size % COLUMNS == 0
        and hidden_size % CELLS == 0
    )


def arrange(inputs: Tensor, bias: Tensor, state: Tensor, projection: Tensor) -> RowWeights:
    """Rearrange weights (4 H, I), (4 H,), (4 H, P) and (P, H) in torch's layout."""
    size, hidden_size = projection.shape
    by_cell = state.view(4, hidden_size // CELLS, CELLS, size).permute(1, 3, 0, 2)
    by_column = projection.view(size // COLUMNS, COLUMNS, hidden_size).transpose(1, 2)
    ordered = (part.reshape(-1, COLUMNS).contiguous() for part in (by_cell, by_column))
    return RowWeights(inputs.t(), bias, *ordered)


def run_row(
    gates: Tensor, weights: RowWeights, h: Tensor, c: Tensor, cell_clip: float, projection_clip: float
) -> tuple[Tensor, Tensor]:
    """Run all steps.

    Args:
        gates: (T, 4 H), the products with the input plus the bias.
        h: initial state (1, P).
        c: initial cells (1, H).

    Returns:
        The initial state and the state after each step (T + 1, P), and the final cells (1, H), in float32.
    """
    states = torch.empty(len(gates) + 1, h.shape[1])
    states[:1] = h
    cells = c.float().clone(memory_format=torch.contiguous_format)
    inner = torch.empty_like(cells)
    used = (gates, weights.state, weights.projection, states, cells, inner)
    arrays: list[Any] = [*map(as_array, used), np.float32(cell_clip), np.float32(projection_clip)]
    _run(*arrays)
    return states, cells


@compiled_in_order
def _run(
    gates: Any,
    by_cell: Any,
    by_column: Any,
    states: Any,
    cells: Any,
    inner: Any,
    cell_clip: Any,
    projection_clip: Any,
) -> None:
    for t in range(len(gates)):
        _cells(gates, t, by_cell, states, cells, inner, cell_clip)
        _project(by_column, inner, states, t + 1, projection_clip)


@inlined_in_order
def _cells(gates: Any, t: int, by_cell: Any, states: Any, cells: Any, inner: Any, clip: Any) -> None:
    """Compute c, and m = o * tanh(c) into `inner`."""
    size, n_cells = states.shape[1], cells.shape[1]
    low, high = lanes.splat(np.float32(-clip)), lanes.splat(clip)
    for j in range(0, n_cells, 16):
        sums = _four_sums(by_cell, (j // 16) * size, states, t, size)
        i = sigmoid(lanes.add(sums[0], lanes.load(gates, t, j)))
        f = sigmoid(lanes.add(sums[1], lanes.load(gates, t, n_cells + j)))
        g = tanh(lanes.add(sums[2], lanes.load(gates, t, 2 * n_cells + j)))
        o = sigmoid(lanes.add(sums[3], lanes.load(gates, t, 3 * n_cells + j)))
        c = lanes.clamp(lanes.fused(f, lanes.load(cells, 0, j), lanes.multiply(i, g)), low, high)
        lanes.store(cells, 0, j, c)
        lanes.store(inner, 0, j, lanes.multiply(o, tanh(c)))


@inlined_in_order
def _project(by_column: Any, inner: Any, states: Any, t: int, clip: Any) -> None:
    n_cells = inner.shape[1]
    low, high = lanes.splat(np.float32(-clip)), lanes.splat(clip)
    for column in range(0, states.shape[1], 64):
        sums = _four_sums(by_column, (column // 64) * n_cells, inner, 0, n_cells)
        lanes.store(states, t, column, lanes.clamp(sums[0], low, high))
        lanes.store(states, t, column + 16, lanes.clamp(sums[1], low, high))
        lanes.store(states, t, column + 32, lanes.clamp(sums[2], low, high))
        lanes.store(states, t, column + 48, lanes.clamp(sums[3], low, high))


@inlined_in_order
def _four_sums(matrix: Any, first: int, vector: Any, row: int, n: int) -> Any:
    """vector[row, :n] @ matrix[first : first + n] with 64 columns, as four registers; n is even."""
    a0, a1, a2, a3 = lanes.zeros(), lanes.zeros(), lanes.zeros(), lanes.zeros()
    b0, b1, b2, b3 = lanes.zeros(), lanes.zeros(), lanes.zeros(), lanes.zeros()
    for k in range(0, n, 2):
        x, y = lanes.splat(vector[row, k]), lanes.splat(vector[row, k + 1])
        at = first + k
        a0 = lanes.fused(lanes.load(matrix, at, 0), x, a0)
        a1 = lanes.fused(lanes.load(matrix, at, 16), x, a1)
        a2 = lanes.fused(lanes.load(matrix, at, 32), x, a2)
        a3 = lanes.fused(lanes.load(matrix, at, 48), x, a3)
        b0 = lanes.fused(lanes.load(matrix, at + 1, 0), y, b0)
        b1 = lanes.fused(lanes.load(matrix, at + 1, 16), y, b1)
        b2 = lanes.fused(lanes.load(matrix, at + 1, 32), y, b2)
        b3 = lanes.fused(lanes.load(matrix, at + 1, 48), y, b3)
    return lanes.add(a0, b0), lanes.add(a1, b1), lanes.add(a2, b2), lanes.add(a3, b3)
