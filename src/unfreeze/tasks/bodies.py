"""The bodies of classifiers: the layers of an encoder -> one vector of features per input and head.

`PooledStream` pools states that are computed piece by piece, in bounded memory; `PooledLayers` pools the layers of any
encoder, of text or not; `BiLstmOnLayers` runs a biLSTM over a learned mix of layers and static word vectors. The biattentive
classification network, which also reads pairs of texts, is in bcn.py.

Legend: B batch, T pieces of text, W words, D width of the top layer, P features of a head, E width of static vectors, H of
each direction of the biLSTM.
"""

from __future__ import annotations

import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from unfreeze.encoders.base import Encoder
from unfreeze.encoders.streaming import Streaming
from unfreeze.encoders.text_encoder import TextEncoder
from unfreeze.encoders.word_vectors import WordVectors
from unfreeze.progress import SILENT, Progress
from unfreeze.tasks.explanations import PieceVectors
from unfreeze.tasks.pooling import (
    GRADIENT_TOKENS,
    mean_states,
    mean_vectors,
    pool_documents,
    pool_words,
    pooled_width,
)
from unfreeze.tasks.settings import Head, Pooling
from unfreeze.tasks.word_inputs import BiLstmStack, WordInputs
from unfreeze.text.batches import pad_sequences
from unfreeze.text.tokenizer_training import SPACE
from unfreeze.text.tokenizers import TextTokenizer
from unfreeze.training.precision import Precision
from unfreeze.transfer.policies import LayerGroups

Ids = NDArray[np.uint32]
JOINT = "joint"
"""Name of the head if there is only one."""


class Body(nn.Module, ABC):
    """Inputs -> features for each head."""

    widths: dict[str, int]
    """P of each head."""

    encoder: Encoder
    """The encoder whose layers are read."""

    network: ClassVar[str] = "pooled"
    """Name in config.json of the network on this body."""

    noun: ClassVar[str] = "text"
    """What an input is called, in progress reports."""

    usual_head: ClassVar[Head] = "two-layer"
    """Its head, unless the settings choose one."""

    may_read_pairs: ClassVar[bool] = False
    """Whether inputs may be pairs of texts."""

    reads_pairs: bool = False
    """Whether an input is a pair of texts."""

    gradient_tokens: int = 0
    """Longest text that gradients reach as a whole."""

    @property
    def vectors(self) -> WordVectors | None:
        """Static word vectors that are saved in a folder of their own, if there are any."""
        return None

    def piece_vectors(self, text: str) -> PieceVectors | None:
        """Vectors of the pieces of a text whose mean is the features, in evaluation mode; None if these are no such mean."""
        return None

    def embedding_tables(self) -> dict[str, Tensor]:
        """Parameters and buffers (V, D) of this module that `inputs` are looked up in, by name, if all that is read comes from them."""
        return {}

    def inputs(self, inputs: Sequence[Any]) -> list[Any]:
        """Inputs in the form that `forward` reads, such as ids: computed once, read in every epoch."""
        return list(inputs)

    def have_known_words(self, inputs: Sequence[Any]) -> NDArray[np.bool_]:
        """Whether each of `inputs` (N,) has a known word; other inputs than text always count as known."""
        return np.ones(len(inputs), dtype=np.bool_)

    @cached_property
    def _known_words(self) -> KnownWords:
        """Of an encoder of text."""
        assert isinstance(self.encoder, TextEncoder)
        return KnownWords(self.encoder.tokenizer)

    def length(self, one: Any) -> int:
        """The approximate number of positions of one of `inputs`: inputs of similar length are read together."""
        return len(one)

    @abstractmethod
    def forward(self, inputs: Sequence[Any]) -> dict[str, Tensor]:
        """A batch of `inputs` -> (B, P) for each head."""

    @abstractmethod
    def layer_groups(self) -> LayerGroups:
        """The layer groups of the encoder, if it is trained, and then the parameters that are new to the task."""

    def penalty(self) -> Tensor | None:
        """A penalty to add to the loss of each batch."""
        return None

    def mix_shares(self) -> dict[str, list[float]]:
        """The weight of each layer, by the place of the mix, if a mix of layers is learned."""
        return {}

    def cache_layers(
        self,
        texts: Sequence[str],
        weights: str,
        *,
        precision: Precision = "fp32",
        progress: Progress = SILENT,
    ) -> None:
        """Compute the layers of a frozen encoder once, if the body reads them; arguments as in `WordInputs.cache_layers`."""

    def release_cache(self) -> None:
        """Drop the cached layers. They are rounded to 16 bits, and a fitted model computes all texts in the same way."""


class PooledStream(Body):
    """Concat pooling of states that are computed piece by piece, optionally with the mean of static word vectors.

    Args:
        encoder: a `TextEncoder` that is `Streaming`.
        pooling: what is pooled; with `vectors` only the static vectors, if there are any.
        word_vectors: E; 0 for none. The buffer of that name (V, E) has to be filled; it is not trained.
    """

    encoder: TextEncoder
    gradient_tokens = GRADIENT_TOKENS

    def __init__(self, encoder: TextEncoder, *, pooling: Pooling = "top", word_vectors: int = 0) -> None:
        super().__init__()
        assert isinstance(encoder, Streaming)
        self.encoder, self.pooling = encoder, pooling
        self.n_new_groups = 0
        """Number of upper layer groups of the encoder that have random weights: they are trained with the heads."""
        self.word_vectors: Tensor
        rows = len(encoder.tokenizer) if word_vectors else 0
        self.register_buffer("word_vectors", torch.zeros(rows, word_vectors))
        widths = {name: self._pooled_width(name) for name in encoder.directions}
        if not encoder.votes:
            widths = {JOINT: sum(widths.values())}
        self.widths = {name: width + word_vectors for name, width in widths.items()}

    @property
    def streaming(self) -> Streaming:
        """The encoder, typed as `Streaming`."""
        return cast(Streaming, self.encoder)

    def inputs(self, inputs: Sequence[Any]) -> list[Ids]:
        """The token ids of each text."""
        return [np.asarray(ids, dtype=np.uint32) for ids in self.encoder.tokenizer.encode_ids(list(inputs))]

    def have_known_words(self, inputs: Sequence[Ids]) -> NDArray[np.bool_]:
        """Known are the words of the tokenizer's vocabulary; n-grams of other words are not read here."""
        return np.array([self._known_words.has_one(text) for text in inputs], dtype=np.bool_)

    def forward(self, inputs: Sequence[Ids]) -> dict[str, Tensor]:
        """Texts as ids -> (B, P) for each head."""
        device = next(self.parameters()).device
        ids, lengths = pad_sequences([text.tolist() for text in inputs], self.encoder.tokenizer.pad_id)
        ids, lengths = ids.to(device), lengths.to(device)
        pooled = {name: self._pooled(name, ids, lengths) for name in self.streaming.directions}
        if not self.streaming.votes:
            pooled = {JOINT: torch.cat(list(pooled.values()), dim=1)}
        if not self.word_vectors.numel():
            return pooled
        mean = mean_vectors(ids, lengths, self.word_vectors)
        return {name: torch.cat([x, mean], dim=1) for name, x in pooled.items()}

    def _pooled_width(self, name: str) -> int:
        widths = self.streaming.stack(name).widths
        if self.pooling != "vectors":
            return pooled_width(widths, self.pooling)
        return 0 if self.word_vectors.numel() else widths[0]

    def _pooled(self, name: str, ids: Tensor, lengths: Tensor) -> Tensor:
        """The features of one direction: (B, T), (B,) -> (B, P)."""
        stack = self.streaming.stack(name)
        if self.pooling != "vectors":
            return pool_documents(stack, self.streaming.stack_ids(name, ids, lengths), lengths, self.pooling)
        if self.word_vectors.numel():
            return self.word_vectors.new_zeros(len(ids), 0)
        return mean_vectors(ids, lengths, stack.embedding.weight)

    def piece_vectors(self, text: str) -> PieceVectors | None:
        """The static vectors of the pieces, begin-of-text included, where nothing else is pooled."""
        if self.pooling != "vectors":
            return None
        pieces = self.encoder.tokenizer.encode(text)
        # The features of a text of one piece are its vector.
        return PieceVectors(self([np.array([each], dtype=np.uint32) for each in pieces.ids]), pieces.offsets)

    def embedding_tables(self) -> dict[str, Tensor]:
        """The embedding of each direction, once if they share it, and the static vectors."""
        own = {id(self.streaming.stack(name).embedding.weight) for name in self.streaming.directions}
        tables: dict[str, Tensor] = {n: p for n, p in self.named_parameters() if id(p) in own}
        return {**tables, **({"word_vectors": self.word_vectors} if self.word_vectors.numel() else {})}

    def layer_groups(self) -> LayerGroups:
        """The layer groups of the encoder; the new ones are merged into the last group."""
        groups = self.encoder.layer_groups()
        n_pretrained = len(groups) - self.n_new_groups
        return [*groups[:n_pretrained], [p for group in groups[n_pretrained:] for p in group]]


class PooledLayers(Body):
    """Concat pooling of the layers of any encoder, of text or not."""

    def __init__(self, encoder: Encoder, *, pooling: Pooling = "top") -> None:
        super().__init__()
        self.encoder, self.pooling = encoder, pooling
        bottom, top = encoder.widths[0], encoder.widths[-1]
        self.widths = {JOINT: bottom if pooling == "vectors" else pooled_width([bottom, top], pooling)}

    def have_known_words(self, inputs: Sequence[Any]) -> NDArray[np.bool_]:
        """Known are the words of a text encoder's vocabulary; other inputs than text always count as known."""
        if not isinstance(self.encoder, TextEncoder):
            return super().have_known_words(inputs)
        encoded = self.encoder.piece_ids(inputs)
        return np.array(
            [self._known_words.has_one(np.asarray(ids, dtype=np.int64)) for ids in encoded], dtype=np.bool_
        )

    def forward(self, inputs: Sequence[Any]) -> dict[str, Tensor]:
        """Raw inputs -> (B, P)."""
        layers, mask = self.encoder.layers(self.encoder.prepare(inputs))
        counts = mask.sum(1)
        if not bool(counts.all()):  # an input without positions becomes one zero vector
            layers = [F.pad(x.masked_fill(~mask[:, :, None], 0.0), (0, 0, 0, 1)) for x in layers]
            counts = counts.clamp_min(1)
        bottom = mean_states(layers[0], counts)
        if self.pooling == "vectors":
            return {JOINT: bottom}
        top = pool_words(layers[-1], counts)
        return {JOINT: torch.cat([top, bottom], dim=1) if self.pooling == "top+vectors" else top}

    def layer_groups(self) -> LayerGroups:
        """The layer groups of the encoder; nothing is new to the task."""
        return [*self.encoder.layer_groups(), []]


class BodyOnWords(Body):
    """A body that reads an encoder's layers, static vectors and characters, one vector a word.

    Args:
        words: makes these vectors; it has an encoder.
    """

    def __init__(self, words: WordInputs) -> None:
        super().__init__()
        assert words.encoder is not None
        self.words = words

    @property
    def encoder(self) -> TextEncoder:  # type: ignore[override]
        """The encoder whose layers are mixed."""
        assert self.words.encoder is not None
        return self.words.encoder

    @property
    def vectors(self) -> WordVectors | None:
        """The static word vectors that are read."""
        return self.words.vectors

    def have_known_words(self, inputs: Sequence[str]) -> NDArray[np.bool_]:
        """A word is known by anything that is read of it: characters, the encoder's vocabulary, static vectors, their n-grams."""
        if self.encoder.reads_characters or self.words.characters is not None:
            return np.array([bool(self.words.words_of(text)) for text in inputs], dtype=np.bool_)
        encoded = self.encoder.piece_ids(inputs)
        found = [
            self._known_words.has_one(np.asarray(ids, dtype=np.int64)) or self._has_vector(text)
            for text, ids in zip(inputs, encoded, strict=True)
        ]
        return np.array(found, dtype=np.bool_)

    def _has_vector(self, text: str) -> bool:
        """Whether there is a vector for a word of the text; punctuation counts only if there is nothing else."""
        tables = [table for table in (self.encoder, self.words.vectors) if isinstance(table, WordVectors)]
        words = self.words.words_of(text) if tables else []
        named = [word for word in words if not is_punctuation(word)] or words
        return any(table.has_vector(word) for table in tables for word in named)

    def length(self, one: str) -> int:
        """Estimated number of words, of five characters each."""
        return 1 + len(one) // 5

    def layer_groups(self) -> LayerGroups:
        """The layer groups of the encoder unless it is frozen, and then the parameters that are new to the task."""
        *groups, new = self.words.layer_groups()
        own = [parameter for name, parameter in self.named_parameters() if not name.startswith("words.")]
        return [*groups, [*new, *own]]

    def penalty(self) -> Tensor | None:
        """L2 penalty on the weights of the mixes."""
        return self.words.penalty()

    def mix_shares(self) -> dict[str, list[float]]:
        """The weight of each layer, by the place of the mix."""
        return self.words.mix_shares()

    def cache_layers(
        self,
        texts: Sequence[str],
        weights: str,
        *,
        precision: Precision = "fp32",
        progress: Progress = SILENT,
    ) -> None:
        """Compute the layers of these texts once, if the encoder is frozen."""
        self.words.cache_layers(texts, weights, precision=precision, progress=progress)

    def release_cache(self) -> None:
        """Forget the layers that `cache_layers` computed."""
        self.words.cached.clear()


class BiLstmOnLayers(BodyOnWords):
    """Encoder -> mix of layers, static vectors, characters (`WordInputs`) -> biLSTM -> concat pooling.

    Args:
        words: input of the biLSTM; it has an encoder.
        hidden_size: H.
    """

    network = "layered"

    def __init__(self, words: WordInputs, hidden_size: int) -> None:
        super().__init__(words)
        self.lstm = BiLstmStack(words.size, hidden_size)
        self.widths = {JOINT: 3 * (self.lstm.size + words.output_mix_size)}

    def forward(self, inputs: Sequence[str]) -> dict[str, Tensor]:
        """B texts -> pooled states of the biLSTM (B, P), for the only head."""
        words = self.words(inputs)
        states = self.lstm(words.inputs, words.lengths)
        if words.output_mix is not None:
            states = torch.cat([states, words.output_mix.to(states.dtype)], dim=2)
        return {JOINT: pool_words(states, words.lengths)}


class KnownWords:
    """Finds out whether a text has a word of a vocabulary."""

    def __init__(self, tokenizer: TextTokenizer) -> None:
        self.unknown_id = tokenizer.unknown_id
        # Before an unknown word, the mark for a space is a token of its own.
        self.is_known = np.array([token != SPACE for token in tokenizer.vocabulary])
        self.is_known[list(tokenizer.special_ids)] = False
        is_mark = np.array([is_punctuation(token.lstrip(SPACE)) for token in tokenizer.vocabulary])
        self.is_word = self.is_known & ~is_mark

    def has_one(self, ids: NDArray[Any]) -> bool:
        """Whether a text has a known word; punctuation counts only if there is nothing else ("!!!")."""
        if self.is_word[ids].any():
            return True
        return bool(self.is_known[ids].any()) and self.unknown_id not in ids


def is_punctuation(token: str) -> bool:
    """Whether a token consists of punctuation only."""
    return all(unicodedata.category(character).startswith("P") for character in token)
