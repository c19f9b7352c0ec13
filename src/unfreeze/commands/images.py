"""What the verbs on images have in common: options, and how labeled images and those of the command line are read."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from unfreeze.commands.options import PairColumnOptions, ReadsExamples, ReadsLabels, given
from unfreeze.datasets.tables import is_table
from unfreeze.errors import UserError, setting
from unfreeze.tasks.settings import (
    ClassifierSettings,
    ImageClassifierSettings,
    ImageOptions,
    TaskSettings,
)

if TYPE_CHECKING:
    from unfreeze.datasets.dataset import ExampleSet
    from unfreeze.vision.annotations import BoxSet

IMAGE_SETTINGS = " ".join(field.name for field in fields(ImageOptions))
"""Settings that only tasks on images have."""
IMAGE_OPTIONS = f"images image_column positive skip_damaged {IMAGE_SETTINGS}"
"""Options that only data sets of labeled images have."""
_OF_IMAGES = {field.name for field in fields(ImageClassifierSettings)}
TEXT_SETTINGS = " ".join(field.name for field in fields(ClassifierSettings) if field.name not in _OF_IMAGES)
"""Settings that only classifiers of texts have."""


@dataclass(kw_only=True)
class ReadsImages(ReadsLabels):
    """Options of a verb that reads labeled images."""

    image_column: str | None = None
    """Images: name or number (from 1) of the column of a table that names their files (default: found by its usual names)."""

    positive: str | None = None
    """Images: a class to tell from all others, which become one class, "not CLASS"."""

    skip_damaged: bool = False
    """Images: leave out damaged ones and name them; to find them, all are decoded once more."""

    @property
    def reading_images(self) -> dict[str, Any]:
        """These options as keyword arguments of `unfreeze.vision.labeled_images.read_images`."""
        return given(
            self, "image_column", "label_column", "header", "encoding", "skip_unlabeled", "skip_damaged"
        )

    def read_images(self, path: str, **options: Any) -> ExampleSet:
        """Labeled images; other options as in `unfreeze.vision.labeled_images.read_images`.

        Raises:
            UserError: also where there is no image of the class that is to be told from the others, unless labels are known.
        """
        from unfreeze.vision.labeled_images import read_images

        reading = self.reading_images
        if self.positive is None:
            return read_images(path, **reading, **options)
        known = options.pop("known_labels", None)  # "not CLASS" is no label of the data
        found = read_images(path, **reading, **options)
        if found.multi_label:
            raise UserError(f"{setting('positive')} is for images of one class each, and {path} has several")
        if known is None and not found.count(self.positive):
            raise UserError(
                f"{path} has no image of the class {self.positive!r}, which {setting('positive')} names"
            )
        return found.against_rest(self.positive)


@dataclass(kw_only=True)
class FindsImages(ReadsImages):
    """The same, and where the images are."""

    images: Path | None = None
    """Images: folder with the files that a table names (default: that of the table, or a folder images in it or beside it)."""

    @property
    def reading_images(self) -> dict[str, Any]:
        return {**super().reading_images, **given(self, "images")}


@dataclass(kw_only=True)
class TextsOrImages(ReadsExamples, FindsImages, PairColumnOptions):
    """Options of a verb that reads labeled texts or labeled images."""

    examples: Literal["texts", "images"] | None = None
    """What the labeled data is read as (default: what it holds; a table with columns of both is one of texts, unless an option for
    images names its column or their folder)."""

    def are_images(self, path: str) -> bool:
        """Whether labeled data is one of images rather than of texts."""
        from unfreeze.vision.labeled_images import is_images

        if self.examples is not None:
            return self.examples == "images"
        if is_table(path) and given(self, "image_column", "images"):
            return True
        if is_table(path) and given(self, "text_column", "pair_column"):
            return False
        return is_images(path, header=self.header, encoding=self.encoding)


def read_annotated(arguments: Any, path: str, **options: Any) -> BoxSet:
    """The images and the boxes of annotations, as the options say; others are those of `unfreeze.vision.annotations.read_boxes`."""
    from unfreeze.vision.annotations import read_boxes

    reading = given(arguments, "images", "image_column", "label_column", "header", "encoding", "skip_damaged")
    return read_boxes(path, **reading, **options)


def image_settings(settings: TaskSettings, options: ImageOptions) -> ImageClassifierSettings:
    """The settings of a classifier of images, from those that it shares with one of texts and its own.

    Raises:
        UserError: a value cannot work.
    """
    values = {**vars(settings), **vars(options)}
    return ImageClassifierSettings(**{name: values[name] for name in _OF_IMAGES})
