"""Long pieces of work that take turns in one process, so that a slow minute of the machine meets all of them alike.

Each is a training of its own, as its library runs it, in a thread; at the end of each of its steps it calls `step` and
waits there while the others have their turns. Nothing is started anew between turns: optimizer, carried state and
schedule go on. Only one thread computes at any moment.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

StepEnd = Callable[[int], None]
"""To be called at the end of each step, with the number of tokens that it took."""


class Stopped(Exception):
    """Raised within `step` where the work is to end."""


@dataclass(frozen=True)
class Step:
    """One step of a training."""

    seconds: float
    """Loading of its batch included, turns of others not."""
    n_tokens: int


class Contender:
    """A piece of work that runs only while `go_on` waits for it.

    Args:
        name: in the report.
        work: gets `step` and calls it at the end of each of its steps.
        n_steps: after as many it is done, whatever `work` would do next; None: when `work` returns.
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
        """Spent in its own steps so far."""
        return sum(step.seconds for step in self.steps)

    @property
    def n_tokens(self) -> int:
        """Of all steps so far."""
        return sum(step.n_tokens for step in self.steps)

    def go_on(self, *, steps: int | None = None, seconds: float | None = None) -> list[Step]:
        """Let it work for a number of steps, or until so many seconds are over and its step is; returns these steps."""
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
        """Called by the work at the end of each step."""
        self.steps.append(Step(time.perf_counter() - self._since, n_tokens))
        self.done = self.n_steps is not None and len(self.steps) >= self.n_steps
        if self.done or self._turn_ends():
            self._paused.release()
            self._go.acquire()
        if self._stopping:
            raise Stopped
        self._since = time.perf_counter()

    def stop(self) -> None:
        """End the work where it waits."""
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
    """So many things a second of each side in each round; the first call of each sets things up and does not count.

    Args:
        calls: by the names of the sides, in the order of their turns.
        count: of things that one call is through with.
        seconds: that a turn lasts at least, in whole calls; 0 is one call.
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
    """The speed of the median step."""
    return statistics.median(step.n_tokens / step.seconds for step in steps)


def median_ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The median over rounds of ours / theirs: what is slow for both in a round does not move it."""
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
