"""Encoders of text: tokens -> layers of vectors, one a piece, and one a word.

Legend: B batch, T pieces, W words, D_l widths of the layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unfreeze.encoders.base import Batch, Encoder, pooled
from unfreeze.encoders.directions import gather_words
from unfreeze.encoders.feature_settings import Pool
from unfreeze.errors import UserError, column_of, need_texts
from unfreeze.text.batches import pad_sequences
from unfreeze.text.tokenizer_files import load_tokenizer
from unfreeze.text.tokenizers import Pieces, TextTokenizer


@dataclass(frozen=True, kw_only=True)
class TextBatch(Batch):
    """Texts as ids, padded on the right, and where each piece comes from."""

    ids: Tensor
    """(B, T) of int64; every row begins with the begin-of-text id, which counts in `lengths`."""
    words: list[list[int]]
    """For every id of a row the index of its word, -1 for special tokens."""
    offsets: list[list[tuple[int, int]]]
    """For every id of a row its span of characters in the text."""

    @property
    def real_pieces(self) -> Tensor:
        """(B, T - 1), which positions after the begin-of-text id are not padding."""
        time = torch.arange(1, self.ids.shape[1], device=self.ids.device)
        return time < self.lengths[:, None]


class TextEncoder(Encoder):
    """An encoder whose inputs are texts and whose processor is a tokenizer."""

    processor: TextTokenizer
    reads = "text"
    reads_characters: ClassVar[bool] = False
    """Whether words get vectors by their characters, so that none is unknown."""

    @property
    def tokenizer(self) -> TextTokenizer:
        """The same object as `processor`."""
        return self.processor

    @classmethod
    def load_processor(cls, folder: Path) -> TextTokenizer:
        """The tokenizer that was saved in `folder`."""
        return load_tokenizer(folder)

    def prepare(self, inputs: Sequence[str]) -> TextBatch:
        """Raw texts -> a batch.

        Raises:
            UserError: there is no text, or an input is not text.
        """
        need_texts(inputs, "texts")
        return self.batch([self.tokenizer.encode(text) for text in inputs], inputs)

    def prepare_words(self, sentences: Sequence[list[str]]) -> TextBatch:
        """Texts that are split into words already -> a batch whose word indices follow the given words."""
        pieces = [self.tokenizer.encode_words(words) for words in sentences]
        return self.batch(pieces, [" ".join(words) for words in sentences])

    def piece_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text's pieces by which their vectors are looked up; special tokens may be among them."""
        return self.tokenizer.encode_ids(list(texts))

    def word_layers(self, batch: Any) -> tuple[list[Tensor], Tensor]:
        """L tensors (B, W, D_l), the vector of each word's last piece, and the mask (B, W) of real words."""
        return gather_words(self.layers(batch)[0], batch.words, last=True)

    def encode(self, inputs: Sequence[str], *, layer: int = -1, pool: Pool = "mean") -> NDArray[np.float32]:
        """One vector for each text, pooled over its words, in evaluation mode: (n, D).

        Arguments and errors are those of `Encoder.encode`.
        """
        return super().encode(inputs, layer=layer, pool=pool)

    def _listed(self, inputs: Any) -> Sequence[str]:
        texts = column_of(inputs)
        need_texts(texts, "texts")
        return texts

    def _pooled(self, batch: Any, layer: int, pool: Pool) -> Tensor:
        layers, mask = self.word_layers(batch)
        return pooled(layers[layer].float(), mask, pool)

    def batch(self, pieces: Sequence[Pieces], texts: Sequence[str]) -> TextBatch:
        """Encoded texts -> a batch.

        Args:
            texts: what the offsets of `pieces` refer to.

        Raises:
            UserError: there are none.
        """
        if not pieces:
            raise UserError("no texts were given")
        ids, lengths = pad_sequences([p.ids for p in pieces], self.tokenizer.pad_id)
        device = next(self.parameters()).device
        return TextBatch(
            ids=ids.to(device),
            lengths=lengths.to(device),
            words=[p.words for p in pieces],
            offsets=[p.offsets for p in pieces],
        )
