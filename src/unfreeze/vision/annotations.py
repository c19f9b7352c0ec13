"""Images with labeled boxes, in memory and read from Pascal VOC, COCO, YOLO and tables.

All boxes are left, top, right, bottom in pixels of the upright image (see `vision/boxes.py`). What is wrong with them is
mended, counted and said in one line: boxes beyond the edges are cut off, boxes without area are left out.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from unfreeze.datasets.dataset import Dataset, content_key
from unfreeze.datasets.labels import BadLabel, UnknownName, label_name, need_known_labels, ordered_names
from unfreeze.errors import UnknownLabel, UserError, need_several, setting
from unfreeze.progress import SILENT, Progress
from unfreeze.vision.box_files import RawAnnotations, RawImage, read_raw
from unfreeze.vision.boxes import Boxes, areas, as_boxes, clipped, from_center
from unfreeze.vision.finding import ImageFinder
from unfreeze.vision.images import (
    ImageFile,
    stored_size,
    undamaged,
    upright_boxes,
    upright_size,
    with_advice,
)

_log = logging.getLogger(__name__)

ONE_CLASS = "object"
"""The class of boxes that have no label."""


@dataclass(frozen=True, slots=True, eq=False)
class LocatedExample:
    """An image and its boxes."""

    input: Any
    """An `ImageFile`, or anything else that `read_image` reads."""
    boxes: Boxes
    """(N, 4): left, top, right, bottom in pixels of the upright image; N may be 0."""
    labels: tuple[str, ...]
    """The classes of the N boxes."""
    number: int = 0
    """Position in the source, from 0."""
    size: tuple[int, int] = (0, 0)
    """Width and height of the upright image, in pixels."""


@dataclass(frozen=True)
class BoxSet(Dataset[LocatedExample]):
    """Images with their boxes, and the classes of the boxes."""

    label_names: tuple[str, ...]
    """All classes, sorted."""
    place: Callable[[int], str] = field(default="image {}".format, compare=False, repr=False)
    """Names an image for a message, from its number."""
    noun: ClassVar[str] = "image"

    def inputs(self) -> list[Any]:
        """The images, in the order of the examples."""
        return [example.input for example in self.examples]

    def digest(self) -> str:
        """16 hex digits that identify images, boxes and labels."""
        found = hashlib.blake2b()
        for example in self.examples:
            kind, shape, data = content_key(example.input)
            found.update(
                json.dumps([kind, shape, example.boxes.tolist(), example.labels]).encode() + b"\0" + data
            )
        return found.hexdigest()[:16]

    def largest_boxes(self) -> BoxSet:
        """A set with only the largest box of each image, without the images that have no box."""
        examples = []
        for each in self.examples:
            if len(each.boxes):
                best = int(areas(each.boxes).argmax())
                found = each.boxes[best : best + 1], (each.labels[best],)
                examples.append(LocatedExample(each.input, *found, each.number, each.size))
        return self.subset(examples)


def located_set(inputs: Sequence[Any], y: Any, source: str = "the given images") -> BoxSet:
    """Make a data set of images and boxes in memory.

    Args:
        inputs: n images: files, arrays or images of Pillow.
        y: for each image an array of boxes (N, 4) or of one box (4,), or a dict {"boxes": ..., "labels": [...]} (its
            "scores", if it has some, do not matter); or one array (n, 4).

    Raises:
        UserError: not as many as images, or something is no box or label, named by its position from 0; or an image cannot be read.
    """
    need_several(y, "boxes")
    targets = list(y)
    if len(inputs) != len(targets):
        raise UserError(
            f"{len(inputs)} images and boxes for {len(targets)}: each image needs its boxes (or an empty list)"
        )
    raw = []
    for number, (image, each) in enumerate(zip(inputs, targets, strict=True)):
        place = f"y[{number}]"
        given = each if isinstance(each, dict) else {"boxes": each}
        if "boxes" not in given or not given.keys() <= {"boxes", "labels", "scores"}:
            raise UserError(
                f'{place} is a dict without "boxes", or with other keys than "boxes" and "labels"'
            )
        boxes = as_boxes(given["boxes"], place)
        labels = given.get("labels")
        try:
            names = [ONE_CLASS] * len(boxes) if labels is None else [label_name(label) for label in labels]
        except (BadLabel, TypeError) as error:
            raise UserError(f"{place}: {error}") from None
        if len(names) != len(boxes) or not all(names):
            raise UserError(f"{place}: {len(boxes)} boxes and {len([name for name in names if name])} labels")
        raw.append(RawImage(image, boxes, names, place))
    return _finished(RawAnnotations(raw), source, None)


def read_boxes(
    path: str | Path,
    images: str | Path | None = None,
    *,
    image_column: str | None = None,
    label_column: str | None = None,
    header: bool | None = None,
    encoding: str = "utf-8",
    skip_damaged: bool = False,
    known_labels: Collection[str] | None = None,
    unknown_labels: Literal["error", "wrong"] = "error",
    progress: Progress = SILENT,
) -> BoxSet:
    """Read images with their boxes, in the order of the source.

    The source is one of

    - a folder of Pascal VOC's XML files, or a folder that contains it as `annotations` or `Annotations`; or one such file
    - COCO's JSON file
    - a folder of YOLO's text files, or a folder that contains it as `labels`; classes are named in data.yaml or classes.txt
    - a table (.csv, .tsv, .jsonl, .parquet) with a box a row: a column of images (`filename`, `image`, ...), four columns of
      the box (`xmin`, `ymin`, `xmax`, `ymax`; `x1` ... `y2`; `left`, `top`, `right`, `bottom`; or `x`, `y`, `w`, `h`), and one
      of labels if there are classes. A row without a box is an image without boxes. Without a header, the columns are the
      image, left, top, right, bottom, and the label if there are classes.
    - a table, or a data set of the hub (`hf:owner/name[@revision][:config][:split]`), with an image a row and a column `objects` of
      records {"bbox": [[x, y, width, height], ...], "category": [...]}

    The 1-based pixels of VOC, both ends included, become edges: xmin - 1 to xmax. Other formats have edges. Annotations of crowds in
    COCO's files are left out; boxes that VOC's files mark as difficult are not. Both are said.

    Args:
        images: the folder with the images, which is searched with all folders in it (default: that of the annotations, or a
            folder `images` or `JPEGImages` in it or beside it).
        image_column, label_column: of a table: names, or numbers from 1 (default: found by their usual names).
        header: whether the first line of a CSV or TSV names its columns (default: unless it names an image).
        skip_damaged: leave out damaged images, which are logged; all images are decoded once more to find them.
        known_labels: labels of the training set.
        unknown_labels: whether other labels are refused, or read and count as wrong.
        progress: reports the search for damaged images.

    Raises:
        UserError: the source is malformed, an image cannot be read, no image is found, or a label is not among `known_labels`.
    """
    folder = None if images is None else Path(images)
    raw = read_raw(Path(path), image_column, label_column, header, encoding, ONE_CLASS)
    if known_labels is not None and unknown_labels == "error":
        for each in raw.images:
            try:
                need_known_labels(each.labels, known_labels)
            except UnknownName as error:
                raise UnknownLabel(f"{each.place}: {error}") from None
    return _finished(raw, str(path), ImageFinder(Path(path), folder), progress if skip_damaged else None)


class _Findings:
    """What was mended, to be said in one line for each kind: how often, and where first."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._first: dict[str, str] = {}

    def add(self, what: str, place: str, count: int = 1) -> None:
        if count:
            self._counts[what] += count
            self._first.setdefault(what, place)

    def say(self, source: str) -> None:
        for what, count in self._counts.items():
            _log.warning("%s: %s: %s, the first is %s", source, what, f"{count:,}", self._first[what])


def _finished(
    raw: RawAnnotations, source: str, finder: ImageFinder | None, search: Progress | None = None
) -> BoxSet:
    """Find the images and their sizes, and mend the boxes.

    Args:
        finder: finds images that are given by name; None if they are all in memory or files.
        search: reports the search for damaged images, which are left out; None does not search for them.
    """
    in_pixels = [each.boxes for each in raw.images if not each.normalized and len(each.boxes)]
    if in_pixels and max(float(np.abs(boxes).max()) for boxes in in_pixels) <= 1:
        raise UserError(
            f"{source}: all boxes lie within one pixel; if they are fractions of the images, multiply them by width and height"
        )
    findings = _Findings()
    for what, (count, place) in raw.left_out.items():
        findings.add(what, place, count)
    located: list[tuple[RawImage, Any]] = []
    seen: set[Path] = set()
    for each in raw.images:
        image = each.image
        if finder is not None and isinstance(image, str):
            found = next(filter(None, map(finder.find, (image, *each.other_names))), None)
            if found is None:
                findings.add(
                    "annotations left out because their images do not exist", f"{each.place} ({image})"
                )
                continue
            seen.add(found)
            image = ImageFile(found)
        located.append((each, with_advice(image) if finder is not None and search is None else image))
    if search is not None:
        located = undamaged(located, itemgetter(1), source, search)
    examples: list[LocatedExample] = []
    places: list[str] = []
    for each, image in located:
        stored, orientation = stored_size(image)
        width, height = upright_size(stored, orientation)
        boxes = _mended(each, stored, orientation, findings)
        findings.add(
            "boxes marked as difficult, which count as the others do, unlike in VOC's own evaluation",
            *(each.place, each.n_difficult),
        )
        large = areas(boxes) > 0
        findings.add(
            "boxes left out because they have no area in their image", each.place, int((~large).sum())
        )
        labels = tuple(label for label, is_box in zip(each.labels, large, strict=True) if is_box)
        examples.append(LocatedExample(image, boxes[large], labels, len(examples), (width, height)))
        places.append(each.place)
    if not examples:
        if raw.images and finder is not None:
            advice = f"name their folder with {setting('images')}"
            raise UserError(
                f"{source}: none of the {len(raw.images):,} images is found, such as {raw.images[0].image}: {advice}"
            )
        raise UserError(f"{source}: no image in it")
    findings.say(source)
    if (
        finder is not None and Path(source).is_dir()
    ):  # a file often lists one of several parts of a folder of images
        _say_others(finder, seen, source)
    names = ordered_names(label for example in examples for label in example.labels)
    return BoxSet(examples, source, names, places.__getitem__)


def _mended(each: RawImage, stored: tuple[int, int], orientation: int, findings: _Findings) -> Boxes:
    """The boxes of an image in pixels of the upright image, cut off at its edges.

    Args:
        stored, orientation: of the image; see `stored_size`.
    """
    boxes, (width, height) = each.boxes, upright_size(stored, orientation)
    if each.normalized:
        boxes = from_center(boxes, width, height)
    if orientation > 1 and len(boxes) and (each.size is None or each.size == stored == (width, height)):
        # Only width and height could tell whether they are boxes of the pixels as they are stored.
        findings.add(
            "images turned or mirrored by their EXIF data, whose boxes are taken as those of the upright image",
            each.place,
        )
    if each.size is not None and each.size != (width, height):
        stated_width, stated_height = each.size
        fit = not len(boxes) or bool((boxes.max(0)[2:] <= np.array(stored) + 1).all())
        if each.size == stored and fit:
            findings.add("images turned by their EXIF data, and their boxes with them", each.place)
            boxes = upright_boxes(boxes, stored, orientation)
        elif (
            abs(stated_width * height - stated_height * width) <= max(width, height) * 1.5
            and min(each.size) > 0
        ):
            # The image was resized after it was annotated: the ratios are equal up to rounding.
            findings.add("annotations of images of another size, whose boxes are scaled", each.place)
            boxes = boxes * np.array([width / stated_width, height / stated_height] * 2)
        else:
            findings.add(
                "annotations of images of another shape, whose boxes are taken as they are",
                each.place,
            )
    near, far = np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])
    findings.add(
        "boxes with exchanged corners, which are put in order",
        each.place,
        int((boxes[:, :2] > boxes[:, 2:]).any(1).sum()),
    )
    boxes = np.concatenate([near, far], axis=1)
    inside = clipped(boxes, width, height)
    # One pixel is how formats that count from 0 or from 1 differ.
    outside = (np.abs(inside - boxes) > 1).any(1) & (areas(inside) > 0)
    findings.add("boxes cut off at the edges of their image", each.place, int(outside.sum()))
    return inside


def _say_others(finder: ImageFinder, seen: set[Path], source: str) -> None:
    """Log how many images in the folder of the images have no annotation."""
    others = [path for path in finder.beside(seen) if path not in seen]
    if others:
        _log.info(
            "%s: images left out because they have no annotation: %s, the first is %s",
            source,
            f"{len(others):,}",
            others[0],
        )
