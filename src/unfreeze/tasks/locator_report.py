"""How well a locator did: IoU of one box an image, average precision, and the mean box as the baseline beside them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from unfreeze.display import aligned, counted
from unfreeze.tasks.average_precision import Located, Overlap, average_precision
from unfreeze.vision.boxes import Boxes, iou_matrix


@dataclass(frozen=True)
class LocatorReport:
    """The measures of a locator on images with boxes. Without a true box, average precision is not a number.

    For one box an image and a single label there is none (None): all scores are 1, and it would depend on the order of the images.
    """

    n_images: int
    n_boxes: int
    """True boxes that were looked for."""
    overlap: Overlap | None
    """Of one box an image; None if there are several."""
    average_precision: float | None
    """Mean over the IoU thresholds 0.50, 0.55, ..., 0.95 and the labels, as COCO defines it."""
    average_precision_50: float | None
    average_precision_75: float | None
    by_label: dict[str, float]
    """Average precision of each label."""
    baseline_overlap: Overlap | None
    """Of the mean box of the training images, in every image."""
    baseline_average_precision: float | None
    """Of the same, with the most frequent label."""

    @property
    def score(self) -> float:
        """The mean IoU of one box an image, average precision of several (0 if it is no number)."""
        found = self.average_precision if self.overlap is None else self.overlap.mean_iou
        return 0.0 if found is None or math.isnan(found) else found

    @property
    def baseline_score(self) -> float:
        """The same measure of the mean box of the training images."""
        overlap, precision = self.baseline_overlap, self.baseline_average_precision
        found = precision if overlap is None else overlap.mean_iou
        return 0.0 if found is None or math.isnan(found) else found

    def metrics(self) -> dict[str, float]:
        """The measures by name, without those of the baseline and of single labels."""
        found = {} if self.overlap is None else asdict(self.overlap)
        names = ("average_precision", "average_precision_50", "average_precision_75")
        precisions = {name: getattr(self, name) for name in names if self.average_precision is not None}
        return {**found, **precisions}

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON values; None where a measure is no number."""
        baseline = {} if self.baseline_overlap is None else asdict(self.baseline_overlap)
        values: dict[str, Any] = {
            "images": self.n_images,
            "boxes": self.n_boxes,
            **self.metrics(),
            "by_label": self.by_label,
            "baseline": baseline,
        }
        if self.average_precision is not None:
            values["baseline"] = {**baseline, "average_precision": self.baseline_average_precision}
        return {name: _plain(value) for name, value in values.items()}

    def __str__(self) -> str:
        """The measures beside those of the baseline, and the average precision of each of several labels."""
        rows: list[dict[str, object]] = []
        for name, overlap, precision in (
            ("found", self.overlap, self.average_precision),
            ("mean box", self.baseline_overlap, self.baseline_average_precision),
        ):
            shares = {} if overlap is None else {
                "mean IoU": overlap.mean_iou, "IoU >= 0.5": overlap.share_50, "IoU >= 0.75": overlap.share_75
            }  # fmt: skip
            ranked = {} if precision is None else {"average precision": precision}
            rows.append({"boxes": name, **shares, **ranked})
        measured = f"{counted(self.n_boxes, 'box')} in {counted(self.n_images, 'image')}"
        measures = [] if self.overlap is None else [f"mean IoU {self.overlap.mean_iou:.4f}"]
        if self.average_precision is not None:
            measures.append(
                f"average precision {self.average_precision:.4f} (at IoU 0.5 {self.average_precision_50:.4f}, "
                f"at 0.75 {self.average_precision_75:.4f})"
            )
        parts = [f"{', '.join(measures)} on {measured}", aligned(rows)]
        if self.n_boxes and self.score <= self.baseline_score:
            parts.append("no better than the mean box of the training images, put into every image")
        if len(self.by_label) > 1:
            parts.append(
                aligned(
                    [{"label": name, "average precision": value} for name, value in self.by_label.items()]
                )
            )
        return "\n\n".join(parts)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value


def make_report(
    true: Sequence[Located],
    found: Sequence[Located],
    sizes: Sequence[tuple[int, int]],
    names: Sequence[str],
    *,
    is_one: bool,
    mean_box: Sequence[float],
    usual_label: int = 0,
) -> LocatorReport:
    """Compare the boxes of I images with those that were found.

    Args:
        true, found: boxes in pixels of each image.
        sizes: width and height of each image.
        names: the labels; the last ones may be unknown to the locator.
        is_one: each image has one true box and one that was found.
        mean_box: the mean box of the training images, left, top, right and bottom as fractions of the image.
        usual_label: the most frequent label of the training images.
    """
    overlap = baseline_overlap = None
    means = [
        Located(np.array([mean_box]) * np.array([[width, height] * 2]), np.array([usual_label]), np.ones(1))
        for width, height in sizes
    ]
    if is_one:
        overlap, baseline_overlap = (
            Overlap.of(
                np.array([iou_matrix(a.boxes, b.boxes)[0, 0] for a, b in zip(true, given, strict=True)])
            )
            for given in (found, means)
        )
    n_boxes = sum(len(each.boxes) for each in true)
    if is_one and len(names) == 1:
        return LocatorReport(len(true), n_boxes, overlap, None, None, None, {}, baseline_overlap, None)
    precision = average_precision(true, found, len(names))
    return LocatorReport(
        len(true),
        n_boxes,
        overlap,
        precision.mean,
        precision.at_50,
        precision.at_75,
        dict(zip(names, precision.by_label.tolist(), strict=True)),
        baseline_overlap,
        average_precision(true, means, len(names)).mean,
    )


def mean_box_of(true: Sequence[Located], sizes: Sequence[tuple[int, int]]) -> list[float]:
    """The mean over all boxes, left, top, right and bottom as fractions of their images; the whole image if there is none."""
    fractions: list[Boxes] = [
        each.boxes / np.array([width, height] * 2) for each, (width, height) in zip(true, sizes, strict=True)
    ]
    every = np.concatenate([*fractions, np.zeros((0, 4))])
    return [float(side) for side in every.mean(0)] if len(every) else [0.0, 0.0, 1.0, 1.0]


def usual_label_of(true: Sequence[Located]) -> int:
    """The most frequent label."""
    counts = Counter(int(label) for each in true for label in each.labels)
    return counts.most_common(1)[0][0] if counts else 0
