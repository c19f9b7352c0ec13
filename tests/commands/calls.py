"""One command line in this process: what it printed, and how it ended."""

from __future__ import annotations

import contextlib
import io
import json
import logging
from typing import Any, NamedTuple

from unfreeze.commands.main import main


class Outcome(NamedTuple):
    """What one command line did."""

    status: int
    out: str
    err: str

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Standard output as JSON lines."""
        return [json.loads(line) for line in self.out.splitlines()]


def call(*words: object) -> Outcome:
    """`unfreeze` with these words."""
    out, err = io.StringIO(), io.StringIO()
    logger = logging.getLogger("unfreeze")
    before = logger.handlers[:], logger.level, logger.propagate
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = main([str(word) for word in words])
    finally:  # main sets up logging for its process; later tests read log messages as they were written
        logger.handlers[:], logger.level, logger.propagate = before
    return Outcome(status, out.getvalue(), err.getvalue())


def succeed(*words: object) -> Outcome:
    """The same; the exit status has to be 0."""
    outcome = call(*words)
    assert outcome.status == 0, outcome.err
    return outcome


def fail(*words: object) -> str:
    """The one line on standard error of a user's mistake."""
    status, out, err = call(*words, "--quiet")
    assert (status, out) == (2, "")
    assert err.startswith("unfreeze: ") and err.count("\n") == 1, err
    return err
