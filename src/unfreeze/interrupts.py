"""Ctrl-C before the work begins, while modules are being imported: the process ends with one line.

A `KeyboardInterrupt` would not do: code that is just being imported swallows it, or wraps it in another error.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress


def end_at_interrupts() -> None:
    """From now on Ctrl-C ends the process at once, unless it is ignored, as in the background of a script."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)


def raise_at_interrupts() -> None:
    """From now on Ctrl-C raises `KeyboardInterrupt` again, so that what was done can be saved."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _end(number: int, frame: object) -> None:
    with suppress(OSError):
        os.write(2, b"unfreeze: interrupted; rerun the command to start again\n")
    os._exit(130)
