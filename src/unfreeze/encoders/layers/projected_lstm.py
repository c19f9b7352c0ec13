"""LSTM with projection, as in ELMo: a large cell state and a hidden state projected from it, both clipped.

    z_t = W_x x_t + W_h h_(t-1) + b        c_t = clip(f c_(t-1) + i g)        h_t = clip(W_p (o tanh(c_t)))

(Sak, Senior & Beaufays 2014; Peters et al. 2018.) torch.nn.LSTM falls back to a slow path for projections and cannot
clip. Here the products with the input are one product for all steps, the elementwise part of a step is one compiled
pass (lstm_cell.py), the gradient of each weight is one product at the end, and each direction runs in a thread of its
own, so that no synchronization is needed within a step.

Rows are sorted by length, longest first, and a step runs only the rows that have not ended. Padding is thus never
computed, the states of ended rows do not change, and states can be carried from any batch to the next. A single
row without gradients is handled by a specialized loop (lstm_row.py).

Shapes: T time, B batch, N positions of T B that are not padding, I input size, H hidden size, P projection size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, chain
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from unfreeze.encoders.layers.lstm_cell import CellSteps
from unfreeze.encoders.layers.lstm_row import RowWeights, arrange, can_run, run_row
from unfreeze.encoders.layers.parallel import run_parallel
from unfreeze.encoders.layers.products import compute_type
from unfreeze.encoders.layers.weight_cache import WeightCache

State = tuple[Tensor, Tensor]
"""h (B, P) and c (B, H), in float32 or float64."""


class Weights(NamedTuple):
    """Weights of one layer in one direction."""

    input: Tensor
    """(4 H, I), with gates ordered input, forget, cell, output."""
    bias: Tensor
    """(4 H,)"""
    state: Tensor
    """(4 H, P)"""
    projection: Tensor
    """(P, H)"""


@dataclass(frozen=True)
class Clips:
    """The largest absolute values that states are clipped to; infinite by default."""

    cell: float = torch.inf
    """Of the cell state c."""
    projection: float = torch.inf
    """Of the hidden state h."""


class ProjectedLstm(nn.Module):
    """One layer in one direction.

    Args:
        input_size: I.
        hidden_size: H.
        projection_size: P.
    """

    def __init__(self, input_size: int, hidden_size: int, projection_size: int) -> None:
        super().__init__()
        self.input_size, self.hidden_size, self.projection_size = input_size, hidden_size, projection_size
        self.weight_input = nn.Parameter(torch.empty(4 * hidden_size, input_size))
        self.weight_state = nn.Parameter(torch.empty(4 * hidden_size, projection_size))
        self.bias = nn.Parameter(torch.zeros(4 * hidden_size))
        self.projection = nn.Parameter(torch.empty(projection_size, hidden_size))
        self.cached = WeightCache()
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Initialize weights by Glorot's scheme, with open forget gates (bias 1)."""
        bound = (6.0 / (self.input_size + self.projection_size + 4 * self.hidden_size)) ** 0.5
        nn.init.uniform_(self.weight_input, -bound, bound)
        nn.init.uniform_(self.weight_state, -bound, bound)
        nn.init.xavier_uniform_(self.projection)
        self.bias.zero_()
        self.bias[self.hidden_size : 2 * self.hidden_size] = 1.0

    def weights(self) -> Weights:
        """Return the parameters in the form that the compiled loops take."""
        return Weights(self.weight_input, self.bias, self.weight_state, self.projection)

    def weights_as(self, dtype: torch.dtype) -> Weights:
        """Return the weights converted to a dtype, cached."""
        weights = self.weights()
        return self.cached.get(dtype, weights, lambda: _converted(weights, dtype))

    def row_weights(self, dtype: torch.dtype) -> RowWeights:
        """Return the weights in the layout of `lstm_row`, cached."""
        return self.cached.get((dtype, "row"), self.weights(), lambda: arrange(*self.weights_as(dtype)))

    def extra_repr(self) -> str:
        return f"{self.input_size}, hidden_size={self.hidden_size}, projection_size={self.projection_size}"


def run_layers(
    inputs: Sequence[Tensor],
    layers: Sequence[ProjectedLstm],
    states: Sequence[State | None],
    active: Sequence[int],
    clips: Clips,
) -> tuple[list[Tensor], list[State]]:
    """Run one layer in all directions.

    Args:
        inputs: (T, B, I) for each direction, in its reading order.
        layers: one for each direction.
        states: initial states for each direction; None means zeros.
        active: for each of T steps the number of rows that have not ended, non-increasing.

    Returns:
        Outputs (T, B, P) for each direction, zero where a row has ended, and final states, without gradients.
    """
    if not torch.is_grad_enabled():
        before = [None if state is None else [state] for state in states]
        found, after = run_stacks(
            inputs, [[layer] for layer in layers], before, active, clips, residual=False
        )
        return [outputs[0] for outputs in found], [ends[0] for ends in after]
    compute, flat = compute_type(inputs[0]), []
    for x, layer, state in zip(inputs, layers, states, strict=True):
        flat += [x, *(_zero_state(x, layer) if state is None else state), *layer.weights()]
    result: tuple[Tensor, ...] = _Layers.apply(compute, tuple(active), clips, *flat)  # type: ignore[no-untyped-call]
    outputs = [result[3 * d] for d in range(len(layers))]
    return outputs, [(result[3 * d + 1], result[3 * d + 2]) for d in range(len(layers))]


def run_stacks(
    inputs: Sequence[Tensor],
    stacks: Sequence[Sequence[ProjectedLstm]],
    states: Sequence[Sequence[State] | None],
    active: Sequence[int],
    clips: Clips,
    *,
    residual: bool,
) -> tuple[list[list[Tensor]], list[list[State]]]:
    """Run all layers of all directions without gradients and without synchronizing the directions between layers.

    Args:
        inputs, active: as for `run_layers`.
        stacks: for each direction its layers, bottom to top.
        states: for each direction the initial states of its layers.
        residual: whether layers above the first add their input to their output.

    Returns:
        For each direction the outputs (T, B, P) of its layers, and their final states.
    """
    compute, steps = compute_type(inputs[0]), tuple(active)  # not in the threads: autocast is thread-local

    def run(
        x: Tensor, layers: Sequence[ProjectedLstm], before: Sequence[State] | None
    ) -> tuple[list[Tensor], list[State]]:
        found, after = [], []
        for number, layer in enumerate(layers):
            state = _zero_state(x, layer) if before is None else before[number]
            y, h, c = _without_gradients(x, *state, layer, compute, steps, clips)
            x = x + y if residual and number else y
            found.append(x)
            after.append((h, c))
        return found, after

    results = run_parallel([partial(run, *each) for each in zip(inputs, stacks, states, strict=True)])
    return [outputs for outputs, _ in results], [ends for _, ends in results]


def _zero_state(x: Tensor, layer: ProjectedLstm) -> State:
    exact = torch.promote_types(x.dtype, torch.float32)
    h, c = (
        x.new_zeros(x.shape[1], width, dtype=exact) for width in (layer.projection_size, layer.hidden_size)
    )
    return h, c


@torch.no_grad()
def _without_gradients(
    x: Tensor,
    h: Tensor,
    c: Tensor,
    layer: ProjectedLstm,
    compute: torch.dtype,
    active: tuple[int, ...],
    clips: Clips,
) -> tuple[Tensor, Tensor, Tensor]:
    """Run one direction and return the output and the final state."""
    sizes = layer.projection_size, layer.hidden_size
    if not (set(active) == {1} and x.shape[1] == 1 and can_run(*sizes, compute, x.device)):
        return _forward((x, h, c), layer.weights_as(compute), active, clips, needs_gradient=False)[:3]
    weights = layer.row_weights(compute)
    gates = torch.addmm(weights.bias, x[:, 0].to(compute), weights.input)
    states, cells = run_row(gates, weights, h, c, clips.cell, clips.projection)
    return states[1:, None].to(x.dtype), states[-1:], cells


@dataclass
class _Saved:
    """Tensors of one direction for the backward pass."""

    x: Tensor  # (N, I)
    gates: Tensor  # (N, 4 H)
    cells: Tensor  # ((T + 1) B, H)
    raw: Tensor  # (N, H): m
    states: Tensor  # ((T + 1) B, P)
    unpadded: Tensor | None  # (N,)
    weights: Weights


class _Layers(torch.autograd.Function):
    """All directions of a layer in parallel, forward and backward."""

    @staticmethod
    def forward(
        ctx: Any, compute: torch.dtype, active: tuple[int, ...], clips: Clips, *flat: Tensor
    ) -> tuple[Tensor, ...]:
        needs_gradient = any(ctx.needs_input_grad)
        calls = [
            partial(
                _forward,
                flat[at : at + 3],
                _converted(flat[at + 3 : at + 7], compute),
                active,
                clips,
                needs_gradient,
            )
            for at in range(0, len(flat), 7)
        ]
        results = run_parallel(calls)
        if needs_gradient:
            ctx.saved, ctx.active, ctx.clips = [result[3] for result in results], active, clips
        outputs = tuple(tensor for result in results for tensor in result[:3])
        ctx.mark_non_differentiable(*(tensor for result in results for tensor in result[1:3]))
        return outputs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        calls = [
            partial(_backward, grads[3 * d], saved, ctx.active, ctx.clips)
            for d, saved in enumerate(ctx.saved)
        ]
        ctx.saved = None
        found = [(d_x.to(grads[0].dtype), None, None, *d_weights) for d_x, *d_weights in run_parallel(calls)]
        return None, None, None, *chain.from_iterable(found)


def _converted(weights: Sequence[Tensor], dtype: torch.dtype) -> Weights:
    return Weights(*(weight.detach().to(dtype) for weight in weights))


def _unpadded(active: Sequence[int], batch: int, device: torch.device) -> Tensor | None:
    """Indices (N,) of the positions of T B that are not padding; None if there is no padding."""
    if all(n == batch for n in active):
        return None
    steps = torch.tensor(active, device=device)
    return (torch.arange(batch, device=device) < steps[:, None]).flatten().nonzero()[:, 0]


def _select(x: Tensor, places: Tensor | None) -> Tensor:
    return x if places is None else x[places]


@torch.no_grad()
def _forward(
    given: Sequence[Tensor], weights: Weights, active: Sequence[int], clips: Clips, needs_gradient: bool
) -> tuple[Tensor, Tensor, Tensor, _Saved | None]:
    """Run one direction: output, final h and c, and the tensors for the backward pass.

    Without gradients the buffers hold a single step.
    """
    x, h, c = given
    n_steps, batch, width = x.shape
    size, n_cells = weights.projection.shape
    unpadded = _unpadded(active, batch, x.device)
    flat = _select(x.reshape(n_steps * batch, width), unpadded).to(weights.input.dtype)
    gates = torch.addmm(weights.bias, flat, weights.input.t())
    stride = batch if needs_gradient else 0
    cells = c.new_empty(n_steps * stride + batch, n_cells)
    cells[:batch] = c
    raw = gates.new_empty(max(1, len(flat)) if needs_gradient else batch, n_cells)
    states = gates.new_zeros((n_steps + 1) * batch, size)
    states[:batch] = h
    from_state = gates.new_empty(batch, 4 * n_cells)
    steps = CellSteps(gates, cells, raw, from_state, clips.cell)
    state_t, projection_t = weights.state.t(), weights.projection.t()
    for t, (row, n) in enumerate(zip(accumulate(active, initial=0), active, strict=False)):
        before, out_row = t * batch, row if needs_gradient else 0
        # z = W_x x + W_h h + b, (n, 4 H); m, (n, H); h = W_p m, (n, P)
        torch.mm(states[before : before + n], state_t, out=from_state[:n])
        steps.forward(row, t * stride, (t + 1) * stride, out_row, n)
        new = states[before + batch : before + batch + n]
        torch.mm(raw[out_row : out_row + n], projection_t, out=new)
        if clips.projection < torch.inf:
            new.clamp_(-clips.projection, clips.projection)
    ends = _ends(active, batch, h.device)
    final_c = cells[ends] if needs_gradient else cells
    output = states[batch:].view(n_steps, batch, size).to(x.dtype)
    saved = _Saved(flat, gates, cells, raw, states, unpadded, weights) if needs_gradient else None
    return output, states[ends].to(h.dtype), final_c, saved


def _ends(active: Sequence[int], batch: int, device: torch.device) -> Tensor:
    """Row (B,) of the last state of each sequence among (T + 1) B."""
    steps = torch.tensor(list(active), device=device)
    rows = torch.arange(batch, device=device)
    return (steps[:, None] > rows).sum(0) * batch + rows


@torch.no_grad()
def _backward(d_output: Tensor, saved: _Saved, active: Sequence[int], clips: Clips) -> tuple[Tensor, ...]:
    """Gradients of the input and of the weights of one direction, in the order of `Weights`."""
    n_steps, batch, size = d_output.shape
    weights, gates, unpadded = saved.weights, saved.gates, saved.unpadded
    d_states = _select(d_output.reshape(n_steps * batch, size), unpadded).to(gates.dtype, copy=True)
    d_cells = torch.zeros_like(saved.cells[:batch])
    d_raw = gates.new_empty(batch, saved.cells.shape[1])
    d_before = gates.new_zeros(batch, size)
    steps = CellSteps(gates, saved.cells, saved.raw, d_raw, clips.cell)
    row = len(gates)
    for t in range(n_steps - 1, -1, -1):
        n = active[t]
        row, before = row - n, t * batch
        after = before + batch
        d_state = d_states[row : row + n]
        d_state += d_before[:n]
        if clips.projection < torch.inf:
            d_state *= saved.states[after : after + n].abs() < clips.projection
        torch.mm(d_state, weights.projection, out=d_raw[:n])
        steps.backward(row, before, after, d_cells, n)
        torch.mm(gates[row : row + n], weights.state, out=d_before[:n])
    exact = torch.promote_types(gates.dtype, torch.float32)
    d_z_t, d_x = gates.t(), gates @ weights.input
    if unpadded is not None:
        d_x = d_x.new_zeros(n_steps * batch, d_x.shape[1]).index_copy_(0, unpadded, d_x)
    return (
        d_x.view(n_steps, batch, -1),
        (d_z_t @ saved.x).to(exact),
        gates.sum(0, dtype=exact),
        (d_z_t @ _select(saved.states[: n_steps * batch], unpadded)).to(exact),
        (d_states.t() @ saved.raw[: len(gates)]).to(exact),
    )
