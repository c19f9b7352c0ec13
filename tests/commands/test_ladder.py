"""`ladder` on small data of each kind: the table, the files, what is kept away from the models, and what users get wrong."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from random import Random

import pytest

from tests.commands.calls import Outcome, fail, succeed
from tests.commands.test_answerer import written
from tests.commands.toy import review, reviews, write_corpus, write_table
from tests.commands.toy_images import write_images
from tests.tasks.sentences import columns, tagged_sentences
from tests.tasks.test_answering import made_questions
from unfreeze import Ladder, TextClassifier, WordVectors
from unfreeze.ladder.texts import SCRATCH, TFIDF
from unfreeze.tasks.baselines import tfidf_accuracy
from unfreeze.text.examples import example_set

LEAKED = "zyzzyva"
"""A word of a test text only, which the unlabeled text repeats."""
OPTIONS = ("--labels", 8, 16, "--seeds", 1, "--epochs", 1, "--minutes", 1000)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Labeled reviews, and unlabeled text that contains a test text several times."""
    root = tmp_path_factory.mktemp("ladder")
    leaked = f"{review('pos', Random(9))} {LEAKED}"
    train, test = reviews(24, seed=1), [*reviews(12, seed=2), (leaked, "pos")]
    write_table(root / "train.csv", train)
    write_table(root / "test.csv", [*test, train[0]])
    write_corpus(root / "texts.txt", [*(text for text, _ in reviews(80, seed=3)), *[leaked] * 4])
    return root


@pytest.fixture(scope="module")
def found(world: Path) -> tuple[Path, Outcome]:
    """The folder and the outcome of a whole ladder."""
    output = world / "found"
    return output, ladder(world, output, "--unlabeled", world / "texts.txt", "--json")


def ladder(world: Path, output: Path, *more: object) -> Outcome:
    return succeed(
        "ladder",
        "--train",
        world / "train.csv",
        "--test",
        world / "test.csv",
        "--output",
        output,
        *OPTIONS,
        *more,
    )


def test_every_rung_stands_in_the_table_and_in_the_files(found: tuple[Path, Outcome]) -> None:
    output, outcome = found
    (values,) = outcome.rows
    rungs = list(values["about"])
    assert [(row["rung"], row["labels"]) for row in values["rows"]] == [
        (rung, count) for rung in rungs for count in (8, 16)
    ]
    assert rungs[:3] == ["largest class", TFIDF, SCRATCH] and len(rungs) == 9
    assert rungs[-2:] == ["language model, adapted and fine-tuned", "auto"]
    assert (values["duplicates"], values["left_out_documents"]) == (1, 4)
    assert "4 documents of the unlabeled text equal a test text" in outcome.err
    shares = {row["rung"]: row["pretrained_share"] for row in values["rows"]}
    assert shares["largest class"] == shares[TFIDF] == shares[SCRATCH] == 0
    # With word vectors under a new biLSTM, the first layer is transferred and nothing else.
    assert 0 < shares["own word vectors under a biLSTM"] < 0.9 < shares["own word vectors, averaged"] < 1
    assert 0.9 < shares["language model, adapted and fine-tuned"] < 1
    for row in values["rows"]:
        score = row["score"]
        assert 0 <= score["low"] <= score["mean"] <= score["high"] <= 1
        assert row["size"] > 0 and row["parameters"] > 0
    assert set(values["prepared"]) >= {"own word vectors, averaged", "language model, adapted and fine-tuned"}
    assert values["rows"] == json.loads((output / "table.json").read_text())["rows"]
    with (output / "ladder.csv").open(newline="", encoding="utf-8") as file:
        assert [row["rung"] for row in csv.DictReader(file)] == [row["rung"] for row in values["rows"]]
    names = {path.name for path in output.iterdir()}
    assert names >= {"curves-1.png", "curves-1.svg", "curves-2.svg", "report.html", "results.jsonl", "models"}


def test_no_test_text_enters_a_vocabulary(found: tuple[Path, Outcome]) -> None:
    (folder,) = (found[0] / "models").glob("word-vectors-*")
    vectors = WordVectors.from_pretrained(folder)
    assert "wonderful" in vectors and LEAKED not in vectors
    (adapted,) = (found[0] / "models").glob("adapted-*")
    assert LEAKED not in (adapted / "tokenizer.json").read_text()


def test_frozen_rungs_are_as_the_classifier_measures_itself(found: tuple[Path, Outcome], world: Path) -> None:
    with (world / "train.csv").open(newline="", encoding="utf-8") as file:
        train = list(csv.DictReader(file))
    with (world / "test.csv").open(newline="", encoding="utf-8") as file:
        test = list(csv.DictReader(file))
    classifier = TextClassifier(encoder="wiki-small", transfer="frozen", pooling="vectors")
    output = world / "all"
    (values,) = succeed(
        "ladder", "--train", world / "train.csv", "--test", world / "test.csv", "--output", output,
        "--labels", len(train), "--seeds", 1, "--minutes", 0.03, "--json",
    ).rows  # fmt: skip
    (row,) = [row for row in values["rows"] if row["rung"] == "released word vectors, averaged"]
    classifier.fit([each["text"] for each in train], [each["label"] for each in train])
    score = classifier.score([each["text"] for each in test], [each["label"] for each in test])
    assert row["score"]["mean"] == pytest.approx(score)
    assert values["left_out"]["language model, fine-tuned"] == {str(len(train)): 1}


def test_a_finished_ladder_is_not_computed_again(found: tuple[Path, Outcome], world: Path) -> None:
    output, outcome = found
    before = (output / "results.jsonl").read_bytes()
    again = ladder(world, output, "--unlabeled", world / "texts.txt", "--json")
    assert again.rows == outcome.rows
    assert (output / "results.jsonl").read_bytes() == before
    # Its lines may be cut anywhere: what is missing is computed again, and the table is the same but for the times.
    lines = before.splitlines(keepends=True)
    (output / "results.jsonl").write_bytes(b"".join(lines[:-2]) + lines[-2][:20])
    resumed = ladder(world, output, "--unlabeled", world / "texts.txt", "--json")
    (new,), (old,) = resumed.rows, outcome.rows
    for row in (*new["rows"], *old["rows"]):
        row["seconds"] = 0
    assert new["rows"] == old["rows"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--labels 25", "--labels 25 is more than the 24 examples of"),
        ("--labels 1", "--labels 1 cannot cover the 2 classes of"),
        ("--labels 8 8", "--labels has a number twice: 8 8"),
        ("--seeds 0", "--seeds must be above 0"),
        ("--minutes 0", "--minutes must be above 0"),
        ("--encoder nowhere --minutes 1", "nowhere"),
        ("--unlabeled nothing.txt", "nothing.txt"),
        ("--pair-column label", "--pair-column is for pairs of texts"),
        ("--width 8", "--width is for images, not for texts"),
        ("--test {new}", "other.csv:2: the label 'other', which is not in the training data"),
        ("--test {empty}", "empty.csv"),
    ],
)
def test_what_users_get_wrong_is_said_in_one_line(
    options: str, said: str, world: Path, tmp_path: Path
) -> None:
    write_table(tmp_path / "other.csv", [("a film", "other"), ("a story", "pos"), ("more", "other")])
    (tmp_path / "empty.csv").write_text("text,label\n")
    words = options.format(new=tmp_path / "other.csv", empty=tmp_path / "empty.csv").split()
    usual = ["--train", world / "train.csv", "--output", tmp_path / "out"]
    if "--test" not in words:
        usual += ["--test", world / "test.csv"]
    line = fail("ladder", *usual, *words)
    assert said in line
    assert not (tmp_path / "out").exists()


def test_the_folder_of_other_data_is_refused(found: tuple[Path, Outcome], world: Path) -> None:
    before = (found[0] / "results.jsonl").read_bytes()
    options = ("--train", world / "test.csv", "--test", world / "train.csv", "--output", found[0])
    assert "belongs to a ladder of other training examples" in fail("ladder", *options, "--labels", 8)
    assert (found[0] / "results.jsonl").read_bytes() == before


def test_taggers(tmp_path: Path) -> None:
    for name, seed in (("train", 0), ("test", 1)):
        (tmp_path / name).write_text(columns(tagged_sentences(20, seed)), encoding="utf-8")
    options = ("--labels", 8, 20, "--seeds", 1, "--epochs", 1, "--minutes", 1000)
    outcome = succeed(
        "ladder", "--task", "tagger", "--train", tmp_path / "train", "--test", tmp_path / "test",
        "--output", tmp_path / "out", *options, "--json",
    )  # fmt: skip
    (values,) = outcome.rows
    assert values["measure"] == "span F1"
    assert [row["rung"] for row in values["rows"]] == [SCRATCH] * 2 + ["language model, layers mixed"] * 2
    assert "span F1" in (tmp_path / "out" / "report.html").read_text()


def test_answerers(tmp_path: Path) -> None:
    written(tmp_path / "train.json", made_questions(12))
    written(tmp_path / "test.json", made_questions(6))
    outcome = succeed(
        "ladder", "--task", "answerer", "--train", tmp_path / "train.json", "--test", tmp_path / "test.json",
        "--output", tmp_path / "out", "--labels", 12, "--seeds", 1, "--epochs", 1, "--minutes", 0.1, "--json",
    )  # fmt: skip
    (values,) = outcome.rows
    assert values["measure"] == "F1" and values["rows"][0]["rung"] == SCRATCH


def test_images(tmp_path: Path) -> None:
    write_images(tmp_path / "train", 16, seed=1)
    write_images(tmp_path / "test", 8, seed=2)
    succeed(
        "pretrain", "convnet", "--images", tmp_path / "train", "--preset", "tiny", "--epochs", 1,
        "--output", tmp_path / "convnet",
    )  # fmt: skip
    sizes = ("--image-size", 16, "--width", 4, "--depths", 1, 1)
    outcome = succeed(
        "ladder", "--train", tmp_path / "train", "--test", tmp_path / "test", "--output", tmp_path / "out",
        "--encoder", tmp_path / "convnet", *sizes, "--labels", 8, "--seeds", 1, "--epochs", 1, "--json",
    )  # fmt: skip
    (values,) = outcome.rows
    rows = {row["rung"]: row for row in values["rows"]}
    assert set(rows) == {"largest class", SCRATCH, "convnet, frozen", "convnet, fine-tuned"}
    assert rows[SCRATCH]["pretrained_share"] == 0 < rows["convnet, frozen"]["pretrained_share"] < 1


def test_from_python() -> None:
    train, test = reviews(12, seed=4), reviews(6, seed=5)
    settings = Ladder(labels=(12,), seeds=2, minutes=0.02)
    table = settings.run(tuple(zip(*train, strict=True)), test=tuple(zip(*test, strict=True)))  # type: ignore[arg-type]
    assert [row.rung for row in table.rows][:2] == ["largest class", TFIDF]
    # All labels are in both samples, whatever the seed.
    expected = tfidf_accuracy(example_set(*zip(*train, strict=True)), example_set(*zip(*test, strict=True)))
    assert table.rows[1].scores == (expected, expected)
