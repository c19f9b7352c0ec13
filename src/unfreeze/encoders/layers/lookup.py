"""Looking words up in an embedding whose gradient another use of it makes dense: an output layer that is tied to it.

torch's gradient of a lookup is a matrix of the whole vocabulary, zeros but for the words of the batch: with 60,000 words of
400 numbers 96 MB are filled, and then added to the output layer's 96 MB. Here the rows of the batch are added to that
gradient when it is there, at the end of the backward pass.

Legend: V vocabulary, D width.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from unfreeze.compiled.decorators import compiled_in_order


def look_up_tied(ids: Tensor, weight: Tensor) -> Tensor:
    """Look up rows; their gradient is added to `weight.grad` at the end of `backward()`.

    `torch.autograd.grad` does not see it.

    Args:
        ids: any shape.
        weight: (V, D), a leaf.
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
    """target[ids[n]] += rows[n], in the order of n: (V, D), (N,), (N, D)."""
    if target.device.type != "cpu" or target.dtype != torch.float32 or not target.is_contiguous():
        target.index_add_(0, ids, rows.to(target.dtype))
        return
    _add_rows(target.numpy(), ids.numpy(), rows.detach().float().contiguous().numpy())


@compiled_in_order
def _add_rows(target: Any, ids: Any, rows: Any) -> None:
    for n in range(len(ids)):
        for column in range(rows.shape[1]):
            target[ids[n], column] += rows[n, column]
