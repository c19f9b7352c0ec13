"""The experiment from classes to boxes at toy size: it runs, is resumed, and compares like with like."""

from __future__ import annotations

import csv
from pathlib import Path

import h5py
import numpy as np
import PIL.Image
import pytest

from experiments import cat_to_box
from experiments.results import Results
from unfreeze.tasks.plans import LocatorPlan, plan
from unfreeze.tasks.settings import LocatorSettings
from unfreeze.vision.labeled_images import read_images

RANDOM = np.random.default_rng(0)
COLORS = {"cat": (220, 40, 40), "dog": (40, 40, 220), "ship": (40, 200, 40)}


def picture(color: tuple[int, int, int], side: int, box: tuple[int, int, int, int]) -> np.ndarray:
    """Noise, and a box of one color."""
    found = RANDOM.integers(80, 150, (side, side, 3)).astype(np.uint8)
    left, top, right, bottom = box
    found[top:bottom, left:right] = color
    return found


def some_box(side: int) -> tuple[int, int, int, int]:
    left, top = RANDOM.integers(0, side // 2, 2).tolist()
    return left, top, left + side // 2, top + side // 3


def save(pixels: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(pixels).save(path, quality=95)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of the same layout as the real ones."""
    folder = tmp_path_factory.mktemp("data")
    for part, count in (("train", 6), ("test", 3)):
        for name, color in COLORS.items():
            for number in range(count):
                save(picture(color, 16, some_box(16)), folder / f"cifar10/{part}/{name}/{number:04}.jpg")
        targets = np.arange(4 * count) % 2
        images = np.stack([picture(list(COLORS.values())[1 - n], 16, some_box(16)) for n in targets])
        (folder / "catvnoncat").mkdir(exist_ok=True)
        with h5py.File(folder / f"catvnoncat/{part}_catvnoncat.h5", "w") as file:
            file[f"{part}_set_x"], file[f"{part}_set_y"] = images, targets
            file["list_classes"] = np.array([b"non-cat", b"cat"])
        rows = []
        for number in range(2 * count):
            box = some_box(24)
            save(picture((250, 250, 250), 24, box), folder / f"raccoon/images/{part}-{number}.jpg")
            rows.append([f"{part}-{number}.jpg", 24, 24, "raccoon", *box])
        write_table(
            folder / f"raccoon/data/{part}_labels.csv",
            "filename,width,height,class,xmin,ymin,xmax,ymax",
            rows,
        )
    rows = []
    for species in ("cat", "dog"):
        for number in range(10):
            left, top, right, bottom = some_box(24)
            name = f"{species}_{number}"
            save(
                picture(COLORS[species], 24, (left, top, right, bottom)),
                folder / f"oxford-pets/sample_images/{species}s/{name}.jpg",
            )
            size = (right - left, bottom - top)
            rows.append([name, "breed", species, left, top, right, bottom, *size, size[0] * size[1], 24, 24])
    write_table(
        folder / "oxford-pets/sample_annotations/csv/bboxes.csv",
        "image_name,breed,species,xmin,ymin,xmax,ymax,width,height,area,image_width,image_height",
        rows,
    )
    return folder


def write_table(path: Path, head: str, rows: list[list[object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([head.split(","), *rows])


TOY = (
    "--minutes 0.02 --updates 4 --seeds 2 --rates 1e-3 1e-2 --width 4 --depths 1 1 "
    "--pretrain-size 16 --cat-size 16 --box-size 24 --set raccoons"
).split()
FORMS = [cat_to_box.SCRATCH, "frozen", "all stages, of cat / not cat"]


def test_it_runs_and_is_resumed(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--data", str(data), "--runs", str(tmp_path), *TOY, "--form", *FORMS]
    cat_to_box.main(words)
    printed = capsys.readouterr().out
    tables = [line for line in printed.splitlines() if line.startswith("|")]
    rows = Results(tmp_path / "results.jsonl").rows
    kept = (tmp_path / "results.jsonl").read_text(encoding="utf-8")
    cat_to_box.main(words)  # again: nothing is computed, and the same is printed
    assert (tmp_path / "results.jsonl").read_text(encoding="utf-8") == kept
    again = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert again == tables and len(tables) >= 2 + len(cat_to_box.FORMS)
    for form in FORMS:
        own = [row for row in rows if row["method"] == form and row["part"].startswith("cat / not cat")]
        assert [(row["labels"], row["seed"]) for row in own] == [
            (n, s) for n in (20, 24, 24) for s in (0, 1)
        ][: len(own)]
        # All counts and seeds have the rate that was best in the search.
        search = [row for row in rows if row["method"].startswith(f"{form}, rate")]
        best = max(
            (row for row in search if row["part"].startswith("search cat / not")), key=lambda r: r["score"]
        )
        assert {row["rate"] for row in own} == {best["rate"]}
        assert all(len(row["scores"]) == 12 for row in own)
    for name in ("cat-not-cat.png", "boxes-of-raccoons.png", "boxes-of-raccoons-boxes.png"):
        assert (tmp_path / name).stat().st_size > 5000
    raccoons = [row for row in rows if row["part"].startswith("boxes of raccoons") and "boxes" in row]
    assert {row["labels"] for row in raccoons} == {3, 6, 12}
    train, test = cat_to_box.raccoons(data)
    for row in raccoons:
        found = cat_to_box.overlaps(np.array(row["boxes"]), test)
        assert row["score"] == pytest.approx(found.mean(), abs=0.01)
    encoder = tmp_path / "convnet-ten-classes"
    for start, changes in cat_to_box.FORMS.values():  # also of the forms that were not run
        settings = LocatorSettings(encoder="none" if start is None else encoder, **changes)
        assert plan(LocatorPlan, settings).policy().group_rates(3, 9)[-1] > 0


def test_splits_have_no_image_in_common(data: Path) -> None:
    for name, read in cat_to_box.BOX_SETS.items():
        train, test = read(data)
        files = [{str(each.input) for each in part.examples} for part in (train, test)]
        assert not files[0] & files[1] and all(files), name
        assert all(each.boxes.shape == (1, 4) for part in (train, test) for each in part.examples)
    cats, all_pets = (cat_to_box.pets(data, species) for species in (("cat",), ("cat", "dog")))
    for own, every in zip(
        cats, all_pets, strict=True
    ):  # what is held out of the cats is held out of the pets
        assert {str(each.input) for each in own.examples} <= {str(each.input) for each in every.examples}
    assert [len(part) for part in all_pets] == [14, 6]


def test_cats_and_others(data: Path) -> None:
    images = read_images(data / "cifar10" / "train")
    found = cat_to_box.cat_or_not(images)
    assert found.label_names == ("cat", "not cat")
    assert [each.labels for each in found.examples] == [
        each.labels if each.labels == ("cat",) else ("not cat",) for each in images.examples
    ]
