"""Plot of the loss against the length of the history: recurrent models as lines, n-gram models as points.

Each model has a color and a marker. Lines are solid with filled markers where older tokens are cut off, and dashed with hollow
markers where they are shuffled, so that the plot stays readable in grayscale. The whole history is at the right
end, where the models are named.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from unfreeze.analysis.curves import STYLES, spread
from unfreeze.errors import UserError
from unfreeze.pictures import picture_format, save_picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NGRAMS = "#222222"
NAME_GAP = 0.045
"""Minimum distance between two names, as a fraction of the height of the axes."""


@dataclass(frozen=True, kw_only=True)
class HistoryLine:
    """Losses of a recurrent model by length of the history, in nats per token."""

    name: str
    """Name of the model in the plot."""
    cut: Mapping[int, float]
    """Tokens of history -> loss with older tokens cut off."""
    shuffled: Mapping[int, float]
    """Tokens of history in order -> loss with older tokens shuffled; may be empty."""
    whole: float
    """Loss with the whole preceding document."""


def plot_histories(
    lines: Sequence[HistoryLine], ngrams: Mapping[int, float], path: Path, *, title: str = ""
) -> None:
    """Save a plot of losses on a logarithmic axis of tokens of history as PNG, SVG or PDF, depending on the suffix.

    Args:
        lines: at most six.
        ngrams: tokens of history (order - 1) -> loss in nats per token; may be empty.
        title: title of the plot.

    Raises:
        UserError: there are more lines than styles, the suffix is of another format, or the file cannot be written.
    """
    from matplotlib.figure import Figure

    picture_format(path)
    if len(lines) > len(STYLES):
        raise UserError(f"a plot can have at most {len(STYLES)} distinguishable models, got {len(lines)}")
    figure = Figure(figsize=(8.4, 4.8), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    longest = max(max(line.cut) for line in lines)
    for line, style in reversed(list(zip(lines, STYLES, strict=False))):
        _draw(axes, line, style.color, style.marker, 2 * longest)
    _draw_ngrams(axes, ngrams)
    _set_axes(axes, longest)
    _name_lines(axes, lines, 2 * longest)
    _explain(axes, any(line.shuffled for line in lines))
    if title:
        axes.set_title(title, loc="left", fontsize=11, parse_math=False)
    save_picture(figure, path)


def _draw(axes: Axes, line: HistoryLine, color: str, marker: str, whole: int) -> None:
    histories = sorted(line.cut)
    losses = [line.cut[history] for history in histories]
    axes.plot(histories, losses, color=color, marker=marker, markersize=5, linewidth=1.8, zorder=3)
    # Dotted, because the logarithmic axis ends at the longest cut history.
    axes.plot(
        [histories[-1], whole], [losses[-1], line.whole], color=color, linestyle=":", linewidth=1.4, zorder=2
    )
    axes.plot([whole], [line.whole], color=color, marker=marker, markersize=5, zorder=3)
    histories = sorted(line.shuffled)
    axes.plot(
        histories,
        [line.shuffled[history] for history in histories],
        color=color,
        linestyle="--",
        marker=marker,
        markerfacecolor="white",
        markersize=5,
        linewidth=1.0,
        alpha=0.8,
        zorder=2,
    )


def _draw_ngrams(axes: Axes, ngrams: Mapping[int, float]) -> None:
    """Mark each order with a cross and its number; only the first label is in full, because they are close together."""
    for history, loss in ngrams.items():
        axes.plot([history], [loss], color=NGRAMS, marker="x", markersize=7, markeredgewidth=1.8, zorder=4)
        axes.annotate(
            f"{history + 1}-gram" if history == min(ngrams) else f"{history + 1}",
            (history, loss),
            xytext=(0, -8),
            textcoords="offset points",
            color=NGRAMS,
            fontsize=8,
            ha="center",
            va="top",
            bbox={"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 0.8},  # lines may pass behind
            zorder=4,
        )


def _set_axes(axes: Axes, longest: int) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    axes.set_xscale("log")
    axes.margins(y=0.08)
    ticks = [2**power for power in range(int(math.log2(longest)) + 1)]
    axes.xaxis.set_major_locator(FixedLocator([*ticks, 2 * longest]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda value, _: "whole" if value > 1.5 * longest else f"{round(value)}")
    )
    axes.set_xlabel("tokens of history in order (logarithmic)")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} ({math.exp(value):.0f})"))
    axes.set_ylabel("loss, nats a token (perplexity)")
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _name_lines(axes: Axes, lines: Sequence[HistoryLine], whole: int) -> None:
    """Name each model next to its loss with the whole history; names that would overlap are moved apart."""
    low, high = axes.get_ylim()
    heights = spread([(line.whole - low) / (high - low) for line in lines], NAME_GAP)
    for line, style, height in zip(lines, STYLES, heights, strict=False):
        axes.annotate(
            line.name,
            (whole, height),
            xycoords=axes.get_xaxis_transform(),
            xytext=(9, 0),
            textcoords="offset points",
            parse_math=False,
            color=style.color,
            fontsize=9,
            va="center",
        )


def _explain(axes: Axes, shuffled: bool) -> None:
    """Legend of the two kinds of lines, which occur for every model."""
    from matplotlib.lines import Line2D

    grey = "#333333"
    kinds = [
        Line2D([], [], color=grey, marker="o", markersize=5, linewidth=1.8, label="older tokens cut away")
    ]
    if shuffled:
        kinds.append(
            Line2D(
                [],
                [],
                color=grey,
                linestyle="--",
                marker="o",
                markerfacecolor="white",
                markersize=5,
                linewidth=1.0,
                label="older tokens shuffled",
            )
        )
    axes.legend(handles=kinds, loc="upper right", frameon=False, fontsize=9)
