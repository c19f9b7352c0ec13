"""Progress of long operations: bars on a terminal, otherwise log lines at intervals."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from unfreeze.display import counted, duration, printable
from unfreeze.progress import Bar, Progress

if TYPE_CHECKING:
    from tqdm import tqdm

LOGGER = logging.getLogger(__name__)
SECONDS_BETWEEN_LINES = 30.0


class LogHandler(logging.Handler):
    """Logs to standard error, above any progress bars.

    Each message about data is shown once, although a run may read the data several times.
    """

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Write the message as one line, unless it is about data and repeats an earlier one."""
        if record.name.startswith(("unfreeze.datasets.", "unfreeze.text.", "unfreeze.vision.")):
            if record.getMessage() in self.seen:
                return
            self.seen.add(record.getMessage())
        text = printable(self.format(record))
        if "tqdm" in sys.modules:
            from tqdm import tqdm

            tqdm.write(text, file=sys.stderr)
        else:
            print(text, file=sys.stderr)


class TerminalProgress(Progress):
    """Draws bars on standard error, at most once in `every` seconds, and removes each at its end."""

    def __init__(self, *, every: float = 0.1) -> None:
        self.every = every

    @contextmanager
    def bar(self, what: str, total: int | None = None, unit: str = "it") -> Iterator[Bar]:
        from tqdm import tqdm

        with tqdm(
            desc=what,
            total=total,
            unit=f" {unit}",
            unit_scale=True,
            mininterval=self.every,
            dynamic_ncols=True,
            leave=False,
            file=sys.stderr,
        ) as drawn:
            yield _DrawnBar(drawn)


class _DrawnBar(Bar):
    def __init__(self, drawn: tqdm[None]) -> None:
        self.drawn = drawn

    def advance(self, n: int = 1, **metrics: float) -> None:
        # update() is true only if tqdm redrew the bar; otherwise nobody would see the formatted metrics.
        if self.drawn.update(n) and metrics:
            self.drawn.set_postfix_str(_formatted(metrics), refresh=False)


class LoggedProgress(Progress):
    """Logs a line every `every` seconds, and one at the end if there was a line before.

    Args:
        every: seconds between two lines.
        clock: returns the time in seconds.
    """

    def __init__(
        self, *, every: float = SECONDS_BETWEEN_LINES, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.every = every
        self.clock = clock

    @contextmanager
    def bar(self, what: str, total: int | None = None, unit: str = "it") -> Iterator[Bar]:
        logged = _LoggedBar(what, total, unit, self.every, self.clock)
        yield logged
        logged.close()


class _LoggedBar(Bar):
    def __init__(
        self, what: str, total: int | None, unit: str, every: float, clock: Callable[[], float]
    ) -> None:
        self.what, self.total, self.unit, self.every, self.clock = what, total, unit, every, clock
        self.done = 0
        self.metrics: dict[str, float] = {}
        self.started = self.last = clock()
        self.measured_from: tuple[float, int] | None = None
        """Time and amount of work from which speed is measured: those of the last line, or of the first units of work.
        The time before these does not count, because code is compiled and a resumed run skips finished work."""

    def advance(self, n: int = 1, **metrics: float) -> None:
        self.done += n
        self.metrics.update(metrics)
        now = self.clock()
        if self.measured_from is None:
            self.measured_from = now, self.done
        if now - self.last >= self.every:
            self.last = now
            LOGGER.info("%s", self.line(now))
            self.measured_from = now, self.done

    def line(self, now: float) -> str:
        """Format a line such as "adapting: 1,200/5,000 batches (24 %), loss 4.321, 10 minutes left"."""
        if not self.total:
            parts = [counted(self.done, self.unit)]
        else:
            percent = 100 * self.done / self.total
            parts = [f"{self.done:,}/{counted(self.total, self.unit)} ({percent:.0f} %)"]
        parts += [_formatted(self.metrics)] if self.metrics else []
        if (left := self._seconds_left(now)) is not None:
            parts.append(f"{duration(left)} left")
        return f"{self.what}: {', '.join(parts)}"

    def _seconds_left(self, now: float) -> float | None:
        """None if the total is unknown or the time measured so far is too short."""
        since, done_before = self.measured_from or (now, self.done)
        if not self.total or self.done == done_before or now - since < self.every / 3:
            return None
        return (now - since) * max(0, self.total - self.done) / (self.done - done_before)

    def close(self) -> None:
        """Log the duration if lines were logged before."""
        if self.last > self.started:
            metrics = f", {_formatted(self.metrics)}" if self.metrics else ""
            elapsed = duration(self.clock() - self.started)
            LOGGER.info("%s: %s in %s%s", self.what, counted(self.done, self.unit), elapsed, metrics)


def _formatted(metrics: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in metrics.items())
