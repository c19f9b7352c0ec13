"""The dropouts of AWD-LSTM (Merity, Keskar & Socher 2018, section 4), each on its own.

All keep the expectation: what survives is divided by the probability of surviving. All are the identity in
evaluation, and where their probability is 0.

Shapes: B batch, T time, D width, V vocabulary.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unfreeze.encoders.layers.lookup import look_up_tied


class VariationalDropout(nn.Module):
    """Drops the same features at every time step (Gal & Ghahramani 2016): one mask a sequence.

    Args:
        probability: of a feature to be dropped, in [0, 1).
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
        """What `print(module)` shows."""
        return f"probability={self.probability}"


def embed_with_dropout(
    ids: Tensor, weight: Tensor, probability: float, training: bool, *, tied: bool = False
) -> Tensor:
    """Look up embeddings, dropping whole words of the vocabulary for the whole batch (Gal & Ghahramani 2016).

    The mask is drawn for the V words but applied to the looked-up rows only: a dense (V, D) product a step would
    cost more than the lookup.

    Args:
        ids: (T, B) of word ids.
        weight: (V, D).
        tied: the weight is also an output layer's, whose dense gradient the lookup's is added to (lookup.py).

    Returns:
        (T, B, D).
    """
    vectors = look_up_tied(ids, weight) if tied else F.embedding(ids, weight)
    if not training or probability == 0.0:
        return vectors
    mask = survivors(weight.new_empty(weight.shape[0], 1), probability)
    return vectors * F.embedding(ids, mask)


def survivors(like: Tensor, probability: float) -> Tensor:
    """A mask of the shape of `like`: 0 with `probability`, else 1 / (1 - probability)."""
    with torch.no_grad():
        return like.bernoulli_(1.0 - probability).div_(1.0 - probability)
