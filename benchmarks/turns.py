"""Trainings that run alternately in one process, so that varying load of the machine affects all of them equally.

Each is run by its own library in a thread. At the end of each step it calls `step`, which blocks while the others have their
turns. Nothing is restarted between turns: optimizer, carried state and schedule continue. Only one thread computes at any
time.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

StepEnd = Callable[[int], None]
"""Called at the end of each step with its number of tokens."""


class Stopped(Exception):
    """Raised by `step` to end the work."""


@dataclass(frozen=True)
class Step:
    """One step of a training."""

    seconds: float
    """Duration including loading of the batch, but not turns of others."""
    n_tokens: int


class Contender:
    """Work that runs only while `go_on` waits for it.

    Args:
        name: name in the report.
        work: receives `step` and calls it at the end of each step.
        n_steps: number of steps after which it ends; None to run until `work` returns.
    """

    def __init__(self, name: str, work: Callable[[StepEnd], None], n_steps: int | None = None) -> None:
        self.name, self.n_steps = name, n_steps
        self.steps: list[Step] = []
        self.done = False
        self._work = work
        self._error: BaseException | None = None
        self._go, self._paused = threading.Semaphore(0), threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._stopping = False
        self._turn_ends: Callable[[], bool] = lambda: False
        self._since = 0.0

    @property
    def seconds(self) -> float:
        """Seconds spent in its steps so far."""
        return sum(step.seconds for step in self.steps)

    @property
    def n_tokens(self) -> int:
        """Tokens of all steps so far."""
        return sum(step.n_tokens for step in self.steps)

    def go_on(self, *, steps: int | None = None, seconds: float | None = None) -> list[Step]:
        """Run for a number of steps, or for whole steps until a number of seconds has passed; return these steps."""
        if self.done:
            return []
        first, started = len(self.steps), self.seconds
        self._turn_ends = lambda: (
            (steps is not None and len(self.steps) - first >= steps)
            or (seconds is not None and self.seconds - started >= seconds)
        )
        self._since = time.perf_counter()
        if self._thread.ident is None:
            self._thread.start()
        else:
            self._go.release()
        self._paused.acquire()
        if self._error is not None:
            raise self._error
        return self.steps[first:]

    def step(self, n_tokens: int) -> None:
        """Called by `work` at the end of each step."""
        self.steps.append(Step(time.perf_counter() - self._since, n_tokens))
        self.done = self.n_steps is not None and len(self.steps) >= self.n_steps
        if self.done or self._turn_ends():
            self._paused.release()
            self._go.acquire()
        if self._stopping:
            raise Stopped
        self._since = time.perf_counter()

    def stop(self) -> None:
        """End the work at the step where it waits."""
        self._stopping = True
        if self._thread.is_alive():
            self._go.release()
            self._thread.join()

    def _run(self) -> None:
        try:
            self._work(self.step)
        except Stopped:
            pass
        except BaseException as error:  # noqa: BLE001 - raised again where somebody waits
            self._error = error
        finally:
            self.done = True
            self._paused.release()


def rates_in_turns(
    calls: Mapping[str, Callable[[], object]], count: int, rounds: int, seconds: float = 0.0
) -> dict[str, list[float]]:
    """Measure the speed of each side in each round; the first call of each is a warm-up and not counted.

    Args:
        calls: name of the side -> function, in the order of their turns.
        count: number of items that a call processes.
        seconds: minimum duration of a turn, in whole calls; 0 for a single call.
    """
    rates: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    for _ in range(rounds):
        for name, call in calls.items():
            start, times = time.perf_counter(), 0
            while times == 0 or time.perf_counter() - start < seconds:
                call()
                times += 1
            rates[name].append(times * count / (time.perf_counter() - start))
    return rates


def tokens_per_second(steps: Iterable[Step]) -> float:
    """Speed of the median step."""
    return statistics.median(step.n_tokens / step.seconds for step in steps)


def median_ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Median of ours / theirs over rounds, so that load that affects both in a round does not matter."""
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
