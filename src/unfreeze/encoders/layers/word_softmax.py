"""Output layer of a biLM: a softmax over whole words with its own weights, shared by both directions.

It is full, adaptive (output.py), or sampled: the target against a few thousand words drawn log-uniformly by rank without
replacement, with scores corrected by the expected counts (Jean et al. 2015; candidate sampling in TensorFlow). The
sampled loss is smaller than the true one, so it is used in training only; evaluation is always exact.

Shapes: N positions, V vocabulary (sorted by frequency), P width, K samples.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from unfreeze.encoders.layers.output import BLOCK_ELEMENTS, TiedSoftmax, default_cutoffs
from unfreeze.encoders.layers.products import compute_type

SoftmaxKind = Literal["adaptive", "full", "sampled"]


class WordSoftmax(nn.Module):
    """Softmax over V words.

    Args:
        vocabulary_size: V.
        width: P.
        kind: `adaptive`, `full`, or `sampled`, which trains on samples and evaluates in full.
        n_samples: K.
    """

    def __init__(
        self, vocabulary_size: int, width: int, kind: SoftmaxKind = "adaptive", n_samples: int = 8192
    ) -> None:
        super().__init__()
        self.kind, self.n_samples = kind, n_samples
        self.weight = nn.Parameter(torch.empty(vocabulary_size, width).normal_(std=width**-0.5))
        cutoffs = default_cutoffs(vocabulary_size) if kind == "adaptive" else ()
        self.layer = TiedSoftmax(vocabulary_size, width, cutoffs)

    def loss(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """Return the summed negative log-likelihood in nats for (N, P) and ids (N,); in training sampled, if `kind` says so."""
        is_sampled = self.training and self.kind == "sampled" and self.n_samples < len(self.weight)
        if not is_sampled:
            return self.layer.loss(hidden, self.weight, targets)
        drawn, tries = draw_unique(len(self.weight), self.n_samples, int(torch.randint(2**62, ())))
        result: Tensor = _SampledLoss.apply(  # type: ignore[no-untyped-call]
            hidden,
            self.weight,
            self.layer.bias,
            targets,
            torch.from_numpy(drawn).to(targets.device),
            tries,
            compute_type(hidden),
        )
        return result

    def target_log_probabilities(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """Return the exact log p(target) of each position: (N, P), (N,) -> (N,)."""
        return self.layer.target_log_probabilities(hidden, self.weight, targets)

    def log_probabilities(self, hidden: Tensor) -> Tensor:
        """Return the exact log p of all words: (N, P) -> (N, V). Keep N small."""
        return self.layer.log_probabilities(hidden, self.weight)


def log_uniform(ids: Tensor, size: int) -> Tensor:
    """Return the probability of each id in one draw, log((k + 2) / (k + 1)) / log(V + 1): (N,) -> (N,)."""
    ranks = ids.double()
    return ((ranks + 2) / (ranks + 1)).log() / math.log(size + 1)


def expected_counts(ids: Tensor, size: int, tries: int) -> Tensor:
    """Return the expected count of each id among the unique words of `tries` draws, 1 - (1 - p)**tries: (N,) -> (N,)."""
    return -torch.expm1(tries * torch.log1p(-log_uniform(ids, size)))


def draw_unique(size: int, count: int, seed: int) -> tuple[NDArray[np.int64], int]:
    """Draw log-uniformly until there are `count` unique ids below `size`.

    Returns:
        The ids (count,) in the order in which they were drawn, and the number of draws.
    """
    random = np.random.default_rng(seed)
    draws = np.empty(0, dtype=np.int64)
    while True:
        new = np.exp(random.random(4 * count) * np.log(size + 1)).astype(np.int64) - 1
        draws = np.concatenate([draws, np.minimum(new, size - 1)])
        found, firsts = np.unique(draws, return_index=True)
        if len(found) >= count:
            order = np.sort(firsts)[:count]
            return draws[order], int(order[-1]) + 1


class _SampledLoss(torch.autograd.Function):
    """Computes loss and gradients in one pass; backward only scales the gradients."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor,
        targets: Tensor,
        drawn: Tensor,
        tries: int,
        compute: torch.dtype,
    ) -> Tensor:
        size, exact = len(weight), torch.promote_types(hidden.dtype, torch.float32)
        correction = (bias[drawn] - expected_counts(drawn, size, tries).log().to(bias)).to(exact)
        of_targets = (hidden.to(exact) * weight[targets]).sum(1) + bias[targets]
        of_targets = of_targets - expected_counts(targets, size, tries).log().to(bias)
        hidden_c, weight_c = hidden.to(compute), weight[drawn].to(compute)
        logits = F.linear(hidden_c, weight_c)
        columns = torch.full((size,), -1, device=targets.device)
        columns[drawn] = torch.arange(len(drawn), device=targets.device)
        hits = columns[targets]  # to exclude targets that were also drawn from the samples
        total, d_targets = _normalize(logits, correction, of_targets, hits)
        if any(ctx.needs_input_grad):
            d_hidden = (logits @ weight_c).to(exact) + d_targets[:, None] * weight[targets]
            d_weight, d_bias = torch.zeros_like(weight), torch.zeros_like(bias)
            d_weight[drawn] = (logits.t() @ hidden_c).to(weight.dtype)
            d_bias[drawn] = logits.sum(0, dtype=exact).to(bias.dtype)
            d_weight.index_add_(0, targets, (d_targets[:, None] * hidden).to(weight.dtype))
            d_bias.index_add_(0, targets, d_targets.to(bias.dtype))
            ctx.save_for_backward(d_hidden.to(hidden.dtype), d_weight, d_bias)
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return *(saved * grad.to(saved.dtype) for saved in ctx.saved_tensors), None, None, None, None


def _normalize(logits: Tensor, correction: Tensor, of_targets: Tensor, hits: Tensor) -> tuple[Tensor, Tensor]:
    """Return the summed loss and the gradient of the target scores (N,); replace logits (N, K) by their gradient."""
    size = max(1, BLOCK_ELEMENTS // logits.shape[1])
    totals, d_targets = [], []
    for rows, own, hit in zip(
        *(torch.split(tensor, size) for tensor in (logits, of_targets, hits)), strict=True
    ):
        block = rows.to(own.dtype) + correction
        drawn = (hit >= 0).nonzero()[:, 0]
        block[drawn, hit[drawn]] = -torch.inf
        largest = torch.maximum(block.amax(1), own)
        share = (own - largest).exp()
        normalizer = block.sub_(largest[:, None]).exp_().sum(1) + share
        totals.append((normalizer.log() + largest - own).sum())
        rows.copy_(block.div_(normalizer[:, None]))
        d_targets.append(share / normalizer - 1.0)
    return torch.stack(totals).sum(), torch.cat(d_targets)
