"""Plot of a confusion matrix: true labels in rows, predicted ones in columns, shaded by the fraction of the row."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from unfreeze.pictures import picture_format, save_picture

MAX_WITH_COUNTS = 20
"""With more classes, the counts do not fit into the cells and are left out."""


def plot_confusion(matrix: Sequence[Sequence[int]], names: Sequence[str], path: Path) -> None:
    """Save a plot of the (K, K) counts as PNG, SVG or PDF, depending on the suffix of `path`.

    Raises:
        UserError: the suffix is of another format, or the file cannot be written.
    """
    from matplotlib.figure import Figure

    picture_format(path)
    size = min(12.0, 3.2 + 0.55 * len(names))
    figure = Figure(figsize=(size + 0.8, size), dpi=150, layout="constrained")
    counts = np.asarray(matrix)
    fractions = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    axes = figure.add_subplot()
    image = axes.imshow(fractions, cmap="Blues", vmin=0.0, vmax=1.0)
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right", parse_math=False)
    axes.set_yticks(range(len(names)), names, parse_math=False)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    if len(names) <= MAX_WITH_COUNTS:
        for row, column in np.ndindex(counts.shape):
            color = "white" if fractions[row, column] > 0.5 else "black"
            axes.text(column, row, f"{counts[row, column]:,}", ha="center", va="center", color=color)
    figure.colorbar(image, label="fraction of the true class")
    save_picture(figure, path)
