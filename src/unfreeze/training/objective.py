"""What the training loop trains: a model with its batches and its loss."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn

from unfreeze.datasets.batches import bucketed_batches
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
    validation: Any
    """Held-out data; None if there are none."""

    def layer_groups(self) -> LayerGroups:
        """The parameters in groups from bottom to top, the unit of transfer policies."""

    def n_batches(self, epoch: int) -> int:
        """Number of batches in an epoch, the same in every process."""

    def batches(self, epoch: int, start: int) -> Iterator[Any]:
        """This process's part of the batches of an epoch from number `start` on."""

    def loss(self, batch: Any) -> Loss:
        """Run the forward pass in training mode; the loop does the rest of the update."""

    def rate_scale(self, batch: Any) -> float:
        """Factor of all learning rates for this batch, such as its length relative to the usual one."""

    def carried(self) -> dict[str, Tensor]:
        """State carried from batch to batch; the first dimension runs over the lanes of this process."""

    def carry(self, tensors: dict[str, Tensor]) -> None:
        """Restore the state that `carried` returned, given for all lanes of all processes."""

    def validate(self) -> dict[str, float]:
        """Metrics on held-out data, among them `loss` and `score` (higher is better); empty without such data."""


class SeparateExamples:
    """The part of an `Objective` that is the same for all tasks whose examples do not depend on each other.

    Args:
        network: module with `layer_groups()`, trained in place.
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
        groups: LayerGroups = self.model.layer_groups()  # type: ignore[operator]
        return groups

    def epoch_batches(self, epoch: int) -> list[list[int]]:
        """Indices of the examples in each batch, over all processes."""
        return bucketed_batches(self.lengths, batch_size=self.batch_size, seed=self.seed * 1_000_003 + epoch)

    def n_batches(self, epoch: int) -> int:
        return len(self.epoch_batches(epoch))

    def batches(self, epoch: int, start: int) -> Iterator[Any]:
        """Indices of the examples of this process, batch by batch."""
        for indices in self.epoch_batches(epoch)[start:]:
            yield indices[self.rank :: self.world_size]

    def rate_scale(self, batch: Any) -> float:
        """1: every batch has the same learning rate."""
        return 1.0

    def carried(self) -> dict[str, Tensor]:
        """No state is carried from example to example."""
        return {}

    def carry(self, tensors: dict[str, Tensor]) -> None:
        """Nothing to restore: no state is carried."""
