"""The softmax of a row of logits and its own gradient in their place, compiled: three passes that stay in the cache.

In torch it is nine passes. Numbers are computed in float32 whatever the logits are kept in.

Legend: N rows, C columns (a multiple of 16; what is beyond the words has a bias of minus infinity, or nearly).
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unfreeze.compiled import lanes
from unfreeze.compiled.decorators import compiled_in_order
from unfreeze.compiled.lane_math import exp
from unfreeze.encoders.layers.parallel import as_array, run_parallel, split_work

NOWHERE = -1e30
"""Bias of a column that is no word's."""


def normalize_rows(logits: Tensor, bias: Tensor, labels: Tensor, d_bias: Tensor) -> float:
    """Logits without their bias become softmax - one_hot.

    Args:
        logits: (N, C) of bfloat16 or float32, on the CPU, contiguous.
        bias: (C,) of float32.
        labels: (N,) of int64.
        d_bias: (C,) of float32, to which the columns' sums are added.

    Returns:
        The summed loss in nats.
    """
    parts = split_work(len(logits))
    sums = np.zeros((len(parts), len(bias)), dtype=np.float32)
    totals = np.zeros(len(parts))
    arrays = as_array(logits), bias.numpy()[None], labels.numpy()
    calls = [
        partial(
            _normalize,
            *arrays,
            sums,
            totals,
            np.empty((2, max(16, len(bias))), np.float32),
            number,
            first,
            last,
        )
        for number, (first, last) in enumerate(parts)
    ]
    run_parallel(calls)
    d_bias += torch.from_numpy(sums.sum(0))
    return float(totals.sum())


@compiled_in_order
def _normalize(
    logits: Any,
    bias: Any,
    labels: Any,
    sums: Any,
    totals: Any,
    scratch: Any,
    share: int,
    first: int,
    last: int,
) -> None:
    """Rows first to last; scratch is (2, C), its second row for 16 numbers."""
    size = bias.shape[1]
    for row in range(first, last):
        best = lanes.splat(np.float32(-3.4e38))
        for j in range(0, size, 16):
            value = lanes.add(lanes.load(logits, row, j), lanes.load(bias, 0, j))
            best = lanes.where_greater(value, best, value, best)
            lanes.store(scratch, 0, j, value)
        lanes.store(scratch, 1, 0, best)
        largest = scratch[1, 0]
        for j in range(1, 16):
            largest = max(largest, scratch[1, j])
        label = labels[row]
        of_target = float(scratch[0, label])
        total, shift = lanes.zeros(), lanes.splat(np.float32(largest))
        for j in range(0, size, 16):
            value = exp(lanes.subtract(lanes.load(scratch, 0, j), shift))
            total = lanes.add(total, value)
            lanes.store(scratch, 0, j, value)
        lanes.store(scratch, 1, 0, total)
        normalizer = 0.0
        for j in range(16):
            normalizer += scratch[1, j]
        totals[share] += math.log(normalizer) + largest - of_target
        scratch[0, label] -= np.float32(normalizer)
        factor = lanes.splat(np.float32(1.0 / normalizer))
        for j in range(0, size, 16):
            value = lanes.multiply(lanes.load(scratch, 0, j), factor)
            lanes.store(sums, share, j, lanes.add(lanes.load(sums, share, j), value))
            lanes.store(logits, row, j, value)
