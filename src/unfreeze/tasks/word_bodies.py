"""The biLSTM between the vectors of words and the head of a task.

Legend: B batch, W words, D width of the vectors, H of each direction.
"""

from __future__ import annotations

from itertools import chain, repeat

import torch
from torch import Tensor, nn

from unfreeze.encoders.directions import reversed_within
from unfreeze.encoders.layers.dropouts import VariationalDropout
from unfreeze.encoders.layers.recurrent import WeightDropLstm

MOST_WORDS = 1440
"""Gradients go through the last words of a text only, at most so many."""
WEIGHT_DROPOUT, BODY_DROPOUT = 0.2, 0.3


class BiLstm(nn.Module):
    """One biLSTM layer: two LSTMs of one direction, the backward one over vectors reversed within their length.

    Args:
        size: D.
        hidden_size: H.
    """

    def __init__(self, size: int, hidden_size: int, weight_dropout: float = WEIGHT_DROPOUT) -> None:
        super().__init__()
        self.forwards = WeightDropLstm(size, hidden_size, weight_dropout)
        self.backwards = WeightDropLstm(size, hidden_size, weight_dropout)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(B, W, D), (B,) -> (B, W, 2 H); gradients go through the last `MOST_WORDS` that each direction reads."""
        left = _run(self.forwards, x.transpose(0, 1))
        turned = _run(self.backwards, reversed_within(x, lengths, first=0).transpose(0, 1))
        right = reversed_within(turned.transpose(0, 1), lengths, first=0)
        return torch.cat([left.transpose(0, 1), right], dim=2)


class BiLstmStack(nn.Module):
    """Several biLSTM layers with dropout after each.

    Args:
        size: D.
        hidden_size: H.
        n_layers: at least 1.
        dropout: after each layer.
    """

    def __init__(self, size: int, hidden_size: int, n_layers: int = 1, dropout: float = BODY_DROPOUT) -> None:
        super().__init__()
        sizes = chain([size], repeat(2 * hidden_size, n_layers - 1))
        self.layers = nn.ModuleList(BiLstm(each, hidden_size) for each in sizes)
        self.dropout = VariationalDropout(dropout)
        self.size = 2 * hidden_size

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(B, W, D), (B,) -> (B, W, 2 H).

        A text of more than `MOST_WORDS` runs by itself, so how far gradients go does not depend on the batch.
        """
        alone = (lengths > MOST_WORDS).nonzero()[:, 0].tolist() if torch.is_grad_enabled() else []
        if not alone or len(x) == 1:
            return self._run(x, lengths)
        together = [row for row in range(len(x)) if row not in set(alone)]
        result = x.new_zeros(len(x), x.shape[1], self.size)
        for rows in [rows for rows in (together, *([row] for row in alone)) if rows]:
            longest = int(lengths[rows].max())
            places = torch.tensor(rows, device=x.device)
            part = self._run(x[places, :longest], lengths[places])
            padded = nn.functional.pad(part, (0, 0, 0, x.shape[1] - longest))
            result = result.to(part.dtype).index_copy(0, places, padded)
        return result

    def _run(self, x: Tensor, lengths: Tensor) -> Tensor:
        for layer in self.layers:
            x = self.dropout(layer(x, lengths).transpose(0, 1)).transpose(0, 1)
        return x


def _run(lstm: WeightDropLstm, x: Tensor) -> Tensor:
    """(W, B, D) -> (W, B, H), the beginning of a long text without gradients."""
    first = max(0, len(x) - MOST_WORDS) if torch.is_grad_enabled() else 0
    parts, state = [], None
    if first:
        with torch.no_grad():
            beginning, state = lstm(x[:first], None)
        parts.append(beginning)
    states, _ = lstm(x[first:], state)
    return torch.cat([*parts, states])
