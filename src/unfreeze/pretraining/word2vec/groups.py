"""Skip-gram with negative sampling, a group of neighboring centers at a time: the fastest variant of word2vec.

`GROUP` consecutive centers share their context rows, which are read once, and one set of negatives. Each shared negative is
weighted by the number of negatives that it stands for. An update is then three matrix products of about 11 context rows with
12 target rows, and a center costs 6 rows of memory traffic instead of 12. (pWord2Vec, Ji et al. 2016, shares negatives within
a window, and its batches span several windows.) All gradients are computed from the values before the update.

The products run in tiles of 16 sums in registers (lanes.py), and the rows of the next group are prefetched meanwhile.

Shapes: M context rows, T targets (the centers, then the negatives), D vector size. Scores, errors and weights are stored
target by target: that of context i and target j is at j * stride + i.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from unfreeze.compiled import lanes
from unfreeze.compiled.decorators import compiled, inlined
from unfreeze.pretraining.word2vec.random_numbers import below, fraction, next_random
from unfreeze.pretraining.word2vec.step import Floats, Ids

GROUP = 4
"""With 8, the accuracy on analogies fell by two points (docs/lab-notes.md)."""
TILE = 4
"""Number of contexts and number of targets in a tile of the products."""
_LANES = lanes.WIDTH
_FLAT = np.float32(20.0)
"""Beyond this score the sigmoid is 0 or 1 to within 2e-9, and its exponential is treated as constant."""
_LINE = 16
"""Number of floats in a cache line."""


class GroupSpace(NamedTuple):
    """Work space of one thread, all padded with zeros."""

    contexts: Floats
    """(M padded, D padded)"""
    targets: Floats
    """(T, D padded)"""
    scores: Floats
    """(T * stride,), like `errors` and `weights`."""
    errors: Floats
    """Gradients of the scores, times the learning rate."""
    weights: Floats
    """How often each pair counts."""
    positions: Floats
    """(stride,) 0, 1, 2 and so on."""
    counts: Floats
    """(stride,) the number of centers that each context predicts."""


class Draws(NamedTuple):
    """Random numbers of the groups of a document, in order."""

    widths: Ids
    """(centers,), the widths of their windows."""
    negatives: Ids
    """(groups * shared negatives,)"""


def n_shared(negatives: int) -> int:
    """Number of negatives that a group shares: that of one center, rounded up to whole tiles."""
    return -(-negatives // TILE) * TILE


_n_shared = inlined(n_shared)


def make_group_space(window: int, negatives: int, size: int) -> GroupSpace:
    """Return work space filled with zeros, for windows of up to `window` words to each side and vectors of `size` numbers."""
    m, t = GROUP + 2 * window, GROUP + n_shared(negatives)
    stride, width = -(-m // _LANES) * _LANES, -(-size // _LANES) * _LANES
    contexts, targets = np.zeros((stride, width), np.float32), np.zeros((t, width), np.float32)
    scores, errors, weights = (np.zeros(t * stride, np.float32) for _ in range(3))
    positions = np.arange(stride, dtype=np.float32)
    return GroupSpace(contexts, targets, scores, errors, weights, positions, np.zeros(stride, np.float32))


def make_draws(n_words: int, negatives: int) -> Draws:
    """Return work space for documents of at most `n_words` words."""
    groups = -(-n_words // GROUP)
    return Draws(np.empty(n_words, np.int32), np.empty(groups * n_shared(negatives), np.int32))


@compiled
def draw_groups(
    n_words: int,
    window: int,
    negatives: int,
    acceptance: Floats,
    alias: Ids,
    state: NDArray[np.uint64],
    draws: Draws,
) -> None:
    """Draw, for each group of a document of `n_words`, the width of each center's window, then its negatives."""
    shared, place = _n_shared(negatives), 0
    for first in range(0, n_words, GROUP):
        for center in range(first, min(first + GROUP, n_words)):
            draws.widths[center] = 1 + below(next_random(state), window)
        for _ in range(shared):
            bits = next_random(state)
            negative = below(bits, len(alias))
            accepted = fraction(bits) < acceptance[negative]
            draws.negatives[place] = negative if accepted else alias[negative]
            place += 1


@inlined
def _read(matrix: Floats, row: Any, target: Floats, target_row: Any) -> None:
    size = matrix.shape[1]
    whole = size - size % _LANES
    for k in range(0, whole, _LANES):
        lanes.store(target, target_row, k, lanes.load(matrix, row, k))
    if whole < size:
        lanes.store(target, target_row, whole, lanes.load_some(matrix, row, whole, size - whole))


@inlined
def _prefetch(matrix: Floats, row: Any) -> None:
    for k in range(0, matrix.shape[1], _LINE):
        lanes.prefetch(matrix, row, k)
    lanes.prefetch(matrix, row, matrix.shape[1] - 1)


@inlined
def _weigh_pairs(
    kept: Ids, first: int, n: int, low: int, m: int, share: Any, ids: Ids, widths: Ids, space: GroupSpace
) -> Any:
    """Compute how often each pair counts, and return the number of pairs of a context and a center.

    A context and a center count once if they are within a window; a context and a negative count `share` for each center
    that the context predicts.
    """
    weights, counts, positions, stride = space.weights, space.counts, space.positions, len(space.positions)
    one, zero = np.float32(1.0), np.float32(0.0)
    end = np.float32(m)
    for i in range(stride):
        counts[i] = zero
    for g in range(GROUP):
        offset = np.float32(first + g - low)
        reach = np.float32(widths[first + g]) if g < n else zero
        row = weights[g * stride : (g + 1) * stride]
        for i in range(stride):
            distance = abs(positions[i] - offset)
            within = one if (distance > zero) & (distance <= reach) & (positions[i] < end) else zero
            row[i] = within
            counts[i] += within
    total = zero
    for i in range(stride):
        total += counts[i]
        counts[i] *= share
    for j in range(len(ids)):
        row = weights[(GROUP + j) * stride : (GROUP + j + 1) * stride]
        for i in range(stride):
            row[i] = counts[i]
        for g in range(n):  # a word is not a negative of itself
            if ids[j] == kept[first + g]:
                for i in range(stride):
                    row[i] -= share * weights[g * stride + i]
    return total


@inlined
def _score(padded: int, space: GroupSpace) -> None:
    """scores = targets @ contexts.T."""
    x, y, stride = space.contexts, space.targets, len(space.positions)
    for j in range(0, y.shape[0], TILE):
        for i in range(0, padded, TILE):
            a0 = a1 = a2 = a3 = b0 = b1 = b2 = b3 = lanes.zeros()
            c0 = c1 = c2 = c3 = d0 = d1 = d2 = d3 = lanes.zeros()
            for k in range(0, x.shape[1], _LANES):
                x0, x1 = lanes.load(x, i, k), lanes.load(x, i + 1, k)
                x2, x3 = lanes.load(x, i + 2, k), lanes.load(x, i + 3, k)
                row = lanes.load(y, j, k)
                a0, a1 = lanes.multiply_add(row, x0, a0), lanes.multiply_add(row, x1, a1)
                a2, a3 = lanes.multiply_add(row, x2, a2), lanes.multiply_add(row, x3, a3)
                row = lanes.load(y, j + 1, k)
                b0, b1 = lanes.multiply_add(row, x0, b0), lanes.multiply_add(row, x1, b1)
                b2, b3 = lanes.multiply_add(row, x2, b2), lanes.multiply_add(row, x3, b3)
                row = lanes.load(y, j + 2, k)
                c0, c1 = lanes.multiply_add(row, x0, c0), lanes.multiply_add(row, x1, c1)
                c2, c3 = lanes.multiply_add(row, x2, c2), lanes.multiply_add(row, x3, c3)
                row = lanes.load(y, j + 3, k)
                d0, d1 = lanes.multiply_add(row, x0, d0), lanes.multiply_add(row, x1, d1)
                d2, d3 = lanes.multiply_add(row, x2, d2), lanes.multiply_add(row, x3, d3)
            tile = (a0, a1, a2, a3, b0, b1, b2, b3, c0, c1, c2, c3, d0, d1, d2, d3)
            lanes.store_totals(space.scores, j * stride + i, stride, tile)


@inlined
def _differentiate(begin: int, end: int, sign: Any, learning_rate: Any, space: GroupSpace) -> Any:
    """errors = learning_rate * weight * (label - sigmoid(score)) of a range of pairs; returns the weighted loss in nats.

    With u = -sign * score: sigmoid(u) is the error, log(1 + exp(u)) the loss. So that the loop vectorizes, the
    exponential of -|u| is a Taylor polynomial of a 64th of it, squared six times, and log(1 + e) is 2 artanh(e / (2 + e)).
    """
    scores, weights, errors = space.scores[begin:end], space.weights[begin:end], space.errors[begin:end]
    one, zero, loss = np.float32(1.0), np.float32(0.0), np.float32(0.0)
    for q in range(end - begin):
        u = -sign * scores[q]
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
        errors[q] = learning_rate * weights[q] * sign * (e if u < zero else one) / (one + e)
    return loss


@inlined
def _add_to(matrix: Floats, row: Any, k: Any, value: Any) -> None:
    left = matrix.shape[1] - k
    if left >= _LANES:
        lanes.store(matrix, row, k, lanes.add(lanes.load(matrix, row, k), value))
    else:
        lanes.store_some(matrix, row, k, left, lanes.add(lanes.load_some(matrix, row, k, left), value))


@inlined
def _add_products(
    errors: Floats,
    begin: int,
    across: int,
    down: int,
    rows: Floats,
    n_rows: int,
    matrix: Floats,
    ids: Ids,
    n: int,
) -> None:
    """Add errors[begin + across * r + down * q] * rows[q], summed over q < n_rows, to matrix[ids[r]] for r < n <= TILE."""
    for k in range(0, rows.shape[1] - _LANES, 2 * _LANES):
        a0 = a1 = b0 = b1 = c0 = c1 = d0 = d1 = lanes.zeros()
        place = begin
        for q in range(n_rows):
            left, right = lanes.load(rows, q, k), lanes.load(rows, q, k + _LANES)
            factor = lanes.splat(errors[place])
            a0, a1 = lanes.multiply_add(factor, left, a0), lanes.multiply_add(factor, right, a1)
            factor = lanes.splat(errors[place + across])
            b0, b1 = lanes.multiply_add(factor, left, b0), lanes.multiply_add(factor, right, b1)
            factor = lanes.splat(errors[place + 2 * across])
            c0, c1 = lanes.multiply_add(factor, left, c0), lanes.multiply_add(factor, right, c1)
            factor = lanes.splat(errors[place + 3 * across])
            d0, d1 = lanes.multiply_add(factor, left, d0), lanes.multiply_add(factor, right, d1)
            place += down
        _add_to(matrix, ids[0], k, a0)
        _add_to(matrix, ids[0], k + _LANES, a1)
        if n > 1:
            _add_to(matrix, ids[1], k, b0)
            _add_to(matrix, ids[1], k + _LANES, b1)
        if n > 2:
            _add_to(matrix, ids[2], k, c0)
            _add_to(matrix, ids[2], k + _LANES, c1)
        if n > 3:
            _add_to(matrix, ids[3], k, d0)
            _add_to(matrix, ids[3], k + _LANES, d1)
    if rows.shape[1] % (2 * _LANES):
        k = rows.shape[1] - _LANES
        a0 = b0 = c0 = d0 = lanes.zeros()
        place = begin
        for q in range(n_rows):
            left = lanes.load(rows, q, k)
            a0 = lanes.multiply_add(lanes.splat(errors[place]), left, a0)
            b0 = lanes.multiply_add(lanes.splat(errors[place + across]), left, b0)
            c0 = lanes.multiply_add(lanes.splat(errors[place + 2 * across]), left, c0)
            d0 = lanes.multiply_add(lanes.splat(errors[place + 3 * across]), left, d0)
            place += down
        _add_to(matrix, ids[0], k, a0)
        if n > 1:
            _add_to(matrix, ids[1], k, b0)
        if n > 2:
            _add_to(matrix, ids[2], k, c0)
        if n > 3:
            _add_to(matrix, ids[3], k, d0)


@inlined
def _context_range(widths: Ids, first: int, n_words: int) -> tuple[int, int]:
    """Return the range of words, first and last + 1, that are contexts of a group."""
    low, high = first, first
    for center in range(first, min(first + GROUP, n_words)):
        low, high = min(low, center - widths[center]), max(high, center + widths[center] + 1)
    return max(0, low), min(n_words, high)


@compiled
def train_group(
    kept: Ids,
    n_words: int,
    first: int,
    negatives: int,
    draws: Draws,
    learning_rate: Any,
    inputs: Floats,
    outputs: Floats,
    space: GroupSpace,
) -> tuple[float, int]:
    """Make one update from the group of centers that begins at `first`, in a document of `n_words` words.

    Returns:
        The loss in nats, and the number of pairs of a center and a context word.
    """
    n = min(GROUP, n_words - first)
    low, high = _context_range(draws.widths, first, n_words)
    shared = len(space.targets) - GROUP
    begin = first // GROUP * shared
    ids = draws.negatives[begin : begin + shared]
    for j in range(first + GROUP, min(first + 2 * GROUP, n_words)):
        _prefetch(outputs, kept[j])
    if first + GROUP < n_words:
        for j in range(begin + shared, begin + 2 * shared):
            _prefetch(outputs, draws.negatives[j])
    for j in range(high, min(high + GROUP, n_words)):
        _prefetch(inputs, kept[j])
    m = high - low
    padded, stride = (m + TILE - 1) // TILE * TILE, len(space.positions)
    for i in range(m):
        _read(inputs, kept[low + i], space.contexts, i)
    for j in range(n):
        _read(outputs, kept[first + j], space.targets, j)
    for j in range(shared):
        _read(outputs, ids[j], space.targets, GROUP + j)
    pairs = _weigh_pairs(kept, first, n, low, m, np.float32(negatives / shared), ids, draws.widths, space)
    _score(padded, space)
    loss = _differentiate(0, GROUP * stride, np.float32(1.0), learning_rate, space)
    loss += _differentiate(GROUP * stride, (GROUP + shared) * stride, np.float32(-1.0), learning_rate, space)
    errors, t = space.errors, GROUP + shared
    for i in range(0, m, TILE):
        _add_products(errors, i, 1, stride, space.targets, t, inputs, kept[low + i : high], min(TILE, m - i))
    _add_products(errors, 0, stride, 1, space.contexts, m, outputs, kept[first : first + n], n)
    for j in range(0, shared, TILE):
        _add_products(
            errors, (GROUP + j) * stride, stride, 1, space.contexts, m, outputs, ids[j : j + TILE], TILE
        )
    return loss, int(pairs)
