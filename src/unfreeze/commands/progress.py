"""How long work shows how far it is: bars on a terminal, a log line now and then where the output goes to a file."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from unfreeze.progress import Bar, Progress
from unfreeze.text.display import counted, duration, printable

if TYPE_CHECKING:
    from tqdm import tqdm

LOGGER = logging.getLogger(__name__)
SECONDS_BETWEEN_LINES = 30.0


class LogHandler(logging.Handler):
    """Writes to standard error, above the bars where there are some.

    What is said of data is said once, although a run may read it several times.
    """

    def __init__(self) -> None:
        super().__init__()
        self.said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        if record.name.startswith("unfreeze.text."):
            if record.getMessage() in self.said:
                return
            self.said.add(record.getMessage())
        text = printable(self.format(record))
        if "tqdm" in sys.modules:
            from tqdm import tqdm

            tqdm.write(text, file=sys.stderr)
        else:
            print(text, file=sys.stderr)


class TerminalProgress(Progress):
    """Draws bars on standard error, at most every `every` seconds; a bar disappears when its work is done."""

    def __init__(self, *, every: float = 0.1) -> None:
        self.every = every

    @contextmanager
    def bar(self, what: str, total: int | None = None, unit: str = "it") -> Iterator[Bar]:
        """See `Progress.bar`."""
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

    def advance(self, n: int = 1, **figures: float) -> None:
        # tqdm redraws now and then and says when it did: only then new figures are worth formatting.
        if self.drawn.update(n) and figures:
            self.drawn.set_postfix_str(_show(figures), refresh=False)


class LoggedProgress(Progress):
    """Logs a line every `every` seconds, and a last one for work that was long enough to have lines."""

    def __init__(
        self, *, every: float = SECONDS_BETWEEN_LINES, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """
        Args:
            every: seconds between two lines.
            clock: seconds now.
        """
        self.every = every
        self.clock = clock

    @contextmanager
    def bar(self, what: str, total: int | None = None, unit: str = "it") -> Iterator[Bar]:
        """See `Progress.bar`."""
        logged = _LoggedBar(what, total, unit, self.every, self.clock)
        yield logged
        logged.close()


class _LoggedBar(Bar):
    def __init__(
        self, what: str, total: int | None, unit: str, every: float, clock: Callable[[], float]
    ) -> None:
        self.what, self.total, self.unit, self.every, self.clock = what, total, unit, every, clock
        self.done = 0
        self.figures: dict[str, float] = {}
        self.started = self.last = clock()
        self.measured_from: tuple[float, int] | None = None
        """When the last line was logged, and what was done by then: speed is measured from there. At first, when the first
        units were done: before that code is compiled, and a run that goes on passes over what was done earlier."""

    def advance(self, n: int = 1, **figures: float) -> None:
        self.done += n
        self.figures.update(figures)
        now = self.clock()
        if self.measured_from is None:
            self.measured_from = now, self.done
        if now - self.last >= self.every:
            self.last = now
            LOGGER.info("%s", self.line(now))
            self.measured_from = now, self.done

    def line(self, now: float) -> str:
        """ "adapting: 1,200/5,000 batches (24 %), loss 4.321, 10 minutes left"."""
        if not self.total:
            parts = [counted(self.done, self.unit)]
        else:
            share = 100 * self.done / self.total
            parts = [f"{self.done:,}/{counted(self.total, self.unit)} ({share:.0f} %)"]
        parts += [_show(self.figures)] if self.figures else []
        if (left := self._seconds_left(now)) is not None:
            parts.append(f"{duration(left)} left")
        return f"{self.what}: {', '.join(parts)}"

    def _seconds_left(self, now: float) -> float | None:
        """None where the work has no known end, or was measured for too short a time to say."""
        since, done_then = self.measured_from or (now, self.done)
        if not self.total or self.done == done_then or now - since < self.every / 3:
            return None
        return (now - since) * max(0, self.total - self.done) / (self.done - done_then)

    def close(self) -> None:
        """Log how long it took, where lines were logged before."""
        if self.last > self.started:
            figures = f", {_show(self.figures)}" if self.figures else ""
            taken = duration(self.clock() - self.started)
            LOGGER.info("%s: %s in %s%s", self.what, counted(self.done, self.unit), taken, figures)


def _show(figures: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
