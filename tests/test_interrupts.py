"""Ctrl-C while nothing may be cut off."""

from __future__ import annotations

import os
import signal

import pytest

from unfreeze.interrupts import ignore_interrupts


def test_interrupts_are_ignored_within_the_block_alone() -> None:
    before = signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # ignored in background jobs of a script
    try:
        with ignore_interrupts():
            os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
