"""Compiled cross-entropy loss that replaces logits by their gradient: three passes over a row while it is in the cache.

With torch operations it takes nine passes. Arithmetic is in float32, whatever the format of the logits.

Shapes: N rows, C columns (a multiple of 16, padded with columns of a very low bias).
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

PADDING_BIAS = -1e30
"""Bias of a padding column."""


def normalize_rows(logits: Tensor, bias: Tensor, labels: Tensor, d_bias: Tensor) -> float:
    """Return the summed loss in nats, and replace the logits by softmax - one_hot.

    Args:
        logits: (N, C) without bias, in bfloat16 or float32, on the CPU, contiguous.
        bias: (C,) in float32.
        labels: (N,) in int64.
        d_bias: (C,) in float32; the sums over the rows are added to it.
    """
    parts = split_work(len(logits))
    sums = np.zeros((len(parts), len(bias)), dtype=np.float32)
    totals = np.zeros(len(parts))
    arrays = as_array(logits), bias.numpy()[None], labels.numpy()
    calls = []
    for number, (first, last) in enumerate(parts):
        scratch = np.empty((2, max(16, len(bias))), np.float32)
        calls.append(partial(_normalize, *arrays, sums, totals, scratch, number, first, last))
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
    thread: int,
    first: int,
    last: int,
) -> None:
    # Rows `first` to `last`; scratch is (2, C), and its second row is used for 16 numbers.
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
        totals[thread] += math.log(normalizer) + largest - of_target
        scratch[0, label] -= np.float32(normalizer)
        factor = lanes.splat(np.float32(1.0 / normalizer))
        for j in range(0, size, 16):
            value = lanes.multiply(lanes.load(scratch, 0, j), factor)
            lanes.store(sums, thread, j, lanes.add(lanes.load(sums, thread, j), value))
            lanes.store(logits, row, j, value)
