"""The output layer of a language model: softmax over the vocabulary, tied to the embedding (Press & Wolf 2017).

Two forms. The full softmax works in chunks of rows: the logits of a batch (17,920 positions x 16,000 subwords are
1.1 GB) never exist at once, and the gradient is taken while a chunk's logits are there, so that nothing is computed
twice. The adaptive softmax (Grave et al. 2017) needs a frequency-sorted vocabulary: a head over the most frequent
words and one entry for each cluster of rarer ones; a cluster's words are scored only where the target is in it. It is
tied to the embedding at full width, and exact: log-probabilities sum to one over the vocabulary.

Legend: N positions, V vocabulary, E width, K clusters, C columns of a part (the head, or a cluster).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unfreeze.encoders.layers.softmax_kernel import NOWHERE, normalize_rows
from unfreeze.errors import UserError

CHUNK_ELEMENTS = 1 << 23
"""Logits that exist at once: 32 MB in fp32, wide enough for the matrix products."""
BLOCK_ELEMENTS = 1 << 17
"""Logits that become their gradient at once: 512 KB in fp32, which stays in the cache."""
KERNEL_TYPES = (torch.float32, torch.bfloat16)
SCORED_ELEMENTS = 1 << 20
"""Logits that exist at once where there is no gradient: measuring needs less memory than training, and is no slower."""

UNSEEN = 0.5
"""Occurrences that are added to those of each word."""


class TiedSoftmax(nn.Module):
    """Bias, and for the adaptive form the clusters' entries; the weight is the embedding's, passed in.

    Args:
        vocabulary_size: V.
        width: E.
        cutoffs: rising ids where clusters begin, for example (2000, 8000); empty for the full softmax.
    """

    def __init__(self, vocabulary_size: int, width: int, cutoffs: Sequence[int] = ()) -> None:
        super().__init__()
        bounds = [0, *cutoffs, vocabulary_size]
        if any(low >= high for low, high in zip(bounds, bounds[1:], strict=False)):
            raise UserError(
                f"cutoffs {list(cutoffs)} must rise and stay under the vocabulary's {vocabulary_size} entries"
            )
        self.cutoffs = tuple(cutoffs)
        self.bounds = bounds
        self.bias = nn.Parameter(torch.zeros(vocabulary_size))
        self.cluster_weight = nn.Parameter(torch.zeros(len(self.cutoffs), width))
        self.cluster_bias = nn.Parameter(torch.zeros(len(self.cutoffs)))

    @torch.no_grad()
    def start_from_counts(self, counts: Sequence[int]) -> None:
        """Start the biases from how often each word occurs, (V,): the layer then predicts a word by its frequency.

        Without this the layers below learn the frequencies first, at a state that is the same everywhere: a young LSTM is
        driven into saturation by it, where its gradients vanish, and stays there for thousands of updates.
        """
        weights = torch.tensor(counts, dtype=torch.float64, device=self.bias.device) + UNSEEN
        total = weights.sum()
        self.bias.copy_((weights / total).log())
        for cluster, (low, high) in enumerate(zip(self.bounds[1:], self.bounds[2:], strict=False)):
            share = weights[low:high].sum()
            self.bias[low:high] = (weights[low:high] / share).log().to(self.bias)
            self.cluster_bias[cluster] = (share / total).log()

    def loss(self, hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
        """Summed negative log-likelihood, in nats.

        Args:
            hidden: (N, E).
            weight: (V, E), the embedding.
            targets: (N,) of ids.
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
        """log p(target) of every position, in nats: (N, E), (V, E), (N,) -> (N,) in fp32."""
        result = hidden.new_zeros(len(targets), dtype=torch.float32)
        for part in _parts(weight, self.bias, self.cluster_weight, self.cluster_bias, targets, self.bounds):
            for rows, labels in part.chunks(SCORED_ELEMENTS):
                logits = part.logits(hidden[rows].float())
                result[rows] += logits.gather(1, labels[:, None])[:, 0] - logits.logsumexp(1)
        return result

    @torch.no_grad()
    def log_probabilities(self, hidden: Tensor, weight: Tensor) -> Tensor:
        """log p of every word at every position, in nats: (N, E), (V, E) -> (N, V). N x V floats: keep N small."""
        hidden = hidden.float()
        head_size = self.bounds[1]
        head = F.log_softmax(
            F.linear(
                hidden,
                torch.cat([weight[:head_size], self.cluster_weight]),
                torch.cat([self.bias[:head_size], self.cluster_bias]),
            ),
            dim=1,
        )
        pieces = [head[:, :head_size]]
        for cluster, (low, high) in enumerate(zip(self.bounds[1:], self.bounds[2:], strict=False)):
            within = F.log_softmax(F.linear(hidden, weight[low:high], self.bias[low:high]), dim=1)
            pieces.append(within + head[:, head_size + cluster, None])
        return torch.cat(pieces, dim=1)

    def extra_repr(self) -> str:
        """What `print(module)` shows."""
        return f"vocabulary_size={self.bounds[-1]}, cutoffs={self.cutoffs}"


def default_cutoffs(vocabulary_size: int) -> tuple[int, ...]:
    """Cutoffs that were fast on Zipf-like text; none where the vocabulary is too small to gain by them."""
    return tuple(cutoff for cutoff in (2000, 8000) if cutoff * 2 <= vocabulary_size)


class _Part:
    """The head or one cluster: C columns scored for the rows that need them."""

    def __init__(self, rows: Tensor, labels: Tensor, weight: Tensor, bias: Tensor) -> None:
        self.rows, self.labels, self.weight, self.bias = rows, labels, weight, bias

    def chunks(self, elements: int) -> list[tuple[Tensor, Tensor]]:
        """Row numbers and their labels within the part, at most `elements` logits at a time."""
        size = max(1, elements // (len(self.weight) + -len(self.weight) % 16))
        if not len(self.rows):
            return []
        return list(zip(torch.split(self.rows, size), torch.split(self.labels, size), strict=True))

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
    """The head, where a rare word counts as its cluster's entry, then each cluster with the rows that hit it."""
    everything = torch.arange(len(targets), device=targets.device)
    if len(bounds) == 2:
        return [_Part(everything, targets, weight, bias)]
    head_size = bounds[1]
    inner = torch.tensor(bounds[1:-1], device=targets.device)
    cluster_of = torch.bucketize(targets, inner, right=True)  # 0: the head
    head_labels = torch.where(cluster_of == 0, targets, head_size + cluster_of - 1)
    parts = [
        _Part(
            everything,
            head_labels,
            torch.cat([weight[:head_size], cluster_weight]),
            torch.cat([bias[:head_size], cluster_bias]),
        )
    ]
    for cluster, (low, high) in enumerate(zip(bounds[1:], bounds[2:], strict=False), 1):
        rows = (cluster_of == cluster).nonzero()[:, 0]
        parts.append(_Part(rows, targets[rows] - low, weight[low:high], bias[low:high]))
    return parts


def compute_type(hidden: Tensor) -> torch.dtype:
    """What the matrix products run in: autocast's type where it is on (custom functions do not see it by themselves)."""
    device = hidden.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype


class _SoftmaxLoss(torch.autograd.Function):
    """Loss and gradient in one pass over the chunks; backward only scales what forward found.

    A chunk's logits are turned into their own gradient where they lie, in the format of the matrix products and a few
    rows at a time, so that what is done to each of them happens in the cache.
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
        learns = any(ctx.needs_input_grad)
        inputs = (hidden, weight, bias, cluster_weight, cluster_bias)
        grads = [torch.zeros_like(tensor) for tensor in inputs] if learns else []
        for number, part in enumerate(_parts(weight, bias, cluster_weight, cluster_bias, targets, bounds)):
            weight_c, part_bias = _padded(part.weight, part.bias, compute)
            for rows, labels in part.chunks(CHUNK_ELEMENTS):
                hidden_c = hidden[rows].to(compute)
                logits = F.linear(hidden_c, weight_c)
                d_bias = torch.zeros_like(part_bias)
                total += _nll_and_gradient(logits, part_bias, labels, d_bias)
                if learns:
                    grads[0].index_add_(0, rows, (logits @ weight_c).to(hidden.dtype))
                    size = len(part.weight)
                    _add_to_part(grads, number, (hidden_c.T @ logits).T[:size], d_bias[:size], bounds)
        ctx.save_for_backward(*grads)
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return *(saved * grad.to(saved.dtype) for saved in ctx.saved_tensors), None, None, None


def _padded(weight: Tensor, bias: Tensor, compute: torch.dtype) -> tuple[Tensor, Tensor]:
    """A part's weight in the format of the products and its bias, with columns that no word has up to a multiple of 16."""
    columns = len(weight) + -len(weight) % 16
    weight_c = weight.new_zeros(columns, weight.shape[1], dtype=compute)
    weight_c[: len(weight)] = weight
    return weight_c, F.pad(bias, (0, columns - len(bias)), value=NOWHERE)


def _nll_and_gradient(logits: Tensor, bias: Tensor, labels: Tensor, d_bias: Tensor) -> Tensor | float:
    """The summed loss of a chunk; its logits (n, C), without the bias, become softmax - one_hot in place.

    d_bias (C,) is given their sums over the rows.
    """
    if logits.device.type == "cpu" and bias.dtype == torch.float32 and logits.dtype in KERNEL_TYPES:
        return normalize_rows(logits, bias, labels, d_bias)
    size = max(1, BLOCK_ELEMENTS // logits.shape[1])
    totals = []
    for rows, wanted in zip(torch.split(logits, size), torch.split(labels[:, None], size), strict=True):
        block = rows.to(bias.dtype)  # a copy, unless the products are in the bias's own format
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


def _add_to_part(grads: list[Tensor], number: int, weight: Tensor, bias: Tensor, bounds: list[int]) -> None:
    """Add the gradient of part `number` (0: the head with the clusters' entries) where its parameters live."""
    low, high = bounds[number], bounds[number + 1]
    size = high - low
    grads[1][low:high] += weight[:size]
    grads[2][low:high] += bias[:size]
    if number == 0:
        grads[3] += weight[size:]
        grads[4] += bias[size:]
