"""A classifier on the layers of any encoder: their mix (word_inputs.py), a biLSTM on it, concat pooling, a head.

Legend: B batch, W words, H of each direction of the body, D of the mix.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from unfreeze.encoders.directions import module_name
from unfreeze.encoders.elmo import Elmo
from unfreeze.encoders.text_encoder import TextEncoder
from unfreeze.encoders.word_vectors import WordVectors
from unfreeze.tasks.classification import KnownWords, Network, is_punctuation
from unfreeze.tasks.heads import HEADS, Head
from unfreeze.tasks.word_bodies import BiLstmStack
from unfreeze.tasks.word_inputs import WordInputs, Words
from unfreeze.transfer.policies import LayerGroups


class LayeredNetwork(Network):
    """Encoder -> mix -> biLSTM -> pooled text -> logits.

    Args:
        n_labels: K.
        hidden_size: H.
        frozen: the encoder never moves.
        vectors: static word vectors beside the mix at the input; they never move.
        inputs: further arguments of `WordInputs`.
    """

    def __init__(
        self,
        encoder: TextEncoder,
        n_labels: int,
        *,
        multi_label: bool = False,
        head: Head = "two-layer",
        hidden_size: int = 128,
        vectors: WordVectors | None = None,
        frozen: bool = True,
        **inputs: Any,
    ) -> None:
        super().__init__()
        self.multi_label, self.frozen = multi_label, frozen
        self.words = WordInputs(encoder, vectors=vectors, frozen=frozen, **inputs)
        self.body = BiLstmStack(self.words.size, hidden_size)
        size = self.body.size + self.words.beside_size
        self.heads = nn.ModuleDict({module_name("joint"): HEADS[head](3 * size, n_labels)})

    @property
    def encoder(self) -> TextEncoder:  # type: ignore[override]
        """Whose layers are mixed."""
        assert self.words.encoder is not None
        return self.words.encoder

    @property
    def vectors(self) -> WordVectors | None:
        """The static ones."""
        return self.words.vectors

    def inputs(self, texts: Sequence[str]) -> list[Any]:
        """The texts themselves."""
        return list(texts)

    def have_known_words(self, texts: Sequence[str]) -> NDArray[np.bool_]:
        """By all that is read of a word: its characters, the encoder's vocabulary, static vectors and their n-grams."""
        if isinstance(self.encoder, Elmo) or self.words.characters is not None:
            return np.array([bool(self.words.words_of(text)) for text in texts], dtype=np.bool_)
        encoded = self.encoder.tokenizer.encode_ids(list(texts))
        return np.array(
            [
                self._known_words.has_one(np.asarray(ids)) or self._has_vector(text)
                for text, ids in zip(texts, encoded, strict=True)
            ],
            dtype=np.bool_,
        )

    def _has_vector(self, text: str) -> bool:
        """Whether a table of vectors has one for a word; for punctuation where nothing else is written."""
        tables = [table for table in (self.encoder, self.vectors) if isinstance(table, WordVectors)]
        words = self.words.words_of(text) if tables else []
        named = [word for word in words if not is_punctuation(word)] or words
        return any(table.has_vector(word) for table in tables for word in named)

    @cached_property
    def _known_words(self) -> KnownWords:
        return KnownWords(self.encoder.tokenizer)

    def length(self, text: str) -> int:
        """About its words."""
        return 1 + len(text) // 5

    def layer_groups(self) -> LayerGroups:
        """The encoder's groups unless it is frozen, then all that is new."""
        *groups, new = self.words.layer_groups()
        return [*groups, [*new, *self.body.parameters(), *self.heads.parameters()]]

    def penalty(self) -> Tensor | None:
        """L2 of the weights of the mixes."""
        return self.words.penalty()

    def own_tensors(self) -> dict[str, Tensor]:
        """What is saved beside the encoder and the word vectors, which are encoders of their own."""
        others = ("words.encoder.", "words.vectors.")
        return {name: t for name, t in self.state_dict().items() if not name.startswith(others)}

    def mix_shares(self) -> dict[str, list[float]]:
        """How much each layer counts, where there is a mix."""
        return self.words.mix_shares()

    def read(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """Texts -> (B, P)."""
        words: Words = self.words(texts)
        states = self.body(words.inputs, words.lengths)
        if words.beside is not None:
            states = torch.cat([states, words.beside.to(states.dtype)], dim=2)
        return {"joint": pool_words(states, words.lengths)}


def pool_words(states: Tensor, lengths: Tensor) -> Tensor:
    """(B, W, D), (B,) -> (B, 3 D): the last, the largest and the mean."""
    states = states.float()
    real = (torch.arange(states.shape[1], device=states.device) < lengths[:, None])[:, :, None]
    last = states[torch.arange(len(states), device=states.device), lengths - 1]
    largest = states.masked_fill(~real, -torch.inf).amax(1)
    return torch.cat([last, largest, (states * real).sum(1) / lengths[:, None]], dim=1)
