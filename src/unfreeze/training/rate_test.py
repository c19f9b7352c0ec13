"""A learning-rate range test on an objective of the training loop: what `find-rate` runs.

Updates are those of the loop (same rates by layer group, clipping and optimizer), with every layer group thawed. The
objective's model is spoiled afterwards. It costs at most `steps` updates.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from typing import Any

from accelerate import Accelerator
from torch import nn

from unfreeze.progress import SILENT, Progress
from unfreeze.training.loop import WEIGHT_DECAY, seed_everything
from unfreeze.training.loop_settings import LoopSettings
from unfreeze.training.objective import Objective
from unfreeze.training.processes import make_accelerator
from unfreeze.transfer.optimizers import make_optimizer
from unfreeze.transfer.policies import TransferPolicy, apply_rates, parameter_groups
from unfreeze.transfer.rate_finder import RateCurve, find_rate


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
    """Raise the rate of the last layer group from `low` to `high`, an update at each rate.

    Args:
        objective: its batches are read again from the beginning where they are fewer than `steps`.
        policy: its discrimination between layer groups holds; its own rate, schedule and gradual thawing do not.
        settings: optimizer, weight decay, clipping and seed.

    Raises:
        UserError: a range that cannot work, or a loss that never falls within it.
    """
    accelerator = accelerator or make_accelerator()
    seed_everything(settings.seed)
    objective.model.to(accelerator.device).train()
    groups = objective.layer_groups()
    unit_rates = replace(policy, learning_rate=1.0, gradual=False).group_rates(len(groups), 0)
    decay = WEIGHT_DECAY[settings.optimizer] if settings.weight_decay is None else settings.weight_decay
    parameters = parameter_groups(groups, unit_rates, weight_decay=decay)
    optimizer = make_optimizer(settings.optimizer, parameters, betas=settings.betas, weight_decay=decay)
    learned = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    batches = _endless(objective)

    def loss_at(rate: float) -> float:
        batch = next(batches)
        apply_rates(optimizer, groups, unit_rates, rate * objective.rate_scale(batch))
        with accelerator.autocast():
            loss = objective.loss(batch)
        mean = loss.total / max(1, loss.n_items)
        (mean if loss.penalty is None else mean + loss.penalty).backward()  # type: ignore[no-untyped-call]
        if settings.clip is not None:
            nn.utils.clip_grad_norm_(learned, settings.clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return float(mean.detach())

    return find_rate(loss_at, low=low, high=high, steps=steps, progress=progress)


def _endless(objective: Objective) -> Iterator[Any]:
    for epoch in count():
        yield from objective.batches(epoch, 0)
