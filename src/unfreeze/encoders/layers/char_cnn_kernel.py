"""The convolution over a word's characters and its maximum, compiled: sums of table rows, nothing is multiplied.

A character is one of 262 symbols, so that "embed, then convolve" is a look-up: for filter width w the k-th column of the
filters times the embedding of each symbol is a table, and the convolution at a place is the sum of w of its rows. Windows
that hold padding alone are all the same and are computed once. On the published filters this is a hundredth of the
multiplications, and exact.

Legend: U words, C characters of a row, S symbols, F filters (a multiple of 16).
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
    places: Any,
    first: int,
    last: int,
) -> None:
    """The largest sum over all windows, for words first to last.

    Args:
        rows: (U, C) of int16, symbols.
        lengths: (U,) symbols of each row that are no padding.
        table: (width * S, F); row k * S + s is what symbol s adds as the k-th of a window.
        largest: (U, F), written.
        places: (U, F), written: where the first of the largest windows begins.
    """
    for j in range(0, table.shape[1], 16):
        for word in range(first, last):
            best, place = lanes.splat(_LOWEST), lanes.zeros()
            for t in range(min(lengths[word], rows.shape[1] - width) + 1):
                total = lanes.load(table, rows[word, t], j)
                for k in range(1, width):
                    total = lanes.add(total, lanes.load(table, k * n_symbols + rows[word, t + k], j))
                place = lanes.where_greater(total, best, lanes.splat(np.float32(t)), place)
                best = lanes.where_greater(total, best, total, best)
            lanes.store(largest, word, j, best)
            lanes.store(places, word, j, place)


@compiled
def scatter(
    rows: Any, places: Any, gradient: Any, width: int, n_symbols: int, d_table: Any, first: int, last: int
) -> None:
    """Add the gradient of `largest` to the table's rows that made it, for filters first to last.

    Args:
        gradient: (U, F).
        d_table: (width * S, F), added to.
    """
    for j in range(first, last, 16):
        end = min(j + 16, last)
        for word in range(len(rows)):
            for f in range(j, end):
                t, value = int(places[word, f]), gradient[word, f]
                if value != 0.0:
                    for k in range(width):
                        d_table[k * n_symbols + rows[word, t + k], f] += value
