"""The bodies of classifiers: the layers of an encoder -> one vector of features per input and head.

`PooledStream` pools states that are computed piece by piece, in bounded memory; `PooledLayers` pools the layers of any
encoder, of text or not; `BiLstmOnLayers` runs a biLSTM over a learned mix of layers and static word vectors.

Pooling is the concat pooling of Howard & Ruder 2018, section 3.3: the last, the maximal and the mean state of the top layer.
Documents are read in pieces with carried state, so memory does not grow with their length: first in pieces of at most `PIECE`
tokens without gradients, then the last `GRADIENT_TOKENS` (and the rest of a piece) at once, with gradients. The gradient of a
document does not depend on the length of the others in its batch.

Legend: B batch, T pieces of text, W words, D width of the top layer, P features of a head, E width of static vectors, H of
each direction of the biLSTM.
"""

from __future__ import annotations

import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from unfreeze.encoders.base import Encoder
from unfreeze.encoders.layers.recurrent import rows_of
from unfreeze.encoders.streaming import StackOutput, Stream, Streaming
from unfreeze.encoders.text_encoder import TextEncoder
from unfreeze.encoders.word_vectors import WordVectors
from unfreeze.progress import SILENT, Progress
from unfreeze.tasks.settings import Pooling
from unfreeze.tasks.word_inputs import BiLstmStack, WordInputs
from unfreeze.text.batches import pad_sequences
from unfreeze.text.tokenizer_training import SPACE
from unfreeze.text.tokenizers import TextTokenizer
from unfreeze.training.precision import Precision
from unfreeze.transfer.policies import LayerGroups

GRADIENT_TOKENS = 1440
PIECE = 512
STEP = 32
"""A piece that is read without gradients is shorter than `PIECE` by a multiple of this number of tokens."""
ENDED_SHARE = 8
"""A new piece begins when one in this number of documents has ended, so that their padding is not computed."""
Ids = NDArray[np.uint32]
JOINT = "joint"
"""Name of the head if there is only one."""


class Body(nn.Module, ABC):
    """Inputs -> features for each head."""

    widths: dict[str, int]
    """P of each head."""

    encoder: Encoder
    """The encoder whose layers are read."""

    @property
    def vectors(self) -> WordVectors | None:
        """Static word vectors that are saved in a folder of their own, if there are any."""
        return None

    def inputs(self, inputs: Sequence[Any]) -> list[Any]:
        """Inputs in the form that `forward` reads, such as ids: computed once, read in every epoch."""
        return list(inputs)

    def have_known_words(self, inputs: Sequence[Any]) -> NDArray[np.bool_]:
        """Whether each of `inputs` (N,) has a known word; other inputs than text always count as known."""
        return np.ones(len(inputs), dtype=np.bool_)

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
        """Texts as ids."""
        return [np.asarray(ids, dtype=np.uint32) for ids in self.encoder.tokenizer.encode_ids(list(inputs))]

    def have_known_words(self, inputs: Sequence[Ids]) -> NDArray[np.bool_]:
        """Known are the words of the tokenizer's vocabulary; n-grams of other words are not read here."""
        return np.array([self._known_words.has_one(text) for text in inputs], dtype=np.bool_)

    @cached_property
    def _known_words(self) -> KnownWords:
        return KnownWords(self.encoder.tokenizer)

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
        known = KnownWords(self.encoder.tokenizer)
        encoded = self.encoder.tokenizer.encode_ids(list(inputs))
        return np.array([known.has_one(np.asarray(ids)) for ids in encoded], dtype=np.bool_)

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


class BiLstmOnLayers(Body):
    """Encoder -> mix of layers, static vectors, characters (`WordInputs`) -> biLSTM -> concat pooling.

    Args:
        words: input of the biLSTM; it has an encoder.
        hidden_size: H.
    """

    def __init__(self, words: WordInputs, hidden_size: int) -> None:
        super().__init__()
        assert words.encoder is not None
        self.words = words
        self.lstm = BiLstmStack(words.size, hidden_size)
        self.widths = {JOINT: 3 * (self.lstm.size + words.output_mix_size)}

    @property
    def encoder(self) -> TextEncoder:  # type: ignore[override]
        """The encoder whose layers are mixed."""
        assert self.words.encoder is not None
        return self.words.encoder

    @property
    def vectors(self) -> WordVectors | None:
        """The static word vectors that the biLSTM reads."""
        return self.words.vectors

    def have_known_words(self, inputs: Sequence[str]) -> NDArray[np.bool_]:
        """A word is known by anything that is read of it: characters, the encoder's vocabulary, static vectors, their n-grams."""
        if self.encoder.reads_characters or self.words.characters is not None:
            return np.array([bool(self.words.words_of(text)) for text in inputs], dtype=np.bool_)
        encoded = self.encoder.tokenizer.encode_ids(list(inputs))
        found = [
            self._known_words.has_one(np.asarray(ids)) or self._has_vector(text)
            for text, ids in zip(inputs, encoded, strict=True)
        ]
        return np.array(found, dtype=np.bool_)

    def _has_vector(self, text: str) -> bool:
        """Whether there is a vector for a word of the text; punctuation counts only if there is nothing else."""
        tables = [table for table in (self.encoder, self.words.vectors) if isinstance(table, WordVectors)]
        words = self.words.words_of(text) if tables else []
        named = [word for word in words if not is_punctuation(word)] or words
        return any(table.has_vector(word) for table in tables for word in named)

    @cached_property
    def _known_words(self) -> KnownWords:
        return KnownWords(self.encoder.tokenizer)

    def length(self, one: str) -> int:
        """Estimated number of words, of five characters each."""
        return 1 + len(one) // 5

    def forward(self, inputs: Sequence[str]) -> dict[str, Tensor]:
        """Texts -> (B, P)."""
        words = self.words(inputs)
        states = self.lstm(words.inputs, words.lengths)
        if words.output_mix is not None:
            states = torch.cat([states, words.output_mix.to(states.dtype)], dim=2)
        return {JOINT: pool_words(states, words.lengths)}

    def layer_groups(self) -> LayerGroups:
        """The layer groups of the encoder unless it is frozen, and then the parameters that are new to the task."""
        *groups, new = self.words.layer_groups()
        return [*groups, [*new, *self.lstm.parameters()]]

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
        """Drop the cached layers."""
        self.words.cached.clear()


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


def mean_vectors(ids: Tensor, lengths: Tensor, vectors: Tensor) -> Tensor:
    """The mean of static vectors over each document: (B, T), (B,), (V, E) -> (B, E)."""
    real = torch.arange(ids.shape[1], device=ids.device) < lengths[:, None]
    pieces = zip(torch.split(ids, PIECE, dim=1), torch.split(real, PIECE, dim=1), strict=True)
    total = sum((F.embedding(part, vectors) * mask[:, :, None]).sum(1) for part, mask in pieces)
    assert isinstance(total, Tensor)
    return total / lengths[:, None]


@dataclass
class _Running:
    """The pooled states of the parts of documents that have been read."""

    total: Tensor  # (B, D)
    largest: Tensor  # (B, D)
    last: Tensor  # (B, D)
    vectors: Tensor  # (B, E)

    @classmethod
    def start(cls, batch: int, width: int, embedding: int, like: Tensor) -> _Running:
        zeros = like.new_zeros(batch, width)
        return cls(zeros, zeros - torch.inf, zeros, like.new_zeros(batch, embedding))

    def add(self, rows: Tensor, piece: StackOutput, remaining: Tensor) -> _Running:
        """Add a piece of the documents `rows`, whose numbers of tokens from its beginning are `remaining`."""
        top, vectors = piece.top.float(), piece.layers[0].float()  # (T, rows, D) and (T, rows, E)
        time = torch.arange(len(top), device=top.device)[:, None]
        real, ends = (time < remaining)[:, :, None], (time == remaining - 1)[:, :, None]
        largest = torch.maximum(self.largest[rows], top.masked_fill(~real, -torch.inf).amax(0))
        return _Running(
            self.total.index_add(0, rows, (top * real).sum(0)),
            self.largest.index_copy(0, rows, largest),
            self.last.index_add(0, rows, (top * ends).sum(0)),
            self.vectors.index_add(0, rows, (vectors * real).sum(0)),
        )


def pooled_width(widths: list[int], pooling: Pooling) -> int:
    """Number of features that `pool_documents` returns."""
    return 3 * widths[-1] + (widths[0] if pooling == "top+vectors" else 0)


def pool_documents(stack: Stream, ids: Tensor, lengths: Tensor, pooling: Pooling = "top") -> Tensor:
    """Read and pool whole documents.

    Args:
        ids: (T, B) in the reading order of the stack, padded at the end.
        lengths: (B,).

    Returns:
        (B, 3 D) or (B, 3 D + E): last, max, mean, and the mean of the word vectors.
    """
    batch, weight = len(lengths), next(stack.parameters())
    running = _Running.start(batch, stack.widths[-1], stack.widths[0], weight)
    state = stack.initial_state(batch)
    body = _read_without_gradients(lengths)
    with torch.no_grad():
        for start, stop in _pieces(body):
            rows = (body > start).nonzero()[:, 0]
            piece = stack(ids[start:stop, rows], rows_of(state, rows))
            running = running.add(rows, piece, lengths[rows] - start)
            for carried, new in zip(state, piece.state, strict=True):
                for whole, part in zip(carried, new, strict=True):
                    whole[:, rows] = part.to(whole.dtype)
    rest = lengths - body
    if int(rest.max()):
        time = torch.arange(int(rest.max()), device=ids.device)[:, None]
        piece = stack(ids.gather(0, (body + time).clamp(max=len(ids) - 1)), state)
        running = running.add(torch.arange(batch, device=ids.device), piece, rest)
    count = lengths[:, None].to(running.total.dtype)
    parts = [running.last, running.largest, running.total / count]
    if pooling == "top+vectors":
        parts.append(running.vectors / count)
    return torch.cat(parts, dim=1)


def pool_words(states: Tensor, lengths: Tensor) -> Tensor:
    """Concat pooling of states: (B, W, D), lengths (B,) of at least 1 -> last, maximal and mean state (B, 3 D)."""
    states = states.float()
    real = (torch.arange(states.shape[1], device=states.device) < lengths[:, None])[:, :, None]
    last = states[torch.arange(len(states), device=states.device), lengths - 1]
    largest = states.masked_fill(~real, -torch.inf).amax(1)
    return torch.cat([last, largest, mean_states(states, lengths)], dim=1)


def mean_states(states: Tensor, lengths: Tensor) -> Tensor:
    """Mean states: (B, W, D), lengths (B,) of at least 1 -> (B, D)."""
    real = torch.arange(states.shape[1], device=states.device) < lengths[:, None]
    return (states.float() * real[:, :, None]).sum(1) / lengths[:, None]


def _pieces(lengths: Tensor) -> Iterator[tuple[int, int]]:
    """Beginning and end of each piece, until all documents have ended.

    Long pieces are faster; short ones avoid computing the padding of documents that have ended.
    """
    ends = lengths.sort().values.cpu()
    start, longest = 0, int(ends[-1])
    while start < longest:
        over = int((ends <= start).sum())
        enough = over + (len(ends) - over) // ENDED_SHARE  # a new piece begins when this many have ended
        steps = -(-(int(ends[enough]) - start) // STEP)
        stop = min(start + steps * STEP, start + PIECE, longest)
        yield start, stop
        start = stop


def _read_without_gradients(lengths: Tensor) -> Tensor:
    """Number of tokens at the beginning of each document that are read without gradients: (B,)."""
    if not torch.is_grad_enabled():
        return lengths
    return (lengths - GRADIENT_TOKENS).clamp_min(0) // PIECE * PIECE
