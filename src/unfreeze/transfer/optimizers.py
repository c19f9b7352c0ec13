"""The optimizers of language models here: AdamW, Adagrad, and NT-ASGD with averaged weights.

NT-ASGD: Merity, Keskar & Socher 2018 (https://arxiv.org/abs/1708.02182, algorithm 1): plain SGD until the
validation loss is worse than the best of all checks but the last n; from then on the weights' running mean is
kept beside them and is what counts. The preprint prints the trigger with the last n checks themselves; its
authors call that a typo (salesforce/awd-lstm-lm, issue 13), and the ICLR version and their code read as here.

Cost: SGD has no state at all; the average takes one copy of the weights, from the trigger on. AdamW takes two
copies, and runs torch's fused kernel: 5 times as fast as its loop on one CPU core.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, get_args, overload

import torch
from torch import Tensor
from torch.optim import Adagrad, AdamW, Optimizer

from unfreeze.errors import UserError

OptimizerName = Literal["adamw", "nt-asgd", "adagrad"]


class NtAsgd(Optimizer):
    """SGD that starts to average its weights when validation has stopped improving.

    Call `report(validation_loss)` at each check (an epoch's end in the paper), and measure and save the model
    inside `with optimizer.averaged():`. The record of the run stands in the first parameter group, so that
    the plain `state_dict` holds everything and a resumed run goes on bit by bit.

    Args:
        params: parameters or torch's parameter groups; each may have its own `lr`, which may change.
        lr: the rate of groups without their own (30 with gradients clipped to .25 in the paper).
        weight_decay: L2 weight decay of groups without their own (1.2e-6 in the paper).
        non_monotone: n, the number of latest checks that the trigger overlooks.

    Raises:
        UserError: `non_monotone` under 1, or a negative `lr` or `weight_decay`.
    """

    _swapped = False

    def __init__(
        self, params: Any, lr: float = 30.0, *, weight_decay: float = 0.0, non_monotone: int = 5
    ) -> None:
        if non_monotone < 1:
            raise UserError(f"non_monotone {non_monotone} cannot work: use 1 or more, 5 in the paper")
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})
        for group in self.param_groups:
            if group["lr"] < 0 or group["weight_decay"] < 0:
                given = f"rate {group['lr']} with weight decay {group['weight_decay']}"
                raise UserError(f"{given} cannot work: use 0 or more for each")
        # A tuple, not a list: `state_dict` hands out what stands here, and a snapshot must not change later.
        self._record.update(updates=0, trigger=None, losses=(), non_monotone=non_monotone)

    @property
    def _record(self) -> dict[str, Any]:
        return self.param_groups[0]

    @property
    def averaging(self) -> bool:
        """Whether the trigger has fired."""
        return self._record["trigger"] is not None

    def report(self, validation_loss: float) -> bool:
        """Take note of a check of the current weights; start averaging if it says so. Returns `averaging`.

        The average begins with the weights as they are now. The trigger never goes back, so checks after it
        do nothing. Processes that train together must report the same number.
        """
        record = self._record
        if self.averaging:
            return True
        earlier: tuple[float, ...] = record["losses"]
        masked = record["non_monotone"]
        if len(earlier) > masked and validation_loss > min(earlier[:-masked]):
            record["trigger"] = record["updates"]
            for parameter in self._parameters():
                self.state[parameter]["average"] = parameter.detach().clone()
        record["losses"] = (*earlier, validation_loss)
        return self.averaging

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One update: w <- w - lr * (gradient + weight_decay * w), then the average takes w in."""
        assert not self._swapped, "the averaged weights are swapped in: leave `averaged()` before an update"
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.mul_(1 - group["lr"] * group["weight_decay"])
                    parameter.add_(parameter.grad, alpha=-group["lr"])
        self._record["updates"] += 1
        if self.averaging:
            self._average()
        return loss

    def _average(self) -> None:
        # Frozen parameters take part: their mean must have the right weight on the day that they thaw.
        terms = self._record["updates"] - self._record["trigger"] + 1
        for parameter in self._parameters():
            self.state[parameter]["average"].lerp_(parameter, 1 / terms)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Within the block the model has the averaged weights; afterwards its own, bit by bit. No-op before
        the trigger.

        No update and no checkpoint of the training state inside.
        """
        assert not self._swapped, "`averaged()` does not nest"
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def state_dict(self) -> dict[str, Any]:
        """The average and the record of the run beside torch's groups."""
        assert not self._swapped, (
            "the averaged weights are swapped in: leave `averaged()` before a checkpoint"
        )
        return super().state_dict()

    @torch.no_grad()
    def _swap(self) -> None:
        self._swapped = not self._swapped
        if not self.averaging:
            return
        # Values move, not storages: recurrent kernels may hold views of the weights.
        for parameter in self._parameters():
            average: Tensor = self.state[parameter]["average"]
            kept = parameter.detach().clone()
            parameter.copy_(average)
            average.copy_(kept)

    def _parameters(self) -> Iterator[Tensor]:
        for group in self.param_groups:
            yield from group["params"]


def make_optimizer(
    name: OptimizerName,
    groups: list[dict[str, Any]],
    *,
    betas: tuple[float, float] = (0.8, 0.99),
    weight_decay: float = 0.01,
    non_monotone: int = 5,
) -> Optimizer:
    """The optimizer of that name over parameter groups.

    Args:
        name: `adamw`, `nt-asgd` or `adagrad`, whose accumulator starts at 1, as ELMo was trained.
        groups: as of `policies.parameter_groups`; each has its `lr`, and its own `weight_decay` comes first.
        betas: of AdamW; (.8, .99) is fastai's choice for ULMFiT, (.7, .99) the paper's.
        weight_decay: of groups without their own. AdamW and SGD mean different things by the same number:
            NT-ASGD's decay is multiplied by rates as large as 30.
        non_monotone: of NT-ASGD.

    Raises:
        UserError: an unknown name, or values that the optimizer refuses.
    """
    assert all("lr" in group for group in groups)
    if name == "nt-asgd":
        return NtAsgd(groups, weight_decay=weight_decay, non_monotone=non_monotone)
    if name == "adagrad":
        return Adagrad(groups, weight_decay=weight_decay, initial_accumulator_value=1.0)
    if name != "adamw":
        raise UserError(f"optimizer {name!r} is unknown: use one of {', '.join(get_args(OptimizerName))}")
    fused = all(p.device.type in ("cpu", "cuda") for group in groups for p in group["params"])
    try:
        return AdamW(groups, betas=betas, weight_decay=weight_decay, fused=fused)
    except ValueError as error:
        raise UserError(f"AdamW cannot work so: {error}") from error
