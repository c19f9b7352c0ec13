"""Linear maps that mend an anisotropic space: centering, all-but-the-top, whitening.

All-but-the-top (Mu and Viswanath 2018, https://arxiv.org/abs/1702.01417, algorithm 1) subtracts the mean and the first
principal components. Whitening gives all components the same variance; cosines do not depend on the rotation that follows it.

Legend: N vectors, D width, C components.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from unfreeze.analysis.geometry import Numbers, Vectors
from unfreeze.errors import UserError

Method = Literal["centered", "all-but-the-top", "whitened"]
SMALLEST = 1e-9
"""Components whose variance is below this part of the largest one are numerical noise; whitening drops them."""


@dataclass(frozen=True)
class PostProcessing:
    """x -> (x - mean) matrix."""

    method: Method
    mean: Numbers
    """(D,)"""
    matrix: Numbers
    """(D, D), or (D, C) of whitening."""

    @classmethod
    def fit(cls, method: Method, vectors: Vectors, *, components: int | None = None) -> PostProcessing:
        """Learn the map from vectors.

        Args:
            vectors: (N, D) with N >= 2.
            components: that all-but-the-top removes (default: D / 100, rounded, at least one, as in the paper).

        Raises:
            UserError: the method is unknown, there are too few vectors, or more components than these have.
        """
        x = np.asarray(vectors, dtype=np.float64)
        n, width = x.shape
        if n < 2:
            raise UserError("the shape of a space cannot be learned from fewer than two vectors")
        mean = x.mean(0)
        if method == "centered":
            return cls(method, mean, np.eye(width))
        _, values, directions = np.linalg.svd(x - mean, full_matrices=False)
        if method == "all-but-the-top":
            count = max(1, round(width / 100)) if components is None else components
            if not 0 <= count <= len(directions):
                raise UserError(f"{n} vectors of width {width} do not have {count} components to remove")
            top = directions[:count]
            return cls(method, mean, np.eye(width) - top.T @ top)
        if method != "whitened":
            raise UserError(f"{method!r}: the methods are centered, all-but-the-top and whitened")
        variances = values**2 / (n - 1)
        kept = variances > SMALLEST * variances[0]
        return cls(method, mean, directions[kept].T / np.sqrt(variances[kept]))

    def __call__(self, vectors: Vectors) -> Numbers:
        """(M, D) -> (M, D), or (M, C) of whitening."""
        found: Numbers = (np.asarray(vectors, dtype=np.float64) - self.mean) @ self.matrix
        return found
