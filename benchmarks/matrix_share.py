"""Utilization of a training step: the rate of its matrix products relative to that of a large matrix product.

Counts the matrix products of the LSTMs or QRNNs and of the output layer as actually computed (the adaptive softmax scores a
cluster only where the target is in it), with two operations per multiplication, three times for training (forward and two
gradients). Elementwise operations, dropout, optimizer and data loading take time but are not counted. A QRNN can therefore
have a lower utilization than an LSTM and still process more tokens per second, because it has fewer products.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.sizes import Sizes, layer_weights
from unfreeze.encoders.layers.cell_settings import CellKind

PRODUCT_SIZE = 2048
TRAINING = 3
"""Matrix products of a training step per product of the forward pass."""


def product_rate(dtype: torch.dtype, repeats: int = 3) -> float:
    """Operations per second of the fastest of several products of two 2048 x 2048 matrices."""
    a, b = (torch.randn(PRODUCT_SIZE, PRODUCT_SIZE).to(dtype) for _ in range(2))
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        a @ b
        best = min(best, time.perf_counter() - start)
    return 2 * PRODUCT_SIZE**3 / best


def recurrent_operations(sizes: Sizes, cell: CellKind) -> int:
    """Multiplications per token in the layers of an AWD-LSTM, forward."""
    return sum(2 * weights for weights, _ in layer_weights(sizes, cell))


def softmax_operations(embedding: int, shares: NDArray[np.float64], cutoffs: Sequence[int]) -> float:
    """Average multiplications per token in the output layer, forward.

    Args:
        embedding: E.
        shares: relative frequency of each id (V,).
        cutoffs: of the adaptive softmax; empty for the full one.
    """
    bounds = [0, *cutoffs, len(shares)]
    head = bounds[1] + len(cutoffs)
    clusters = [
        shares[low:high].sum() * (high - low) for low, high in zip(bounds[1:], bounds[2:], strict=False)
    ]
    return 2 * embedding * (head + float(sum(clusters)))


def training_operations(
    sizes: Sizes, cell: CellKind, shares: NDArray[np.float64], cutoffs: Sequence[int] = ()
) -> float:
    """Multiplications per token in a training step."""
    return TRAINING * (recurrent_operations(sizes, cell) + softmax_operations(sizes[0], shares, cutoffs))
