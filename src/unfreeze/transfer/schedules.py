"""Learning-rate schedules: each maps (step, steps) to a multiplier of the maximum learning rate.

Slanted triangular: Howard & Ruder 2018, eq. 3 (https://arxiv.org/abs/1801.06146), a short linear increase and a
long linear decay. As published the formula divides by zero below 10 steps and becomes negative where
`steps * cut_fraction` is not an integer (109 steps, for example). Here the increase takes at least one step and the
decay ends at the last step, which gives the same values wherever the published formula stays within its bounds.

`step` is the number of updates already made: 0, 1, ..., steps - 1. It may be fractional, because runs bounded by
time pass an estimated position; past the end the last value is returned.
"""

from __future__ import annotations

import math
from collections.abc import Callable

Schedule = Callable[[float, int], float]

COSINE_WARM_UP = 0.02
COSINE_FLOOR = 0.01


def slanted_triangular(step: float, steps: int, *, cut_fraction: float = 0.1, ratio: float = 32.0) -> float:
    """Increase linearly to 1 over the first `cut_fraction` of the steps, then decay linearly to 1 / `ratio`.

    Args:
        step: number of updates already made.
        steps: number of updates in the whole run, at least 1.
        cut_fraction: fraction of the run in which the rate increases; at least one step.
        ratio: ratio of the highest to the lowest learning rate.

    Returns:
        The multiplier of the maximum learning rate, between 1 / `ratio` and 1.
    """
    assert steps >= 1 and step >= 0, (step, steps)
    cut = max(1, math.floor(steps * cut_fraction))
    position = min(step, steps)
    height = position / cut if position <= cut else 1 - (position - cut) / (steps - cut)
    return (1 + height * (ratio - 1)) / ratio


def constant(step: float, steps: int) -> float:
    """Keep the maximum learning rate: return 1."""
    assert steps >= 1 and step >= 0, (step, steps)
    return 1.0


def cosine(step: float, steps: int) -> float:
    """Increase linearly from .01 over the first 2 % of the steps (at least one), then follow a half cosine to .01.

    The warm-up keeps Adam's first updates small, while its second moments are estimated from few gradients.
    """
    assert steps >= 1 and step >= 0, (step, steps)
    warm_up = max(1.0, steps * COSINE_WARM_UP)
    position = min(step, steps)
    if position <= warm_up:
        height = position / warm_up
    else:
        height = (1 + math.cos(math.pi * (position - warm_up) / (steps - warm_up))) / 2
    return COSINE_FLOOR + (1 - COSINE_FLOOR) * height


PLATEAU = "plateau"
"""Constant by the number of steps; the loop halves the rate whenever the validation loss rises."""
SCHEDULES: dict[str, Schedule] = {
    "slanted": slanted_triangular,
    "constant": constant,
    "cosine": cosine,
    PLATEAU: constant,
}
