"""Text classification: an encoder, concat pooling and heads, and how they learn.

AWD-LSTM's two directions are two classifiers whose probabilities are averaged (Howard & Ruder 2018, section 4.1); a
biLSTM's two directions are pooled side by side for one head.

Legend: B batch, T time, K labels.
"""

from __future__ import annotations

import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from unfreeze.encoders.awd_lstm import StackedEncoder
from unfreeze.encoders.directions import module_name
from unfreeze.encoders.text_encoder import TextEncoder
from unfreeze.encoders.word_vectors import WordVectors
from unfreeze.tasks.heads import HEADS, Head
from unfreeze.tasks.objectives import SeparateExamples
from unfreeze.tasks.pooling import PIECE, Pooling, pool_documents, pooled_width
from unfreeze.text.batches import bucketed_batches, pad_sequences
from unfreeze.text.tokenizer_training import SPACE
from unfreeze.text.tokenizers import TextTokenizer
from unfreeze.training.objective import Loss
from unfreeze.transfer.policies import LayerGroups

Ids = NDArray[np.uint32]


class Network(nn.Module, ABC):
    """What a classifier is: an encoder, something that makes features of a text, and heads on them."""

    encoder: TextEncoder
    multi_label: bool
    """Whether labels are independent of each other (sigmoid), else exclusive (softmax)."""
    heads: nn.ModuleDict

    @abstractmethod
    def inputs(self, texts: Sequence[str]) -> list[Any]:
        """What is kept of texts, to be read again and again."""

    @abstractmethod
    def have_known_words(self, texts: Sequence[Any]) -> NDArray[np.bool_]:
        """(N,) whether each of `inputs` says anything: not where it is empty, or the network knows none of its words."""

    @abstractmethod
    def length(self, text: Any) -> int:
        """About how many positions one of `inputs` has: texts of similar lengths are read together."""

    @abstractmethod
    def read(self, texts: Sequence[Any]) -> dict[str, Tensor]:
        """Some of `inputs` -> the features of each head, (B, P)."""

    @abstractmethod
    def layer_groups(self) -> LayerGroups:
        """The encoder's groups, then what is new to the task."""

    def penalty(self) -> Tensor | None:
        """What is added to the loss of every batch."""
        return None

    def mix_shares(self) -> dict[str, list[float]]:
        """How much each layer of the encoder counts, where a mix of them is learned."""
        return {}

    def logits(self, features: dict[str, Tensor]) -> list[Tensor]:
        """(B, K) of every head."""
        return [self.heads[module_name(name)](x) for name, x in features.items()]

    def loss(self, features: dict[str, Tensor], targets: Tensor) -> Tensor:
        """Summed over the batch, averaged over heads; targets are (B,) ids, or (B, K) of 0 and 1 with many labels."""
        losses = []
        for logits in self.logits(features):
            if self.multi_label:
                losses.append(F.binary_cross_entropy_with_logits(logits.float(), targets, reduction="sum"))
            else:
                losses.append(F.cross_entropy(logits.float(), targets, reduction="sum"))
        return torch.stack(losses).mean()

    def probabilities(self, features: dict[str, Tensor]) -> Tensor:
        """(B, K), averaged over heads."""
        each = [
            torch.sigmoid(logits.float()) if self.multi_label else F.softmax(logits.float(), dim=1)
            for logits in self.logits(features)
        ]
        return torch.stack(each).mean(0)

    def own_tensors(self) -> dict[str, Tensor]:
        """What is saved beside the encoder."""
        return {name: t for name, t in self.state_dict().items() if not name.startswith("encoder.")}


class ClassifierNetwork(Network):
    """Encoder -> pooled document -> logits.

    Args:
        n_labels: K.
        multi_label: labels are independent of each other (sigmoid), else exclusive (softmax).
        pooling: what of the encoder's layers the heads see; `vectors` is the static ones alone where there are any.
        head: what stands on them.
        head_dropout: of the pooled features.
        word_vectors: width of static vectors whose mean stands beside the pooled states; 0 is none. They never move.
    """

    def __init__(
        self,
        encoder: StackedEncoder | WordVectors,
        n_labels: int,
        *,
        multi_label: bool = False,
        pooling: Pooling = "top",
        head: Head = "two-layer",
        head_dropout: float = 0.4,
        word_vectors: int = 0,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.multi_label = multi_label
        self.pooling: Pooling = pooling
        self.votes = encoder.votes
        self.body_groups = 0
        """The encoder's upper layer groups that are new to the task, and learn with the heads whatever its policy."""
        self.word_vectors: Tensor
        self.register_buffer(
            "word_vectors", torch.zeros(len(encoder.tokenizer) if word_vectors else 0, word_vectors)
        )
        widths = {name: self._pooled_width(name) for name in encoder.directions}
        sizes = widths if self.votes else {"joint": sum(widths.values())}
        sizes = {name: size + word_vectors for name, size in sizes.items()}
        self.heads = nn.ModuleDict(
            {module_name(name): HEADS[head](size, n_labels, head_dropout) for name, size in sizes.items()}
        )

    encoder: StackedEncoder | WordVectors

    def inputs(self, texts: Sequence[str]) -> list[Any]:
        """Texts as ids."""
        return [np.asarray(ids, dtype=np.uint32) for ids in self.encoder.tokenizer.encode_ids(list(texts))]

    def have_known_words(self, texts: Sequence[Ids]) -> NDArray[np.bool_]:
        """By the tokenizer's vocabulary, which is all that is read here: no n-grams of other words."""
        return np.array([self._known_words.has_one(text) for text in texts], dtype=np.bool_)

    @cached_property
    def _known_words(self) -> KnownWords:
        return KnownWords(self.encoder.tokenizer)

    def length(self, text: Ids) -> int:
        """Its tokens."""
        return len(text)

    def read(self, texts: Sequence[Ids]) -> dict[str, Tensor]:
        """Texts as ids -> the features of each head, (B, P)."""
        device = next(self.parameters()).device
        ids, lengths = pad_sequences([text.tolist() for text in texts], self.encoder.tokenizer.pad_id)
        return self.features(ids.to(device), lengths.to(device))

    def own_tensors(self) -> dict[str, Tensor]:
        """The heads, and static word vectors if any."""
        found = super().own_tensors()
        return found if self.word_vectors.numel() else {n: t for n, t in found.items() if n != "word_vectors"}

    def features(self, ids: Tensor, lengths: Tensor) -> dict[str, Tensor]:
        """Pooled documents for each head: (B, T), (B,) -> (B, P)."""
        pooled = {name: self._pooled(name, ids, lengths) for name in self.encoder.directions}
        if not self.votes:
            pooled = {"joint": torch.cat(list(pooled.values()), dim=1)}
        if not self.word_vectors.numel():
            return pooled
        mean = mean_vectors(ids, lengths, self.word_vectors)
        return {name: torch.cat([x, mean], dim=1) for name, x in pooled.items()}

    def _pooled_width(self, name: str) -> int:
        widths = self.encoder.stack(name).widths
        if self.pooling != "vectors":
            return pooled_width(widths, self.pooling)
        return 0 if self.word_vectors.numel() else widths[0]

    def _pooled(self, name: str, ids: Tensor, lengths: Tensor) -> Tensor:
        """What a direction gives of the documents: (B, T), (B,) -> (B, P)."""
        stack = self.encoder.stack(name)
        if self.pooling != "vectors":
            return pool_documents(stack, self.encoder.stack_ids(name, ids, lengths), lengths, self.pooling)
        if self.word_vectors.numel():
            return self.word_vectors.new_zeros(len(ids), 0)
        return mean_vectors(ids, lengths, stack.embedding.weight)

    def layer_groups(self) -> LayerGroups:
        """The encoder's groups, then the heads with the body, if there is one."""
        groups = self.encoder.layer_groups()
        n_kept = len(groups) - self.body_groups
        body = [parameter for group in groups[n_kept:] for parameter in group]
        return [*groups[:n_kept], body + list(self.heads.parameters())]


class KnownWords:
    """Tells texts that hold a word of a vocabulary from those that hold none."""

    def __init__(self, tokenizer: TextTokenizer) -> None:
        self.unknown_id = tokenizer.unknown_id
        # The sign for a space is a piece of its own before an unknown word.
        self.is_known = np.array([token != SPACE for token in tokenizer.vocabulary])
        self.is_known[list(tokenizer.special_ids)] = False
        is_mark = np.array([is_punctuation(token.lstrip(SPACE)) for token in tokenizer.vocabulary])
        self.is_word = self.is_known & ~is_mark

    def has_one(self, ids: Ids) -> bool:
        """Whether a text has a known word; punctuation counts only where nothing else is written ("!!!")."""
        if self.is_word[ids].any():
            return True
        return bool(self.is_known[ids].any()) and self.unknown_id not in ids


def is_punctuation(token: str) -> bool:
    """Whether nothing but punctuation is in it."""
    return all(unicodedata.category(character).startswith("P") for character in token)


def mean_vectors(ids: Tensor, lengths: Tensor, vectors: Tensor) -> Tensor:
    """The mean of static vectors over each document: (B, T), (B,), (V, E) -> (B, E)."""
    real = torch.arange(ids.shape[1], device=ids.device) < lengths[:, None]
    pieces = zip(torch.split(ids, PIECE, dim=1), torch.split(real, PIECE, dim=1), strict=True)
    total = sum((F.embedding(part, vectors) * mask[:, :, None]).sum(1) for part, mask in pieces)
    assert isinstance(total, Tensor)
    return total / lengths[:, None]


class ClassificationObjective(SeparateExamples):
    """What the loop trains when it trains a classifier.

    Args:
        network: trained in place.
        texts: the network's inputs of every training text.
        targets: (N,) of int64, or (N, K) of float32 with many labels.
        frozen: the encoder never moves: its features are computed once, without its dropouts.
        validation: texts and targets to be measured at each epoch's end.
    """

    def __init__(
        self,
        network: Network,
        texts: Sequence[Any],
        targets: Tensor,
        *,
        batch_size: int = 32,
        frozen: bool = False,
        validation: tuple[Sequence[Any], Tensor] | None = None,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.model: nn.Module = network
        self.network: Network = network
        self.texts, self.targets, self.validation = texts, targets, validation
        self.lengths = [network.length(text) for text in texts]
        self.batch_size, self.seed, self.rank, self.world_size = batch_size, seed, rank, world_size
        self.features: dict[str, Tensor] | None = None
        self.validation_features: dict[str, Tensor] | None = None
        if frozen:
            self.features = all_features(network, texts)
            if validation is not None:
                self.validation_features = all_features(network, validation[0])

    def layer_groups(self) -> LayerGroups:
        """The network's."""
        return self.network.layer_groups()

    def _epoch(self, epoch: int) -> list[list[int]]:
        return bucketed_batches(self.lengths, batch_size=self.batch_size, seed=self.seed * 1_000_003 + epoch)

    def n_batches(self, epoch: int) -> int:
        """Batches of an epoch."""
        return len(self._epoch(epoch))

    def batches(self, epoch: int, start: int) -> Iterator[list[int]]:
        """Numbers of this process's examples, batch by batch."""
        for numbers in self._epoch(epoch)[start:]:
            yield numbers[self.rank :: self.world_size]

    def loss(self, batch: list[int]) -> Loss:
        """Cross-entropy of this process's examples."""
        device = next(self.model.parameters()).device
        features = self._features(batch or [0], device)
        if not batch:  # more processes than examples: this one takes part in the batch norms, with none
            features = {name: x[:0] for name, x in features.items()}
        loss = self.network.loss(features, self.targets[batch].to(device))
        return Loss(loss, len(batch), self.network.penalty())

    def _features(self, numbers: list[int], device: torch.device) -> dict[str, Tensor]:
        if self.features is not None:
            return {name: x[numbers].to(device) for name, x in self.features.items()}
        return self.network.read([self.texts[n] for n in numbers])

    def validate(self) -> dict[str, float]:
        """Loss and accuracy (of all labels together, with many labels) on the validation texts."""
        if self.validation is None:
            return {}
        texts, targets = self.validation
        features = self.validation_features or all_features(self.network, texts)
        device = next(self.model.parameters()).device
        features = {name: x.to(device) for name, x in features.items()}
        targets = targets.to(device)
        loss = float(self.network.loss(features, targets)) / len(texts)
        found = self.network.probabilities(features)
        right = (
            ((found > 0.5) == (targets > 0.5)).all(1)
            if self.network.multi_label
            else found.argmax(1) == targets
        )
        accuracy = int(right.sum()) / len(texts)
        return {"loss": loss, "accuracy": accuracy, "score": accuracy}


@torch.no_grad()
def all_features(network: Network, texts: Sequence[Any], batch_tokens: int = 16_384) -> dict[str, Tensor]:
    """Pooled features of all texts in evaluation mode: (N, P) for each head, on the CPU."""
    was_training = network.training
    network.eval()
    found: dict[str, Tensor] = {}
    for numbers in token_bounded_batches([network.length(text) for text in texts], batch_tokens):
        for name, x in network.read([texts[n] for n in numbers]).items():
            if name not in found:
                found[name] = torch.zeros(len(texts), x.shape[1])
            found[name][numbers] = x.float().cpu()
    network.train(was_training)
    return found


def token_bounded_batches(lengths: Sequence[int], batch_tokens: int) -> Iterator[list[int]]:
    """Numbers of texts of similar lengths, longest first, with at most `batch_tokens` ids a batch, padding included."""
    order = sorted(range(len(lengths)), key=lambda n: -lengths[n])
    batch: list[int] = []
    for number in order:
        if batch and lengths[batch[0]] * (len(batch) + 1) > batch_tokens:
            yield batch
            batch = []
        batch.append(number)
    if batch:
        yield batch
