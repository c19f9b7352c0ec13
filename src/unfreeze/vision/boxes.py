"""Geometry of boxes in NumPy.

Boxes are float arrays (N, 4): left, top, right, bottom, in pixels from the upper left corner of the upright image. Right and bottom
are edges: a box around the first pixel of an image is (0, 0, 1, 1), and width = right - left.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from unfreeze.errors import UserError

Boxes = NDArray[np.float64]
"""(N, 4): left, top, right, bottom in pixels."""
CORNERS = [
    tuple(names.split())
    for names in ("xmin ymin xmax ymax", "x_min y_min x_max y_max", "x1 y1 x2 y2", "left top right bottom")
]
SIDES = [
    tuple(names.split())
    for names in (
        "x y w h",
        "x y width height",
        "bbox_x bbox_y bbox_width bbox_height",
        "left top width height",
    )
]
"""Names of the columns of a box, in lower case: its corners, or a corner and its width and height."""


def box_columns(columns: Collection[str]) -> tuple[str, ...] | None:
    """The columns of a table that hold a box, four of `CORNERS` or of `SIDES`, or None; the names are in lower case."""
    return next((names for names in (*CORNERS, *SIDES) if set(names) <= set(columns)), None)


def as_boxes(values: ArrayLike, place: str = "boxes") -> Boxes:
    """Boxes from anything array-like: (N, 4), or (4,) for one box, or an empty list.

    Args:
        place: what messages call them, such as `y[3]`.

    Raises:
        UserError: they have another shape, or hold something that is no finite number.
    """
    try:
        found = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise UserError(f"{place}: boxes are arrays (N, 4) of numbers: left, top, right, bottom") from None
    if not found.size:
        return np.zeros((0, 4))
    if found.shape == (4,):
        found = found[None]
    if found.ndim != 2 or found.shape[1] != 4:
        raise UserError(f"{place}: boxes are (N, 4): left, top, right, bottom; these are {found.shape}")
    if not np.isfinite(found).all():
        raise UserError(f"{place}: the edges of a box must be finite numbers")
    return found


def areas(boxes: Boxes) -> NDArray[np.float64]:
    """(N, 4) -> (N,): areas in square pixels; 0 for boxes whose right or bottom edge lies before the other."""
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
    return np.asarray(sides[:, 0] * sides[:, 1])


def iou_matrix(first: Boxes, second: Boxes) -> NDArray[np.float64]:
    """(N, 4), (M, 4) -> (N, M): intersection over union of each pair; 0 where both boxes have no area."""
    near = np.maximum(first[:, None, :2], second[None, :, :2])
    far = np.minimum(first[:, None, 2:], second[None, :, 2:])
    sides = np.maximum(far - near, 0)
    shared = sides[..., 0] * sides[..., 1]
    union = areas(first)[:, None] + areas(second)[None, :] - shared
    return np.asarray(np.divide(shared, union, out=np.zeros_like(shared), where=union > 0))


def clipped(boxes: Boxes, width: float, height: float) -> Boxes:
    """(N, 4) -> (N, 4): the parts of the boxes within an image; boxes that lie outside of it get no area."""
    return np.clip(boxes, 0, np.array([width, height, width, height], dtype=np.float64))


def to_center(boxes: Boxes, width: float, height: float) -> NDArray[np.float64]:
    """(N, 4) -> (N, 4): center x, center y, width and height, as fractions of the width and height of the image."""
    sides = np.array([width, height], dtype=np.float64)
    near, far = boxes[:, :2] / sides, boxes[:, 2:] / sides
    return np.concatenate([(near + far) / 2, far - near], axis=1)


def from_center(values: NDArray[Any], width: float, height: float) -> Boxes:
    """The inverse of `to_center`."""
    sides = np.array([width, height], dtype=np.float64)
    center, half = values[:, :2].astype(np.float64), values[:, 2:].astype(np.float64) / 2
    return np.concatenate([(center - half) * sides, (center + half) * sides], axis=1)
