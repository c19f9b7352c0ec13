"""Output layer of a language model: softmax over the vocabulary, tied to the embedding (Press & Wolf 2017).

The full softmax works in chunks of rows, so that the logits of a batch (1.1 GB for 17,920 positions and 16,000
subwords) never exist all at once, and computes the gradient of each chunk along with its loss, so that no logits are
computed twice. The adaptive softmax (Grave et al. 2017) needs a vocabulary sorted by frequency. It has a head over the
most frequent words and one entry per cluster of rarer ones, and scores the words of a cluster only where the target is
in it. It is tied to the embedding at full width and normalized exactly.

Shapes: N positions, V vocabulary, E width, K clusters, C columns of a part (the head or a cluster).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from unfreeze.encoders.layers.parallel import KERNEL_FORMATS
from unfreeze.encoders.layers.products import compute_type, weight_gradient
from unfreeze.encoders.layers.softmax_kernel import PADDING_BIAS, normalize_rows
from unfreeze.errors import UserError

CHUNK_BYTES = 1 << 26
"""Size of a chunk of logits; larger chunks mean fewer passes over the gradient of the whole vocabulary."""
ROWS = 64
"""The rows of a cluster are padded to a multiple of this on a CPU in bf16."""
BLOCK_ELEMENTS = 1 << 17
"""Logits that are converted to their gradient at once: 512 KB in fp32, which fits into the cache."""
SCORED_ELEMENTS = 1 << 20
"""Logits per chunk without gradients: evaluation needs less memory than training, and is no slower."""

SMOOTHING_COUNT = 0.5
"""Added to the count of each word, so that a word with count 0 has a finite bias."""


class TiedSoftmax(nn.Module):
    """Biases and cluster entries of a softmax whose weight matrix is the embedding, passed to each call.

    Args:
        vocabulary_size: V.
        width: E.
        cutoffs: ascending ids at which clusters begin, such as (2000, 8000); empty for the full softmax.
    """

    def __init__(self, vocabulary_size: int, width: int, cutoffs: Sequence[int] = ()) -> None:
        super().__init__()
        bounds = [0, *cutoffs, vocabulary_size]
        if any(low >= high for low, high in pairwise(bounds)):
            raise UserError(f"cutoffs must ascend and stay below {vocabulary_size}, got {list(cutoffs)}")
        self.cutoffs = tuple(cutoffs)
        self.bounds = bounds
        self.bias = nn.Parameter(torch.zeros(vocabulary_size))
        self.cluster_weight = nn.Parameter(torch.zeros(len(self.cutoffs), width))
        self.cluster_bias = nn.Parameter(torch.zeros(len(self.cutoffs)))

    @torch.no_grad()
    def start_from_counts(self, counts: Sequence[int]) -> None:
        """Initialize the biases from word counts (V,), so that the layer predicts each word with its frequency.

        Otherwise the layers below learn the frequencies first, through a state that is the same at all positions. This
        drives an untrained LSTM into saturation, where its gradients vanish, for thousands of updates.
        """
        weights = torch.tensor(counts, dtype=torch.float64, device=self.bias.device) + SMOOTHING_COUNT
        total = weights.sum()
        self.bias.copy_((weights / total).log())
        for cluster, (low, high) in enumerate(pairwise(self.bounds[1:])):
            cluster_total = weights[low:high].sum()
            self.bias[low:high] = (weights[low:high] / cluster_total).log().to(self.bias)
            self.cluster_bias[cluster] = (cluster_total / total).log()

    def loss(self, hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
        """Return the summed negative log-likelihood in nats.

        Args:
            hidden: (N, E).
            weight: the embedding (V, E).
            targets: word ids (N,).
        """
        result: Tensor = _SoftmaxLoss.apply(  # type: ignore[no-untyped-call]
            hidden,
            weight,
            self.bias,
            self.cluster_weight,
            self.cluster_bias,
            targets,
            self.bounds,
            compute_type(hidden),
        )
        return result

    @torch.no_grad()
    def target_log_probabilities(self, hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
        """Return log p(target) of each position in nats: (N, E), (V, E), (N,) -> (N,) in fp32."""
        result = hidden.new_zeros(len(targets), dtype=torch.float32)
        for part in _parts(weight, self.bias, self.cluster_weight, self.cluster_bias, targets, self.bounds):
            for rows, labels in part.chunks(SCORED_ELEMENTS):
                logits = part.logits(hidden[rows].float())
                result[rows] += logits.gather(1, labels[:, None])[:, 0] - logits.logsumexp(1)
        return result

    @torch.no_grad()
    def log_probabilities(self, hidden: Tensor, weight: Tensor) -> Tensor:
        """Return log p of all words at each position in nats: (N, E), (V, E) -> (N, V). Keep N small."""
        hidden = hidden.float()
        head_size = self.bounds[1]
        head_weight = torch.cat([weight[:head_size], self.cluster_weight])
        head_bias = torch.cat([self.bias[:head_size], self.cluster_bias])
        head = F.log_softmax(F.linear(hidden, head_weight, head_bias), dim=1)
        pieces = [head[:, :head_size]]
        for cluster, (low, high) in enumerate(pairwise(self.bounds[1:])):
            within = F.log_softmax(F.linear(hidden, weight[low:high], self.bias[low:high]), dim=1)
            pieces.append(within + head[:, head_size + cluster, None])
        return torch.cat(pieces, dim=1)

    def extra_repr(self) -> str:
        return f"vocabulary_size={self.bounds[-1]}, cutoffs={self.cutoffs}"


def default_cutoffs(vocabulary_size: int) -> tuple[int, ...]:
    """Return cutoffs that are fast for Zipf-distributed words; none if the vocabulary is too small to benefit."""
    return tuple(cutoff for cutoff in (2000, 8000) if cutoff * 2 <= vocabulary_size)


Rows = slice | Tensor


class _Part:
    """The head or one cluster: C columns, scored for the given rows (all if `rows` is None)."""

    def __init__(self, rows: Tensor | None, labels: Tensor, weight: Tensor, bias: Tensor) -> None:
        self.rows, self.labels, self.weight, self.bias = rows, labels, weight, bias

    def chunks(self, elements: int) -> list[tuple[Rows, Tensor]]:
        """Split into chunks of rows and labels of even size, with at most `elements` logits each."""
        n, columns = len(self.labels), len(self.weight) + -len(self.weight) % 16
        size = max(1, elements // columns)
        n_chunks = -(-n // size)
        bounds = [n * number // max(1, n_chunks) for number in range(n_chunks + 1)]
        slices = [slice(start, stop) for start, stop in pairwise(bounds)]
        return [(rows if self.rows is None else self.rows[rows], self.labels[rows]) for rows in slices]

    def logits(self, hidden: Tensor) -> Tensor:
        """(n, E) -> (n, C) in fp32."""
        return F.linear(hidden, self.weight.to(hidden.dtype), self.bias.to(hidden.dtype)).float()


def _parts(
    weight: Tensor,
    bias: Tensor,
    cluster_weight: Tensor,
    cluster_bias: Tensor,
    targets: Tensor,
    bounds: list[int],
) -> list[_Part]:
    """The head, in which rare words are represented by their cluster, then each cluster with the rows in it."""
    if len(bounds) == 2:
        return [_Part(None, targets, weight, bias)]
    head_size = bounds[1]
    inner = torch.tensor(bounds[1:-1], device=targets.device)
    cluster_of = torch.bucketize(targets, inner, right=True)  # 0: the head
    head_labels = torch.where(cluster_of == 0, targets, head_size + cluster_of - 1)
    head_weight = torch.cat([weight[:head_size], cluster_weight])
    parts = [_Part(None, head_labels, head_weight, torch.cat([bias[:head_size], cluster_bias]))]
    for cluster, (low, high) in enumerate(pairwise(bounds[1:]), 1):
        rows = (cluster_of == cluster).nonzero()[:, 0]
        parts.append(_Part(rows, targets[rows] - low, weight[low:high], bias[low:high]))
    return parts


class _SoftmaxLoss(torch.autograd.Function):
    """Computes loss and gradients in one pass over the chunks; backward only scales the gradients.

    The logits of a chunk are converted to their gradient in place, in the format of the matrix products and a few rows
    at a time, so that they stay in the cache. The gradient of a large vocabulary takes as much memory as the rest of
    a step, so its rows are not filled with zeros first, and are written only once if a single chunk suffices.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor,
        cluster_weight: Tensor,
        cluster_bias: Tensor,
        targets: Tensor,
        bounds: list[int],
        compute: torch.dtype,
    ) -> Tensor:
        total = hidden.new_zeros((), dtype=torch.float64 if hidden.dtype == torch.float64 else torch.float32)
        needs_gradient, needs_weight_gradient = any(ctx.needs_input_grad), ctx.needs_input_grad[1]
        d_hidden = torch.empty_like(hidden)
        d_weight = weight.new_empty(weight.shape) if needs_weight_gradient else None
        d_bias, d_cluster_weight, d_cluster_bias = (
            torch.zeros_like(tensor) for tensor in (bias, cluster_weight, cluster_bias)
        )
        for number, part in enumerate(_parts(weight, bias, cluster_weight, cluster_bias, targets, bounds)):
            words = slice(bounds[number], bounds[number + 1])
            size = bounds[number + 1] - bounds[number]
            chunks = part.chunks(CHUNK_BYTES // compute.itemsize)
            if not chunks:
                if d_weight is not None:
                    d_weight[words] = 0.0
                continue
            weight_c, part_bias = _padded_columns(part.weight, part.bias, compute)
            for chunk, (rows, labels) in enumerate(chunks):
                hidden_c = _padded_rows(hidden[rows].to(compute))
                logits, n = F.linear(hidden_c, weight_c), len(labels)
                d_part_bias = torch.zeros_like(part_bias)
                total += _nll_and_gradient(logits[:n], part_bias, labels, d_part_bias)
                if not needs_gradient:
                    continue
                logits[n:] = 0.0
                product = (logits @ weight_c)[:n].to(hidden.dtype)
                if isinstance(rows, slice):  # the head comes first and covers each row once
                    d_hidden[rows] = product
                else:
                    d_hidden.index_add_(0, rows, product)
                d_bias[words] += d_part_bias[:size]
                if number == 0:
                    d_cluster_bias += d_part_bias[size : size + len(cluster_bias)]
                if d_weight is None and (number > 0 or not len(cluster_weight)):
                    continue
                if d_weight is not None and len(weight_c) == size and weight.dtype == torch.float32:
                    weight_gradient(logits, hidden_c, d_weight[words], add=chunk > 0)
                    continue
                d_part = weight_gradient(logits, hidden_c).to(weight.dtype)
                if d_weight is not None:
                    d_weight[words] = d_part[:size] + (d_weight[words] if chunk > 0 else 0.0)
                if number == 0:
                    d_cluster_weight += d_part[size : size + len(cluster_weight)]
        # Not save_for_backward: backward returns these tensors, and the next gradients are added to them in place.
        ctx.gradients = (
            (d_hidden, d_weight, d_bias, d_cluster_weight, d_cluster_bias) if needs_gradient else None
        )
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        gradients: tuple[Tensor | None, ...] | None = ctx.gradients
        if gradients is None:
            raise RuntimeError(
                "backward of a softmax loss can run only once, as its gradients are not kept: run forward again"
            )
        if grad.dtype == torch.float64:  # gradient checks run several backward passes
            return *(None if found is None else found * grad for found in gradients), None, None, None
        ctx.gradients = None
        if grad.device.type != "cpu" or float(grad) != 1.0:
            for found in gradients:
                if found is not None:
                    found.mul_(grad.to(found.dtype))
        return *gradients, None, None, None


def _padded_rows(hidden: Tensor) -> Tensor:
    # The number of rows in a cluster differs from step to step, and oneDNN compiles a kernel for each new size:
    # pad with rows of zeros to a multiple of ROWS.
    missing = -len(hidden) % ROWS
    if not missing or hidden.device.type != "cpu" or hidden.dtype != torch.bfloat16:
        return hidden
    return F.pad(hidden, (0, 0, 0, missing))


def _padded_columns(weight: Tensor, bias: Tensor, compute: torch.dtype) -> tuple[Tensor, Tensor]:
    """Weight of a part in the compute format, and its bias, padded to a multiple of 16 columns."""
    columns = len(weight) + -len(weight) % 16
    weight_c = weight.new_empty(columns, weight.shape[1], dtype=compute)
    weight_c[: len(weight)] = weight
    weight_c[len(weight) :] = 0.0
    return weight_c, F.pad(bias, (0, columns - len(bias)), value=PADDING_BIAS)


def _nll_and_gradient(logits: Tensor, bias: Tensor, labels: Tensor, d_bias: Tensor) -> Tensor | float:
    """Return the summed loss of a chunk, and replace its logits (n, C) without bias by softmax - one_hot.

    The sums over the rows are added to d_bias (C,).
    """
    if logits.device.type == "cpu" and bias.dtype == torch.float32 and logits.dtype in KERNEL_FORMATS:
        return normalize_rows(logits, bias, labels, d_bias)
    size = max(1, BLOCK_ELEMENTS // logits.shape[1])
    totals = []
    for rows, wanted in zip(torch.split(logits, size), torch.split(labels[:, None], size), strict=True):
        block = rows.to(bias.dtype)  # a copy, unless the formats are equal
        block += bias
        of_targets = block.gather(1, wanted)
        largest = block.amax(1, keepdim=True)
        normalizer = block.sub_(largest).exp_().sum(1, keepdim=True)
        totals.append((normalizer.log() + largest - of_targets).sum())
        block.div_(normalizer)
        block.scatter_add_(1, wanted, block.new_full(wanted.shape, -1.0))
        if block.dtype != rows.dtype:
            rows.copy_(block)
        d_bias += block.sum(0)
    return torch.stack(totals).sum()
