"""DropConnect on a weight matrix (Wan et al. 2013), as in AWD-LSTM: one mask for all time steps of a call.

torch draws the random numbers of a mask sequentially, which takes as long as the matrix product for a layer of 1,152
units. Here each number is a hash of its position and of a seed drawn by torch's generator. So 16 are computed at once,
no mask is stored, and the weights are converted to the compute format in the same pass.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from unfreeze.compiled import lanes
from unfreeze.compiled.decorators import compiled_in_order
from unfreeze.encoders.layers.parallel import KERNEL_FORMATS, as_array, run_parallel, split_work

_WORTH_A_THREAD = 1 << 16


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
        for first, last in split_work(blocks, least=_WORTH_A_THREAD)
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
