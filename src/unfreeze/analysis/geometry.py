"""Measures of the shape of a cloud of vectors, and how sure they are.

Everything is computed in float64. The measures that compare words in contexts are those of Ethayarajh (2019,
https://arxiv.org/abs/1909.00512); the isotropy score is that of Mu and Viswanath (2018, https://arxiv.org/abs/1702.01417).

Legend: N vectors, D width, R draws of the bootstrap.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.floating[Any]]
Numbers = NDArray[np.float64]

BLOCK_NUMBERS = 1 << 22
"""Numbers of the arrays that the bootstrap makes at once."""
POWER_STEPS = 12
"""Steps of the power iteration that finds the largest eigenvalue of each draw, from the eigenvector of all vectors."""


@dataclass(frozen=True)
class Estimate:
    """A figure, and the interval that has 95 percent of its bootstrap draws (percentiles 2.5 and 97.5)."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, value: float, draws: Numbers) -> Estimate:
        """From the figure and its draws (R,)."""
        low, high = np.percentile(draws, [2.5, 97.5])
        return cls(float(value), float(low), float(high))

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def unit(vectors: Vectors) -> Numbers:
    """The vectors (N, D) at length 1; those of length 0 stay 0."""
    exact = np.asarray(vectors, dtype=np.float64)
    lengths = np.linalg.norm(exact, axis=1, keepdims=True)
    found: Numbers = np.divide(exact, lengths, out=np.zeros_like(exact), where=lengths > 0)
    return found


def mean_cosine(vectors: Vectors) -> float:
    """The mean cosine of all pairs of N >= 2 vectors (N, D), none of them 0.

    Of the occurrences of one word it is the word's self-similarity; of words in random sentences it is the anisotropy of the space.
    """
    n = len(vectors)
    total = unit(vectors).sum(0)
    return float((total @ total - n) / (n * (n - 1)))


def similarity_to_mean(vectors: Vectors) -> float:
    """The mean cosine of the vectors (N, D) and their mean: the intra-sentence similarity of the words of a sentence."""
    (mean,) = unit(np.asarray(vectors, dtype=np.float64).mean(0, keepdims=True))
    return float((unit(vectors) @ mean).mean())


def explained_variance(vectors: Vectors, *, centered: bool = False) -> float:
    """The share of the first of the squared singular values of the matrix (N, D), their sum not being 0.

    Of the occurrences of one word it is the maximum explainable variance: how much of them the best static vector could replace.

    Args:
        centered: of the vectors minus their mean: the share of the first principal component. The paper's formula does not center.
    """
    x = np.asarray(vectors, dtype=np.float64)
    x = x - x.mean(0) if centered else x
    products = x @ x.T if len(x) < x.shape[1] else x.T @ x
    return float(np.linalg.eigvalsh(products)[-1] / np.trace(products))


def isotropy_score(vectors: Vectors) -> float:
    """The smallest value of the partition function Z(a) = sum of exp(a . v) divided by its largest; 1 is isotropic.

    As in the paper (section 2.2), a runs over the eigenvectors of the matrix of second moments. Their signs are arbitrary, so here both
    signs of each count. The score depends on the lengths of the vectors (N, D).
    """
    x = np.asarray(vectors, dtype=np.float64)
    along = x @ np.linalg.eigh(x.T @ x)[1]
    exponents = np.concatenate([along, -along], axis=1)
    largest = exponents.max(0)
    logs = largest + np.log(np.exp(exponents - largest).sum(0))
    return float(np.exp(logs.min() - logs.max()))


def effective_dimension(vectors: Vectors) -> float:
    """The participation ratio of the variances along the principal components of (N, D): (sum of l)^2 / sum of l^2, at most N - 1 and D.

    It is D if all directions vary equally, and 1 if only one does.
    """
    x = np.asarray(vectors, dtype=np.float64)
    x = x - x.mean(0)
    products = x @ x.T if len(x) < x.shape[1] else x.T @ x
    return float(np.trace(products) ** 2 / (products * products).sum())


# The bootstrap. A draw with replacement is a number of times that each vector counts.


def _counts(n: int, draws: int, generator: np.random.Generator) -> NDArray[np.int64]:
    return generator.multinomial(n, np.full(n, 1 / n), draws)


def drawn_means(values: Vectors, draws: int, generator: np.random.Generator) -> Numbers:
    """The means (R,) of N values (N,), drawn with replacement."""
    n, exact = len(values), np.asarray(values, dtype=np.float64)
    size = max(1, BLOCK_NUMBERS // n)
    parts = [min(size, draws - start) for start in range(0, draws, size)]
    return np.concatenate([_counts(n, part, generator) @ exact / n for part in parts])


def drawn_mean_cosines(vectors: Vectors, draws: int, generator: np.random.Generator) -> Numbers:
    """The mean cosines (R,) of the pairs of two different ones of N vectors (N, D), drawn with replacement."""
    counts = _counts(len(vectors), draws, generator).astype(np.float64)
    totals = counts @ unit(vectors)
    alike = (counts * counts).sum(1)  # pairs of a vector and itself, whose cosine is 1
    found: Numbers = ((totals * totals).sum(1) - alike) / (len(vectors) ** 2 - alike)
    return found


def drawn_explained_variances(
    vectors: Vectors, draws: int, generator: np.random.Generator, *, centered: bool = False
) -> Numbers:
    """The shares (R,) of the first squared singular value, of N vectors (N, D) drawn with replacement."""
    x = np.asarray(vectors, dtype=np.float64)
    counts = _counts(len(x), draws, generator).astype(np.float64)
    means = counts @ x / len(x) if centered else np.zeros((draws, x.shape[1]))
    start = np.linalg.svd(x - x.mean(0) if centered else x, full_matrices=False)[2][0]
    first = np.repeat(start[:, None], draws, axis=1)  # (D, R), one direction for each draw
    squared: Numbers = np.zeros(draws)
    for _ in range(POWER_STEPS):
        along = counts.T * (x @ first - (means.T * first).sum(0))
        first = x.T @ along - means.T * along.sum(0)
        squared = np.linalg.norm(first, axis=0)  # the eigenvalue, once the direction stands still
        first = first / squared
    sums = counts @ (x * x).sum(1) - len(x) * (means * means).sum(1)
    found: Numbers = squared / sums
    return found
