"""A biLSTM layer over packed texts, whose weights are those of `torch.nn.LSTM`.

`torch.nn.LSTM` on packed sequences, the published way to run a biLSTM over texts of different lengths, does not use bf16 on a CPU
(benchmarks.translation_speed compares both; in float32 they are equally fast). Here, as in projected_lstm.py, the product with the
inputs is one product for all steps, the elementwise part of a step is one compiled pass (lstm_cell.py), the gradient of each
weight is one product at the end, and each direction runs in a thread of its own. On other devices the packed sequences go to
cuDNN.

Texts are sorted by length, longest first, and packed step by step as in `torch.nn.utils.rnn.PackedSequence`: the rows of step t
are those of the texts that have not ended, so padding is never computed. The backward direction walks through the same rows
from the last step to the first, and a text joins at its last word with a state of zeros: nothing is ever reversed.

Shapes: B texts, T time, N positions of all texts, I input size, H hidden size of a direction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.utils.rnn import PackedSequence

from unfreeze.compiled import lanes
from unfreeze.encoders.layers.lstm_cell import CellSteps
from unfreeze.encoders.layers.parallel import KERNEL_FORMATS, run_parallel
from unfreeze.encoders.layers.products import compute_type, weight_gradient
from unfreeze.encoders.layers.weight_cache import WeightCache


class Packing:
    """Where the positions of a batch of texts stand among the packed rows.

    Args:
        lengths: (B,) words of each text, in any order; 0 for a text without words.
    """

    def __init__(self, lengths: Tensor) -> None:
        counts = lengths.tolist()
        order = sorted(range(len(counts)), key=counts.__getitem__, reverse=True)
        self.n_texts, self.longest = len(counts), max(counts, default=0)
        self.active: list[int] = []
        """How many texts have not ended at each step."""
        alive = len(counts)
        for step in range(self.longest):
            while counts[order[alive - 1]] <= step:
                alive -= 1
            self.active.append(alive)
        self.starts = list(accumulate(self.active, initial=0))
        """The first row of each step, and N."""
        self.device = lengths.device
        self.order = torch.tensor(order, device=self.device)
        """(B,) the texts by falling length."""
        steps, ranks = torch.tensor(self.active), torch.arange(self.n_texts)
        places = (ranks < steps[:, None]).nonzero().to(self.device)
        self.step, self.text = places[:, 0], self.order[places[:, 1]]
        """(N,) the step and the text of each row."""

    def pack(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (N, D)."""
        return x[self.text, self.step]

    def unpack(self, x: Tensor, longest: int | None = None) -> Tensor:
        """(N, D) -> (B, T, D), zero in the padding; T is `longest`, or the length of the longest text."""
        width = self.longest if longest is None else longest
        rows = x.new_zeros(self.n_texts * width, x.shape[1])
        places = self.text * width + self.step
        return rows.index_copy(0, places, x).view(self.n_texts, width, x.shape[1])

    def following(self, step: int, ahead: int) -> int:
        """How many texts have a word at `step + ahead`."""
        other = step + ahead
        return self.active[other] if 0 <= other < self.longest else 0


class _Weights(NamedTuple):
    """Weights of one direction, with gates ordered input, forget, cell, output."""

    inputs: Tensor
    """(4 H, I)"""
    bias: Tensor
    """(4 H,)"""
    state: Tensor
    """(4 H, H)"""


class PackedBiLstm(nn.LSTM):
    """One LSTM layer in one direction or two, over packed texts.

    Args:
        input_size: I.
        hidden_size: H.
        bidirectional: whether there is a second direction, which reads the texts from their end.
    """

    def __init__(self, input_size: int, hidden_size: int, *, bidirectional: bool = True) -> None:
        super().__init__(input_size, hidden_size, bidirectional=bidirectional)
        self.cached = WeightCache()

    @property
    def width(self) -> int:
        """The width of the output: H, or 2 H for two directions."""
        return self.hidden_size * (2 if self.bidirectional else 1)

    def forward(self, x: Tensor, packing: Packing) -> Tensor:  # type: ignore[override]
        """(N, I) packed -> (N, width)."""
        if not len(x):
            return x.new_zeros(0, self.width)
        if x.device.type != "cpu":
            return super().forward(PackedSequence(x, torch.tensor(packing.active)))[0].data
        compute = compute_type(x)
        # The compiled steps take multiples of 16; other sizes are padded with cells that stay zero.
        missing = -self.hidden_size % lanes.WIDTH if compute in KERNEL_FORMATS else 0
        if torch.is_grad_enabled():
            weights = [self._weights(suffix, missing) for suffix in self._suffixes]
            flat = [tensor for own in weights for tensor in own]
            states: Sequence[Tensor] = _Directions.apply(packing, compute, x, *flat)  # type: ignore[no-untyped-call]
        else:
            weights = self.cached.get(compute, self.parameters(), lambda: self._converted(missing, compute))
            states = [found.states for found in _run(packing, x.to(compute), weights, learns=False)]
        if missing:
            states = [each[:, : self.hidden_size] for each in states]
        return torch.cat(list(states), dim=1) if len(states) > 1 else states[0]

    @property
    def _suffixes(self) -> tuple[str, ...]:
        return ("_l0", "_l0_reverse") if self.bidirectional else ("_l0",)

    def _converted(self, missing: int, compute: torch.dtype) -> list[_Weights]:
        return [_as_format(self._weights(suffix, missing), compute) for suffix in self._suffixes]

    def _weights(self, suffix: str, missing: int) -> _Weights:
        """The weights of a direction. All weights of padding cells are 0, so that the cells and their gradients stay 0."""
        size = self.hidden_size
        inputs, state, bias, bias_2 = (
            getattr(self, name + suffix) for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        if not missing:
            return _Weights(inputs, bias + bias_2, state)
        return _Weights(
            F.pad(inputs.view(4, size, -1), (0, 0, 0, missing)).flatten(0, 1),
            F.pad((bias + bias_2).view(4, size), (0, missing)).flatten(),
            F.pad(state.view(4, size, size), (0, missing, 0, missing)).flatten(0, 1),
        )


def _as_format(weights: Sequence[Tensor], compute: torch.dtype) -> _Weights:
    """Weights in the format of the products; in float32 with the layout in which a product with few rows is fastest."""
    inputs, bias, state = (tensor.to(compute) for tensor in weights)
    return _Weights(inputs, bias, state.t().contiguous().t() if compute == torch.float32 else state)


@dataclass
class _Direction:
    """One direction of a layer: its states, and what the backward pass needs."""

    ahead: int  # 1: the next step in reading order is t + 1; -1: it is t - 1
    weights: _Weights
    gates: Tensor  # (N, 4 H)
    cells: Tensor  # ((T + 2) B, H), those of step t from row (t + 1) B on; without gradients (B, H)
    states: Tensor  # (N, H)


def _run(packing: Packing, x: Tensor, weights: Sequence[_Weights], *, learns: bool) -> list[_Direction]:
    calls = [
        partial(_run_direction, packing, x, own, ahead, learns)
        for own, ahead in zip(weights, (1, -1), strict=False)
    ]
    return run_parallel(calls)


@torch.no_grad()
def _run_direction(packing: Packing, x: Tensor, weights: _Weights, ahead: int, learns: bool) -> _Direction:
    batch, size = packing.n_texts, weights.state.shape[1]
    gates = torch.addmm(weights.bias, x, weights.inputs.t())
    exact = torch.promote_types(x.dtype, torch.float32)
    cells = x.new_zeros((packing.longest + 2) * batch if learns else batch, size, dtype=exact)
    states = x.new_empty(len(x), size)
    from_state = x.new_zeros(batch, 4 * size)
    steps = CellSteps(gates, cells, states, from_state, torch.inf)
    state_t = weights.state.t()
    for t in range(packing.longest)[::ahead]:
        row, n, known = packing.starts[t], packing.active[t], packing.following(t, -ahead)
        # Of the n texts of this step, `known` have a state; the others begin, and the rows of `from_state` are still 0.
        known = min(n, known)
        if known:
            before = packing.starts[t - ahead]
            torch.mm(states[before : before + known], state_t, out=from_state[:known])
        steps.forward(row, (t + 1 - ahead) * batch if learns else 0, (t + 1) * batch if learns else 0, row, n)
    return _Direction(ahead, weights, gates, cells, states)


class _Directions(torch.autograd.Function):
    """The directions of a layer in parallel, forward and backward."""

    @staticmethod
    def forward(
        ctx: Any, packing: Packing, compute: torch.dtype, x: Tensor, *flat: Tensor
    ) -> tuple[Tensor, ...]:
        own = x.to(compute)
        weights = [_as_format(flat[at : at + 3], compute) for at in range(0, len(flat), 3)]
        found = _run(packing, own, weights, learns=True)
        ctx.packing, ctx.inputs, ctx.directions = packing, own, found
        ctx.x_type, ctx.x_learns = x.dtype, ctx.needs_input_grad[2]
        # Tensors of their own: the outputs know `ctx`, and it would never be freed if it knew them.
        return tuple(direction.states.detach() for direction in found)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        calls = [
            partial(_backward, ctx.packing, ctx.inputs, direction, d_states)
            for direction, d_states in zip(ctx.directions, grads, strict=True)
        ]
        found = run_parallel(calls)
        d_x = None
        if ctx.x_learns:  # the gates hold their gradients now
            first, *others = ctx.directions
            d_x = first.gates @ first.weights.inputs
            for other in others:
                d_x.addmm_(other.gates, other.weights.inputs)
            d_x = d_x.to(ctx.x_type)
        ctx.directions = ctx.inputs = None
        return None, None, d_x, *(tensor for each in found for tensor in each)


@torch.no_grad()
def _backward(packing: Packing, x: Tensor, direction: _Direction, d_states: Tensor) -> tuple[Tensor, ...]:
    """The gradients of the weights of one direction, in the order of `_Weights`; its gates are overwritten by theirs."""
    ahead, weights, gates, states = direction.ahead, direction.weights, direction.gates, direction.states
    batch, size = packing.n_texts, weights.state.shape[1]
    d_cells = torch.zeros_like(direction.cells[:batch])
    d_state = gates.new_zeros(batch, size)
    d_before = gates.new_zeros(batch, size)
    steps = CellSteps(gates, direction.cells, states, d_state, torch.inf)
    for t in range(packing.longest)[::-ahead]:
        row, n = packing.starts[t], packing.active[t]
        torch.add(d_states[row : row + n], d_before[:n], out=d_state[:n])
        steps.backward(row, (t + 1 - ahead) * batch, (t + 1) * batch, d_cells, n)
        torch.mm(gates[row : row + n], weights.state, out=d_before[:n])
    before = torch.cat([states, states.new_zeros(1, size)])[_rows_before(packing, ahead)]
    return (
        weight_gradient(gates, x),
        gates.sum(0, dtype=torch.promote_types(gates.dtype, torch.float32)),
        weight_gradient(gates, before),
    )


def _rows_before(packing: Packing, ahead: int) -> Tensor:
    """For each packed row that of the same text one step earlier in reading order, and N where there is none: (N,)."""
    rank = torch.arange(packing.starts[-1]) - torch.tensor(packing.starts)[packing.step]
    starts = torch.tensor([*packing.starts[:-1], packing.starts[-1]])
    active = torch.tensor(
        [*packing.active, 0]
    )  # the step before the first one is the last of the list: of no text
    other = packing.step - ahead
    return torch.where(rank < active[other], starts[other] + rank, packing.starts[-1])
