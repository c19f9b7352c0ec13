"""The range test's updates against a loop written out with torch alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.training.toy import N_BATCHES, Regression
from unfreeze.training.loop_settings import LoopSettings
from unfreeze.training.processes import make_accelerator
from unfreeze.training.rate_test import rate_test
from unfreeze.transfer.policies import TransferPolicy

LOW, HIGH, STEPS = 1e-4, 1.0, 20


def regression_without_biases() -> Regression:
    """Two layer groups; AdamW would not decay biases."""
    regression = Regression()
    regression.model = nn.Sequential(nn.Linear(4, 6, bias=False), nn.Linear(6, 1, bias=False))
    return regression


def by_hand(discriminative: float) -> list[float]:
    """The loss before each update."""
    regression = regression_without_biases()
    groups = regression.layer_groups()
    optimizer = torch.optim.AdamW([{"params": group} for group in groups], betas=(0.8, 0.99))
    losses = []
    for step in range(STEPS):
        rate = LOW * (HIGH / LOW) ** (step / (STEPS - 1))
        for depth, group in enumerate(reversed(optimizer.param_groups)):
            group["lr"] = rate / discriminative**depth
        inputs, targets = regression.data[step % N_BATCHES]
        loss = (regression.model(inputs) - targets).square().mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(list(regression.model.parameters()), 1.0)
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


@pytest.mark.parametrize("discriminative", [1.0, 2.6])
def test_losses_are_those_of_the_loop_written_out(discriminative: float) -> None:
    curve = rate_test(
        regression_without_biases(),
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
