"""What is wrong with boxes and their images is mended and said, and sets of them."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.pretraining.numbered_texts import Recorder
from tests.vision.annotated import (
    IMAGES,
    described,
    voc,
    write_coco,
    write_voc,
)
from unfreeze.errors import UnknownLabel, UserError
from unfreeze.vision.annotations import located_set, read_boxes
from unfreeze.vision.images import image_size, read_image, upright_boxes, upright_size


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


def test_difficult_boxes_count_and_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    content = voc("a.png", 40, 20, [(4, 2, 24, 18, "cat"), (1, 1, 9, 9, "cat")])
    assert mended(tmp_path, caplog, content.replace("<part>", "<difficult>0</difficult><part>"))[1] == ""
    boxes, said = mended(tmp_path, caplog, content.replace("<part>", "<difficult>1</difficult><part>", 1))
    assert boxes == [[4, 2, 24, 18], [1, 1, 9, 9]]
    assert (
        "boxes marked as difficult, which count as the others do, unlike in VOC's own evaluation: 1," in said
    )


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
    # Of a table, which may hold one of several parts, nothing is said of the other images.
    caplog.clear()
    (folder / "JPEGImages" / "part.csv").write_text("file,label,x1,y1,x2,y2\na.png,cat,1,2,3,4\n")
    with caplog.at_level(logging.INFO, "unfreeze"):
        assert len(read_boxes(folder / "JPEGImages" / "part.csv")) == 1 and not caplog.messages
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


def test_damaged_images_can_be_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = write_voc(tmp_path)
    bad = folder / "JPEGImages/b.png"
    whole = bad.read_bytes()
    for content, reason in ((whole[:45], "truncated or damaged"), (b"", "the file is empty")):
        bad.write_bytes(content)
        with pytest.raises(UserError, match=rf"{reason}.*; skip_damaged=True leaves damaged images out"):
            for image in read_boxes(folder).inputs():
                read_image(image)
        caplog.clear()
        assert described(read_boxes(folder, skip_damaged=True)) == [IMAGES[0], IMAGES[2]]
        (said,) = caplog.messages
        assert (
            said.startswith(f"{folder}: 1 of 3 images are damaged and left out: {bad}: ") and reason in said
        )


def test_the_search_for_damaged_images_is_seen(tmp_path: Path) -> None:
    seen = Recorder()
    folder = write_voc(tmp_path)
    read_boxes(folder, progress=seen)
    assert seen.steps == []
    read_boxes(folder, skip_damaged=True, progress=seen)
    assert seen.steps == [1, 1, 1]
