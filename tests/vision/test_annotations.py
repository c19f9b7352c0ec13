"""Boxes in all formats describe the same rectangles, and what is wrong with them is mended and said."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.conftest import data_folder
from tests.vision.hub import StubImage, stub_datasets
from unfreeze.errors import UnknownLabel, UserError
from unfreeze.vision.annotations import BoxSet, located_set, read_boxes
from unfreeze.vision.boxes import iou_matrix
from unfreeze.vision.images import ImageFile, image_size, read_image, upright_boxes, upright_size

# Name, width and height of the images, and their boxes: left, top, right, bottom, label.
IMAGES: list[tuple[str, int, int, list[tuple[int, int, int, int, str]]]] = [
    ("a.png", 40, 20, [(4, 2, 24, 18, "cat"), (30, 0, 40, 10, "dog")]),
    ("b.png", 20, 30, [(0, 0, 20, 30, "dog")]),
    ("c.png", 10, 10, []),
]


def write_images(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, width, height, _ in IMAGES:
        Image.new("RGB", (width, height)).save(folder / name)
    return folder


def voc(name: str, width: int, height: int, boxes: Any, more: str = "") -> str:
    objects = "".join(
        f"<object><name>{label}</name><part><name>head</name><bndbox><xmin>1</xmin></bndbox></part><bndbox><xmin>{x + 1}</xmin>"
        f"<ymin>{y + 1}</ymin><xmax>{right}</xmax><ymax>{bottom}</ymax></bndbox></object>"
        for x, y, right, bottom, label in boxes
    )
    size = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
    return f"{more}<annotation><filename>{name}</filename>{size}{objects}</annotation>"


def write_voc(folder: Path) -> Path:
    write_images(folder / "JPEGImages")
    (folder / "Annotations").mkdir()
    for name, width, height, boxes in IMAGES:
        (folder / "Annotations" / f"{name[:-4]}.xml").write_text(voc(name, width, height, boxes))
    return folder


def coco(**changes: Any) -> dict[str, Any]:
    ids = {"cat": 3, "dog": 90}
    annotations = [
        {
            "id": 1,
            "image_id": 7 + i,
            "category_id": ids[label],
            "bbox": [x, y, right - x, bottom - y],
            "iscrowd": 0,
        }
        for i, (_, _, _, boxes) in enumerate(IMAGES)
        for x, y, right, bottom, label in boxes
    ]
    content = {
        "images": [
            {"id": 7 + i, "file_name": name, "width": w, "height": h}
            for i, (name, w, h, _) in enumerate(IMAGES)
        ],
        "annotations": annotations,
        "categories": [{"id": number, "name": name} for name, number in ids.items()],
    }
    return {**content, **changes}


def write_coco(folder: Path) -> Path:
    write_images(folder / "images")
    (folder / "annotations").mkdir()
    path = folder / "annotations" / "instances.json"
    path.write_text(json.dumps(coco(), indent=1))
    return path


def write_yolo(folder: Path) -> Path:
    write_images(folder / "images")
    (folder / "labels").mkdir()
    (folder / "data.yaml").write_text("path: x\nnames:\n  0: dog\n  1: 'cat'\nnc: 2\n")
    for name, w, h, boxes in IMAGES:
        lines = [
            f"{int(label == 'cat')} {(x + r) / 2 / w} {(y + b) / 2 / h} {(r - x) / w} {(b - y) / h}\n"
            for x, y, r, b, label in boxes
        ]
        (folder / "labels" / f"{name[:-4]}.txt").write_text("".join(lines))
    return folder


def write_table(folder: Path, style: str) -> Path:
    write_images(folder)
    header, form, empty = {
        "tensorflow": (
            "filename,width,height,class,xmin,ymin,xmax,ymax",
            "{name},{w},{h},{label},{x},{y},{r},{b}",
            "{name},{w},{h},,,,,",
        ),
        "sides": ("image,label,x,y,w,h", "{name},{label},{x},{y},{bw},{bh}", "{name},,,,,"),
        "pets": (
            "image_name,breed,xmin,ymin,xmax,ymax,width,height,image_width,image_height",
            "{stem},{label},{x},{y},{r},{b},{bw},{bh},{w},{h}",
            "{stem},,,,,,,,{w},{h}",
        ),
        "box sizes": (
            "file,label,x1,y1,x2,y2,width,height",
            "{name},{label},{x},{y},{r},{b},{bw},{bh}",
            "{name},,,,,,,",
        ),
    }[style]
    rows = []
    for name, w, h, boxes in IMAGES:
        values = [
            {"x": x, "y": y, "r": r, "b": b, "bw": r - x, "bh": b - y, "label": label}
            for x, y, r, b, label in boxes
        ]
        rows += [form.format(name=name, stem=name[:-4], w=w, h=h, **each) for each in values]
        rows += [] if boxes else [empty.format(name=name, stem=name[:-4], w=w, h=h)]
    path = folder / "boxes.csv"
    path.write_text(
        "\n".join([header, rows[0], *rows[2:], rows[1]])
    )  # the boxes of an image need not be in a row
    return path


def described(found: BoxSet) -> list[Any]:
    """As IMAGES."""
    return [
        (
            each.input.path.name,
            *each.size,
            [(*map(int, box.round()), label) for box, label in zip(each.boxes, each.labels, strict=True)],
        )
        for each in found.examples
    ]


@pytest.mark.parametrize(
    ("write", "options"),
    [
        (write_voc, {}),
        (write_coco, {}),
        (write_yolo, {}),
        (lambda folder: write_table(folder, "tensorflow"), {}),
        (lambda folder: write_table(folder, "sides"), {}),
        (lambda folder: write_table(folder, "pets"), {"label_column": "breed"}),
        (lambda folder: write_table(folder, "box sizes"), {}),
    ],
)
def test_formats_agree(write: Any, options: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    found = read_boxes(write(tmp_path), **options)
    assert described(found) == IMAGES
    for each, (_, _, _, boxes) in zip(found.examples, IMAGES, strict=True):
        np.testing.assert_allclose(each.boxes, np.array([box[:4] for box in boxes]).reshape(-1, 4), atol=1e-9)
    assert found.label_names == ("cat", "dog") and len(found) == 3
    assert caplog.messages == []
    assert [each.number for each in found.examples] == [0, 1, 2]
    assert all(isinstance(found.place(number), str) for number in range(3))


def mended(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: str, size: tuple[int, int] = (40, 20)
) -> tuple[Any, str]:
    Image.new("RGB", size).save(tmp_path / "a.png")
    (tmp_path / "a.xml").write_text(content)
    caplog.clear()
    with caplog.at_level(logging.INFO, "unfreeze"):
        found = read_boxes(tmp_path / "a.xml")
    assert len(caplog.messages) <= 1
    return found.examples[0].boxes.tolist(), "".join(caplog.messages).replace(str(tmp_path), "")


def test_boxes_are_mended(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def one(*boxes: tuple[float, ...], width: int = 40, height: int = 20) -> tuple[Any, str]:
        return mended(tmp_path, caplog, voc("a.png", width, height, [(*box, "cat") for box in boxes]))

    boxes, said = one((30, 10, 50, 25), (4, 2, 8, 8))
    assert boxes == [[30, 10, 40, 20], [4, 2, 8, 8]]
    assert said == "/a.xml: boxes cut off at the edges of their image: 1, the first is /a.xml"
    assert one((-1, -1, 40, 20)) == ([[0, 0, 40, 20]], "")  # counted from 0
    boxes, said = one((4, 30, 6, 38), (50, 2, 60, 9), (4, 2, 8, 8))
    assert boxes == [[4, 2, 8, 8]] and "boxes left out because they have no area in their image: 2" in said
    # Right and left exchanged: VOC's 9 to 5 are the pixels 5 to 9.
    boxes, said = one((8, 2, 5, 8))
    assert boxes == [[4, 2, 9, 8]] and "boxes with exchanged corners, which are put in order: 1" in said
    boxes, said = one((8, 4, 16, 16), width=80, height=40)
    assert boxes == [[4, 2, 8, 8]] and "annotations of images of another size, whose boxes are scaled" in said
    boxes, said = one((8, 4, 16, 16), width=80, height=80)
    assert boxes == [[8, 4, 16, 16]] and "whose boxes are taken as they are" in said
    assert one((8, 4, 16, 16), width=0, height=0) == ([[8, 4, 16, 16]], "")  # unknown to the tool


@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize("shape", [(20, 40), (30, 30)])
def test_boxes_of_an_image_that_exif_turns(
    shape: tuple[int, int], orientation: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pixels = np.zeros((*shape, 3), dtype=np.uint8)
    pixels[2:8, 4:14] = 255  # 10 wide and 6 high
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    stored, said = (shape[1], shape[0]), "images turned or mirrored by their EXIF data, whose boxes are taken"

    turned = upright_boxes(np.array([[4.0, 2, 14, 8]]), stored, orientation)
    ((left, top, right, bottom),) = turned.astype(int)
    upright = read_image(tmp_path / "a.png")
    assert image_size(tmp_path / "a.png") == upright_size(stored, orientation) == upright.shape[1::-1]
    assert (upright[top:bottom, left:right] == 255).all() and upright.sum() == 10 * 6 * 3 * 255

    def read(size: tuple[int, int], *box: int) -> Any:
        (tmp_path / "a.xml").write_text(voc("a.png", *size, [(*box, "cat")]))
        caplog.clear()
        (example,) = read_boxes(tmp_path / "a.xml").examples
        assert example.size == upright.shape[1::-1]
        return example.boxes

    is_swapped = orientation > 4 and shape[0] != shape[1]
    if is_swapped:  # the size tells that the boxes are those of the pixels as they are stored
        np.testing.assert_array_equal(read(stored, 4, 2, 14, 8), turned)
        assert "images turned by their EXIF data, and their boxes with them" in caplog.text
    # Annotated upright, as most tools do. Where the size does not tell, this is said.
    np.testing.assert_array_equal(read(upright.shape[1::-1], left, top, right, bottom), turned)
    assert (said in caplog.text) is not is_swapped
    np.testing.assert_array_equal(read((0, 0), left, top, right, bottom), turned)
    assert said in caplog.text
    (tmp_path / "a.xml").write_text(voc("a.png", 0, 0, [(4, 2, 14, 8, "cat")]))
    Image.fromarray(pixels).save(tmp_path / "a.png")
    caplog.clear()
    read_boxes(tmp_path / "a.xml")
    assert caplog.messages == []


def test_images_without_annotation_and_the_other_way_round(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write_voc(tmp_path)
    (folder / "JPEGImages" / "b.png").rename(folder / "JPEGImages" / "z.png")
    with caplog.at_level(logging.INFO, "unfreeze"):
        found = read_boxes(folder)
    assert [name for name, *_ in described(found)] == ["a.png", "c.png"]
    assert caplog.messages == [
        f"{folder}: annotations left out because their images do not exist: 1, the first is {folder / 'Annotations/b.xml'} (b.png)",
        f"{folder}: images left out because they have no annotation: 1, the first is {folder / 'JPEGImages/z.png'}",
    ]
    # A file that was renamed with its annotation is found by the annotation's name.
    (folder / "Annotations" / "b.xml").rename(folder / "Annotations" / "z.xml")
    assert [name for name, *_ in described(read_boxes(folder))] == ["a.png", "c.png", "z.png"]
    with pytest.raises(
        UserError, match=r"none of the 3 images is found, such as a\.png: name their folder with images"
    ):
        read_boxes(folder, images=folder / "Annotations")
    with pytest.raises(UserError, match="no such folder of images"):
        read_boxes(folder, images=folder / "none")
    (folder / "JPEGImages" / "a.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"a\.png: the file is empty"):
        read_boxes(folder)


def test_coco_crowds_and_strangers(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write_coco(tmp_path)
    content = coco()
    content["annotations"] += [
        {
            "image_id": 7,
            "category_id": 3,
            "bbox": [1, 1, 5, 5],
            "iscrowd": 1,
            "segmentation": {"counts": [1], "size": [2, 2]},
        },
        {"image_id": 999, "category_id": 3, "bbox": [1, 1, 5, 5]},
        {"image_id": 998, "category_id": 3, "bbox": [1, 1, 5, 5]},
    ]
    path.write_text(json.dumps(content))
    assert described(read_boxes(path)) == IMAGES
    assert [message.removeprefix(f"{path}: ") for message in caplog.messages] == [
        f"annotations of crowds left out: 1, the first is {path}: annotations[3]",
        f"annotations left out because the file does not list their image: 2, the first is {path}: annotations[4]",
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": {}}, "no list 'images' in it"),
        ({"categories": None}, "no list 'categories'"),
        ({"images": [{"id": 7}]}, r"images\[0\] has no 'file_name'"),
        ({"images": [3]}, r"images\[0\] has no 'id'"),
        ({"images": [{"id": 7, "file_name": "a.png"}] * 2}, "two images have the id 7"),
        ({"images": []}, "no image in it"),
        ({"categories": [{"id": 3, "name": "cat"}]}, r"annotations\[1\]: no category has the id 90"),
        ({"annotations": [{"image_id": 7, "category_id": 3}]}, r"annotations\[0\]: 'bbox' is not a list"),
        ({"annotations": [{"image_id": [7], "category_id": 3}]}, r"annotations\[0\] has no 'image_id'"),
        (
            {"annotations": [{"image_id": 7, "category_id": 3, "bbox": [1, 2, None, 4]}]},
            "a number of 'bbox' is missing",
        ),
        (
            {"annotations": [{"image_id": 7, "category_id": 3, "bbox": [1, 2, "x", 4]}]},
            "is 'x', not a number",
        ),
        ({"annotations": [{"image_id": 7, "category_id": 3, "bbox": [1, 2, 10**400, 4]}]}, "not a number"),
    ],
)
def test_bad_coco(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = write_coco(tmp_path)
    path.write_text(json.dumps(coco(**changes)))
    with pytest.raises(UserError, match=message) as caught:
        read_boxes(path)
    assert str(path) in str(caught.value)


BOMB = '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]>'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (voc("a.png", 40, 20, [], BOMB), "it declares a document type"),
        ("<annotation><object>", r"a\.xml:1: not XML: no element found"),
        ("", "not XML"),
        ("no", "not XML"),
        ("<svg></svg>", "its root is <svg>, not <annotation>"),
        (voc("a.png", 40, 20, [(1, 2, 3, 4, "")]), r"a\.xml, object 1: it has no <name>"),
        (voc("a.png", 40, 20, [(1, 2, "x", 4, "cat")]), r"object 1: <xmax> is 'x', not a number"),
        (voc("a.png", 40, 20, [(1, 2, "nan", 4, "cat")]), "<xmax> is 'nan', not a number"),
        ("<annotation><object><name>cat</name></object></annotation>", "<xmin> is missing, not a number"),
    ],
)
def test_bad_voc(content: str, message: str, tmp_path: Path) -> None:
    write_images(tmp_path)
    (tmp_path / "a.xml").write_text(content)
    for path in (tmp_path, tmp_path / "a.xml"):
        with pytest.raises(UserError, match=message):
            read_boxes(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("0 0.5 0.5 0.2\n", r"a\.txt:1: 4 numbers"),
        ("\n0 0.5 0.5 x 0.1\n", r"a\.txt:2: a number of the box is 'x'"),
        ("5 0.5 0.5 0.1 0.1\n", "the class is '5', not a number below 2"),
        ("cat 0.5 0.5 0.1 0.1\n", "the class is 'cat'"),
    ],
)
def test_bad_yolo(content: str, message: str, tmp_path: Path) -> None:
    folder = write_yolo(tmp_path)
    (folder / "labels" / "a.txt").write_text(content)
    with pytest.raises(UserError, match=message):
        read_boxes(folder)


def test_names_of_yolo_classes(tmp_path: Path) -> None:
    folder = write_yolo(tmp_path)
    for content in (
        "names: [dog, 'cat']\n",
        'nc: 2\nnames:\n- dog\n- "cat"\n',
        "train: x\nnames: ['dog',\n  'cat']\n",
    ):
        (folder / "data.yaml").write_text(content)
        assert described(read_boxes(folder)) == IMAGES
    (folder / "data.yaml").unlink()
    assert read_boxes(folder).label_names == ("0", "1")
    (folder / "labels" / "classes.txt").write_text("dog\ncat\n")
    assert described(read_boxes(folder / "labels")) == IMAGES


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("file,label\na.png,cat\n", "no columns of a box"),
        ("a.png,1,2,3\n", "no columns of a box"),
        ("a.png,1,2,3,x,cat\n", r"boxes\.csv:1: 5 is 'x', not a number"),
        ("file,label,x1,y1,x2,y2\na.png,cat,1,2,x,4\n", r"boxes\.csv:2: x2 is 'x', not a number"),
        ("file,label,x1,y1,x2,y2\na.png,cat,1,2,,4\n", r"boxes\.csv:2: x2 is '', not a number"),
        ("file,label,x1,y1,x2,y2\na.png,,1,2,3,4\n", r"boxes\.csv:2: this box has no label"),
        ("file,label,x1,y1,x2,y2\n,cat,1,2,3,4\n", "nothing where the file of an image is expected"),
        ("file,label,x1,y1,x2,y2\n", "no image in it"),
        ("file,label,x1,y1,x2,y2\nz.png,cat,1,2,3,4\n", "none of the 1 images is found, such as z.png"),
    ],
)
def test_bad_tables(content: str, message: str, tmp_path: Path) -> None:
    write_images(tmp_path)
    (tmp_path / "boxes.csv").write_text(content)
    with pytest.raises(UserError, match=message):
        read_boxes(tmp_path / "boxes.csv")


@pytest.mark.parametrize("separator", [",", "\t"])
@pytest.mark.parametrize("labels", [("dog", "cat"), ()])
def test_tables_without_a_header(
    separator: str, labels: tuple[str, ...], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    write_images(tmp_path)
    first, second = (labels[:1], labels[1:]) if labels else ((), ())
    lines = [("a.png", "1", "2", "3", "4", *first), ("a.png", "2", "2", "5", "4.5", *second)]
    lines += [("b.png", "", "", "", "", *("",) * len(first))]
    path = tmp_path / ("boxes.csv" if separator == "," else "boxes.tsv")
    path.write_text("".join(separator.join(line) + "\n" for line in lines))
    found = read_boxes(path)
    assert [each.boxes.tolist() for each in found.examples] == [[[1, 2, 3, 4], [2, 2, 5, 4.5]], []]
    assert found.examples[0].labels == (labels or ("object", "object"))
    assert "columns 2, 3, 4, 5 are read as left, top, right and bottom of a box" in caplog.text
    with pytest.raises(UserError, match="column"):
        read_boxes(path, header=True)
    named = tmp_path / "named.csv"
    named.write_text("image,x1,y1,x2,y2\na.png,1,2,3,4\n")
    with pytest.raises(UserError, match="image_column"):
        read_boxes(named, header=False)


def test_without_labels_there_is_one_class(tmp_path: Path) -> None:
    write_images(tmp_path)
    (tmp_path / "boxes.jsonl").write_text(
        '{"file": "a.png", "left": 1, "top": 2, "right": 3.5, "bottom": 9}\n'
    )
    found = read_boxes(tmp_path / "boxes.jsonl")
    assert found.label_names == ("object",) and found.examples[0].boxes.tolist() == [[1, 2, 3.5, 9]]


def objects(boxes: list[Any], in_list: bool) -> Any:
    records = [{"bbox": [x, y, r - x, b - y], "category": label} for x, y, r, b, label in boxes]
    return records if in_list else {key: [each[key] for each in records] for key in ("bbox", "category")}


@pytest.mark.parametrize("in_list", [False, True])
def test_a_column_of_objects(in_list: bool, tmp_path: Path) -> None:
    write_images(tmp_path)
    rows = [{"file_name": name, "objects": objects(boxes, in_list)} for name, _, _, boxes in IMAGES]
    path = tmp_path / "metadata.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    assert described(read_boxes(path)) == IMAGES
    for wrong, message in [
        (3, "'objects' is not a record"),
        ({"bbox": [[1, 2, 3]]}, "a 'bbox' is not a list of x"),
        ({"bbox": [[1, 2, 3, "x"]]}, "a number of 'bbox' is 'x'"),
        ({"bbox": [[1, 2, 3, 4]], "category": []}, "1 boxes, but not as many labels in 'category'"),
        ({"bbox": [[1, 2, 3, 4]], "label": [None]}, "this box has no label"),
    ]:
        path.write_text(json.dumps({"file_name": "a.png", "objects": wrong}))
        with pytest.raises(UserError, match=message):
            read_boxes(path)


def test_boxes_of_the_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write_images(tmp_path)
    ids = {"cat": 1, "dog": 0}
    records = []
    for name, _, _, boxes in IMAGES:
        numbered = [(*box, ids[label]) for *box, label in boxes]
        records.append({"image": (tmp_path / name).read_bytes(), "objects": objects(numbered, in_list=False)})
    category = SimpleNamespace(feature=SimpleNamespace(names=["dog", "cat"]))
    features = {"image": StubImage(), "objects": {"bbox": object(), "category": category}}
    stub_datasets(monkeypatch, records, features)
    found = read_boxes("hf:owner/boxes")
    assert [each[1:] for each in described(found)] == [each[1:] for each in IMAGES]


def test_what_is_no_annotation(tmp_path: Path) -> None:
    write_images(tmp_path)
    for name, message in [
        (".", "neither VOC's .xml nor YOLO's .txt"),
        ("none", "no such file or folder"),
        ("a.png", "not VOC's XML, COCO's JSON or a table"),
        ("none.csv", "no such file"),
        ("none.json", "no such file"),
    ]:
        with pytest.raises(UserError, match=message):
            read_boxes(tmp_path / name)
    for name, content in (
        ("results.json", [{"image_id": 1, "bbox": [1, 2, 3, 4]}]),
        ("other.json", {"info": 1}),
    ):
        (tmp_path / name).write_text(json.dumps(content, indent=1))
        with pytest.raises(UserError, match=f"{name}: neither COCO's annotations"):
            read_boxes(tmp_path / name)
    (tmp_path / "coco.json").write_text(json.dumps(coco()))
    with pytest.raises(UserError, match="only tables"):
        read_boxes(tmp_path / "coco.json", label_column="name")
    (tmp_path / "broken.json").write_text('{"images": [')
    with pytest.raises(UserError, match=r"broken\.json:1"):
        read_boxes(tmp_path / "broken.json")


def test_a_class_that_training_lacks(tmp_path: Path) -> None:
    folder = write_voc(tmp_path)
    with pytest.raises(UnknownLabel, match=r"a\.xml: the label 'dog', which is not in the training data"):
        read_boxes(folder, known_labels=["cat"])
    assert read_boxes(folder, known_labels=["cat"], unknown_labels="wrong").label_names == ("cat", "dog")


def test_sets_of_boxes(tmp_path: Path) -> None:
    found = read_boxes(write_voc(tmp_path))
    (tmp_path / "coco").mkdir()
    assert read_boxes(write_coco(tmp_path / "coco")).digest() == found.digest()
    assert found.subset(found.examples[:2]).digest() != found.digest()
    largest = found.largest_boxes()
    assert described(largest) == [(*IMAGES[0][:3], IMAGES[0][3][:1]), IMAGES[1]]
    orders = [[each.number for each in found.sample(count, seed=3).examples] for count in (1, 2, 3)]
    assert orders[2][:2] == orders[1] and orders[1][:1] == orders[0]
    with pytest.raises(UserError, match="holds 3 images, not 4"):
        found.sample(4, seed=0)


def test_boxes_in_memory(caplog: pytest.LogCaptureFixture) -> None:
    images = np.zeros((2, 20, 40, 3), dtype=np.uint8)
    one = located_set(images, np.array([[1, 2, 3, 4], [5, 6, 70, 8]]))
    assert [each.boxes.tolist() for each in one.examples] == [[[1, 2, 3, 4]], [[5, 6, 40, 8]]]
    assert one.label_names == ("object",)
    assert caplog.messages == [
        "the given images: boxes cut off at the edges of their image: 1, the first is y[1]"
    ]
    several = located_set(list(images), [{"boxes": [[1, 2, 3, 4]], "labels": ["cat"]}, []])
    assert several.examples[0].labels == ("cat",) and several.examples[1].boxes.shape == (0, 4)
    assert several.digest() != one.digest()
    numbers = located_set(
        list(images),
        [{"boxes": [1, 2, 3, 4], "labels": np.array([10])}, {"boxes": [1, 2, 3, 4], "labels": [9]}],
    )
    assert numbers.label_names == ("9", "10")
    for y, message in [
        ([[1, 2, 3, 4]], "2 images and boxes for 1"),
        ([[1, 2, 3], [1, 2, 3, 4]], r"y\[0\]: boxes are"),
        ([{"boxes": [1, 2, 3, 4], "labels": []}, []], r"y\[0\]: 1 boxes and 0 labels"),
        ([{"boxes": [1, 2, 3, 4], "labels": [None]}, []], r"y\[0\]: 1 boxes and 0 labels"),
        ([{"box": [1, 2, 3, 4]}, []], r'y\[0\] is a dict without "boxes"'),
        ("ab", "boxes come in a list"),
    ]:
        with pytest.raises(UserError, match=message):
            located_set(list(images), y)
    with pytest.raises(UserError, match="no such file"):
        located_set(["none.png"], [[1, 2, 3, 4]])


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(["a.xml", "coco.json", "boxes.csv", "labels/a.txt", "data.yaml"]), data=st.data())
def test_damaged_annotations_are_read_or_refused(name: str, data: st.DataObject, tmp_path: Path) -> None:
    if not (tmp_path / "coco.json").exists():
        write_yolo(tmp_path)
        write_table(tmp_path / "images", "pets").rename(tmp_path / "boxes.csv")
        (tmp_path / "coco.json").write_text(json.dumps(coco()))
        (tmp_path / "a.xml").write_text(voc(*IMAGES[0]))
    path = tmp_path / name
    content = path.read_bytes()
    damaged = bytearray(content)
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(content) - 1))] = data.draw(
            st.sampled_from(b'\x00 "<>,:[]{}-19ea\xff\n')
        )
    path.write_bytes(damaged)
    try:
        found = read_boxes(tmp_path if path.suffix in (".txt", ".yaml") else path, tmp_path / "images")
    except UserError as error:
        assert str(tmp_path) in str(error) and "\n" not in str(error)
    else:
        assert all(np.isfinite(each.boxes).all() for each in found.examples)
    finally:
        path.write_bytes(content)


def test_raccoons() -> None:
    folder = data_folder("raccoon")
    found = read_boxes(folder)
    assert len(found) == 200 and sum(len(each.boxes) for each in found.examples) == 217
    assert found.label_names == ("raccoon",)
    table = read_boxes(folder / "data/raccoon_labels.csv")
    by_name = {each.input.path.name: each.boxes for each in table.examples}
    for each in found.examples:  # the table has VOC's numbers, which are not edges
        boxes = by_name[each.input.path.name]
        assert len(boxes) == len(each.boxes)
        assert iou_matrix(boxes, each.boxes).max(1).min() > 0.9


def test_pets() -> None:
    folder = data_folder("oxford-pets")
    annotations, images = folder / "sample_annotations", folder / "sample_images"
    table = read_boxes(annotations / "csv/bboxes.csv", images, label_column="species")
    assert len(table) == 370 and table.label_names == ("cat", "dog")
    boxes = {each.input.path.name: each.boxes for each in table.examples}
    for source in ("coco/annotations/instances_sample.json", "yolo/detection"):
        found = read_boxes(annotations / source, images)
        assert len(found) == 370 and found.label_names == ("pet",)
        for each in found.examples:
            np.testing.assert_allclose(each.boxes, boxes[each.input.path.name], atol=0.01)
    assert all(isinstance(each.input, ImageFile) for each in found.examples)
