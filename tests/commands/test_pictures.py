"""`picture`, and `neighbors` of images, on a small classifier."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from tests.commands.calls import fail, succeed
from unfreeze import ImageClassifier


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a classifier, its encoder, and images of two kinds in a folder each."""
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    images, labels = [], []
    for number in range(8):
        label, image = ("dark", "light")[number % 2], random.integers(0, 60, (20, 20 + number, 3))
        images.append((image + 190 * (number % 2)).astype(np.uint8))
        labels.append(label)
        (folder / "photos" / label).mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(images[-1]).save(folder / "photos" / label / f"{number}.png")
    classifier = ImageClassifier(image_size=16, width=4, depths=(1, 1), crop_area=1.0, epochs=10)
    classifier.fit(images, labels).save_pretrained(folder / "model")
    classifier.network_.encoder.save_pretrained(folder / "encoder")
    return folder


def test_pictures_are_drawn(place: Path, tmp_path: Path) -> None:
    photo, other = place / "photos" / "dark" / "0.png", place / "photos" / "light" / "1.png"
    for number, words in enumerate(
        [
            ("filters", place / "encoder"),
            ("filters", place / "model"),
            ("maps", place / "model", photo, "--channels", 3),
            ("evidence", place / "model", photo, other),
            ("evidence", place / "model", photo, "--label", "light"),
        ]
    ):
        output = tmp_path / f"{number}.png"
        found = succeed("picture", *words, "--output", output, "--json").rows[0]
        assert found["output"] == str(output) and output.stat().st_size > 800
    shown = succeed(
        "picture", "evidence", place / "model", photo, other, "--output", tmp_path / "a.svg", "--json"
    ).rows[0]["images"]
    assert [(each["image"], each["label"]) for each in shown] == [(str(photo), "dark"), (str(other), "light")]
    text = (tmp_path / "a.svg").read_text(encoding="utf-8")
    assert f"<!-- dark, {100 * shown[0]['score']:.0f} % -->" in text and "<!-- dark/0.png -->" in text
    asked = ("picture", "evidence", place / "model", place / "photos", "--output", tmp_path / "a.svg")
    assert len(succeed(*asked, "--overwrite", "--json").rows[0]["images"]) == 8


def test_neighbors_of_an_image(place: Path, tmp_path: Path) -> None:
    photo = place / "photos" / "dark" / "0.png"
    asked = ("neighbors", place / "encoder", photo, "--images", place / "photos", "--top", 3)
    found = succeed(*asked, "--plot", tmp_path / "near.png", "--json").rows[0]
    assert found["query"] == str(photo) and (tmp_path / "near.png").stat().st_size > 800
    near = found["neighbors"]
    assert [each["rank"] for each in near] == [1, 2, 3]
    assert str(photo) not in [each["image"] for each in near]
    assert all(Path(each["image"]).parent.name == "dark" for each in near)
    assert near[0]["cosine"] >= near[1]["cosine"] >= near[2]["cosine"]
    printed = succeed(*asked).out
    assert str(photo) in printed and near[0]["image"] in printed
    rows = succeed("neighbors", place / "encoder", photo.parent, *asked[3:], "--json").rows  # all in a folder
    assert [row["query"] for row in rows] == sorted(map(str, photo.parent.iterdir()))
    for one, same in zip(rows[0]["neighbors"], near, strict=True):
        assert one["image"] == same["image"] and one["cosine"] == pytest.approx(same["cosine"], abs=1e-5)


def test_mistakes(place: Path, tmp_path: Path) -> None:
    photo, output = place / "photos" / "dark" / "0.png", tmp_path / "a.png"
    model, encoder = place / "model", place / "encoder"
    assert "no image classifier" in fail("picture", "evidence", encoder, photo, "--output", output)
    assert "there is no class 'red'; the classes are: dark, light" in fail(
        "picture", "evidence", model, photo, "--label", "red", "--output", output
    )
    assert "--label is for evidence" in fail(
        "picture", "maps", model, photo, "--label", "dark", "--output", output
    )
    assert "leave out the images" in fail("picture", "filters", model, photo, "--output", output)
    assert "maps are drawn of one image" in fail("picture", "maps", model, "--output", output)
    assert "no image was given" in fail("picture", "evidence", model, "--output", output)
    assert "no such file" in fail("picture", "maps", model, tmp_path / "none.jpg", "--output", output)
    assert "has to end in .png" in fail("picture", "filters", model, "--output", tmp_path / "a.gif")
    assert "which reads no images" in fail("neighbors", "wiki-small", photo, "--images", place / "photos")
    assert "no such file or folder" in fail("neighbors", encoder, photo, "--images", tmp_path / "none")
    assert "goes without --minus" in fail("neighbors", encoder, photo, "--images", place, "--measure", "dot")
    many = [photo] * 41
    assert "at most 40 can be seen" in fail("picture", "evidence", model, *many, "--output", output)
    assert "add the images to search, --images DIR" in fail("neighbors", encoder, photo)
    assert not output.exists()
