"""AWD-LSTM's two penalties on its top states (Merity, Keskar & Socher 2018, section 4.7), with hand-written gradients.

With torch's operations alone they cost a dozen passes over the states in float32, most of them in backward. Here backward is
one pass for the first penalty and three for the second, in the number format of the states.

Legend: T time, B batch, D width.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def activation_penalties(dropped: Tensor, raw: Tensor, real: Tensor, alpha: float, beta: float) -> Tensor:
    """Mean of squares over real positions: alpha * dropped^2 + beta * (raw_t - raw_(t-1))^2, without padding.

    Args:
        dropped: (T, B, D), after the output dropout.
        raw: (T, B, D), before the output dropout.
        real: (T, B), true where a position is not padding.
    """
    penalty = raw.new_zeros((), dtype=torch.float32)
    if alpha and bool(real.any()):  # all lanes of a process may have ended
        penalty = penalty + alpha * _MeanSquare.apply(dropped, real)  # type: ignore[no-untyped-call]
    pairs = real[1:] & real[:-1]
    if beta and bool(pairs.any()):
        penalty = penalty + beta * _MeanSquare.apply(_Steps.apply(raw), pairs)  # type: ignore[no-untyped-call]
    return penalty


class _MeanSquare(torch.autograd.Function):
    """Mean of the squares of x (T, B, D) where `real` (T, B) is true, added up in float32 or float64."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, real: Tensor) -> Tensor:
        number = int(real.sum())
        if number < real.numel():
            x = x * real[..., None]
        ctx.save_for_backward(x)
        ctx.size = number * x.shape[-1]
        wide = x if x.dtype in (torch.float32, torch.float64) else x.float()
        total: Tensor = torch.linalg.vector_norm(wide).square()
        return total / (number * x.shape[-1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        x: Tensor = ctx.saved_tensors[0]
        return x * (grad * (2.0 / ctx.size)), None


class _Steps(torch.autograd.Function):
    """x_t - x_(t-1): (T, B, D) -> (T - 1, B, D); torch's own gradient is five passes over zeros and copies."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x[1:] - x[:-1]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_steps: Tensor) -> Tensor:
        d_x = d_steps.new_empty(len(d_steps) + 1, *d_steps.shape[1:])
        d_x[0], d_x[-1] = -d_steps[0], d_steps[-1]
        torch.sub(d_steps[:-1], d_steps[1:], out=d_x[1:-1])
        return d_x
