"""Translation as an objective of the training loop: the negative log-likelihood of the translations' tokens.

Legend: B pairs of a batch, S words of the longest source, N tokens of all targets.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch
from torch import Tensor

from unfreeze.datasets.batches import bucketed_batches
from unfreeze.encoders.layers.bi_lstm import Packing
from unfreeze.pretraining.translation.translator import Translator
from unfreeze.text.batches import pad_sequences
from unfreeze.text.pairs import PairSet
from unfreeze.training.objective import Loss, SeparateExamples
from unfreeze.transfer.policies import LayerGroups

TEXTS_AT_ONCE = 10_000
SCORED_PAIRS = 128
"""Pairs of a batch without gradients."""


class EncodedTexts:
    """The ids of texts, one after the other in one array: lists of Python integers take up to nine times the memory.

    Args:
        encode: texts -> the ids of each, a part of the texts at a time.
        texts: the texts.
    """

    def __init__(self, encode: Callable[[Sequence[str]], list[list[int]]], texts: Sequence[str]) -> None:
        parts, lengths = [np.zeros(0, np.uint32)], [0]
        for start in range(0, len(texts), TEXTS_AT_ONCE):
            found = encode(texts[start : start + TEXTS_AT_ONCE])
            lengths += map(len, found)
            parts.append(np.fromiter(chain.from_iterable(found), np.uint32))
        self.ids, self.ends = np.concatenate(parts), np.cumsum(lengths)
        self.lengths: list[int] = lengths[1:]

    def __getitem__(self, number: int) -> list[int]:
        ids: list[int] = self.ids[self.ends[number] : self.ends[number + 1]].tolist()
        return ids


@dataclass(frozen=True)
class EncodedPairs:
    """Pairs as ids: those of the words of the sources, and those of the tokens of the targets, which begin with xxbos."""

    sources: EncodedTexts
    targets: EncodedTexts

    @classmethod
    def of(cls, translator: Translator, pairs: PairSet) -> EncodedPairs:
        """The pairs as the tokenizers of a translator encode them."""
        return cls(
            EncodedTexts(translator.encoder.piece_ids, pairs.sources),
            EncodedTexts(translator.target.encode_ids, pairs.targets),
        )


class TranslationObjective(SeparateExamples):
    """Train a translator on pairs.

    Args:
        translator: trained in place.
        pairs: to learn from.
        validation: held-out pairs; None skips validation.
        train_vectors: whether the word vectors of the source are trained.
        batch_size, seed, rank, world_size: as in `SeparateExamples`.
    """

    def __init__(
        self,
        translator: Translator,
        pairs: EncodedPairs,
        validation: EncodedPairs | None = None,
        *,
        train_vectors: bool = True,
        batch_size: int = 64,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        super().__init__(
            translator,
            pairs.targets.lengths,
            batch_size=batch_size,
            seed=seed,
            rank=rank,
            world_size=world_size,
        )
        self.translator, self.pairs, self.validation = translator, pairs, validation
        self.train_vectors = train_vectors

    def layer_groups(self) -> LayerGroups:
        """The layers of the encoder, without frozen word vectors, and then the decoder."""
        vectors, *lstms = self.translator.encoder.layer_groups()
        if not self.train_vectors:
            for parameter in vectors:
                parameter.requires_grad_(False)
        decoder = [p for name, p in self.translator.named_parameters() if not name.startswith("encoder.")]
        return [*([vectors] if self.train_vectors else []), *lstms, decoder]

    def loss(self, batch: Sequence[int]) -> Loss:
        """The summed negative log-likelihood of the tokens of these pairs, and of the ends of their translations."""
        return translation_loss(self.translator, self.pairs, batch)

    def validate(self) -> dict[str, float]:
        """Loss and perplexity of a token of the held-out pairs; the score is the loss, negated."""
        if self.validation is None:
            return {}
        mean, _ = mean_loss(self.translator, self.validation)
        return {"loss": mean, "perplexity": perplexity_of(mean), "score": -mean}


def perplexity_of(loss: float) -> float:
    """The perplexity of a mean loss in nats; infinite beyond the range of numbers."""
    try:
        return math.exp(loss)
    except OverflowError:
        return math.inf


def mean_loss(translator: Translator, pairs: EncodedPairs) -> tuple[float, int]:
    """The mean negative log-likelihood of a token of the translations in nats, their ends included, and the number of tokens."""
    total, n_tokens = 0.0, 0
    for numbers in bucketed_batches(pairs.targets.lengths, batch_size=SCORED_PAIRS):
        loss = translation_loss(translator, pairs, numbers)
        total, n_tokens = total + float(loss.total), n_tokens + loss.n_items
    return total / n_tokens, n_tokens


def translation_loss(translator: Translator, pairs: EncodedPairs, numbers: Sequence[int]) -> Loss:
    """The summed loss of some pairs, which may be none: the last batch can have fewer pairs than there are processes."""
    if not numbers:
        return Loss(translator.output.bias.sum() * 0.0, 0)
    chosen = sorted(numbers, key=lambda number: -pairs.targets.lengths[number])
    batch = translator.encoder.batch_of_ids([pairs.sources[number] for number in chosen])
    ids, lengths = pad_sequences([pairs.targets[number] for number in chosen], translator.target.pad_id)
    ids, lengths = ids.to(batch.ids.device), lengths.to(batch.ids.device)
    packing = Packing(lengths)
    ends = torch.full_like(ids[:, :1], translator.target.bos_id)
    following = torch.cat([ids[:, 1:], ends], dim=1).scatter(
        1, lengths[:, None] - 1, translator.target.bos_id
    )
    found: Tensor = translator.loss(batch, packing.pack(ids), packing.pack(following), packing)
    return Loss(found, len(packing.text))
