"""Bootstrap intervals of differences between methods that were measured with the same seeds on the same test examples."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike


class Difference(NamedTuple):
    """A mean difference, and the interval that has 95 % of the bootstrap samples."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"


def paired_difference(
    ours: ArrayLike, theirs: ArrayLike, *, draws: int = 10_000, seed: int = 0
) -> Difference:
    """The mean of ours - theirs, and how far it depends on the seeds and on the test examples.

    Seeds (samples of the training examples, initial weights) and test examples are both drawn with replacement, independently of
    each other, and each drawn seed is measured on each drawn example. Percentiles 2.5 and 97.5 of the mean difference.

    Args:
        ours, theirs: (seeds, examples), a score for each.
    """
    differences = np.asarray(ours, dtype=np.float64) - np.asarray(theirs, dtype=np.float64)
    n_seeds, n_examples = differences.shape
    random = np.random.default_rng(seed)
    # How often each seed and each example is drawn: the mean over the drawn ones is a bilinear form of these counts.
    seeds = random.multinomial(n_seeds, np.full(n_seeds, 1 / n_seeds), draws) / n_seeds
    examples = random.multinomial(n_examples, np.full(n_examples, 1 / n_examples), draws) / n_examples
    means = np.einsum("ds,se,de->d", seeds, differences, examples, optimize=True)
    low, high = np.percentile(means, [2.5, 97.5])
    return Difference(float(differences.mean()), float(low), float(high))
