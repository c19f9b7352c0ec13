"""`suggest` and `evaluate --label-errors`: what they print and write, and how they refuse."""

from __future__ import annotations

import csv
import io
import sys
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest

from tests.commands.calls import fail, succeed
from tests.commands.toy import reviews, write_corpus, write_table
from unfreeze.tasks.text_classifier import TextClassifier
from unfreeze.text.examples import read_examples


class World(NamedTuple):
    """A classifier, its training set, a table with wrong labels and unlabeled texts."""

    model: Path
    several: Path
    train: Path
    noisy: Path
    flipped: set[str]
    unlabeled: Path


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    root = tmp_path_factory.mktemp("next")
    rows = reviews(30, seed=1)
    classifier = TextClassifier(transfer="frozen", pooling="vectors")
    classifier.fit(*map(list, zip(*rows, strict=True))).save_pretrained(root / "model")
    classifier.network_.multi_label = True
    classifier.save_pretrained(root / "several")
    noisy = reviews(60, seed=2)
    wrong = Random(0).sample(range(60), 6)
    other = {"pos": "neg", "neg": "pos"}
    noisy = [(text, other[label] if n in wrong else label) for n, (text, label) in enumerate(noisy)]
    return World(
        root / "model",
        root / "several",
        write_table(root / "train.csv", rows),
        write_table(root / "noisy.csv", noisy),
        {noisy[n][0] for n in wrong},
        write_corpus(root / "texts.txt", [text for text, _ in [*reviews(60, seed=3), *rows]]),
    )


def test_suggestions_are_printed_and_can_be_filled_in(world: World, tmp_path: Path) -> None:
    line = ["suggest", world.model, "--file", world.unlabeled, "--exclude", world.train, "--top", 7]
    outcome = succeed(*line, "--json")
    assert len(outcome.rows) == 7 and set(outcome.rows[0]) == {"text", "predicted", "score", "why"}
    assert "90 texts read; left out: 30 labeled already, 0 empty or without a known word" in outcome.err
    known = set(read_examples(world.train).inputs())
    assert not known & {row["text"] for row in outcome.rows}
    table = succeed(*line).out.splitlines()
    assert table[0].split() == ["text", "predicted", "score", "why"] and len(table) == 8
    succeed(*line, "--output", tmp_path / "new.csv")
    with (tmp_path / "new.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["text", "label", "predicted", "score", "why"]
    assert [row["text"] for row in rows] == [row["text"] for row in outcome.rows]
    assert {row["label"] for row in rows} == {""}
    assert "exists" in fail(*line, "--output", tmp_path / "new.csv")
    labeled = [(row["text"], "pos" if n % 2 else "neg") for n, row in enumerate(rows)]
    filled = write_table(tmp_path / "filled.csv", labeled)
    assert read_examples(filled).inputs() == [row["text"] for row in rows]


def test_suggest_reads_standard_input_and_refuses_what_it_cannot_use(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a dull film\nA  DULL film\na superb plot\n"))
    )
    rows = succeed("suggest", world.model, "--file", "-", "--json").rows
    assert sorted(" ".join(row["text"].lower().split()) for row in rows) == ["a dull film", "a superb plot"]
    line = ["suggest", world.model, "--file", world.unlabeled]
    assert "--top must be above 0" in fail(*line, "--top", 0)
    assert "has to end in .csv or .tsv" in fail(*line, "--output", tmp_path / "a.txt")
    assert "needs a classifier of texts" in fail("suggest", "wiki-small", "--file", world.unlabeled)
    assert "nowhere.txt" in fail("suggest", world.model, "--file", tmp_path / "nowhere.txt")


def test_label_errors_are_listed_and_written(world: World, tmp_path: Path) -> None:
    line = ["evaluate", world.model, world.noisy, "--label-errors", "--folds", 2]
    (found,) = succeed(*line, "--json").rows
    assert found["judged"] == 60 and found["folds"] == 2 and found["not_judged"] == []
    listed = [row["text"] for row in found["label_errors"]]
    assert len({*listed} & world.flipped) / len(listed) > 0.2  # twice the share of wrong labels
    first = found["label_errors"][0]
    assert first["place"].startswith(f"{world.noisy}:") and first["given"] != first["suggested"]
    assert first["margin"] < 0 < first["self_confidence"] < 0.5
    shown = succeed(*line, "--worst", 1, "--output", tmp_path / "errors.csv").out
    assert shown.startswith(f"{len(listed)} likely label errors among 60 examples")
    assert f"{len(listed) - 1} more: --worst {len(listed)}" in shown
    with (tmp_path / "errors.csv").open(newline="", encoding="utf-8") as file:
        assert [row["text"] for row in csv.DictReader(file)] == listed


def test_label_errors_refuse_what_they_cannot_judge(world: World, tmp_path: Path) -> None:
    line = ["evaluate", world.model, world.noisy]
    assert "--folds is for --label-errors" in fail(*line, "--folds", 3)
    assert "--folds must be at least 2" in fail(*line, "--label-errors", "--folds", 1)
    assert "--output is for --label-errors" in fail(*line, "--output", tmp_path / "a.csv")
    assert "classifiers of exclusive labels" in fail("evaluate", world.several, world.noisy, "--label-errors")
    assert "--label-errors is for" in fail("evaluate", "wiki-small", world.unlabeled, "--label-errors")
