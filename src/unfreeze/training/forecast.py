"""About how long a run will take, said as soon as a few updates show it."""

from __future__ import annotations

import logging
import time

from unfreeze.text.display import duration

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
            left = duration(each * steps_left)
            logger.info("about %s to go: %d steps at %.3g s each", left, steps_left, each)
