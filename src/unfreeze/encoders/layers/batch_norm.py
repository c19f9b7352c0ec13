"""Batch normalization whose statistics are those of the whole batch, over all processes.

Shapes: B batch, D features.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, distributed, nn


class _SumOverProcesses(torch.autograd.Function):
    """The sum of a tensor over processes; gradients are summed too, since every process uses the sum."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        result = x.clone()
        distributed.all_reduce(result)
        return result

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        grad = grad.clone()
        distributed.all_reduce(grad)
        return grad


def are_several() -> bool:
    """Whether several processes train together."""
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1


def summed(x: Tensor) -> Tensor:
    """The sum of a tensor over processes, if there are several."""
    if not are_several():
        return x
    result: Tensor = _SumOverProcesses.apply(x)  # type: ignore[no-untyped-call]
    return result


class BatchNorm(nn.BatchNorm1d):
    """Batch normalization over the batch of all processes, so that two processes make the same update as one.

    `torch.nn.SyncBatchNorm` does this only on GPUs. A single example has no variance and is normalized by the running
    statistics. Statistics are computed in float64: in float32, a feature that is the same in all documents, such as a
    maximum at the begin symbol, gets rounding errors (1e-4), which Adam would amplify to full steps.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(B, D) -> (B, D); B may be 0 in one of many processes."""
        if not self.training:
            return super().forward(x)
        exact = x if x.device.type == "mps" else x.double()  # MPS has no float64
        count = summed(exact.new_tensor([float(len(x))]))
        if count == 1:
            return F.batch_norm(
                x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps
            )
        mean = summed(exact.sum(0)) / count
        variance = summed((exact - mean).square().sum(0)) / count
        self._track(mean.detach(), (variance * count / (count - 1)).detach())
        normalized = ((exact - mean) * (variance + self.eps).rsqrt()).to(x.dtype)
        return torch.addcmul(self.bias, normalized, self.weight) if self.affine else normalized

    def _track(self, mean: Tensor, variance: Tensor) -> None:
        assert self.running_mean is not None and self.running_var is not None and self.momentum is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked += 1
        # A plain mean over the first batches, where torch's moving average would still be close to its initial 0 and 1.
        share = max(self.momentum, 1.0 / int(self.num_batches_tracked))
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_(variance.to(self.running_var.dtype), share)
