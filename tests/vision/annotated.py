"""Three images with boxes, and their annotations in every format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from PIL import Image

from unfreeze.vision.annotations import BoxSet

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
