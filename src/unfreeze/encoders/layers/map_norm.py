"""Batch normalization of feature maps, with the residual and the ReLU that follow it in a residual network.

Shapes: B batch, D channels, H and W height and width of a feature map.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unfreeze.encoders.layers import map_norm_kernel
from unfreeze.encoders.layers.batch_norm import are_several, summed
from unfreeze.encoders.layers.parallel import KERNEL_FORMATS

SMALLEST = 2**20
"""Numbers in the smallest map that the kernel reads; operations of torch are as fast on maps that stay in the cache."""


class MapNorm(nn.BatchNorm2d):
    """Batch normalization of feature maps that is not trained while its weights are frozen.

    With frozen weights, the running statistics are used and stay as they are: those of a small batch of another task would
    change what the frozen convolutions were trained to give. With several processes, statistics are those of the whole batch.
    """

    @property
    def is_fixed(self) -> bool:
        """Whether the running statistics are used, so that this is a multiplication and an addition for each channel."""
        return not (self.training and self.weight.requires_grad)

    def scale_and_shift(self) -> tuple[Tensor, Tensor]:
        """The factor and the summand of each channel, if `is_fixed`: (D,), (D,)."""
        assert self.running_mean is not None and self.running_var is not None
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        return scale, self.bias - self.running_mean * scale

    def forward(self, x: Tensor, residual: Tensor | None = None, relu: bool = False) -> Tensor:
        """Normalize, add the residual, and take the positive part: (B, D, H, W), (B, D, H, W) -> (B, D, H, W)."""
        if not self.is_fixed and not are_several() and _has_kernel(x, residual):
            found: Tensor = _NormRelu.apply(x, residual, self.weight, self.bias, self, relu)  # type: ignore[no-untyped-call]
            return found
        y = self._normalized(x)
        if residual is not None:
            y = y + residual
        return F.relu(y, inplace=residual is not None) if relu else y

    def _normalized(self, x: Tensor) -> Tensor:
        # A single place has no variance.
        if self.is_fixed or (x.numel() == x.shape[1] and not are_several()):
            return self._by_running_statistics(x)
        if not are_several():
            share = self._count_batch()
            return F.batch_norm(
                x, self.running_mean, self.running_var, self.weight, self.bias, True, share, self.eps
            )
        places = (0, 2, 3)
        exact = x.double()
        count = summed(exact.new_tensor([float(x.numel() // x.shape[1])]))
        if count == 1:
            return self._by_running_statistics(x)
        mean = summed(exact.sum(places)) / count
        centered = exact - mean[:, None, None]
        variance = summed(centered.square().sum(places)) / count
        self.track(mean.detach(), (variance * count / (count - 1)).detach())
        scale = (variance + self.eps).rsqrt() * self.weight
        return (centered * scale[:, None, None] + self.bias[:, None, None]).to(x.dtype)

    def _by_running_statistics(self, x: Tensor) -> Tensor:
        return F.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps
        )

    def track(self, mean: Tensor, variance: Tensor) -> None:
        """Move the running statistics towards those of a batch, whose variance is the unbiased one: (D,), (D,)."""
        assert self.running_mean is not None and self.running_var is not None
        share = self._count_batch()
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_(variance.to(self.running_var.dtype), share)

    def _count_batch(self) -> float:
        """Count a batch; returns its share of the running statistics.

        That of a plain mean over the first batches, where torch's moving average would still be close to its initial 0 and 1: after
        a few updates, such a network would be another one in evaluation than in training.
        """
        assert self.num_batches_tracked is not None and self.momentum is not None
        self.num_batches_tracked += 1
        return max(self.momentum, 1.0 / int(self.num_batches_tracked))


def _has_kernel(x: Tensor, residual: Tensor | None) -> bool:
    """Whether the kernel reads these maps: large ones on a CPU, with their channels next to each other, in groups of 16."""
    given = [x] if residual is None else [x, residual]
    return (
        x.device.type == "cpu"
        and x.dtype in KERNEL_FORMATS
        and not x.shape[1] % map_norm_kernel.LANES
        and x.numel() >= max(SMALLEST, 2 * x.shape[1])
        and all(
            each.dtype == x.dtype and each.is_contiguous(memory_format=torch.channels_last) for each in given
        )
    )


def _rows(maps: Tensor) -> Tensor:
    """(B, D, H, W) with channels last -> (B * H * W, D), without a copy."""
    return maps.permute(0, 2, 3, 1).reshape(-1, maps.shape[1])


def _maps(rows: Tensor, like: Tensor) -> Tensor:
    batch, width, height, length = like.shape
    return rows.view(batch, height, length, width).permute(0, 3, 1, 2)


class _NormRelu(torch.autograd.Function):
    """Batch normalization by the statistics of the batch, residual and ReLU in the compiled kernel."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, residual: Tensor | None, weight: Tensor, bias: Tensor, norm: MapNorm, relu: bool
    ) -> Tensor:
        rows = _rows(x)
        mean, variance = (torch.from_numpy(each) for each in map_norm_kernel.moments(rows))
        norm.track(mean, variance * (len(rows) / (len(rows) - 1)))
        inverse = (variance + norm.eps).rsqrt()
        scale = (weight * inverse).float()
        other = None if residual is None else _rows(residual)
        out = map_norm_kernel.apply(rows, other, mean.float(), scale, bias.detach(), relu)
        ctx.has_residual = residual is not None
        ctx.save_for_backward(x, out if relu else None, mean.float(), inverse.float(), weight)
        return _maps(out, x)

    @staticmethod
    def backward(ctx: Any, d_out: Tensor) -> tuple[Tensor | None, ...]:
        x, out, mean, inverse, weight = ctx.saved_tensors
        rows = _rows(d_out.to(x.dtype).contiguous(memory_format=torch.channels_last))
        d_x, d_residual, d_weight, d_bias = map_norm_kernel.gradients(
            _rows(x),
            out,
            rows,
            mean,
            inverse,
            weight,
            has_residual=ctx.has_residual,
        )
        of_residual = None if d_residual is None else _maps(d_residual, x)
        return _maps(d_x, x), of_residual, d_weight, d_bias, None, None
