"""Quasi-recurrent layer (QRNN) with fo-pooling (Bradbury et al. 2017): a cell without a recurrent matrix product.

    z_t, f_t, o_t = tanh, sigmoid, sigmoid of W [x_t; x_(t-1); ...] + b
    c_t = f_t c_(t-1) + (1 - f_t) z_t        h_t = o_t c_t

An LSTM multiplies its state by a matrix at each step and has to wait for the previous step. A QRNN computes the gates
of all steps in one matrix product with the last `window` inputs. Only elementwise operations remain sequential: one
compiled pass over memory forward and one backward (qrnn_kernel.py), or a parallel scan on other devices and in other
formats (scan.py).

Zoneout (Krueger et al. 2017, section 4 of Bradbury et al.) sets a forget gate to 1 with the given probability, without
rescaling; in evaluation, 1 - f is multiplied by 1 - probability instead.

Shapes: T time, B batch, N = T B, I input size, H hidden size, K window.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from unfreeze.encoders.layers.cell_settings import need_qrnn
from unfreeze.encoders.layers.dropouts import drop_weight
from unfreeze.encoders.layers.parallel import KERNEL_FORMATS
from unfreeze.encoders.layers.products import compute_type, weight_gradient
from unfreeze.encoders.layers.qrnn_kernel import Pooling, pool_backward, pool_forward
from unfreeze.encoders.layers.scan import forget_scan
from unfreeze.encoders.layers.weight_cache import WeightCache

State = tuple[Tensor, ...]
"""c (1, B, H) and, for windows above 1, the last K - 1 inputs (K - 1, B, I)."""


class QrnnLayer(nn.Module):
    """One layer, with dropout on the weights in training.

    `weight` is (3 H, K I): the candidate, the forget gate and the output gate, each over x_t, then x_(t-1) and so on.

    Args:
        input_size: I.
        hidden_size: H; multiples of 32 are fastest.
        weight_dropout: dropout on the weights, with one mask for all steps of a call.
        window: K, the number of inputs that each step sees.
        zoneout: probability of setting a forget gate to 1 in training.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        weight_dropout: float,
        *,
        window: int = 1,
        zoneout: float = 0.0,
    ) -> None:
        super().__init__()
        need_qrnn(window, zoneout)
        self.input_size, self.hidden_size, self.weight_dropout = input_size, hidden_size, weight_dropout
        self.window, self.zoneout = window, zoneout
        self.weight = nn.Parameter(torch.empty(3 * hidden_size, window * input_size))
        self.bias = nn.Parameter(torch.empty(3 * hidden_size))
        self.cached = WeightCache()
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialize weights and biases uniformly in +-1/sqrt(K I), the default of a linear layer, as the papers' code does."""
        bound = 1.0 / math.sqrt(self.window * self.input_size)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def initial_state(self, batch: int) -> State:
        """Return the state before the first input, zeros."""
        cell = self.weight.new_zeros(1, batch, self.hidden_size)
        if self.window == 1:
            return (cell,)
        return cell, self.weight.new_zeros(self.window - 1, batch, self.input_size)

    def forward(self, x: Tensor, state: State | None) -> tuple[Tensor, State]:
        """(T, B, I) and the state of the previous call -> (T, B, H) and the new state."""
        cell, *earlier = self.initial_state(x.shape[1]) if state is None else state
        compute = compute_type(x)
        weight = drop_weight(self.weight, self.weight_dropout, self.training, compute)
        x = x.to(compute)
        read = torch.cat([earlier[0].to(compute), x]) if earlier else x  # (K - 1 + T, B, I)
        if x.device.type != "cpu" or compute not in KERNEL_FORMATS:
            out, cell = self._scanned(read, weight.to(compute), cell)
        elif torch.is_grad_enabled():
            out, cell = _Pooled.apply(read, weight, self.bias, cell, self._zoneout_factor(x), self.window)  # type: ignore[no-untyped-call]
        else:
            out, cell = self._predicted(read, weight, cell)
        # Copied because a view would keep all inputs of this call in memory until the next one.
        return out, (cell, read[len(x) :].clone()) if earlier else (cell,)

    def _zoneout_factor(self, x: Tensor) -> Tensor:
        """Factor of 1 - f: (T B, H) in training, (1, H) in evaluation, (0, H) without zoneout."""
        if self.zoneout == 0.0:
            return x.new_empty(0, self.hidden_size)
        if not self.training:
            return self.bias.new_full((1, self.hidden_size), 1.0 - self.zoneout, dtype=torch.float32)
        return x.new_empty(x.shape[0] * x.shape[1], self.hidden_size).bernoulli_(1.0 - self.zoneout)

    def _scanned(self, read: Tensor, weight: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        """Forward pass for other devices and formats, with torch operations."""
        steps, batch = len(read) - self.window + 1, read.shape[1]
        products = F.linear(_windows(read, self.window), weight)
        gates = products.to(cell.dtype) + self.bias
        z, f, o = gates.view(steps, batch, -1).chunk(3, dim=2)
        new = torch.sigmoid(-f)  # 1 - sigmoid(f) without cancellation
        factor = self._zoneout_factor(read[self.window - 1 :]).to(cell.dtype)
        if len(factor):
            new = new * factor.view(-1, 1 if len(factor) == 1 else batch, self.hidden_size)
        cells = forget_scan(1.0 - new, new * z.tanh(), cell[0])
        return (o.sigmoid() * cells).to(read.dtype), cells[-1:]

    def _predicted(self, read: Tensor, weight: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        """Forward pass without gradients, which stores only h and the last c."""
        if self.training and self.weight_dropout:
            weight = weight.to(read.dtype)
        else:
            weight = self.cached.get(read.dtype, (self.weight,), lambda: self.weight.detach().to(read.dtype))
        inputs = _windows(read, self.window)
        pooling, out = _pooling(
            inputs @ weight.t(), self.bias, self._zoneout_factor(read[self.window - 1 :]), keep=False
        )
        after = cell[0].float().contiguous().clone()
        pool_forward(pooling, after, out, keep=False)
        return out.view(len(read) - self.window + 1, read.shape[1], self.hidden_size), after[None]

    def extra_repr(self) -> str:
        return (
            f"{self.input_size}, {self.hidden_size}, window={self.window}, "
            f"weight_dropout={self.weight_dropout}, zoneout={self.zoneout}"
        )


def _windows(read: Tensor, window: int) -> Tensor:
    """(K - 1 + T, B, I) -> (T B, K I): x_t, then x_(t-1) and so on."""
    steps = len(read) - window + 1
    if window == 1:
        return read.reshape(steps * read.shape[1], read.shape[2])
    parts = [read[back : back + steps] for back in reversed(range(window))]
    return torch.cat(parts, dim=2).view(steps * read.shape[1], window * read.shape[2])


def _pooling(gates: Tensor, bias: Tensor, factor: Tensor, *, keep: bool) -> tuple[Pooling, Tensor]:
    """Return the arguments of the kernels, and a buffer (N, H) for h."""
    out = gates.new_empty(len(gates), gates.shape[1] // 3)
    cells = torch.empty_like(out) if keep else out
    return Pooling(gates, bias.detach().float(), cells, factor), out


class _Pooled(torch.autograd.Function):
    """Matrix product and pooling with compiled forward and backward passes."""

    @staticmethod
    def forward(
        ctx: Any, read: Tensor, weight: Tensor, bias: Tensor, cell: Tensor, factor: Tensor, window: int
    ) -> tuple[Tensor, Tensor]:
        inputs, weight_c = _windows(read, window), weight.to(read.dtype)
        pooling, out = _pooling(inputs @ weight_c.t(), bias, factor, keep=True)
        before = cell[0].float().contiguous()
        after = before.clone()
        pool_forward(pooling, after, out, keep=True)
        ctx.save_for_backward(inputs, weight_c, before, *pooling)
        ctx.window, ctx.shape, ctx.types = window, read.shape, (weight.dtype, bias.dtype, cell.dtype)
        ctx.spent = False
        return out.view(len(read) - window + 1, read.shape[1], out.shape[1]), after[None]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_out: Tensor, d_after: Tensor) -> tuple[Tensor | None, ...]:
        inputs, weight_c, before, *pooling = ctx.saved_tensors
        if ctx.spent:
            raise RuntimeError(
                "backward of a QRNN can run only once, as it overwrites the gates: run forward again"
            )
        ctx.spent = True
        steps = ctx.shape[0] - ctx.window + 1
        d_state = d_after[0].float().contiguous().clone()
        d_out = d_out.to(inputs.dtype).reshape(len(inputs), -1).contiguous()
        d_bias = pool_backward(Pooling(*pooling), before, d_out, d_state)
        d_gates = pooling[0]
        needs_read, needs_weight = ctx.needs_input_grad[:2]
        d_weight = weight_gradient(d_gates, inputs).to(ctx.types[0]) if needs_weight else None
        d_read = None
        if needs_read:
            d_read = _unwindowed((d_gates @ weight_c).view(steps, ctx.shape[1], ctx.window, ctx.shape[2]))
        return d_read, d_weight, d_bias.to(ctx.types[1]), d_state[None].to(ctx.types[2]), None, None


def _unwindowed(d_inputs: Tensor) -> Tensor:
    """(T, B, K, I) -> (K - 1 + T, B, I): gradient of each input, summed over the windows that contain it."""
    steps, batch, window, width = d_inputs.shape
    if window == 1:
        return d_inputs[:, :, 0]
    d_read = d_inputs.new_zeros(window - 1 + steps, batch, width)
    for back in range(window):
        first = window - 1 - back
        d_read[first : first + steps] += d_inputs[:, :, back]
    return d_read
