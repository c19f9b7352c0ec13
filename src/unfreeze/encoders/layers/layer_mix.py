"""One vector from all layers of an encoder: a task's own weighted sum (Peters et al. 2018, equation 1).

    mix = gamma * sum_j softmax(w)_j h_j

w starts at 0, so that all layers count alike, and gamma at 1. An L2 penalty on w keeps the weights near each other; with a
large one the mix stays an average. Layers of unequal widths are projected linearly to the widest first.

Legend: B batch, T positions, L layers, D_l widths, D the widest.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unfreeze.errors import UserError


class LayerMix(nn.Module):
    """Weights of layers.

    Args:
        widths: D_l of each layer.
        layer_norm: normalize each layer's vectors first, each by itself: a mix never depends on the rest of the batch.
    """

    def __init__(self, widths: Sequence[int], *, layer_norm: bool = False) -> None:
        super().__init__()
        if not widths:
            raise UserError("a mix needs layers")
        self.layer_norm, self.width = layer_norm, max(widths)
        self.weights = nn.Parameter(torch.zeros(len(widths)))
        self.gamma = nn.Parameter(torch.ones(1))
        unequal = len(set(widths)) > 1
        self.projections = nn.ModuleList(nn.Linear(width, self.width) for width in widths if unequal)

    def forward(self, layers: Sequence[Tensor]) -> Tensor:
        """L times (B, T, D_l) -> (B, T, D)."""
        found = list(layers)
        if len(found) != len(self.weights):
            raise UserError(f"a mix of {len(self.weights)} layers was given {len(found)}")
        if self.layer_norm:
            found = [F.layer_norm(x, x.shape[-1:]) for x in found]
        if len(self.projections):
            found = [project(x) for project, x in zip(self.projections, found, strict=True)]
        first, *others = self.shares.unbind()
        total = found[0] * first
        for share, x in zip(others, found[1:], strict=True):
            total = total + share * x
        return self.gamma * total

    @property
    def shares(self) -> Tensor:
        """(L,) softmax(w): how much each layer counts."""
        return torch.softmax(self.weights, dim=0)

    def penalty(self, strength: float) -> Tensor:
        """strength * |w|^2, to be added to a loss."""
        return strength * self.weights.square().sum()

    def extra_repr(self) -> str:
        """What `print(module)` shows."""
        return f"layers={len(self.weights)}, width={self.width}, layer_norm={self.layer_norm}"
