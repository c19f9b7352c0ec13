"""About how long a run will take, said as soon as a few updates show it."""

from __future__ import annotations

import logging
import time

logger = logging.getLogger(__name__)

WARM_UP, MEASURED = 2, 10
"""Updates that are passed over (memory is found, kernels are chosen), and those that are timed."""
WORTH_SAYING = 60.0
"""Seconds: of a shorter run nothing is said."""


class Forecast:
    """Times the first updates and logs what follows from them, once."""

    def __init__(self) -> None:
        self.count, self.began = 0, 0.0

    def after_update(self, steps_left: int | None) -> None:
        """Count an update.

        Args:
            steps_left: None where time bounds the run, so that there is nothing to foresee.
        """
        self.count += 1
        if self.count == WARM_UP:
            self.began = time.monotonic()
        if self.count != WARM_UP + MEASURED or steps_left is None:
            return
        each = (time.monotonic() - self.began) / MEASURED
        if each * steps_left > WORTH_SAYING:
            logger.info("%s to go: %d steps at %.3g s each", in_words(each * steps_left), steps_left, each)


def in_words(seconds: float) -> str:
    """ "about 12 minutes", "about 3.5 hours"."""
    minutes = seconds / 60
    return f"about {minutes:.0f} minutes" if minutes < 90 else f"about {minutes / 60:.1f} hours"
