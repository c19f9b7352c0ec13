"""Progress of long operations, independent of how it is shown.

The core calls `progress.bar(...)`. The command line passes an implementation that draws bars; from Python, nothing is
shown by default.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager


class Bar:
    """Progress of one operation. The base class ignores it."""

    def advance(self, n: int = 1, **metrics: float) -> None:
        """Report `n` more units of work, and the latest values of metrics worth showing (loss, perplexity, learning rate)."""


class Progress:
    """Makes progress bars. The base class shows nothing."""

    @contextmanager
    def bar(self, what: str, total: int | None = None, unit: str = "it") -> Iterator[Bar]:
        """A bar for an operation of `total` units (None if unknown), closed at the end of the `with` block."""
        yield Bar()

    def record(self, step: int, metrics: Mapping[str, float]) -> None:
        """Receive the metrics of a training run, after each update and each validation.

        Args:
            step: updates so far, also those before an interruption.
        """


SILENT = Progress()
