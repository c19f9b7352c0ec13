"""Labeled images from folders, tables, HDF5 and the hub."""

from __future__ import annotations

import io
import json
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pytest
from PIL import Image

from tests.conftest import data_folder
from tests.vision.hub import StubImage, stub_datasets
from unfreeze.datasets.dataset import labeled_set
from unfreeze.errors import UnknownLabel, UserError
from unfreeze.vision.images import ImageFile, read_image
from unfreeze.vision.labeled_images import is_images, read_images


def write_image(path: Path, color: str = "red") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (6, 4), color).save(path)
    return path


def png(color: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (6, 4), color).save(buffer, "PNG")
    return buffer.getvalue()


def labels(found: Any) -> list[str]:
    return ["".join(each.labels) for each in found.examples]


def test_a_folder_per_class(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("dog/2.jpg", "dog/1.PNG", "cat/x.jpeg", ".hidden/a.jpg"):
        write_image(tmp_path / name)
    for name in ("dog/Thumbs.db", "dog/.DS_Store", "cat/notes.txt", "readme.md"):
        (tmp_path / name).write_text("not an image")
    (tmp_path / "bird").mkdir()
    assert is_images(tmp_path)
    found = read_images(tmp_path)
    assert found.label_names == ("cat", "dog") and labels(found) == ["cat", "dog", "dog"]
    assert [str(each) for each in found.inputs()] == [
        str(tmp_path / n) for n in ("cat/x.jpeg", "dog/1.PNG", "dog/2.jpg")
    ]
    assert found.place(found.examples[2].number) == str(tmp_path / "dog/2.jpg")
    assert read_image(found.inputs()[0]).shape == (4, 6, 3)
    assert caplog.messages == [
        f"{tmp_path}: folders without images, which are no classes: 'bird'",
        f"{tmp_path}: files that are not read: 1 of other kinds (.txt)",
    ]


def test_folders_that_are_no_classes(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file or folder"):
        read_images(tmp_path / "none")
    write_image(tmp_path / "flat/1.png")
    with pytest.raises(UserError, match="no folder per class"):
        read_images(tmp_path / "flat")
    for name in ("train/cat/1.png", "train/dog/1.png", "test/cat/1.png"):
        write_image(tmp_path / "data" / name)
    with pytest.raises(UserError, match=r"data/test holds folders of images \(cat\) and no image"):
        read_images(tmp_path / "data")
    write_image(tmp_path / "deep/cat/inner/1.png")
    with pytest.raises(UserError, match=r"deep/cat holds folders of images \(inner\) and no image"):
        read_images(tmp_path / "deep")
    (tmp_path / "empty/cat").mkdir(parents=True)
    with pytest.raises(UserError, match=r"no image in the folders of its classes \(cat\)"):
        read_images(tmp_path / "empty")


def test_a_class_that_training_lacks(tmp_path: Path) -> None:
    write_image(tmp_path / "cat/1.png")
    write_image(tmp_path / "fox/1.png")
    with pytest.raises(UnknownLabel, match=r"fox/1\.png: the label 'fox', which is not in the training data"):
        read_images(tmp_path, known_labels=["cat", "dog"])
    assert labels(read_images(tmp_path, known_labels=["cat"], unknown_labels="wrong")) == ["cat", "fox"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("pets.csv", "file,label\nsome/1.png,cat\n2.png,dog\n"),
        ("pets.csv", "some/1.png,cat\n2.png,dog\n"),
        ("pets.csv", '"some/1.png";"cat"\n"2.png";"dog"\n'),
        ("pets.csv", "breed,image_name,split\ncat,1,train\ndog,2.png,train\n"),
        ("pets.tsv", "class\tpath\ncat\tsome\\1.png\ndog\t2.png\n"),
        ("pets.jsonl", '{"image": "1.png", "label": "cat"}\n{"image": "elsewhere/2.png", "label": "dog"}\n'),
    ],
)
@pytest.mark.parametrize("where", ["beside", "named"])
def test_tables(name: str, content: str, where: str, tmp_path: Path) -> None:
    folder = tmp_path / ("images" if where == "beside" else "photos/deep")
    write_image(folder / ("some/1.png" if "some" in content else "1.png"))
    write_image(folder / "2.png")
    (tmp_path / name).write_text(content)
    options: dict[str, Any] = {"label_column": "breed"} if "breed" in content else {}
    if where == "named":
        options["images"] = tmp_path / "photos"
    found = read_images(tmp_path / name, **options)
    assert labels(found) == ["cat", "dog"]
    assert [each.path.name for each in found.inputs()] == ["1.png", "2.png"]
    assert "breed" in content or is_images(tmp_path / name)


def test_bad_tables(tmp_path: Path) -> None:
    table = tmp_path / "pets.csv"
    write_image(tmp_path / "1.png")

    def message(content: str, **options: Any) -> str:
        table.write_text(content)
        with pytest.raises(UserError) as caught:
            read_images(table, **options)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert message("file,label\n1.png,cat\n2.png,cat\n") == (
        f"{table}:3: no such image: '2.png'; name the folder of the images with images"
    )
    assert "pets.csv:2: nothing where the file of an image" in message("file,label\n,cat\n")
    assert "pets.csv:2: this image has no label; skip_unlabeled=True" in message("file,label\n1.png,\n")
    assert "none of its 1 images has a label" in message("file,label\n1.png,\n", skip_unlabeled=True)
    assert "no label column" in message("file,size\n1.png,3\n")
    assert "no image column" in message("where,label\n1.png,3\n")
    assert "no column 'kind' for label_column" in message("file,label\n1.png,3\n", label_column="kind")
    assert "no such folder of images" in message("file,label\n1.png,3\n", images=tmp_path / "none")
    for name in ("a/1.png", "b/1.png"):
        write_image(tmp_path / "deep" / name)
    assert "could both be the image '1.png'" in message("file,label\n1.png,3\n", images=tmp_path / "deep")
    table.write_text("file,label\nb/1.png,3\n")
    assert read_images(table, images=tmp_path / "deep").inputs()[0].path.parent.name == "b"


def test_names_from_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_image(tmp_path / "photos/1.png")
    (tmp_path / "tables/new").mkdir(parents=True)
    (tmp_path / "tables/new/t.csv").write_text("file,label\nphotos/1.png,cat\n")
    with pytest.raises(UserError, match="no such image"):
        read_images(tmp_path / "tables/new/t.csv")
    monkeypatch.chdir(tmp_path)
    assert len(read_images(tmp_path / "tables/new/t.csv")) == 1


def test_missing_labels_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_image(tmp_path / "1.png")
    (tmp_path / "t.csv").write_text("file,label\n1.png,\n1.png,cat\n")
    with caplog.at_level(logging.INFO, "unfreeze"):
        assert labels(read_images(tmp_path / "t.csv", skip_unlabeled=True)) == ["cat"]
    assert "1 of 2 images have no label and are left out" in caplog.text
    assert labels(read_images(tmp_path / "t.csv", labels_required=False)) == ["", "cat"]


def test_several_labels(tmp_path: Path) -> None:
    write_image(tmp_path / "1.png")
    (tmp_path / "t.csv").write_text("file,label\n1.png,cat|indoors\n1.png,dog\n")
    found = read_images(tmp_path / "t.csv", multi_label=True)
    assert found.multi_label and found.examples[0].labels == ("cat", "indoors")


def write_hdf5(path: Path, **arrays: Any) -> Path:
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file[name] = values
    return path


def test_hdf5(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 4, 4, 3)).astype(np.uint8)
    path = write_hdf5(
        tmp_path / "cats.h5",
        train_set_x=pixels,
        train_set_y=np.array([0, 1, 0]),
        list_classes=[b"non-cat", b"cat"],
    )
    assert is_images(path)
    found = read_images(path)
    assert labels(found) == ["non-cat", "cat", "non-cat"]
    np.testing.assert_array_equal(read_image(found.inputs()[1]), pixels[1])
    assert labels(read_images(write_hdf5(tmp_path / "n.h5", x=pixels, y=np.array([[7, 8, 7]])))) == [
        "7",
        "8",
        "7",
    ]
    assert labels(read_images(write_hdf5(tmp_path / "x.h5", x=pixels), labels_required=False)) == [""] * 3
    for arrays, message in [
        ({"x": pixels, "z": pixels}, r"not one array of images .*: x \(3, 4, 4, 3\), z"),
        ({"x": pixels[0]}, "not one array of images"),
        ({"x": pixels, "y": [0, 1, 2], "list_classes": [b"a"]}, "go from 0 to 2, but it names 1 classes"),
        ({"x": pixels, "y": [0, 1, 2], "z": [0, 1, 2]}, "several arrays could be the labels"),
        ({"x": pixels}, "image 0: this image has no label"),
        ({"x": pixels.astype(int) + 256}, r"bad\.h5: /x has values from \d+ to \d+ of the type int"),
    ]:
        with pytest.raises(UserError, match=message):
            read_images(write_hdf5(tmp_path / "bad.h5", **arrays))
    (tmp_path / "bad.h5").write_bytes(b"no")
    with pytest.raises(UserError, match="cannot be read as HDF5"):
        read_images(tmp_path / "bad.h5")


def test_data_sets_of_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    records = [{"img": png("red"), "label": 0}, {"img": png("blue"), "label": 1}]
    features = {"img": StubImage(), "label": SimpleNamespace(names=["cat", "dog"])}
    stub_datasets(monkeypatch, records, features)
    assert is_images("hf:owner/pets")
    found = read_images("hf:owner/pets")
    assert labels(found) == ["cat", "dog"]
    assert read_image(found.inputs()[1])[0, 0].tolist() == [0, 0, 255]
    assert found.place(2) == "hf:owner/pets, row 2"
    records[1]["img"] = b"damaged"
    with pytest.raises(UserError, match="hf:owner/pets, row 2: not an image"):
        read_image(read_images("hf:owner/pets").inputs()[1])


def test_parquet(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    rows = pyarrow.table({"image": [{"bytes": png("red"), "path": "a.png"}], "label": ["cat"]})
    pyarrow.parquet.write_table(rows, tmp_path / "pets.parquet")
    found = read_images(tmp_path / "pets.parquet")
    assert labels(found) == ["cat"] and str(found.inputs()[0]) == "a.png"
    assert is_images(tmp_path / "pets.parquet")


def test_texts_are_no_images(tmp_path: Path) -> None:
    (tmp_path / "reviews.csv").write_text("text,label\nsee cat.jpg,good\n")
    (tmp_path / "t.jsonl").write_text(json.dumps({"file": "a film about a file", "label": "x"}) + "\n")
    (tmp_path / "pos").mkdir()
    (tmp_path / "pos/1.txt").write_text("a film")
    write_image(tmp_path / "pos/poster.png")
    for path in ("reviews.csv", "t.jsonl", ".", "none.csv", "pos/1.txt", "none"):
        assert not is_images(tmp_path / path)
    assert is_images(write_image(tmp_path / "1.png"))


def test_tables_that_may_be_of_images_or_of_texts(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    both = tmp_path / "both.csv"
    both.write_text("image,text,label\n1.png,a cat,cat\n")
    assert not is_images(both)
    assert caplog.messages == [
        f"{both}: the column 'text' is read as texts; to read the images in the column 'image', set examples='images'"
    ]
    both.write_text("path,text,label\nmail/1,a cat,cat\n")
    assert not is_images(both) and len(caplog.messages) == 1
    latin = tmp_path / "latin.csv"
    latin.write_text("image,label\ncafé.png,Süden\n", encoding="latin-1")
    assert is_images(latin, encoding="latin-1")
    plain = tmp_path / "plain.csv"
    plain.write_text("image,kind\nx.png,y\n")
    assert is_images(plain) and is_images(plain, header=True) and not is_images(both, header=True)


def test_images_are_identified_by_the_bytes_of_their_files(tmp_path: Path) -> None:
    for folder in ("one", "other"):
        write_image(tmp_path / folder / "cat/1.png", "red")
        write_image(tmp_path / folder / "dog/2.png", "blue")
    one, other = (read_images(tmp_path / folder) for folder in ("one", "other"))
    assert one.digest() == other.digest()
    assert one.duplicates_of(other) == 2
    write_image(tmp_path / "other/dog/2.png", "green")
    assert one.digest() != other.digest()
    assert one.duplicates_of(other) == 1
    arrays = labeled_set([read_image(each) for each in one.inputs()], ["cat", "dog"], "arrays")
    assert arrays.duplicates_of(arrays) == 2
    assert ImageFile(tmp_path / "one/cat/1.png").digest() == one.inputs()[0].digest()


def test_cifar_and_cats() -> None:
    found = read_images(data_folder("cifar10") / "test")
    assert len(found) == 3000 and len(found.label_names) == 10
    assert read_image(found.inputs()[0]).shape == (32, 32, 3)
    assert is_images(data_folder("cifar10"))
    with pytest.raises(UserError, match="holds folders of images"):
        read_images(data_folder("cifar10"))


def test_cats_of_the_exercise() -> None:
    found = read_images(data_folder("catvnoncat") / "train_catvnoncat.h5")
    assert len(found) == 209 and labels(found)[:3] == ["non-cat", "non-cat", "cat"]
    assert found.inputs()[0].shape == (64, 64, 3)


def test_breeds_of_pets() -> None:
    folder = data_folder("oxford-pets")
    table, images = folder / "sample_annotations/csv/classification.csv", folder / "sample_images"
    assert read_images(table, label_column="species", images=images).label_names == ("cat", "dog")
    assert len(read_images(table, label_column="breed", images=images).label_names) == 37


def test_damaged_images_can_be_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("cat/1.png", "cat/2.png", "cat/3.png", "dog/1.png"):
        write_image(tmp_path / name)
    truncated = tmp_path / "cat/2.png"
    truncated.write_bytes(truncated.read_bytes()[:-30])
    (tmp_path / "dog/1.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"2\.png: .*\); skip_damaged=True leaves damaged images out$"):
        for image in read_images(tmp_path).inputs():
            read_image(image)
    assert caplog.messages == []
    found = read_images(tmp_path, skip_damaged=True)
    assert labels(found) == ["cat", "cat"]
    assert [each.path.name for each in found.inputs()] == ["1.png", "3.png"]
    (said,) = caplog.messages
    assert said.startswith(f"{tmp_path}: 2 of 4 images are damaged and left out: {truncated}: ")
    assert said.endswith(f"; {tmp_path / 'dog/1.png'}: the file is empty")
    for name in ("cat/1.png", "cat/3.png"):
        (tmp_path / name).unlink()
    with pytest.raises(UserError, match="all of its 2 images are damaged, the first is .*2.png"):
        read_images(tmp_path, skip_damaged=True)
