"""Pictures of what an encoder of images has learned, as PNG, SVG or PDF.

Images are shown at a longest side of 400 pixels. Raised by all functions: UserError for a suffix of another format, a file that
cannot be written, an image that cannot be read, and more images than a picture can show.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from unfreeze.analysis.image_features import NearImage, StageMaps
from unfreeze.errors import UserError
from unfreeze.pictures import families_for, picture_format, save_picture
from unfreeze.vision.images import Pixels, load_image
from unfreeze.vision.transforms import View

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIDE = 400
"""Longest side of an image in a picture, in pixels."""
MOST_IMAGES = 40
"""Rows of a picture that shows several images."""
_QUERY_COLOR = "#c8550a"
_LONGEST_NAME = 24
_BOX_STYLES: tuple[tuple[str, Any], ...] = (
    ("#ffffff", "-"),
    ("#ff9a1f", "--"),
    ("#35e0ff", "-"),
    ("#ff5ae0", (0, (4, 1, 1, 1))),
    ("#b6ff3c", ":"),
)


def plot_filters(colors: NDArray[np.float32], path: Path) -> None:
    """Save a grid of the filters of the first convolution.

    Args:
        colors: (N, height, width, 3) from 0 to 1, such as `filter_colors` gives.
        path: PNG, SVG or PDF, by its suffix.
    """
    picture_format(path)
    columns = math.ceil(math.sqrt(len(colors)))
    rows = math.ceil(len(colors) / columns)
    figure = _figure(0.62 * columns, 0.62 * rows)
    for number, color in enumerate(colors):
        axes = figure.add_subplot(rows, columns, number + 1)
        axes.imshow(color, interpolation="nearest")
        axes.set_axis_off()
    save_picture(figure, path)


def plot_maps(image: Any, stages: Sequence[StageMaps], path: Path, view: View) -> None:
    """Save an image and, in a row for each stage, some of its feature maps, each scaled from its smallest to its largest value.

    Args:
        stages: bottom to top, such as `strongest_maps` gives.
        view: what the network sees of the image.
        path: PNG, SVG or PDF, by its suffix.
    """
    picture_format(path)
    columns = max(len(stage.maps) for stage in stages)
    figure = _figure(1.25 * (columns + 2), 1.5 * len(stages) + 0.2)
    grid = figure.add_gridspec(len(stages), columns + 1, width_ratios=[2.0, *[1.0] * columns])
    first = figure.add_subplot(grid[: min(2, len(stages)), 0], anchor="N")
    _show(first, image, view)
    first.set_title("image", fontsize=8)
    for row, stage in enumerate(stages):
        for column, (channel, values) in enumerate(zip(stage.channels, stage.maps, strict=True)):
            axes = figure.add_subplot(grid[row, column + 1])
            axes.imshow(values, cmap="viridis", interpolation="nearest")
            axes.set_title(f"channel {channel}", fontsize=7)
            _bare(axes)
            if column == 0:
                height, width = values.shape
                text = f"stage {row + 1} of {len(stages)}\n{height} x {width} places\n{stage.n_channels} channels"
                axes.set_ylabel(text, fontsize=7)
    save_picture(figure, path)


@dataclass(frozen=True)
class ShownEvidence:
    """An image with the evidence for a class."""

    image: Any
    """Anything that `load_image` reads."""
    view: View
    """What the network sees of the image: the places of `evidence` divide it evenly."""
    evidence: NDArray[np.float32]
    """(H, W) of at least 0."""
    title: str
    """Such as the class and its probability."""


def plot_evidence(shown: Sequence[ShownEvidence], path: Path) -> None:
    """Save images, each beside itself with the evidence on it, from none (the image in gray) to the largest in this image.

    Where the network sees only a part of an image, that part is framed.
    """
    picture_format(path)
    need_few(len(shown))
    # Two images of a pair beside each other, and pairs beside each other from the fourth image on.
    pairs = 1 if len(shown) < 4 else 2
    rows = math.ceil(len(shown) / pairs)
    figure = _figure(5.4 * pairs, 2.5 * rows + 0.5)
    grid = figure.add_gridspec(rows, 2 * pairs)
    colors = None
    for number, each in enumerate(shown):
        row, pair = divmod(number, pairs)
        left = figure.add_subplot(grid[row, 2 * pair])
        _show(left, each.image, each.view)
        _titled(left, _name_of(each.image, number))
        right = figure.add_subplot(grid[row, 2 * pair + 1])
        pixels, (width, height) = _pixels(each.image)
        gray = pixels @ np.array([0.299, 0.587, 0.114])
        box: dict[str, Any] = {"extent": (0, width, height, 0)}
        right.imshow(gray, cmap="gray", vmin=-60, vmax=255, **box)
        largest = float(each.evidence.max())
        if largest > 0:
            x0, y0, x1, y1 = each.view.source
            strength = each.evidence / largest
            # Interpolated between the places before it is colored, so that colors and opacity agree.
            fine = _upsampled(strength, 96)
            colors = right.imshow(
                fine,
                cmap="plasma",
                vmin=0,
                vmax=1,
                alpha=0.75 * np.clip(1.6 * fine, 0, 1),
                extent=(x0, x1, y1, y0),
                interpolation="bilinear",
            )
        else:
            middle: dict[str, Any] = {"ha": "center", "va": "center", "color": "white", "fontsize": 8}
            right.text(width / 2, height / 2, "nothing speaks for this class", **middle)
        right.set_xlim(0, width)
        right.set_ylim(height, 0)
        _bare(right)
        _titled(right, each.title)
    if colors is not None:
        bar = figure.colorbar(colors, ax=figure.axes, shrink=0.6, aspect=14 * rows, pad=0.02, ticks=[0, 1])
        bar.ax.set_yticklabels(["none", "most"], fontsize=8)
        bar.set_label("evidence for the class", fontsize=8)
    save_picture(figure, path)


def plot_nearest(images: Sequence[Any], nearest: Sequence[Sequence[NearImage]], path: Path) -> None:
    """Save a row for each image: the image, framed, and its nearest neighbors with their cosines.

    Args:
        images: what `nearest_images` was given.
        nearest: what it returned.
    """
    from matplotlib.patches import Rectangle

    picture_format(path)
    need_few(len(images))
    columns = 1 + max((len(each) for each in nearest), default=0)
    figure = _figure(1.5 * columns, 1.9 * len(images))
    grid = figure.add_gridspec(len(images), columns)
    for row, (image, near) in enumerate(zip(images, nearest, strict=True)):
        axes = figure.add_subplot(grid[row, 0])
        _show(axes, image)
        frame = Rectangle((0, 0), 1, 1, transform=axes.transAxes, fill=False, color=_QUERY_COLOR, lw=4)
        axes.add_patch(frame)
        _titled(axes, _name_of(image, row), color=_QUERY_COLOR)
        for column, each in enumerate(near, start=1):
            axes = figure.add_subplot(grid[row, column])
            _show(axes, each.image)
            _titled(axes, f"{each.score:.2f}\n{_short(Path(each.image))}")
    save_picture(figure, path)


@dataclass(frozen=True)
class ShownBoxes:
    """An image with boxes from one or several sources."""

    image: Any
    """Anything that `load_image` reads."""
    boxes: Mapping[str, NDArray[Any]]
    """The name of a source, such as true or found -> (N, 4): left, top, right, bottom in pixels of the image."""
    title: str = ""


def plot_boxes(shown: Sequence[ShownBoxes], path: Path, *, columns: int = 5) -> None:
    """Save images with boxes drawn on them, in a color and a line style for each source; a legend names the sources.

    Args:
        shown: images with boxes of at most five sources.
    """
    from matplotlib.patches import Rectangle
    from matplotlib.patheffects import Normal, Stroke

    picture_format(path)
    need_few(len(shown))
    names = list(dict.fromkeys(name for each in shown for name in each.boxes))
    if len(names) > len(_BOX_STYLES):
        raise UserError(
            f"boxes of {len(names)} sources in one picture: at most {len(_BOX_STYLES)} can be told apart"
        )
    columns = min(columns, len(shown))
    rows = math.ceil(len(shown) / columns)
    figure = _figure(1.9 * columns, 1.9 * rows + 0.4)
    grid = figure.add_gridspec(rows, columns)
    for number, each in enumerate(shown):
        axes = figure.add_subplot(grid[number // columns, number % columns])
        _show(axes, each.image)
        _titled(axes, each.title)
        for name, boxes in each.boxes.items():
            color, dash = _BOX_STYLES[names.index(name)]
            for left, top, right, bottom in boxes:
                line = {"edgecolor": color, "linestyle": dash, "linewidth": 1.6, "fill": False}
                box = Rectangle((left, top), right - left, bottom - top, **line)
                box.set_path_effects([Stroke(linewidth=2.8, foreground="#222222"), Normal()])
                axes.add_patch(box)
    handles = [
        Rectangle((0, 0), 1, 1, fill=False, edgecolor=color, linestyle=dash, linewidth=1.6)
        for color, dash in _BOX_STYLES[: len(names)]
    ]
    legend = figure.legend(handles, names, loc="outside upper left", ncols=len(names), fontsize=8)
    legend.get_frame().set_facecolor("#555555")
    for text in legend.get_texts():
        text.set_color("white")
    save_picture(figure, path)


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(max(1.5, width), max(1.5, height)), dpi=150, layout="constrained")


def need_few(count: int) -> None:
    """Raise UserError if this number of images cannot be drawn in one picture."""
    if not count:
        raise UserError("there is no image to draw")
    if count > MOST_IMAGES:
        raise UserError(f"{count} images in one picture: at most {MOST_IMAGES} can be seen")


def _pixels(image: Any) -> tuple[Pixels, tuple[int, int]]:
    """An image whose longest side has at most `SIDE` pixels, and its width and height in full."""
    loaded = load_image(image, at_least=SIDE)
    width, height = loaded.size
    scale = min(1.0, SIDE / max(width, height))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(loaded.resized((0.0, 0.0, float(width), float(height)), size)), loaded.size


def _show(axes: Axes, image: Any, view: View | None = None) -> None:
    """Show an image, and frame what the network sees of it unless that is all."""
    from matplotlib.patches import Rectangle

    pixels, (width, height) = _pixels(image)
    axes.imshow(pixels, extent=(0, width, height, 0), interpolation="nearest")
    if view is not None:
        x0, y0, x1, y1 = view.source
        if x0 > 0 or y0 > 0 or x1 < width or y1 < height:
            axes.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, color="white", lw=2.4))
            axes.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, color="#222222", lw=0.9))
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    _bare(axes)


def _upsampled(values: NDArray[np.float32], most: int) -> NDArray[np.float32]:
    """(H, W) -> (most, most), bilinear, with the values in the middle of their places."""
    import PIL.Image

    picture = PIL.Image.fromarray(values.astype(np.float32), mode="F")
    return np.asarray(picture.resize((most, most), PIL.Image.Resampling.BILINEAR))


def _bare(axes: Axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _titled(axes: Axes, title: str, color: str = "#222222") -> None:
    axes.set_title(title, fontsize=7.5, color=color, parse_math=False, family=families_for(title))


def _name_of(image: Any, number: int) -> str:
    """The name of an image's file, and the folder that it is in; images in memory have numbers."""
    return _short(Path(image)) if isinstance(image, (str, Path)) else f"image {number}"


def _short(path: Path) -> str:
    name = f"{path.parent.name}/{path.name}" if path.parent.name else path.name
    if len(name) <= _LONGEST_NAME:
        return name
    name, half = path.name, _LONGEST_NAME // 2  # names that begin alike often end in different numbers
    return name if len(name) <= _LONGEST_NAME else f"{name[:half]}…{name[1 - half :]}"
