"""What of a pre-trained model moves during a task, when, and how fast.

Howard & Ruder 2018 (https://arxiv.org/abs/1801.06146, sections 3.2 and 3.3): discriminative rates (each lower
layer group learns 2.6 times slower) and gradual unfreezing (the last group first, one more an epoch). Layer
groups come from the model, bottom to top; this file never looks inside them, so the same policy moves an LSTM
and a ConvNet.

What is frozen below the lowest learning group costs nothing: it needs no gradients, so backward stops above
it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args

from torch import nn
from torch.optim import Optimizer

from unfreeze.errors import UserError
from unfreeze.transfer.schedules import SCHEDULES

Mode = Literal["scratch", "frozen", "fine-tune"]
LayerGroups = list[list[nn.Parameter]]


@dataclass(frozen=True, kw_only=True)
class TransferPolicy:
    """How the parameters of a model move during a task.

    Raises:
        UserError: a value that cannot work.
    """

    mode: Mode = "fine-tune"
    """`scratch`: all groups learn at `rate`; `frozen`: only the last one, the head; `fine-tune`: as below."""
    rate: float
    """The maximal rate of the last group."""
    discriminative: float = 2.6
    """Fine-tuning: each lower group learns this many times slower than the one above it; 1 turns it off."""
    gradual: bool = True
    """Fine-tuning: epoch 0 trains the last group only, each epoch thaws one more."""
    schedule: str = "slanted"
    """How the rates move during a run: a name in `schedules.SCHEDULES`."""

    def __post_init__(self) -> None:
        if self.mode not in get_args(Mode):
            raise UserError(f"transfer mode {self.mode!r} is unknown: use one of {', '.join(get_args(Mode))}")
        if not 0 < self.rate < math.inf:
            raise UserError(f"rate {self.rate} cannot work: use a number above 0, such as 0.01")
        if not 1 <= self.discriminative < math.inf:
            raise UserError(
                f"discriminative {self.discriminative} cannot work: use 1 (off) or more, such as 2.6"
            )
        if self.schedule not in SCHEDULES:
            raise UserError(f"schedule {self.schedule!r} is unknown: use one of {', '.join(SCHEDULES)}")

    def group_rates(self, n_groups: int, epoch: int) -> list[float]:
        """The maximal rate of each layer group in this epoch, bottom to top; 0.0 means frozen.

        Args:
            n_groups: layer groups of the model, at least 1.
            epoch: epochs of this task already finished.
        """
        assert n_groups >= 1 and epoch >= 0, (n_groups, epoch)
        if self.mode == "scratch":
            return [self.rate] * n_groups
        if self.mode == "frozen":
            return [0.0] * (n_groups - 1) + [self.rate]
        learning = epoch + 1 if self.gradual else n_groups
        depths = range(n_groups - 1, -1, -1)
        return [self.rate / self.discriminative**depth if depth < learning else 0.0 for depth in depths]

    def thaws(self, n_groups: int, epoch: int) -> bool:
        """Whether this epoch trains more layer groups than the one before it."""
        learning = [
            sum(rate > 0 for rate in self.group_rates(n_groups, e)) for e in (max(0, epoch - 1), epoch)
        ]
        return learning[1] > learning[0]


def parameter_groups(
    layer_groups: LayerGroups, rates: list[float], *, weight_decay: float
) -> list[dict[str, Any]]:
    """Groups for a torch optimizer: of each layer group its matrices, then its vectors without weight decay.

    Biases, the gains of normalizations and mixing weights are the parameters of at most one dimension: decay
    would only pull them off the scale that they are there to set. All layer groups are in the result, frozen
    ones too, and their order depends on the model alone, so that one optimizer and its saved state serve
    every epoch of a run.

    Args:
        layer_groups: the parameters, bottom to top; one that appears in several groups (tied weights) belongs
            to the lowest of them.
        rates: one rate a layer group, as of `TransferPolicy.group_rates`.
        weight_decay: of the matrices.

    Returns:
        Dictionaries with `params`, `lr`, `weight_decay` and `layer_group` (an index for `apply_rates`).
    """
    assert len(rates) == len(layer_groups), (len(rates), len(layer_groups))
    groups: list[dict[str, Any]] = []
    for index, parameters in enumerate(_owned(layer_groups)):
        matrices = [parameter for parameter in parameters if parameter.ndim > 1]
        vectors = [parameter for parameter in parameters if parameter.ndim <= 1]
        for members, decay in ((matrices, weight_decay), (vectors, 0.0)):
            if members:
                groups.append(
                    {"params": members, "lr": rates[index], "weight_decay": decay, "layer_group": index}
                )
    return groups


def apply_rates(
    optimizer: Optimizer, layer_groups: LayerGroups, rates: list[float], multiplier: float = 1.0
) -> None:
    """Set each group's rate to `rate * multiplier`; freeze all below the lowest learning group, no others.

    A frozen parameter loses its gradient as well as its `requires_grad`: an optimizer then passes it over,
    and neither its value nor its moments change. Under DistributedDataParallel, which fixes its set of
    parameters when it wraps the model, wrap again when this set changes.

    Args:
        optimizer: made from `parameter_groups(layer_groups, ...)`.
        layer_groups: the same groups as then. All their parameters learn when they are not frozen here: what
            must never move does not belong into a layer group.
        rates: one rate a layer group; 0 is frozen.
        multiplier: what the schedule says at this step.
    """
    assert len(rates) == len(layer_groups), (len(rates), len(layer_groups))
    for group in optimizer.param_groups:
        group["lr"] = rates[group["layer_group"]] * multiplier
    lowest = next((index for index, rate in enumerate(rates) if rate > 0), len(rates))
    for index, parameters in enumerate(_owned(layer_groups)):
        for parameter in parameters:
            parameter.requires_grad_(index >= lowest)
            if index < lowest:
                parameter.grad = None


def _owned(layer_groups: LayerGroups) -> Iterator[list[nn.Parameter]]:
    """Each group's parameters without those that a lower group holds already (nor the same one twice)."""
    seen: set[nn.Parameter] = set()
    for parameters in layer_groups:
        own = [parameter for parameter in dict.fromkeys(parameters) if parameter not in seen]
        seen.update(own)
        yield own
