"""`fit classifier` by default: the table of what each rung gives, and the baseline beside any other classifier."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from tests.commands.calls import fail, succeed
from tests.tasks.test_auto import reviews
from unfreeze.tasks.baselines import fit_tfidf, tfidf_accuracy
from unfreeze.text.examples import read_examples


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Tables of labeled texts."""
    folder = tmp_path_factory.mktemp("auto")
    found = {}
    for name, count, seed in (("train", 60, 0), ("test", 40, 1)):
        found[name] = folder / f"{name}.csv"
        with found[name].open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerows([("text", "label"), *zip(*reviews(count, seed), strict=True)])
    return found


def test_the_table_of_what_each_gives(files: dict[str, Path], tmp_path: Path) -> None:
    outcome = succeed(
        "fit",
        "classifier",
        "--train",
        files["train"],
        "--validation",
        files["test"],
        "--output",
        tmp_path / "model",
    )
    lines = outcome.out.splitlines()
    assert lines[0] == "accuracy by cross-validation, and its standard error:"
    assert lines[2].split()[:6] == ["always", "the", "most", "frequent", "class", "0.500"]
    rungs = [line.split("  ")[0] for line in lines[3:8]]
    assert rungs[-1] == "all of them"
    assert set(rungs[:-1]) == {
        "vectors of wiki-small",
        "TF-IDF of words",
        "TF-IDF of characters",
        "states of wiki-lm",
    }
    assert lines[8].startswith("expected calibration error 0.")
    metrics = json.loads((tmp_path / "model" / "metrics.json").read_text())
    assert outcome.out.rstrip().endswith(f"accuracy {metrics['accuracy']:.4f} on {files['test']}")
    evaluated = succeed("evaluate", tmp_path / "model", files["test"], "--json").rows[0]
    assert evaluated["accuracy"] == pytest.approx(metrics["accuracy"])
    again = succeed(
        "fit", "classifier", "--train", files["train"], "--validation", files["test"], "--output", tmp_path / "model",
        "--json",
    )  # fmt: skip
    assert again.rows[0]["considered"] == metrics["considered"] and again.rows[0]["encoder"] == "auto"


def test_the_baseline_stands_beside_another_classifier(files: dict[str, Path], tmp_path: Path) -> None:
    line = ["fit", "classifier", "--train", files["train"], "--encoder", "wiki-small", "--transfer", "frozen"]
    train, test = (read_examples(files[name]) for name in ("train", "test"))
    outcome = succeed(*line, "--pooling", "vectors", "--output", tmp_path / "a")
    expected = f"TF-IDF with logistic regression on the same examples: {fit_tfidf(train).cross_validated:.4f} by cross-validation"
    assert "by cross-validation within it" in outcome.out and expected in outcome.out
    outcome = succeed(
        *line, "--pooling", "vectors", "--validation", files["test"], "--output", tmp_path / "b", "--json"
    )
    assert outcome.rows[0]["tfidf_accuracy"] == tfidf_accuracy(train, test)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            "--encoder auto --transfer frozen",
            "--transfer is for an encoder that you name: --encoder auto chooses it",
        ),
        (
            "--encoder wiki-small --unlabeled {train}",
            "--unlabeled is for --encoder auto, not for --encoder wiki-small",
        ),
        ("--unlabeled missing.txt", "missing.txt: no such file"),
        ("--unlabeled-column text", "--unlabeled-column is for --unlabeled, which is missing"),
        ("--minutes 0", "--minutes must be above 0, not 0"),
    ],
)
def test_what_cannot_be_done(options: str, message: str, files: dict[str, Path], tmp_path: Path) -> None:
    words = options.format(**files).split()
    assert message in fail(
        "fit", "classifier", "--train", files["train"], "--output", tmp_path / "new", *words
    )
    assert not (tmp_path / "new").exists()


def test_an_ensemble_is_no_encoder(files: dict[str, Path], tmp_path: Path) -> None:
    model = tmp_path / "model"
    succeed("fit", "classifier", "--train", files["train"], "--minutes", "0.015", "--output", model)
    assert "was fitted without an encoder" in fail("neighbors", model, "film")
    assert "was fitted without an encoder" in fail(
        "fit", "classifier", "--train", files["train"], "--encoder", model, "--output", tmp_path / "other"
    )
