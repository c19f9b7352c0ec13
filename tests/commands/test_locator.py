"""The verbs with a locator: fit, evaluate, predict to every format, and mistakes."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from tests.commands.calls import call, fail, succeed
from tests.tasks.rectangles import one_rectangle, several_rectangles
from unfreeze.vision.annotations import read_boxes

SMALL = "--image-size 32 --width 8 --depths 1 1 1 --stem small --learning-rate 0.01".split()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of images with a table of boxes, one in each image, and with COCO's JSON, several in each."""
    place = tmp_path_factory.mktemp("boxes")
    for name, count, seed in (("train", 48, 0), ("test", 16, 1)):
        (place / name).mkdir()
        rows = [["filename", "class", "xmin", "ymin", "xmax", "ymax"]]
        for number, (picture, box) in enumerate(zip(*one_rectangle(count, seed), strict=True)):
            PIL.Image.fromarray(picture).save(place / name / f"{number}.png")
            rows.append([f"{number}.png", "paper", *map(str, box)])
        with (place / name / "boxes.csv").open("w", newline="") as file:
            csv.writer(file).writerows(rows)
    (place / "several" / "images").mkdir(parents=True)
    images, annotations = [], []
    for number, (picture, wanted) in enumerate(zip(*several_rectangles(32), strict=True)):
        PIL.Image.fromarray(picture).save(place / "several" / "images" / f"{number}.png")
        images.append({"id": number, "file_name": f"{number}.png", "width": 32, "height": 32})
        boxes, labels = wanted["boxes"], wanted["labels"]
        assert isinstance(boxes, np.ndarray) and isinstance(labels, list)
        for (left, top, right, bottom), label in zip(boxes.tolist(), labels, strict=True):
            box = [left, top, right - left, bottom - top]
            kind = 3 if label == "bright" else 7
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": kind,
                    "bbox": box,
                    "iscrowd": 0,
                }
            )
    categories = [{"id": 3, "name": "bright"}, {"id": 7, "name": "dark"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (place / "several" / "boxes.json").write_text(json.dumps(content))
    return place


@pytest.fixture(scope="module")
def locator(data: Path) -> Path:
    output = data / "locator"
    train, test = data / "train" / "boxes.csv", data / "test" / "boxes.csv"
    done = succeed(
        *(
            "fit",
            "locator",
            "--train",
            train,
            "--validation",
            test,
            "--epochs",
            25,
            *SMALL,
            "--output",
            output,
            "--json",
        )
    )
    (result,) = done.rows
    assert result["boxes_per_image"] == "one" and result["images"] == 48 and result["labels"] == ["paper"]
    assert result["mean_iou"] > 0.6
    assert (
        "48 images, 48 boxes (paper 48); one box an image, scratch from random weights, 25 epochs" in done.err
    )
    return output


def test_evaluate_prints_the_baseline_beside_the_measures(data: Path, locator: Path) -> None:
    (row,) = succeed("evaluate", locator, data / "test" / "boxes.csv", "--json").rows
    assert row["mean_iou"] > 0.6 > row["baseline"]["mean_iou"] and row["images"] == row["boxes"] == 16
    shown = succeed("evaluate", locator, data / "test" / "boxes.csv").out
    assert shown.startswith(f"mean IoU {row['mean_iou']:.4f} on 16 boxes") and "mean box" in shown


def test_predict_prints_and_writes_the_same_boxes(data: Path, locator: Path, tmp_path: Path) -> None:
    folder = data / "test"
    rows = succeed("predict", locator, folder, "--json").rows
    assert len(rows) == 16 and all(len(row["boxes"]) == 1 for row in rows)
    shown = succeed("predict", locator, folder / "3.png").out
    first = next(row for row in rows if row["image"].endswith("/3.png"))
    assert shown.startswith("paper (") and shown.endswith(f"\t{first['image']}\n")
    succeed("predict", locator, folder, "--output", tmp_path / "found.jsonl")
    written = [json.loads(line) for line in (tmp_path / "found.jsonl").read_text().splitlines()]
    assert written == rows
    succeed("predict", locator, folder, "--output", tmp_path / "found.csv")
    again = read_boxes(tmp_path / "found.csv")
    assert [each.boxes.tolist() for each in again.examples] == [
        [list(box["box"].values()) for box in row["boxes"]] for row in rows
    ]


def test_predict_draws_pictures(data: Path, locator: Path, tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text(f"{data / 'test' / '3.png'}\n{data / 'test' / '5.png'}\n")
    done = succeed("predict", locator, "--file", names, "--output", tmp_path / "drawn")
    assert sorted(path.name for path in (tmp_path / "drawn").iterdir()) == ["3.png", "5.png"]
    assert "2 images" in done.out
    drawn, plain = (
        np.asarray(PIL.Image.open(place / "3.png")) for place in (tmp_path / "drawn", data / "test")
    )
    assert drawn.shape == plain.shape and (drawn != plain).any()
    assert "drawn exists" in fail("predict", locator, "--file", names, "--output", tmp_path / "drawn")


def test_several_boxes_from_coco(data: Path, tmp_path: Path) -> None:
    train = data / "several" / "boxes.json"
    fit = (
        "fit",
        "locator",
        "--train",
        train,
        *SMALL,
        "--channels",
        16,
        "--epochs",
        12,
        "--output",
        tmp_path / "m",
    )
    done = succeed(*fit)
    assert "several boxes an image" in done.err
    assert done.err.count("--boxes one looks for the largest one") == 1
    (row,) = succeed("evaluate", tmp_path / "m", train, "--json").rows
    assert set(row["by_label"]) == {"bright", "dark"} and row["average_precision_50"] > 0.3
    assert "mean_iou" not in row
    image = data / "several" / "images" / "0.png"
    low, high = (
        succeed("predict", tmp_path / "m", image, "--least-score", score, "--json").rows[0]["boxes"]
        for score in (0.01, 0.5)
    )
    assert len(low) > len(high) and all(box["score"] > 0.5 for box in high)
    succeed(*fit)  # done already


@pytest.mark.parametrize("source", ["train/boxes.csv", "several/boxes.json"])
def test_find_rate_raises_the_rate_until_the_locator_diverges(data: Path, source: str) -> None:
    line = ["find-rate", "--task", "locator", "--train", data / source, *SMALL[:-2], "--batch-size", 8]
    (values,) = succeed(*line, "--low", 1e-4, "--high", 10, "--steps", 30, "--json").rows
    losses = values["losses"]
    assert 1e-4 < values["suggestion"] < 10 and min(losses) < 0.9 * losses[0]
    if source == "train/boxes.csv":  # a head of several boxes has another loss
        (other,) = succeed(*line, "--boxes", "several", "--steps", 10, "--json").rows
        assert abs(other["losses"][0] - losses[0]) > 0.1
        said = call("find-rate", "--train", data / source, "--encoder", "none").err
        assert "has boxes, which a classifier does not read; --task locator is for boxes" in said
    assert "--positive is for --task classifier, not for --task locator" in fail(*line, "--positive", "paper")
    assert "--boxes is for --task locator, not for --task tagger" in fail(
        "find-rate", "--task", "tagger", "--train", "x", "--boxes", "one"
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "predict {m} {d}/test/3.png --output x.txt",
            "has to end in .csv, .tsv or .jsonl; without an ending",
        ),
        ("predict {m}", "no image was given"),
        ("predict {m} {d}/missing.png", "missing.png: no such file"),
        ("predict {m} {d}/test/3.png --probabilities", "--probabilities is for"),
        ("predict {m} {d}/test/3.png --least-score 2", "--least-score must be from 0 to 1"),
        (
            "predict {m} {d}/test/3.png --least-score 0.9",
            "finds one box in each image: leave out --least-score",
        ),
        ("evaluate {m} {d}/test/3.png", "3.png"),
        ("evaluate {m} {d}/test/boxes.csv --no-header", "no header says which of 6 columns is the image"),
        (
            "evaluate {m} {d}/several/boxes.json --header",
            "only tables (.csv, .tsv, .jsonl, .parquet) have columns",
        ),
        ("evaluate {m} {d}/several/boxes.json", "which is not in the training data (it had paper)"),
        ("fit locator --train {d}/train/boxes.csv --encoder wiki-small --output x", "reads no images"),
        ("fit locator --train {d}/several/boxes.json --boxes many --output x", "--boxes"),
        ("fit locator --train {d}/nothing --output x", "nothing"),
    ],
)
def test_a_mistake_is_one_line(
    data: Path, locator: Path, words: str, message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert message in fail(*(word.format(m=locator, d=data) for word in words.split()))
