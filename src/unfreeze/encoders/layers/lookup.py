"""Lookup in an embedding that is tied to an output layer, which makes its gradient dense.

The gradient that torch computes for a lookup is a matrix of the whole vocabulary, zero except for the words of the
batch: for 60,000 words of dimension 400, 96 MB are filled and then added to the 96 MB of the output layer. Here the
rows of the batch are added directly to the gradient of the output layer, at the end of the backward pass.

Shapes: V vocabulary, D width.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from unfreeze.compiled.decorators import compiled_in_order


def look_up_tied(ids: Tensor, weight: Tensor) -> Tensor:
    """Look up rows, whose gradient is added to `weight.grad` at the end of `backward()`.

    `torch.autograd.grad` does not return this gradient.

    Args:
        ids: of any shape.
        weight: (V, D), a leaf tensor.
    """
    if not (torch.is_grad_enabled() and weight.requires_grad):
        return F.embedding(ids, weight)
    assert weight.is_leaf
    result: Tensor = _TiedLookup.apply(weight, ids)  # type: ignore[no-untyped-call]
    return result


class _TiedLookup(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, ids: Tensor) -> Tensor:
        ctx.weight, ctx.ids = weight, ids
        return F.embedding(ids, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[None, None]:
        weight, ids = ctx.weight, ctx.ids.flatten()
        rows = grad.reshape(len(ids), -1)

        def add() -> None:
            if weight.grad is None:
                weight.grad = torch.zeros_like(weight)
            add_rows(weight.grad, ids, rows)

        torch.autograd.Variable._execution_engine.queue_callback(add)
        return None, None


def add_rows(target: Tensor, ids: Tensor, rows: Tensor) -> None:
    """target[ids[n]] += rows[n] in the order of n, for target (V, D), ids (N,) and rows (N, D)."""
    if target.device.type != "cpu" or target.dtype != torch.float32 or not target.is_contiguous():
        target.index_add_(0, ids, rows.to(target.dtype))
        return
    _add_rows(target.numpy(), ids.numpy(), rows.detach().float().contiguous().numpy())


@compiled_in_order
def _add_rows(target: Any, ids: Any, rows: Any) -> None:
    for n in range(len(ids)):
        for column in range(rows.shape[1]):
            target[ids[n], column] += rows[n, column]
