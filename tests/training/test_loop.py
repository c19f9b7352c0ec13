"""The loop's updates against loops written out with torch alone; its bounds, its best epoch, its ways to end."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.training.toy import N_BATCHES, Regression
from unfreeze.errors import Interrupted, UserError
from unfreeze.training import loop
from unfreeze.training.checkpoints import Checkpoints, read_log
from unfreeze.training.loop import MEASURED, VIRTUAL_STEPS, WARM_UP, Forecast, train
from unfreeze.training.loop_settings import LoopSettings
from unfreeze.training.objective import Loss
from unfreeze.training.processes import make_accelerator
from unfreeze.transfer.policies import TransferPolicy
from unfreeze.transfer.schedules import slanted_triangular

PLAIN = TransferPolicy(mode="scratch", learning_rate=0.05, schedule="constant")


def run(
    objective: Regression, policy: TransferPolicy = PLAIN, folder: Path | None = None, **settings: Any
) -> list[dict[str, Any]]:
    return train(
        objective,
        policy=policy,
        settings=LoopSettings(**settings),
        checkpoints=None if folder is None else Checkpoints(folder / "training"),
        accelerator=make_accelerator("fp32"),
    )


def assert_equal(found: dict[str, Tensor], expected: dict[str, Tensor], **tolerance: float) -> None:
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, **tolerance or {"atol": 0.0, "rtol": 0.0})


def gradients(objective: Regression, step: int) -> None:
    """Those of the mean loss of a step's batch, clipped to a norm of 1."""
    inputs, targets = objective.data[step % N_BATCHES]
    objective.model.zero_grad()
    (objective.model(inputs) - targets).square().mean(1).mean().backward()
    torch.nn.utils.clip_grad_norm_(list(objective.model.parameters()), 1.0)


def test_adamw_with_slanted_discriminative_rates_is_the_loop_written_out() -> None:
    objective, reference = Regression(), Regression()
    policy = TransferPolicy(learning_rate=0.05, gradual=False)
    run(objective, policy, epochs=3, weight_decay=0.1)
    first, _, second, third = reference.model  # type: ignore[misc]
    decayed, plain = {"weight_decay": 0.1}, {"weight_decay": 0.0}
    groups: list[dict[str, Any]] = [
        {"params": [first.weight], "depth": 2, **decayed},
        {"params": [first.bias], "depth": 2, **plain},
        {"params": [second.weight], "depth": 1, **decayed},
        {"params": [third.weight], "depth": 0, **decayed},
        {"params": [third.bias], "depth": 0, **plain},
    ]
    optimizer = torch.optim.AdamW(groups, betas=(0.8, 0.99))
    for step in range(3 * N_BATCHES):
        for group in optimizer.param_groups:
            group["lr"] = 0.05 / 2.6 ** group["depth"] * slanted_triangular(step, 3 * N_BATCHES)
        gradients(reference, step)
        optimizer.step()
    assert_equal(objective.weights, reference.weights, atol=1e-6, rtol=1e-5)


def test_nt_asgd_ends_with_the_mean_of_the_weights_since_its_trigger() -> None:
    """Losses that rise from check 7 on: the trigger fires there (n = 5), and the mean begins with those weights."""
    losses = [9.0, 8.0, 7.0, 7.5, 7.6, 7.7, 7.8, 9.0, 6.0, 5.0, 4.0, 3.0]
    objective = Regression(figures=[{"loss": loss, "score": -loss} for loss in losses])
    run(objective, epochs=12, optimizer="nt-asgd", weight_decay=0.0)
    reference = Regression()
    means: list[dict[str, Tensor]] = []
    for step in range(12 * N_BATCHES):
        if step % N_BATCHES == 0 and step // N_BATCHES >= trigger(losses):
            means.append(reference.weights) if not means else None
        gradients(reference, step)
        with torch.no_grad():
            for parameter in reference.model.parameters():
                assert parameter.grad is not None
                parameter -= 0.05 * parameter.grad
        if means:
            means.append(reference.weights)
    expected = {name: torch.stack([weights[name] for weights in means]).mean(0) for name in means[0]}
    assert 1 < len(means) < 12 * N_BATCHES
    assert_equal(objective.weights, expected, atol=1e-5, rtol=1e-4)
    assert_equal(objective.seen[-1], expected, atol=1e-5, rtol=1e-4)


def test_sgd_on_a_plateau_halves_its_rate_whenever_the_loss_rises() -> None:
    losses = [3.0, 2.0, 2.5, 2.4, 2.6, 2.6]
    factors = [1.0, 1.0, 1.0, 0.5, 0.5, 0.25]
    objective = Regression(figures=[{"loss": loss, "score": -loss} for loss in losses])
    policy = TransferPolicy(mode="scratch", learning_rate=0.05, schedule="plateau")
    run(objective, policy, epochs=6, optimizer="sgd")
    reference = Regression()
    for step in range(6 * N_BATCHES):
        gradients(reference, step)
        with torch.no_grad():
            for parameter in reference.model.parameters():
                assert parameter.grad is not None
                parameter -= 0.05 * factors[step // N_BATCHES] * parameter.grad
    assert_equal(objective.weights, reference.weights, atol=1e-6, rtol=1e-5)


def trigger(losses: list[float]) -> int:
    """Checks made when averaging begins: the first that is worse than the best of all but the five before it."""
    return next(t + 1 for t in range(6, len(losses)) if losses[t] > min(losses[: t - 5]))


def test_gradual_unfreezing_thaws_one_group_an_epoch_from_the_last() -> None:
    objective = Regression()
    before = objective.weights
    run(objective, TransferPolicy(learning_rate=0.05), epochs=3)
    thawed_in_epoch = {"3": 0, "2": 1, "0": 2}
    for epoch, weights in enumerate(objective.seen):
        for name, tensor in weights.items():
            moved = epoch >= thawed_in_epoch[name.split(".")[0]]
            assert torch.equal(tensor, before[name]) != moved, (epoch, name)
    assert all(parameter.requires_grad for parameter in objective.model.parameters())


@pytest.mark.parametrize("optimizer", ["adamw", "nt-asgd"])
def test_frozen_transfer_moves_the_last_group_alone(optimizer: str) -> None:
    objective = Regression()
    before = objective.weights
    run(objective, TransferPolicy(mode="frozen", learning_rate=0.05), epochs=2, optimizer=optimizer)
    moved = {name for name, tensor in objective.weights.items() if not torch.equal(tensor, before[name])}
    assert moved == {"3.weight", "3.bias"}


@pytest.mark.parametrize(("keep_best", "kept"), [(True, 1), (False, 3)])
def test_the_best_epochs_weights_are_kept(keep_best: bool, kept: int, tmp_path: Path) -> None:
    """Of two epochs with the same score, that of the lower loss."""
    scored = [(0.5, 1.0), (0.8, 0.4), (0.8, 0.6), (0.6, 0.1)]
    objective = Regression(figures=[{"score": score, "loss": loss} for score, loss in scored])
    records = run(objective, folder=tmp_path, epochs=4, keep_best=keep_best)
    assert_equal(objective.weights, objective.seen[kept])
    assert [record["score"] for record in records] == [score for score, _ in scored]
    assert read_log(tmp_path) == records


class Clock:
    """Time that passes only when told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: self.now))

    def tick(self, seconds: float) -> Callable[[int, int], None]:
        def before(epoch: int, number: int) -> None:
            self.now += seconds

        return before


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.1, [9]),  # epochs of a fraction of a second: the last one says all
        (1.0, [2, 5, 8, 9]),  # of four seconds: a line when ten have gone by
        (60.0, list(range(10))),
    ],
)
def test_records_are_logged_now_and_then_and_the_last_one_always(
    seconds: float, shown: list[int], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock(monkeypatch)
    with caplog.at_level("INFO", logger=loop.__name__):
        records = run(Regression(before=clock.tick(seconds)), epochs=10)
    lines = [line for line in caplog.messages if line.startswith("step")]
    assert [int(line.split("epoch ")[1].split(":")[0]) for line in lines] == shown
    assert len(records) == 10


def test_minutes_bound_a_run_and_fit_the_schedule(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Ten updates of six seconds in a minute; a kill in between costs neither time nor schedule."""
    multipliers: list[float] = []
    clock = Clock(monkeypatch)

    class Watched(Regression):
        def loss(self, batch: tuple[Tensor, Tensor]) -> Loss:
            clock.now += 6.0
            return super().loss(batch)

    def schedule(step: float, steps: int) -> float:
        multipliers.append(slanted_triangular(step, steps))
        return multipliers[-1]

    monkeypatch.setitem(loop.SCHEDULES, "slanted", schedule)
    policy = TransferPolicy(mode="scratch", learning_rate=0.05, schedule="slanted")

    def dies_in_the_second_epoch(epoch: int, number: int) -> None:
        if epoch == 1 and number == 2:
            raise SystemExit

    settings = {"epochs": None, "minutes": 1.0, "checkpoint_minutes": 0.0}
    with pytest.raises(SystemExit):
        run(Watched(before=dies_in_the_second_epoch), policy, tmp_path, **settings)
    clock.now += 500.0
    records = run(Watched(), policy, tmp_path, **settings)
    assert records[-1]["step"] == 10 and records[-1]["seconds"] == 60.0
    expected = [slanted_triangular(n / 10 * (VIRTUAL_STEPS - 1), VIRTUAL_STEPS) for n in range(10)]
    assert multipliers == pytest.approx(expected)
    assert max(multipliers) == pytest.approx(1.0, abs=1e-3) and multipliers[-1] < 0.15


def test_checkpoints_and_validations_come_as_often_as_asked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    clock = Clock(monkeypatch)
    saved: list[int] = []
    monkeypatch.setattr(Checkpoints, "save", lambda self, state: saved.append(state["position"]["step"]))
    objective = Regression(before=clock.tick(61.0))
    records = run(objective, folder=tmp_path, epochs=2, checkpoint_minutes=3.0, validate_minutes=1.0)
    assert saved == [3, 6]
    assert [record["step"] for record in records] == [1, 2, 3, 4, 4, 5, 6, 7, 8, 8]


@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_not_a_number_is_one_line_and_never_reaches_the_weights(where: str) -> None:
    class Broken(Regression):
        def loss(self, batch: tuple[Tensor, Tensor]) -> Loss:
            loss = super().loss(batch)
            if len(steps) < 3:
                steps.append(self.weights)
                return loss
            if where == "loss":
                return Loss(loss.total * float("nan"), loss.n_items)
            total = loss.total
            total.register_hook(lambda grad: grad * float("inf"))
            return Loss(total, loss.n_items)

    steps: list[dict[str, Tensor]] = []
    objective = Broken()
    with pytest.raises(UserError, match=f"the {where}.* step 4: use a smaller learning rate") as caught:
        run(objective, epochs=2)
    assert "\n" not in str(caught.value)
    assert all(bool(tensor.isfinite().all()) for tensor in objective.weights.values())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("at", [(0, 0), (1, 3), (2, 3)])
def test_an_interrupted_run_goes_on_to_the_same_bits(
    number: signal.Signals, at: tuple[int, int], tmp_path: Path
) -> None:
    """The step in hand is finished, a checkpoint written, the earlier handlers put back; dropout masks go on too."""

    def press(epoch: int, batch: int) -> None:
        if (epoch, batch) == at:
            os.kill(os.getpid(), number)

    whole, cut, resumed = (Regression(dropout=0.5, before=b) for b in (None, press, None))
    run(whole, epochs=3, folder=tmp_path / "whole")
    handlers = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(Interrupted) as caught:
        run(cut, epochs=3, folder=tmp_path / "cut")
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == handlers
    step = at[0] * N_BATCHES + at[1] + 1
    assert (
        f"step {step};" in str(caught.value)
        and "resume" in str(caught.value)
        and "\n" not in str(caught.value)
    )
    torch.rand(3)
    records = run(resumed, epochs=3, folder=tmp_path / "cut")
    assert_equal(resumed.weights, whole.weights)
    assert read_log(tmp_path / "cut") == records
    assert [record["step"] for record in records] == [4, 8, 12]


def test_a_second_interrupt_stops_at_once(tmp_path: Path) -> None:
    def press_twice(epoch: int, batch: int) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    objective = Regression(before=press_twice)
    with pytest.raises(KeyboardInterrupt) as caught:
        run(objective, epochs=2, folder=tmp_path)
    assert not isinstance(caught.value, Interrupted)


def test_an_interrupt_without_a_folder_says_so() -> None:
    objective = Regression(before=lambda epoch, number: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(Interrupted, match="there is no checkpoint"):
        run(objective, epochs=2)


def test_a_log_has_no_line_twice_after_a_kill(tmp_path: Path) -> None:
    """The kill comes after a validation was logged and before the next checkpoint."""

    def dies(epoch: int, number: int) -> None:
        if epoch == 1:
            raise SystemExit

    with pytest.raises(SystemExit):
        run(Regression(before=dies), epochs=3, folder=tmp_path, checkpoint_minutes=1e9)
    assert [record["epoch"] for record in read_log(tmp_path)] == [0]
    records = run(Regression(), epochs=3, folder=tmp_path)
    assert [record["epoch"] for record in records] == [0, 1, 2]
    assert read_log(tmp_path) == records


def test_another_precision_in_the_same_interpreter() -> None:
    objective = Regression()
    types = []
    for precision in ("fp32", "bf16", "fp32"):
        with make_accelerator(precision).autocast():  # type: ignore[arg-type]
            types.append(objective.model(objective.data[0][0]).dtype)
    assert types == [torch.float32, torch.bfloat16, torch.float32]


@pytest.mark.parametrize(
    "settings",
    [{"epochs": None}, {"epochs": 0}, {"minutes": 0.0}, {"minutes": -1.0}, {"epochs": None, "minutes": 0.0}],
)
def test_a_run_needs_a_bound_that_makes_sense(settings: dict[str, Any]) -> None:
    with pytest.raises(UserError) as caught:
        LoopSettings(**settings)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("steps_left", "said"),
    [
        (1_000, ["about 33 minutes to go: 988 steps at 2 s each"]),
        (44, ["about 64 seconds to go: 32 steps at 2 s each"]),
        (30, []),
        (None, []),
    ],
)
def test_a_forecast_is_logged_once_and_only_for_a_long_run(
    steps_left: int | None, said: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: clock.now))
    found = Forecast()
    with caplog.at_level(logging.INFO, logger="unfreeze"):
        for step in range(1, WARM_UP + MEASURED + 5):
            clock.now += 60.0 if step <= WARM_UP else 2.0  # the first updates take longer and do not count
            found.after_update(None if steps_left is None else steps_left - step)
    assert caplog.messages == said
