"""Plot of the neighborhood of a word in two dimensions, by PCA or, from ten words on, t-SNE.

Query words are orange and bold; the nearer a neighbor, the darker its point. Each label is placed at the free
position nearest to its point, and a label further away is connected to its point by a thin line.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from unfreeze.display import cut
from unfreeze.errors import UserError
from unfreeze.pictures import any_script, picture_format, save_picture
from unfreeze.vectors.neighbors import Floats, Neighbor, NeighborIndex, as_formula

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Projection = Literal["pca", "tsne"]
MIN_FOR_TSNE = 10
MAX_WORDS = 200
"""More labels would be unreadable."""

_QUERY_COLOR = "#c8550a"
_MAX_LABEL = 40
_DIRECTIONS = 16
_DISTANCES = 14


def plot_neighborhood(
    index: NeighborIndex,
    neighbors: Sequence[Neighbor],
    positive: Sequence[str],
    negative: Sequence[str],
    path: Path,
    *,
    projection: Projection = "pca",
    seed: int = 0,
) -> None:
    """Save a plot of the query words, their sum if there are several, and their neighbors.

    Args:
        index: its measure decides whether unit vectors (cosine) or plain vectors are projected.
        neighbors: result of `index.nearest(positive, negative)`.
        path: PNG, SVG or PDF, depending on the suffix.
        seed: random seed of t-SNE.

    Raises:
        UserError: the suffix is of another format, the file cannot be written, or there are too many words, or too
            few for t-SNE.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    picture_format(path)
    size = 6.4 if len(neighbors) <= 25 else 9.0
    figure = Figure(figsize=(1.25 * size, size), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)  # the labels can only be measured on a canvas that draws
    names = list(dict.fromkeys([*positive, *negative]))
    rows = [*map(index.table.known_row, names), *(neighbor.row for neighbor in neighbors)]
    vectors = index.table.matrix[rows].astype(np.float64)  # (N, D)
    if len(positive) + len(negative) > 1 or negative:
        names = [as_formula(positive, negative), *names]
        vectors = np.concatenate([index.combined(positive, negative)[None], vectors])
    if index.measure == "cosine":
        vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    names += [neighbor.word for neighbor in neighbors]
    if len(names) > MAX_WORDS:
        raise UserError(f"a plot of {len(names)} words would be unreadable: plot at most {MAX_WORDS}")
    if projection == "tsne" and len(names) < MIN_FOR_TSNE:
        raise UserError(
            f"t-SNE needs at least {MIN_FOR_TSNE} words, not {len(names)}: plot more neighbors, or use pca"
        )
    positions, axis_names = projected(vectors, projection, seed)
    axes = figure.add_subplot()
    _draw_points(figure, axes, positions, [neighbor.score for neighbor in neighbors], index.measure)
    _set_axes(axes, axis_names, cut(f"nearest neighbors of {as_formula(positive, negative)}", 100))
    with any_script():
        figure.canvas.draw()  # computes the layout, and with it the pixel coordinates of the points
        figure.set_layout_engine("none")
        _draw_labels(figure, axes, positions, names, len(names) - len(neighbors))
    save_picture(figure, path)


def projected(vectors: Floats, projection: Projection, seed: int = 0) -> tuple[Floats, tuple[str, str]]:
    """Project (N, D) vectors to (N, 2), and name the two axes."""
    if projection == "tsne":
        from sklearn.manifold import TSNE

        perplexity = min(30.0, (len(vectors) - 1) / 3)
        tsne = TSNE(perplexity=perplexity, init="pca", learning_rate="auto", random_state=seed)
        positions = np.asarray(tsne.fit_transform(vectors), np.float64)
        return positions, (f"t-SNE, perplexity {perplexity:.3g}", "")
    centered = vectors - vectors.mean(axis=0)
    left, singular, _ = np.linalg.svd(centered, full_matrices=False)
    positions = np.zeros((len(vectors), 2))
    n_found = min(2, len(singular))
    positions[:, :n_found] = left[:, :n_found] * singular[:n_found]
    # The sign of a component is arbitrary: put the first point at the bottom left, on every machine.
    positions *= np.where(positions[0] > 0, -1.0, 1.0)
    fractions = np.zeros(2)
    fractions[:n_found] = singular[:n_found] ** 2 / max(float((singular**2).sum()), 1e-300)
    first, second = (f"{100 * fraction:.0f} % of the variance" for fraction in fractions)
    return positions, (f"first component, {first}", f"second component, {second}")


def _draw_points(
    figure: Figure, axes: Axes, positions: Floats, scores: Sequence[float], measure: str
) -> None:
    n_query = len(positions) - len(scores)
    query, near = positions[:n_query], positions[n_query:]
    style: dict[str, Any] = {"color": _QUERY_COLOR, "edgecolors": "white", "linewidths": 0.8}
    axes.scatter(query[:, 0], query[:, 1], s=70, zorder=3, **style)
    if not scores:
        return
    low, high = min(scores), max(scores)
    # The color scale starts below the lowest score, so that the palest neighbor is visible on white.
    points = axes.scatter(
        near[:, 0],
        near[:, 1],
        s=38,
        c=scores,
        cmap="Blues",
        vmin=low - 0.6 * max(high - low, 1e-9),
        vmax=high,
        zorder=2,
        edgecolors="#08306b",
        linewidths=0.5,
    )
    bar = figure.colorbar(points, label=f"{measure} with the query", shrink=0.6, pad=0.02)
    bar.ax.set_ylim(low, max(high, low + 1e-9))
    if high - low < 1e-6:  # all scores are equal: label the one value
        bar.set_ticks([(low + max(high, low + 1e-9)) / 2], labels=[f"{low:.4f}"])
    bar.outline.set_visible(False)


def _set_axes(axes: Axes, names: tuple[str, str], title: str) -> None:
    axes.margins(0.12)
    axes.set_aspect("equal", adjustable="datalim")  # distances are comparable in both directions
    axes.set_xlabel(names[0], color="#666666")
    axes.set_ylabel(names[1], color="#666666")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[["top", "right", "left", "bottom"]].set_color("#cccccc")
    axes.set_title(title, loc="left", fontsize=11, parse_math=False)


def _draw_labels(figure: Figure, axes: Axes, positions: Floats, names: Sequence[str], n_query: int) -> None:
    texts = [
        axes.annotate(
            cut(name, _MAX_LABEL),
            place,
            xytext=(0, 0),
            textcoords="offset points",
            parse_math=False,
            ha="center",
            va="center",
            fontsize=11.5 if number < n_query else 9.5,
            fontweight="bold" if number < n_query else "normal",
            color=_QUERY_COLOR if number < n_query else "#222222",
            arrowprops={"arrowstyle": "-", "color": "#999999", "linewidth": 0.5, "shrinkA": 0, "shrinkB": 3},
            zorder=4,
        )
        for number, (name, place) in enumerate(zip(names, positions, strict=True))
    ]
    points = np.asarray(axes.transData.transform(positions), np.float64)
    sizes = np.array([(box.width, box.height) for box in (text.get_window_extent() for text in texts)])
    box = axes.get_window_extent()
    centers = place_labels(points, sizes, (box.x0 + 6, box.y0 + 6, box.x1 - 6, box.y1 - 6))
    for text, center, point, size in zip(texts, centers, points, sizes, strict=True):
        text.set_position(tuple((center - point) * 72 / figure.dpi))
        if np.all(np.abs(center - point) < size / 2 + 20) and text.arrow_patch is not None:
            text.arrow_patch.set_visible(False)  # next to its point a label needs no line


def place_labels(
    points: Floats, sizes: Floats, bounds: tuple[float, float, float, float], *, gap: float = 12.0
) -> Floats:
    """Place labels of `sizes` (N, 2) next to `points` (N, 2) and return their centers (N, 2), all in pixels.

    Labels are placed one after the other, greedily. Candidates lie on rings of growing distance around the point; the
    best one overlaps least with earlier labels, with the surroundings of other points and with the area outside
    `bounds` (left, bottom, right, top). Among equally good candidates the nearest one is used.
    """
    # Squares around the points: a label inside one would seem to belong to that point.
    dots = np.concatenate([points - 1.5 * gap, points + 1.5 * gap], axis=1)
    occupied = np.empty((0, 4))
    centers = np.empty_like(points)
    for number, (point, size) in enumerate(zip(points, sizes, strict=True)):
        candidates, distances = _candidates(point, size, gap)
        boxes = np.concatenate([candidates - size / 2, candidates + size / 2], axis=1)
        inside = np.array([bounds])
        outside = size.prod() - _overlaps(boxes, inside)
        covered = _overlaps(boxes, occupied) + outside
        near_others = _overlaps(boxes, np.delete(dots, number, axis=0))
        # Costs in pixels of distance: 1 per two pixels of covered area, 1 per ten pixels near another point.
        # Rounded, because the areas of equally good candidates differ in the last bits.
        chosen = int(np.argmin(np.round(covered / 2 + near_others / 10, 3) + distances))
        centers[number] = candidates[chosen]
        occupied = np.concatenate([occupied, boxes[chosen : chosen + 1]])
    return centers


def _candidates(point: Floats, size: Floats, gap: float) -> tuple[Floats, Floats]:
    """Candidate centers (M, 2) of a label around its point, the one to the right first, and their distances (M,)."""
    angles = np.arange(_DIRECTIONS) * (2 * np.pi / _DIRECTIONS)
    unit = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    # The edge of the label, not its center, lies on the ring.
    reach = np.clip(unit * np.sqrt(2), -1, 1) * (size / 2)
    rings = gap * (1 + np.arange(_DISTANCES))
    positions = point + reach + unit * rings[:, None, None]
    return positions.reshape(-1, 2), np.repeat(rings, _DIRECTIONS)


def _overlaps(boxes: Floats, others: Floats) -> Floats:
    """Total area (M,) of the overlaps of each of `boxes` (M, 4) with `others` (N, 4)."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    return np.asarray(np.clip(high - low, 0, None).prod(axis=2).sum(axis=1), np.float64)
