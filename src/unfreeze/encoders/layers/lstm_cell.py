"""Elementwise part of an LSTM step, between the two matrix products: one compiled pass forward and one backward.

    i, f, o = sigmoid(z_i), sigmoid(z_f), sigmoid(z_o)     g = tanh(z_g)     z = W_x x + W_h h_before + b
    c = clip(f * c_before + i * g)     m = o * tanh(c)

With torch's operations this takes a dozen passes over memory, longer than the products. Arithmetic is in float32; the
gates and the tensors saved for the backward pass may be bfloat16 (int16 for NumPy).

Shapes: n rows, H hidden size (a multiple of 16 in compiled code); gates are ordered input, forget, cell, output, as in
torch.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from unfreeze.compiled import lanes
from unfreeze.compiled.decorators import compiled_in_order, inlined_in_order
from unfreeze.compiled.lane_math import sigmoid, tanh
from unfreeze.encoders.layers.parallel import KERNEL_FORMATS, as_array

_ONE = np.float32(1.0)


class CellSteps:
    """Steps of one direction, on buffers that hold all steps; compiled on a CPU, torch operations elsewhere.

    Args:
        gates: (R, 4 H), see `forward` and `backward` for its contents.
        cells: c (R', H) in float32 or float64.
        out: m (R", H).
        buffer: the products with the previous state (B, 4 H) in forward, the gradient of m (B, H) in backward.
        clip: bound of c.
    """

    def __init__(self, gates: Tensor, cells: Tensor, out: Tensor, buffer: Tensor, clip: float) -> None:
        self.tensors = gates, cells, out, buffer
        self.size, self.clip = cells.shape[1], clip
        self.compiled = gates.device.type == "cpu" and gates.dtype in KERNEL_FORMATS and self.size % 16 == 0
        if self.compiled:
            self.arrays: list[Any] = [as_array(tensor) for tensor in self.tensors]
            self.bound = np.float32(clip)

    def forward(self, row: int, before: int, after: int, out_row: int, n: int) -> None:
        """Run one step of n rows.

        Rows of `gates` from `row` on hold the products with the input and are overwritten with the gates. Rows of
        `cells` from `before` on hold c_before, and c is written from `after` on. m is written to `out` from `out_row` on.
        """
        if self.compiled:
            a, b, c, d = self.arrays
            _forward(a, b, c, d, row, before, after, out_row, n, self.size, self.bound)
            return
        gates, cells, out, from_state = self.tensors
        z = gates[row : row + n] + from_state[:n]
        i, f, g, o = z.to(cells.dtype).chunk(4, dim=1)
        i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
        c = (f * cells[before : before + n] + i * g).clamp(-self.clip, self.clip)
        gates[row : row + n] = torch.cat([i, f, g, o], dim=1)
        cells[after : after + n] = c
        out[out_row : out_row + n] = o * c.tanh()

    def backward(self, row: int, before: int, after: int, d_cells: Tensor, n: int) -> None:
        """Run the backward pass of one step of n rows, given the gradient of m in `buffer`.

        Rows of `gates` from `row` on hold the gates and are overwritten with the gradients of z. `d_cells` (B, H) holds
        the gradient of c from the following step and is overwritten with that of c_before. Clipped values pass no
        gradient.
        """
        gates, cells, _, d_out = self.tensors
        if self.compiled:
            a, b, _, d = self.arrays
            _backward(a, b, d, as_array(d_cells), row, before, after, n, self.size, self.bound)
            return
        i, f, g, o = gates[row : row + n].to(cells.dtype).chunk(4, dim=1)
        c, d_m = cells[after : after + n], d_out[:n].to(cells.dtype)
        t = c.tanh()
        d_c = (d_m * o * (1 - t * t) + d_cells[:n]) * (c.abs() < self.clip)
        d_cells[:n] = d_c * f
        d_f = d_c * cells[before : before + n]
        parts = [d_c * g * i * (1 - i), d_f * f * (1 - f), d_c * i * (1 - g * g), d_m * t * o * (1 - o)]
        gates[row : row + n] = torch.cat(parts, dim=1)


@compiled_in_order
def _forward(
    gates: Any,
    cells: Any,
    out: Any,
    from_state: Any,
    row: int,
    before: int,
    after: int,
    out_row: int,
    n: int,
    size: int,
    clip: Any,
) -> None:
    low, high = lanes.splat(np.float32(-clip)), lanes.splat(np.float32(clip))
    for r in range(n):
        for j in range(0, size, 16):
            i = sigmoid(_sum(gates, row + r, from_state, r, j))
            f = sigmoid(_sum(gates, row + r, from_state, r, size + j))
            g = tanh(_sum(gates, row + r, from_state, r, 2 * size + j))
            o = sigmoid(_sum(gates, row + r, from_state, r, 3 * size + j))
            c = lanes.fused(f, lanes.load(cells, before + r, j), lanes.multiply(i, g))
            c = lanes.clamp(c, low, high)
            lanes.store(gates, row + r, j, i)
            lanes.store(gates, row + r, size + j, f)
            lanes.store(gates, row + r, 2 * size + j, g)
            lanes.store(gates, row + r, 3 * size + j, o)
            lanes.store(cells, after + r, j, c)
            lanes.store(out, out_row + r, j, lanes.multiply(o, tanh(c)))


@inlined_in_order
def _sum(a: Any, row_a: int, b: Any, row_b: int, column: int) -> Any:
    return lanes.add(lanes.load(a, row_a, column), lanes.load(b, row_b, column))


@compiled_in_order
def _backward(
    gates: Any,
    cells: Any,
    d_out: Any,
    d_cells: Any,
    row: int,
    before: int,
    after: int,
    n: int,
    size: int,
    clip: Any,
) -> None:
    bound, one, zero = lanes.splat(np.float32(clip)), lanes.splat(_ONE), lanes.zeros()
    for r in range(n):
        for j in range(0, size, 16):
            i, f = lanes.load(gates, row + r, j), lanes.load(gates, row + r, size + j)
            g, o = lanes.load(gates, row + r, 2 * size + j), lanes.load(gates, row + r, 3 * size + j)
            c, d_m = lanes.load(cells, after + r, j), lanes.load(d_out, r, j)
            t = tanh(c)
            slope = lanes.subtract(one, lanes.multiply(t, t))
            d_c = lanes.fused(lanes.multiply(d_m, o), slope, lanes.load(d_cells, r, j))
            d_c = lanes.where_inside(c, bound, d_c, zero)
            d_f = lanes.multiply(d_c, lanes.load(cells, before + r, j))
            slope = lanes.subtract(one, lanes.multiply(g, g))
            lanes.store(d_cells, r, j, lanes.multiply(d_c, f))
            lanes.store(gates, row + r, j, _through_sigmoid(lanes.multiply(d_c, g), i))
            lanes.store(gates, row + r, size + j, _through_sigmoid(d_f, f))
            lanes.store(gates, row + r, 2 * size + j, lanes.multiply(lanes.multiply(d_c, i), slope))
            lanes.store(gates, row + r, 3 * size + j, _through_sigmoid(lanes.multiply(d_m, t), o))


@inlined_in_order
def _through_sigmoid(gradient: Any, value: Any) -> Any:
    """Gradient with respect to the argument of a sigmoid with the given value."""
    slope = lanes.multiply(value, lanes.subtract(lanes.splat(_ONE), value))
    return lanes.multiply(gradient, slope)
