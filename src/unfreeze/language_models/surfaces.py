"""Ids of all words of a text -> what an ELMo reads of them, whether its output knows them or not."""

from __future__ import annotations

import torch
from torch import Tensor

from unfreeze.encoders.elmo import Elmo
from unfreeze.text.cased_words import CasedTokenizer


class Surfaces:
    """The words that a token store names, as an encoder reads them.

    Args:
        tokenizer: of the store; the encoder's vocabulary is its beginning.
    """

    def __init__(self, encoder: Elmo, tokenizer: CasedTokenizer) -> None:
        self.encoder, self.tokenizer = encoder, tokenizer

    def read(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Ids of the store -> the rows of the different ones, and the place of each id among them, of the ids' shape."""
        different, places = torch.unique(ids, return_inverse=True)
        numbers = different.tolist()
        rows = self.encoder.spell([self.tokenizer.token(number) for number in numbers])
        frames = (self.tokenizer.bos_id, self.tokenizer.eos_id)
        for frame, row in zip(frames, self.encoder.frames(), strict=True):
            if frame in numbers:
                rows[numbers.index(frame)] = row
        return rows, places

    def unknown_bytes(self, ids: Tensor) -> int:
        """UTF-8 bytes of the words that the output lacks."""
        unknown = ids[ids >= len(self.encoder.tokenizer)].tolist()
        return sum(len(self.tokenizer.token(number).encode()) for number in unknown)
