"""Files of boxes as they are: Pascal VOC, COCO, YOLO and tables; `annotations.py` finds the images and mends the boxes."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.parsers import expat

from unfreeze.checked import NotJson, read_json, shown
from unfreeze.datasets.columns import find_label_column
from unfreeze.datasets.labels import MISSING, BadLabel, class_names, is_null, label_name
from unfreeze.datasets.lines import is_hidden, read_lines
from unfreeze.datasets.tables import Table, is_table
from unfreeze.errors import Notice, UserError, setting
from unfreeze.vision.boxes import CORNERS, Boxes, as_boxes, box_columns
from unfreeze.vision.labeled_images import find_image_column, image_value, open_image_table

_log = logging.getLogger(__name__)

_CATEGORIES = ("category", "categories", "label", "labels", "category_id", "class")
"""Names of the field of the labels in a column of records."""


@dataclass(frozen=True, eq=False)
class RawImage:
    """The annotation of an image."""

    image: Any
    """The name of its file, as the annotation has it; or an image."""
    boxes: Boxes
    """(N, 4): left, top, right, bottom, not checked in any way; center and size if `normalized`."""
    labels: list[str]
    place: str
    """Names the annotation for messages."""
    other_names: tuple[str, ...] = ()
    """Other names that the file of the image may have."""
    size: tuple[int, int] | None = None
    """Width and height of the image, as the annotation has them."""
    normalized: bool = False
    """Whether boxes are center x, center y, width and height, as fractions of the image's width and height."""
    n_difficult: int = 0
    """Number of boxes that are marked as difficult to recognize, as VOC does."""


@dataclass(frozen=True)
class RawAnnotations:
    """The annotations of a source."""

    images: list[RawImage]
    left_out: dict[str, tuple[int, str]] = field(default_factory=dict)
    """What was left out, such as "crowds are left out": how often, and where first."""


def read_raw(
    path: Path,
    image_column: str | None,
    label_column: str | None,
    header: bool | None,
    encoding: str,
    one_class: str,
) -> RawAnnotations:
    """Read annotations in the format that their content has.

    Args:
        image_column, label_column, header, encoding: of a table.
        one_class: label of the boxes of a table without labels.

    Raises:
        UserError: the source is missing, of no known format, or malformed.
    """
    is_coco = False
    if path.suffix.lower() == ".json" and path.is_file():
        try:
            written = path.read_bytes()
            content = read_json(written)
        except (NotJson, OSError):
            written, content = b"", None  # JSON lines, or an error that the table's reader reports
        is_coco = isinstance(content, dict) and bool({"images", "annotations"} & content.keys())
        if not is_coco and (isinstance(content, list) or b"\n" in written.strip()):
            raise UserError(
                f"{path}: neither COCO's annotations, an object with lists of images, annotations and categories (such as "
                "instances_val2017.json), nor JSON lines, an object on each line"
            )
    if is_table(path) and not is_coco:
        return _table(path, image_column, label_column, header, encoding, one_class)
    if image_column or label_column or header is not None:
        raise UserError(f"{path}: only tables (.csv, .tsv, .jsonl, .parquet) have columns to choose from")
    if is_coco:
        return _coco(content, path)
    if path.suffix.lower() == ".xml" and path.is_file():
        return RawAnnotations([_voc(path)])
    if not path.is_dir():
        wrong = "not VOC's XML, COCO's JSON or a table" if path.exists() else "no such file or folder"
        raise UserError(f"{path}: {wrong}")
    for suffix, names, read in (
        (".xml", ("annotations", "Annotations"), _voc_folder),
        (".txt", ("labels",), _yolo_folder),
    ):
        for folder in (path, *(path / name for name in names)):
            files = sorted(folder.glob(f"*{suffix}")) if folder.is_dir() else []
            files = [file for file in files if not is_hidden(file.name) and file.name != "classes.txt"]
            if files:
                return read(folder, files)
    raise UserError(
        f"{path}: no annotations in it: neither VOC's .xml nor YOLO's .txt files (for COCO or a table, name the file)"
    )


# Pascal VOC


def _voc_folder(_: Path, files: Sequence[Path]) -> RawAnnotations:
    return RawAnnotations([_voc(file) for file in files])


def _voc(path: Path) -> RawImage:
    """<annotation> with <filename>, <size> and <object>s that have <name> and <bndbox>."""
    root = _parsed_xml(path)
    if root.tag != "annotation":
        raise UserError(
            f"{path}: not an annotation of Pascal VOC: its root is <{root.tag}>, not <annotation>"
        )
    boxes, labels = [], []
    for number, each in enumerate(root.iterfind("object"), 1):
        place = f"{path}, object {number}"
        name = (each.findtext("name") or "").strip()
        if not name:
            raise UserError(f"{place}: it has no <name>")
        values = [each.findtext(f"bndbox/{edge}") for edge in CORNERS[0]]
        boxes.append(
            _voc_edges(
                *(_number(value, place, f"<{edge}>") for value, edge in zip(values, CORNERS[0], strict=True))
            )
        )
        labels.append(name)
    sides = [root.findtext(f"size/{side}") or "" for side in ("width", "height")]
    size = (int(sides[0]), int(sides[1])) if all(side.strip().isdecimal() for side in sides) else None
    name = (root.findtext("filename") or "").strip()
    names = dict.fromkeys(
        each for each in (name, path.stem) if each
    )  # files are renamed more often than what is in them
    first, *others = names
    return RawImage(
        *(first, as_boxes(boxes, str(path)), labels, str(path), tuple(others), _stated(size)),
        n_difficult=sum(
            (each.findtext("difficult") or "").strip() == "1" for each in root.iterfind("object")
        ),
    )


def _voc_edges(left: float, top: float, right: float, bottom: float) -> list[float]:
    """VOC counts pixels from 1 and names the first and the last one of a box: pixels 1 to 3 lie between the edges 0 and 3."""
    return [left - (left <= right), top - (top <= bottom), right - (left > right), bottom - (top > bottom)]


def _stated(size: tuple[int, int] | None) -> tuple[int, int] | None:
    """The size of an image in its annotation; some tools write 0 where they do not know it."""
    return size if size is not None and min(size) > 0 else None


def _parsed_xml(path: Path) -> ElementTree.Element:
    """Parse an XML file; document types are refused, because entities can grow to gigabytes or name other files."""
    builder = ElementTree.TreeBuilder()
    parser = expat.ParserCreate()
    parser.buffer_text = True

    def refuse(*_: object) -> None:
        raise UserError(
            f"{path}: it declares a document type, which annotations do not need: remove <!DOCTYPE ...>"
        )

    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(path.read_bytes(), True)
        return builder.close()
    except (expat.ExpatError, AssertionError, LookupError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        line = f":{error.lineno}" if isinstance(error, expat.ExpatError) else ""
        raise UserError(f"{path}{line}: not XML: {error}") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None


def _number(value: object, place: str, name: str) -> float:
    """A finite number of a text or of JSON."""
    try:
        found = math.nan if isinstance(value, bool) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        found = math.nan
    if not math.isfinite(found):
        raise UserError(f"{place}: {name} is {'missing' if value is None else shown(value)}, not a number")
    return found


# COCO


def _coco(content: dict[str, Any], path: Path) -> RawAnnotations:
    """`images` (id, file_name), `annotations` (image_id, category_id, bbox: x, y, width, height) and `categories` (id, name)."""

    def records(name: str, *keys: str) -> list[dict[str, Any]]:
        found = content.get(name)
        if not isinstance(found, list):
            raise UserError(f"{path}: no list {name!r} in it, which COCO's annotations have")
        for number, record in enumerate(found):
            missing = [
                key
                for key in keys
                if not isinstance(record, dict) or isinstance(record.get(key), (list, dict, type(None)))
            ]
            if missing:
                raise UserError(f"{path}: {name}[{number}] has no {missing[0]!r}")
        return found

    categories = {record["id"]: str(record["name"]) for record in records("categories", "id", "name")}
    found: dict[object, tuple[list[list[float]], list[str]]] = {}
    images = records("images", "id", "file_name")
    for record in images:
        if record["id"] in found:
            raise UserError(f"{path}: two images have the id {shown(record['id'])}")
        found[record["id"]] = [], []
    left_out: dict[str, tuple[int, str]] = {}
    for number, record in enumerate(records("annotations", "image_id", "category_id")):
        place = f"{path}: annotations[{number}]"
        reason = ""
        if record["image_id"] not in found:
            reason = "annotations left out because the file does not list their image"
        elif record.get("iscrowd"):
            reason = "annotations of crowds left out"
        if reason:
            count, first = left_out.get(reason, (0, place))
            left_out[reason] = count + 1, first
            continue
        if record["category_id"] not in categories:
            raise UserError(f"{place}: no category has the id {shown(record['category_id'])}")
        box = record.get("bbox")
        if not isinstance(box, list) or len(box) != 4:
            raise UserError(f"{place}: 'bbox' is not a list of x, y, width and height")
        x, y, width, height = (_number(value, place, "a number of 'bbox'") for value in box)
        boxes, labels = found[record["image_id"]]
        boxes.append([x, y, x + width, y + height])
        labels.append(categories[record["category_id"]])
    raw = []
    for record in images:
        boxes, labels = found[record["id"]]
        sides = record.get("width"), record.get("height")
        size = (sides[0], sides[1]) if isinstance(sides[0], int) and isinstance(sides[1], int) else None
        place = f"{path}, image {record['id']}"
        raw.append(
            RawImage(str(record["file_name"]), as_boxes(boxes, place), labels, place, size=_stated(size))
        )
    return RawAnnotations(raw, left_out)


# YOLO


def _yolo_folder(folder: Path, files: Sequence[Path]) -> RawAnnotations:
    """A .txt file for each image: lines of a class number and the box's center and size, as fractions of the image's."""
    names = _yolo_names(folder)
    raw = []
    for file in files:
        boxes, labels = [], []
        for number, line in enumerate(read_lines(file), 1):
            fields = line.split()
            if not fields:
                continue
            place = f"{file}:{number}"
            if len(fields) != 5:
                raise UserError(
                    f"{place}: {len(fields)} numbers; YOLO's boxes have 5: the class, center x and y, width, height"
                )
            if not fields[0].isdecimal() or (names and int(fields[0]) >= len(names)):
                raise UserError(
                    f"{place}: the class is {shown(fields[0])}, not a number below {len(names) or 'that of classes'}"
                )
            boxes.append([_number(value, place, "a number of the box") for value in fields[1:]])
            labels.append(names[int(fields[0])] if names else fields[0])
        raw.append(RawImage(file.stem, as_boxes(boxes, str(file)), labels, str(file), normalized=True))
    return RawAnnotations(raw)


def _yolo_names(folder: Path) -> list[str]:
    """The names of the classes in classes.txt (one a line), or in data.yaml: `names: [cat, dog]` or a line `0: cat` or `- cat` for each."""
    for place in (folder, folder.parent):
        if (file := place / "classes.txt").is_file():
            return [line.strip() for line in read_lines(file) if line.strip()]
        for file in (place / "data.yaml", place / "data.yml"):
            if not file.is_file():
                continue
            _, _, rest = ("\n" + "".join(read_lines(file))).partition("\nnames:")
            if inline := re.match(r"\s*\[(.*?)\]", rest, re.DOTALL):
                found = inline[1].split(",")
            else:
                block = re.match(r"[^\n]*\n((?:[ \t]*(?:-|\d+[ \t]*:)[^\n]*\n?)*)", rest)
                found = re.findall(r"(?m)^[ \t]*(?:-|\d+[ \t]*:)(.*)$", block[1]) if block else []
            return [name.strip().strip("'\"") for name in found]
    return []


# Tables


def _table(
    path: Path,
    image_column: str | None,
    label_column: str | None,
    header: bool | None,
    encoding: str,
    one_class: str,
) -> RawAnnotations:
    """A box a row; the boxes of an image need not follow each other.

    A CSV or TSV whose first line names no columns has the image, left, top, right, bottom and possibly the label, as those of
    keras-retinanet.
    """
    table = open_image_table(path, header, encoding, ())
    image = find_image_column(table, image_column)
    lower = {column.lower(): column for column in table.columns}
    if "objects" in lower and not label_column:
        return _object_rows(table, image, lower["objects"], one_class)
    edges = box_columns(lower)
    corners = edges if edges in CORNERS else None
    label = find_label_column(table, label_column, required=False)
    if edges is None and not table.has_header:
        others = [column for column in table.columns if column not in (image, label)]
        label = others.pop() if label is None and len(others) == 5 else label
        if len(others) == 4:
            corners = edges = tuple(others)
            _log.info(
                Notice(
                    f"{path}: columns {', '.join(others)} are read as left, top, right and bottom of a box; with "
                    f"{setting('header', True)}, the first line names the columns"
                )
            )
    if edges is None:
        raise UserError(
            f"{path}: no columns of a box (such as xmin, ymin, xmax, ymax, or x, y, w, h) among {', '.join(map(repr, table.columns[:20]))}"
        )
    if label is None:
        _log.info(
            Notice(
                f"{path}: no column of labels, so all boxes are of one class; name it with {setting('label_column')}"
            )
        )
    # With a corner and sides, columns `width` and `height` are the box's.
    stated = [("image_width", "image_height"), *([("width", "height")] if corners else [])]
    sides = next((each for each in stated if lower.keys() >= set(each)), ())
    wanted = [image, *(lower[name] for name in (*edges, *sides)), *([label] if label else [])]
    names = table.class_names.get(label, ()) if label else ()
    rows: dict[object, list[tuple[str, list[float], str, list[float]]]] = {}
    images: dict[object, Any] = {}
    for number, values in table.rows(wanted):
        place = table.place(number)
        plain = isinstance(values[0], str) and bool(values[0].strip())
        key = values[0] if plain else number
        images.setdefault(key, values[0] if plain else image_value(values[0], None, place))
        found = rows.setdefault(key, [])
        empty = [value is MISSING or is_null(value) or value == "" for value in values[1:5]]
        if all(empty):
            found.append((place, [], "", []))
            continue
        box = [_number(value, place, name) for value, name in zip(values[1:5], edges, strict=True)]
        if not corners:
            box = [box[0], box[1], box[0] + box[2], box[1] + box[3]]
        size = [
            _number(value, place, side) for value, side in zip(values[5 : 5 + len(sides)], sides, strict=True)
        ]
        found.append((place, box, _label(values[-1], names, place) if label else one_class, size))
    # With corners, too, columns `width` and `height` may be the box's.
    every = [(box, size) for found in rows.values() for _, box, _, size in found if box and size]
    of_images = all(box[2] <= size[0] + 1 and box[3] <= size[1] + 1 for box, size in every)
    of_boxes = all(abs(box[i + 2] - box[i] - size[i]) <= 1 for box, size in every for i in (0, 1))
    if not of_images and not of_boxes:
        _log.warning("%s: columns %s and %s are ignored, because boxes reach beyond them", path, *sides)
    raw = []
    for key, found in rows.items():
        boxes, labels = [box for _, box, _, _ in found if box], [name for _, box, name, _ in found if box]
        first = next((size for _, _, _, size in found if size), None)
        size_here = (int(first[0]), int(first[1])) if first and of_images else None
        place = found[0][0]
        raw.append(RawImage(images[key], as_boxes(boxes, place), labels, place, size=_stated(size_here)))
    return RawAnnotations(raw)


def _object_rows(table: Table, image: str, column: str, one_class: str) -> RawAnnotations:
    """An image a row, and its boxes in a column of records, as data sets of the hub have them.

    The column `objects` has {"bbox": [[x, y, width, height], ...], "category": [...]}, or a list of records with one of each.
    """
    raw = []
    for number, (value, objects) in table.rows([image, column]):
        place = table.place(number)
        plain = isinstance(value, str) and bool(value.strip())
        name = value if plain else image_value(value, None, place)
        record = {} if objects is MISSING or objects is None else objects
        if isinstance(record, list):
            keys = {key for each in record if isinstance(each, dict) for key in each}
            record = {
                key: [each.get(key) if isinstance(each, dict) else None for each in record] for key in keys
            }
        boxes = record.get("bbox", []) if isinstance(record, dict) else None
        if not isinstance(record, dict) or not isinstance(boxes, list):
            raise UserError(f"{place}: {column!r} is not a record of lists 'bbox' and 'category'")
        edges = []
        for box in boxes:
            if not isinstance(box, (list, tuple)) or len(box) != 4:
                raise UserError(f"{place}: a 'bbox' is not a list of x, y, width and height")
            x, y, width, height = (_number(side, place, "a number of 'bbox'") for side in box)
            edges.append([x, y, x + width, y + height])
        key = next((key for key in _CATEGORIES if key in record), "")
        labels = record.get(key, [one_class] * len(boxes))
        if not isinstance(labels, list) or len(labels) != len(boxes):
            raise UserError(f"{place}: {len(boxes)} boxes, but not as many labels in {key!r}")
        names = table.class_names.get(f"{column}.{key}", ())
        found = [_label(label, names, place) for label in labels]
        raw.append(RawImage(name, as_boxes(edges, place), found, place))
    return RawAnnotations(raw)


def _label(value: object, names: Sequence[str], place: str) -> str:
    try:
        name = label_name(class_names(value, names) if names else value)
    except BadLabel as error:
        raise UserError(f"{place}: {error}") from None
    if not name:
        raise UserError(f"{place}: this box has no label")
    return name
