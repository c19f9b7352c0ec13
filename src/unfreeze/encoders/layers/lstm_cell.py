"""What an LSTM does to each number between its two matrix products, compiled: one pass over memory forward, one backward.

    i, f, o = sigmoid(z_i), sigmoid(z_f), sigmoid(z_o)     g = tanh(z_g)     z = from the input + from the state before
    c = clip(f * c_before + i * g)     m = o * tanh(c)

In torch this is a dozen passes, which take longer than the products. Numbers are computed in float32 whatever the
arrays hold; products and what is kept for the gradient may be bfloat16 (int16 to NumPy).

Legend: n rows, H cells (a multiple of 16); gates stand as input, forget, cell, output, as in torch.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from unfreeze.compiled import lanes
from unfreeze.compiled.decorators import compiled_in_order, inlined_in_order
from unfreeze.compiled.lane_math import sigmoid, tanh
from unfreeze.encoders.layers.parallel import as_array

_ONE = np.float32(1.0)


class CellSteps:
    """The steps of one direction, over arrays that hold all of them; compiled on a CPU, plain torch elsewhere.

    Args:
        gates: (R, 4 H), what `forward` and `backward` find and leave in its rows is said there.
        cells: (R', H) of float32 (or float64).
        out: (R", H), m.
        buffer: (B, 4 H) the products with the state before, or (B, H) the gradient of m.
        clip: bound of c.
    """

    def __init__(self, gates: Tensor, cells: Tensor, out: Tensor, buffer: Tensor, clip: float) -> None:
        self.tensors = gates, cells, out, buffer
        self.size, self.clip = cells.shape[1], clip
        self.compiled = (
            gates.device.type == "cpu"
            and gates.dtype in (torch.float32, torch.bfloat16)
            and self.size % 16 == 0
        )
        if self.compiled:
            self.arrays: list[Any] = [as_array(tensor) for tensor in self.tensors]
            self.bound = np.float32(clip)

    def forward(self, row: int, before: int, after: int, out_row: int, n: int) -> None:
        """One step of n rows.

        Rows of gates from `row` on hold the products with the input and become the gates; rows of cells from `before` on
        are c_before, those from `after` on become c; rows of out from `out_row` on become m.
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
        """The gradients of one step of n rows, given that of m in the buffer; no gradient goes through a clip that binds.

        Rows of gates from `row` on hold the gates and become the gradients of z; d_cells (B, H) holds the gradient of c
        from the step after and becomes that of c_before.
        """
        gates, cells, _, d_out = self.tensors
        if self.compiled:
            arrays = self.arrays
            _backward(
                arrays[0],
                arrays[1],
                arrays[3],
                as_array(d_cells),
                row,
                before,
                after,
                n,
                self.size,
                self.bound,
            )
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
    """The gradient before a sigmoid that has this value."""
    slope = lanes.multiply(value, lanes.subtract(lanes.splat(_ONE), value))
    return lanes.multiply(gradient, slope)
