"""Files of boxes in all formats describe the same rectangles, and a damaged one is refused in one line."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import data_folder
from tests.vision.annotated import (
    IMAGES,
    coco,
    described,
    voc,
    write_coco,
    write_images,
    write_table,
    write_voc,
    write_yolo,
)
from tests.vision.hub import StubImage, stub_datasets
from unfreeze.errors import UserError
from unfreeze.vision.annotations import read_boxes
from unfreeze.vision.boxes import iou_matrix
from unfreeze.vision.images import ImageFile


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


@pytest.mark.parametrize(("sides", "said"), [("40,20", False), ("20,10", True), ("24,16", False)])
def test_sides_of_a_table_that_are_those_of_neither_images_nor_boxes_are_said_to_be_ignored(
    sides: str, said: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_images(tmp_path)
    (tmp_path / "boxes.csv").write_text(f"file,x1,y1,x2,y2,width,height\na.png,4,2,28,18,{sides}\n")
    (found,) = read_boxes(tmp_path / "boxes.csv").examples
    assert found.boxes.tolist() == [[4, 2, 28, 18]]
    assert ("columns width and height are ignored, because boxes reach beyond them" in caplog.text) is said


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
