"""Linear-chain conditional random field (Lafferty, McCallum & Pereira 2001) with compiled dynamic programs.

    log p(y | x) = first(y_1) + sum_t score_t(y_t) + sum_t transition(y_t, y_(t+1)) + last(y_n) - log Z

Sequences are concatenated without padding. log Z and its gradients (the marginals) are computed exactly by the
forward-backward algorithm. Constraints on which tag may follow which apply in training as well as in decoding.

Shapes: B sequences, N positions of all sequences together, K tags.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from unfreeze.encoders.layers.crf_kernel import best_paths, sum_paths
from unfreeze.encoders.layers.parallel import run_parallel, split_work

SEQUENCES = 16
"""Minimum number of sequences per thread; fewer are not worth starting one."""
Numbers = NDArray[np.float64]
Arrays = tuple[Numbers, Numbers, Numbers, Numbers]
"""Scores (N, K), transitions (K, K), first (K,) and last (K,)."""
Allowed = tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]
"""Which tag may follow which (K, K), and which tags may begin (K,) and end (K,) a sequence."""


class Crf(nn.Module):
    """Transition scores between K tags, with likelihood, marginals and decoding.

    Args:
        n_tags: K.
        allowed: allowed transitions, first and last tags; by default all.
    """

    def __init__(self, n_tags: int, allowed: Allowed | None = None) -> None:
        super().__init__()
        self.transitions = nn.Parameter(torch.empty(n_tags, n_tags).uniform_(-0.1, 0.1))
        self.first = nn.Parameter(torch.empty(n_tags).uniform_(-0.1, 0.1))
        self.last = nn.Parameter(torch.empty(n_tags).uniform_(-0.1, 0.1))
        shapes = ((n_tags, n_tags), (n_tags,), (n_tags,))
        masks = allowed or tuple(np.ones(shape, dtype=np.bool_) for shape in shapes)
        for name, mask in zip(("pairs", "begins", "ends"), masks, strict=True):
            self.register_buffer(f"{name}_forbidden", torch.from_numpy(~np.asarray(mask)), persistent=False)

    def parameters_masked(self) -> tuple[Tensor, Tensor, Tensor]:
        """Transition, first and last scores, with -inf where they are not allowed."""
        named = (("pairs", self.transitions), ("begins", self.first), ("ends", self.last))
        masks = dict(self.named_buffers())
        pairs, begins, ends = (x.masked_fill(masks[f"{name}_forbidden"], -torch.inf) for name, x in named)
        return pairs, begins, ends

    def log_likelihood(self, scores: Tensor, tags: Tensor, lengths: Sequence[int]) -> Tensor:
        """Return log p(tags) of each sequence (B,), -inf for tags that are not allowed.

        Args:
            scores: (N, K).
            tags: (N,).
            lengths: B lengths of at least 1.
        """
        transitions, first, last = self.parameters_masked()
        bounds = _bounds(lengths)
        totals: Tensor = _LogPartition.apply(scores, transitions, first, last, bounds)  # type: ignore[no-untyped-call]
        starts = torch.from_numpy(bounds[:-1]).to(tags.device)
        stops = torch.from_numpy(bounds[1:] - 1).to(tags.device)
        own = scores.gather(1, tags[:, None])[:, 0].to(totals.dtype)
        steps = torch.zeros_like(own)
        is_inner = torch.ones(len(tags), dtype=torch.bool, device=tags.device)
        is_inner[starts] = False
        positions = is_inner.nonzero()[:, 0]
        steps[positions] = transitions[tags[positions - 1], tags[positions]].to(steps.dtype)
        row = torch.repeat_interleave(
            torch.arange(len(lengths), device=tags.device), torch.tensor(lengths, device=tags.device)
        )
        found = torch.zeros_like(totals).index_add(0, row, own + steps)
        return found + first[tags[starts]] + last[tags[stops]] - totals

    @torch.no_grad()
    def marginals(self, scores: Tensor, lengths: Sequence[int]) -> Tensor:
        """Return the probability of each tag at each position (N, K)."""
        arrays = _arrays(scores, *self.parameters_masked())
        return torch.from_numpy(_sums(arrays, _bounds(lengths), True)[1]).float()

    @torch.no_grad()
    def decode(self, scores: Tensor, lengths: Sequence[int]) -> tuple[NDArray[np.int64], Numbers]:
        """Return the best tags (N,) of all sequences and their unnormalized scores (B,), by the Viterbi algorithm."""
        bounds = _bounds(lengths)
        tags, best = np.empty(int(bounds[-1]), dtype=np.int64), np.empty(len(lengths))
        own, transitions, first, last = _arrays(scores, *self.parameters_masked())

        def part(low: int, high: int) -> None:
            best_paths(own, bounds[low : high + 1], transitions, first, last, tags, best[low:high])

        run_parallel([partial(part, low, high) for low, high in split_work(len(lengths), least=SEQUENCES)])
        return tags, best


def _bounds(lengths: Sequence[int]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def _arrays(scores: Tensor, transitions: Tensor, first: Tensor, last: Tensor) -> Arrays:
    tensors = (scores, transitions, first, last)
    a, b, c, d = (np.ascontiguousarray(tensor.detach().cpu().double().numpy()) for tensor in tensors)
    return a, b, c, d


def _sums(arrays: Arrays, bounds: NDArray[np.int64], needs_gradient: bool) -> tuple[Numbers, ...]:
    """log Z (B,), marginals (N, K), and expected counts of transitions, first and last tags over all sequences."""
    scores, transitions, first, last = arrays
    n_tags, n_rows = len(first), len(bounds) - 1
    totals = np.empty(n_rows)
    unary = np.zeros(scores.shape if needs_gradient else (0, n_tags))
    calls: list[Any] = []
    parts = []
    for low, high in split_work(n_rows, least=SEQUENCES):
        parts.append((np.zeros((n_tags, n_tags)), np.zeros(n_tags), np.zeros(n_tags)))
        inputs = scores, bounds[low : high + 1], transitions, first, last
        calls.append(partial(sum_paths, *inputs, totals[low:high], unary, *parts[-1], needs_gradient))
    run_parallel(calls)
    return totals, unary, *(np.sum([part[number] for part in parts], axis=0) for number in range(3))


class _LogPartition(torch.autograd.Function):
    """log Z of each sequence; its gradients are the expected counts of tags and transitions."""

    @staticmethod
    def forward(
        ctx: Any, scores: Tensor, transitions: Tensor, first: Tensor, last: Tensor, bounds: NDArray[np.int64]
    ) -> Tensor:
        arrays = _arrays(scores, transitions, first, last)
        needs_gradient = any(ctx.needs_input_grad)
        totals, *expected = _sums(arrays, bounds, needs_gradient)
        if needs_gradient:
            ctx.bounds, ctx.arrays = bounds, arrays
            ctx.save_for_backward(scores, transitions, *(torch.from_numpy(each) for each in expected))
        exact = torch.promote_types(scores.dtype, torch.float32)
        return torch.from_numpy(totals).to(scores.device, exact)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        scores, transitions, unary, pairs, begins, ends = ctx.saved_tensors
        weights = grad.double().cpu()
        if not bool((weights == weights[:1]).all()):
            # The expected counts are summed over all sequences: with unequal weights each one needs its own.
            each = [_of_one(ctx.arrays, ctx.bounds, b) for b in range(len(weights))]
            pairs, begins, ends = (
                sum(weights[b] * torch.from_numpy(found[number]) for b, found in enumerate(each))
                for number in range(3)
            )
        else:
            pairs, begins, ends = (weights[0] * x for x in (pairs, begins, ends))
        lengths = torch.from_numpy(np.diff(ctx.bounds))
        d_scores = unary * torch.repeat_interleave(weights, lengths)[:, None]
        return d_scores.to(scores), *(x.to(transitions) for x in (pairs, begins, ends)), None


def _of_one(arrays: Arrays, bounds: NDArray[np.int64], row: int) -> tuple[Numbers, ...]:
    """Expected counts of transitions, first and last tags of one sequence."""
    scores, transitions, first, last = arrays
    own = scores[bounds[row] : bounds[row + 1]]
    return _sums((own, transitions, first, last), np.array([0, len(own)]), True)[2:]
