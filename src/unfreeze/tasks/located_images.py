"""Images with boxes as a locator takes them: one box in each or several, decoded for training and for measuring."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unfreeze.datasets.labels import UnknownName
from unfreeze.datasets.labels import need_known_labels as need_known_names
from unfreeze.display import counted
from unfreeze.errors import Notice, UnknownLabel, UserError, setting
from unfreeze.progress import SILENT, Progress
from unfreeze.tasks.average_precision import Located
from unfreeze.tasks.image_classifier import image_inputs
from unfreeze.tasks.image_inputs import read_once
from unfreeze.tasks.settings import BoxCount, LocatorSettings
from unfreeze.vision.annotations import BoxSet, located_set
from unfreeze.vision.images import LoadedImage
from unfreeze.vision.transforms import Augmentation, ImageTransform

logger = logging.getLogger(__name__)


def box_set(X: Any, y: Any, source: str = "the given images") -> BoxSet:
    """Images and boxes that are in memory, as `ObjectLocator.fit` takes them, as a data set.

    Raises:
        UserError: not as many images as entries of y, or an entry is not what it should be, named by its position from 0.
    """
    return located_set(image_inputs(X), y, source)


def box_count(settings: LocatorSettings, train_set: BoxSet) -> BoxCount:
    """Whether one box in each image is to be found or several: as the settings say, or as the training images have them."""
    if settings.boxes is not None:
        return settings.boxes
    return "one" if all(len(each.boxes) == 1 for each in train_set.examples) else "several"


def boxes_to_learn(settings: LocatorSettings, train_set: BoxSet) -> BoxSet:
    """The training images with the boxes that are to be found, as `box_count` decides; the decision and what is left out are said.

    Raises:
        UserError: no image has a box.
    """
    used = train_set
    if box_count(settings, train_set) == "one":
        used = with_largest_box(train_set)
    elif settings.boxes is None:
        n_empty = sum(not len(each.boxes) for each in train_set.examples)
        n_several = sum(len(each.boxes) > 1 for each in train_set.examples)
        logger.info(
            Notice(
                f"of {counted(len(train_set), 'image')}, {n_several} have several boxes and {n_empty} none, so several are looked for; "
                f"{setting('boxes', 'one')} looks for the largest one and leaves out the images that have none"
            )
        )
    if not any(len(each.boxes) for each in used.examples):
        raise UserError(f"{used.source}: there is no image with a box to learn from")
    return used


def with_largest_box(examples: BoxSet) -> BoxSet:
    """The images that have a box, each with the largest of its boxes; what is left out is said."""
    found = examples.largest_boxes()
    if n_empty := len(examples) - len(found):
        logger.warning("%s: %s without a box left out", examples.source, counted(n_empty, "image"))
    if n_several := sum(len(each.boxes) > 1 for each in examples.examples):
        logger.info(
            "%s: of %s with several boxes, the largest one counts",
            examples.source,
            counted(n_several, "image"),
        )
    return found


def need_known_labels(examples: BoxSet, names: Sequence[str]) -> None:
    """Raise UnknownLabel if a box has a label that is not in the training data."""
    for example in examples.examples:
        try:
            need_known_names(example.labels, names)
        except UnknownName as error:
            raise UnknownLabel(f"{examples.place(example.number)}: {error}") from None


@dataclass(frozen=True)
class LocatedImages:
    """Decoded images with the boxes in them."""

    images: Sequence[LoadedImage]
    true: list[Located]
    """The boxes of each image in its own pixels, within the image."""
    sizes: list[tuple[int, int]]
    """Width and height of each image in full."""

    @classmethod
    def of(
        cls,
        examples: BoxSet,
        names: Sequence[str],
        transform: ImageTransform,
        progress: Progress = SILENT,
        *,
        augmentation: Augmentation | None = None,
    ) -> LocatedImages:
        """Read the images.

        Args:
            names: the labels, whose numbers are those of the boxes.
            augmentation: of training images; see `read_once`.

        Raises:
            UserError: an image cannot be read.
        """
        images = read_once(examples.inputs(), transform, augmentation, progress)
        number_of = {name: number for number, name in enumerate(names)}
        true = [
            Located(each.boxes, np.array([number_of[label] for label in each.labels], dtype=np.int64))
            for each in examples.examples
        ]
        return cls(images, true, images.sizes)
