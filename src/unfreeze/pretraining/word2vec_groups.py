"""Skip-gram with negative sampling, a group of neighboring centers at a time: the fastest walk of word2vec.

`GROUP` centers that follow one another share their context rows, read once, and one set of negatives, each of which counts as
often as it stands for negatives of single centers. So an update is three matrix products of about 14 context rows with 12
target rows (pWord2Vec, Ji et al. 2016, shares negatives within one window; its batches go over several), and a center
costs 6 or 7 rows of memory traffic instead of 12. All gradients are taken at the values before the update.

Legend: M context rows, T targets (the centers, then the negatives), D vector size.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from unfreeze.pretraining.word2vec_random import below, fraction, next_random
from unfreeze.pretraining.word2vec_step import Floats, Ids, compiled, inlined

GROUP = 4
"""Of 8 a word costs a fifth less, but analogies lost two points (docs/lab-notes.md)."""
COLUMNS = 4
"""T is a multiple of it: what the tiles of the products take at once."""
_WIDTH = 16
_FLAT = np.float32(20.0)
"""Beyond this score the sigmoid is 0 or 1 to 2e-9: its exponential is taken as constant."""


class GroupSpace(NamedTuple):
    """What one thread works in; all padded by zero."""

    contexts: Floats
    """(M padded, D padded)"""
    targets: Floats
    """(T, D padded)"""
    scores: Floats
    """(M padded * T,), row by row, as the three that follow."""
    errors: Floats
    """The gradient of the scores, times the rate."""
    weights: Floats
    """How often each pair counts."""
    signs: Floats
    """1 for centers, -1 for negatives."""
    context_gradient: Floats
    target_gradient: Floats
    widths: NDArray[np.int64]
    """(GROUP,) of the windows."""
    ids: Ids
    """(T,) of the targets; -1 where there is none."""


def n_columns(negatives: int) -> int:
    """T: the centers, and at least as many negatives."""
    return GROUP + -(-negatives // COLUMNS) * COLUMNS


def make_group_space(window: int, negatives: int, size: int) -> GroupSpace:
    """Zeroed work space."""
    m, t = GROUP + 2 * window, n_columns(negatives)
    m, width = m + m % 2, -(-size // _WIDTH) * _WIDTH
    signs = np.where(np.arange(m * t) % t < GROUP, 1.0, -1.0).astype(np.float32)
    scores, errors, weights = (np.zeros(m * t, np.float32) for _ in range(3))
    contexts, context_gradient = (np.zeros((m, width), np.float32) for _ in range(2))
    targets, target_gradient = (np.zeros((t, width), np.float32) for _ in range(2))
    numbers = np.zeros(GROUP, np.int64), np.empty(t, np.int32)
    rows = contexts, targets, scores, errors, weights, signs, context_gradient, target_gradient
    return GroupSpace(*rows, *numbers)


@inlined
def _read_contexts(inputs: Floats, kept: Ids, low: int, high: int, padded: int, rows: Floats) -> None:
    size = inputs.shape[1]
    for i in range(high - low):
        source, row = inputs[kept[low + i]], rows[i]
        for k in range(size):
            row[k] = source[k]
    for i in range(high - low, padded):
        rows[i, :] = np.float32(0.0)


@inlined
def _read_targets(outputs: Floats, space: GroupSpace) -> None:
    size, ids = outputs.shape[1], space.ids
    for j in range(len(ids)):
        row = space.targets[j]
        if ids[j] < 0:
            row[:] = np.float32(0.0)
        else:
            source = outputs[ids[j]]
            for k in range(size):
                row[k] = source[k]


@inlined
def _weigh(kept: Ids, first: int, n: int, low: int, high: int, negatives: int, space: GroupSpace) -> int:
    """How often each pair counts: a context and a center once within the window, a context and a negative for each of
    the centers that the context predicts; returns the number of the former."""
    weights, ids, total = space.weights, space.ids, 0
    t = len(ids)
    share = np.float32(negatives / (t - GROUP))
    for i in range(high - low):
        count = 0
        for g in range(GROUP):
            distance = abs(low + i - first - g)
            within = g < n and distance != 0 and distance <= space.widths[g]
            weights[i * t + g] = np.float32(1.0) if within else np.float32(0.0)
            count += within
        total += count
        for j in range(GROUP, t):
            weights[i * t + j] = share * np.float32(count)
    for j in range(GROUP, t):  # a negative that is a center is none for that center
        for g in range(n):
            if ids[j] == kept[first + g]:
                for i in range(high - low):
                    weights[i * t + j] -= share * weights[i * t + g]
    return total


@inlined
def _score(padded: int, space: GroupSpace) -> None:
    """scores = contexts @ targets.T, in tiles of two by four."""
    width, t = space.contexts.shape[1], len(space.ids)
    for i in range(0, padded, 2):
        x, y = space.contexts[i], space.contexts[i + 1]
        for j in range(0, t, 4):
            z0, z1, z2, z3 = (
                space.targets[j],
                space.targets[j + 1],
                space.targets[j + 2],
                space.targets[j + 3],
            )
            a0 = a1 = a2 = a3 = b0 = b1 = b2 = b3 = np.float32(0.0)
            for k in range(width):
                a0 += x[k] * z0[k]
                a1 += x[k] * z1[k]
                a2 += x[k] * z2[k]
                a3 += x[k] * z3[k]
                b0 += y[k] * z0[k]
                b1 += y[k] * z1[k]
                b2 += y[k] * z2[k]
                b3 += y[k] * z3[k]
            here, below_it = i * t + j, (i + 1) * t + j
            scores = space.scores
            scores[here], scores[here + 1], scores[here + 2], scores[here + 3] = a0, a1, a2, a3
            scores[below_it], scores[below_it + 1] = b0, b1
            scores[below_it + 2], scores[below_it + 3] = b2, b3


@inlined
def _differentiate(count: int, rate: Any, space: GroupSpace) -> Any:
    """errors = rate * weight * (label - sigmoid(score)) of the first `count` pairs; returns the weighted loss in nats.

    With u = -sign * score: sigmoid(u) is the error, log(1 + exp(u)) the loss. The exponential of -|u| is a Taylor
    polynomial of the 64th part, squared six times; log(1 + e) is 2 artanh(e / (2 + e)). So this loop vectorizes.
    """
    scores, weights, signs, errors = space.scores, space.weights, space.signs, space.errors
    one, zero, loss = np.float32(1.0), np.float32(0.0), np.float32(0.0)
    for q in range(count):
        u = -signs[q] * scores[q]
        v = -min(abs(u), _FLAT) * np.float32(1 / 64)
        e = np.float32(1 / 120) + v * np.float32(1 / 720)
        e = np.float32(1 / 24) + v * e
        e = np.float32(1 / 6) + v * e
        e = np.float32(0.5) + v * e
        e = one + v * e
        e = one + v * e
        e *= e
        e *= e
        e *= e
        e *= e
        e *= e
        e *= e
        z = e / (np.float32(2.0) + e)
        s = z * z
        series = np.float32(1 / 7) + s * np.float32(1 / 9)
        series = np.float32(1 / 5) + s * series
        series = np.float32(1 / 3) + s * series
        loss += weights[q] * (np.float32(2.0) * z * (one + s * series) + max(u, zero))
        errors[q] = rate * weights[q] * signs[q] * (e if u < zero else one) / (one + e)
    return loss


@inlined
def _context_gradient(padded: int, space: GroupSpace) -> None:
    """context_gradient = errors @ targets."""
    width, targets, errors, t = space.targets.shape[1], space.targets, space.errors, len(space.ids)
    for i in range(0, padded, 2):
        r0, r1 = space.context_gradient[i], space.context_gradient[i + 1]
        r0[:] = np.float32(0.0)
        r1[:] = np.float32(0.0)
        for j in range(0, t, 4):
            y0, y1, y2, y3 = targets[j], targets[j + 1], targets[j + 2], targets[j + 3]
            p, q = i * t + j, (i + 1) * t + j
            a0, a1, a2, a3 = errors[p], errors[p + 1], errors[p + 2], errors[p + 3]
            b0, b1, b2, b3 = errors[q], errors[q + 1], errors[q + 2], errors[q + 3]
            for k in range(width):
                r0[k] += a0 * y0[k] + a1 * y1[k] + a2 * y2[k] + a3 * y3[k]
                r1[k] += b0 * y0[k] + b1 * y1[k] + b2 * y2[k] + b3 * y3[k]


@inlined
def _target_gradient(padded: int, space: GroupSpace) -> None:
    """target_gradient = errors.T @ contexts."""
    width, errors, t = space.contexts.shape[1], space.errors, len(space.ids)
    for j in range(0, t, 4):
        r0, r1 = space.target_gradient[j], space.target_gradient[j + 1]
        r2, r3 = space.target_gradient[j + 2], space.target_gradient[j + 3]
        r0[:] = np.float32(0.0)
        r1[:] = np.float32(0.0)
        r2[:] = np.float32(0.0)
        r3[:] = np.float32(0.0)
        for i in range(0, padded, 2):
            x, y = space.contexts[i], space.contexts[i + 1]
            p, q = i * t + j, (i + 1) * t + j
            a0, a1, a2, a3 = errors[p], errors[p + 1], errors[p + 2], errors[p + 3]
            b0, b1, b2, b3 = errors[q], errors[q + 1], errors[q + 2], errors[q + 3]
            for k in range(width):
                r0[k] += a0 * x[k] + b0 * y[k]
                r1[k] += a1 * x[k] + b1 * y[k]
                r2[k] += a2 * x[k] + b2 * y[k]
                r3[k] += a3 * x[k] + b3 * y[k]


@inlined
def _add_back(inputs: Floats, outputs: Floats, kept: Ids, low: int, high: int, space: GroupSpace) -> None:
    size = inputs.shape[1]
    for i in range(high - low):
        source, row = space.context_gradient[i], inputs[kept[low + i]]
        for k in range(size):
            row[k] += source[k]
    for j in range(len(space.ids)):
        if space.ids[j] >= 0:
            change, target = space.target_gradient[j], outputs[space.ids[j]]
            for k in range(size):
                target[k] += change[k]


@compiled
def train_group(
    kept: Ids,
    n_kept: int,
    first: int,
    window: int,
    negatives: int,
    acceptance: NDArray[np.float64],
    alias: Ids,
    rate: Any,
    inputs: Floats,
    outputs: Floats,
    state: NDArray[np.uint64],
    space: GroupSpace,
) -> tuple[float, int]:
    """One update from the centers `first` to at most `first` + GROUP - 1 of a document's `n_kept` words.

    Args:
        state: the random state. Draws: the width of each center's window, then one for each negative.

    Returns: the loss in nats, the number of pairs of a center and its context words.
    """
    n = min(GROUP, n_kept - first)
    low, high = n_kept, 0
    for g in range(n):
        width = 1 + below(next_random(state), window)
        space.widths[g] = width
        low, high = min(low, first + g - width), max(high, first + g + width + 1)
    low, high = max(0, low), min(n_kept, high)
    for j in range(GROUP):
        space.ids[j] = kept[first + j] if j < n else -1
    for j in range(GROUP, len(space.ids)):
        bits = next_random(state)
        negative = below(bits, len(alias))
        space.ids[j] = negative if fraction(bits) < acceptance[negative] else alias[negative]
    m = high - low
    padded = m + m % 2
    _read_contexts(inputs, kept, low, high, padded, space.contexts)
    _read_targets(outputs, space)
    pairs = _weigh(kept, first, n, low, high, negatives, space)
    _score(padded, space)
    loss = _differentiate(m * len(space.ids), rate, space)
    for q in range(m * len(space.ids), padded * len(space.ids)):
        space.errors[q] = np.float32(0.0)
    _context_gradient(padded, space)
    _target_gradient(padded, space)
    _add_back(inputs, outputs, kept, low, high, space)
    return loss, pairs
