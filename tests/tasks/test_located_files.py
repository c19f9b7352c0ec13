"""Found boxes as lines, as tables that can be read again, and as pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from tests.tasks.rectangles import noise
from unfreeze.tasks.average_precision import Located
from unfreeze.tasks.located_files import Pictures, Row, boxes_line, boxes_table
from unfreeze.vision.annotations import read_boxes
from unfreeze.vision.drawing import COLORS, with_boxes
from unfreeze.vision.images import read_image


def row(image: str, *boxes: tuple[str, float, list[float]]) -> Row:
    sides = ("xmin", "ymin", "xmax", "ymax")
    found: list[dict[str, Any]] = [
        {"label": label, "score": score, "box": dict(zip(sides, box, strict=True))}
        for label, score, box in boxes
    ]
    return {"image": image, "boxes": found}


def test_a_line_for_people() -> None:
    one = row("a b.jpg", ("cat", 0.987, [1.4, 2, 30, 40]), ("dog", 0.5, [0, 0, 9, 9]))
    assert boxes_line(one) == "cat 0.99 (1, 2, 30, 40), dog 0.50 (0, 0, 9, 9)\ta b.jpg"
    del one["boxes"][1]["score"]
    assert boxes_line(one) == "cat 0.99 (1, 2, 30, 40), dog (0, 0, 9, 9)\ta b.jpg"
    assert boxes_line(row("empty.png")) == "-\tempty.png"


@pytest.mark.parametrize(("delimiter", "suffix"), [(",", ".csv"), ("\t", ".tsv")])
def test_a_table_is_read_again_as_annotations(tmp_path: Path, delimiter: str, suffix: str) -> None:
    generator, lines = np.random.default_rng(0), boxes_table(delimiter)
    for name in ("one, two.png", "none.png"):
        PIL.Image.fromarray(noise(generator, 40, 50)).save(tmp_path / name)
    rows = [row("one, two.png", ("cat", 0.9, [1.5, 2, 30, 40]), ("dog", 0.5, [3, 4, 9, 9])), row("none.png")]
    (tmp_path / f"boxes{suffix}").write_text("".join(map(lines, rows)))
    found = read_boxes(tmp_path / f"boxes{suffix}")
    assert [each.boxes.tolist() for each in found.examples] == [[[1.5, 2, 30, 40], [3, 4, 9, 9]], []]
    assert [each.labels for each in found.examples] == [("cat", "dog"), ()]


def test_a_table_of_boxes_without_scores() -> None:
    one = row("a.png", ("cat", 0.9, [1.5, 2, 30, 40]))
    del one["boxes"][0]["score"]
    assert boxes_table(",")(one).splitlines() == ["image,label,xmin,ymin,xmax,ymax", "a.png,cat,1.5,2,30,40"]


def test_a_box_is_drawn_along_its_edges() -> None:
    picture = np.full((60, 80, 3), 128, dtype=np.uint8)
    drawn = np.asarray(with_boxes(picture, np.array([[10.0, 20, 50, 45]])))
    color = [int(COLORS[0][place : place + 2], 16) for place in (1, 3, 5)]
    colored = (drawn == color).all(2)
    rows, columns = np.nonzero(colored)
    assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == (10, 20, 50, 45)
    assert not colored[30, 30] and (picture == 128).all()  # a frame, and the image itself is left alone
    at_top = np.asarray(with_boxes(picture, np.array([[10.0, 0, 50, 45]]), ["cat 0.9"], ["#00ff00"]))
    assert (at_top[1:12, 11:30] != 128).any() and with_boxes(picture, np.zeros((0, 4))).size == (80, 60)


def test_captions_of_boxes_that_begin_at_the_same_place_do_not_hide_each_other() -> None:
    picture = np.full((120, 160, 3), 128, dtype=np.uint8)
    boxes, colors = np.array([[20.0, 40, 120, 100]] * 3), ["#ff0000", "#00ff00", "#0000ff"]
    drawn = np.asarray(with_boxes(picture, boxes, ["cat 0.9"] * 3, colors))
    filled = [int((drawn == color).all(2).sum()) for color in ([255, 0, 0], [0, 255, 0], [0, 0, 255])]
    assert min(filled) > 200  # the captions; of the frames, only the last one is seen
    at = [np.nonzero((drawn == color).all(2))[0] for color in ([255, 0, 0], [0, 255, 0])]
    assert at[0].max() < 40 <= at[1].min()


def test_pictures_of_equal_names_are_numbered(tmp_path: Path) -> None:
    generator, pictures = np.random.default_rng(0), Pictures(tmp_path / "out" / "drawn")
    box = [4.0, 6, 30, 20]
    found = Located(np.array([box]), np.array([1]), np.array([0.5]))
    written = []
    for name in ("a/cat.jpg", "b/cat.JPEG", "a/cat.webp"):
        one = row(name, ("cat", 0.5, box))
        written.append(pictures.add(noise(generator, 40, 50), name, found, one))
    assert [path.name for path in written] == ["cat.jpg", "cat-2.jpg", "cat.png"]
    assert all(read_image(path).shape == (40, 50, 3) for path in written)
    color = [int(COLORS[1][place : place + 2], 16) for place in (1, 3, 5)]
    assert (read_image(written[2])[19, 29] == color).all()
