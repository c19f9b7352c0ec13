"""Cache of tensors computed from the parameters of a layer: other number formats, lookup tables, other memory layouts.

Used in passes without gradients, which would otherwise compute the same tensors again for each batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from unfreeze.encoders.layers.products import compute_type

T = TypeVar("T")
Version = tuple[object, ...]


class _Updates:
    """Number of optimizer steps in this process: fused optimizers do not increase the version counters of parameters."""

    number = 0


def _count_update(*_: Any) -> None:
    _Updates.number += 1


register_optimizer_step_post_hook(_count_update)


class WeightCache:
    """Results by name, valid until one of their parameters changes.

    A parameter counts as changed when torch's version counter increases (in-place operations, loading), when its memory
    moves (`module.to`), or after any optimizer step. Writes through `parameter.data` go unnoticed and must be avoided.
    """

    def __init__(self) -> None:
        self._results: dict[object, tuple[Version, object]] = {}

    def get(self, name: object, parameters: Iterable[Tensor], make: Callable[[], T]) -> T:
        """Return the result of `make()`, or the cached one; parameters created in inference mode are never cached."""
        tensors = list(parameters)
        if any(tensor.is_inference() for tensor in tensors):
            return make()
        version: Version = (_Updates.number, *((t._version, t.data_ptr(), t.dtype) for t in tensors))
        cached = self._results.get(name)
        if cached is None or cached[0] != version:
            cached = self._results[name] = version, make()
        return cached[1]  # type: ignore[return-value]

    def __deepcopy__(self, memo: object) -> WeightCache:
        return WeightCache()

    def __reduce__(self) -> tuple[type[WeightCache], tuple[()]]:
        # Pickles without the results, which can be computed again.
        return WeightCache, ()


class CachedLinear(nn.Linear):
    """`nn.Linear` that caches its weights in the compute format, for passes without gradients."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        self.cached = WeightCache()

    def forward(self, x: Tensor) -> Tensor:
        """(..., inputs) -> (..., outputs)."""
        dtype = compute_type(x)
        if torch.is_grad_enabled() or dtype == self.weight.dtype:
            return super().forward(x)

        def convert() -> tuple[Tensor, Tensor]:
            return self.weight.detach().to(dtype), self.bias.detach().to(dtype)

        weight, bias = self.cached.get(dtype, (self.weight, self.bias), convert)
        return F.linear(x.to(dtype), weight, bias)
