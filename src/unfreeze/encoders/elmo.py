"""ELMo (Peters et al. 2018): a bidirectional language model over words that are read by their characters.

A character CNN makes the vector of a word; two stacks of LSTMs with projection read the sentence forward and backward.
Layer 0 is the vector of the word twice, each layer above it the concatenated states of both directions. The encoder is
stateless: a text always gets the same vectors. `layers_after` carries the state from batch to batch, as the original does.

Each sentence of a text is framed by a begin and an end symbol, as in training; the layers returned do not include them.

Legend: B batch, T words and frames, W words, U different words of a batch, C characters, P projection, H cells.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from unfreeze.checked import need_call
from unfreeze.encoders.base import evaluating
from unfreeze.encoders.directions import gather_words, module_name, reversed_within
from unfreeze.encoders.layers.char_cnn import CharCnn, CharCnnSettings
from unfreeze.encoders.layers.parallel import single_threaded_ops
from unfreeze.encoders.layers.projected_lstm import Clips, ProjectedLstm, State, run_layers, run_stacks
from unfreeze.encoders.text_encoder import TextBatch, TextEncoder
from unfreeze.errors import UserError
from unfreeze.folders import CONFIG
from unfreeze.text.cased_words import CasedTokenizer
from unfreeze.text.characters import frame_rows, spell
from unfreeze.text.tokenizers import Pieces, TextTokenizer

DIRECTIONS = ("forward", "backward")
PIECE = 512
"""Steps per call without gradients; a bound on the memory."""
FEW_WORDS = 2048
"""Batches of fewer words run faster with one thread for each operation."""
LIGHT = 4_000_000
"""If the layers that make the vector of a word have fewer parameters, one thread for each operation is enough."""
CACHE_BATCH = 4096
"""Words whose vectors are computed together for the cache."""

States = dict[str, list[State]]
"""For each direction the state of each layer, bottom to top."""


@dataclass(frozen=True, kw_only=True)
class SpelledBatch(TextBatch):
    """A batch whose ids are places in `rows`; every text may begin and end in frames."""

    rows: Tensor
    """(U, C) of int16, spellings; or (U,) of int64, ids of the vocabulary."""
    cached: Tensor
    """(U,) of int64: rows of the cache of token vectors, -1 for a word that is not in it."""


class Elmo(TextEncoder):
    """The encoder of ELMo.

    Args:
        tokenizer: splits texts into sentences and words; it has the vocabulary of a language model's output.
        size: P, width of a word's vector and of each direction's states.
        cells: H, the hidden size.
        n_layers: LSTM layers a direction.
        spelling: arguments of `CharCnnSettings` for the character CNN; None reads words by their ids in the vocabulary instead.
        cell_clip: bound of the cell states, None for none.
        projection_clip: bound of the projected states, None for none.
        skip_connections: whether layers above the first add their input to their output.
        dropout: dropout of the input of each layer.
    """

    kind = "elmo"
    processor: CasedTokenizer
    reads_characters = True
    is_pooled = False

    def __init__(
        self,
        tokenizer: TextTokenizer,
        *,
        size: int = 512,
        cells: int = 4096,
        n_layers: int = 2,
        spelling: dict[str, Any] | None = None,
        cell_clip: float | None = 3.0,
        projection_clip: float | None = 3.0,
        skip_connections: bool = True,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if not isinstance(tokenizer, CasedTokenizer):
            raise UserError(
                "ELMo reads words as they are written: its tokenizer frames sentences and keeps capitals"
            )
        if min(size, cells, n_layers) < 1:
            raise UserError(f"size {size}, cells {cells} and {n_layers} layers must all be at least 1")
        self.processor = tokenizer
        # config.json has these names, and the constructor therefore too.
        self._arguments = {
            "size": size,
            "cells": cells,
            "n_layers": n_layers,
            "spelling": spelling,
            "cell_clip": cell_clip,
            "projection_clip": projection_clip,
            "skip_connections": skip_connections,
            "dropout": dropout,
        }
        self.size, self.n_layers, self.skip_connections = size, n_layers, skip_connections
        self.clips = Clips(
            *(torch.inf if clip is None else float(clip) for clip in (cell_clip, projection_clip))
        )
        self.dropout = nn.Dropout(dropout)
        self.char_cnn = None if spelling is None else CharCnnSettings(**spelling)
        self.words: nn.Module = (
            nn.Embedding(len(tokenizer), size) if self.char_cnn is None else CharCnn(self.char_cnn, size)
        )
        self.is_light = sum(parameter.numel() for parameter in self.words.parameters()) < LIGHT
        self.stacks = nn.ModuleDict(
            {
                module_name(name): nn.ModuleList(ProjectedLstm(size, cells, size) for _ in range(n_layers))
                for name in DIRECTIONS
            }
        )
        self._cached: dict[str, int] = {}
        self.cache: Tensor
        self.register_buffer("cache", torch.zeros(0, size), persistent=False)

    @classmethod
    def from_config(cls, config: dict[str, Any], folder: Path) -> Self:
        """As for every encoder; the settings of the character CNN are checked too."""
        spelling = config.get("arguments", {}).get("spelling")
        if isinstance(spelling, dict):
            need_call(CharCnnSettings, f"{folder / CONFIG}: spelling", **spelling)
        return super().from_config(config, folder)

    @property
    def tokenizer(self) -> CasedTokenizer:
        """The same object as `processor`."""
        return self.processor

    @property
    def directions(self) -> list[str]:
        """The names of the directions."""
        return list(DIRECTIONS)

    @property
    def widths(self) -> list[int]:
        """2 P for each layer."""
        return [2 * self.size] * (self.n_layers + 1)

    def layer_groups(self) -> list[list[nn.Parameter]]:
        """The character CNN or embedding, then each LSTM layer with both directions in one group."""
        groups = [list(self.words.parameters())]
        for number in range(self.n_layers):
            groups.append([p for name in DIRECTIONS for p in self.layer(name, number).parameters()])
        return groups

    def layer(self, name: str, number: int) -> ProjectedLstm:
        """An LSTM layer of a direction, counted from 0."""
        stack: Any = self.stacks[module_name(name)]
        layer: ProjectedLstm = stack[number]
        return layer

    def load_weights(self, tensors: dict[str, Tensor], source: str) -> None:
        """Copy saved tensors into this encoder, by name, and drop the cache of token vectors."""
        self.cache_tokens(())
        super().load_weights(tensors, source)

    # Words to vectors

    def spell(self, words: Sequence[str]) -> Tensor:
        """Words as a batch holds them: characters (U, C) of int16, or ids of the vocabulary (U,)."""
        if self.char_cnn is None:
            unknown = self.tokenizer.unknown_id
            ids = [self.tokenizer.id(word) for word in words]
            return torch.tensor([unknown if number is None else number for number in ids], dtype=torch.long)
        return torch.from_numpy(spell(words, self.char_cnn.longest))

    def frames(self) -> Tensor:
        """The rows of the begin and the end of a sentence."""
        if self.char_cnn is None:
            return torch.tensor([self.tokenizer.bos_id, self.tokenizer.eos_id])
        return torch.from_numpy(frame_rows(self.char_cnn.longest))

    def token_vectors(self, rows: Tensor) -> Tensor:
        """(U, C) or (U,) -> (U, P), each word by itself."""
        vectors: Tensor = self.words(rows)
        return vectors

    @torch.no_grad()
    def cache_tokens(self, words: Iterable[str]) -> None:
        """Compute the vectors of these words once, for all later batches; without words the cache is dropped.

        The cache is valid only as long as the character CNN does not learn: a batch that would use it in training raises
        UserError.
        """
        different = list(dict.fromkeys(words))
        device = next(self.parameters()).device
        with evaluating(self):
            parts = [
                self.token_vectors(self.spell(different[at : at + CACHE_BATCH]).to(device)).float()
                for at in range(0, len(different), CACHE_BATCH)
            ]
        self.cache = torch.cat(parts) if parts else self.cache.new_zeros(0, self.size)
        self._cached = {word: number for number, word in enumerate(different)}

    def _vectors(self, batch: SpelledBatch) -> Tensor:
        """(U, P) of the batch's different words."""
        if not len(self.cache):
            return self.token_vectors(batch.rows)
        if self.training and any(p.requires_grad for p in self.words.parameters()):
            raise UserError(
                "the vectors of words are cached, and cached vectors cannot learn: drop them with cache_tokens(()), "
                "or freeze the character CNN"
            )
        vectors = self.cache.new_empty(len(batch.cached), self.size)
        known = batch.cached >= 0
        vectors[known] = self.cache[batch.cached[known]]
        if not bool(known.all()):
            vectors[~known] = self.token_vectors(batch.rows[~known]).to(vectors.dtype)
        return vectors

    # Texts to batches

    def batch(self, pieces: Sequence[Pieces], texts: Sequence[str]) -> SpelledBatch:
        """Encoded texts -> a batch with the spelling of each different word."""
        if not pieces:
            raise UserError("no texts were given")
        numbers: dict[str, int] = {}
        ids = np.zeros((len(pieces), max(len(piece.ids) for piece in pieces)), dtype=np.int64)
        frames = {self.tokenizer.bos_id: 0, self.tokenizer.eos_id: 1}
        for row, piece, text in zip(ids, pieces, texts, strict=True):
            row[: len(piece.ids)] = [
                numbers.setdefault(text[start:end], len(numbers) + 2) if index >= 0 else frames[token]
                for token, index, (start, end) in zip(piece.ids, piece.words, piece.offsets, strict=True)
            ]
        cached = [-1, -1, *(self._cached.get(word, -1) for word in numbers)]
        device = next(self.parameters()).device
        return SpelledBatch(
            ids=torch.from_numpy(ids).to(device),
            lengths=torch.tensor([len(piece.ids) for piece in pieces], device=device),
            words=[piece.words for piece in pieces],
            offsets=[piece.offsets for piece in pieces],
            rows=torch.cat([self.frames(), self.spell(list(numbers))]).to(device),
            cached=torch.tensor(cached, device=device),
        )

    # Batches to layers

    def run(
        self, inputs: dict[str, Tensor], states: States | None, active: Sequence[int]
    ) -> tuple[dict[str, list[Tensor]], States]:
        """All LSTM layers over token vectors.

        Args:
            inputs: (T, B, P) for each direction, in the order in which it reads, longest rows first.
            states: carried from the text before.
            active: (T,) how many rows each step runs.

        Returns:
            For each direction the (T, B, P) of every LSTM layer, and the states at the rows' ends.
        """
        names = list(inputs)
        if not self.training and not torch.is_grad_enabled():
            before_each = [None if states is None else states[name] for name in names]
            stacks = [[self.layer(name, number) for number in range(self.n_layers)] for name in names]
            outputs, ends_each = run_stacks(
                list(inputs.values()), stacks, before_each, active, self.clips, residual=self.skip_connections
            )
            return dict(zip(names, outputs, strict=True)), dict(zip(names, ends_each, strict=True))
        current = list(inputs.values())
        found: dict[str, list[Tensor]] = {name: [] for name in names}
        after: States = {name: [] for name in names}
        for number in range(self.n_layers):
            before = [None if states is None else states[name][number] for name in names]
            read = [self.dropout(x) for x in current]
            layers = [self.layer(name, number) for name in names]
            current, ends = run_layers(read, layers, before, active, self.clips)
            if self.skip_connections and number:
                current = [x + y for x, y in zip(read, current, strict=True)]
            for name, x, end in zip(names, current, ends, strict=True):
                found[name].append(x)
                after[name].append(end)
        return found, after

    def layers(self, batch: TextBatch) -> tuple[list[Tensor], Tensor]:
        """L tensors (B, W, 2 P) in the order of the text, without frames, and the mask (B, W) of words."""
        found, mask, _ = self.layers_after(batch, None)
        return found, mask

    def word_layers(self, batch: TextBatch) -> tuple[list[Tensor], Tensor]:
        """The same as `layers`: every piece is a word."""
        return self.layers(batch)

    def layers_after(self, batch: TextBatch, states: States | None) -> tuple[list[Tensor], Tensor, States]:
        """The layers, and the states to pass with the next batch, whose rows continue those of this one.

        If this batch has more rows, they start without a state; if it has fewer, the states of the others are passed on.
        """
        assert isinstance(batch, SpelledBatch)
        is_small = self.is_light and batch.ids.numel() < FEW_WORDS
        with single_threaded_ops() if is_small and not torch.is_grad_enabled() else nullcontext():
            order = batch.lengths.argsort(descending=True, stable=True)
            back = order.argsort()
            vectors = self._vectors(batch)
            before = None if states is None else _rows_of(states, order)
            found, after = self._read(vectors, batch.ids[order], batch.lengths[order], before)
            doubled = torch.nn.functional.embedding(batch.ids, vectors)
            every = [torch.cat([doubled, doubled], dim=2), *(layer[back] for layer in found)]
            picked, mask = gather_words(every, batch.words, last=True, stripped=0)
            after = _rows_of(after, back)
            return picked, mask, after if states is None else _with_ended(after, states)

    def _read(
        self, vectors: Tensor, ids: Tensor, lengths: Tensor, states: States | None
    ) -> tuple[list[Tensor], States]:
        """Both directions over rows that are sorted: (B, T, 2 P) of every LSTM layer, in the order of the text."""
        step = ids.shape[1] if torch.is_grad_enabled() else PIECE
        turned = {"forward": ids, "backward": reversed_within(ids, lengths, first=0)}
        ends = lengths.tolist()
        pieces: dict[str, list[list[Tensor]]] = {name: [] for name in DIRECTIONS}
        for start in range(0, ids.shape[1], max(1, step)):
            stop = min(start + step, ids.shape[1])
            alive = sum(end > start for end in ends)
            active = [sum(end > t for end in ends) for t in range(start, stop)] if alive else []
            inputs = {
                name: torch.nn.functional.embedding(turned[name][:, start:stop].t(), vectors)
                for name in DIRECTIONS
            }
            found, states = self.run(inputs, states, active)
            for name in DIRECTIONS:
                pieces[name].append([layer.transpose(0, 1) for layer in found[name]])
        assert states is not None
        sides = {
            name: [torch.cat(parts, dim=1) for parts in zip(*pieces[name], strict=True)]
            for name in DIRECTIONS
        }
        backward = [reversed_within(layer, lengths, first=0) for layer in sides["backward"]]
        return [torch.cat(pair, dim=2) for pair in zip(sides["forward"], backward, strict=True)], states


def _rows_of(states: States, order: Tensor) -> States:
    """The states of a batch's rows in another order; rows that have none yet begin with zeros."""
    picked: States = {}
    for name, layers in states.items():
        picked[name] = []
        for pair in layers:
            new = len(order) - len(pair[0])
            h, c = (torch.cat([x, x.new_zeros(max(0, new), x.shape[1])])[order] for x in pair)
            picked[name].append((h, c))
    return picked


def _with_ended(after: States, before: States) -> States:
    """The states after a batch, followed by those before it of the rows that the batch no longer has."""
    merged: States = {}
    for name, layers in after.items():
        pairs = zip(layers, before[name], strict=True)
        merged[name] = [
            (torch.cat([h, old_h[len(h) :]]), torch.cat([c, old_c[len(c) :]]))
            for (h, c), (old_h, old_c) in pairs
        ]
    return merged
