"""The decoder of a translator: LSTMs with input feeding and Luong's general attention (Luong, Pham & Manning 2015).

    h^1_t = LSTM^1([e(y_(t-1)); f_(t-1)])     h^l_t = LSTM^l(h^(l-1)_t)     s_t = h^L_t
    a_t = softmax_j(s_t . W_a m_j)             f_t = tanh(W_c [sum_j a_tj m_j; s_t])

The output f_t is fed to the next step, so that a step needs the whole step before it, and nothing can be computed for all steps at
once. Automatic differentiation would add a gradient to every weight matrix at each step, which takes longer than the step.
Here forward and backward are loops over the steps in which only the products with states remain, and the gradient of each weight
is one product at the end.

Target texts are sorted by length, longest first, and packed as in bi_lstm.py, so that padding is never computed. The compiled
steps take widths that are multiples of 16; others are padded with zeros, which stay zeros.

Shapes: B texts, S words of the longest source, M width of the memory (the encoder's states), N positions of all targets, E width
of the embedding, D hidden size, L layers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from unfreeze.compiled import lanes
from unfreeze.encoders.layers.attention_kernel import AttentionSteps
from unfreeze.encoders.layers.bi_lstm import Packing
from unfreeze.encoders.layers.lstm_cell import CellSteps
from unfreeze.encoders.layers.parallel import KERNEL_FORMATS
from unfreeze.encoders.layers.products import compute_type, weight_gradient
from unfreeze.encoders.layers.weight_cache import WeightCache


@dataclass(frozen=True)
class Memory:
    """What the decoder attends to: the states of the source, in the order of the target texts."""

    states: Tensor
    """(B, S, M), S a multiple of 16; M and D likewise on a CPU, padded with zeros."""
    keys: Tensor
    """(B, S, D): W_a m."""
    lengths: Tensor
    """(B,) words of each source, at least 1."""

    def rows(self, places: Tensor) -> Memory:
        """The memory of some texts, or of the same text several times."""
        return Memory(self.states[places], self.keys[places], self.lengths[places])


@dataclass(frozen=True)
class DecoderState:
    """The state between two steps."""

    hidden: tuple[Tensor, ...]
    """h of each layer, (B, D)."""
    cells: tuple[Tensor, ...]
    """c of each layer, (B, D)."""
    feed: Tensor
    """f, (B, D)."""

    def rows(self, places: Tensor) -> DecoderState:
        """The state of some texts, or of the same text several times."""
        return self.map(lambda x: x[places])

    def map(self, change: Callable[[Tensor], Tensor]) -> DecoderState:
        """The state with each tensor changed."""
        hidden, cells = (tuple(change(x) for x in part) for part in (self.hidden, self.cells))
        return DecoderState(hidden, cells, change(self.feed))


class _Layer(NamedTuple):
    """Weights of one LSTM, with gates ordered input, forget, cell, output."""

    inputs: Tensor
    """(4 D, E), or (4 D, D) above the first layer"""
    state: Tensor
    """(4 D, D)"""
    bias: Tensor
    """(4 D,)"""


class _Weights(NamedTuple):
    layers: tuple[_Layer, ...]
    feed: Tensor
    """(4 D, D): of f in the first layer"""
    context: Tensor
    """(D, M)"""
    top: Tensor
    """(D, D): of s in W_c"""

    def flat(self) -> list[Tensor]:
        return [*(tensor for layer in self.layers for tensor in layer), *self[1:]]

    @classmethod
    def of_flat(cls, flat: Sequence[Tensor]) -> _Weights:
        layers = tuple(_Layer(*flat[at : at + 3]) for at in range(0, len(flat) - 3, 3))
        return cls(layers, *flat[-3:])

    def to(self, dtype: torch.dtype) -> _Weights:
        return _Weights.of_flat([tensor.detach().to(dtype) for tensor in self.flat()])


class AttentionDecoder(nn.Module):
    """LSTMs with input feeding and general attention, without the embedding and the output layer.

    Args:
        input_size: E.
        hidden_size: D.
        memory_size: M.
        n_layers: L.
        dropout: of s and f and between the layers, the same features at all steps of a text.
    """

    def __init__(
        self, input_size: int, hidden_size: int, memory_size: int, *, n_layers: int = 2, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.hidden_size, self.memory_size = hidden_size, memory_size
        self.n_layers, self.dropout = n_layers, dropout

        def parameter(*shape: int) -> nn.Parameter:
            bound = 1.0 / math.sqrt(hidden_size)
            return nn.Parameter(torch.empty(*shape).uniform_(-bound, bound))

        widths = [input_size, *[hidden_size] * (n_layers - 1)]
        self.inputs = nn.ParameterList(parameter(4 * hidden_size, width) for width in widths)
        self.states = nn.ParameterList(parameter(4 * hidden_size, hidden_size) for _ in widths)
        self.biases = nn.ParameterList(parameter(4 * hidden_size) for _ in widths)
        self.feed = parameter(4 * hidden_size, hidden_size)
        self.keys = parameter(hidden_size, memory_size)
        self.context = parameter(hidden_size, memory_size)
        self.top = parameter(hidden_size, hidden_size)
        self.cached = WeightCache()

    def memory(self, states: Tensor, lengths: Tensor) -> Memory:
        """(B, S, M) states of the sources and their lengths, at least 1 -> what `forward` attends to."""
        states = F.pad(states, (0, 0, 0, -states.shape[1] % lanes.WIDTH))
        d, m = self._missing(states)
        return Memory(_padded(states, m), _padded(F.linear(states, self.keys), d), lengths)

    def forward(
        self, x: Tensor, packing: Packing, memory: Memory, state: DecoderState
    ) -> tuple[Tensor, Tensor]:
        """All steps of texts whose words are given, with gradients.

        Args:
            x: (N, E) embedded words, packed, each text beginning with that before its first word.
            packing: of the target texts, which are sorted by length already.
            state: before the first step.

        Returns:
            f (N, D), and the attention (N, S) as float32, without gradients.
        """
        compute = compute_type(x)
        d, m = self._missing(x)
        masks: tuple[Tensor, ...] = ()
        if self.training and self.dropout:
            ones = x.new_ones(packing.n_texts, self.hidden_size, dtype=compute)
            masks = tuple(_padded(F.dropout(ones, self.dropout), d) for _ in range(self.n_layers + 1))
        state = state.map(lambda tensor: _padded(tensor, d))
        before = [*state.hidden, *state.cells, state.feed]
        outputs, attention_weights = _Steps.apply(  # type: ignore[no-untyped-call]
            packing,
            compute,
            masks,
            memory.lengths,
            memory.states,
            memory.keys,
            x,
            *before,
            *self._weights(d, m).flat(),
        )
        return outputs[:, : self.hidden_size] if d else outputs, attention_weights

    @torch.no_grad()
    def step(self, x: Tensor, memory: Memory, state: DecoderState) -> tuple[Tensor, Tensor, DecoderState]:
        """One step without gradients: (B, E) -> f (B, D), the attention (B, S), and the state after it."""
        compute = compute_type(x)
        d, m = self._missing(x)
        weights = self.cached.get(compute, self.parameters(), lambda: self._weights(d, m).to(compute))
        # On the host, where the steps are counted: reading it from another device would wait for that at every step.
        packing = Packing(torch.ones(len(x), dtype=torch.long))
        state = state.map(lambda tensor: _padded(tensor, d))
        run = _Run(packing, weights, _in_format(memory, compute), state, x.to(compute), ())
        run.forward()
        after = run.state_after().map(lambda tensor: tensor[:, : self.hidden_size])
        return after.feed, run.attention_weights, after

    def _missing(self, x: Tensor) -> tuple[int, int]:
        """How many zeros make D and M multiples of 16, as the compiled steps need; none where torch operations run."""
        if x.device.type != "cpu" or compute_type(x) not in KERNEL_FORMATS:
            return 0, 0
        return -self.hidden_size % lanes.WIDTH, -self.memory_size % lanes.WIDTH

    def _weights(self, d: int, m: int) -> _Weights:
        """The weights, with `d` and `m` zeros added to D and M: cells that are never excited, and whose gradients are zeros."""

        def gates(weight: Tensor) -> Tensor:
            parts = weight.view(4, self.hidden_size, *weight.shape[1:])
            return F.pad(parts, (*(0, 0) * (weight.ndim - 1), 0, d)).flatten(0, 1) if d else weight

        layers = tuple(
            _Layer(
                gates(inputs if number == 0 else _padded(inputs, d)), gates(_padded(state, d)), gates(bias)
            )
            for number, (inputs, state, bias) in enumerate(
                zip(self.inputs, self.states, self.biases, strict=True)
            )
        )
        context, top = (
            _padded(weight, columns, rows=d) for weight, columns in ((self.context, m), (self.top, d))
        )
        return _Weights(layers, gates(_padded(self.feed, d)), context, top)


class _Run:
    """The steps of a batch: forward, and with what it keeps, backward. All tensors but c and the attention are in one format.

    The states of step t are in rows B + (first packed row of t) and following; the first B rows are those before step 0.
    """

    def __init__(
        self,
        packing: Packing,
        weights: _Weights,
        memory: Memory,
        state: DecoderState,
        x: Tensor,
        masks: Sequence[Tensor],
    ) -> None:
        self.packing, self.weights, self.memory, self.x, self.masks = packing, weights, memory, x, masks
        n, batch, size = len(x), packing.n_texts, weights.top.shape[0]
        self.batch, self.size = batch, size
        exact = torch.promote_types(x.dtype, torch.float32)
        first, *others = weights.layers
        self.gates = [torch.addmm(first.bias, x, first.inputs.t())]
        self.gates += [layer.bias.repeat(n, 1) for layer in others]  # copies: the steps write into them
        self.cells = [_begin(c, n, exact) for c in state.cells]
        self.hidden = [_begin(h, n, x.dtype) for h in state.hidden]
        self.feed = _begin(state.feed, n, x.dtype)
        # h after dropout, that of step t in its packed rows; and f before dropout.
        self.dropped = [x.new_empty(n, size) for _ in weights.layers] if masks else []
        self.raw = x.new_empty(n, size)
        self.contexts = x.new_empty(n, memory.states.shape[2])
        self.attention_weights = x.new_zeros(n, memory.states.shape[1], dtype=exact)
        self.attention = AttentionSteps(memory.keys, memory.states, memory.lengths, self.attention_weights)

    def outputs(self) -> Tensor:
        """f of all steps, (N, D)."""
        return self.feed[self.batch :]

    def state_after(self) -> DecoderState:
        """The state after the only step."""
        hidden, cells = (tuple(x[self.batch :] for x in part) for part in (self.hidden, self.cells))
        return DecoderState(hidden, cells, self.feed[self.batch :])

    def _rows(self, t: int) -> tuple[int, int, int, int]:
        """Of step t: its first packed row, its number of texts, and where the states before and after it begin."""
        row = self.packing.starts[t]
        return (
            row,
            self.packing.active[t],
            self.packing.starts[t - 1] + self.batch if t else 0,
            row + self.batch,
        )

    def _above(self, number: int) -> Tensor:
        """What is read of a layer by the layer above it, of all steps: (N, D)."""
        return self.dropped[number] if self.masks else self.hidden[number][self.batch :]

    def forward(self) -> None:
        weights, buffer = self.weights, self.x.new_empty(self.batch, 4 * self.size)
        steps = [
            CellSteps(gates, cells, hidden, buffer, torch.inf)
            for gates, cells, hidden in zip(self.gates, self.cells, self.hidden, strict=True)
        ]
        from_below = [weights.feed.t(), *(layer.inputs.t() for layer in weights.layers[1:])]
        from_state = [layer.state.t() for layer in weights.layers]
        context_t, top_t = weights.context.t(), weights.top.t()
        for t in range(self.packing.longest):
            row, n, before, after = self._rows(t)
            z, below = buffer[:n], self.feed[before : before + n]
            for number, hidden in enumerate(self.hidden):
                torch.mm(below, from_below[number], out=z)
                z.addmm_(hidden[before : before + n], from_state[number])
                steps[number].forward(row, before, after, after, n)
                below = hidden[after : after + n]
                if self.masks:
                    below = torch.mul(below, self.masks[number][:n], out=self.dropped[number][row : row + n])
            context, raw = self.contexts[row : row + n], self.raw[row : row + n]
            self.attention.forward(below, row, context)
            torch.mm(context, context_t, out=raw)
            raw.addmm_(below, top_t).tanh_()
            feed = self.feed[after : after + n]
            if self.masks:
                torch.mul(raw, self.masks[-1][:n], out=feed)
            else:
                feed.copy_(raw)

    def backward(self, d_outputs: Tensor) -> list[Tensor]:
        """The gradients of the memory (states and keys), x, the state before the first step, and the weights."""
        weights, batch, size, x = self.weights, self.batch, self.size, self.x
        new = x.new_empty
        d_z, d_contexts = new(len(x), size), torch.empty_like(self.contexts)
        d_scores = torch.zeros_like(self.attention_weights)
        d_query, d_h = new(batch, size), new(batch, size)
        d_feed = x.new_zeros(batch, size)
        d_hidden = [x.new_zeros(batch, size) for _ in self.hidden]
        d_cells = [torch.zeros_like(cells[:batch]) for cells in self.cells]
        steps = [
            CellSteps(gates, cells, hidden, d_h, torch.inf)
            for gates, cells, hidden in zip(self.gates, self.cells, self.hidden, strict=True)
        ]
        for t in reversed(range(self.packing.longest)):
            row, n, before, after = self._rows(t)
            rows = slice(row, row + n)
            d_f = torch.add(d_outputs[rows], d_feed[:n], out=d_feed[:n])
            if self.masks:
                d_f *= self.masks[-1][:n]
            # Through tanh: torch.ops.aten.tanh_backward is d (1 - f^2).
            torch.ops.aten.tanh_backward(d_f, self.raw[rows], grad_input=d_z[rows])
            torch.mm(d_z[rows], weights.context, out=d_contexts[rows])
            self.attention.backward(d_contexts[rows], row, d_scores[rows], d_query[:n])
            d_above = d_query[:n].addmm_(d_z[rows], weights.top)
            for number in reversed(range(len(self.hidden))):
                if self.masks:
                    d_above *= self.masks[number][:n]
                torch.add(d_above, d_hidden[number][:n], out=d_h[:n])
                steps[number].backward(row, before, after, d_cells[number], n)
                d_gates = self.gates[number][rows]
                torch.mm(d_gates, weights.layers[number].state, out=d_hidden[number][:n])
                if number:
                    torch.mm(d_gates, weights.layers[number].inputs, out=d_above)
                else:
                    torch.mm(d_gates, weights.feed, out=d_feed[:n])
        exact, packing = self.attention_weights.dtype, self.packing
        places = self._places_before()
        found: list[Tensor] = []
        for number in range(len(weights.layers)):
            below = x if number == 0 else self._above(number - 1)
            found.append(weight_gradient(self.gates[number], below))
            found.append(weight_gradient(self.gates[number], self.hidden[number][places]))
            found.append(self.gates[number].sum(0, dtype=exact))
        top = self._above(len(self.hidden) - 1)
        found.append(weight_gradient(self.gates[0], self.feed[places]))
        found.append(weight_gradient(d_z, self.contexts))
        found.append(weight_gradient(d_z, top))
        attention_weights, d_scores = (
            packing.unpack(each).transpose(1, 2).to(x.dtype) for each in (self.attention_weights, d_scores)
        )
        d_states = attention_weights @ packing.unpack(d_contexts)
        d_keys = d_scores @ packing.unpack(top)
        d_x = self.gates[0] @ weights.layers[0].inputs
        return [d_states, d_keys, d_x, *d_hidden, *d_cells, d_feed, *found]

    def _places_before(self) -> Tensor:
        """Where the state before each packed row stands, (N,)."""
        starts = torch.tensor(self.packing.starts)
        rank = torch.arange(len(self.x)) - starts[self.packing.step.cpu()]
        before = torch.tensor([0, *(start + self.batch for start in self.packing.starts[:-1])])
        return (before[self.packing.step.cpu()] + rank).to(self.x.device)


def _begin(first: Tensor, n: int, dtype: torch.dtype) -> Tensor:
    """A buffer whose first B rows are the state before the first step: (B + n, D)."""
    buffer = first.new_empty(len(first) + n, first.shape[1], dtype=dtype)
    buffer[: len(first)] = first
    return buffer


def _padded(x: Tensor, columns: int, rows: int = 0) -> Tensor:
    """(..., R, C) with zeros to the right and below; the tensor itself if there are none."""
    return F.pad(x, (0, columns, 0, rows)) if columns or rows else x


def _in_format(memory: Memory, dtype: torch.dtype) -> Memory:
    return Memory(memory.states.to(dtype), memory.keys.to(dtype), memory.lengths)


class _Steps(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        packing: Packing,
        compute: torch.dtype,
        masks: tuple[Tensor, ...],
        lengths: Tensor,
        states: Tensor,
        keys: Tensor,
        x: Tensor,
        *flat: Tensor,
    ) -> tuple[Tensor, Tensor]:
        n_layers = (len(flat) - 4) // 5
        hidden, cells = flat[:n_layers], flat[n_layers : 2 * n_layers]
        state = DecoderState(hidden, cells, flat[2 * n_layers])
        weights = _Weights.of_flat(flat[2 * n_layers + 1 :]).to(compute)
        memory = _in_format(Memory(states, keys, lengths), compute)
        run = _Run(packing, weights, memory, state, x.to(compute), masks)
        run.forward()
        ctx.run, ctx.formats = run, [tensor.dtype for tensor in (states, keys, x, *flat)]
        ctx.mark_non_differentiable(run.attention_weights)
        return run.outputs(), run.attention_weights

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_outputs: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        with torch.no_grad():
            found = ctx.run.backward(d_outputs)
        ctx.run = None
        gradients = [gradient.to(dtype) for gradient, dtype in zip(found, ctx.formats, strict=True)]
        return None, None, None, None, *gradients
