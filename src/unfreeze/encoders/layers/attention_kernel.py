"""One step of attention over the words of each text, forward and backward, as compiled passes on a CPU.

    score_j = k_j . q        a = softmax(score)        context = sum_j a_j v_j

Each of the B queries of a step has its own keys and values, so that torch would run B products of a matrix and a vector, which
costs more time than the products of the decoder's LSTM. Arithmetic is in float32, whatever the format of the tensors.

Shapes: B texts, S words of the longest text (padded to a multiple of 16), D width of the keys, V of the values; both widths are
multiples of 16.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from unfreeze.compiled import lanes
from unfreeze.compiled.decorators import compiled_in_order, inlined_in_order
from unfreeze.compiled.lane_math import exp
from unfreeze.encoders.layers.parallel import KERNEL_FORMATS, as_array

_NOWHERE = np.float32(-1e30)


class AttentionSteps:
    """Attention of one query a text and step; compiled on a CPU, torch operations elsewhere.

    Args:
        keys: (B, S, D).
        values: (B, S, V), of the same format.
        lengths: (B,) words of each text, at least 1.
        attention_weights: (R, S) of float32 or float64, see `forward`.
    """

    def __init__(self, keys: Tensor, values: Tensor, lengths: Tensor, attention_weights: Tensor) -> None:
        batch, longest, width = keys.shape
        self.keys, self.values, self.lengths, self.attention_weights = (
            keys,
            values,
            lengths,
            attention_weights,
        )
        self.mask = torch.arange(longest, device=keys.device) < lengths[:, None]
        sizes = longest, width, values.shape[2]
        self.compiled = (
            keys.device.type == "cpu"
            and keys.dtype in KERNEL_FORMATS
            and not any(n % lanes.WIDTH for n in sizes)
        )
        if self.compiled:
            flat = (x.reshape(batch * longest, -1) for x in (keys, values))
            self.arrays: list[Any] = [*map(as_array, flat), lengths.numpy(), attention_weights.numpy()]
            self.scratch = np.zeros((1, lanes.WIDTH), np.float32)

    def forward(self, queries: Tensor, row: int, contexts: Tensor) -> None:
        """The attention of n texts, into `attention_weights` from `row` on, and the contexts.

        Args:
            queries: (n, D).
            contexts: (n, V), overwritten.
        """
        n = len(queries)
        if self.compiled:
            keys, values, lengths, attention_weights = self.arrays
            given = as_array(queries), as_array(contexts), self.scratch
            _forward(keys, values, lengths, attention_weights, *given, row, n)
            return
        exact = self.attention_weights.dtype
        with self._without_autocast():
            scores = (self.keys[:n].to(exact) @ queries.to(exact)[:, :, None])[:, :, 0]
            attention_weights = scores.masked_fill(~self.mask[:n], -torch.inf).softmax(1)
            self.attention_weights[row : row + n] = attention_weights
            contexts.copy_((attention_weights[:, None] @ self.values[:n].to(exact))[:, 0])

    def backward(self, d_contexts: Tensor, row: int, d_scores: Tensor, d_queries: Tensor) -> None:
        """The gradients of a step of n texts.

        Args:
            d_contexts: (n, V).
            row: the first row of the step in `attention_weights`.
            d_scores: (n, S) in the format of `attention_weights`, overwritten; with the queries, it gives the gradient of the keys.
            d_queries: (n, D), overwritten.
        """
        n = len(d_contexts)
        if self.compiled:
            keys, values, lengths, attention_weights = self.arrays
            given = as_array(d_contexts), d_scores.numpy(), as_array(d_queries), self.scratch
            _backward(keys, values, lengths, attention_weights, *given, row, n)
            return
        exact = self.attention_weights.dtype
        attention_weights = self.attention_weights[row : row + n]
        with self._without_autocast():
            d_attention_weights = (self.values[:n].to(exact) @ d_contexts.to(exact)[:, :, None])[:, :, 0]
            d_scores.copy_(
                attention_weights
                * (d_attention_weights - (attention_weights * d_attention_weights).sum(1, keepdim=True))
            )
            d_queries.copy_((d_scores[:, None] @ self.keys[:n].to(exact))[:, 0])

    def _without_autocast(self) -> torch.autocast:
        """Autocast would round what was converted to float32."""
        return torch.autocast(self.keys.device.type, enabled=False)


@inlined_in_order
def _dot(a: Any, row_a: int, b: Any, row_b: int, size: int, scratch: Any) -> Any:
    total, other = lanes.zeros(), lanes.zeros()
    for j in range(0, size - 16, 32):
        total = lanes.fused(lanes.load(a, row_a, j), lanes.load(b, row_b, j), total)
        other = lanes.fused(lanes.load(a, row_a, j + 16), lanes.load(b, row_b, j + 16), other)
    if size % 32:
        total = lanes.fused(lanes.load(a, row_a, size - 16), lanes.load(b, row_b, size - 16), total)
    return _total(lanes.add(total, other), scratch)


@inlined_in_order
def _total(value: Any, scratch: Any) -> Any:
    lanes.store(scratch, 0, 0, value)
    found = np.float32(0.0)
    for j in range(16):
        found += scratch[0, j]
    return found


@inlined_in_order
def _weighted_sum(
    weights: Any, row: int, n: int, matrix: Any, first: int, out: Any, out_row: int, size: int
) -> None:
    """out[out_row] = sum of weights[row, j] * matrix[first + j] for j < n."""
    j = 0
    while j < size:
        a, b = lanes.zeros(), lanes.zeros()
        two = j + 32 <= size
        for k in range(n):
            weight = lanes.splat(weights[row, k])
            a = lanes.fused(weight, lanes.load(matrix, first + k, j), a)
            if two:
                b = lanes.fused(weight, lanes.load(matrix, first + k, j + 16), b)
        lanes.store(out, out_row, j, a)
        if two:
            lanes.store(out, out_row, j + 16, b)
        j += 32


@compiled_in_order
def _forward(
    keys: Any,
    values: Any,
    lengths: Any,
    attention_weights: Any,
    queries: Any,
    contexts: Any,
    scratch: Any,
    row: int,
    n: int,
) -> None:
    longest, width = attention_weights.shape[1], keys.shape[1]
    for r in range(n):
        length, best = lengths[r], _NOWHERE
        for j in range(longest):
            score = _NOWHERE
            if j < length:
                score = _dot(keys, r * longest + j, queries, r, width, scratch)
                best = max(best, score)
            attention_weights[row + r, j] = score
        total = lanes.zeros()
        for j in range(0, longest, 16):
            value = exp(lanes.subtract(lanes.load(attention_weights, row + r, j), lanes.splat(best)))
            lanes.store(attention_weights, row + r, j, value)
            total = lanes.add(total, value)
        factor = np.float32(1.0) / _total(total, scratch)
        for j in range(longest):
            attention_weights[row + r, j] = (
                attention_weights[row + r, j] * factor if j < length else np.float32(0.0)
            )
        _weighted_sum(attention_weights, row + r, length, values, r * longest, contexts, r, values.shape[1])


@compiled_in_order
def _backward(
    keys: Any,
    values: Any,
    lengths: Any,
    attention_weights: Any,
    d_contexts: Any,
    d_scores: Any,
    d_queries: Any,
    scratch: Any,
    row: int,
    n: int,
) -> None:
    longest, width = attention_weights.shape[1], values.shape[1]
    for r in range(n):
        length, mean = lengths[r], np.float32(0.0)
        for j in range(length):
            d_weight = _dot(values, r * longest + j, d_contexts, r, width, scratch)
            d_scores[r, j] = d_weight
            mean += attention_weights[row + r, j] * d_weight
        for j in range(longest):
            inside = j < length
            d_scores[r, j] = (
                attention_weights[row + r, j] * (d_scores[r, j] - mean) if inside else np.float32(0.0)
            )
        _weighted_sum(d_scores, r, length, keys, r * longest, d_queries, r, keys.shape[1])
