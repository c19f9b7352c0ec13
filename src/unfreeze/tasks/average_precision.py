"""Measures of located objects: average precision as COCO defines it, and the mean IoU of one box an image.

Average precision of a class at an IoU threshold: the found boxes of all images, from the highest score to the lowest, are
right if they overlap a true box of their image by the threshold and no better one has taken it. Each prefix of that
order has a precision and a recall; precision is made non-increasing, and is averaged over 101 recalls from 0 to 1. COCO's
figure is the mean over the thresholds 0.50, 0.55, ..., 0.95 and over the classes that have a true box
(https://cocodataset.org/#detection-eval). The numbers equal those of pycocotools for the area range "all" where no annotation
is of a crowd. `read_boxes` leaves out annotations of crowds, so a box that is found on a crowd is wrong here, while COCO's
evaluation ignores it. Boxes that VOC marks as difficult count like all others; VOC's evaluation ignores them.

Legend: I images, N true boxes of an image, M found boxes, T thresholds, K labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unfreeze.vision.boxes import iou_matrix

Floats = NDArray[np.float64]
THRESHOLDS: Floats = np.linspace(0.5, 0.95, 10)
RECALLS: Floats = np.linspace(0.0, 1.0, 101)
MAX_BOXES = 100
"""Found boxes of a class in an image that count, those of the highest scores."""


@dataclass(frozen=True)
class Located:
    """The boxes in an image, true or found."""

    boxes: Floats
    """(N, 4): left, top, right, bottom in pixels."""
    labels: NDArray[np.int64]
    """(N,) from 0 to K - 1."""
    scores: Floats | None = None
    """(N,); true boxes have none."""


@dataclass(frozen=True)
class AveragePrecision:
    """Average precisions, from 0 to 1; NaN where there is no true box."""

    mean: float
    """Over the thresholds 0.50 to 0.95 and the classes; what COCO calls AP."""
    at_50: float
    """At the threshold 0.5, over the classes."""
    at_75: float
    """At the threshold 0.75, over the classes."""
    by_label: Floats
    """(K,): over the thresholds."""


def average_precision(
    true: Sequence[Located], found: Sequence[Located], n_labels: int, *, max_boxes: int = MAX_BOXES
) -> AveragePrecision:
    """Average precision of the boxes found in I images.

    Boxes of equal scores count in the order in which they are given, images in theirs.

    Args:
        true, found: the boxes of each image; found ones have scores.
        n_labels: K.
        max_boxes: found boxes of a class in an image that count.
    """
    assert len(true) == len(found), (len(true), len(found))
    table = np.full((n_labels, len(THRESHOLDS)), np.nan)  # (K, T)
    for label in range(n_labels):
        scores, right, n_true = [np.zeros(0)], [np.zeros((len(THRESHOLDS), 0), dtype=np.bool_)], 0
        for wanted, image in zip(true, found, strict=True):
            assert image.scores is not None
            chosen = np.flatnonzero(image.labels == label)
            chosen = chosen[np.argsort(-image.scores[chosen], kind="stable")][:max_boxes]
            own = wanted.boxes[wanted.labels == label]
            scores.append(image.scores[chosen])
            right.append(_is_right(image.boxes[chosen], own))
            n_true += len(own)
        if n_true:
            order = np.argsort(-np.concatenate(scores), kind="stable")
            for number, hits in enumerate(np.concatenate(right, axis=1)[:, order]):
                table[label, number] = _averaged(hits, n_true)
    known = table[~np.isnan(table[:, 0])]
    if not len(known):
        return AveragePrecision(np.nan, np.nan, np.nan, table.mean(1))
    at = known.mean(0)
    return AveragePrecision(float(at.mean()), float(at[0]), float(at[5]), table.mean(1))


def _is_right(found: Floats, true: Floats) -> NDArray[np.bool_]:
    """Which found boxes of a class in an image are right at each threshold, best score first: (M, 4), (N, 4) -> (T, M)."""
    right = np.zeros((len(THRESHOLDS), len(found)), dtype=np.bool_)
    if not len(true):
        return right
    least = np.minimum(THRESHOLDS, 1 - 1e-10)[:, None]
    overlaps = iou_matrix(found, true)
    free = np.ones((len(THRESHOLDS), len(true)), dtype=np.bool_)
    rows = np.arange(len(THRESHOLDS))
    for number, row in enumerate(overlaps):  # each takes the free true box that it overlaps most
        candidates = np.where(free & (row >= least), row, -1.0)  # (T, N)
        best = len(true) - 1 - candidates[:, ::-1].argmax(1)  # the last of several, as pycocotools has it
        right[:, number] = candidates[rows, best] >= 0
        free[rows[right[:, number]], best[right[:, number]]] = False
    return right


def _averaged(hits: NDArray[np.bool_], n_true: int) -> float:
    """The precision averaged over `RECALLS`, from whether each found box, best score first, is right."""
    n_right = hits.cumsum()
    recall = n_right / n_true
    precision = n_right / np.arange(1, len(hits) + 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]  # the best at this recall or a higher one
    places = recall.searchsorted(RECALLS)
    return float(np.append(precision, 0.0)[places].mean())  # 0 at recalls that are never reached


# One box an image


@dataclass(frozen=True)
class Overlap:
    """How well one box was found in each image."""

    mean_iou: float
    share_50: float
    """Share of the images with an IoU of at least 0.5."""
    share_75: float
    """Share of the images with an IoU of at least 0.75."""

    @classmethod
    def of(cls, ious: Floats) -> Overlap:
        """From the IoU of each image: (I,), at least one."""
        return cls(float(ious.mean()), float((ious >= 0.5).mean()), float((ious >= 0.75).mean()))
