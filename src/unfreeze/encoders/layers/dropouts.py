"""Dropouts of AWD-LSTM (Merity, Keskar & Socher 2018, section 4), and the lookup in an embedding tied to an output layer.

All dropouts preserve the expectation: the remaining values are divided by 1 - probability. All are the identity in
evaluation mode, and with probability 0.

DropConnect on a weight matrix (Wan et al. 2013) uses one mask for all time steps of a call. torch draws the random numbers of
a mask sequentially, which takes as long as the matrix product for a layer of 1,152 units. Here each number is a hash of its
position and of a seed drawn by torch's generator. So 16 are computed at once, no mask is stored, and the weights are
converted to the compute format in the same pass.

The gradient that torch computes for a lookup is a matrix of the whole vocabulary, zero except for the words of the batch:
for 60,000 words of dimension 400, 96 MB are filled and then added to the 96 MB of the gradient of the output layer. For a tied
embedding the rows of the batch are therefore added directly to that gradient, at the end of the backward pass.

Shapes: B batch, T time, D width, V vocabulary; weights (M, K).
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from unfreeze.compiled import lanes
from unfreeze.compiled.decorators import compiled_in_order
from unfreeze.encoders.layers.parallel import KERNEL_FORMATS, as_array, run_parallel, split_work

_MIN_BLOCKS_PER_THREAD = 1 << 16


class VariationalDropout(nn.Module):
    """Drop the same features at every time step (Gal & Ghahramani 2016), with one mask per sequence.

    Args:
        probability: probability of dropping a feature, in [0, 1).
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, x: Tensor) -> Tensor:
        """(T, B, D) -> (T, B, D)."""
        if not self.training or self.probability == 0.0:
            return x
        return x * dropout_mask(x.new_empty(1, x.shape[1], x.shape[2]), self.probability)

    def extra_repr(self) -> str:
        return f"probability={self.probability}"


def embed_with_dropout(
    ids: Tensor, weight: Tensor, probability: float, training: bool, *, tied: bool = False
) -> Tensor:
    """Look up embeddings, dropping whole words of the vocabulary for the whole batch (Gal & Ghahramani 2016).

    The mask is drawn for all V words but applied to the embeddings of the batch only, because multiplying the whole
    (V, D) matrix would cost more than the lookup.

    Args:
        ids: word ids (T, B).
        weight: (V, D).
        tied: whether the weight is shared with an output layer, so that its gradient is dense.

    Returns:
        (T, B, D).
    """
    vectors = look_up_tied(ids, weight) if tied else F.embedding(ids, weight)
    if not training or probability == 0.0:
        return vectors
    mask = dropout_mask(weight.new_empty(weight.shape[0], 1), probability)
    return vectors * F.embedding(ids, mask)


def dropout_mask(like: Tensor, probability: float) -> Tensor:
    """Fill `like` with a dropout mask: 0 with the given probability, else 1 / (1 - probability)."""
    with torch.no_grad():
        return like.bernoulli_(1.0 - probability).div_(1.0 - probability)


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


def drop_weight(weight: Tensor, probability: float, training: bool, dtype: torch.dtype) -> Tensor:
    """In training, drop each element with the given probability and scale the others; otherwise return the weight.

    Args:
        weight: (M, K) in float32; other tensors use torch's dropout.
        dtype: format of the result in training.
    """
    if not training or probability == 0.0:
        return weight
    if weight.device.type != "cpu" or weight.dtype != torch.float32 or dtype not in KERNEL_FORMATS:
        return F.dropout(weight, probability).to(dtype)
    seed = int(torch.randint(1 << 31, ()))
    result: Tensor = _Dropped.apply(weight, probability, seed, dtype)  # type: ignore[no-untyped-call]
    return result


class _Dropped(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, probability: float, seed: int, dtype: torch.dtype) -> Tensor:
        ctx.probability, ctx.seed = probability, seed
        return _masked(weight, probability, seed, dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return _masked(grad, ctx.probability, ctx.seed, torch.float32), None, None, None


def _masked(x: Tensor, probability: float, seed: int, dtype: torch.dtype) -> Tensor:
    x = x.contiguous()
    result = torch.empty_like(x, dtype=dtype)
    arrays = as_array(x).reshape(1, -1), as_array(result).reshape(1, -1)
    threshold, scale = round(probability * 2**32), np.float32(1.0 / (1.0 - probability))
    blocks = -(-x.numel() // 16)
    calls = [
        partial(_mask, *arrays, 16 * first, min(16 * last, x.numel()), seed, threshold, scale)
        for first, last in split_work(blocks, least=_MIN_BLOCKS_PER_THREAD)
    ]
    run_parallel(calls)
    return result


@compiled_in_order
def _mask(source: Any, target: Any, first: int, last: int, seed: int, threshold: int, scale: Any) -> None:
    # Elements `first`, a multiple of 16, to `last`.
    whole = last - (last - first) % 16
    for j in range(first, whole, 16):
        factor = lanes.dropout_factors(j, seed, threshold, scale)
        lanes.store(target, 0, j, lanes.multiply(lanes.load(source, 0, j), factor))
    if whole < last:
        factor = lanes.dropout_factors(whole, seed, threshold, scale)
        rest = last - whole
        value = lanes.multiply(lanes.load_some(source, 0, whole, rest), factor)
        lanes.store_some(target, 0, whole, rest, value)
