"""The recurrence c_t = f_t c_(t-1) + x_t over all steps at once, in torch's own operations, on any device.

Step by step it would be T small operations one after the other, which is what a GPU does worst. Pairs (f, x) compose
associatively, (f, x) then (f', x') is (f' f, f' x + x'), so that the steps of a chunk are combined in log2(CHUNK) rounds,
all chunks side by side (Blelloch 1990; Martin & Cundy 2018 for recurrent networks), and only the chunks' ends are carried
from one to the next.

Legend: T time, B batch, H hidden size.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

CHUNK = 32
"""Steps that are combined in rounds; chunks follow each other."""


def forget_scan(forget: Tensor, x: Tensor, before: Tensor) -> Tensor:
    """c of every step, differentiable as often as wanted.

    Args:
        forget: (T, B, H).
        x: (T, B, H).
        before: (B, H): c before the first step.

    Returns:
        (T, B, H).
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
        # The gradient of x_t is that of c_t and f_(t+1) times that of x_(t+1): the same recurrence from the end.
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
    while distance < CHUNK:  # f and c of a step then cover the 2 * distance steps that end with it
        c = torch.cat([c[:, :distance], torch.addcmul(c[:, distance:], f[:, distance:], c[:, :-distance])], 1)
        f = torch.cat([f[:, :distance], f[:, distance:] * f[:, :-distance]], 1)
        distance *= 2
    chunks = []
    for f_chunk, c_chunk in zip(f, c, strict=True):
        chunks.append(torch.addcmul(c_chunk, f_chunk, before))
        before = chunks[-1][-1]
    return torch.cat(chunks)[:steps]
