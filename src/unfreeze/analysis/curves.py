"""Learning curves: accuracy against the number of labels, as a picture and as a table.

One line a method over a logarithmic axis, the spread of its seeds as a band, its name at its right end instead of a
legend. Lines differ in lightness, dash and marker as well as in hue, so that a grey copy reads as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unfreeze.errors import UserError
from unfreeze.pictures import picture_format, save_picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAME_GAP = 0.055
"""Least distance of two names, as a share of the height."""


@dataclass(frozen=True)
class Curve:
    """How good a method is by number of labels."""

    name: str
    """Of the method, as the picture and the table say it."""
    accuracies: Mapping[int, Sequence[float]]
    """Number of labels -> accuracy (0 to 1) of each seed."""

    def __post_init__(self) -> None:
        assert self.accuracies and all(self.accuracies.values()), "a curve has a point, a point has a seed"

    @property
    def counts(self) -> list[int]:
        """The numbers of labels, rising."""
        return sorted(self.accuracies)

    def mean(self, count: int) -> float:
        """Over the seeds."""
        return sum(self.accuracies[count]) / len(self.accuracies[count])

    def labels_for(self, accuracy: float) -> float | None:
        """How many labels reach this mean accuracy, between two points by the logarithm; None beyond the last one.

        Below the first point it is the first point's number.
        """
        below: int | None = None
        for count in self.counts:
            if self.mean(count) >= accuracy:
                if below is None:
                    return float(count)
                share = (accuracy - self.mean(below)) / (self.mean(count) - self.mean(below))
                return float(below * (count / below) ** share)
            below = count
        return None


@dataclass(frozen=True)
class _Style:
    color: str
    dash: Any
    """A name, or matplotlib's on-off pattern."""
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
    """Draw the curves into a file (PNG, SVG or PDF, by its suffix).

    Args:
        curves: in the order of their importance; at most six can be told apart.
        title: above the picture; it should say what is to be seen.
        what: the measure, named at the vertical axis.
        chance: what guessing gives, drawn as a thin line.

    Raises:
        UserError: more curves than styles, a suffix of another format, or the file cannot be written.
    """
    from matplotlib.figure import Figure

    picture_format(path)
    if len(curves) > len(STYLES):
        raise UserError(f"{len(curves)} curves in one picture: at most {len(STYLES)} can be told apart")
    figure = Figure(figsize=(7.2, 4.2), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    # The first curve is drawn last, on top of the others.
    for curve, style in reversed(list(zip(curves, STYLES, strict=False))):
        _draw(axes, curve, style)
    _set_axes(axes, curves, what, chance)
    _name_lines(axes, curves)
    if title:
        axes.set_title(title, loc="left", fontsize=11, parse_math=False)
    save_picture(figure, path)


def _draw(axes: Axes, curve: Curve, style: _Style) -> None:
    counts = curve.counts
    means = [100 * curve.mean(count) for count in counts]
    if any(len(set(curve.accuracies[count])) > 1 for count in counts):
        lowest, highest = ([100 * f(curve.accuracies[count]) for count in counts] for f in (min, max))
        axes.fill_between(counts, lowest, highest, color=style.color, alpha=0.15, linewidth=0)
    axes.plot(
        counts,
        means,
        color=style.color,
        linestyle=style.dash,
        marker=style.marker,
        markersize=5,
        linewidth=1.8,
    )


def _set_axes(axes: Axes, curves: Sequence[Curve], what: str, chance: float | None) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

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
    if chance is not None:
        axes.axhline(100 * chance, color="#999999", linewidth=0.8)
        axes.annotate(
            "guessing",
            (counts[0], 100 * chance),
            xytext=(0, 3),
            textcoords="offset points",
            color="#777777",
            fontsize=8,
        )


def _name_lines(axes: Axes, curves: Sequence[Curve]) -> None:
    """Each line's name at its right end; names that would lie upon each other are moved apart."""
    low, high = axes.get_ylim()
    for end in sorted({curve.counts[-1] for curve in curves}):
        ending = [(c, style) for c, style in zip(curves, STYLES, strict=False) if c.counts[-1] == end]
        heights = spread([(100 * curve.mean(end) - low) / (high - low) for curve, _ in ending], NAME_GAP)
        for (curve, style), height in zip(ending, heights, strict=True):
            axes.annotate(
                curve.name,
                (end, height),
                xycoords=axes.get_xaxis_transform(),
                xytext=(8, 0),
                textcoords="offset points",
                parse_math=False,
                color=style.color,
                fontsize=9,
                va="center",
            )


def spread(heights: Sequence[float], gap: float) -> list[float]:
    """The heights, moved as little as needed so that no two are nearer than `gap`; their order stays.

    Least squares under that condition: heights less their place times the gap have to rise, and the best rising
    numbers are means of neighbors (pool adjacent violators).
    """
    order = sorted(range(len(heights)), key=lambda n: heights[n])
    pools: list[list[float]] = []
    for place, number in enumerate(order):
        pools.append([heights[number] - place * gap])
        while len(pools) > 1 and _mean(pools[-2]) >= _mean(pools[-1]):
            pools[-2:] = [pools[-2] + pools[-1]]
    flat = [_mean(pool) for pool in pools for _ in pool]
    result = [0.0] * len(heights)
    for place, number in enumerate(order):
        result[number] = flat[place] + place * gap
    return result


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def curve_rows(curves: Sequence[Curve]) -> list[dict[str, Any]]:
    """A row for each number of labels: {"labels": n, method: mean accuracy, or None where it was not measured}."""
    counts = sorted({count for curve in curves for count in curve.counts})
    return [
        {"labels": count, **{c.name: c.mean(count) if count in c.accuracies else None for c in curves}}
        for count in counts
    ]


def markdown_table(curves: Sequence[Curve]) -> str:
    """The curves for a docstring or a page: percent, with the lowest and highest seed where there are several."""
    counts = sorted({count for curve in curves for count in curve.counts})
    lines = [
        "| labels | " + " | ".join(curve.name for curve in curves) + " |",
        "|---:" * (len(curves) + 1) + "|",
    ]
    for count in counts:
        cells = [_cell(curve.accuracies.get(count, ())) for curve in curves]
        lines.append(f"| {count:,} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(accuracies: Sequence[float]) -> str:
    if not accuracies:
        return "-"
    text = f"{100 * _mean(accuracies):.1f}"
    if len(accuracies) > 1:
        text += f" ({100 * min(accuracies):.1f}-{100 * max(accuracies):.1f})"
    return text
