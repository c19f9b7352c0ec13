"""Optimizers: AdamW, Adagrad, SGD, and NT-ASGD with averaged weights.

NT-ASGD (Merity, Keskar & Socher 2018, https://arxiv.org/abs/1708.02182, algorithm 1) is plain SGD until the
validation loss is worse than the best of all checks except the last n. From then on it maintains a running mean
of the weights, which is what gets evaluated and saved. The preprint states the trigger with the last n checks
instead; its authors call that a typo (salesforce/awd-lstm-lm, issue 13), and both the ICLR version and their code
agree with this implementation.

Memory: SGD has no state, and the average takes one copy of the weights once the trigger has fired. AdamW takes
two copies. It uses torch's fused kernel, which is 5 times as fast as the loop on one CPU core.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, get_args, overload

import torch
from torch import Tensor
from torch.optim import SGD, Adagrad, AdamW, Optimizer

from unfreeze.errors import UserError
from unfreeze.transfer.policies import OptimizerName


class NtAsgd(Optimizer):
    """SGD that starts averaging its weights once the validation loss has stopped improving.

    Call `report(validation_loss)` after each validation (at the end of an epoch in the paper), and evaluate and
    save the model inside `with optimizer.averaged():`. The history of the losses is stored in the first parameter
    group, so that `state_dict` is complete and a resumed run is bitwise identical to an uninterrupted one.

    Args:
        params: parameters or parameter groups, as for any torch optimizer; the `lr` of a group may change over time.
        lr: learning rate of groups without their own (the paper uses 30, with gradients clipped to 0.25).
        weight_decay: L2 weight decay of groups without their own (1.2e-6 in the paper).
        non_monotone: n, the number of most recent checks that the trigger ignores.

    Raises:
        UserError: `non_monotone` is below 1, or `lr` or `weight_decay` is negative.
    """

    _swapped = False

    def __init__(
        self, params: Any, lr: float = 30.0, *, weight_decay: float = 0.0, non_monotone: int = 5
    ) -> None:
        if non_monotone < 1:
            raise UserError(f"non_monotone must be at least 1 (the paper uses 5), got {non_monotone}")
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})
        for group in self.param_groups:
            if group["lr"] < 0 or group["weight_decay"] < 0:
                given = f"got {group['lr']} and {group['weight_decay']}"
                raise UserError(f"lr and weight_decay must not be negative, {given}")
        # The losses are an immutable tuple because `state_dict` returns the group's values without copying them.
        self._record.update(updates=0, trigger=None, losses=(), non_monotone=non_monotone)

    @property
    def _record(self) -> dict[str, Any]:
        return self.param_groups[0]

    @property
    def averaging(self) -> bool:
        """Whether the trigger has fired."""
        return self._record["trigger"] is not None

    def report(self, validation_loss: float) -> bool:
        """Record a validation loss of the current weights and return whether averaging is on from now on.

        The average starts from the current weights. Once the trigger has fired, further reports have no effect.
        All processes of a distributed run must report the same number.
        """
        record = self._record
        if self.averaging:
            return True
        earlier: tuple[float, ...] = record["losses"]
        n = record["non_monotone"]
        if len(earlier) > n and validation_loss > min(earlier[:-n]):
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
        """Update the weights, w <- w - lr * (gradient + weight_decay * w), then the average."""
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
            # Frozen parameters are included, so that their mean is weighted correctly once they are unfrozen.
            terms = self._record["updates"] - self._record["trigger"] + 1
            for parameter in self._parameters():
                self.state[parameter]["average"].lerp_(parameter, 1 / terms)
        return loss

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Context in which the model has the averaged weights; its own are restored bitwise on exit.

        Does nothing before the trigger has fired. Neither `step` nor `state_dict` may be called inside.
        """
        assert not self._swapped, "`averaged()` does not nest"
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def state_dict(self) -> dict[str, Any]:
        assert not self._swapped, (
            "the averaged weights are swapped in: leave `averaged()` before a checkpoint"
        )
        return super().state_dict()

    @torch.no_grad()
    def _swap(self) -> None:
        self._swapped = not self._swapped
        if not self.averaging:
            return
        # Copy values rather than exchange storages: recurrent kernels may hold views of the weights.
        for parameter in self._parameters():
            average: Tensor = self.state[parameter]["average"]
            current = parameter.detach().clone()
            parameter.copy_(average)
            average.copy_(current)

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
    """Create an optimizer by name.

    Args:
        name: `adamw`, `nt-asgd`, `sgd`, or `adagrad` with its accumulator starting at 1, as ELMo was trained.
        groups: parameter groups as returned by `policies.parameter_groups`, each with its own `lr`.
        betas: decay rates of AdamW; fastai uses (.8, .99) for ULMFiT, the paper (.7, .99).
        weight_decay: weight decay of groups without their own. The same value has a different effect in each optimizer:
            NT-ASGD multiplies it by learning rates as large as 30.
        non_monotone: n of NT-ASGD, the number of most recent checks that the trigger ignores.

    Raises:
        UserError: the name is unknown, or the optimizer rejects a value.
    """
    assert all("lr" in group for group in groups)
    if name == "nt-asgd":
        return NtAsgd(groups, weight_decay=weight_decay, non_monotone=non_monotone)
    if name == "adagrad":
        return Adagrad(groups, weight_decay=weight_decay, initial_accumulator_value=1.0)
    if name == "sgd":
        return SGD(groups, weight_decay=weight_decay)
    if name != "adamw":
        raise UserError(f"unknown optimizer {name!r}: use one of {', '.join(get_args(OptimizerName))}")
    fused = all(p.device.type in ("cpu", "cuda") for group in groups for p in group["params"])
    try:
        return AdamW(groups, betas=betas, weight_decay=weight_decay, fused=fused)
    except ValueError as error:
        raise UserError(f"AdamW: {error}") from error
