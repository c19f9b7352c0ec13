"""A confusion matrix as a picture: rows are true labels, columns predicted ones, shaded by the share of the row."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from unfreeze.pictures import picture_format, save_picture

MOST_WITH_COUNTS = 20
"""Classes up to which a count fits into its cell."""


def plot_confusion(matrix: Sequence[Sequence[int]], names: Sequence[str], path: Path) -> None:
    """Draw the (K, K) counts into a file (PNG, SVG or PDF, by its suffix).

    Raises:
        UserError: a suffix of another format, or the file cannot be written.
    """
    from matplotlib.figure import Figure

    picture_format(path)
    size = min(12.0, 3.2 + 0.55 * len(names))
    figure = Figure(figsize=(size + 0.8, size), dpi=150, layout="constrained")
    counts = np.asarray(matrix)
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    axes = figure.add_subplot()
    image = axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0)
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right", parse_math=False)
    axes.set_yticks(range(len(names)), names, parse_math=False)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    if len(names) <= MOST_WITH_COUNTS:
        for row, column in np.ndindex(counts.shape):
            color = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, f"{counts[row, column]:,}", ha="center", va="center", color=color)
    figure.colorbar(image, label="share of the true class")
    save_picture(figure, path)
