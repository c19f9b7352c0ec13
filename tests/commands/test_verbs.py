"""The verbs end to end at toy size, in this process: what they print, what they write, and how they fail."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.commands.calls import Outcome, fail, succeed
from tests.commands.toy import BAD, GOOD, plain_documents, reviews, write_corpus, write_table
from unfreeze.commands import convert, pretrain_lm
from unfreeze.commands.arguments import parse
from unfreeze.commands.main import VERBS, load_verb
from unfreeze.commands.options import CorpusOptions
from unfreeze.folders import FORMAT_VERSION
from unfreeze.tasks.text_classifier import TextClassifier
from unfreeze.text.examples import read_examples, stream_texts


@dataclass(frozen=True)
class World:
    """Files and models that the tests share and never change."""

    root: Path
    train: Path
    test: Path
    corpus: Path
    plain: Path
    lm: Path
    classifier: Path
    fitted: Outcome


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A language model of both directions that has learned for two seconds, and a classifier on it."""
    root = tmp_path_factory.mktemp("world")
    train, test = reviews(80, seed=1), reviews(40, seed=2)
    corpus = [text for text, _ in reviews(120, seed=3)]
    world = World(
        root=root,
        train=write_table(root / "train.csv", train),
        test=write_table(root / "test.csv", [*test, train[0]]),
        corpus=write_corpus(root / "reviews.txt", corpus),
        plain=write_corpus(root / "plain.txt", plain_documents(200, seed=4) + corpus),
        lm=root / "lm",
        classifier=root / "classifier",
        fitted=Outcome(0, "", ""),
    )
    sizes = "--preset tiny --embedding-size 24 --hidden-size 32 --direction both --softmax full".split()
    bounds = "--epochs 2 --batch-size 8 --bptt 20 --learning-rate 0.02 --precision fp32".split()
    succeed("pretrain", "lm", "--corpus", world.plain, *sizes, *bounds, "--output", world.lm)
    paths = ["--train", world.train, "--validation", world.test, "--encoder", world.lm]
    options = (
        "--epochs 8 --batch-size 8 --learning-rate 0.02 --pooling top+vectors --precision fp32 --json".split()
    )
    fitted = succeed("fit", "classifier", *paths, "--output", world.classifier, *options)
    return World(**{**world.__dict__, "fitted": fitted})


def copied(folder: Path, target: Path) -> Path:
    """A copy of a model without its training state, to be damaged."""
    shutil.copytree(folder, target, ignore=shutil.ignore_patterns("training"))
    return target


# adapt


def test_adapt_takes_the_words_of_the_target_and_lowers_its_perplexity(world: World, tmp_path: Path) -> None:
    line = ["adapt", world.lm, "--corpus", world.corpus, "--epochs", 2, "--batch-size", 4, "--bptt", 20]
    line += [
        "--learning-rate",
        "0.02",
        "--min-count",
        1,
        "--precision",
        "fp32",
        "--output",
        tmp_path / "adapted",
    ]
    first = succeed(*line, "--json")
    assert f"unfreeze fit classifier --encoder {tmp_path / 'adapted'}" in first.err
    figures = first.rows[0]
    before = succeed("evaluate", world.lm, world.corpus, "--json").rows[0]
    after = succeed("evaluate", tmp_path / "adapted", world.corpus, "--json").rows[0]
    assert after["bits_per_byte"] < before["bits_per_byte"]
    tokens = json.loads((tmp_path / "adapted" / "tokenizer.json").read_text())["model"]["vocab"]
    assert figures["vocabulary"] == len(tokens) and "superb" in tokens and "mouse" not in tokens
    again = succeed(*line, "--json")
    assert again.rows[0] == figures and "complete already" in again.err


# fit classifier


def test_fit_says_what_it_chose_how_good_it_is_and_what_to_do_next(world: World) -> None:
    figures = world.fitted.rows[0]
    assert figures["transfer"] == "fine-tune" and figures["epochs"] == 8 and figures["examples"] == 80
    assert figures["accuracy"] >= 0.9 and figures["duplicates"] == 1
    assert "80 examples of 2 classes (neg 40, pos 40); fine-tune from" in world.fitted.err
    assert "41 examples" in world.fitted.err and "1 of their texts" in world.fitted.err
    assert f'unfreeze predict {world.classifier} "a text"' in world.fitted.err
    saved = {path.name for path in world.classifier.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "metrics.json", "README.md"} <= saved


def test_fit_from_scratch_learns_from_a_stratified_sample(world: World, tmp_path: Path) -> None:
    options = [
        "--encoder",
        "none",
        "--labels",
        20,
        "--epochs",
        12,
        "--hidden-size",
        16,
        "--precision",
        "fp32",
    ]
    outcome = succeed(
        *["fit", "classifier", "--train", world.train, "--validation", world.test, *options],
        *["--output", tmp_path / "scratch"],
    )
    assert "20 examples of 2 classes (neg 10, pos 10); scratch from random weights, 12 epochs" in outcome.err
    assert outcome.out.startswith("accuracy 0.")


def test_fit_chooses_more_epochs_for_fewer_examples() -> None:
    from unfreeze.tasks.plans import ClassifierPlan, plan
    from unfreeze.tasks.settings import ClassifierSettings

    few, many = (plan(ClassifierPlan, ClassifierSettings(encoder="none")).epochs_for(n) for n in (50, 50_000))
    assert few is not None and many is not None and few > many
    assert plan(ClassifierPlan, ClassifierSettings(encoder="none", epochs=3)).epochs_for(50) == 3
    assert plan(ClassifierPlan, ClassifierSettings(encoder="none", minutes=1.0)).epochs_for(50) is None


def test_fit_goes_on_from_a_classifier_of_the_same_labels(world: World, tmp_path: Path) -> None:
    line = [
        "fit",
        "classifier",
        "--train",
        world.test,
        "--validation",
        world.train,
        "--pooling",
        "top+vectors",
    ]
    line += [
        "--encoder",
        world.classifier,
        "--learning-rate",
        "1e-6",
        "--epochs",
        1,
        "--precision",
        "fp32",
        "--json",
    ]
    outcome = succeed(*line, "--output", tmp_path / "second")
    assert "the head starts from" in outcome.err
    assert outcome.rows[0]["accuracy"] >= 0.9


def test_fit_puts_word_vectors_beside_the_states(world: World, tmp_path: Path) -> None:
    vectors = tmp_path / "vectors.txt"
    opposed = [f"{word} {side} 0.5" for side, words in ((1, GOOD), (-1, BAD)) for word in words]
    vectors.write_text("\n".join([f"{len(opposed)} 2", *opposed]) + "\n", encoding="utf-8")
    line = ["fit", "classifier", "--train", world.train, "--validation", world.test, "--encoder", world.lm]
    line += ["--transfer", "frozen", "--word-vectors", vectors, "--precision", "fp32", "--json"]
    assert succeed(*line, "--output", tmp_path / "model").rows[0]["accuracy"] >= 0.9
    classifier = TextClassifier.from_pretrained(tmp_path / "model")
    table = {
        word: classifier.network.body.word_vectors[classifier.network.encoder.tokenizer.id(word)]
        for word in ("superb", "dull")
    }
    assert table["superb"][0] > 0 > table["dull"][0]
    texts = [text for text, _ in reviews(40, seed=2)]
    before = classifier.predict_proba(texts)
    classifier.network.body.word_vectors.neg_()
    assert abs(classifier.predict_proba(texts) - before).max() > 0.01  # the head reads them


def test_fit_learns_several_labels_at_once(world: World, tmp_path: Path) -> None:
    rows = [
        (f"{text} Very {'long' if n % 3 else 'short'}.", f"{label}|{'long' if n % 3 else 'short'}")
        for n, (text, label) in enumerate(reviews(30, seed=5))
    ]
    train = write_table(tmp_path / "many.csv", rows)
    options = "--multi-label --encoder none --epochs 10 --learning-rate 0.01 --hidden-size 16 --precision fp32".split()
    succeed("fit", "classifier", "--train", train, "--output", tmp_path / "many", *options)
    found = succeed("predict", tmp_path / "many", "--file", train, "--probabilities", "--json").rows
    assert set(found[0]["probabilities"]) == {"pos", "neg", "long", "short"}
    for row in found:
        named = {label["label"] for label in row["labels"]}
        assert named == {label for label, share in row["probabilities"].items() if share >= 0.5}
    for suffix in (".csv", ".tsv", ".jsonl"):  # what is written is read again
        target = tmp_path / f"out{suffix}"
        succeed("predict", tmp_path / "many", "--file", train, "--output", target)
        again = read_examples(target, multi_label=True).examples
        assert [set(each.labels) for each in again] == [{x["label"] for x in row["labels"]} for row in found]
    report = succeed("evaluate", tmp_path / "many", train)
    assert "macro F1" in report.out and "true \\ predicted" not in report.out
    assert "several" in fail("evaluate", tmp_path / "many", train, "--plot", tmp_path / "x.png")


@pytest.mark.parametrize("n_examples", [2, 3, 5])
def test_fit_works_with_fewer_examples_than_a_batch_and_with_a_last_one_alone(
    n_examples: int, world: World, tmp_path: Path
) -> None:
    rows = [("", "neg"), *reviews(n_examples - 1, seed=6)]
    train = write_table(tmp_path / "few.csv", rows)
    options = ["--epochs", 2, "--batch-size", 32 if n_examples < 5 else 2, "--precision", "fp32"]
    paths = ["--train", train, "--encoder", world.lm, "--output", tmp_path / "few"]
    succeed("fit", "classifier", *paths, *options)
    assert len(succeed("predict", tmp_path / "few", "", "a film", "--json").rows) == 2


def test_fit_replaces_another_run_only_when_told(world: World, tmp_path: Path) -> None:
    target = tmp_path / "model"
    line = ["fit", "classifier", "--train", world.train, "--encoder", world.lm, "--output", target]
    line += ["--labels", 8, "--transfer", "frozen", "--precision", "fp32", "--epochs"]
    succeed(*line, 2)
    before = (target / "model.safetensors").read_bytes()
    assert "belongs to another run (--epochs 2 there, 3 here)" in fail(*line, 3)
    assert (target / "model.safetensors").read_bytes() == before
    succeed(*line, 3, "--overwrite")
    assert (target / "model.safetensors").read_bytes() != before


# predict


def test_predict_prints_a_line_a_text(world: World) -> None:
    good, bad = (text for text, _ in reviews(2, seed=8))
    outcome = succeed("predict", world.classifier, good, bad)
    assert [line.split()[0] for line in outcome.out.splitlines()] == ["pos", "neg"]
    assert outcome.out.splitlines()[0].endswith(f"\t{good}")
    rows = succeed("predict", world.classifier, good, bad, "", "--probabilities", "--json").rows
    assert [row["text"] for row in rows] == [good, bad, ""]
    for row in rows:
        assert sum(row["probabilities"].values()) == pytest.approx(1.0)
        assert row["score"] == max(row["probabilities"].values()) == row["probabilities"][row["label"]]


def test_predict_reads_files_and_standard_input(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from_table = succeed("predict", world.classifier, "--file", world.test, "--json").rows
    expected = [text for text, _ in reviews(40, seed=2)]
    assert [row["text"] for row in from_table][:40] == expected
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join(expected[:5]) + "\n"))
    from_input = succeed("predict", world.classifier, "-", "--json").rows
    for row, other in zip(from_input, from_table, strict=False):
        assert (row["text"], row["label"]) == (other["text"], other["label"])
        assert row["score"] == pytest.approx(other["score"], abs=1e-5)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl"])
def test_predict_writes_files_whole(suffix: str, world: World, tmp_path: Path) -> None:
    target = tmp_path / f"labels{suffix}"
    line = ["predict", world.classifier, "--file", world.test, "--output", target, "--probabilities"]
    assert succeed(*line).out == f"41 texts: {target}\n"
    expected = succeed("predict", world.classifier, "--file", world.test, "--json").rows
    with target.open(encoding="utf-8", newline="") as file:
        if suffix == ".jsonl":
            found = [json.loads(row) for row in file]
            assert {"neg", "pos"} == set(found[0]["probabilities"])
        else:
            found = list(csv.DictReader(file, delimiter="\t" if suffix == ".tsv" else ","))
            assert list(found[0]) == ["text", "label", "score", "unknown", "p(neg)", "p(pos)"]
            assert {row["unknown"] for row in found} == {""}
    assert [(row["text"], row["label"]) for row in found] == [(r["text"], r["label"]) for r in expected]
    assert [text for text, _ in reviews(40, seed=2)] == list(stream_texts(target))[:40]
    before = target.read_bytes()
    broken = tmp_path / "broken.txt"
    broken.write_bytes(b"fine\nnot \xff fine\n")
    line = ["predict", world.classifier, "--file", broken, "--output", target]
    assert f"--output {target} exists" in fail(*line)
    assert "broken.txt:2" in fail(*line, "--overwrite")
    assert target.read_bytes() == before and len(list(tmp_path.iterdir())) == 2


ODD = [
    "two\nlines",
    "a\ttab",
    'a "quote"',
    '"quoted"',
    '"',
    "",
    " spaces ",
    "label",
    'both "\n\t',
    "a\x0bb\x85c\u2028d",
]


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl"])
def test_what_predict_writes_is_read_again(suffix: str, world: World, tmp_path: Path) -> None:
    source, target = tmp_path / "odd.jsonl", tmp_path / f"out{suffix}"
    texts = [*ODD, "a NUL \0", "a\rb"]
    source.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    expected = succeed("predict", world.classifier, "--file", source, "--json").rows
    succeed("predict", world.classifier, "--file", source, "--output", target)
    found = read_examples(target, label_column="label")
    assert [example.labels[0] for example in found.examples] == [row["label"] for row in expected]
    if suffix != ".jsonl":  # a table holds no NUL, its line ends become line feeds, and see `_flattened`
        texts[-2:] = ["a NUL \ufffd", "a\nb"]
    if suffix == ".tsv":
        texts[ODD.index('both "\n\t')] = 'both "\n '
    assert found.inputs() == texts
    again = succeed("predict", world.classifier, "--file", target, "--text-column", "text", "--json").rows
    assert [row["text"] for row in again] == texts
    assert succeed("evaluate", world.classifier, target, "--json").rows[0]["n_examples"] == len(texts)


def test_predict_escapes_formulas_when_told(world: World, tmp_path: Path) -> None:
    texts = ["=HYPERLINK(1)", "+1", "-1", "@a", "a=b", "\t=1"]
    for suffix, delimiter in ((".csv", ","), (".tsv", "\t")):
        target = tmp_path / f"out{suffix}"
        for option, mark in (([], ""), (["--escape-formulas"], "'")):
            succeed("predict", world.classifier, "--output", target, "--overwrite", *option, "--", *texts)
            with target.open(encoding="utf-8", newline="") as file:
                found = [row["text"] for row in csv.DictReader(file, delimiter=delimiter)]
            assert found == [text if text == "a=b" else mark + text for text in texts]
    for place in ([], ["--output", tmp_path / "out.jsonl"]):
        assert "--escape-formulas is for tables" in fail(
            "predict", world.classifier, "a", "--escape-formulas", *place
        )


def test_no_text_commands_the_terminal(world: World, tmp_path: Path) -> None:
    text = "a \x1b[31mfilm\x9b2J"
    shown = r"a \x1b[31mfilm\x9b2J"
    assert shown in succeed("predict", world.classifier, text).out
    row = succeed("predict", world.classifier, text, "--json")
    assert not set("\x1b\x9b") & set(row.out) and row.rows[0]["text"] == text
    data = write_table(tmp_path / "odd.csv", [(text, "pos"), (text, "neg")])
    assert shown in succeed("evaluate", world.classifier, data).out
    bad = write_table(tmp_path / "bad.csv", [("a", "po\x1b[1m")])
    assert r"the label 'po\x1b[1m', which" in fail("evaluate", world.classifier, bad)
    assert succeed("generate", world.lm, "\x1b[1mThe", "--tokens", 1).out.startswith(r"\x1b[1mThe")


# Tables with and without a header

CELLS = [
    ("I saw the ___ .", "pos", "title"),
    ("The ___ was dull .", "neg", "other"),
    ("The ___ was superb .", "pos", "other"),
]
READERS = {
    "predict": "predict {classifier} --file {data}",
    "score": "score {lm} --no-tokens --file {data}",
    "fill": "fill {lm} --file {data}",
    "embed": "embed {lm} {data} --layers -1 --output {new}/out.npz",
    "evaluate classifier": "evaluate {classifier} {data} --label-column 2",
    "evaluate lm": "evaluate {lm} {data}",
    "fit classifier": "fit classifier --train {data} --label-column 2 --encoder {lm} --transfer frozen "
    "--precision fp32 --output {new}/model",
}


@pytest.mark.parametrize("reader", READERS)
def test_verbs_read_all_rows_of_a_table_whose_columns_are_given_by_number(
    reader: str, world: World, tmp_path: Path
) -> None:
    data = tmp_path / "rows.csv"
    data.write_text("".join(",".join(row) + "\n" for row in CELLS), encoding="utf-8")
    for option, count in (("--no-header", 3), ("", 3), ("--header", 2)):
        new = tmp_path / f"new{option}"
        new.mkdir()
        line = READERS[reader].format(classifier=world.classifier, lm=world.lm, data=data, new=new)
        rows = succeed(*line.split(), "--text-column", 1, *option.split(), "--json").rows
        counts = [
            row[key] for row in rows for key in ("n_examples", "documents", "examples", "lines") if key in row
        ]
        assert (counts or [len(rows)]) == [count]


def test_every_verb_that_reads_tables_can_be_told_of_a_header(tmp_path: Path) -> None:
    """Verbs that learn from unlabeled text read it by their `text`; find-rate by a sample."""
    data = tmp_path / "rows.csv"
    data.write_text("".join(",".join(row) + "\n" for row in CELLS), encoding="utf-8")
    readers, corpora = set(), set()
    for name in VERBS:
        kind, _ = load_verb(name)
        names = {field.name for field in dataclasses.fields(kind)}
        assert bool(names & {"text_column", "source_column", "image_column"}) == ("header" in names), name
        readers |= {name} if "header" in names else set()
        if not issubclass(kind, CorpusOptions):
            continue
        corpora.add(name)
        line = ["--corpus", str(data), "--output", str(tmp_path / "new"), "--text-column", "1"]
        line += ["encoder"] if name == "adapt" else []
        for option, expected in (([], CELLS), (["--no-header"], CELLS), (["--header"], CELLS[1:])):
            arguments = parse(kind, [*line, *option], name)
            assert arguments is not None
            assert list(arguments.text.documents()) == [text for text, *_ in expected]
    assert corpora == {
        "adapt",
        *(f"pretrain {name}" for name in ("ngram", "lm", "word2vec", "glove", "elmo")),
    }
    others = "fit classifier, fit locator, find-rate, evaluate, predict, suggest, score, fill, embed, neighbors, contextuality, senses, ladder"
    assert readers == corpora | set(others.split(", ")) | {"pretrain cove", "pretrain convnet", "translate"}


def test_a_warning_about_data_is_said_once(world: World, tmp_path: Path) -> None:
    data = tmp_path / "rows.csv"
    data.write_text("".join(",".join(row) + "\n" for row in CELLS * 40), encoding="utf-8")
    line = ["pretrain", "ngram", "--corpus", data, "--text-column", 1, "--output", tmp_path / "new"]
    said = succeed(*line).err
    assert said.count("the first line ('I saw the ___ .', 'pos', 'title') is read as data") == 1


def test_fit_leaves_out_unlabeled_texts_when_told(world: World, tmp_path: Path) -> None:
    rows = [*reviews(8, seed=1), *((text, "") for text, _ in reviews(4, seed=2)), ("", "pos")]
    data = write_table(tmp_path / "half.csv", rows)
    line = [
        "fit",
        "classifier",
        "--train",
        data,
        "--encoder",
        world.lm,
        "--transfer",
        "frozen",
        "--precision",
        "fp32",
    ]
    line += ["--output", tmp_path / "new"]
    assert "half.csv:10: this example has no label; --skip-unlabeled leaves" in fail(*line)
    outcome = succeed(*line, "--skip-unlabeled", "--json")
    assert outcome.rows[0]["examples"] == 9
    assert "4 of 13 examples have no label and are left out, the first is" in outcome.err
    assert "half.csv:14: the text is empty" in outcome.err
    measured = succeed("evaluate", tmp_path / "new", data, "--skip-unlabeled", "--json").rows[0]
    assert measured["n_examples"] == 9


def test_predict_says_which_texts_have_no_known_word(world: World, tmp_path: Path) -> None:
    """The classes are of one size: that is all that is known of a text without a known word."""
    texts = ["", "Qwertzuiop asdfghjkl", reviews(1, seed=8)[0][0]]
    rows = succeed("predict", world.classifier, *texts, "--json").rows
    assert [row.get("unknown", False) for row in rows] == [True, True, False]
    assert [row["score"] for row in rows[:2]] == [0.5, 0.5] and rows[2]["score"] != 0.5
    lines = succeed("predict", world.classifier, *texts).out.splitlines()
    assert lines[1] == f"neg 0.500, no known word\t{texts[1]}" and "no known word" not in lines[2]
    succeed("predict", world.classifier, *texts, "--output", tmp_path / "a.csv")
    with (tmp_path / "a.csv").open(encoding="utf-8", newline="") as file:
        assert [row["unknown"] for row in csv.DictReader(file)] == ["true", "true", ""]


@pytest.mark.parametrize(
    ("direction", "without_output", "said"),
    [
        ("forward", False, "unfreeze generate 'my model' \"The\""),
        ("backward", False, "unfreeze score 'my model' \"a text\""),
        ("backward", True, "unfreeze fit classifier --encoder 'my model' --train FILE --output DIR"),
    ],
)
def test_the_command_that_is_recommended_can_be_run(direction: str, without_output: bool, said: str) -> None:
    assert pretrain_lm.next_command(Path("my model"), direction, without_output=without_output) == said


def test_the_command_that_is_recommended_after_a_conversion_can_be_run() -> None:
    output = Path("it's")
    assert (
        convert.next_command("backward language model", output) == "unfreeze score 'it'\"'\"'s' \"A text.\""
    )
    assert convert.next_command("classifier", output) == "unfreeze predict 'it'\"'\"'s' \"A text.\""


# evaluate


def test_evaluate_reports_a_classifier(world: World, tmp_path: Path) -> None:
    plot = tmp_path / "confusion.png"
    report = succeed("evaluate", world.classifier, world.test, "--json", "--plot", plot).rows[0]
    predicted = succeed("predict", world.classifier, "--file", world.test, "--json").rows
    true = [label for _, label in [*reviews(40, seed=2), reviews(80, seed=1)[0]]]
    right = sum(row["label"] == label for row, label in zip(predicted, true, strict=True))
    assert report["accuracy"] == pytest.approx(right / 41)
    assert report["labels"] == ["neg", "pos"] and report["n_examples"] == 41
    assert sum(map(sum, report["confusion"])) == 41
    assert sum(report["confusion"][k][k] for k in range(2)) == right
    assert [row["support"] for row in report["classes"]] == [true.count("neg"), true.count("pos")]
    assert plot.read_bytes().startswith(b"\x89PNG")
    text = succeed("evaluate", world.classifier, world.test).out
    assert f"accuracy {right / 41:.4f}" in text and "true \\ predicted" in text and "precision" in text


def test_evaluate_shows_the_most_confident_errors(world: World, tmp_path: Path) -> None:
    wrong = {"pos": "neg", "neg": "pos"}
    rows = [(text, wrong[label]) for text, label in reviews(10, seed=7)]
    data = write_table(tmp_path / "wrong.csv", rows, head=("review", "stars"))
    line = ["evaluate", world.classifier, data, "--text-column", "review", "--label-column", "stars"]
    worst = succeed(*line, "--worst", 3, "--json").rows[0]["worst"]
    scores = [error["predicted"]["score"] for error in worst]
    assert len(worst) == 3 and scores == sorted(scores, reverse=True)
    text = succeed(*line, "--worst", 3).out
    assert text.count(", predicted ") == 3
    assert "worst errors" not in succeed(*line, "--worst", 0).out


def test_evaluate_measures_a_language_model(world: World) -> None:
    found = succeed("evaluate", world.lm, world.corpus, "--json").rows[0]
    assert found["documents"] == 120 and found["perplexity"] == pytest.approx(math.exp(found["loss"]))
    texts = world.corpus.read_text(encoding="utf-8").splitlines()
    scores = succeed("score", world.lm, "--file", world.corpus, "--no-tokens", "--json").rows
    total = sum(score[name]["log_probability"] for score in scores for name in ("forward", "backward")) / 2
    assert found["loss"] == pytest.approx(-total / found["n_tokens"], rel=1e-4)
    n_bytes = sum(len(text.encode()) for text in texts)
    expected = (-total / math.log(2) + 8 * found["unknown_share"] * n_bytes) / n_bytes
    assert found["bits_per_byte"] == pytest.approx(expected, rel=1e-4)
    assert "bits per byte" in succeed("evaluate", world.lm, world.corpus).out


# score, fill, generate


def test_score_gives_each_token_and_the_sum(world: World, tmp_path: Path) -> None:
    text = "The film was very dull."
    row = succeed("score", world.lm, text, "--json").rows[0]
    for name in ("forward", "backward"):
        tokens = row[name]["tokens"]
        assert [text[t["start"] : t["end"]] for t in tokens if not t["token"].startswith("xx")] == [
            *text[:-1].split(),
            ".",
        ]
        assert sum(t["log_probability"] for t in tokens) == pytest.approx(row[name]["log_probability"])
    lines = tmp_path / "lines.txt"
    lines.write_text(f"{text}\nThe bank is near the river.\n", encoding="utf-8")
    rows = succeed("score", world.lm, "--file", lines, "--json").rows
    assert [r["text"] for r in rows] == lines.read_text(encoding="utf-8").splitlines()
    assert rows[0]["forward"]["log_probability"] == pytest.approx(row["forward"]["log_probability"], abs=1e-4)
    shown = succeed("score", world.lm, text).out
    assert shown.startswith("forward -") and "\nbackward -" in shown and "dull" in shown
    assert succeed("score", world.lm, text, "--no-tokens").out.count("\n") == 2
    assert succeed("score", world.lm, "", "--json").rows[0]["forward"]["perplexity"] is None
    assert succeed("score", world.lm, "").out.startswith("forward 0.0000 nats, 0 tokens\t\n")


def test_fill_ranks_words(world: World) -> None:
    text = "The film was very ___."
    found = succeed("fill", world.lm, text, "--top", 5, "--json").rows[0]
    assert found["text"] == text and [word["rank"] for word in found["words"]] == [1, 2, 3, 4, 5]
    assert set(found["words"][0]) == {"rank", "word", "forward", "backward", "both"}
    named = succeed("fill", world.lm, text, "--candidates", "dull", "Superb", "river", "--json").rows[0][
        "words"
    ]
    assert {word["word"] for word in named} == {"dull", "superb", "river"} and named[-1]["word"] == "river"
    shown = succeed("fill", world.lm, text).out
    assert shown.startswith(f"{text}\n") and "backward" in shown and len(shown.splitlines()) == 13


def test_generate_goes_on_from_the_prompt(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    line = ["generate", world.lm, "The film", "--tokens", 12, "--no-stop-at-document-end", "--seed", 3]
    shown = succeed(*line)
    text = succeed(*line, "--json").rows[0]["text"]
    assert shown.out == f"{text}\n" and text.startswith("The film ")
    monkeypatch.setattr(sys, "stdin", io.StringIO("The film\n"))
    assert succeed("generate", world.lm, "-", *line[3:]).out == shown.out
    assert succeed("generate", world.lm, "--tokens", 3, "--temperature", 0).out.strip()


def test_a_subword_model_scores_fills_and_writes(world: World, tmp_path: Path) -> None:
    line = (
        "--tokenizer subword --vocabulary-size 150 --preset tiny --embedding-size 16 --hidden-size 16".split()
    )
    line += "--direction both --epochs 1 --batch-size 8 --precision fp32".split()
    model = tmp_path / "subword"
    succeed("pretrain", "lm", "--corpus", world.corpus, *line, "--output", model)
    text = "The film was very ___."
    words = succeed("fill", model, text, "--candidates", "superb", "dull", "--json").rows[0]["words"]
    assert {word["word"] for word in words} == {"superb", "dull"}
    tokens = succeed("score", model, text.replace("___", "dull"), "--json").rows[0]["backward"]["tokens"]
    assert "".join(token["token"] for token in tokens) == "▁The▁film▁was▁very▁dull."
    assert succeed("generate", model, "The film ", "--tokens", 9).out.startswith("The film ")


# find-rate


def test_find_rate_for_adapt_and_for_fit(world: World, tmp_path: Path) -> None:
    options = ["--low", "1e-4", "--high", "3", "--steps", 40, "--precision", "fp32", "--json"]
    plot = tmp_path / "rate.png"
    ways = [
        [world.lm, "--corpus", world.corpus, "--batch-size", 4, "--plot", plot],
        ["--train", world.train, "--encoder", world.lm, "--batch-size", 80],
        ["--train", world.train, "--encoder", world.lm, "--transfer", "frozen", "--batch-size", 8],
    ]
    for way in ways:
        found = succeed("find-rate", *way, *options).rows[0]
        assert 1e-4 <= found["suggestion"] <= 3 and len(found["rates"]) == len(found["losses"])
        assert found["losses"][0] > min(found["losses"])
    assert plot.read_bytes().startswith(b"\x89PNG")


# Mistakes


@pytest.mark.parametrize(
    ("verb", "said"),
    [
        (
            "predict {lm} text",
            "is a language model; predict needs a classifier, a tagger, an answerer or a locator: use evaluate, score, fill or generate",
        ),
        ("score {classifier} text", "is a text classifier, not a language model: use predict or evaluate"),
        ("fill {classifier} ___", "is a text classifier, not a language model"),
        ("generate {classifier}", "is a text classifier, not a language model"),
        (
            "adapt {classifier} --corpus {corpus} --output {new}",
            "is a text classifier, not a language model",
        ),
        ("predict {classifier}", "no text was given"),
        ("predict {classifier} text --file {test}", "not from both"),
        ("predict {classifier} --file {missing}", "no such file"),
        ("predict {classifier} --file {empty}", "empty"),
        ("predict {classifier} --file {test} --text-column review", "'review'"),
        ("predict {classifier} text --output {root}/labels.txt", ".csv, .tsv or .jsonl"),
        ("predict {missing} text", "there is no folder"),
        ("evaluate {classifier} {empty}", "empty"),
        ("evaluate {classifier} {latin}", "latin.csv:3:6: not utf-8: byte 0xe9"),
        (
            "evaluate {classifier} {unknown_label}",
            "the label 'meh', which is not in the training data (it had neg, pos)",
        ),
        ("evaluate {classifier} {unlabeled}", "label"),
        ("evaluate {classifier} {test} --label-column stars", "'stars'"),
        ("evaluate {classifier} {test} --plot {root}/plot.gif2", "end in .png, .svg or .pdf"),
        ("evaluate {classifier} {test} --worst -1", "--worst must be at least 0"),
        ("evaluate {lm} {empty_text}", "the corpus is empty"),
        (
            "evaluate {lm} {corpus} --plot {root}/plot.png",
            "--plot is for classifiers and image classifiers, not for language models",
        ),
        ("fill {lm} text", "has no gap: write ___ once"),
        ("fill {lm} ___ --candidates zebra", "'zebra' cannot be ranked"),
        ("fill {lm} ___ --top 0", "--top must be above 0"),
        ("generate {lm} The --temperature -1", "temperature must be at least 0, not -1"),
        ("fit classifier --train {empty} --encoder {lm} --output {new}", "empty"),
        ("fit classifier --train {latin} --encoder {lm} --output {new}", "latin.csv:3:6: not utf-8"),
        (
            "fit classifier --train {one_class} --encoder {lm} --output {new}",
            "all 2 examples are of one class",
        ),
        ("fit classifier --train {test} --text-column review --encoder {lm} --output {new}", "'review'"),
        (
            "fit classifier --train {train} --labels 1 --encoder {lm} --output {new}",
            "cannot cover 2",
        ),
        (
            "fit classifier --train {train} --labels 99 --encoder {lm} --output {new}",
            "holds 80 examples, not 99",
        ),
        (
            "fit classifier --train {train} --epochs 0 --encoder {lm} --output {new}",
            "--epochs must be above 0",
        ),
        ("fit classifier --train {train} --epochs 1 --minutes 1 --output {new}", "not both"),
        (
            "fit classifier --train {train} --encoder none --transfer frozen --output {new}",
            "needs an encoder",
        ),
        ("fit classifier --train {train} --encoder {lm} --output {train}", "is a file"),
        (
            "fit classifier --train {train} --encoder {lm} --learning-rate -1 --output {new}",
            "--learning-rate must be above 0",
        ),
        (
            "fit classifier --train {train} --encoder {lm} --dropout-scale 9 --output {new}",
            "--dropout-scale 9 makes",
        ),
        (
            "fit classifier --train {train} --validation {unknown_label} --encoder {lm} --output {new}",
            "the label 'meh', which is not in the training data",
        ),
        (
            "fit classifier --train {train} --encoder {lm} --batch-size 0 --output {new}",
            "--batch-size must be above 0",
        ),
        (
            "find-rate {lm} --corpus {corpus} --skip-unlabeled",
            "--skip-unlabeled is for --task classifier, not for --corpus",
        ),
        (
            "find-rate {lm} --corpus {corpus} --label-column 2",
            "--label-column is for --task classifier, --task tagger and --task locator, not for --corpus",
        ),
        (
            "find-rate {lm} --corpus {corpus} --task tagger",
            "--task tagger goes with --train, not with --corpus",
        ),
        (
            "evaluate {lm} {corpus} --precision bf16",
            "--precision is for classifiers, image classifiers, taggers, answerers and locators, not for language models",
        ),
        ("evaluate {classifier} {test} --comments skip", "--comments is for taggers, not for classifiers"),
        (
            "predict {classifier} a --comments skip",
            "--comments is for taggers of split words, not for classifiers",
        ),
        (
            "predict {classifier} a --tokenized",
            "--tokenized is for taggers of split words, not for classifiers",
        ),
        ("find-rate {lm} --corpus {corpus} --batch-size 0", "--batch-size must be above 0"),
        ("find-rate {lm}", "needs MODEL --corpus PATH (for adapt) or --train FILE"),
        ("find-rate {lm} --train {train}", "as --encoder"),
        ("find-rate --corpus {corpus}", "needs the language model"),
        ("find-rate {lm} --corpus {corpus} --steps 5", "steps must be at least 10, got 5"),
        ("adapt {lm} --corpus {empty_text} --output {new}", "empty"),
        ("adapt {lm} --corpus {corpus} --epochs 0 --output {new}", "--epochs must be above 0"),
        ("adapt {missing} --corpus {corpus} --output {new}", "there is no folder"),
    ],
)
def test_a_mistake_is_one_line(verb: str, said: str, world: World, tmp_path: Path) -> None:
    good = "The film was superb."
    places = {
        "lm": world.lm,
        "classifier": world.classifier,
        "train": world.train,
        "test": world.test,
        "corpus": world.corpus,
        "root": tmp_path,
        "new": tmp_path / "new",
        "missing": tmp_path / "missing",
        "empty": tmp_path / "empty.csv",
        "empty_text": tmp_path / "empty.txt",
        "latin": tmp_path / "latin.csv",
        "one_class": write_table(tmp_path / "one-class.csv", [(good, "pos"), ("Fine.", "pos")]),
        "unknown_label": write_table(tmp_path / "unknown.csv", [(good, "pos"), ("Fine.", "meh")]),
        "unlabeled": write_table(tmp_path / "unlabeled.csv", [(good, "pos"), ("Fine.", "")]),
    }
    places["empty"].touch()
    places["empty_text"].touch()
    places["latin"].write_bytes("text,label\nfine,pos\ntouché,neg\n".encode("latin-1"))
    words = [word.format(**places) for word in verb.split()]
    if words[0] in ("fit", "adapt", "find-rate"):
        words += ["--precision", "fp32"]
    assert said in fail(*words)


def test_a_file_in_another_encoding_is_read_when_told(world: World, tmp_path: Path) -> None:
    data = tmp_path / "latin.csv"
    data.write_bytes("text,label\nsuperb,pos\ntouché,neg\n".encode("latin-1"))
    assert (
        succeed("evaluate", world.classifier, data, "--encoding", "latin-1", "--json").rows[0]["n_examples"]
        == 2
    )


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
@pytest.mark.parametrize("damage", ["missing", "truncated"])
def test_a_damaged_model_is_named(name: str, damage: str, world: World, tmp_path: Path) -> None:
    for model, line in ((world.classifier, ["predict"]), (world.lm, ["score"])):
        broken = copied(model, tmp_path / model.name)
        file = broken / name
        if damage == "missing":
            file.unlink()
        else:
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
        said = fail(*line, broken, "a text")
        assert name in said and ("missing" in said or "damaged" in said or "holds no" in said)


def test_a_model_of_a_newer_version_is_named(world: World, tmp_path: Path) -> None:
    newer = copied(world.classifier, tmp_path / "newer")
    config = json.loads((newer / "config.json").read_text(encoding="utf-8"))
    config["format_version"] = FORMAT_VERSION + 1
    (newer / "config.json").write_text(json.dumps(config), encoding="utf-8")
    for line in (["predict", newer, "text"], ["evaluate", newer, world.test]):
        assert f"format version {FORMAT_VERSION + 1}" in fail(*line)
    fit = ["fit", "classifier", "--train", world.train, "--encoder", newer, "--precision", "fp32"]
    assert f"format version {FORMAT_VERSION + 1}" in fail(*fit, "--output", tmp_path / "new")


def test_help_has_required_options_first_then_the_verbs_own_then_shared_ones_then_settings() -> None:
    shown = re.findall(r"(?<= )--([a-z-]+)", succeed("fit", "tagger", "--help").out)
    first = {
        name: shown.index(name)
        for name in ("output", "train", "token-column", "overwrite", "encoder", "scheme")
    }
    assert list(first) == sorted(first, key=first.__getitem__)
