"""The biattentive classification network (McCann et al. 2017, section 4), for single texts and pairs of texts.

    words -> ReLU feed-forward -> biLSTM -> X, and Y for the other text (for a single text Y is X)
    A = X Y^T        C_y = softmax(A) Y        C_x = softmax(A^T) X
    biLSTM over [X; X - C_y; X * C_y], and another one over [Y; Y - C_x; Y * C_x]
    -> [max; mean; min; sum_i softmax(X v)_i X_i] of each, concatenated

For a single text the paper computes two equal sides; here there is one. The attention is computed in blocks, so its memory grows
with the length of a text and not with its square: a text of 20,000 words would need 1.6 GB for A alone.

Legend: B batch, W words, D width of the word vectors, H hidden size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from unfreeze.progress import SILENT, Progress
from unfreeze.tasks.bodies import JOINT, BodyOnWords
from unfreeze.tasks.pooling import mean_states
from unfreeze.tasks.word_inputs import BiLstmStack, WordInputs
from unfreeze.text.text_inputs import single_texts
from unfreeze.training.precision import Precision

INTEGRATOR_DROPOUT = 0.1
"""As in AllenNLP's version. A small network hardly learns with more: the batch norms of the head then scale noise."""


def attend(queries: Tensor, keys: Tensor, lengths: Tensor) -> Tensor:
    """softmax(queries keys^T) keys: (B, W_1, D), (B, W_2, D) and the lengths of the keys (B,), at least 1 -> (B, W_1, D)."""
    real = torch.arange(keys.shape[1], device=keys.device) < lengths[:, None]
    # Without padding there is no mask: some devices have a faster kernel for that.
    mask = None if bool(real.all()) else real[:, None, None]
    one_head = keys[:, None]
    return F.scaled_dot_product_attention(queries[:, None], one_head, one_head, attn_mask=mask, scale=1.0)[
        :, 0
    ]


class BiattentiveNetwork(nn.Module):
    """Word vectors of one text or two -> one vector of features.

    Args:
        size: D.
        hidden_size: H.
        n_texts: 1, or 2 for pairs.
    """

    def __init__(self, size: int, hidden_size: int, n_texts: int) -> None:
        super().__init__()
        width = 2 * hidden_size
        self.feed_forward = nn.Linear(size, hidden_size)
        self.reader = BiLstmStack(hidden_size, hidden_size, dropout=0.0)
        self.integrators = nn.ModuleList(
            BiLstmStack(3 * width, hidden_size, dropout=INTEGRATOR_DROPOUT) for _ in range(n_texts)
        )
        self.scores = nn.ModuleList(nn.Linear(width, 1, bias=False) for _ in range(n_texts))
        self.size = 4 * width * n_texts

    def forward(self, texts: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
        """Vectors (B, W, D) and lengths (B,), at least 1, of each text -> (B, 8 H), or (B, 16 H) for pairs."""
        states = [self.reader(F.relu(self.feed_forward(x)), lengths) for x, lengths in texts]
        pooled = []
        for number, (x, (_, lengths)) in enumerate(zip(states, texts, strict=True)):
            other = len(texts) - 1 - number
            context = attend(x, states[other], texts[other][1])
            joined = torch.cat([x, x - context, x * context], dim=2)
            integrated = self.integrators[number](joined, lengths).float()
            pooled.append(self._pooled(integrated, self.scores[number](integrated), lengths))
        return torch.cat(pooled, dim=1)

    def _pooled(self, states: Tensor, scores: Tensor, lengths: Tensor) -> Tensor:
        """(B, W, 2 H), their scores (B, W, 1) and lengths (B,) -> max, mean, min and weighted sum (B, 8 H)."""
        padding = (torch.arange(states.shape[1], device=states.device) >= lengths[:, None])[:, :, None]
        shares = torch.softmax(scores.float().masked_fill(padding, -torch.inf), dim=1)
        parts = [
            states.masked_fill(padding, -torch.inf).amax(1),
            mean_states(states, lengths),
            states.masked_fill(padding, torch.inf).amin(1),
            (shares * states.masked_fill(padding, 0.0)).sum(1),
        ]
        return torch.cat(parts, dim=1)


class BcnOnLayers(BodyOnWords):
    """Encoder -> layers, static vectors, characters (`WordInputs`) -> biattentive classification network.

    Args:
        words: makes the vectors of the words; it has an encoder.
        hidden_size: H.
        pairs: inputs are pairs of texts, otherwise single texts.
    """

    network = "bcn"
    usual_head = "maxout"
    may_read_pairs = True

    def __init__(self, words: WordInputs, hidden_size: int, *, pairs: bool = False) -> None:
        super().__init__(words)
        assert not words.output_mix_size
        self.reads_pairs = pairs
        self.bcn = BiattentiveNetwork(words.size, hidden_size, 2 if pairs else 1)
        self.widths = {JOINT: self.bcn.size}

    def have_known_words(self, inputs: Sequence[Any]) -> NDArray[np.bool_]:
        """Of a pair, one text with a known word is enough."""
        if not self.reads_pairs:
            return super().have_known_words(inputs)
        known = super().have_known_words(single_texts(inputs))
        return known[0::2] | known[1::2]

    def length(self, one: Any) -> int:
        """Estimated number of words of the text, or of the longer one of the pair."""
        return max(super(BcnOnLayers, self).length(text) for text in single_texts([one]))

    def cache_layers(
        self,
        texts: Sequence[Any],
        weights: str,
        *,
        precision: Precision = "fp32",
        progress: Progress = SILENT,
    ) -> None:
        """Compute the layers of both texts of each pair once, if the encoder is frozen."""
        super().cache_layers(single_texts(texts), weights, precision=precision, progress=progress)

    def forward(self, inputs: Sequence[Any]) -> dict[str, Tensor]:
        """B texts, or pairs of texts -> (B, P), for the only head."""
        texts = []
        for side in zip(*inputs, strict=True) if self.reads_pairs else [inputs]:
            words = self.words(side)
            texts.append((words.inputs, words.lengths))
        return {JOINT: self.bcn(texts)}
