"""A small regression as an objective: three layers as layer groups, dropout, and held-out figures that a test may script."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from unfreeze.training.objective import Loss
from unfreeze.transfer.policies import LayerGroups

N_BATCHES = 4


class Regression:
    """Batches are fixed; `before` is called with (epoch, number) before each batch is handed out."""

    def __init__(
        self,
        *,
        dropout: float = 0.0,
        figures: list[dict[str, float]] | None = None,
        before: Callable[[int, int], None] | None = None,
    ) -> None:
        torch.manual_seed(0)
        layers = [nn.Linear(4, 6), nn.Dropout(dropout), nn.Linear(6, 5, bias=False), nn.Linear(5, 1)]
        self.model: nn.Module = nn.Sequential(*layers)
        self.data = [(torch.randn(8, 4), torch.randn(8, 1)) for _ in range(N_BATCHES)]
        self.figures, self.before, self.validation = figures, before, figures
        self.seen: list[dict[str, Tensor]] = []
        """The weights at each validation."""

    @property
    def weights(self) -> dict[str, Tensor]:
        """A copy."""
        return {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}

    def layer_groups(self) -> LayerGroups:
        return [list(layer.parameters()) for layer in self.model if list(layer.parameters())]  # type: ignore[attr-defined]

    def n_batches(self, epoch: int) -> int:
        return N_BATCHES

    def batches(self, epoch: int, start: int) -> Iterator[tuple[Tensor, Tensor]]:
        for number in range(start, N_BATCHES):
            if self.before is not None:
                self.before(epoch, number)
            yield self.data[number]

    def loss(self, batch: tuple[Tensor, Tensor]) -> Loss:
        inputs, targets = batch
        return Loss((self.model(inputs) - targets).square().sum(), len(inputs))

    def rate_scale(self, batch: tuple[Tensor, Tensor]) -> float:
        return 1.0

    def carried(self) -> dict[str, Tensor]:
        return {}

    def carry(self, tensors: dict[str, Tensor]) -> None:
        pass

    def validate(self) -> dict[str, float]:
        self.seen.append(self.weights)
        if self.figures is None:
            return {}
        return self.figures[len(self.seen) - 1]
