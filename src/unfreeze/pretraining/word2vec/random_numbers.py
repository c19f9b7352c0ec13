"""Random numbers for compiled loops: splitmix64 on a state of 64 bits."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from unfreeze.compiled.decorators import inlined


@inlined
def next_random(state: NDArray[np.uint64]) -> Any:
    """Return the next 64 bits of splitmix64 (Steele et al. 2014), and advance `state[0]`."""
    state[0] += np.uint64(0x9E3779B97F4A7C15)
    z = state[0]
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@inlined
def below(bits: Any, n: Any) -> Any:
    """A number in [0, n) from the upper 32 of 64 random bits."""
    return np.int64(((bits >> np.uint64(32)) * np.uint64(n)) >> np.uint64(32))


@inlined
def fraction(bits: Any) -> Any:
    """A number in [0, 1) from the lower 32 of 64 random bits."""
    return np.float64(bits & np.uint64(0xFFFFFFFF)) * 2.0**-32
