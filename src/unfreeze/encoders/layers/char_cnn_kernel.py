"""Compiled character convolution with max pooling, as sums of table rows instead of multiplications.

A character is one of 262 symbols, so the products of the embedding of each symbol with each column of the filters can be
precomputed. The convolution at a position is then the sum of w rows of this table, for filters of width w. Windows that
contain only padding are all equal and are computed once. The result is exact, with a hundredth of the multiplications
for the published filters.

Shapes: U words, C characters per word, S symbols, F filters (a multiple of 16).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from unfreeze.compiled import lanes
from unfreeze.compiled.decorators import compiled

_LOWEST = np.float32(-3.4e38)


@compiled
def look_up(
    rows: Any,
    lengths: Any,
    table: Any,
    width: int,
    n_symbols: int,
    largest: Any,
    positions: Any,
    first: int,
    last: int,
) -> None:
    """Compute the maximum over all windows, for words `first` to `last`.

    Args:
        rows: symbols (U, C) in int16.
        lengths: number of symbols of each row without padding (U,).
        table: (width * S, F); row k * S + s is the contribution of symbol s as the k-th of a window.
        largest: (U, F), overwritten with the maxima.
        positions: (U, F), overwritten with the start of the first window that attains the maximum.
    """
    for j in range(0, table.shape[1], 16):
        for word in range(first, last):
            best, position = lanes.splat(_LOWEST), lanes.zeros()
            for t in range(min(lengths[word], rows.shape[1] - width) + 1):
                total = lanes.load(table, rows[word, t], j)
                for k in range(1, width):
                    total = lanes.add(total, lanes.load(table, k * n_symbols + rows[word, t + k], j))
                position = lanes.where_greater(total, best, lanes.splat(np.float32(t)), position)
                best = lanes.where_greater(total, best, total, best)
            lanes.store(largest, word, j, best)
            lanes.store(positions, word, j, position)


@compiled
def scatter(
    rows: Any, positions: Any, gradient: Any, width: int, n_symbols: int, d_table: Any, first: int, last: int
) -> None:
    """Add the gradient of `largest` (U, F) to `d_table` (width * S, F), for filters `first` to `last`."""
    for j in range(first, last, 16):
        end = min(j + 16, last)
        for word in range(len(rows)):
            for f in range(j, end):
                t, value = int(positions[word, f]), gradient[word, f]
                if value != 0.0:
                    for k in range(width):
                        d_table[k * n_symbols + rows[word, t + k], f] += value
