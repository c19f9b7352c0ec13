"""fo-pooling of a QRNN on a CPU: one compiled pass over the gates of a layer forward, and one backward.

The gates are read once, in the format of the matrix product. The backward pass computes the activations again: storing
them would cost as much memory traffic as it saves arithmetic, and a forget gate close to 1, which is what gives a
QRNN long memory, would be rounded to 1 in bfloat16, while its argument is not affected.

Shapes: T time, B batch, N = T B rows in temporal order, H hidden size. Arithmetic is in float32 throughout.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from unfreeze.compiled import lanes
from unfreeze.compiled.decorators import compiled_in_order, inlined_in_order
from unfreeze.compiled.lane_math import exp_within
from unfreeze.encoders.layers.parallel import as_array, run_parallel, split_work

_ONE, _TWO, _MINUS_ONE = np.float32(1.0), np.float32(2.0), np.float32(-1.0)
_LIMIT = np.float32(28.0)
"""Arguments of exp are clamped to +-28, so that the product of three results does not overflow in float32."""


class Pooling(NamedTuple):
    """Tensors of one layer that the kernels read and write."""

    gates: Tensor
    """(N, 3 H), the matrix products for candidate, forget gate and output gate, without bias."""
    bias: Tensor
    """(3 H,) in float32."""
    cells: Tensor
    """(N, H), c of each step in the format of the gates, written by forward if backward needs it."""
    zoneout: Tensor
    """Factor of 1 - f, (N, H) or (1, H); (0, H) without zoneout."""


def pool_forward(pooling: Pooling, state: Tensor, out: Tensor, *, keep: bool) -> None:
    """Run the recurrence c = f c + (1 - f) z, h = o c over all steps.

    Args:
        state: (B, H) in float32, c before the first step; overwritten with c after the last one.
        out: (N, H), overwritten with h, in the format of the gates.
        keep: whether to write c of each step to `pooling.cells`.
    """
    arrays = *_arrays(pooling), as_array(state), as_array(out)
    calls = [partial(_forward, *arrays, first, last, keep) for first, last in split_work(len(state))]
    run_parallel(calls)


def pool_backward(pooling: Pooling, before: Tensor, d_out: Tensor, d_state: Tensor) -> Tensor:
    """Backward pass of `pool_forward`; overwrites the gates with their gradients.

    Args:
        before: (B, H) in float32, c before the first step.
        d_out: (N, H), gradient of h in the format of the gates.
        d_state: (B, H) in float32, gradient of c after the last step; overwritten with that of `before`.

    Returns:
        Gradient of the bias (3 H,).
    """
    parts = split_work(len(before))
    sums = np.zeros((len(parts), pooling.gates.shape[1]), dtype=np.float32)
    arrays = *_arrays(pooling), as_array(before), as_array(d_out), as_array(d_state), sums
    calls = [partial(_backward, *arrays, number, first, last) for number, (first, last) in enumerate(parts)]
    run_parallel(calls)
    return torch.from_numpy(sums.sum(0))


def _arrays(pooling: Pooling) -> tuple[Any, Any, Any, Any]:
    assert all(tensor.is_contiguous() for tensor in pooling), "the kernels read rows in C order"
    return (
        as_array(pooling.gates),
        pooling.bias.numpy()[None],
        as_array(pooling.cells),
        as_array(pooling.zoneout),
    )


@inlined_in_order
def _activations(for_z: Any, for_f: Any, for_o: Any) -> Any:
    """tanh(z), sigmoid(f), 1 - sigmoid(f) and sigmoid(o), with a single division, which is as slow as exp."""
    one = lanes.splat(_ONE)
    e_z = lanes.add(one, exp_within(lanes.multiply(for_z, lanes.splat(_TWO)), -_LIMIT, _LIMIT))
    e_f = exp_within(lanes.multiply(for_f, lanes.splat(_MINUS_ONE)), -_LIMIT, _LIMIT)
    e_o = lanes.add(one, exp_within(lanes.multiply(for_o, lanes.splat(_MINUS_ONE)), -_LIMIT, _LIMIT))
    f_and_o = lanes.multiply(lanes.add(one, e_f), e_o)
    inverse = lanes.divide(one, lanes.multiply(e_z, f_and_o))
    z = lanes.subtract(one, lanes.multiply(lanes.splat(_TWO), lanes.multiply(inverse, f_and_o)))
    inverse_f_and_o = lanes.multiply(inverse, e_z)
    f = lanes.multiply(inverse_f_and_o, e_o)
    o = lanes.multiply(inverse_f_and_o, lanes.add(one, e_f))
    return z, f, lanes.multiply(e_f, f), o


@inlined_in_order
def _pooled(z: Any, i: Any, c: Any) -> Any:
    # f c + i z with f = 1 - i
    return lanes.fused(i, lanes.subtract(z, c), c)


@inlined_in_order
def _argument(gates: Any, bias: Any, row: int, column: int) -> Any:
    return lanes.add(lanes.load(gates, row, column), lanes.load(bias, 0, column))


@inlined_in_order
def _argument_some(gates: Any, bias: Any, row: int, column: int, n: int) -> Any:
    return lanes.add(lanes.load_some(gates, row, column, n), lanes.load_some(bias, 0, column, n))


@inlined_in_order
def _activations_at(gates: Any, bias: Any, row: int, j: int, size: int) -> Any:
    # Of 16 units, from unit j on.
    return _activations(
        _argument(gates, bias, row, j),
        _argument(gates, bias, row, size + j),
        _argument(gates, bias, row, 2 * size + j),
    )


@inlined_in_order
def _some_activations_at(gates: Any, bias: Any, row: int, j: int, size: int, n: int) -> Any:
    # Of the last n units, from unit j on, if H is not a multiple of 16.
    return _activations(
        _argument_some(gates, bias, row, j, n),
        _argument_some(gates, bias, row, size + j, n),
        _argument_some(gates, bias, row, 2 * size + j, n),
    )


@compiled_in_order
def _forward(
    gates: Any, bias: Any, cells: Any, zoneout: Any, state: Any, out: Any, first: int, last: int, keep: bool
) -> None:
    # Rows `first` to `last` of the batch.
    batch, size = state.shape
    whole = size - size % 16
    rest = size - whole
    zoned, zone_step = len(zoneout) > 0, int(len(zoneout) > 1)
    for t in range(len(gates) // batch):
        for b in range(first, last):
            row = t * batch + b
            for j in range(0, whole, 16):
                z, f, i, o = _activations_at(gates, bias, row, j, size)
                if zoned:
                    i = lanes.multiply(i, lanes.load(zoneout, row * zone_step, j))
                c = _pooled(z, i, lanes.load(state, b, j))
                lanes.store(state, b, j, c)
                if keep:
                    lanes.store(cells, row, j, c)
                lanes.store(out, row, j, lanes.multiply(o, c))
            if rest:
                j = whole
                z, f, i, o = _some_activations_at(gates, bias, row, j, size, rest)
                if zoned:
                    i = lanes.multiply(i, lanes.load_some(zoneout, row * zone_step, j, rest))
                c = _pooled(z, i, lanes.load_some(state, b, j, rest))
                lanes.store_some(state, b, j, rest, c)
                if keep:
                    lanes.store_some(cells, row, j, rest, c)
                lanes.store_some(out, row, j, rest, lanes.multiply(o, c))


@inlined_in_order
def _gradients(
    z: Any, f: Any, i: Any, o: Any, factor: Any, c_before: Any, c: Any, d_out: Any, d_c: Any
) -> Any:
    """Gradients of the arguments of z, f and o, and of c_before; `factor` multiplies i = 1 - f (zoneout)."""
    one = lanes.splat(_ONE)
    d_c = lanes.fused(d_out, o, d_c)
    d_o = lanes.multiply(lanes.multiply(d_out, c), lanes.multiply(o, lanes.subtract(one, o)))
    updated = lanes.multiply(i, factor)
    d_z = lanes.multiply(lanes.multiply(d_c, updated), lanes.subtract(one, lanes.multiply(z, z)))
    slope = lanes.multiply(lanes.multiply(f, i), factor)
    d_f = lanes.multiply(lanes.multiply(d_c, lanes.subtract(c_before, z)), slope)
    return d_z, d_f, d_o, lanes.multiply(d_c, lanes.subtract(one, updated))


@inlined_in_order
def _store_and_sum(gates: Any, sums: Any, thread: int, row: int, column: int, value: Any) -> None:
    """Store the gradient of a gate and add it to that of the bias."""
    lanes.store(gates, row, column, value)
    lanes.store(sums, thread, column, lanes.add(lanes.load(sums, thread, column), value))


@inlined_in_order
def _store_and_sum_some(
    gates: Any, sums: Any, thread: int, row: int, column: int, n: int, value: Any
) -> None:
    lanes.store_some(gates, row, column, n, value)
    total = lanes.add(lanes.load_some(sums, thread, column, n), value)
    lanes.store_some(sums, thread, column, n, total)


@compiled_in_order
def _backward(
    gates: Any,
    bias: Any,
    cells: Any,
    zoneout: Any,
    before: Any,
    d_out: Any,
    d_state: Any,
    sums: Any,
    thread: int,
    first: int,
    last: int,
) -> None:
    # Rows `first` to `last` of the batch, from the last step to the first.
    batch, size = before.shape
    whole = size - size % 16
    rest = size - whole
    zoned, zone_step = len(zoneout) > 0, int(len(zoneout) > 1)
    factor = lanes.splat(_ONE)
    for step in range(len(gates) // batch):
        t = len(gates) // batch - 1 - step
        for b in range(first, last):
            row = t * batch + b
            for j in range(0, whole, 16):
                z, f, i, o = _activations_at(gates, bias, row, j, size)
                if zoned:
                    factor = lanes.load(zoneout, row * zone_step, j)
                c_before = lanes.load(cells, row - batch, j) if t > 0 else lanes.load(before, b, j)
                c, d_h, d_c = lanes.load(cells, row, j), lanes.load(d_out, row, j), lanes.load(d_state, b, j)
                d_z, d_f, d_o, d_c = _gradients(z, f, i, o, factor, c_before, c, d_h, d_c)
                _store_and_sum(gates, sums, thread, row, j, d_z)
                _store_and_sum(gates, sums, thread, row, size + j, d_f)
                _store_and_sum(gates, sums, thread, row, 2 * size + j, d_o)
                lanes.store(d_state, b, j, d_c)
            if rest:
                j = whole
                z, f, i, o = _some_activations_at(gates, bias, row, j, size, rest)
                if zoned:
                    factor = lanes.load_some(zoneout, row * zone_step, j, rest)
                c_before = (
                    lanes.load_some(cells, row - batch, j, rest)
                    if t > 0
                    else lanes.load_some(before, b, j, rest)
                )
                c, d_h = lanes.load_some(cells, row, j, rest), lanes.load_some(d_out, row, j, rest)
                d_c = lanes.load_some(d_state, b, j, rest)
                d_z, d_f, d_o, d_c = _gradients(z, f, i, o, factor, c_before, c, d_h, d_c)
                _store_and_sum_some(gates, sums, thread, row, j, rest, d_z)
                _store_and_sum_some(gates, sums, thread, row, size + j, rest, d_f)
                _store_and_sum_some(gates, sums, thread, row, 2 * size + j, rest, d_o)
                lanes.store_some(d_state, b, j, rest, d_c)
