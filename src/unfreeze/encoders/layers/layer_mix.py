"""Scalar mix: a learned, task-specific weighted sum of the layers of an encoder (Peters et al. 2018, equation 1).

    mix = gamma * sum_j softmax(w)_j h_j

Initially w is 0, so that all layers have equal weights, and gamma is 1. An L2 penalty on w keeps the weights close to each
other; with a large penalty the mix stays an average. Layers of different widths are first projected to the widest one.

Shapes: B batch, T positions, L layers, D_l widths, D the largest width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unfreeze.errors import UserError


class LayerMix(nn.Module):
    """Weighted sum of layers with learned weights.

    Args:
        widths: D_l of each layer.
        layer_norm: apply layer normalization to each vector first (never over the batch).
    """

    def __init__(self, widths: Sequence[int], *, layer_norm: bool = False) -> None:
        super().__init__()
        if not widths:
            raise UserError("a layer mix needs at least one layer")
        self.layer_norm, self.width = layer_norm, max(widths)
        self.weights = nn.Parameter(torch.zeros(len(widths)))
        self.gamma = nn.Parameter(torch.ones(1))
        unequal = len(set(widths)) > 1
        self.projections = nn.ModuleList(nn.Linear(width, self.width) for width in widths if unequal)

    def forward(self, layers: Sequence[Tensor]) -> Tensor:
        """L tensors (B, T, D_l) -> (B, T, D)."""
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
        """softmax(w), the weight of each layer (L,)."""
        return torch.softmax(self.weights, dim=0)

    def penalty(self, coefficient: float) -> Tensor:
        """Return coefficient * |w|^2, to be added to the loss."""
        return coefficient * self.weights.square().sum()

    def extra_repr(self) -> str:
        return f"layers={len(self.weights)}, width={self.width}, layer_norm={self.layer_norm}"
