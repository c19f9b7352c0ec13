"""A learning-rate range test on an objective of the training loop, as run by `find-rate`.

Updates are those of the loop (with the same discriminative learning rates, clipping and optimizer), with every layer group
unfrozen. The test makes at most `steps` updates and leaves the model in a useless state.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING

from torch import nn

from unfreeze.progress import SILENT, Progress
from unfreeze.training.loop import layer_optimizer, seed_everything
from unfreeze.training.loop_settings import LoopSettings
from unfreeze.training.objective import Objective
from unfreeze.training.processes import make_accelerator
from unfreeze.transfer.policies import TransferPolicy, apply_rates
from unfreeze.transfer.rate_finder import RateCurve, find_rate

if TYPE_CHECKING:
    from accelerate import Accelerator


def rate_test(
    objective: Objective,
    *,
    policy: TransferPolicy,
    settings: LoopSettings,
    low: float = 1e-6,
    high: float = 1.0,
    steps: int = 100,
    accelerator: Accelerator | None = None,
    progress: Progress = SILENT,
) -> RateCurve:
    """Increase the learning rate of the last layer group from `low` to `high`, with one update at each.

    Args:
        objective: its batches are read again from the beginning if there are fewer than `steps`.
        policy: its ratio between layer groups is used; its learning rate, schedule and gradual unfreezing are not.
        settings: optimizer, weight decay, clipping and seed.

    Raises:
        UserError: the range is empty, or the loss never falls within it.
    """
    accelerator = accelerator or make_accelerator()
    seed_everything(settings.seed)
    objective.model.to(accelerator.device).train()
    groups = objective.layer_groups()
    unit_rates = replace(policy, learning_rate=1.0, gradual=False).group_rates(len(groups), 0)
    optimizer = layer_optimizer(groups, unit_rates, settings)
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    batches = (batch for epoch in count() for batch in objective.batches(epoch, 0))

    def loss_at(learning_rate: float) -> float:
        batch = next(batches)
        apply_rates(optimizer, groups, unit_rates, learning_rate * objective.rate_scale(batch))
        with accelerator.autocast():
            loss = objective.loss(batch)
        mean = loss.total / max(1, loss.n_items)
        (mean if loss.penalty is None else mean + loss.penalty).backward()  # type: ignore[no-untyped-call]
        if settings.clip is not None:
            nn.utils.clip_grad_norm_(parameters, settings.clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return float(mean.detach())

    return find_rate(loss_at, low=low, high=high, steps=steps, progress=progress)
