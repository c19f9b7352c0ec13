"""What the training loop trains: a model, its batches, its loss."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn

from unfreeze.transfer.policies import LayerGroups


@dataclass(frozen=True)
class Loss:
    """What an objective says of one process's part of a batch."""

    total: Tensor
    """Summed over the items."""
    n_items: int
    """Targets or examples that `total` adds up."""
    penalty: Tensor | None = None
    """A mean that is added, such as activation regularization."""


class Objective(Protocol):
    """What is trained, and on what."""

    model: nn.Module

    def layer_groups(self) -> LayerGroups:
        """Parameters bottom to top."""

    def n_batches(self, epoch: int) -> int:
        """Batches of an epoch, the same in every process."""

    def batches(self, epoch: int, start: int) -> Iterator[Any]:
        """This process's part of the batches of an epoch from number `start` on."""

    def loss(self, batch: Any) -> Loss:
        """Forward pass in training mode."""

    def rate_scale(self, batch: Any) -> float:
        """A factor on the rates for this batch."""

    def carried(self) -> dict[str, Tensor]:
        """State carried from batch to batch; the first dimension is the lanes of this process."""

    def carry(self, tensors: dict[str, Tensor]) -> None:
        """Take back what `carried` gave, for all lanes of all processes."""

    def validate(self) -> dict[str, float]:
        """Held-out figures, with `loss`, and `score` (higher is better); empty where nothing is held out."""
