"""A check, while a model is made, that its numbers fit into memory: sizes that are too large are refused before they are allocated."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, TypeVar

import torch
from torch.overrides import TorchFunctionMode

from unfreeze.errors import UserError, setting
from unfreeze.memory import memory_of_machine

SIZES = (
    "hidden_size",
    "embedding_size",
    "projection_size",
    "target_size",
    "size",
    "width",
    "channels",
    "characters",
    "n_layers",
)
"""The settings that make a model larger and are not bounded by the data, as the sizes of vocabularies are."""
BYTES = 12
"""For each number of a model in training, at the least: the number in fp32, its gradient, and a moment of the optimizer."""
FACTORIES: set[Any] = {torch.empty, torch.zeros, torch.ones}

ExamplesT = TypeVar("ExamplesT")
PlanT = TypeVar("PlanT")
NetworkT = TypeVar("NetworkT")


@contextmanager
def within_memory(settings: object) -> Iterator[None]:
    """Context in which a model is made; it also decorates a function that makes one.

    Args:
        settings: fields of this object that are in `SIZES` are sizes of the model.

    Raises:
        UserError: training the model takes more memory than the machine has.
    """
    with _Counting(settings):
        yield


def planned_within_memory(
    make: Callable[[ExamplesT, PlanT], NetworkT],
) -> Callable[[ExamplesT, PlanT], NetworkT]:
    """Decorate a function that makes a network of examples and a plan: the plan has the sizes."""

    @wraps(make)
    def checked(examples: ExamplesT, plan: PlanT) -> NetworkT:
        with within_memory(plan):
            return make(examples, plan)

    return checked


class _Counting(TorchFunctionMode):
    """Adds up the numbers of the tensors that are made."""

    def __init__(self, settings: object) -> None:
        super().__init__()
        self.settings, self.count, self.available = settings, 0, memory_of_machine()

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        # Encoders are loaded in here as well, by way of a sketch on the meta device, which takes no memory.
        if function in FACTORIES and torch.device(kwargs.get("device") or "cpu").type != "meta":
            self.count += math.prod(args[0] if args and isinstance(args[0], (tuple, list)) else args)
            if self.count * BYTES > self.available:
                self._refuse()
        return function(*args, **kwargs)

    def _refuse(self) -> None:
        sizes = {name: getattr(self.settings, name, None) or 0 for name in SIZES}
        largest = max(sizes, key=lambda name: sizes[name])
        raise UserError(
            f"{setting(largest, sizes[largest])} is too large for this machine: the model would have more than "
            f"{self.count / 1e9:,.1f} billion parameters, whose training takes at least {self.count * BYTES / 1e9:,.0f} GB "
            f"of memory, and there are {self.available / 1e9:,.0f} GB"
        )
