"""The range test's updates against a loop written out with torch alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from unfreeze.training.loop_settings import LoopSettings
from unfreeze.training.objective import Loss
from unfreeze.training.processes import make_accelerator
from unfreeze.training.rate_test import rate_test
from unfreeze.transfer.policies import LayerGroups, TransferPolicy

N_BATCHES = 3
LOW, HIGH, STEPS = 1e-4, 1.0, 20


class Regression:
    """Two linear layers as two layer groups, on three fixed batches."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.model: nn.Module = nn.Sequential(nn.Linear(4, 6, bias=False), nn.Linear(6, 1, bias=False))
        self.data = [(torch.randn(8, 4), torch.randn(8, 1)) for _ in range(N_BATCHES)]

    def layer_groups(self) -> LayerGroups:
        return [[parameter] for parameter in self.model.parameters()]

    def n_batches(self, epoch: int) -> int:
        return N_BATCHES

    def batches(self, epoch: int, start: int) -> Iterator[tuple[Tensor, Tensor]]:
        return iter(self.data[start:])

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
        return {}


def by_hand(discriminative: float) -> list[float]:
    """The loss before each update."""
    regression = Regression()
    first, second = regression.model.parameters()
    optimizer = torch.optim.AdamW([{"params": [first]}, {"params": [second]}], betas=(0.8, 0.99))
    losses = []
    for step in range(STEPS):
        rate = LOW * (HIGH / LOW) ** (step / (STEPS - 1))
        optimizer.param_groups[0]["lr"], optimizer.param_groups[1]["lr"] = rate / discriminative, rate
        inputs, targets = regression.data[step % N_BATCHES]
        loss = (regression.model(inputs) - targets).square().mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_([first, second], 1.0)
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


@pytest.mark.parametrize("discriminative", [1.0, 2.6])
def test_losses_are_those_of_the_loop_written_out(discriminative: float) -> None:
    curve = rate_test(
        Regression(),
        policy=TransferPolicy(learning_rate=0.123, discriminative=discriminative, gradual=True),
        settings=LoopSettings(),
        low=LOW,
        high=HIGH,
        steps=STEPS,
        accelerator=make_accelerator("fp32"),
    )
    expected = by_hand(discriminative)
    assert curve.losses == pytest.approx(expected[: len(curve.losses)], rel=1e-4)
    assert curve.learning_rates[0] == pytest.approx(LOW) and len(curve.losses) >= 15
