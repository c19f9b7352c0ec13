"""Which words decided a classification: the contribution of each word to the evidence for a label.

The evidence for a label is its logit minus the mean logit of the other labels, which for two labels is the log-odds; for
independent labels it is the logit. With several heads it is their mean. Three methods compute the contributions:

| method | for | contributions and bias sum to the evidence | cost of a text of W words |
|---|---|---|---|
| exact | a linear head on averaged vectors | exactly | one pass |
| occlusion | any network: the evidence minus that of the text without the word | no | W + 1 passes |
| gradients | networks on embeddings: integrated gradients (Sundararajan, Taly & Yan 2017) | up to the error of the sum over `STEPS` steps | `STEPS` passes with gradients |

A network explains itself (`ClassifierNetwork.explain`); one that can do better than `by_occlusion`, such as another linear model,
overrides that method.

Legend: B batch, T pieces of a text, K labels, P features, S steps, D width of an embedding.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.func import functional_call

from unfreeze.encoders.base import evaluating
from unfreeze.encoders.directions import module_name
from unfreeze.encoders.text_encoder import TextEncoder
from unfreeze.errors import UserError, setting
from unfreeze.tasks.heads import LinearHead
from unfreeze.text.words import split_words

if TYPE_CHECKING:
    from unfreeze.tasks.classifier_network import ClassifierNetwork

Method = Literal["exact", "occlusion", "gradients"]
STEPS = 64
"""Points between the baseline and the text at which integrated gradients are computed."""
MOST_SPANS = 200
"""Occlusion leaves out one word at a time, in longer texts groups of consecutive words: at most this number of groups."""
BATCH_TOKENS = 8_192
"""Size of a batch of interpolated texts."""


@dataclass(frozen=True)
class Contribution:
    """A word, or in long texts a few consecutive words, and what it adds to the evidence."""

    word: str
    start: int
    """Position of its first character in the text."""
    end: int
    """Position behind its last character."""
    contribution: float
    """Positive for the label, negative against it."""


@dataclass(frozen=True)
class Explanation:
    """Why a text gets a label."""

    label: str
    """The label that is explained."""
    method: Method
    """How the contributions were computed."""
    evidence: float
    """Log-odds of the label; of more than two labels, its logit minus the mean logit of the others."""
    bias: float | None
    """Evidence without any word: contributions and bias sum to the evidence. None for occlusion, which does not sum up."""
    words: list[Contribution]
    """In the order of the text."""

    def as_dict(self) -> dict[str, Any]:
        """The explanation as JSON types."""
        return asdict(self)

    def strongest(self, count: int) -> list[Contribution]:
        """The `count` words with the largest contributions in either direction, strongest first."""
        return sorted(self.words, key=lambda each: -abs(each.contribution))[:count]


@dataclass(frozen=True)
class Contributions:
    """What a network finds for one text and label; `Explanation` adds the name of the label."""

    method: Method
    evidence: float
    bias: float | None
    words: list[Contribution]


@dataclass(frozen=True)
class PieceVectors:
    """A text as vectors whose mean is the features of each head."""

    vectors: dict[str, Tensor]
    """(T, P) for each head."""
    offsets: list[tuple[int, int]]
    """Start and end of each piece in the text; (0, 0) for symbols that are not in it."""


def explain_text(
    network: ClassifierNetwork, text: str, target: int, method: Method | None = None
) -> Contributions:
    """The contributions of the words of a text to the evidence for the label number `target`.

    Args:
        method: None for exact contributions where there are any, otherwise occlusion.

    Raises:
        UserError: the network does not support the method.
    """
    if method is None:
        method = "exact" if _is_linear(network, text) else "occlusion"
    if method == "exact":
        return exact(network, text, target)
    if method == "gradients":
        return by_gradients(network, text, target)

    def evidence(texts: Sequence[str]) -> NDArray[np.float64]:
        device = next(network.parameters()).device
        features = network.read_all(network.body.inputs(list(texts)))
        with torch.no_grad(), evaluating(network):
            found = network.evidence({name: x.to(device) for name, x in features.items()})
        return found.double().cpu().numpy()

    return by_occlusion(evidence, text, target)


# Exact


def _is_linear(network: ClassifierNetwork, text: str) -> bool:
    """Whether the logits are linear in the mean of one vector a piece."""
    heads = network.heads.values()
    return (
        all(isinstance(head, LinearHead) for head in heads) and network.body.piece_vectors(text) is not None
    )


@torch.no_grad()
def exact(network: ClassifierNetwork, text: str, target: int) -> Contributions:
    """Contributions of the words to a linear function of their mean vector.

    A word counts relative to the mean of the training texts, by which the head normalizes. The bias is that of the head and what
    the begin-of-text symbol adds.

    Raises:
        UserError: the head is not linear, or its features are not a mean of one vector a piece.
    """
    pieces = network.body.piece_vectors(text) if _is_linear(network, text) else None
    if pieces is None:
        raise UserError(
            "exact contributions need a linear head on averaged vectors: use another method, "
            f"or fit with {setting('pooling', 'vectors')} and {setting('head', 'linear')}"
        )
    total, bias = np.zeros(len(pieces.offsets)), 0.0
    with evaluating(network):
        for name, vectors in pieces.vectors.items():
            head = network.heads[module_name(name)]
            assert isinstance(head, LinearHead)
            standardized = head.norm(vectors.float()).double()  # (T, P)
            weight, own = head.linear.weight.double(), head.linear.bias.double()
            both = torch.cat([weight, own[:, None]], dim=1)  # (K, P + 1)
            margin = both[target] if network.multi_label else both[target] - _others(both, target)
            total += (standardized @ margin[:-1]).cpu().numpy() / len(standardized)
            bias += float(margin[-1])
    n_heads = len(pieces.vectors)
    total, bias = total / n_heads, bias / n_heads
    words, rest = _by_word(text, pieces.offsets, total)
    return Contributions("exact", bias + float(total.sum()), bias + rest, words)


def _others(rows: Tensor, target: int) -> Tensor:
    """The mean of all rows (K, ...) but one."""
    return (rows.sum(0) - rows[target]) / (len(rows) - 1)


def _by_word(
    text: str, offsets: Sequence[tuple[int, int]], values: NDArray[np.float64]
) -> tuple[list[Contribution], float]:
    """The sum of the values of each word's pieces, its marks (such as that of a capital) included; and what belongs to no word."""
    words = split_words(text)
    starts = [word.start for word in words]
    sums, rest = np.zeros(len(words)), 0.0
    for (start, end), value in zip(offsets, values.tolist(), strict=True):
        place = bisect_right(starts, start) - 1
        if end > start and place >= 0:
            sums[place] += value
        else:
            rest += value
    found = [
        Contribution(word.text, word.start, word.end, value)
        for word, value in zip(words, sums.tolist(), strict=True)
    ]
    return found, rest


# Any network


def by_occlusion(
    evidence: Callable[[Sequence[str]], NDArray[np.float64]], text: str, target: int
) -> Contributions:
    """The evidence minus that of the text without the word (leave-one-out; Li, Monroe & Jurafsky 2016).

    Args:
        evidence: of texts, a row of K labels for each.
    """
    words = split_words(text)
    size = max(1, -(-len(words) // MOST_SPANS))
    groups = [words[first : first + size] for first in range(0, len(words), size)]
    spans = [(group[0].start, group[-1].end) for group in groups]
    whole, *without = evidence([text, *(f"{text[:start]} {text[end:]}" for start, end in spans)])[:, target]
    found = [
        Contribution(text[start:end], start, end, float(whole - left))
        for (start, end), left in zip(spans, without, strict=True)
    ]
    return Contributions("occlusion", float(whole), None, found)


# Integrated gradients


def by_gradients(network: ClassifierNetwork, text: str, target: int, steps: int = STEPS) -> Contributions:
    """Integrated gradients on the embeddings, from a text of zero vectors to this one (equation 3 of the paper, midpoint rule).

    Raises:
        UserError: the network does not look up embeddings, or the text is longer than gradients reach.
    """
    body = network.body
    tables, most = body.embedding_tables(), body.gradient_tokens
    if not tables:
        raise UserError(
            "integrated gradients need pooled states of a language model or word vectors: "
            f"{setting('explain_by', 'occlusion')} explains every classifier"
        )
    assert isinstance(network.encoder, TextEncoder)
    pieces = network.encoder.tokenizer.encode(text)
    length = len(pieces.ids)
    if length > most:
        raise UserError(
            f"integrated gradients reach {most:,} tokens, and the text has {length:,}: "
            f"use {setting('explain_by', 'occlusion')}"
        )
    device = next(network.parameters()).device
    ids = torch.tensor(pieces.ids, device=device)
    # The rows (T, D) that the text looks up; symbols that are not in the text, such as its begin, keep their vectors.
    rows = {name: table.detach()[ids].float() for name, table in tables.items()}
    in_text = torch.tensor([end > start for start, end in pieces.offsets], device=device)[:, None]
    gradients = {name: torch.zeros_like(row) for name, row in rows.items()}
    at_once = max(1, BATCH_TOKENS // length)
    points = (torch.arange(steps, device=device) + 0.5) / steps
    # cuDNN's recurrent layers have no gradient in evaluation mode.
    with evaluating(network), torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
        for part in torch.split(points, at_once):
            scale = torch.where(in_text, part[:, None, None], 1.0)  # (S, T, 1)
            looked_up = {n: (scale * row).flatten(0, 1).requires_grad_() for n, row in rows.items()}
            places = np.arange(len(part) * length, dtype=np.uint32).reshape(len(part), length)
            # Directions may share the module of their embedding, which is replaced once.
            features = functional_call(body, dict(looked_up), (list(places),), tie_weights=False)
            total = network.evidence(features)[:, target].sum()
            for name, found in zip(
                looked_up, torch.autograd.grad(total, list(looked_up.values())), strict=True
            ):
                gradients[name] += found.reshape(len(part), length, -1).sum(0)
    values = sum((row * gradients[name] * in_text / steps).sum(1) for name, row in rows.items())
    assert isinstance(values, Tensor)
    with torch.no_grad(), evaluating(network):
        ends = {name: torch.cat([row * ~in_text, row]) for name, row in rows.items()}
        both = list(np.arange(2 * length, dtype=np.uint32).reshape(2, length))
        features = functional_call(body, ends, (both,), tie_weights=False)
        bias, evidence = network.evidence(features)[:, target].tolist()
    words, _ = _by_word(text, pieces.offsets, values.double().cpu().numpy())
    return Contributions("gradients", evidence, bias, words)
