"""A linear-chain conditional random field over tags (Lafferty, McCallum & Pereira 2001): our own, compiled.

    log p(y | x) = first(y_1) + sum_t score_t(y_t) + sum_t transition(y_t, y_(t+1)) + last(y_n) - log Z

Sequences come without padding, one after the other, so that nothing is masked. The sums and their gradients (the
marginals) are exact and found in one pass forward and one back; which tag may follow which is a mask that holds in training
and in decoding alike.

Legend: B sequences, N positions of all of them, K tags.
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
"""Sequences that are worth a thread."""
Numbers = NDArray[np.float64]
Arrays = tuple[Numbers, Numbers, Numbers, Numbers]
"""Scores (N, K), transitions (K, K), first (K,) and last (K,)."""
Allowed = tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]
"""Which tag may follow which (K, K), begin (K,) and end (K,) a sequence."""


class Crf(nn.Module):
    """Transitions between K tags.

    Args:
        n_tags: K.
        allowed: what is possible at all; everything by default.
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
        """Transitions, first and last, with -inf for what is forbidden."""
        named = (("pairs", self.transitions), ("begins", self.first), ("ends", self.last))
        masks = dict(self.named_buffers())
        pairs, begins, ends = (x.masked_fill(masks[f"{name}_forbidden"], -torch.inf) for name, x in named)
        return pairs, begins, ends

    def log_likelihood(self, scores: Tensor, tags: Tensor, lengths: Sequence[int]) -> Tensor:
        """(B,) log p of each sequence's tags: (N, K), (N,) and B lengths of at least 1.

        Tags that are forbidden have -inf.
        """
        transitions, first, last = self.parameters_masked()
        bounds = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        totals: Tensor = _LogPartition.apply(scores, transitions, first, last, bounds)  # type: ignore[no-untyped-call]
        starts = torch.from_numpy(bounds[:-1]).to(tags.device)
        stops = torch.from_numpy(bounds[1:] - 1).to(tags.device)
        own = scores.gather(1, tags[:, None])[:, 0].to(totals.dtype)
        steps = torch.zeros_like(own)
        inner = torch.ones(len(tags), dtype=torch.bool, device=tags.device)
        inner[starts] = False
        places = inner.nonzero()[:, 0]
        steps[places] = transitions[tags[places - 1], tags[places]].to(steps.dtype)
        row = torch.repeat_interleave(
            torch.arange(len(lengths), device=tags.device), torch.tensor(lengths, device=tags.device)
        )
        found = torch.zeros_like(totals).index_add(0, row, own + steps)
        return found + first[tags[starts]] + last[tags[stops]] - totals

    @torch.no_grad()
    def marginals(self, scores: Tensor, lengths: Sequence[int]) -> Tensor:
        """(N, K) probability of each tag at each position."""
        bounds = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        arrays = _arrays(scores, *self.parameters_masked())
        return torch.from_numpy(_sums(arrays, bounds, True)[1]).float()

    @torch.no_grad()
    def decode(self, scores: Tensor, lengths: Sequence[int]) -> tuple[NDArray[np.int64], Numbers]:
        """The best tags (N,) of each sequence, one after the other, and their scores (B,) before log Z is taken off."""
        bounds = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        tags, best = np.empty(int(bounds[-1]), dtype=np.int64), np.empty(len(lengths))
        own, transitions, first, last = _arrays(scores, *self.parameters_masked())

        def part(low: int, high: int) -> None:
            best_paths(own, bounds[low : high + 1], transitions, first, last, tags, best[low:high])

        run_parallel([partial(part, low, high) for low, high in split_work(len(lengths), least=SEQUENCES)])
        return tags, best


def _arrays(scores: Tensor, transitions: Tensor, first: Tensor, last: Tensor) -> Arrays:
    tensors = (scores, transitions, first, last)
    a, b, c, d = (np.ascontiguousarray(tensor.detach().cpu().double().numpy()) for tensor in tensors)
    return a, b, c, d


def _sums(arrays: Arrays, bounds: NDArray[np.int64], learns: bool) -> tuple[Numbers, ...]:
    """Totals (B,), marginals (N, K), and the expected transitions, beginnings and ends, summed over all sequences."""
    scores, transitions, first, last = arrays
    n_tags, n_rows = len(first), len(bounds) - 1
    totals = np.empty(n_rows)
    unary = np.zeros(scores.shape if learns else (0, n_tags))
    calls: list[Any] = []
    parts = []
    for low, high in split_work(n_rows, least=SEQUENCES):
        own = (np.zeros((n_tags, n_tags)), np.zeros(n_tags), np.zeros(n_tags))
        parts.append(own)
        arguments = (
            scores,
            bounds[low : high + 1],
            transitions,
            first,
            last,
            totals[low:high],
            unary,
            *own,
            learns,
        )
        calls.append(partial(sum_paths, *arguments))
    run_parallel(calls)
    return totals, unary, *(np.sum([part[number] for part in parts], axis=0) for number in range(3))


class _LogPartition(torch.autograd.Function):
    """log Z of each sequence; the gradient is how often each tag and transition is expected."""

    @staticmethod
    def forward(
        ctx: Any, scores: Tensor, transitions: Tensor, first: Tensor, last: Tensor, bounds: NDArray[np.int64]
    ) -> Tensor:
        arrays = _arrays(scores, transitions, first, last)
        learns = any(ctx.needs_input_grad)
        totals, *expected = _sums(arrays, bounds, learns)
        if learns:
            ctx.bounds, ctx.arrays = bounds, arrays
            ctx.save_for_backward(scores, transitions, *(torch.from_numpy(each) for each in expected))
        exact = torch.promote_types(scores.dtype, torch.float32)
        return torch.from_numpy(totals).to(scores.device, exact)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        scores, transitions, unary, pairs, begins, ends = ctx.saved_tensors
        weights = grad.double().cpu()
        if not bool(
            (weights == weights[:1]).all()
        ):  # sequences weigh differently: their own sums, one by one
            each = [_of_one(ctx.arrays, ctx.bounds, b) for b in range(len(weights))]
            pairs, begins, ends = (
                sum(weights[b] * torch.from_numpy(found[number]) for b, found in enumerate(each))
                for number in range(3)
            )
        else:
            pairs, begins, ends = (weights[0] * x for x in (pairs, begins, ends))
        lengths = torch.from_numpy(np.diff(ctx.bounds))
        d_scores = unary * torch.repeat_interleave(weights, lengths)[:, None]
        like = transitions
        return d_scores.to(scores), pairs.to(like), begins.to(like), ends.to(like), None


def _of_one(arrays: Arrays, bounds: NDArray[np.int64], row: int) -> tuple[Numbers, ...]:
    """Expected transitions, beginnings and ends of one sequence."""
    scores, transitions, first, last = arrays
    own = scores[bounds[row] : bounds[row + 1]]
    return _sums((own, transitions, first, last), np.array([0, len(own)]), True)[2:]
