"""What is computed from a layer's parameters and kept until one of them changes: other number formats, tables, other orders.

Only for passes without gradients, which would otherwise make the same tensors again for each batch.
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
Facts = tuple[object, ...]


class _Updates:
    """How often any optimizer of this process has made a step: a fused one writes into parameters without torch's count."""

    number = 0


def _count_update(*_: Any) -> None:
    _Updates.number += 1


register_optimizer_step_post_hook(_count_update)


class WeightCache:
    """Results by their names, each good for parameters as they are.

    A parameter has changed when torch counts a write into it (loading, `copy_` and all that ends in _), when its memory is
    another (`module.to`), or when an optimizer has made a step. A write through `parameter.data` is not counted: nothing
    here does that.
    """

    def __init__(self) -> None:
        self._kept: dict[object, tuple[Facts, object]] = {}

    def get(self, name: object, parameters: Iterable[Tensor], make: Callable[[], T]) -> T:
        """What `make` gives, or gave for the same parameters; nothing is kept of what was made in inference mode."""
        tensors = list(parameters)
        if any(tensor.is_inference() for tensor in tensors):
            return make()
        facts: Facts = (_Updates.number, *((t._version, t.data_ptr(), t.dtype) for t in tensors))
        known = self._kept.get(name)
        if known is None or known[0] != facts:
            known = self._kept[name] = facts, make()
        return known[1]  # type: ignore[return-value]

    def __deepcopy__(self, memo: object) -> WeightCache:
        """A copied layer makes its own."""
        return WeightCache()

    def __reduce__(self) -> tuple[type[WeightCache], tuple[()]]:
        """Nothing is stored."""
        return WeightCache, ()


class CachedLinear(nn.Linear):
    """`nn.Linear` whose weights are converted to a narrower format once, where nothing learns, and not at each call."""

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
