"""Bootstrap intervals of scores, and of differences between methods that were measured on the same test examples.

Seeds (samples of the training examples, initial weights) and test examples are both drawn with replacement, independently of
each other, and each drawn seed is measured on each drawn example. An interval is from percentile 2.5 to 97.5.

Legend: S seeds, E test examples, D draws, R rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

LARGEST = 4_000_000
"""Numbers of drawn examples that are in memory at once."""
SEEDS = 1
"""Added to the seed for the draws of seeds, which are independent of those of the examples."""


class Interval(NamedTuple):
    """A score, and the interval that has 95 % of the bootstrap samples."""

    mean: float
    low: float
    high: float


class Difference(NamedTuple):
    """A mean difference, and the interval that has 95 % of the bootstrap samples."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"


class Draws:
    """Draws of test examples that all methods share, so that their differences are paired.

    Args:
        n_examples: E.
        draws: D.
    """

    def __init__(self, n_examples: int, draws: int = 2_000, seed: int = 0) -> None:
        self.n_examples, self.draws, self.seed = n_examples, draws, seed

    def sums(self, scores: ArrayLike) -> NDArray[np.float64]:
        """The sum over each draw of test examples, for rows of scores: (R, E) -> (R, D)."""
        rows = np.asarray(scores, dtype=np.float64)
        random = np.random.default_rng(self.seed)
        shares = np.full(self.n_examples, 1 / self.n_examples)
        found = np.empty((len(rows), self.draws))
        step = max(1, LARGEST // self.n_examples)
        for start in range(0, self.draws, step):
            part = slice(start, min(start + step, self.draws))
            # How often each example is drawn.
            counts = random.multinomial(self.n_examples, shares, part.stop - part.start)
            found[:, part] = rows @ counts.T.astype(np.float64)
        return found

    def ratios(self, numerators: ArrayLike, denominators: ArrayLike) -> NDArray[np.float64]:
        """The score of each draw, averaged over drawn seeds: sums over drawn examples (S, D) twice -> (D,).

        The score of a seed is the ratio of the sums, 0 where both are.
        """
        above, below = np.asarray(numerators), np.asarray(denominators)
        scores = np.divide(above, below, out=np.zeros_like(above), where=below != 0)
        means: NDArray[np.float64] = np.einsum("ds,sd->d", self._seeds(len(scores)), scores)
        return means

    def _seeds(self, n_seeds: int) -> NDArray[np.float64]:
        """The share of each seed in each draw: (D, S); the same for methods with as many seeds."""
        random = np.random.default_rng((self.seed, SEEDS))
        counts = random.multinomial(n_seeds, np.full(n_seeds, 1 / n_seeds), self.draws)
        return np.asarray(counts / n_seeds)


def between(drawn: NDArray[np.float64]) -> tuple[float, float]:
    """Percentiles 2.5 and 97.5 of (D,)."""
    low, high = np.percentile(drawn, [2.5, 97.5])
    return float(low), float(high)


def mean_ratio(numerators: Sequence[float], denominators: Sequence[float]) -> float:
    """The mean over seeds of the ratio, 0 where both are: (S,) and (S,)."""
    ratios = [above / below if below else 0.0 for above, below in zip(numerators, denominators, strict=True)]
    return sum(ratios) / len(ratios)


def paired_difference(
    ours: ArrayLike, theirs: ArrayLike, *, draws: int = 10_000, seed: int = 0
) -> Difference:
    """The mean of ours - theirs, and how far it depends on the seeds and on the test examples.

    Args:
        ours, theirs: (S, E), a score for each seed and test example.
    """
    differences = np.asarray(ours, dtype=np.float64) - np.asarray(theirs, dtype=np.float64)
    n_examples = differences.shape[1]
    drawn = Draws(n_examples, draws, seed)
    low, high = between(
        drawn.ratios(drawn.sums(differences) / n_examples, np.ones((len(differences), draws)))
    )
    return Difference(float(differences.mean()), low, high)
