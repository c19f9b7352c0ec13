"""Read labeled images: a folder per class, tables of files and labels, HDF5, and data sets of the hub.

Only HDF5 is read into memory; other images are files that are read when they are needed.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from operator import attrgetter
from pathlib import Path
from typing import Any, Literal

import numpy as np

from unfreeze.datasets.columns import find_column, find_label_column, no_column, wanted_columns
from unfreeze.datasets.dataset import ExampleSet, LabeledExample
from unfreeze.datasets.labels import (
    MISSING,
    BadLabel,
    UnknownName,
    class_names,
    is_null,
    kind_of_value,
    labels_of,
    need_known_labels,
    ordered_names,
    split_labels,
)
from unfreeze.datasets.lines import is_hidden, plain_suffix, read_lines, warn_of_ignored_files
from unfreeze.datasets.tables import TABLES, TEXT_COLUMNS, Table, is_hub, is_table, open_table
from unfreeze.errors import Notice, UnknownLabel, UserError, import_extra, setting
from unfreeze.progress import SILENT, Progress
from unfreeze.vision.finding import ImageFinder, is_clutter, is_image_name, walk_images
from unfreeze.vision.images import ImageFile, pixel_scale, undamaged, with_advice

_log = logging.getLogger(__name__)

IF_MISSING = f"name the folder of the images with {setting('images')}"
"""What to do about a missing image."""

IMAGE_COLUMNS = tuple(
    "image img picture photo file filename file_name image_file image_path path filepath file_path image_name image_id name".split()
)
"""Usual names, in lower case, of a column of images or their files."""
HDF5 = (".h5", ".hdf5")


@dataclass(frozen=True)
class _Rows:
    rows: Iterable[tuple[int, Any, object]]
    """Number, image and raw label of each example."""
    place: Callable[[int], str]


def read_images(
    path: str | Path,
    *,
    image_column: str | None = None,
    label_column: str | None = None,
    images: Path | None = None,
    header: bool | None = None,
    encoding: str = "utf-8",
    multi_label: bool | None = None,
    labels_required: bool = True,
    skip_unlabeled: bool = False,
    skip_damaged: bool = False,
    known_labels: Collection[str] | None = None,
    unknown_labels: Literal["error", "wrong"] = "error",
    if_missing: str = IF_MISSING,
    progress: Progress = SILENT,
) -> ExampleSet:
    """Read labeled images in their order.

    The source is a folder that contains a folder of images for each class, a table (CSV, TSV, JSON lines, Parquet, hub id
    `hf:owner/name[@revision][:config][:split]`) of images and labels, or an HDF5 file with an array of images (n, H, W, 3), an array of
    n class numbers, and optionally the names of the classes.

    Args:
        image_column, label_column: of a table: names, or numbers from 1 (default: found by their usual names).
        images: the folder with the images that a table names (default: that of the table, or a folder `images` in it or beside it).
        header: whether the first line of a CSV or TSV names its columns (default: unless it names an image).
        multi_label: read lists of labels, as `read_examples` does for texts.
        skip_unlabeled: leave out images without a label; their number is logged.
        skip_damaged: leave out damaged images, which are logged; all images are decoded once more to find them.
        known_labels: labels of the training set.
        unknown_labels: whether other labels are refused, or read and count as wrong.
        if_missing: the end of the message about a missing image: what to do.
        progress: reports the search for damaged images.

    Raises:
        UserError: there is no image, one is missing, a label is missing or not among `known_labels`, or the source cannot be read.
    """
    file = Path(path)
    if is_table(path):
        found = _table_rows(
            path, image_column, label_column, images, header, encoding, labels_required, if_missing
        )
    elif image_column or label_column or images is not None or header is not None:
        raise UserError(f"{path}: only tables (.csv, .tsv, .jsonl, .parquet) have columns to choose from")
    elif file.is_dir():
        found = _class_folders(file)
    elif file.suffix.lower() in HDF5:
        found = _hdf5_rows(file)
    elif not file.exists():
        raise UserError(f"{path}: no such file or folder")
    else:
        raise UserError(
            f"{path}: not a folder per class, a table (.csv, .tsv, .jsonl, .parquet) or HDF5 (.h5)"
        )
    rows = list(found.rows)
    if not rows:
        raise UserError(f"{path}: no image in it")
    several = any(isinstance(value, list) for _, _, value in rows) if multi_label is None else multi_label
    examples: list[LabeledExample] = []
    unlabeled: list[int] = []
    for number, image, value in rows:
        try:
            labels = labels_of(split_labels(value) if multi_label else value, several)
            if known_labels is not None and unknown_labels == "error":
                need_known_labels(labels or (), known_labels)
        except BadLabel as error:
            kind = UnknownLabel if isinstance(error, UnknownName) else UserError
            raise kind(f"{found.place(number)}: {error}") from None
        if labels is None and skip_unlabeled:
            unlabeled.append(number)
            continue
        if labels is None and labels_required:
            advice = f"{setting('skip_unlabeled', True)} leaves such images out"
            raise UserError(f"{found.place(number)}: this image has no label; {advice}")
        if labels_required and not skip_damaged:  # without labels the images are to be predicted, all of them
            image = with_advice(image)
        examples.append(LabeledExample(image, labels or (), number))
    if not examples:
        raise UserError(f"{path}: none of its {len(rows)} images has a label")
    if skip_damaged:
        examples = undamaged(examples, attrgetter("input"), str(path), progress)
    if unlabeled:
        _log.info(
            "%s: %s of %s images have no label and are left out, the first is %s",
            *(path, f"{len(unlabeled):,}", f"{len(rows):,}", found.place(unlabeled[0])),
        )
    names = ordered_names(label for each in examples for label in each.labels)
    return ExampleSet(examples, str(path), names, several, found.place)


def is_images(path: str | Path, *, header: bool | None = None, encoding: str = "utf-8") -> bool:
    """Whether a source of labeled examples, or a single file, holds images rather than texts.

    Folders hold images if they and the folders in them have more files with the suffix of an image than texts (.txt). Tables
    hold images if they have some in a column with a usual name, and no column with a usual name of texts; where they have both,
    it is logged that they count as texts. A data set of the hub is opened.

    Args:
        header, encoding: of a table; see `read_images`.
    """
    file = Path(path)
    if is_table(path):
        try:
            table = open_image_table(path, header, encoding, ())
            column = find_image_column(table, None)
            values = [value for _, (value,) in islice(table.rows([column]), 3)]
        except UserError:  # is said by what reads it
            return False
        if not any(map(_is_image_value, values)):
            return False
        texts = [each for each in table.columns if each.lower() in TEXT_COLUMNS]
        if texts:
            _log.info(
                Notice(
                    f"{path}: the column {texts[0]!r} is read as texts; to read the images in the column {column!r}, set "
                    f"{setting('examples', 'images')}"
                )
            )
        return not texts
    if file.is_dir():
        names = [name for _, _, files in islice(os.walk(file), 100) for name in files]
        return sum(map(is_image_name, names)) > sum(plain_suffix(Path(name)) == ".txt" for name in names)
    return file.suffix.lower() in HDF5 or is_image_name(file.name)


def _class_folders(folder: Path) -> _Rows:
    """folder/CLASS/*.jpg and so on, classes and files in sorted order.

    Raises:
        UserError: there is no folder of a class, or the folder is one level too high.
    """
    classes = sorted(each for each in folder.iterdir() if each.is_dir() and not is_hidden(each.name))
    if not classes:
        raise UserError(f"{folder}: it has no folder per class (CLASS/*.jpg), whose names are the labels")
    rows: list[tuple[int, Any, object]] = []
    ignored, empty = [], []
    for class_folder in classes:
        items = sorted(class_folder.iterdir())
        files = [each for each in items if is_image_name(each.name) and each.is_file()]
        inner = [each.name for each in items if each.is_dir() and next(walk_images(each), None)]
        if not files and inner:
            raise UserError(
                f"{class_folder} holds folders of images ({', '.join(inner[:5])}) and no image: name the folder whose folders are the "
                "classes, and put the images of a class into its folder itself"
            )
        ignored += [each for each in items if each not in set(files) and not is_clutter(each)]
        if not files:
            empty.append(class_folder.name)
        for file in files:
            rows.append((len(rows) + 1, ImageFile(file), class_folder.name))
    if not rows:
        raise UserError(f"{folder}: no image in the folders of its classes ({', '.join(empty[:5])})")
    if empty:
        _log.warning(
            "%s: folders without images, which are no classes: %s", folder, ", ".join(map(repr, empty[:10]))
        )
    warn_of_ignored_files(folder, ignored)
    return _Rows(rows, lambda number: str(rows[number - 1][1]))


def _hdf5_rows(path: Path) -> _Rows:
    """Arrays of images (n, H, W, 3) and of n class numbers, and the names of the classes if an array has them.

    The names of the arrays may be anything; the exercise of cats has `train_set_x`, `train_set_y` and `list_classes`.
    """
    h5py = import_extra("h5py", "formats")
    if not path.exists():
        raise UserError(f"{path}: no such file")
    try:
        with h5py.File(path, "r") as file:
            arrays = {name: each for name, each in file.items() if isinstance(each, h5py.Dataset)}
            pictures = [each for each in arrays.values() if each.ndim == 4 and each.shape[3] in (1, 3, 4)]
            if len(pictures) != 1:
                found = ", ".join(f"{name} {each.shape}" for name, each in arrays.items()) or "none"
                raise UserError(f"{path}: not one array of images (n, H, W, 3) among its arrays: {found}")
            pixels = pictures[0][:]
            if pixels.size:
                pixel_scale(pixels, f"{path}: {pictures[0].name}")
            numbers = [
                each[:]
                for each in arrays.values()
                if each.shape in ((len(pixels),), (1, len(pixels)), (len(pixels), 1))
                and np.issubdtype(each.dtype, np.integer)
            ]
            names = [each[:] for each in arrays.values() if each.ndim == 1 and each.dtype.kind in "SO"]
    except UserError:
        raise
    except (
        OSError,
        RuntimeError,
        ValueError,
        TypeError,
        LookupError,
    ) as error:  # what h5py raises for damage
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{path}: cannot be read as HDF5: {reason}") from None
    if len(numbers) > 1 or len(names) > 1:
        raise UserError(
            f"{path}: several arrays could be the labels of its {len(pixels)} images, or their names"
        )
    classes = (
        [name.decode(errors="replace") if isinstance(name, bytes) else str(name) for name in names[0]]
        if names
        else []
    )
    labels: list[object] = [None] * len(pixels)
    if numbers:
        values = numbers[0].reshape(-1).tolist()
        if classes and not all(0 <= value < len(classes) for value in values):
            raise UserError(
                f"{path}: class numbers go from {min(values)} to {max(values)}, but it names {len(classes)} classes"
            )
        labels = [classes[value] if classes else value for value in values]
    rows = [(number, image, label) for number, (image, label) in enumerate(zip(pixels, labels, strict=True))]
    return _Rows(rows, lambda number: f"{path}, image {number}")


def open_image_table(path: str | Path, header: bool | None, encoding: str, asked: Collection[str]) -> Table:
    """Open a table of images; without `header`, the first line of a CSV or TSV is a header unless it names an image."""
    kind = TABLES.get(plain_suffix(Path(path)))
    if header is None and not asked and not is_hub(path) and kind in ("csv", "tsv"):
        first = next(iter(read_lines(Path(path), encoding)), "") if Path(path).is_file() else ""
        cells = first.replace(";", ",").replace("\t", ",").split(",")
        header = not any(is_image_name(cell.strip().strip('"')) for cell in cells)
    return open_table(path, encoding, list(asked), header)


def find_image_column(table: Table, wanted: str | None) -> str:
    """The column of the images: `wanted`, one with a usual name, or without a header the first that has names of images."""
    if wanted is not None:
        return find_column(table, wanted, "image_column")
    if not table.has_header:
        named = [
            column
            for column, cell in zip(table.columns, table.first_line, strict=True)
            if is_image_name(cell)
        ]
    else:
        named = [column for name in IMAGE_COLUMNS for column in table.columns if column.lower() == name]
    if not named:
        raise no_column(table, "image", IMAGE_COLUMNS)
    return named[0]


def _is_image_value(value: object) -> bool:
    return (
        hasattr(value, "getexif")
        or isinstance(value, (bytes, Mapping))
        or (isinstance(value, str) and is_image_name(Path(value).name))
    )


def image_value(value: object, finder: ImageFinder | None, place: str, if_missing: str = IF_MISSING) -> Any:
    """The image in a cell of a table: the name of a file, the bytes of one (Parquet, hub), or an image of Pillow.

    Raises:
        UserError: there is no such file, or the value is no image; the message begins with `place`.
    """
    if isinstance(value, Mapping) and isinstance(value.get("bytes"), bytes):
        return ImageFile(Path(str(value.get("path") or place)), value["bytes"])
    if isinstance(value, Mapping):
        value = value.get("path")
    if isinstance(value, bytes):
        return ImageFile(Path(place), value)
    if hasattr(value, "getexif"):
        return value
    missing = value is MISSING or is_null(value) or value == ""
    if missing or not isinstance(value, (str, int)):
        kind = "nothing" if missing else f"a {kind_of_value(value)}"
        raise UserError(f"{place}: {kind} where the file of an image is expected")
    found = finder.find(str(value)) if finder is not None else None
    if found is None:
        raise UserError(f"{place}: no such image: {str(value)!r}; {if_missing}")
    return ImageFile(found)


def _table_rows(
    path: str | Path,
    image_column: str | None,
    label_column: str | None,
    images: Path | None,
    header: bool | None,
    encoding: str,
    labels_required: bool,
    if_missing: str,
) -> _Rows:
    table = open_image_table(path, header, encoding, wanted_columns(image_column, label_column))
    image = find_image_column(table, image_column)
    label: str | None
    if label_column is None and not table.has_header and len(table.columns) == 2:
        label = next(column for column in table.columns if column != image)
    else:
        label = find_label_column(table, label_column, required=labels_required)
    if label == image:
        raise UserError(f"{path}: the column {label!r} cannot be both the image and the label")
    finder = None if is_hub(path) else ImageFinder(Path(path), images)
    names = table.class_names.get(label) if label else None

    def rows() -> Iterator[tuple[int, Any, object]]:
        for number, values in table.rows([image, *([label] if label else [])]):
            value = values[1] if label else None
            image_here = image_value(values[0], finder, table.place(number), if_missing)
            yield number, image_here, value if names is None else class_names(value, names)

    return _Rows(rows(), table.place)
