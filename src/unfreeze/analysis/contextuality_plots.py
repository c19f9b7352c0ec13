"""Pictures of how contextual the layers of encoders are, as PNG, SVG or PDF.

Encoders and senses differ in lightness, dash pattern and marker as well as in hue, so that the pictures stay readable in grayscale. The
`draw_` functions return the figure, and the `plot_` functions save it in the format of its suffix. Names are drawn as they are, without markup.

Raised by all `plot_` functions: UserError for a suffix of another format, a file that cannot be written, and more encoders, panels or senses
than can be told apart.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unfreeze.analysis.contextuality import Contextuality, LayerFigures
from unfreeze.analysis.curves import STYLES
from unfreeze.analysis.geometry import Estimate, Numbers, Vectors, unit
from unfreeze.analysis.neighborhood_plot import projected
from unfreeze.display import counted, cut
from unfreeze.errors import UserError
from unfreeze.pictures import families_for, picture_format, save_picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Reports = Mapping[str, Contextuality]
"""The name of an encoder -> what was measured of it; at most six."""
Panels = Sequence[tuple[str, Vectors]]
"""The name of a panel, such as that of a layer, and vectors (N, D); at most six."""
MOST_SAMPLED = 1000
"""Sampled words whose pairs are in the picture of the cone: half a million pairs are enough for every quantile."""
MOST_LINES = 500
"""Vectors drawn in a panel of a space; more would be a blot."""
COINCIDE = 6
"""Decimals to which the places of occurrences agree that are drawn as one."""
SENSE_STYLES = (*((style.color, style.marker) for style in STYLES), ("#d0487e", "X"), ("#3a9bd9", "*"))
"""Color and marker of each sense; every second marker is hollow."""
_LONGEST_NAME, _LONGEST_SENSE = 30, 90
_MEASURES = (
    (0, 0, "anisotropy", "anisotropy\n(cosine of unrelated words)"),
    (0, 1, "self_similarity", "self-similarity\n(cosine of a word's occurrences)"),
    (0, 2, "intra_sentence", "intra-sentence similarity\n(cosine of words and their mean)"),
    (0, 3, "explained", "explained variance\n(by one vector a word)"),
    (1, 1, "self_similarity_adjusted", "adjusted self-similarity\n(minus anisotropy)"),
    (1, 2, "intra_sentence_adjusted", "adjusted intra-sentence similarity\n(minus anisotropy)"),
    (1, 3, "explained_adjusted", "adjusted explained variance\n(minus that of unrelated words)"),
)
"""Row, column, field and title of each panel."""


def plot_measures(reports: Reports, path: Path, *, words: Collection[str] | None = None) -> None:
    """Save the layer curves of the measures of one or several encoders, with their 95 percent intervals.

    Args:
        words: compare only these, such as `shared_words` of the encoders.

    Raises:
        UserError: see above, or none of the words was compared.
    """
    picture_format(path)
    save_picture(draw_measures({name: each.figures(words) for name, each in reports.items()}), path)


def draw_measures(figures: Mapping[str, Sequence[LayerFigures]]) -> Figure:
    """The measures as small multiples on one scale: raw above, minus their baseline below; the legend is below the anisotropy."""
    from matplotlib.ticker import MaxNLocator

    _need_few(len(figures), len(STYLES), "encoders")
    figure = _figure(11.5, 5.6)
    grid = figure.subplots(2, 4, sharex=True, sharey=True)
    # Encoders stand a little beside each other, so that their intervals can be seen where they are alike.
    shifts = 0.1 * (np.arange(len(figures)) - (len(figures) - 1) / 2)
    handles: list[Any] = []
    for row, column, field, title in _MEASURES:
        axes = grid[row, column]
        handles.clear()
        for layers, style, shift in zip(figures.values(), STYLES, shifts, strict=False):
            estimates: list[Estimate] = [getattr(each, field) for each in layers]
            places = [each.layer + shift for each in layers]
            values = [each.value for each in estimates]
            errors = np.array([[each.value - each.low, each.high - each.value] for each in estimates]).T
            line: dict[str, Any] = {"color": style.color, "linestyle": style.dash, "marker": style.marker}
            # Most intervals are shorter than a marker is high: they are drawn above it, with caps that are wider.
            bars: dict[str, Any] = {"ecolor": "#000000", "elinewidth": 1.0, "capsize": 5, "barsabove": True}
            line |= {"markersize": 4.5, "linewidth": 1.4}
            handles.append(axes.errorbar(places, values, errors.clip(min=0), **line, **bars))
            for bar in handles[-1][2]:
                bar.set_linestyle("-")
        axes.axhline(0, color="#777777", linewidth=0.8, zorder=0)
        axes.set_title(title, fontsize=10)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
        _plain(axes)
    # Shared axes take all limits: a single layer needs room around its points, and each measure is at most 1.
    last = max(each.layer for layers in figures.values() for each in layers)
    grid[0, 0].set(xlim=(-0.4, last + 0.4), ylim=(min(grid[0, 0].get_ylim()[0], -0.03), 1.03))
    for axes in (grid[0, 0], *grid[1, 1:]):
        axes.set_xlabel("layer")
    grid[0, 0].tick_params(labelbottom=True)
    grid[1, 1].tick_params(labelleft=True)
    grid[1, 0].set_axis_off()
    names = [cut(name, _LONGEST_NAME) for name in figures]
    _legend(grid[1, 0], handles, names, loc="center", title="bars: 95 % intervals", fontsize=10)
    return figure


def plot_cone(reports: Reports, path: Path) -> None:
    """Save the distribution of the cosines of unrelated words for each layer, encoders side by side."""
    picture_format(path)
    save_picture(draw_cone({name: each.sample for name, each in reports.items()}), path)


def draw_cone(samples: Mapping[str, Sequence[Vectors]]) -> Figure:
    """For each encoder and layer a violin of the cosines of all pairs of its sample (S, D_l), with a box and the mean.

    The box goes from the first to the third quartile with the median inside, and whiskers from 5 to 95 percent.
    """
    _need_few(len(samples), len(STYLES), "encoders")
    counts = [len(layers) for layers in samples.values()]
    figure = _figure(min(16.0, max(5.6, 1.2 + 0.9 * sum(counts) + 0.6 * len(counts))), 4.4)
    shape: dict[str, Any] = {"squeeze": False, "width_ratios": [count + 0.6 for count in counts]}
    panels = figure.subplots(1, len(counts), sharey=True, **shape)[0]
    for axes, (name, layers), style in zip(panels, samples.items(), STYLES, strict=False):
        cosines = [_pair_cosines(sample) for sample in layers]
        # A thousand quantiles have the same distribution as half a million pairs. Equal cosines have no violin.
        dense = {number: np.quantile(each, np.linspace(0, 1, 1001)) for number, each in enumerate(cosines)}
        dense = {number: each for number, each in dense.items() if np.ptp(each) > 1e-6}
        if dense:
            violins: Any = axes.violinplot(list(dense.values()), list(dense), widths=0.85, showextrema=False)
            for body in violins["bodies"]:
                body.set(facecolor=style.color, alpha=0.25, edgecolor=style.color, linewidth=0.8)
        mean = {"marker": "D", "markerfacecolor": style.color, "markeredgecolor": "white", "markersize": 5.5}
        look: dict[str, Any] = {
            "showfliers": False,
            "showmeans": True,
            "meanprops": mean,
            "patch_artist": True,
        }
        look |= {"boxprops": {"facecolor": "white"}, "medianprops": {"color": "#222222", "linewidth": 2.2}}
        axes.boxplot(
            cosines, positions=range(len(layers)), widths=0.2, whis=(5, 95), manage_ticks=False, **look
        )
        for number, each in enumerate(cosines):
            axes.text(number, 1.03, f"{each.mean():z.2f}", ha="center", fontsize=9)
        axes.axhline(0, color="#222222", linewidth=1.0, linestyle=(0, (4, 3)), zorder=0)
        axes.set(xticks=range(len(layers)), xlim=(-0.7, len(layers) - 0.3), xlabel="layer")
        _titled(axes, name)
        _plain(axes)
    panels[0].set(ylim=(min(panels[0].get_ylim()[0], -0.1), 1.1), ylabel="cosine of two unrelated words")
    note = "diamond and number: mean (anisotropy)   box: 25, 50, 75 %   whiskers: 5, 95 %"
    figure.supxlabel(note, fontsize=8.5)
    return figure


def _pair_cosines(vectors: Vectors) -> Numbers:
    """The cosines of all pairs of the first of (S, D) vectors."""
    x = unit(vectors[:MOST_SAMPLED])
    found: Numbers = (x @ x.T)[np.triu_indices(len(x), 1)]
    return found


def plot_space(panels: Panels, path: Path) -> None:
    """Save one or several spaces side by side: where the vectors of unrelated words point, seen from the origin."""
    picture_format(path)
    save_picture(draw_space(panels), path)


def draw_space(panels: Panels) -> Figure:
    """Unit vectors as lines from the origin inside the unit circle, on one scale; more than three panels are in two rows.

    They are projected onto the first two right singular vectors of the N unit vectors, which are not centered: the first one points along
    the cone, if there is one, and is drawn upwards. Centering would move the cone to the origin. The arrow has the direction of the mean in
    this plane and the length of the mean itself, from 0 (vectors in all directions) to 1 (all in one).
    """
    from matplotlib.collections import LineCollection
    from matplotlib.patches import Circle
    from matplotlib.patheffects import Normal, Stroke

    _need_few(len(panels), len(STYLES), "panels")
    rows = 1 if len(panels) <= 3 else 2
    columns = -(-len(panels) // rows)
    figure = _figure(max(5.6, 3.4 * columns + 0.2), 4.4 * rows + 0.3)
    grid = figure.subplots(rows, columns, squeeze=False).flatten()
    for axes in grid[len(panels) :]:
        axes.remove()
    for axes, (name, vectors) in zip(grid, panels, strict=False):
        x = unit(vectors)
        places, resultant = uncentered_plane(x), float(np.linalg.norm(x.mean(0)))
        mean = places.mean(0)
        drawn = places[np.linspace(0, len(places) - 1, min(MOST_LINES, len(places))).astype(int)]
        axes.add_patch(Circle((0, 0), 1, fill=False, edgecolor="#777777", linewidth=1.2))
        for line in (axes.axhline, axes.axvline):
            line(0, color="#cccccc", linewidth=0.7, zorder=0)
        lines = list(np.stack([np.zeros_like(drawn), drawn], axis=1))
        axes.add_collection(LineCollection(lines, colors="#8fa9ca", linewidths=0.5, alpha=0.5))
        axes.plot(*drawn.T, ".", color="#5b7fae", markersize=2.5)
        axes.plot(0, 0, "o", color="#222222", markersize=4, zorder=6)
        if np.linalg.norm(mean) > 1e-9:
            end = mean / np.linalg.norm(mean) * resultant
            arrow: dict[str, Any] = {"arrowstyle": "-|>", "color": "#a03c00", "linewidth": 2.6}
            arrow |= {"shrinkA": 0, "shrinkB": 0, "mutation_scale": min(14.0, 80 * resultant)}
            arrow["path_effects"] = [Stroke(linewidth=5, foreground="white"), Normal()]
            axes.annotate("", end.tolist(), (0, 0), arrowprops=arrow, zorder=5)
        axes.set(xlim=(-1.06, 1.06), ylim=(-1.06, 1.06), aspect="equal", xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
        _titled(axes, name)
        share = float((places**2).sum() / max((x**2).sum(), 1e-300))
        plane = f"in this plane: {100 * share:.0f} % of the squared length"
        axes.set_xlabel(f"length of the mean: {resultant:.2f}\n{plane}\n", fontsize=9)
    note = "unit vectors, projected onto their first two singular vectors, not centered; arrow: mean"
    figure.supxlabel(note, fontsize=8.5)
    return figure


def uncentered_plane(x: Numbers) -> Numbers:
    """Project (N, D) unit vectors to (N, 2): along their second and their first right singular vector, so that the mean points up."""
    padded = np.pad(x, (0, 1))  # a number and a vector of zeros, so that there are two directions
    directions = np.linalg.svd(padded, full_matrices=False)[2][1::-1]
    places: Numbers = (padded @ directions.T)[:-1]
    return places * np.where(places.mean(0) < 0, -1.0, 1.0)  # the sign of a singular vector is arbitrary


def plot_occurrences(panels: Panels, labels: Sequence[int], names: Sequence[str], path: Path) -> None:
    """Save the occurrences of a word in one or several spaces, by sense.

    Args:
        panels: with the vectors of the N occurrences.
        labels: the sense of each occurrence, from 0 to K - 1.
        names: of the K senses, such as their typical words; at most eight.
    """
    picture_format(path)
    save_picture(draw_occurrences(panels, labels, names), path)


def draw_occurrences(panels: Panels, labels: Sequence[int], names: Sequence[str]) -> Figure:
    """Unit vectors on their first two principal components; occurrences that coincide are one point with their number, gray for several senses."""
    from matplotlib.lines import Line2D

    _need_few(len(panels), len(STYLES), "panels")
    _need_few(len(names), len(SENSE_STYLES), "senses")
    senses = np.asarray(labels)
    assert len(senses) and senses.min() >= 0 and senses.max() < len(names), "each sense has a name"
    styles: list[dict[str, Any]] = [
        {"marker": marker, "color": color, "markerfacecolor": "white" if number % 2 else color}
        for number, (color, marker) in enumerate(SENSE_STYLES[: len(names)])
    ]
    figure = _figure(max(5.0, 4.2 * len(panels)), 4.0 + 0.24 * len(names))
    grid = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (name, vectors) in zip(grid, panels, strict=True):
        assert len(vectors) == len(senses), "each occurrence has a vector in each panel"
        exact, components = projected(unit(vectors), "pca")
        places, group = np.unique(exact.round(COINCIDE), axis=0, return_inverse=True)
        sizes = np.bincount(group.ravel())
        for sense, style in enumerate(styles):
            own = np.flatnonzero((senses == sense) & (sizes[group.ravel()] == 1))
            axes.plot(*exact[own].T, linestyle="", markersize=5.5, alpha=0.8, markeredgewidth=1.1, **style)
        for number in np.flatnonzero(sizes > 1):
            there = set(senses[group.ravel() == number].tolist())
            common: dict[str, Any] = {"marker": "o", "color": "#222222", "markerfacecolor": "#bbbbbb"}
            style = styles[there.pop()] if len(there) == 1 else common
            size = 6 + 2 * float(np.log10(sizes[number]))
            axes.plot(*places[number], linestyle="", markersize=size, markeredgewidth=1.4, **style)
            above: dict[str, Any] = {"textcoords": "offset points", "ha": "center", "fontsize": 10}
            text = counted(int(sizes[number]), "occurrence") if len(sizes) == 1 else f"× {sizes[number]:,}"
            axes.annotate(text, places[number].tolist(), (0, 8), **above)
        _titled(axes, name)
        axes.set(xticks=[], yticks=[])
        if len(places) == 1:
            axes.set(xlim=(-1, 1), ylim=(-1, 1), xlabel="one vector")
        else:
            axes.set_aspect("equal", adjustable="datalim")
            axes.margins(0.12)
            axes.set(xlabel=components[0], ylabel=components[1])
    handles = [Line2D([], [], linestyle="", markersize=7, markeredgewidth=1.2, **style) for style in styles]
    texts = [f"{cut(name, _LONGEST_SENSE)} ({(senses == n).sum():,})" for n, name in enumerate(names)]
    _legend(figure, handles, texts, loc="outside lower left", fontsize=10)
    return figure


def plot_mixes(mixes: Mapping[str, Sequence[float]], path: Path) -> None:
    """Save the weights that tasks gave to the layers of an encoder.

    Args:
        mixes: the name of a task -> the weight of each layer, bottom to top; they sum to 1.
    """
    picture_format(path)
    save_picture(draw_mixes(mixes), path)


def draw_mixes(mixes: Mapping[str, Sequence[float]]) -> Figure:
    """A group of bars for each task and a bar for each layer, the higher the darker; a line marks equal weights."""
    from matplotlib import colormaps

    assert mixes and all(mixes.values()), "a task has layers"
    n_layers = max(len(weights) for weights in mixes.values())
    figure = _figure(max(4.5, 1.5 + len(mixes) * (0.4 + 0.36 * n_layers)), 4.0)
    axes = figure.add_subplot()
    shades = colormaps["Blues"](np.linspace(0.2, 1.0, n_layers))
    width = 0.8 / n_layers
    handles: list[Any] = []
    for layer, shade in enumerate(shades):
        having = [(task, weights) for task, weights in enumerate(mixes.values()) if layer < len(weights)]
        places = [task + (layer - (len(weights) - 1) / 2) * width for task, weights in having]
        values = [weights[layer] for _, weights in having]
        handles.append(axes.bar(places, values, width, color=shade, edgecolor="#222222", linewidth=0.7))
        if n_layers <= 8:
            paper = {"facecolor": "white", "edgecolor": "none", "pad": 0.6, "alpha": 0.85}
            axes.bar_label(handles[-1], fmt="{:.2f}", fontsize=8, padding=2.5, bbox=paper, zorder=4)
    for task, weights in enumerate(mixes.values()):
        half = width * len(weights) / 2 + 0.04
        dashed: dict[str, Any] = {"color": STYLES[1].color, "linewidth": 1.4, "linestyle": (0, (4, 2))}
        lines = axes.plot([task - half, task + half], [1 / len(weights)] * 2, zorder=3, **dashed)
    names = [cut(name, _LONGEST_NAME) for name in mixes]
    axes.set_xticks(range(len(mixes)), names)
    for label, name in zip(axes.get_xticklabels(), names, strict=True):
        label.set(parse_math=False, family=families_for(name))
    axes.set(ylabel="weight of the layer", xlim=(-0.6, len(mixes) - 0.4))
    axes.margins(y=0.1)
    _plain(axes)
    layers = [f"layer {layer}" for layer in range(n_layers)]
    _legend(figure, [*handles, *lines], [*layers, "equal weights"], loc="outside right upper", fontsize=9)
    return figure


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=150, layout="constrained")


def _need_few(count: int, most: int, what: str) -> None:
    assert count, f"there are no {what} to draw"
    if count > most:
        raise UserError(f"{count} {what} in one picture: at most {most} can be told apart")


def _plain(axes: Axes) -> None:
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _titled(axes: Axes, name: str) -> None:
    shown = cut(name, _LONGEST_NAME)
    axes.set_title(shown, fontsize=11, parse_math=False, family=families_for(shown))


def _legend(place: Axes | Figure, handles: Sequence[Any], names: Sequence[str], **settings: Any) -> None:
    """A legend with names that may have markup or start with an underscore, which matplotlib would leave out."""
    families = families_for("".join(names))
    legend = place.legend(handles, ["x"] * len(names), frameon=False, **settings)
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set(text=name, parse_math=False, family=families)
