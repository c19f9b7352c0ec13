"""CoVe (McCann et al. 2017): the encoder of a translator, whose states are the words' vectors in context.

A biLSTM of two layers reads the vectors of a sentence's words and learns to translate (pretraining/translation). The state of a
word depends on its sentence, because the senses of a word (river bank, savings bank) have different translations. Layer 0 is the
vector of the word alone, zeros for an unknown one, and each layer above it the concatenated states of both directions. Tasks read
[layer 0; top layer], as the paper's [GloVe(w); CoVe(w)].

Unlike in a language model the directions of a layer are read by both directions of the next one, so a text is read as a whole.

Legend: B batch, W words, N words of all texts, V vocabulary, E width of the word vectors, H hidden size of a direction.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from unfreeze.encoders.layers.bi_lstm import PackedBiLstm, Packing
from unfreeze.encoders.layers.cell_settings import need_layers
from unfreeze.encoders.text_encoder import TextBatch, TextEncoder
from unfreeze.errors import UserError
from unfreeze.text.batches import pad_sequences
from unfreeze.text.cased_words import CasedTokenizer
from unfreeze.text.rules import normalized
from unfreeze.text.tokenizers import Pieces, TextTokenizer
from unfreeze.text.words import word_texts
from unfreeze.vectors.table import VectorTable

TASK_DROPOUT = 0.3
"""Dropout of each layer's input when the encoder is fine-tuned on a task."""


class CoVe(TextEncoder):
    """The encoder of a translator.

    Args:
        tokenizer: splits texts into words, which keep their capitals; its length is V.
        size: E.
        hidden_size: H.
        n_layers: LSTM layers.
        direction: "both", or "forward": then a state knows nothing of the words after it.
        dropout: of the input of each layer in training, the same features at all words of a text.
    """

    kind = "cove"
    processor: CasedTokenizer
    usual_layers = "bottom+top"
    usual_transfer = "frozen"

    def __init__(
        self,
        tokenizer: TextTokenizer,
        *,
        size: int = 300,
        hidden_size: int = 300,
        n_layers: int = 2,
        direction: Literal["both", "forward"] = "both",
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        if not isinstance(tokenizer, CasedTokenizer):
            raise UserError("CoVe reads words as they are written: its tokenizer keeps capitals")
        need_layers(n_layers)
        if direction not in ("both", "forward"):
            raise UserError(f"direction {direction!r}: it is both or forward")
        self.processor = tokenizer
        self._arguments = {
            "size": size,
            "hidden_size": hidden_size,
            "n_layers": n_layers,
            "direction": direction,
            "dropout": dropout,
        }
        self.size, self.hidden_size, self.dropout = size, hidden_size, dropout
        self.is_bidirectional = direction == "both"
        self.words = nn.Embedding(len(tokenizer), size)
        width = hidden_size * (2 if self.is_bidirectional else 1)
        self.lstms = nn.ModuleList(
            PackedBiLstm(size if number == 0 else width, hidden_size, bidirectional=self.is_bidirectional)
            for number in range(n_layers)
        )
        self.widths_above = [width] * n_layers
        self.clear_unknown()

    @property
    def tokenizer(self) -> CasedTokenizer:
        """The processor."""
        return self.processor

    @property
    def widths(self) -> list[int]:
        """E, then 2 H for each LSTM layer (H, if it reads forward only)."""
        return [self.size, *self.widths_above]

    def layer_groups(self) -> list[list[nn.Parameter]]:
        """The word vectors, then each LSTM layer."""
        return [list(self.words.parameters()), *(list(lstm.parameters()) for lstm in self.lstms)]

    def set_dropout_scale(self, scale: float) -> None:
        """Set the dropout for fine-tuning on a task, multiplied by `scale`."""
        self.dropout = min(TASK_DROPOUT * scale, 0.95)

    # Words

    @torch.no_grad()
    def clear_unknown(self) -> None:
        """Set the vectors of unknown words and of the tokenizer's other special tokens to zero."""
        self.words.weight[sorted(self.tokenizer.special_ids)] = 0.0

    def word_id(self, word: str) -> int:
        """The id of a word; of its lower-case form, if it has none; else that of the unknown word.

        The published code has no such fallback: there a capitalized word without a vector of its own is unknown.
        """
        for form in (word, normalized(word)):
            number = self.tokenizer.id(form)
            if number is not None and number not in self.tokenizer.special_ids:
                return number
        return self.tokenizer.unknown_id

    def piece_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of the words of each text; unlike the tokenizer's they include those of lower-case forms."""
        return [[self.word_id(word) for word in word_texts(text)] for text in texts]

    def table(self, extra_words: Collection[str] = ()) -> VectorTable:
        """The vectors of the words alone, without special tokens; `extra_words` cannot get any."""
        ids = self.tokenizer.word_ids
        words = [self.tokenizer.token(number) for number in ids]
        vectors: NDArray[np.float32] = self.words.weight.detach()[ids].float().cpu().numpy()
        return VectorTable(words, vectors)

    # Texts to batches

    def batch(self, pieces: Sequence[Pieces], texts: Sequence[str]) -> TextBatch:
        """Encoded texts -> a batch of their words, without the frames of sentences."""
        if not pieces:
            raise UserError("no texts were given")
        ids, offsets = [], []
        for piece, text in zip(pieces, texts, strict=True):
            spans = [span for span, word in zip(piece.offsets, piece.words, strict=True) if word >= 0]
            ids.append([self.word_id(text[start:end]) for start, end in spans])
            offsets.append(spans)
        return self.batch_of_ids(ids, offsets)

    def batch_of_ids(
        self, ids: Sequence[Sequence[int]], offsets: list[list[tuple[int, int]]] | None = None
    ) -> TextBatch:
        """Texts as ids of their words -> a batch."""
        padded, lengths = pad_sequences([list(each) for each in ids], self.tokenizer.pad_id)
        device = self.words.weight.device
        return TextBatch(
            ids=padded.to(device),
            lengths=lengths.to(device),
            words=[list(range(len(each))) for each in ids],
            offsets=offsets or [[] for _ in ids],
        )

    # Batches to layers

    def layers(self, batch: TextBatch) -> tuple[list[Tensor], Tensor]:
        """L tensors (B, W, D_l), and the mask (B, W) of words."""
        longest = batch.ids.shape[1]
        mask = torch.arange(longest, device=batch.ids.device) < batch.lengths[:, None]
        packing = Packing(batch.lengths)
        # Unknown words are zeros whatever their row holds, so that training cannot give them a vector.
        known = mask & (batch.ids != self.tokenizer.unknown_id)
        vectors = F.embedding(batch.ids, self.words.weight) * known[:, :, None]
        found, x = [vectors], packing.pack(vectors)
        for lstm in self.lstms:
            assert isinstance(lstm, PackedBiLstm)
            x = lstm(self._dropped(x, packing), packing)
            found.append(packing.unpack(x, longest))
        return found, mask

    def word_layers(self, batch: TextBatch) -> tuple[list[Tensor], Tensor]:
        """The same as `layers`: every position is a word."""
        return self.layers(batch)

    def _dropped(self, x: Tensor, packing: Packing) -> Tensor:
        if not (self.training and self.dropout):
            return x
        ones = x.new_ones(packing.n_texts, x.shape[1])
        return x * F.dropout(ones, self.dropout)[packing.text]
