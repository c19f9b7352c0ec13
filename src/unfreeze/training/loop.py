"""The one training loop, for every rung and every task.

It reads top to bottom in `train`. What is trained is an `Objective`; how fast each layer group learns is a
`TransferPolicy`; many processes are Accelerate's matter, but gradients are added up here: those of the summed losses are
added over processes and then divided by the number of items of all of them, so that two processes make the update that
one would have made, whatever their shares and whichever layers are frozen just then.
"""

from __future__ import annotations

import logging
import math
import random
import time
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NoReturn, TypeVar

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, gather_object
from torch import Tensor, nn

from unfreeze.errors import Interrupted, UserError, setting
from unfreeze.memory import keep_freed_blocks
from unfreeze.progress import SILENT, Progress
from unfreeze.training.checkpoints import Checkpoints
from unfreeze.training.forecast import Forecast
from unfreeze.training.loop_settings import LoopSettings
from unfreeze.training.objective import Objective
from unfreeze.training.processes import EndsWithOthers, interrupts, make_accelerator, together
from unfreeze.transfer.optimizers import NtAsgd, make_optimizer
from unfreeze.transfer.policies import TransferPolicy, apply_rates, parameter_groups
from unfreeze.transfer.schedules import SCHEDULES

logger = logging.getLogger(__name__)
T = TypeVar("T")

WEIGHT_DECAY = {"adamw": 0.01, "nt-asgd": 1.2e-6, "adagrad": 0.0}
VIRTUAL_STEPS = 10_000
"""A run that is bounded by time has no number of steps: its schedule is read at this resolution."""
STATE = "model optimizer position carried records smoothed best random_states".split()
"""What a checkpoint holds."""
SECONDS_BETWEEN_RECORDS = 10.0
"""Records that come faster are kept, but not logged; the last one always is."""


def seed_everything(seed: int, rank: int = 0) -> None:
    """Seed Python and torch; each process draws its own dropout masks."""
    random.seed(seed + rank)
    torch.manual_seed(seed + rank)


def train(
    objective: Objective,
    *,
    policy: TransferPolicy,
    settings: LoopSettings,
    checkpoints: Checkpoints | None = None,
    accelerator: Accelerator | None = None,
    progress: Progress = SILENT,
    what: str = "training",
) -> list[dict[str, Any]]:
    """Train `objective.model` in place, from the last checkpoint on if there is one.

    Returns:
        The records of the run: one for each validation and epoch end.

    Raises:
        Interrupted: Ctrl-C; a checkpoint was written first.
        UserError: the loss is no longer a number, or the disk is full.
        EndsWithOthers: so it was, and another process says it.
    """
    keep_freed_blocks()
    run = _Run(objective, policy, settings, checkpoints, accelerator or make_accelerator())
    run.resume()
    with (
        interrupts(run.accelerator) as interrupted,
        progress.bar(what, total=run.n_steps, unit="step") as bar,
    ):
        bar.advance(run.step if run.n_steps else 0)
        stopped = False
        while not run.finished:
            for batch in objective.batches(run.epoch, run.batch):
                figures = run.update(batch)
                bar.advance(1, **figures)
                progress.record(run.step, figures)
                run.forecast.after_update(None if run.n_steps is None else run.n_steps - run.step)
                stopped = run.agreed(bool(interrupted))
                if run.out_of_time or stopped:
                    break
                if run.validation_due:
                    run.validate()
                    progress.record(run.step, run.records[-1])
                if run.checkpoint_due:
                    run.save_checkpoint()
            if stopped and not run.out_of_time:
                run.save_checkpoint()
                run.end(Interrupted(run.how_to_go_on()))
            run.end_epoch()
            progress.record(run.step, run.records[-1])
    run.show_last_record()
    run.take_best()
    return run.records


class _Run:
    """The state of a run, and what is done with it."""

    def __init__(
        self,
        objective: Objective,
        policy: TransferPolicy,
        settings: LoopSettings,
        checkpoints: Checkpoints | None,
        accelerator: Accelerator,
    ) -> None:
        self.objective, self.policy, self.settings = objective, policy, settings
        self.checkpoints, self.accelerator = checkpoints, accelerator
        objective.model.to(accelerator.device)
        self.groups = objective.layer_groups()
        rates = policy.group_rates(len(self.groups), 0)
        decay = WEIGHT_DECAY[settings.optimizer] if settings.weight_decay is None else settings.weight_decay
        parameters = parameter_groups(self.groups, rates, weight_decay=decay)
        self.optimizer = make_optimizer(
            settings.optimizer, parameters, betas=settings.betas, weight_decay=decay
        )
        self.learned = [p for group in self.optimizer.param_groups for p in group["params"]]
        self.epoch = self.batch = self.step = 0
        self.seconds_before = 0.0
        self.started = self.last_checkpoint = self.last_validation = time.monotonic()
        self.out_of_time = False
        self.records: list[dict[str, Any]] = []
        self.last_shown, self.is_last_shown = self.started, True
        self.best: tuple[tuple[float, float], dict[str, Tensor]] | None = None
        self.n_steps = (
            sum(objective.n_batches(epoch) for epoch in range(settings.epochs or 0))
            if settings.minutes is None
            else None
        )
        self.smoothed = 0.0
        self.forecast = Forecast()
        seed_everything(settings.seed, accelerator.process_index)

    # Where the run stands

    @property
    def seconds(self) -> float:
        """Spent so far, in all the processes that went before as well."""
        return self.seconds_before + time.monotonic() - self.started

    @property
    def finished(self) -> bool:
        """Whether the bound is reached."""
        return self.out_of_time or (self.settings.epochs is not None and self.epoch >= self.settings.epochs)

    def _multiplier(self) -> float:
        """What the schedule says now."""
        schedule = SCHEDULES[self.policy.schedule]
        if self.n_steps is not None:
            return schedule(self.step, self.n_steps)
        assert self.settings.minutes is not None
        spent = min(1.0, self._shared_seconds() / (60 * self.settings.minutes))
        return schedule(spent * (VIRTUAL_STEPS - 1), VIRTUAL_STEPS)

    def _shared_seconds(self) -> float:
        """The first process's clock, so that all processes stop at the same step."""
        return float(self._sum(torch.tensor(self.seconds if self.accelerator.is_main_process else 0.0)))

    def _sum(self, tensor: Tensor) -> Tensor:
        """Added up over processes."""
        if self.accelerator.num_processes == 1:
            return tensor
        result = self.accelerator.reduce(tensor.to(self.accelerator.device), reduction="sum")
        assert isinstance(result, Tensor)
        return result

    # One update

    def update(self, batch: Any) -> dict[str, float]:
        """Forward, backward, step; returns the figures worth showing."""
        model, scale = self.objective.model, self.objective.rate_scale(batch)
        model.train()
        multiplier = self._multiplier() * scale
        rates = self.policy.group_rates(len(self.groups), self.epoch)
        apply_rates(self.optimizer, self.groups, rates, multiplier)
        with self.accelerator.autocast():
            loss = self.objective.loss(batch)
        n_items = max(1.0, float(self._sum(torch.tensor(float(loss.n_items)))))
        mean = float(self._sum(loss.total.detach().float())) / n_items
        self._check(mean, "loss")
        # The gradient of the sum: a large model's gradients are then divided and clipped in one pass, not in three.
        objective = loss.total if loss.penalty is None else loss.total + loss.penalty * loss.n_items
        objective.backward()  # type: ignore[no-untyped-call]
        self._add_up_gradients()
        self._divide_and_clip(n_items)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step, self.batch = self.step + 1, self.batch + 1
        if self.settings.minutes is not None:
            self.out_of_time = self._shared_seconds() >= 60 * self.settings.minutes
        self.smoothed = mean if self.step == 1 else 0.98 * self.smoothed + 0.02 * mean
        return {"loss": self.smoothed, "rate": max(rates) * multiplier}

    def _add_up_gradients(self) -> None:
        if self.accelerator.num_processes == 1:
            return
        parameters = [p for p in self.learned if p.requires_grad]
        flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in parameters])
        flat = self._sum(flat)
        for parameter, grad in zip(
            parameters, torch.split(flat, [p.numel() for p in parameters]), strict=True
        ):
            parameter.grad = grad.view_as(parameter).clone()

    def _divide_and_clip(self, n_items: float) -> None:
        """Gradients of a sum over `n_items` become those of the mean, their norm at most `settings.clip`."""
        grads = [p.grad for p in self.learned if p.grad is not None]
        factor = 1.0 / n_items
        if self.settings.clip is not None:
            norm = float(nn.utils.get_total_norm(grads)) / n_items
            self._check(norm, "gradient's norm")
            factor *= min(1.0, self.settings.clip / (norm + 1e-6))
        torch._foreach_mul_(grads, factor)

    def _check(self, figure: float, name: str) -> None:
        """Before the update: not a number must never reach the weights."""
        if not math.isfinite(figure):
            self.end(
                UserError(
                    f"the {name} is {figure} at step {self.step + 1}: take a smaller learning rate "
                    f"(now {self.policy.learning_rate:g}), "
                    f"or {setting('precision', 'fp32')}"
                )
            )

    # What happens once in a while

    @property
    def validation_due(self) -> bool:
        """Whether the settings ask for a validation now."""
        minutes = self.settings.validate_minutes
        due = minutes is not None and time.monotonic() - self.last_validation > 60 * minutes
        return self.agreed(due) if minutes is not None else False

    @property
    def checkpoint_due(self) -> bool:
        """Whether the last checkpoint is old."""
        if self.checkpoints is None:
            return False
        return self.agreed(time.monotonic() - self.last_checkpoint > 60 * self.settings.checkpoint_minutes)

    def end(self, reason: UserError | Interrupted) -> NoReturn:
        """All processes have this reason to end: the first one says it."""
        if self.accelerator.is_main_process:
            raise reason
        raise EndsWithOthers(2 if isinstance(reason, UserError) else 130)

    def agreed(self, mine: T) -> T:
        """The first process's answer."""
        if self.accelerator.num_processes == 1:
            return mine
        answer = [mine]
        broadcast_object_list(answer)
        return answer[0]

    def validate(self) -> dict[str, float]:
        """Measure held-out figures with the averaged weights, if any, and keep a record."""
        state = self._random_state()
        self.objective.model.eval()
        with self._averaged_weights(), torch.no_grad():
            # Every process measures all of it; on other hardware it may find other last digits.
            figures = self.agreed(self.objective.validate())
            rank = (figures["score"], -figures["loss"]) if figures else None
            if self.settings.keep_best and rank is not None and (self.best is None or rank > self.best[0]):
                self.best = rank, self._weights()
        if isinstance(self.optimizer, NtAsgd) and figures:
            self.optimizer.report(figures["loss"])
        self._set_random_state(state)
        self.last_validation = time.monotonic()
        record = {
            "step": self.step,
            "epoch": self.epoch,
            "seconds": round(self.seconds, 1),
            "train_loss": self.smoothed,
        }
        record |= figures
        self.records.append(record)
        with together():
            if self.checkpoints is not None and self.accelerator.is_main_process:
                self.checkpoints.log(record)
        self.is_last_shown = time.monotonic() - self.last_shown >= SECONDS_BETWEEN_RECORDS
        if self.is_last_shown:
            self.last_shown = time.monotonic()
            _log_record(record)
        return figures

    def show_last_record(self) -> None:
        """Log the figures that the run ends with."""
        if not self.is_last_shown:
            _log_record(self.records[-1])

    def _averaged_weights(self) -> AbstractContextManager[None]:
        """Within the block the model has the weights that it would be saved with."""
        return self.optimizer.averaged() if isinstance(self.optimizer, NtAsgd) else nullcontext()

    def _weights(self) -> dict[str, Tensor]:
        return {name: tensor.detach().clone() for name, tensor in self.objective.model.state_dict().items()}

    def end_epoch(self) -> None:
        """Validate, and count the epoch."""
        self.validate()
        self.epoch, self.batch = self.epoch + 1, 0
        if self.policy.thaws(len(self.groups), self.epoch):
            self.forecast = Forecast()  # steps take longer from here on
        if self.checkpoints is not None and not self.finished and self.checkpoint_due:
            self.save_checkpoint()

    def take_best(self) -> None:
        """Leave the model with the weights that the run is to end with."""
        with self._averaged_weights():
            final = self._weights() if self.best is None else self.best[1]
        self.objective.model.load_state_dict(final)
        for parameter in self.learned:
            parameter.requires_grad_(True)
        self.objective.model.eval()

    # Going on later

    def save_checkpoint(self) -> None:
        """Write all that the run needs to go on; every process takes part."""
        if self.checkpoints is None:
            return
        carried = {name: self.accelerator.gather(t) for name, t in self.objective.carried().items()}
        random_states = gather_object([self._random_state()])
        self.last_checkpoint = time.monotonic()
        with together():
            if self.accelerator.is_main_process:
                self.checkpoints.save(self._snapshot() | {"carried": carried, "random_states": random_states})

    def _snapshot(self) -> dict[str, Any]:
        """What is the same in every process."""
        return {
            "model": self.objective.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "position": {
                "epoch": self.epoch,
                "batch": self.batch,
                "step": self.step,
                "seconds": self.seconds,
            },
            "records": self.records,
            "smoothed": self.smoothed,
            "best": self.best,
        }

    def resume(self) -> None:
        """Resume from the last checkpoint, if there is one; the number of processes may differ."""
        if self.checkpoints is None:
            return
        with together():
            state = self.checkpoints.load(*STATE)
            if state is not None:
                self._take_over(state)
            if self.accelerator.is_main_process:
                self.checkpoints.rewrite_log(self.records)

    def _take_over(self, state: dict[str, Any]) -> None:
        self.objective.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        position = state["position"]
        self.epoch, self.batch, self.step = position["epoch"], position["batch"], position["step"]
        self.seconds_before = position["seconds"]
        self.objective.carry(state["carried"])
        self.records, self.smoothed, self.best = state["records"], state["smoothed"], state["best"]
        self._take_random_state(state["random_states"])
        logger.info("resuming from step %d (epoch %d, %.0f s)", self.step, self.epoch, self.seconds_before)

    def _random_state(self) -> Tensor:
        """Of the device's generator, which draws the dropout masks."""
        device = self.accelerator.device
        return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()

    def _take_random_state(self, states: list[Tensor]) -> None:
        """This process's, if the checkpoint was written by as many processes and on the same kind of device."""
        rank = self.accelerator.process_index
        if rank < len(states) and len(states[rank]) == len(self._random_state()):
            self._set_random_state(states[rank])

    def _set_random_state(self, state: Tensor) -> None:
        device = self.accelerator.device
        if device.type == "cuda":
            torch.cuda.set_rng_state(state, device)
        else:
            torch.set_rng_state(state)

    def how_to_go_on(self) -> str:
        """One line for somebody who pressed Ctrl-C."""
        if self.checkpoints is None:
            return f"stopped at step {self.step}; this run kept no checkpoint"
        return f"stopped at step {self.step}; {self.checkpoints.folder} is saved: rerun the command to resume"


def _log_record(record: dict[str, Any]) -> None:
    figures = ", ".join(
        f"{name} {value:.4g}" for name, value in record.items() if name not in ("step", "epoch")
    )
    logger.info("step %d, epoch %d: %s", record["step"], record["epoch"], figures)


def metrics_of(
    records: list[dict[str, Any]], settings: LoopSettings, *, without: tuple[str, ...] = ()
) -> dict[str, Any]:
    """The metrics of the weights that a training ended with: those of its best epoch, or of its last.

    Args:
        without: names of records that are no metrics.
    """
    best = records[-1]
    if settings.keep_best and "score" in best:
        best = max(records, key=lambda record: (record["score"], -record["loss"]))
    return {name: value for name, value in best.items() if name not in without}
