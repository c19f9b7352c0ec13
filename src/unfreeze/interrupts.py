"""Ctrl-C while modules are being imported: the process ends with one line.

A `KeyboardInterrupt` is not enough, because code that is being imported may swallow it or wrap it in another error.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


def end_at_interrupts() -> None:
    """Make Ctrl-C end the process at once, unless the signal is ignored, as in background jobs of a script."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)


def raise_at_interrupts() -> None:
    """Make Ctrl-C raise `KeyboardInterrupt` again, so that work in progress can be saved."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def ignore_interrupts() -> Iterator[None]:
    """Within the block, Ctrl-C does nothing."""
    if threading.current_thread() is not threading.main_thread():  # signals reach the main thread only
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _end(number: int, frame: object) -> None:
    with suppress(OSError):
        os.write(2, b"unfreeze: interrupted; rerun the command to start again or resume\n")
    os._exit(130)
