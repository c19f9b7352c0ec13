"""A convolution with the batch normalization, the residual and the ReLU that follow it.

Where neither the convolution nor the normalization changes, both are one convolution. With fixed statistics, batch normalization
multiplies each channel and adds to it, which the weights can do as well, so the feature map is written once instead of twice. This
holds in predictions, and in training for frozen stages.

Shapes: B batch, D channels, H and W height and width of a feature map.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unfreeze.encoders.layers.map_norm import MapNorm
from unfreeze.encoders.layers.products import compute_type
from unfreeze.encoders.layers.weight_cache import WeightCache


class ConvNorm:
    """Runs a convolution without bias and what follows it; holds no parameters, which keep the published names of their modules."""

    def __init__(self) -> None:
        self._cache = WeightCache()

    def __call__(
        self, conv: nn.Conv2d, norm: MapNorm, x: Tensor, residual: Tensor | None = None, *, relu: bool = True
    ) -> Tensor:
        """(B, D, H, W) and the residual (B, D', H', W') -> (B, D', H', W')."""
        trains = torch.is_grad_enabled() and (conv.weight.requires_grad or norm.weight.requires_grad)
        if trains or not norm.is_fixed:
            found: Tensor = norm(conv(x), residual, relu)
            return found
        dtype = compute_type(x)

        def fold() -> tuple[Tensor, Tensor]:
            scale, shift = (each.detach() for each in norm.scale_and_shift())
            weight = (conv.weight.detach() * scale[:, None, None, None]).to(dtype)
            return weight.contiguous(memory_format=torch.channels_last), shift.to(dtype)

        assert norm.running_mean is not None and norm.running_var is not None
        sources = (conv.weight, norm.weight, norm.bias, norm.running_mean, norm.running_var)
        weight, bias = self._cache.get(dtype, sources, fold)
        y = F.conv2d(x.to(dtype), weight, bias, conv.stride, conv.padding)
        if residual is not None:
            y = y + residual
        return F.relu(y) if relu else y
