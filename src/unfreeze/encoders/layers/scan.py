"""Parallel scan for the recurrence c_t = f_t c_(t-1) + x_t, with torch operations on any device.

Step by step this would be T small sequential operations, which are slow on a GPU. Pairs (f, x) compose associatively:
(f, x) followed by (f', x') is (f' f, f' x + x'). The steps of a chunk are therefore combined in log2(CHUNK) rounds, for
all chunks in parallel (Blelloch 1990; Martin & Cundy 2018 for recurrent networks), and only the last state of each
chunk is passed on sequentially.

Shapes: T time, B batch, H hidden size.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

CHUNK = 32
"""Number of steps that are combined in parallel; chunks are processed one after the other."""


def forget_scan(forget: Tensor, x: Tensor, before: Tensor) -> Tensor:
    """Return c of each step (T, B, H), differentiable any number of times.

    Args:
        forget: f (T, B, H).
        x: (T, B, H).
        before: c before the first step (B, H).
    """
    result: Tensor = _ForgetScan.apply(forget, x, before)  # type: ignore[no-untyped-call]
    return result


class _ForgetScan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, forget: Tensor, x: Tensor, before: Tensor) -> Tensor:
        cells = _scan(forget, x, before)
        ctx.save_for_backward(forget, before, cells)
        return cells

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        # d x_t = d c_t + f_(t+1) d x_(t+1): the same recurrence in reverse.
        forget, before, cells = ctx.saved_tensors
        following = torch.cat([forget[1:], torch.zeros_like(forget[:1])])
        d_x = forget_scan(following.flip(0), grad.flip(0), torch.zeros_like(before)).flip(0)
        return d_x * torch.cat([before[None], cells[:-1]]), d_x, d_x[0] * forget[0]


def _scan(forget: Tensor, x: Tensor, before: Tensor) -> Tensor:
    steps, n_chunks = len(x), -(-len(x) // CHUNK)
    padding = n_chunks * CHUNK - steps
    if padding:
        forget = torch.cat([forget, forget.new_ones(padding, *forget.shape[1:])])
        x = torch.cat([x, x.new_zeros(padding, *x.shape[1:])])
    f = forget.reshape(n_chunks, CHUNK, *x.shape[1:])
    c = x.reshape(f.shape)
    distance = 1
    while distance < CHUNK:  # afterwards f and c of a step cover the 2 * distance steps ending there
        c = torch.cat([c[:, :distance], torch.addcmul(c[:, distance:], f[:, distance:], c[:, :-distance])], 1)
        f = torch.cat([f[:, :distance], f[:, distance:] * f[:, :-distance]], 1)
        distance *= 2
    chunks = []
    for f_chunk, c_chunk in zip(f, c, strict=True):
        chunks.append(torch.addcmul(c_chunk, f_chunk, before))
        before = chunks[-1][-1]
    return torch.cat(chunks)[:steps]
