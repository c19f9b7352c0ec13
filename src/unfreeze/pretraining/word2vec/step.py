"""One compiled update of word2vec (Mikolov et al. 2013): every context row predicts every target row.

All context words of a window share one set of negatives, so that a window is three small matrix products, as in pWord2Vec
(Ji et al. 2016). An update reads its rows once, computes all gradients from those values and adds them at the end, in tiles of
two context rows by three target rows. The rows are copied into a scratch array padded with zero rows, so that no tile is
incomplete.

Cost at size 100, window 5 and 5 negatives: about 6 context and 6 target rows, 36 scores, 3 x 7,200 operations.

Shapes: N context rows, M targets with a sign each (1 to be scored high, -1 to be scored low), D vector size.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from unfreeze.compiled.decorators import compiled, inlined

_CONTEXT_TILE = 2
_TARGET_TILE = 3
_LANES = 16
_FLAT = np.float32(20.0)
"""Beyond this score the sigmoid is 0 or 1 to within 2e-9, and its exponential is treated as constant."""
_LARGE = 1e200

Floats = NDArray[np.float32]
Ids = NDArray[np.int32]


class Scratch(NamedTuple):
    """Work space of one call: the rows of a window, their gradients and scores, all padded with zeros."""

    context: Floats
    """(N padded, D padded)"""
    target: Floats
    """(M padded, D padded)"""
    context_gradient: Floats
    target_gradient: Floats
    scores: Floats
    """(N padded * M padded,) row by row; later overwritten with the gradient of the scores times the learning rate."""
    exponentials: Floats


def _round_up(n: int, multiple: int) -> int:
    return -(-n // multiple) * multiple


def make_scratch(contexts: int, targets: int, size: int) -> Scratch:
    """Return work space filled with zeros, for updates of at most this number of context and target rows."""
    n, m = _round_up(contexts, _CONTEXT_TILE), _round_up(targets, _TARGET_TILE)
    width = _round_up(size, _LANES)
    context, target = (n, width), (m, width)
    shapes: list[Any] = [context, target, context, target, n * m, n * m]
    return Scratch(*[np.zeros(shape, np.float32) for shape in shapes])


@inlined
def _read_rows(matrix: Floats, ids: Ids, n: int, padded: int, rows: Floats) -> None:
    size = matrix.shape[1]
    for i in range(n):
        source, row = matrix[ids[i]], rows[i]
        for k in range(size):
            row[k] = source[k]
    for i in range(n, padded):
        rows[i, :] = np.float32(0.0)


@inlined
def _add_rows(matrix: Floats, ids: Ids, n: int, rows: Floats) -> None:
    size = matrix.shape[1]
    for i in range(n):
        source, row = rows[i], matrix[ids[i]]
        for k in range(size):
            row[k] += source[k]


@inlined
def _score(context: Floats, target: Floats, n: int, m: int, scores: Floats) -> None:
    """scores = context @ target.T for padded n and m."""
    width = context.shape[1]
    for i in range(0, n, 2):
        x0, x1 = context[i], context[i + 1]
        for j in range(0, m, 3):
            y0, y1, y2 = target[j], target[j + 1], target[j + 2]
            a0 = a1 = a2 = b0 = b1 = b2 = np.float32(0.0)
            for k in range(width):
                a0 += x0[k] * y0[k]
                a1 += x0[k] * y1[k]
                a2 += x0[k] * y2[k]
                b0 += x1[k] * y0[k]
                b1 += x1[k] * y1[k]
                b2 += x1[k] * y2[k]
            here, below = i * m + j, (i + 1) * m + j
            scores[here], scores[here + 1], scores[here + 2] = a0, a1, a2
            scores[below], scores[below + 1], scores[below + 2] = b0, b1, b2


@inlined
def _exponentials(scores: Floats, count: int, result: Floats) -> None:
    """result = exp(-|scores|): a Taylor polynomial of a 64th of the argument, squared six times, so that the loop vectorizes."""
    for k in range(count):
        x = -min(abs(scores[k]), _FLAT) * np.float32(1 / 64)
        e = np.float32(1 / 120) + x * np.float32(1 / 720)
        e = np.float32(1 / 24) + x * e
        e = np.float32(1 / 6) + x * e
        e = np.float32(0.5) + x * e
        e = np.float32(1.0) + x * e
        e = np.float32(1.0) + x * e
        e *= e
        e *= e
        e *= e
        e *= e
        e *= e
        e *= e
        result[k] = e


@inlined
def _differentiate(
    scratch: Scratch, signs: Floats, n: int, m: int, padded_m: int, learning_rate: Any
) -> float:
    """Turn scores into learning_rate * (label - sigmoid(score)), zero where padded; return the loss in nats.

    With u = -sign * score: sigmoid(u) is the error, and log(1 + exp(u)) the loss, computed as the logarithm of a
    product because logarithms are slow.
    """
    scores, exponentials = scratch.scores, scratch.exponentials
    loss = 0.0
    for i in range(n):
        product = 1.0
        for j in range(m):
            k = i * padded_m + j
            e, sign = exponentials[k], signs[j]
            u = -sign * scores[k]
            error = learning_rate / (np.float32(1.0) + e)
            if u < 0:
                error *= e
            else:
                loss += u
            product *= 1.0 + e
            if product > _LARGE:
                loss += np.log(product)
                product = 1.0
            scores[k] = sign * error
        loss += np.log(product)
        for j in range(m, padded_m):
            scores[i * padded_m + j] = np.float32(0.0)
    return loss


@inlined
def _context_gradient(target: Floats, scores: Floats, n: int, m: int, gradient: Floats) -> None:
    """gradient = scores @ target for padded n and m."""
    width = target.shape[1]
    for i in range(0, n, 2):
        r0, r1 = gradient[i], gradient[i + 1]
        r0[:] = np.float32(0.0)
        r1[:] = np.float32(0.0)
        for j in range(0, m, 3):
            y0, y1, y2 = target[j], target[j + 1], target[j + 2]
            here, below = i * m + j, (i + 1) * m + j
            a0, a1, a2 = scores[here], scores[here + 1], scores[here + 2]
            b0, b1, b2 = scores[below], scores[below + 1], scores[below + 2]
            for k in range(width):
                r0[k] += a0 * y0[k] + a1 * y1[k] + a2 * y2[k]
                r1[k] += b0 * y0[k] + b1 * y1[k] + b2 * y2[k]


@inlined
def _target_gradient(context: Floats, scores: Floats, n: int, m: int, gradient: Floats) -> None:
    """gradient = scores.T @ context for padded n and m."""
    width = context.shape[1]
    for j in range(0, m, 3):
        r0, r1, r2 = gradient[j], gradient[j + 1], gradient[j + 2]
        r0[:] = np.float32(0.0)
        r1[:] = np.float32(0.0)
        r2[:] = np.float32(0.0)
        for i in range(0, n, 2):
            x0, x1 = context[i], context[i + 1]
            here, below = i * m + j, (i + 1) * m + j
            a0, a1, a2 = scores[here], scores[here + 1], scores[here + 2]
            b0, b1, b2 = scores[below], scores[below + 1], scores[below + 2]
            for k in range(width):
                r0[k] += a0 * x0[k] + b0 * x1[k]
                r1[k] += a1 * x0[k] + b1 * x1[k]
                r2[k] += a2 * x0[k] + b2 * x1[k]


@inlined
def _step(
    scratch: Scratch, signs: Floats, n: int, padded_n: int, m: int, padded_m: int, learning_rate: Any
) -> float:
    """Compute the gradients of the rows in the scratch, times the learning rate; return the loss."""
    _score(scratch.context, scratch.target, padded_n, padded_m, scratch.scores)
    _exponentials(scratch.scores, n * padded_m, scratch.exponentials)
    loss = _differentiate(scratch, signs, n, m, padded_m, learning_rate)
    for k in range(n * padded_m, padded_n * padded_m):
        scratch.scores[k] = np.float32(0.0)
    _context_gradient(scratch.target, scratch.scores, padded_n, padded_m, scratch.context_gradient)
    _target_gradient(scratch.context, scratch.scores, padded_n, padded_m, scratch.target_gradient)
    return loss


@compiled
def train_rows(
    contexts: Ids,
    n: int,
    targets: Ids,
    signs: Floats,
    m: int,
    learning_rate: Any,
    inputs: Floats,
    outputs: Floats,
    scratch: Scratch,
) -> float:
    """Make one update in which each context row predicts all targets.

    Args:
        contexts: row numbers of `inputs`, of which the first `n` are used.
        targets, signs: row numbers of `outputs` and their signs, of which the first `m` are used.

    Returns:
        The loss summed over the n * m pairs, in nats.
    """
    padded_n = -(-n // _CONTEXT_TILE) * _CONTEXT_TILE
    padded_m = -(-m // _TARGET_TILE) * _TARGET_TILE
    _read_rows(inputs, contexts, n, padded_n, scratch.context)
    _read_rows(outputs, targets, m, padded_m, scratch.target)
    loss = _step(scratch, signs, n, padded_n, m, padded_m, learning_rate)
    _add_rows(inputs, contexts, n, scratch.context_gradient)
    _add_rows(outputs, targets, m, scratch.target_gradient)
    return loss


@compiled
def train_mean(
    bag: Ids,
    n: int,
    targets: Ids,
    signs: Floats,
    m: int,
    learning_rate: Any,
    inputs: Floats,
    outputs: Floats,
    scratch: Scratch,
) -> float:
    """Make one update in which the mean of the rows in the bag predicts the targets.

    As in the code of word2vec and fastText, each row gets the whole gradient of the mean, not 1 / n of it.

    Args:
        bag: row numbers of `inputs`, of which the first `n` are used; they may repeat.

    Returns:
        The loss summed over the m targets, in nats.
    """
    padded_m = -(-m // _TARGET_TILE) * _TARGET_TILE
    size = inputs.shape[1]
    mean = scratch.context[0]
    for i in range(_CONTEXT_TILE):
        scratch.context[i, :] = np.float32(0.0)
    for i in range(n):
        source = inputs[bag[i]]
        for k in range(size):
            mean[k] += source[k]
    factor = np.float32(1.0 / n)
    for k in range(size):
        mean[k] *= factor
    _read_rows(outputs, targets, m, padded_m, scratch.target)
    loss = _step(scratch, signs, 1, _CONTEXT_TILE, m, padded_m, learning_rate)
    gradient = scratch.context_gradient[0]
    for i in range(n):
        row = inputs[bag[i]]
        for k in range(size):
            row[k] += gradient[k]
    _add_rows(outputs, targets, m, scratch.target_gradient)
    return loss
