"""The demo at toy size: it runs to its end, offline, and says what it measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from unfreeze.commands.demo import BASELINE
from unfreeze.commands.main import main
from unfreeze.generated import movie_reviews
from unfreeze.tasks.baselines import tfidf_accuracy
from unfreeze.text.examples import ExampleSet, example_set


def baseline_accuracy(labels: int, test: int) -> float:
    """TF-IDF and logistic regression on the texts that the demo says it takes."""

    def made(count: int, seed: int) -> ExampleSet:
        reviews = movie_reviews(count, seed)
        return example_set([each.text for each in reviews], [each.label for each in reviews], "made")

    return tfidf_accuracy(made(1000, 2).sample(labels, 0), made(test, 3), seed=0)


def test_demo_prints_a_table_and_draws_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "demo"
    options = ["--minutes", "0.03", "--labels", "12", "--test", "20", "--json", "--quiet"]
    assert main(["demo", "--output", str(output), *options]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert rows[0]["labels"] == 12
    accuracies = {name: value for name, value in rows[0].items() if name != "labels"}
    assert len(accuracies) == 4 and all((20 * value).is_integer() for value in accuracies.values())
    assert accuracies[BASELINE] == baseline_accuracy(labels=12, test=20)
    assert {row["label"] for row in rows[1:]} <= {"positive", "negative"} and len(rows) == 3
    assert (output / "accuracy.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", ["plain.txt", "reviews.txt", "vectors.npz", "accuracy.png"])
def test_demo_does_not_replace_the_users_files(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_bytes(b"mine")
    assert main(["demo", "--output", str(tmp_path), "--minutes", "0.01"]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.endswith(
        f"{name} belongs to another demo or to you: choose another --output, or add --overwrite"
    )
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {name: b"mine"}


@pytest.mark.parametrize("wrong", [["--minutes", "0"], ["--labels", "1"], ["--test", "1"]])
def test_demo_refuses_what_cannot_work(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", *wrong]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
