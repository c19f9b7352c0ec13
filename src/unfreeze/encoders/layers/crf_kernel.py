"""Compiled forward-backward and Viterbi algorithms of a linear-chain CRF, in float64.

Sums are computed in probabilities rescaled at each step, with the exponentials of the transitions computed once, so the
inner loop is a multiplication and an addition. Transitions that are not allowed have probability 0.

Shapes: N positions of all sequences, concatenated; K tags; `bounds` (B + 1,) the offsets of the sequences.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from unfreeze.compiled.decorators import allocating


@allocating
def sum_paths(
    scores: Any,
    bounds: Any,
    transitions: Any,
    first: Any,
    last: Any,
    totals: Any,
    unary: Any,
    pairs: Any,
    begins: Any,
    ends: Any,
    needs_gradient: bool,
) -> None:
    """Compute log Z of each sequence, and the expected counts of tags and transitions.

    Args:
        scores: (N, K), of each tag at each position.
        transitions: (K, K), from row to column; first, last: (K,); -inf where not allowed.
        totals: (B,), overwritten with log Z.
        unary: (N, K), overwritten with the marginals.
        pairs, begins, ends: (K, K), (K,), (K,); the expected counts are added.
        needs_gradient: whether to compute marginals and counts.
    """
    n_tags = len(first)
    longest = 0
    for b in range(len(bounds) - 1):
        longest = max(longest, bounds[b + 1] - bounds[b])
    alpha, scales = np.empty((longest, n_tags)), np.empty(longest)
    emitted, beta, after = np.empty((longest, n_tags)), np.empty(n_tags), np.empty(n_tags)
    top = -np.inf
    for i in range(n_tags):
        for j in range(n_tags):
            top = max(top, transitions[i, j])
    moves = np.exp(transitions - top)
    starts, stops = np.exp(first - first.max()), np.exp(last - last.max())
    for b in range(len(bounds) - 1):
        begin, n = bounds[b], bounds[b + 1] - bounds[b]
        total = first.max() + last.max() + top * (n - 1)
        for t in range(n):
            highest = -np.inf
            for k in range(n_tags):
                highest = max(highest, scores[begin + t, k])
            total += highest
            for k in range(n_tags):
                emitted[t, k] = np.exp(scores[begin + t, k] - highest)
        total += _forward(alpha, scales, emitted, moves, starts, n)
        end = 0.0
        for k in range(n_tags):
            end += alpha[n - 1, k] * stops[k]
        totals[b] = total + np.log(end)
        if needs_gradient:
            _marginals(alpha, scales, emitted, moves, stops / end, beta, after, unary, begin, n, pairs)
            for k in range(n_tags):
                begins[k] += unary[begin, k]
                ends[k] += unary[begin + n - 1, k]


@allocating
def _forward(alpha: Any, scales: Any, emitted: Any, moves: Any, starts: Any, n: int) -> float:
    """Fill `alpha`, whose rows are normalized, and the normalizers `scales`; return the sum of their logarithms."""
    n_tags, logs = len(starts), 0.0
    for t in range(n):
        for k in range(n_tags):
            alpha[t, k] = starts[k] if t == 0 else 0.0
        if t > 0:
            for i in range(n_tags):
                before = alpha[t - 1, i]
                for k in range(n_tags):
                    alpha[t, k] += before * moves[i, k]
        total = 0.0
        for k in range(n_tags):
            alpha[t, k] *= emitted[t, k]
            total += alpha[t, k]
        scales[t] = total
        logs += np.log(total)
        for k in range(n_tags):
            alpha[t, k] /= total
    return logs


@allocating
def _marginals(
    alpha: Any,
    scales: Any,
    emitted: Any,
    moves: Any,
    stops: Any,
    beta: Any,
    after: Any,
    unary: Any,
    begin: int,
    n: int,
    pairs: Any,
) -> None:
    n_tags = len(stops)
    for k in range(n_tags):
        beta[k] = stops[k]
        unary[begin + n - 1, k] = alpha[n - 1, k] * beta[k]
    for t in range(n - 2, -1, -1):
        for k in range(n_tags):
            after[k] = emitted[t + 1, k] * beta[k] / scales[t + 1]
        for i in range(n_tags):
            total, here = 0.0, alpha[t, i]
            for k in range(n_tags):
                step = moves[i, k] * after[k]
                total += step
                pairs[i, k] += here * step
            unary[begin + t, i] = here * total
            beta[i] = total


@allocating
def best_paths(
    scores: Any, bounds: Any, transitions: Any, first: Any, last: Any, tags: Any, best: Any
) -> None:
    """Write the best path of each sequence (the first among ties) to `tags` (N,), and its score to `best` (B,)."""
    n_tags = len(first)
    longest = 0
    for b in range(len(bounds) - 1):
        longest = max(longest, bounds[b + 1] - bounds[b])
    origin = np.empty((longest, n_tags), np.int32)
    now, new = np.empty(n_tags), np.empty(n_tags)
    for b in range(len(bounds) - 1):
        begin, n = bounds[b], bounds[b + 1] - bounds[b]
        for k in range(n_tags):
            now[k] = first[k] + scores[begin, k]
        for t in range(1, n):
            for k in range(n_tags):
                new[k], origin[t, k] = -np.inf, 0
            for i in range(n_tags):
                for k in range(n_tags):
                    reached = now[i] + transitions[i, k]
                    if reached > new[k]:
                        new[k], origin[t, k] = reached, i
            for k in range(n_tags):
                now[k] = new[k] + scores[begin + t, k]
        tag, highest = 0, -np.inf
        for k in range(n_tags):
            if now[k] + last[k] > highest:
                tag, highest = k, now[k] + last[k]
        best[b] = highest
        for t in range(n - 1, -1, -1):
            tags[begin + t] = tag
            if t > 0:
                tag = origin[t, tag]
