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
"""Most steps of a power iteration: of a word's occurrences from their mean, of a draw from the eigenvector of all vectors."""
POWER_FROM = 8
"""Of smaller matrices, computing all eigenvalues is faster than a power iteration."""
FEW = 64
"""Of so many vectors a word, the products are computed once for a power iteration."""
POWER_ERROR = 1e-12
"""Largest relative error of an eigenvalue that a power iteration finds."""
STILL = 1e-10
"""Relative change of the eigenvalue of a draw at which its iteration ends."""


@dataclass(frozen=True)
class Estimate:
    """A figure, and the interval that has 95 percent of its bootstrap draws (percentiles 2.5 and 97.5)."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, value: float, draws: Numbers) -> Estimate:
        """From the figure and its draws (R,); those that are NaN do not count."""
        real = draws[~np.isnan(draws)]
        low, high = np.percentile(real, [2.5, 97.5]) if len(real) else (value, value)
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


def measures_of_words(vectors: Vectors, *, centered: bool = False) -> tuple[Numbers, Numbers]:
    """`mean_cosine` (W,) and `explained_variance` (W,) of W words with N >= 2 occurrences each: (W, N, D), none of them 0.

    Args:
        centered: see `explained_variance`; of equal vectors, which do not vary, the mean explains everything.
    """
    x = np.asarray(vectors, dtype=np.float64)
    n = x.shape[1]
    squares = np.einsum("wnd,wnd->wn", x, x)
    totals = ((1 / np.sqrt(squares))[:, None] @ x)[:, 0]
    cosines: Numbers = (np.einsum("wd,wd->w", totals, totals) - n) / (n * (n - 1))
    if not centered:
        return cosines, _first_eigenvalues(x, squares.sum(1)) / squares.sum(1)
    varying = np.ptp(x, axis=1).any(1)
    shares: Numbers = np.ones(len(x))
    moved = x[varying] - x[varying].mean(1, keepdims=True)
    sums = np.einsum("wnd,wnd->w", moved, moved)
    shares[varying] = _first_eigenvalues(moved, sums) / sums
    return cosines, shares


def _first_eigenvalues(x: Numbers, sums: Numbers) -> Numbers:
    """The first of the squared singular values (W,) of W matrices (W, N, D), whose sums (W,) are given.

    A power iteration from the mean finds it in a few steps where it is more than half of the sum: then no other can be larger, and its
    error is bounded by the residual and the distance to the others. Where this does not hold, all are computed.
    """
    turned = x.transpose(0, 2, 1)
    wide = x.shape[1] < x.shape[2]
    # Products of few vectors are computed once, those of many in each step, which is less work.
    products = x @ turned if wide and x.shape[1] <= FEW else None
    first, done = np.zeros(len(x)), np.zeros(len(x), np.bool_)
    if min(x.shape[1:]) > POWER_FROM:
        v = (x @ x.sum(1)[:, :, None]) if products is None else products.sum(2, keepdims=True)
        with np.errstate(divide="ignore", invalid="ignore"):
            for step in range(POWER_STEPS):
                v = v / np.linalg.norm(v, axis=1, keepdims=True)
                along = x @ (turned @ v) if products is None else products @ v
                first = (v * along).sum((1, 2))
                residual = ((along - first[:, None, None] * v) ** 2).sum((1, 2))
                apart = 2 * first - sums  # at least this much larger than the others
                done = (apart > 0) & (residual <= POWER_ERROR * first * apart)
                if (done | (apart <= 0 if step > 2 else False)).all():
                    break
                v = along
    if not done.all():
        if products is None:
            others = x[~done]
            products_of = others @ turned[~done] if wide else turned[~done] @ others
        else:
            products_of = products[~done]
        first[~done] = np.linalg.eigvalsh(products_of)[:, -1]
    return first


# The bootstrap. A draw with replacement is a number of times that each vector counts.


def draw_counts(n: int, draws: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """How often each of N vectors is in each draw: (R, N)."""
    return generator.multinomial(n, np.full(n, 1 / n), draws)


def drawn_means(values: Vectors, draws: int, generator: np.random.Generator) -> Numbers:
    """The means (..., R) of N values (..., N), drawn with replacement; all rows have the same draws."""
    exact = np.asarray(values, dtype=np.float64)
    n = exact.shape[-1]
    size = max(1, BLOCK_NUMBERS // n)
    parts = [min(size, draws - start) for start in range(0, draws, size)]
    return np.concatenate([exact @ draw_counts(n, part, generator).T / n for part in parts], axis=-1)


def drawn_mean_cosines(vectors: Vectors, counts: NDArray[np.int64]) -> Numbers:
    """The mean cosines (R,) of the pairs of two different ones of N vectors (N, D), drawn `counts` times (R, N).

    NaN where all draws are of one vector, which happens if N is very small.
    """
    exact = counts.astype(np.float64)
    totals = exact @ unit(vectors)
    alike = (exact * exact).sum(1)  # pairs of a vector and itself, whose cosine is 1
    pairs = len(vectors) ** 2 - alike
    found: Numbers = np.full(len(counts), np.nan)
    np.divide((totals * totals).sum(1) - alike, pairs, out=found, where=pairs > 0)
    return found


def drawn_explained_variances(
    vectors: Vectors, counts: NDArray[np.int64], *, centered: bool = False
) -> Numbers:
    """The shares (R,) of the first squared singular value, of N vectors (N, D) drawn `counts` times (R, N).

    NaN where vectors do not vary around their mean, which happens if N is very small.
    """
    x = np.asarray(vectors, dtype=np.float64)
    times = counts.astype(np.float64)
    means = times @ x / len(x) if centered else np.zeros((len(times), x.shape[1]))
    start = np.linalg.svd(x - x.mean(0) if centered else x, full_matrices=False)[2][0]
    first = np.repeat(start[:, None], len(times), axis=1)  # (D, R), one direction for each draw
    squared: Numbers = np.zeros(len(times))
    sums = times @ (x * x).sum(1) - len(x) * (means * means).sum(1)
    varying = sums > 1e-12 * (x * x).sum()
    for _ in range(POWER_STEPS):
        before = squared
        along = times.T * (x @ first - (means.T * first).sum(0))
        first = x.T @ along - means.T * along.sum(0)
        squared = np.linalg.norm(first, axis=0)  # the eigenvalue, once the direction stands still
        first = first / np.where(varying, squared, 1)
        if (np.abs(squared - before) <= STILL * squared)[varying].all():
            break
    found: Numbers = np.full(len(times), np.nan)
    np.divide(squared, sums, out=found, where=varying)
    return found
