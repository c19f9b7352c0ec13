"""Dropouts of AWD-LSTM (Merity, Keskar & Socher 2018, section 4).

All preserve the expectation: the remaining values are divided by 1 - probability. All are the identity in evaluation
mode, and with probability 0.

Shapes: B batch, T time, D width, V vocabulary.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unfreeze.encoders.layers.lookup import look_up_tied


class VariationalDropout(nn.Module):
    """Drop the same features at every time step (Gal & Ghahramani 2016), with one mask per sequence.

    Args:
        probability: probability of dropping a feature, in [0, 1).
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, x: Tensor) -> Tensor:
        """(T, B, D) -> (T, B, D)."""
        if not self.training or self.probability == 0.0:
            return x
        return x * survivors(x.new_empty(1, x.shape[1], x.shape[2]), self.probability)

    def extra_repr(self) -> str:
        return f"probability={self.probability}"


def embed_with_dropout(
    ids: Tensor, weight: Tensor, probability: float, training: bool, *, tied: bool = False
) -> Tensor:
    """Look up embeddings, dropping whole words of the vocabulary for the whole batch (Gal & Ghahramani 2016).

    The mask is drawn for all V words but applied to the embeddings of the batch only, because multiplying the whole
    (V, D) matrix would cost more than the lookup.

    Args:
        ids: word ids (T, B).
        weight: (V, D).
        tied: whether the weight is shared with an output layer, so that its gradient is dense (see lookup.py).

    Returns:
        (T, B, D).
    """
    vectors = look_up_tied(ids, weight) if tied else F.embedding(ids, weight)
    if not training or probability == 0.0:
        return vectors
    mask = survivors(weight.new_empty(weight.shape[0], 1), probability)
    return vectors * F.embedding(ids, mask)


def survivors(like: Tensor, probability: float) -> Tensor:
    """Fill `like` with a dropout mask: 0 with the given probability, else 1 / (1 - probability)."""
    with torch.no_grad():
        return like.bernoulli_(1.0 - probability).div_(1.0 - probability)
