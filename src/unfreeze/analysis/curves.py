"""Learning curves: accuracy against the number of labels, as a plot and as table rows.

Each method is a line on a logarithmic axis, with the range over its seeds as a band and its name at the right end
in place of a legend. Lines differ in lightness, dash pattern and marker as well as in hue, so that the plot stays
readable in grayscale.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unfreeze.errors import UserError
from unfreeze.pictures import picture_format, save_picture

NAME_GAP = 0.055
"""Minimum distance between two names, as a fraction of the height of the axes."""


@dataclass(frozen=True)
class Curve:
    """Accuracy of a method by number of labels."""

    name: str
    """Name of the method in plots and tables."""
    accuracies: Mapping[int, Sequence[float]]
    """Number of labels -> accuracy (0 to 1) for each seed."""

    def __post_init__(self) -> None:
        assert self.accuracies and all(self.accuracies.values()), "a curve needs a point, and a point a seed"

    @property
    def counts(self) -> list[int]:
        """The numbers of labels, ascending."""
        return sorted(self.accuracies)

    def mean(self, count: int) -> float:
        """Mean accuracy over the seeds."""
        return sum(self.accuracies[count]) / len(self.accuracies[count])

    def labels_for(self, accuracy: float) -> float | None:
        """Number of labels at which the mean accuracy reaches a value, or None if it never does.

        Interpolated on the logarithmic axis between two points; a value below the first point gives the first
        point's number of labels.
        """
        below: int | None = None
        for count in self.counts:
            if self.mean(count) >= accuracy:
                if below is None:
                    return float(count)
                fraction = (accuracy - self.mean(below)) / (self.mean(count) - self.mean(below))
                return float(below * (count / below) ** fraction)
            below = count
        return None


@dataclass(frozen=True)
class _Style:
    color: str
    dash: Any
    """Name of a line style, or matplotlib's pattern of dashes and gaps."""
    marker: str


STYLES = (
    _Style("#08306b", "-", "o"),
    _Style("#c8550a", "--", "s"),
    _Style("#6f6f6f", "-.", "^"),
    _Style("#1b8a6b", ":", "D"),
    _Style("#8e6bb5", (0, (5, 1, 1, 1, 1, 1)), "v"),
    _Style("#b58a00", (0, (1, 3)), "P"),
)


def plot_curves(
    curves: Sequence[Curve],
    path: Path,
    *,
    title: str = "",
    what: str = "accuracy",
    chance: float | None = None,
) -> None:
    """Save a plot of learning curves as PNG, SVG or PDF, depending on the suffix of `path`.

    Args:
        curves: at most six, the most important one first.
        title: title of the plot.
        what: name of the metric, for the vertical axis.
        chance: accuracy of guessing, drawn as a thin line.

    Raises:
        UserError: there are more curves than styles, the suffix is of another format, or the file cannot be written.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    picture_format(path)
    if len(curves) > len(STYLES):
        raise UserError(f"a plot can have at most {len(STYLES)} distinguishable curves, got {len(curves)}")
    figure = Figure(figsize=(7.2, 4.2), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    styled = list(zip(curves, STYLES, strict=False))
    for curve, style in reversed(styled):  # the first curve is drawn last, on top of the others
        counts = curve.counts
        means = [100 * curve.mean(count) for count in counts]
        if any(len(set(curve.accuracies[count])) > 1 for count in counts):
            lowest, highest = ([100 * f(curve.accuracies[count]) for count in counts] for f in (min, max))
            axes.fill_between(counts, lowest, highest, color=style.color, alpha=0.15, linewidth=0)
        line: dict[str, Any] = {"color": style.color, "linestyle": style.dash, "marker": style.marker}
        axes.plot(counts, means, markersize=5, linewidth=1.8, **line)

    counts = sorted({count for curve in curves for count in curve.counts})
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(counts))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{round(value):,}"))
    axes.set_xlabel("number of labels (logarithmic)")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} %"))
    axes.set_ylabel(what, parse_math=False)
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    offset: dict[str, Any] = {"textcoords": "offset points"}
    if chance is not None:
        axes.axhline(100 * chance, color="#999999", linewidth=0.8)
        point = counts[0], 100 * chance
        axes.annotate("guessing", point, xytext=(0, 3), color="#777777", fontsize=8, **offset)

    # The name of each line at its right end; names that would overlap are moved apart.
    offset.update(xycoords=axes.get_xaxis_transform(), parse_math=False, fontsize=9, va="center")
    low, high = axes.get_ylim()
    for end in sorted({curve.counts[-1] for curve in curves}):
        ending = [(curve, style) for curve, style in styled if curve.counts[-1] == end]
        heights = spread([(100 * curve.mean(end) - low) / (high - low) for curve, _ in ending], NAME_GAP)
        for (curve, style), height in zip(ending, heights, strict=True):
            axes.annotate(curve.name, (end, height), xytext=(8, 0), color=style.color, **offset)
    if title:
        axes.set_title(title, loc="left", fontsize=11, parse_math=False)
    save_picture(figure, path)


def spread(heights: Sequence[float], gap: float) -> list[float]:
    """Move heights as little as possible (least squares) so that no two are closer than `gap`, preserving their order.

    Subtracting rank * gap turns the constraint into monotonicity, which isotonic regression solves.
    """
    from sklearn.isotonic import isotonic_regression

    order = np.argsort(heights, kind="stable")
    offsets = gap * np.arange(len(heights))
    result = np.empty(len(heights))
    result[order] = isotonic_regression(np.array(heights)[order] - offsets) + offsets
    return [float(height) for height in result]


def curve_rows(curves: Sequence[Curve]) -> list[dict[str, Any]]:
    """One row per number of labels: {"labels": n, method: mean accuracy, or None where it was not measured}."""
    counts = sorted({count for curve in curves for count in curve.counts})
    return [
        {"labels": count, **{c.name: c.mean(count) if count in c.accuracies else None for c in curves}}
        for count in counts
    ]
