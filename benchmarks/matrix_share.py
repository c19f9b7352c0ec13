"""How much of the machine's matrix products a training step uses: its own arithmetic over the rate of a large product.

Counted are the products of the LSTMs or QRNNs and of the output layer as it is really computed (the adaptive softmax
scores a cluster only where the target is in it), two operations a multiplication, three times for training (forward, and
two gradients). Everything else, pointwise work, dropout, optimizer, loading, costs time and counts nothing. So a QRNN's
share may be lower than an LSTM's and its tokens a second higher: it has fewer products to make.
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
"""Products of a training step for each forward one."""


def product_rate(dtype: torch.dtype, repeats: int = 3) -> float:
    """Operations a second of the best of some products of two 2048 x 2048 matrices."""
    a, b = (torch.randn(PRODUCT_SIZE, PRODUCT_SIZE).to(dtype) for _ in range(2))
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        a @ b
        best = min(best, time.perf_counter() - start)
    return 2 * PRODUCT_SIZE**3 / best


def recurrent_operations(sizes: Sizes, cell: CellKind) -> int:
    """A token's forward products in the layers of an AWD-LSTM of these sizes."""
    return sum(2 * weights for weights, _ in layer_weights(sizes, cell))


def softmax_operations(embedding: int, shares: NDArray[np.float64], cutoffs: Sequence[int]) -> float:
    """A token's forward products in the output layer, on average.

    Args:
        embedding: E.
        shares: (V,) how much of the text each id is.
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
    """A token's products in a training step."""
    return TRAINING * (recurrent_operations(sizes, cell) + softmax_operations(sizes[0], shares, cutoffs))
