"""The verbs on images, end to end at toy size: what they print, what they write, and how they fail."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import sys
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.commands.calls import Outcome, fail, succeed
from tests.commands.toy import reviews, write_table
from tests.commands.toy_images import LABELS, patterns, write_images
from unfreeze import Encoder, ImageClassifier
from unfreeze.commands.arguments import parse
from unfreeze.commands.options import chosen_settings
from unfreeze.commands.pretrain_convnet import PretrainConvnet
from unfreeze.encoders.convnet import ConvNet
from unfreeze.tasks.convnet_presets import PRESETS, resnet18
from unfreeze.tasks.settings import ImageClassifierSettings

SIZES = "--preset tiny --image-size 16 --width 8 --depths 1 1".split()
BOUNDS = "--crop-area 1 --batch-size 8 --precision fp32".split()


@dataclass(frozen=True)
class World:
    """Files and models that the tests share and never change."""

    train: Path
    test: Path
    three: Path
    net: Path
    trained: Outcome
    classifier: Path
    fitted: Outcome


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A ConvNet that tells three patterns, and a classifier of two of them on its features."""
    root = tmp_path_factory.mktemp("images")
    train, test = write_images(root / "train", 32, seed=1), write_images(root / "test", 20, seed=2)
    shutil.copy(train / "down" / "01.png", test / "down" / "again.png")
    three = write_images(root / "three", 48, seed=3, labels=LABELS)
    paths = ["--images", three, "--validation", test, "--output", root / "net"]
    trained = succeed(
        "pretrain", "convnet", *paths, *SIZES, *BOUNDS, "--epochs", 12, "--learning-rate", 0.01, "--json"
    )
    paths = ["--train", train, "--validation", test, "--encoder", root / "net"]
    paths += ["--output", root / "classifier"]
    fitted = succeed("fit", "classifier", *paths, "--transfer", "frozen", "--precision", "fp32", "--json")
    return World(train, test, three, root / "net", trained, root / "classifier", fitted)


# pretrain convnet


def test_pretraining_says_what_it_does_and_its_encoder_goes_on(world: World) -> None:
    values = world.trained.rows[0]
    assert (values["images"], values["epochs"], values["duplicates"]) == (48, 12, 0)
    assert values["accuracy"] >= 0.9
    assert "48 images of 3 classes (across 16, down 16, spots 16), 12 epochs" in world.trained.err
    assert f"unfreeze fit classifier --encoder {world.net} --train DIR" in world.trained.err
    card = (world.net / "README.md").read_text()
    assert card.startswith("# ConvNet\n") and "pretrain convnet" not in card.splitlines()[0]
    encoder = Encoder.from_pretrained(world.net)
    assert isinstance(encoder, ConvNet) and encoder.widths == [8, 16] and encoder.processor.size == 16
    assert json.loads((world.net / "config.json").read_text())["labels"] == list(LABELS)


def test_options_change_the_preset() -> None:
    line = "--images x --output y --preset resnet18 --batch-size 16 --minutes 2 --flip"
    arguments = parse(PretrainConvnet, line.split(), "unfreeze pretrain convnet")
    assert arguments is not None
    settings = chosen_settings(PRESETS[arguments.preset](), arguments.given)
    wanted = {**vars(resnet18()), "batch_size": 16, "minutes": 2.0}
    assert vars(settings) == wanted and (settings.image_size, settings.width) == (224, 64)
    for option in ("--encoder x", "--transfer frozen", "--no-gradual"):
        assert "unknown option" in fail("pretrain", "convnet", *line.split(), *option.split())


def test_every_setting_is_an_option() -> None:
    hidden = PretrainConvnet.hidden
    for verb, left_out in (("fit classifier", set()), ("pretrain convnet", hidden)):
        shown = re.findall(
            r"(?m)^\W{1,4}--([a-z-]+)", succeed(*verb.split(), "--help").out.partition("every verb:")[0]
        )
        for field in fields(ImageClassifierSettings):
            option = field.name.replace("_", "-")
            assert (option in shown) == (field.name not in left_out), option


def test_one_class_against_all_others(world: World, tmp_path: Path) -> None:
    line = ["pretrain", "convnet", "--images", world.three, *SIZES, *BOUNDS, "--output", tmp_path / "net"]
    assert "three has no image of the class 'cat', which --positive names" in fail(*line, "--positive", "cat")
    data = ["--validation", world.test, "--positive", "spots", "--epochs", 1]
    assert "48 images of 2 classes (spots 16, not spots 32)" in succeed(*line, *data).err
    assert json.loads((tmp_path / "net" / "config.json").read_text())["labels"] == ["spots", "not spots"]
    (values,) = succeed("evaluate", tmp_path / "net", world.three, "--positive", "spots", "--json").rows
    assert [row["support"] for row in values["classes"]] == [16, 32]
    # The test set has no spots: all its images are of the other class.
    (values,) = succeed("evaluate", tmp_path / "net", world.test, "--positive", "spots", "--json").rows
    assert [row["support"] for row in values["classes"]] == [0, 21]
    said = "tells spots from all other classes: add --positive spots"
    assert said in fail("evaluate", tmp_path / "net", world.three)
    assert said in fail("evaluate", tmp_path / "net", world.three, "--unknown-labels", "wrong")
    said = "net are spots, not spots: set --positive spots"
    assert said in fail("evaluate", tmp_path / "net", world.three, "--positive", "down")


# fit classifier


def test_fit_on_a_frozen_encoder_says_what_it_chose(world: World) -> None:
    values = world.fitted.rows[0]
    assert [values[name] for name in ("transfer", "epochs")] == ["frozen", None]
    assert (values["examples"], values["duplicates"]) == (32, 1)
    assert values["accuracy"] >= 0.9
    assert "32 images of 2 classes (across 16, down 16); frozen from" in world.fitted.err
    assert "logistic regression" in world.fitted.err
    assert "21 images" in world.fitted.err and "1 of them is in the training set, too" in world.fitted.err
    assert f"unfreeze predict {world.classifier} IMAGE" in world.fitted.err
    saved = {path.name for path in world.classifier.iterdir()}
    assert {
        "config.json",
        "model.safetensors",
        "preprocessor_config.json",
        "metrics.json",
        "README.md",
    } <= saved


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--encoder {net} --epochs 4", "fine-tune from {net}, 4 epochs"),
        ("--encoder {net} --epochs 2 --no-gradual --discriminative 1 --head two-layer", "fine-tune from"),
        ("--image-size 16 --width 4 --depths 1 --epochs 2 --no-flip --jitter 0.1", "scratch from random weights, 2 epochs"),
        ("--encoder none --image-size 16 --width 4 --depths 1 --epochs 2 --labels 10", "10 images of 2 classes (across 5, down 5)"),
    ],
)  # fmt: skip
def test_every_way_of_transfer(options: str, said: str, world: World, tmp_path: Path) -> None:
    words = options.format(net=world.net).split()
    line = ["fit", "classifier", "--train", world.train, *words, *BOUNDS, "--output", tmp_path / "new"]
    assert said.format(net=world.net) in succeed(*line).err
    again = succeed(*line, "--json")
    assert "complete already" in again.err
    settings = ImageClassifier.from_pretrained(tmp_path / "new").get_params()
    assert settings["batch_size"] == 8 and settings["flip"] == ("--no-flip" not in words)


def test_a_table_of_files_and_labels(world: World, tmp_path: Path) -> None:
    rows = [(str(path), path.parent.name) for path in sorted(world.train.rglob("*.png"))]
    table = write_table(tmp_path / "train.csv", rows, ("picture", "kind"))
    columns = ["--image-column", "picture", "--label-column", "kind"]
    line = ["fit", "classifier", "--train", table, *columns, "--encoder", world.net, "--transfer", "frozen"]
    succeed(*line, "--precision", "fp32", "--output", tmp_path / "new")
    (values,) = succeed("evaluate", tmp_path / "new", table, *columns, "--json").rows
    assert values["n_examples"] == 32 and values["accuracy"] >= 0.9


def test_images_and_texts_in_one_table(world: World, tmp_path: Path) -> None:
    files = sorted(world.train.rglob("*.png"))
    rows = [(str(path), f"stripes {path.parent.name}", path.parent.name) for path in files]
    table = write_table(tmp_path / "both.csv", rows, ("image", "text", "label"))
    line = ["find-rate", "--train", table, "--steps", 10, "--batch-size", 8, "--low", 1e-4, "--high", 10]
    of_images = ["--image-size", 16, "--width", 4, "--depths", 1]
    for options in (["--image-column", "image"], ["--images", world.train], ["--examples", "images"]):
        succeed(*line, *of_images, *options)  # --width is refused for texts
    of_texts = ["--encoder", "none", "--body", "pooling"]  # --body is refused for images
    said = (
        "the column 'text' is read as texts; to read the images in the column 'image', set --examples images"
    )
    assert said in succeed(*line, *of_texts).err
    assert said not in succeed(*line, *of_texts, "--text-column", "text").err
    assert "--image-size is for images, not for texts" in fail(*line, *of_images, "--examples", "texts")
    assert "--text-column is for texts, not for images" in fail(
        *line, "--text-column", "text", "--image-column", "image"
    )


def test_hdf5_and_a_class_without_images(world: World, tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    images, labels = patterns(24, seed=6)
    with h5py.File(tmp_path / "train.h5", "w") as file:
        file["train_set_x"] = np.stack(images)
        file["train_set_y"] = np.array([label == "down" for label in labels], dtype=np.int64)
        file["list_classes"] = np.array([b"across", b"down"])
    line = ["fit", "classifier", "--encoder", world.net, "--transfer", "frozen", "--precision", "fp32"]
    data = ["--train", tmp_path / "train.h5", "--validation", world.test, "--output", tmp_path / "new"]
    (values,) = succeed(*line, *data, "--json").rows
    assert values["accuracy"] >= 0.9 and values["examples"] == 24
    shown = succeed("evaluate", tmp_path / "new", tmp_path / "train.h5").out
    assert "on 24 images" in shown
    folder = tmp_path / "folder"
    shutil.copytree(world.train, folder)
    (folder / "spots").mkdir()
    ran = succeed(*line, "--train", folder, "--output", tmp_path / "other")
    assert "folders without images, which are no classes: 'spots'" in ran.err and "of 2 classes" in ran.err


def test_several_labels_an_image(world: World, tmp_path: Path) -> None:
    rows = [
        (str(path), f"{path.parent.name}|{'a' if n % 2 else 'b'}")
        for n, path in enumerate(sorted(world.train.rglob("*.png")))
    ]
    table = write_table(tmp_path / "many.csv", rows, ("image", "label"))
    line = [
        "fit",
        "classifier",
        "--train",
        table,
        "--multi-label",
        "--encoder",
        world.net,
        "--head",
        "linear",
    ]
    succeed(
        *line, "--transfer", "frozen", "--epochs", 8, "--precision", "fp32", "--output", tmp_path / "many"
    )
    found = succeed("predict", tmp_path / "many", "--file", table, "--probabilities", "--json").rows
    assert set(found[0]["probabilities"]) == {"across", "down", "a", "b"}
    for row in found:
        named = {each["label"] for each in row["labels"]}
        assert named == {label for label, share in row["probabilities"].items() if share >= 0.5}
        assert Path(row["image"]).parent.name in named
    assert "macro F1" in succeed("evaluate", tmp_path / "many", table).out


def test_find_rate_takes_images(world: World) -> None:
    line = ["find-rate", "--train", world.train, "--encoder", world.net]
    line += "--steps 12 --batch-size 8 --json".split()
    (values,) = succeed(*line).rows
    assert len(values["losses"]) > 3
    assert "--body is for texts, not for images" in fail(*line, "--body", "pooling")
    texts = write_table(world.train.parent / "texts.csv", reviews(8, seed=1))
    assert "--width is for images, not for texts" in fail("find-rate", "--train", texts, "--width", 8)


# evaluate and predict


def test_evaluate_names_the_worst_errors_and_draws(world: World, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    for label, other in (("across", "down"), ("down", "across")):
        shutil.copytree(world.test / other, wrong / label)
    shown = succeed("evaluate", world.classifier, wrong, "--worst", 3, "--plot", tmp_path / "plot.png").out
    assert "on 21 images" in shown and "worst errors:" in shown
    assert shown.count("predicted across") + shown.count("predicted down") == 3 and f": {wrong}/" in shown
    assert Image.open(tmp_path / "plot.png").size[0] > 100
    (values,) = succeed("evaluate", world.classifier, wrong, "--worst", 2, "--json").rows
    assert values["accuracy"] <= 0.1 and len(values["worst"]) == 2
    assert Path(values["worst"][0]["image"]).is_file()
    shutil.copytree(world.three / "spots", wrong / "spots")
    said = fail("evaluate", world.classifier, wrong)
    assert "'spots', which is not in the training data (it had across, down)" in said
    (values,) = succeed("evaluate", world.classifier, wrong, "--unknown-labels", "wrong", "--json").rows
    assert values["n_unknown_labels"] == 16 and values["labels"] == ["across", "down", "spots"]


def test_predict_takes_files_folders_and_lists(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = sorted((world.test / "across").iterdir())
    rows = succeed("predict", world.classifier, files[0], world.test / "down", "--json").rows
    assert [row["image"] for row in rows] == [
        str(files[0]),
        *map(str, sorted((world.test / "down").iterdir())),
    ]
    right = ["across"] + ["down"] * 11
    assert sum(row["label"] == label for row, label in zip(rows, right, strict=True)) >= 11
    listed = world.test / "list.txt"
    listed.write_text("".join(f"across/{path.name}\n" for path in files), encoding="utf-8")
    try:
        from_list = succeed("predict", world.classifier, "--file", listed, "--probabilities", "--json").rows
    finally:
        listed.unlink()
    assert [Path(row["image"]) for row in from_list] == files
    for row in from_list:
        assert sum(row["probabilities"].values()) == pytest.approx(1.0)
        assert row["score"] == max(row["probabilities"].values()) == row["probabilities"][row["label"]]
    names = "".join(f"{path.name}\n" for path in files)
    for suffix, content in ((".txt", names), (".csv", f"image\n{names}")):
        away = tmp_path / f"list{suffix}"
        away.write_text(content, encoding="utf-8")
        folder = ["--images", world.test / "across"]
        found = succeed("predict", world.classifier, "--file", away, *folder, "--json").rows
        assert [Path(row["image"]) for row in found] == files
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{files[0]}\n{files[1]}\n"))
    assert succeed("predict", world.classifier, "-", "--json").rows == [
        {name: value for name, value in row.items() if name != "probabilities"} for row in from_list[:2]
    ]
    line = succeed("predict", world.classifier, files[0]).out
    assert line.split()[0] == from_list[0]["label"] and line.endswith(f"\t{files[0]}\n")


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl"])
def test_predict_writes_files_that_are_read_again(suffix: str, world: World, tmp_path: Path) -> None:
    target = tmp_path / f"labels{suffix}"
    assert (
        succeed("predict", world.classifier, world.test, "--output", target).out == f"21 images: {target}\n"
    )
    expected = succeed("predict", world.classifier, world.test, "--json").rows
    with target.open(encoding="utf-8", newline="") as file:
        if suffix == ".jsonl":
            found = [json.loads(row) for row in file]
        else:
            found = list(csv.DictReader(file, delimiter="\t" if suffix == ".tsv" else ","))
    assert [(row["image"], row["label"]) for row in found] == [
        (row["image"], row["label"]) for row in expected
    ]
    (values,) = succeed("evaluate", world.classifier, target, "--json").rows
    assert values["accuracy"] == 1.0 and values["n_examples"] == 21
    names = [row["image"] for row in succeed("predict", world.classifier, "--file", target, "--json").rows]
    assert names == [row["image"] for row in expected]


# Mistakes

FIT = "fit classifier --train {train} --output {new}"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (f"{FIT} --body bilstm", "--body is for texts, not for images"),
        (f"{FIT} --text-column text", "--text-column is for texts, not for images"),
        (f"{FIT} --examples texts", "this folder of a class holds no .txt file"),
        ("fit classifier --train {texts} --examples images --output {new}", "no image column is found by its name"),
        ("find-rate --task tagger --train {texts} --examples texts", "--examples is for --task classifier"),
        (f"{FIT} --word-vectors x", "--word-vectors is for texts, not for images"),
        (f"{FIT} --min-count 1", "--min-count is for texts, not for images"),
        ("fit classifier --train {texts} --output {new} --image-size 32", "--image-size is for images, not for texts"),
        ("fit classifier --train {texts} --output {new} --no-flip", "--no-flip is for images, not for texts"),
        ("fit classifier --train {texts} --output {new} --positive pos", "--positive is for images, not for texts"),
        ("fit classifier --train {texts} --encoder {net} --output {new}", "is of kind convnet, which reads no texts: name an encoder of texts, such as one of `pretrain lm`, or --encoder none"),
        ("fit tagger --train {tagged} --encoder {net} --output {new}", "is of kind convnet, which reads no texts"),
        (f"{FIT} --encoder {{net}} --unfreeze 4", "--unfreeze must be at most 3, the stages of"),
        (f"{FIT} --encoder {{net}} --transfer frozen --no-flip", "--no-flip is for training an encoder"),
        (f"{FIT} --encoder {{net}} --transfer frozen --crop-area 0.5", "--crop-area 0.5 is for training an encoder"),
        (f"{FIT} --encoder wiki-small", "wiki-small is of kind awd_lstm, which reads no images: name an encoder of images, such as one of `pretrain convnet`"),
        (f"{FIT} --encoder {{net}} --width 8", "--width is for a ConvNet from scratch: leave it out, or set --encoder none"),
        (f"{FIT} --transfer frozen", "--transfer frozen needs an encoder"),
        (f"{FIT} --image-size 0", "--image-size must be above 0, not 0"),
        (f"{FIT} --depths 2 0", "--depths must be at least 1"),
        (f"{FIT} --crop-area 0", "--crop-area must be above 0"),
        (f"{FIT} --image-size 5000", "--image-size must be at most 4,096, not 5000"),
        (f"{FIT} --labels 33", "holds 32 examples, not 33"),
        (f"{FIT} --validation {{three}}", "'spots', which is not in the training data (it had across, down)"),
        (f"{FIT} --validation {{texts}}", "texts.csv"),
        ("fit classifier --train {one} --output {new}", "are of one class (across); two are needed"),
        ("fit classifier --train {nothing} --output {new}", "nothing"),
        ("fit classifier --train {lost} --output {new}", "lost.csv:2: no such image: 'a.png'; name the folder of the images with --images"),
        ("pretrain convnet --images {lost} --output {new}", "no such image: 'a.png'; names count from the folder of the table"),
        ("predict {classifier}", "no image was given: name files or folders"),
        ("predict {classifier} {nothing}", "nothing: no image in this folder"),
        ("predict {classifier} none.png", "none.png: no such file"),
        ("predict {classifier} {texts}", "texts.csv is not an image: a list of images is given as --file"),
        ("predict {classifier} --file {lost}", "lost.csv:2: no such image: 'a.png'; name the folder of the images with --images"),
        ("predict {classifier} x.png --images {test}", "--images is for the images that a --file names"),
        ("evaluate {classifier} {test} --positive down", "classifier are across, down: leave out --positive"),
        ("predict {classifier} x.png --pair y", "--pair is for classifiers, not for image classifiers"),
        ("predict {classifier} x.png --text-column y", "--text-column is for classifiers"),
        ("predict {net} x.png --tokenized", "--tokenized is for taggers of split words, not for image classifiers"),
        ("predict {classifier} x.png --output x.html", "the name has to end in .csv, .tsv or .jsonl"),
        ("evaluate {classifier} {texts}", "texts.csv"),
        ("evaluate {classifier} {test} --pair-column x", "--pair-column is for classifiers, not for image classifiers"),
        ("embed {net} {texts} --output x.npz", "reads images: embed reads texts; in Python, Encoder"),
        ("neighbors {net} cat", "reads images: add the images to search, --images DIR"),
        ("convert {net} --output {new}", "reads images: it is in the format of unfreeze already"),
        ("fill {net} ___", "is an image classifier, not a language model: use predict or evaluate"),
        ("predict {classifier} {test} --image-column x", "--image-column is for a table in --file"),
        ("predict {classifier} x.png --file {texts}", "images come from the command line or from --file, not from both"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line(line: str, said: str, world: World, tmp_path: Path) -> None:
    texts = write_table(tmp_path / "texts.csv", reviews(8, seed=1))
    write_table(tmp_path / "lost.csv", [("a.png", "cat"), ("b.png", "dog")], ("image", "label"))
    (tmp_path / "nothing").mkdir()
    shutil.copytree(world.train / "across", tmp_path / "one" / "across")
    places = {
        "texts": texts,
        "lost": tmp_path / "lost.csv",
        "nothing": tmp_path / "nothing",
        "one": tmp_path / "one",
        "new": tmp_path / "new",
        "tagged": tmp_path / "tagged.conll",
    }
    places["tagged"].write_text("Ada\tNAME\n\nsleeps\tO\n")
    assert said in fail(*[word.format(**vars(world), **places) for word in line.split()])
    assert not (tmp_path / "new" / "config.json").exists()


def damaged(kind: str) -> bytes:
    """The content of an image file that cannot be read."""
    written = io.BytesIO()
    Image.fromarray(np.zeros((64, 64, 3), dtype=np.uint8)).save(written, "PNG")
    content = written.getvalue()
    if kind == "huge":  # a header that asks for 40,000 by 40,000 pixels
        from zlib import crc32

        head = b"IHDR" + (40_000).to_bytes(4, "big") * 2 + content[24:29]
        return content[:12] + head + crc32(head).to_bytes(4, "big") + content[33:]
    return {"empty": b"", "truncated": content[:60], "text": b"no image\n" * 9}[kind]


@pytest.mark.parametrize(
    ("kind", "said"),
    [("empty", "is empty"), ("truncated", "truncated or damaged"), ("text", "not an image"), ("huge", "more than the")],
)  # fmt: skip
def test_an_image_that_cannot_be_read_is_named_by_every_verb(
    kind: str, said: str, world: World, tmp_path: Path
) -> None:
    folder = tmp_path / "train"
    shutil.copytree(world.train, folder)
    (folder / "down" / "bad.png").write_bytes(damaged(kind))
    line = ["fit", "classifier", "--train", folder, "--output", tmp_path / "new", "--epochs", 1]
    for words in (
        [*line, "--image-size", 8, "--width", 2, "--depths", 1, "--crop-area", 1],
        [*line, "--encoder", world.net, "--transfer", "frozen"],
        ["evaluate", world.classifier, folder],
        ["predict", world.classifier, folder, "--output", tmp_path / "x.csv"],
    ):
        found = fail(*words)
        assert "bad.png: " in found and said in found
        assert ("--skip-damaged leaves damaged images out" in found) is (words[0] != "predict")
    found = succeed("evaluate", world.classifier, folder, "--skip-damaged")
    assert "images are damaged and left out" in found.err and "bad.png" in found.err
    assert not (tmp_path / "x.csv").exists() and not (tmp_path / "new" / "config.json").exists()


def test_images_in_memory_get_what_their_files_get(world: World, tmp_path: Path) -> None:
    images, _ = patterns(6, seed=9)
    for number, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / f"{number}.png")
    rows = succeed("predict", world.classifier, tmp_path, "--json").rows
    found = ImageClassifier.from_pretrained(world.classifier)(images)
    assert [row["label"] for row in rows] == [each["label"] for each in found]
    np.testing.assert_allclose([row["score"] for row in rows], [each["score"] for each in found], rtol=1e-5)
