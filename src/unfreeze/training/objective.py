"""Objectives of the training loop: a model, its batches, its loss."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn

from unfreeze.text.batches import bucketed_batches
from unfreeze.transfer.policies import LayerGroups


@dataclass(frozen=True)
class Loss:
    """The loss of one process's part of a batch."""

    total: Tensor
    """Summed over the items."""
    n_items: int
    """Number of targets or examples in `total`."""
    penalty: Tensor | None = None
    """A mean to be added to the mean loss, such as activation regularization."""


class Objective(Protocol):
    """A model and the batches on which it is trained."""

    model: nn.Module

    def layer_groups(self) -> LayerGroups:
        """Layer groups from bottom to top."""

    def n_batches(self, epoch: int) -> int:
        """Batches of an epoch, the same in every process."""

    def batches(self, epoch: int, start: int) -> Iterator[Any]:
        """This process's part of the batches of an epoch from number `start` on."""

    def loss(self, batch: Any) -> Loss:
        """Forward pass in training mode."""

    def rate_scale(self, batch: Any) -> float:
        """Factor on the learning rates for this batch."""

    def carried(self) -> dict[str, Tensor]:
        """State carried from batch to batch; the first dimension is that of the lanes of this process."""

    def carry(self, tensors: dict[str, Tensor]) -> None:
        """Restore the state that `carried` returned, given for all lanes of all processes."""

    def validate(self) -> dict[str, float]:
        """Held-out metrics with `loss` and `score` (higher is better); empty without held-out data."""


class SeparateExamples:
    """The part of the loop's `Objective` that does not depend on the task.

    Args:
        network: trained in place.
        lengths: lengths of the examples, which are grouped by length.
        batch_size: examples per update, over all processes.
        rank, world_size: number of this process, and number of processes.
    """

    def __init__(
        self, network: Any, lengths: Sequence[int], *, batch_size: int, seed: int, rank: int, world_size: int
    ) -> None:
        self.model: nn.Module = network
        self.lengths = lengths
        self.batch_size, self.seed, self.rank, self.world_size = batch_size, seed, rank, world_size

    def layer_groups(self) -> LayerGroups:
        """The layer groups of the network."""
        groups: LayerGroups = self.model.layer_groups()  # type: ignore[operator]
        return groups

    def epoch_batches(self, epoch: int) -> list[list[int]]:
        """The numbers of the examples of each batch, over all processes."""
        return bucketed_batches(self.lengths, batch_size=self.batch_size, seed=self.seed * 1_000_003 + epoch)

    def n_batches(self, epoch: int) -> int:
        """Number of batches of an epoch."""
        return len(self.epoch_batches(epoch))

    def batches(self, epoch: int, start: int) -> Iterator[Any]:
        """The numbers of the examples of this process, batch by batch."""
        for numbers in self.epoch_batches(epoch)[start:]:
            yield numbers[self.rank :: self.world_size]

    def rate_scale(self, batch: Any) -> float:
        """1: every batch has the same learning rate."""
        return 1.0

    def carried(self) -> dict[str, Tensor]:
        """No state is carried from example to example."""
        return {}

    def carry(self, tensors: dict[str, Tensor]) -> None:
        """There is no state to restore."""
