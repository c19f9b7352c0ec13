"""Transfer policies: which layer groups of a pre-trained model are trained, from when on, and how fast.

Implements discriminative learning rates (each layer group learns 2.6 times more slowly than the one above it) and
gradual unfreezing (start with the last group, unfreeze one more per epoch) of Howard & Ruder 2018
(https://arxiv.org/abs/1801.06146, sections 3.2 and 3.3). The model lists its layer groups from bottom to top, and
nothing here looks inside them, so one policy serves every architecture.

Groups below the lowest trained one need no gradients, so the backward pass stops above them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from unfreeze.checked import need_positive
from unfreeze.errors import UserError, setting
from unfreeze.transfer.schedules import SCHEDULES

if TYPE_CHECKING:  # the command line reads the settings without loading torch
    from torch import nn
    from torch.optim import Optimizer

Mode = Literal["scratch", "frozen", "fine-tune"]
OptimizerName = Literal["adamw", "nt-asgd", "adagrad", "sgd"]
ScheduleName = Literal["slanted", "cosine", "constant", "plateau"]
LayerGroups: TypeAlias = "list[list[nn.Parameter]]"


@dataclass(frozen=True, kw_only=True)
class TransferPolicy:
    """How the parameters of a model are trained on a task.

    Raises:
        UserError: a value is out of range, or a name is unknown.
    """

    mode: Mode = "fine-tune"
    """`scratch`: all layer groups train at `learning_rate`; `frozen`: only the last one, the head; `fine-tune`: as below."""
    learning_rate: float
    """Largest learning rate, of the top layer group."""
    discriminative: float = 2.6
    """Factor by which the learning rate falls from each layer group to the one below it; 1 turns this off."""
    gradual: bool = True
    """Unfreeze the layer groups from the top, one more in each epoch, instead of all at once."""
    unfreeze: int | None = None
    """`fine-tune`: number of layer groups below the head that are trained, from the top; the others stay frozen (default: all)."""
    schedule: ScheduleName = "slanted"
    """Learning rate schedule; slanted is slanted triangular, plateau halves the rate whenever the validation loss rises."""

    def __post_init__(self) -> None:
        if self.mode not in get_args(Mode):
            raise UserError(f"transfer mode {self.mode!r} is unknown: use one of {', '.join(get_args(Mode))}")
        need_positive(self, "learning_rate", "unfreeze")
        if not 1 <= self.discriminative < math.inf:
            raise UserError(
                f"{setting('discriminative')} must be 1 (off) or more, such as 2.6, not {self.discriminative}"
            )
        if self.schedule not in SCHEDULES:
            raise UserError(
                f"{setting('schedule')} must be one of {', '.join(SCHEDULES)}, not {self.schedule!r}"
            )

    def group_rates(self, n_groups: int, epoch: int) -> list[float]:
        """Return the maximum learning rate of each layer group in an epoch, bottom to top; 0.0 means frozen.

        Args:
            n_groups: number of layer groups of the model, at least 1.
            epoch: index of the epoch, from 0.
        """
        assert n_groups >= 1 and epoch >= 0, (n_groups, epoch)
        if self.mode == "scratch":
            return [self.learning_rate] * n_groups
        if self.mode == "frozen":
            return [0.0] * (n_groups - 1) + [self.learning_rate]
        n_trained = epoch + 1 if self.gradual else n_groups
        if self.unfreeze is not None:
            n_trained = min(n_trained, 1 + self.unfreeze)
        depths = range(n_groups - 1, -1, -1)
        return [
            self.learning_rate / self.discriminative**depth if depth < n_trained else 0.0 for depth in depths
        ]

    def unfreezes(self, n_groups: int, epoch: int) -> bool:
        """Whether this epoch unfreezes a layer group."""
        before, now = (sum(map(bool, self.group_rates(n_groups, e))) for e in (max(0, epoch - 1), epoch))
        return now > before


def parameter_groups(
    layer_groups: LayerGroups, rates: list[float], *, weight_decay: float
) -> list[dict[str, Any]]:
    """Return parameter groups for a torch optimizer: for each layer group its matrices, then its vectors.

    Vectors (biases, gains of normalizations, mixing weights) get no weight decay, which would only pull them away
    from the scale that they exist to set. The result includes frozen layer groups and its order depends on the
    model alone, so one optimizer, and its saved state, can be used for all epochs of a run.

    Args:
        layer_groups: the parameters, bottom to top. A parameter in several groups (tied weights) belongs to the
            lowest one.
        rates: one learning rate per layer group, as returned by `TransferPolicy.group_rates`.
        weight_decay: weight decay of the matrices.

    Returns:
        Dictionaries with `params`, `lr`, `weight_decay` and `layer_group` (the index that `apply_rates` uses).
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
    """Set the learning rate of each group to `rate * multiplier`, and freeze all groups below the lowest trained one.

    Freezing clears the gradient as well as `requires_grad`, so the optimizer skips the parameter and changes
    neither its value nor its moments. DistributedDataParallel fixes the set of trained parameters when it wraps a
    model: wrap again whenever the set changes.

    Args:
        optimizer: created from `parameter_groups(layer_groups, ...)`.
        layer_groups: the same groups. Whatever is not frozen here is trained, so parameters that must never change
            do not belong in a layer group.
        rates: one learning rate per layer group; 0 freezes it.
        multiplier: value of the schedule at this step.
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
    """The parameters of each group, without duplicates and without those of lower groups."""
    seen: set[nn.Parameter] = set()
    for parameters in layer_groups:
        own = [parameter for parameter in dict.fromkeys(parameters) if parameter not in seen]
        seen.update(own)
        yield own
