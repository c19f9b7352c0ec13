"""Pairs of texts: in any container, in files and on the command line, fitted, saved, searched over and refused."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from tests.commands.calls import fail, succeed
from tests.conftest import data_folder
from tests.encoders.coves import small_cove
from unfreeze import TextClassifier
from unfreeze.errors import UserError
from unfreeze.tasks.baselines import fit_tfidf
from unfreeze.text.examples import example_set, read_examples, stream_pairs
from unfreeze.text.text_inputs import text_inputs

ANIMALS = ["cat", "dog", "bird"]
PAIRS = [(f"The {a} sat on the mat", f"a {b} saw the mat") for a in ANIMALS for b in ANIMALS] * 2
LABELS = ["same" if a == b else "different" for a in ANIMALS for b in ANIMALS] * 2
SMALL: dict[str, Any] = {"body": "bcn", "hidden_size": 4, "epochs": 1}


@pytest.fixture(scope="module")
def cove(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("cove")
    small_cove().save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def fitted(cove: str) -> TextClassifier:
    return TextClassifier(encoder=cove, **SMALL).fit(PAIRS, LABELS)


@pytest.fixture(scope="module")
def saved(fitted: TextClassifier, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("entailment") / "model"
    fitted.save_pretrained(folder)
    return str(folder)


def table(path: Path, rows: list[tuple[str, str]] = PAIRS) -> Path:
    lines = [
        "first\tsecond\tverdict",
        *("\t".join([*pair, label]) for pair, label in zip(rows, LABELS, strict=False)),
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_pairs_come_in_any_container(fitted: TextClassifier) -> None:
    expected = fitted.predict_proba(PAIRS)
    frame = pd.DataFrame(PAIRS, columns=["premise", "hypothesis"])
    for given in (frame, frame.to_numpy(), [list(pair) for pair in PAIRS], iter(PAIRS), np.array(PAIRS)):
        np.testing.assert_array_equal(fitted.predict_proba(given), expected)
    assert fitted(PAIRS[0]) == fitted([PAIRS[0]])
    alone, among = fitted(PAIRS[0])[0], fitted(PAIRS)[0]
    assert alone["label"] == among["label"] and alone["score"] == pytest.approx(among["score"], abs=1e-5)
    assert fitted.predict_proba([]).shape == (0, 2)
    assert [pair for pair, _ in fitted.predict_stream(iter(PAIRS))] == PAIRS
    # One text with a known word is enough.
    assert "unknown" not in fitted(("xyzzy", "the cat"))[0] and fitted(("", "xyzzy"))[0]["unknown"]


def test_saved_models_remember_that_they_read_pairs(fitted: TextClassifier, saved: str) -> None:
    config = json.loads((Path(saved) / "config.json").read_text())
    assert config["settings"]["pairs"] is True and config["settings"]["network"] == "bcn"
    again = TextClassifier.from_pretrained(saved)
    assert again.reads_pairs
    np.testing.assert_allclose(again.predict_proba(PAIRS), fitted.predict_proba(PAIRS), atol=1e-6)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            ["a text", "another text"],
            r"texts\[0\] is one text where a pair of texts is due, a tuple \(text, text\)",
        ),
        ([PAIRS[0], "a text"], r"texts\[1\] is one text where a pair"),
        ([PAIRS[0], ("a", "b", "c")], r"texts\[1\] has 3 texts: a pair is a tuple of two texts"),
        ([PAIRS[0], 3], r"texts\[1\] is of type int: a pair is a tuple of two texts"),
        ([PAIRS[0], ("a", None)], r"texts\[1\]\[1\] is None, not a text"),
        (pd.DataFrame([["a", "b", "c"]]), "the texts have 3 columns"),
    ],
)
def test_a_classifier_of_pairs_refuses_other_inputs(fitted: TextClassifier, given: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        fitted.predict(given)


def test_only_bcn_reads_pairs(cove: str, tmp_path: Path) -> None:
    said = r"texts\[0\] is a pair of texts, and this classifier reads single texts: body='bcn' reads pairs"
    with pytest.raises(UserError, match=said):
        TextClassifier(encoder=cove).fit(PAIRS, LABELS)
    single = TextClassifier(encoder=cove, **SMALL).fit([a for a, _ in PAIRS], LABELS)
    assert not single.reads_pairs
    with pytest.raises(UserError, match=said):
        single.predict(PAIRS)
    with pytest.raises(
        UserError, match="the validation texts are single texts, and the training examples are pairs"
    ):
        TextClassifier(encoder=cove, **SMALL).fit(PAIRS, LABELS, validation=(["a"], ["same"]))
    with pytest.raises(UserError, match="holds pairs of texts; this baseline reads single texts"):
        fit_tfidf(example_set(PAIRS, LABELS))


def test_a_grid_search_over_pairs(cove: str) -> None:
    estimator = TextClassifier(encoder=cove, body="bcn", epochs=1)
    search = GridSearchCV(estimator, {"hidden_size": [2, 4]}, cv=2).fit(PAIRS, LABELS)
    assert search.best_estimator_.reads_pairs
    expected = clone(estimator).set_params(**search.best_params_).fit(PAIRS, LABELS)
    np.testing.assert_array_equal(search.predict_proba(PAIRS), expected.predict_proba(PAIRS))


def test_sets_of_pairs_are_told_apart() -> None:
    made = example_set(PAIRS, LABELS)
    swapped = example_set([(b, a) for a, b in PAIRS], LABELS)
    joined = example_set([f"{a}\n{b}" for a, b in PAIRS], LABELS)
    assert len({each.digest() for each in (made, swapped, joined)}) == 3
    assert example_set([list(pair) for pair in PAIRS], LABELS).digest() == made.digest()
    assert made.duplicates_of(example_set(PAIRS[:1], LABELS[:1])) == 2
    assert swapped.duplicates_of(made) == 0
    assert made.sample(4, seed=1).inputs() == made.sample(6, seed=1).inputs()[:4]
    assert text_inputs([]) == []


def test_pairs_are_read_from_tables(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = table(tmp_path / "pairs.tsv", [("The cat", ""), *PAIRS[1:]])
    columns = {"text_column": "first", "pair_column": "second", "label_column": "verdict"}
    with caplog.at_level(logging.INFO):
        found = read_examples(path, **columns)
    assert found.inputs() == [("The cat", ""), *PAIRS[1:]]
    assert f"{path}:2: the text is empty" in caplog.text
    numbers = {"text_column": "1", "pair_column": "2", "label_column": "3"}
    assert read_examples(path, **numbers, header=True).inputs() == found.inputs()
    assert list(stream_pairs(path, text_column="first", pair_column="second")) == found.inputs()
    for changes, said in [
        (
            {"pair_column": "third"},
            "no column 'third' for pair_column; the columns are 'first', 'second', 'verdict'",
        ),
        (
            {"pair_column": "first"},
            "the column 'first' cannot be both the second text of a pair and the text",
        ),
        ({"pair_column": "verdict"}, "'verdict' cannot be both the second text of a pair and the label"),
    ]:
        with pytest.raises(UserError, match=said):
            read_examples(path, **{**columns, **changes})
    lines = tmp_path / "lines.txt"
    lines.write_text("same\tThe cat\n")
    for read in (read_examples, stream_pairs):
        with pytest.raises(UserError, match="only tables"):
            read(lines, pair_column="second")  # type: ignore[operator]


def test_on_the_command_line(cove: str, tmp_path: Path) -> None:
    train, columns = table(tmp_path / "pairs.tsv"), ("--text-column", "first", "--pair-column", "second")
    label, model = ("--label-column", "verdict"), tmp_path / "model"
    fit = ["fit", "classifier", "--train", train, "--validation", train, *columns, *label, "--encoder", cove]
    small = ["--hidden-size", 4, "--epochs", 1, "--output", model]
    said = fail(*fit, *small)
    assert "has pairs of texts, which --body bcn reads and --body pooling does not" in said
    outcome = succeed(*fit, "--body", "bcn", *small)
    assert f'try `unfreeze predict {model} "a text" --pair "another text"`' in outcome.err
    assert '("A man sleeps.", "A man is awake.")' in (model / "README.md").read_text()
    assert TextClassifier.from_pretrained(model).reads_pairs

    (row,) = succeed("predict", model, "The cat sat", "--pair", "a dog saw", "--json").rows
    assert row["text"] == "The cat sat" and row["pair"] == "a dog saw" and 0 < row["score"] <= 1
    shown = succeed("predict", model, "The cat sat", "--pair", "a dog saw").out
    assert shown.endswith("\tThe cat sat\ta dog saw\n")
    written = tmp_path / "found.tsv"
    succeed("predict", model, "--file", train, *columns, "--output", written)
    again = read_examples(written, pair_column="pair")
    assert again.inputs() == PAIRS
    report = succeed("evaluate", model, train, *columns, *label, "--json").rows[0]
    assert report["accuracy"] == np.mean(
        [each.labels[0] == wanted for each, wanted in zip(again.examples, LABELS, strict=True)]
    )
    assert all({"text", "pair", "label"} <= error.keys() for error in report["worst"])
    printed = succeed("evaluate", model, train, *columns, *label).out
    assert " | a " in printed


def test_the_learning_rate_of_a_classifier_of_pairs(cove: str, tmp_path: Path) -> None:
    columns = ("--text-column", "first", "--label-column", "verdict", "--pair-column", "second")
    find = ["find-rate", "--train", table(tmp_path / "pairs.tsv"), *columns, "--encoder", cove, "--steps", 10]
    assert "has pairs of texts, which --body bcn reads" in fail(*find)
    (row,) = succeed(*find, "--body", "bcn", "--json").rows
    assert len(row["rates"]) == len(row["losses"]) > 0
    assert "--body is for --task classifier, not for --task tagger" in fail(
        "find-rate", "--task", "tagger", "--train", "x", "--body", "bcn"
    )


def test_mistakes_on_the_command_line(saved: str, cove: str, tmp_path: Path) -> None:
    train = table(tmp_path / "pairs.tsv")
    single = tmp_path / "single"
    TextClassifier(encoder=cove, **SMALL).fit([a for a, _ in PAIRS], LABELS).save_pretrained(single)
    for words, said in [
        (["predict", saved, "a text"], 'is a classifier of pairs of texts: add --pair "another text"'),
        (["predict", saved, "--file", train], "is a classifier of pairs of texts: add --pair-column NAME"),
        (["evaluate", saved, train], "is a classifier of pairs of texts: add --pair-column NAME"),
        (["predict", single, "a", "--pair", "b"], "is a classifier of single texts: leave out --pair"),
        (["evaluate", single, train, "--pair-column", "second"], "leave out --pair-column"),
        (["evaluate", single, train, "--beams", 2], "--beams is for translators, not for classifiers"),
        (["predict", saved, "a", "--pair-column", "second"], "--pair-column is for the table in --file"),
        (["predict", saved, "--file", train, "--pair", "b"], "--pair is for texts of the command line"),
        (["predict", saved, "a", "--pair", "b", "--pair-column", "c"], "not both"),
    ]:
        assert said in fail(*words)


def test_entailment_of_sick(cove: str, tmp_path: Path) -> None:
    train = data_folder("sick") / "SICK_train.txt"
    path = tmp_path / "sick.tsv"
    path.write_text(
        "".join(train.read_text(encoding="utf-8").splitlines(keepends=True)[:41]), encoding="utf-8"
    )
    columns = {
        "text_column": "sentence_A",
        "pair_column": "sentence_B",
        "label_column": "entailment_judgment",
    }
    examples = read_examples(path, **columns)
    assert len(examples) == 40 and set(examples.label_names) == {"CONTRADICTION", "ENTAILMENT", "NEUTRAL"}
    classifier = TextClassifier(encoder=cove, **SMALL)
    classifier.fit(examples.inputs(), [each.labels[0] for each in examples.examples])
    report = classifier.evaluate(examples)
    assert report.n_examples == 40 and len(report.worst[0]["pair"]) > 10
