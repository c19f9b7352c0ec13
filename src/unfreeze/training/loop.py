"""The training loop of all encoders and tasks.

`train` reads from top to bottom. An `Objective` is trained, and a `TransferPolicy` decides how fast each layer group learns.
Accelerate manages several processes, but gradients are added here: those of the summed losses are added over processes and
then divided by the number of items of all processes, so that two processes make the same update as one, whatever their
shares of the batch and whichever layers are frozen.
"""

from __future__ import annotations

import logging
import math
import random
import time
from contextlib import AbstractContextManager, nullcontext
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NoReturn

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from unfreeze.display import duration
from unfreeze.errors import Interrupted, UserError, setting
from unfreeze.memory import keep_freed_blocks
from unfreeze.progress import SILENT, Progress
from unfreeze.training.checkpoints import Checkpoints
from unfreeze.training.loop_settings import LoopSettings
from unfreeze.training.objective import Objective
from unfreeze.training.processes import (
    EndsWithOthers,
    gathered,
    interrupts,
    make_accelerator,
    of_first_process,
    together,
)
from unfreeze.transfer.optimizers import NtAsgd, make_optimizer
from unfreeze.transfer.policies import LayerGroups, TransferPolicy, apply_rates, parameter_groups
from unfreeze.transfer.schedules import PLATEAU, SCHEDULES

if TYPE_CHECKING:
    from accelerate import Accelerator

logger = logging.getLogger(__name__)

WEIGHT_DECAY = {"adamw": 0.01, "nt-asgd": 1.2e-6, "adagrad": 0.0, "sgd": 0.0}
VIRTUAL_STEPS = 10_000
"""Resolution of the schedule of a run that is bounded by time, whose number of steps is unknown."""
STATE = "model optimizer position carried records smoothed best random_states".split()
"""Keys of a checkpoint."""
SECONDS_BETWEEN_RECORDS = 10.0
"""Records that follow sooner are not logged, except the last one."""
WARM_UP, MEASURED = 2, 10
"""Number of updates before the timing (they allocate memory and choose kernels), and number of timed updates."""
MIN_FORECAST = 60.0
"""Seconds; the duration of a shorter run is not logged."""


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
    """Train `objective.model` in place, resuming from the last checkpoint if there is one.

    Args:
        what: label of the progress bar.

    Returns:
        The records of the run: one for each validation and epoch end.

    Raises:
        Interrupted: Ctrl-C, after a checkpoint was written.
        UserError: the loss is no longer a number, or the disk is full.
        EndsWithOthers: one of these happened, and another process reports it.
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
                metrics = run.update(batch)
                bar.advance(1, **metrics)
                progress.record(run.step, metrics)
                run.forecast.after_update(None if run.n_steps is None else run.n_steps - run.step)
                stopped = of_first_process(bool(interrupted))
                if run.out_of_time or stopped:
                    break
                if run.validation_due:
                    run.validate()
                    progress.record(run.step, run.records[-1])
                if run.checkpoint_due:
                    run.save_checkpoint()
            if stopped and not run.out_of_time:
                run.save_checkpoint()
                outcome = "there is no checkpoint"
                if checkpoints is not None:
                    outcome = f"{checkpoints.folder} is saved: rerun the command to resume"
                run.end(Interrupted(f"stopped at step {run.step}; {outcome}"))
            run.end_epoch()
            progress.record(run.step, run.records[-1])
    if not run.is_last_shown:
        _log_record(run.records[-1])
    run.take_best()
    return run.records


class Forecast:
    """Times the first updates and logs once how long the run will take."""

    def __init__(self) -> None:
        self.count, self.began = 0, 0.0

    def after_update(self, steps_left: int | None) -> None:
        """Count an update.

        Args:
            steps_left: None in a run that is bounded by time.
        """
        self.count += 1
        if self.count == WARM_UP:
            self.began = time.monotonic()
        if self.count != WARM_UP + MEASURED or steps_left is None:
            return
        seconds_per_step = (time.monotonic() - self.began) / MEASURED
        if seconds_per_step * steps_left > MIN_FORECAST:
            left = duration(seconds_per_step * steps_left)
            logger.info("about %s to go: %d steps at %.3g s each", left, steps_left, seconds_per_step)


def layer_optimizer(groups: LayerGroups, rates: list[float], settings: LoopSettings) -> Optimizer:
    """Create the optimizer of the settings, with one learning rate per layer group."""
    decay = WEIGHT_DECAY[settings.optimizer] if settings.weight_decay is None else settings.weight_decay
    parameters = parameter_groups(groups, rates, weight_decay=decay)
    return make_optimizer(settings.optimizer, parameters, betas=settings.betas, weight_decay=decay)


class _Run:
    """Everything that an update changes, and the steps of `train`; all processes call the same methods."""

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
        if policy.schedule == PLATEAU and objective.validation is None:
            self.end(
                UserError(
                    f"{setting('schedule', PLATEAU)} halves the learning rate when the validation loss rises, and there is no "
                    "validation data: give some, or choose another schedule"
                )
            )
        objective.model.to(accelerator.device)
        self.groups = objective.layer_groups()
        rates = policy.group_rates(len(self.groups), 0)
        self.optimizer = layer_optimizer(self.groups, rates, settings)
        self.parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        self.epoch = self.batch = self.step = 0
        self.seconds_before = 0.0
        self.started = self.last_checkpoint = self.last_validation = time.monotonic()
        self.out_of_time = False
        self.records: list[dict[str, Any]] = []
        self.last_shown, self.is_last_shown = self.started, True
        self.best: tuple[tuple[float, float], dict[str, Tensor]] | None = None
        self.n_steps: int | None = None
        if settings.minutes is None:
            self.n_steps = sum(objective.n_batches(epoch) for epoch in range(settings.epochs or 0))
        self.smoothed = 0.0
        self.forecast = Forecast()
        seed_everything(settings.seed, accelerator.process_index)

    # Progress of the run

    @property
    def seconds(self) -> float:
        """Seconds spent so far, including those before the run was resumed."""
        return self.seconds_before + time.monotonic() - self.started

    @property
    def finished(self) -> bool:
        """Whether the limit of epochs or of time is reached."""
        return self.out_of_time or (self.settings.epochs is not None and self.epoch >= self.settings.epochs)

    def _multiplier(self) -> float:
        """Current value of the schedule."""
        if self.policy.schedule == PLATEAU:
            losses = [record["loss"] for record in self.records if "loss" in record]
            return float(0.5 ** sum(later > earlier for earlier, later in pairwise(losses)))
        schedule = SCHEDULES[self.policy.schedule]
        if self.n_steps is not None:
            return schedule(self.step, self.n_steps)
        assert self.settings.minutes is not None
        spent = min(1.0, self._shared_seconds() / (60 * self.settings.minutes))
        return schedule(spent * (VIRTUAL_STEPS - 1), VIRTUAL_STEPS)

    def _shared_seconds(self) -> float:
        """Seconds by the clock of the first process, so that all processes stop at the same step."""
        return float(
            self._sum_over_processes(torch.tensor(self.seconds if self.accelerator.is_main_process else 0.0))
        )

    def _sum_over_processes(self, tensor: Tensor) -> Tensor:
        if self.accelerator.num_processes == 1:
            return tensor
        result = self.accelerator.reduce(tensor.to(self.accelerator.device), reduction="sum")
        assert isinstance(result, Tensor)
        return result

    # One update

    def update(self, batch: Any) -> dict[str, float]:
        """Run the forward pass, the backward pass and the optimizer; return metrics for the progress bar."""
        self.objective.model.train()
        multiplier = self._multiplier() * self.objective.rate_scale(batch)
        rates = self.policy.group_rates(len(self.groups), self.epoch)
        apply_rates(self.optimizer, self.groups, rates, multiplier)
        with self.accelerator.autocast():
            loss = self.objective.loss(batch)
        n_items = max(1.0, float(self._sum_over_processes(torch.tensor(float(loss.n_items)))))
        mean = float(self._sum_over_processes(loss.total.detach().float())) / n_items
        self._check(mean, "loss")
        # Backward from the sum, so that a large model's gradients are divided and clipped in one pass instead of three.
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
        return {"loss": self.smoothed, "learning_rate": max(rates) * multiplier}

    def _add_up_gradients(self) -> None:
        if self.accelerator.num_processes == 1:
            return
        parameters = [p for p in self.parameters if p.requires_grad]
        flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in parameters])
        flat = self._sum_over_processes(flat)
        parts = torch.split(flat, [p.numel() for p in parameters])
        for parameter, grad in zip(parameters, parts, strict=True):
            parameter.grad = grad.view_as(parameter).clone()

    def _divide_and_clip(self, n_items: float) -> None:
        """Turn gradients of a sum over `n_items` into those of the mean, with a norm of at most `settings.clip`."""
        grads = [p.grad for p in self.parameters if p.grad is not None]
        factor = 1.0 / n_items
        if self.settings.clip is not None:
            norm = float(nn.utils.get_total_norm(grads)) / n_items
            self._check(norm, "gradient norm")
            factor *= min(1.0, self.settings.clip / (norm + 1e-6))
        torch._foreach_mul_(grads, factor)

    def _check(self, value: float, name: str) -> None:
        """End the run before NaN or infinity can reach the weights."""
        if not math.isfinite(value):
            advice = f"use a smaller learning rate (now {self.policy.learning_rate:g})"
            advice += f", or {setting('precision', 'fp32')}"
            self.end(UserError(f"the {name} is {value} at step {self.step + 1}: {advice}"))

    # Validation, and the end of an epoch or of the run

    @property
    def validation_due(self) -> bool:
        """Whether it is time for a validation within the epoch."""
        minutes = self.settings.validate_minutes
        return minutes is not None and of_first_process(
            time.monotonic() - self.last_validation > 60 * minutes
        )

    @property
    def checkpoint_due(self) -> bool:
        """Whether it is time for a checkpoint."""
        minutes = self.settings.checkpoint_minutes
        return self.checkpoints is not None and of_first_process(
            time.monotonic() - self.last_checkpoint > 60 * minutes
        )

    def end(self, reason: UserError | Interrupted) -> NoReturn:
        """End all processes with the same exit status; the first one raises `reason`."""
        if self.accelerator.is_main_process:
            raise reason
        raise EndsWithOthers(2 if isinstance(reason, UserError) else 130)

    def validate(self) -> None:
        """Compute held-out metrics, with the averaged weights if there are any, and add a record."""
        state = self._random_state()
        self.objective.model.eval()
        with self._averaged_weights(), torch.no_grad():
            # Every process computes all metrics, whose last digits may differ on other hardware.
            metrics = of_first_process(self.objective.validate())
            rank = (metrics["score"], -metrics["loss"]) if metrics else None
            if self.settings.keep_best and rank is not None and (self.best is None or rank > self.best[0]):
                self.best = rank, self._weights()
        if isinstance(self.optimizer, NtAsgd) and metrics:
            self.optimizer.report(metrics["loss"])
        self._set_random_state(state)
        self.last_validation = time.monotonic()
        record = {"step": self.step, "epoch": self.epoch, "seconds": round(self.seconds, 1)}
        record |= {"train_loss": self.smoothed, **metrics}
        self.records.append(record)
        with together():
            if self.checkpoints is not None and self.accelerator.is_main_process:
                self.checkpoints.log(record)
        self.is_last_shown = time.monotonic() - self.last_shown >= SECONDS_BETWEEN_RECORDS
        if self.is_last_shown:
            self.last_shown = time.monotonic()
            _log_record(record)

    def _averaged_weights(self) -> AbstractContextManager[None]:
        """Context in which the model has the weights that it would be saved with."""
        return self.optimizer.averaged() if isinstance(self.optimizer, NtAsgd) else nullcontext()

    def _weights(self) -> dict[str, Tensor]:
        return {name: tensor.detach().clone() for name, tensor in self.objective.model.state_dict().items()}

    def end_epoch(self) -> None:
        """Validate, begin the next epoch, and write a checkpoint if one is due."""
        self.validate()
        self.epoch, self.batch = self.epoch + 1, 0
        if self.policy.unfreezes(len(self.groups), self.epoch):
            self.forecast = Forecast()  # steps take longer from here on
        if self.checkpoints is not None and not self.finished and self.checkpoint_due:
            self.save_checkpoint()

    def take_best(self) -> None:
        """Load the weights of the best epoch or of the last one, averaged if the optimizer averages."""
        with self._averaged_weights():
            final = self._weights() if self.best is None else self.best[1]
        self.objective.model.load_state_dict(final)
        for parameter in self.parameters:
            parameter.requires_grad_(True)
        self.objective.model.eval()

    # Checkpoints

    def save_checkpoint(self) -> None:
        """Write everything that is needed to resume; every process takes part."""
        if self.checkpoints is None:
            return
        carried = {name: self.accelerator.gather(t) for name, t in self.objective.carried().items()}
        random_states = gathered(self._random_state())
        self.last_checkpoint = time.monotonic()
        position = {"epoch": self.epoch, "batch": self.batch, "step": self.step, "seconds": self.seconds}
        with together():
            if self.accelerator.is_main_process:
                state = {
                    "model": self.objective.model.state_dict(),
                    "optimizer": self.optimizer.state_dict(),
                    "position": position,
                    "records": self.records,
                    "smoothed": self.smoothed,
                    "best": self.best,
                    "carried": carried,
                    "random_states": random_states,
                }
                self.checkpoints.save(state)

    def resume(self) -> None:
        """Resume from the last checkpoint, if there is one; the number of processes may differ."""
        if self.checkpoints is None:
            return
        with together():
            state = self.checkpoints.load(*STATE)
            if state is not None:
                self._load_state(state)
            if self.accelerator.is_main_process:
                self.checkpoints.rewrite_log(self.records)

    def _load_state(self, state: dict[str, Any]) -> None:
        self.objective.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        position = state["position"]
        self.epoch, self.batch, self.step = position["epoch"], position["batch"], position["step"]
        self.seconds_before = position["seconds"]
        self.objective.carry(state["carried"])
        self.records, self.smoothed, self.best = state["records"], state["smoothed"], state["best"]
        # Random states fit only the same kind of device, and processes that were not in the earlier run have none.
        rank, states = self.accelerator.process_index, state["random_states"]
        if rank < len(states) and len(states[rank]) == len(self._random_state()):
            self._set_random_state(states[rank])
        logger.info("resuming from step %d (epoch %d, %.0f s)", self.step, self.epoch, self.seconds_before)

    def _random_state(self) -> Tensor:
        """State of the device's random generator, which draws the dropout masks."""
        device = self.accelerator.device
        return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()

    def _set_random_state(self, state: Tensor) -> None:
        device = self.accelerator.device
        if device.type == "cuda":
            torch.cuda.set_rng_state(state, device)
        else:
            torch.set_rng_state(state)


def _log_record(record: dict[str, Any]) -> None:
    shown = [f"{name} {value:.4g}" for name, value in record.items() if name not in ("step", "epoch")]
    logger.info("step %d, epoch %d: %s", record["step"], record["epoch"], ", ".join(shown))


def metrics_of(
    records: list[dict[str, Any]], settings: LoopSettings, *, without: tuple[str, ...] = ()
) -> dict[str, Any]:
    """The metrics of the final weights: those of the best epoch if it was kept, else of the last one.

    Args:
        without: keys of the records to leave out.
    """
    best = records[-1]
    if settings.keep_best and "score" in best:
        best = max(records, key=lambda record: (record["score"], -record["loss"]))
    return {name: value for name, value in best.items() if name not in without}
