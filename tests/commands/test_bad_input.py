"""What users get wrong, verb by verb: one line says what and where, and nothing that was there before is lost."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from random import Random

import numpy as np
import pytest

from tests.commands.calls import call, fail, succeed
from tests.commands.toy import BAD, GOOD, plain_documents, reviews, write_corpus, write_table
from tests.disk import files_of

SIZES = "--preset tiny --embedding-size 16 --hidden-size 16 --softmax full --batch-size 8 --bptt 20"
FIT = "fit classifier --encoder {lm} --epochs 1 --batch-size 4 --precision fp32 --output {new} --train"
PRETRAIN = f"pretrain lm {SIZES} --precision fp32 --output {{new}} --corpus"
ADAPT = "adapt {lm} --precision fp32 --output {new} --corpus"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with texts, a language model `lm` and a classifier `model`."""
    root = tmp_path_factory.mktemp("bad-input")
    write_table(root / "train.csv", reviews(12, seed=1))
    write_corpus(root / "plain.txt", plain_documents(60, seed=2) + [text for text, _ in reviews(60, seed=3)])
    line = f"pretrain lm {SIZES} --direction both --precision fp32 --corpus"
    succeed(*line.split(), root / "plain.txt", "--output", root / "lm")
    line = FIT.format(lm=root / "lm", new=root / "model")
    succeed(*line.split(), root / "train.csv", "--head", "linear")
    return root


def words(line: str, world: Path, new: Path) -> list[str]:
    """A command line with its places filled in."""
    places = {"lm": world / "lm", "model": world / "model", "train": world / "train.csv", "new": new}
    return [word.format(**places, plain=world / "plain.txt", here=new.parent) for word in line.split()]


def contents(folder: Path) -> dict[str, bytes]:
    """Every file under a folder, hidden ones too, but those of runs."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in files
        if "training" not in path.relative_to(folder).parts
    }


# Options


@pytest.mark.parametrize(
    ("line", "said"),
    [
        *((f"{PRETRAIN} {{plain}} --{name} -1", f"--{name} must be above 0, not -1") for name in (
            "epochs batch-size bptt n-layers embedding-size hidden-size vocabulary-size min-count learning-rate minutes "
            "validate-minutes".split()
        )),
        ("generate {lm} the --tokens 1" + 30 * "0", "--tokens must be at most 2,147,483,647, not 1000"),
        ("pretrain word2vec --corpus {plain} --output {new} --workers 100000", "--workers must be at most 1,024, not 100000"),
        ("adapt nothing --corpus {plain} --output {new} --workers -1", "--workers must be above 0, not -1"),
        ("pretrain glove --corpus {plain} --output {new} --workers 1025", "--workers must be at most 1,024, not 1025"),
        *((f"{ADAPT} {{plain}} --{name} 0", f"--{name} must be above 0, not 0") for name in (
            "epochs minutes bptt vocabulary-size min-count".split()
        )),
        *((f"{FIT} {{train}} --{name} -3", f"--{name} must be above 0, not -3") for name in (
            "labels epochs embedding-size hidden-size vocabulary-size min-count".split()
        )),
        (f"{PRETRAIN} {{plain}} --minutes nan", "--minutes must be above 0, not nan"),
        (f"{ADAPT} {{plain}} --minutes inf", "--minutes must be above 0, not inf"),
        (f"{PRETRAIN} {{plain}} --checkpoint-minutes nan", "--checkpoint-minutes must be at least 0, not nan"),
        (f"{PRETRAIN} {{plain}} --weight-decay -1", "--weight-decay must be at least 0, not -1.0"),
        (f"{ADAPT} {{plain}} --dropout-scale -1", "--dropout-scale must be at least 0, not -1.0"),
        (f"{PRETRAIN} {{plain}} --dropout-scale 9", "--dropout-scale 9 makes the input dropout 2.25: it must be"),
        (f"{PRETRAIN} {{plain}} --cell gru", "--cell takes lstm or qrnn, not 'gru'; see"),
        (f"{FIT} {{train}} --checkpoint-minutes -1", "--checkpoint-minutes must be at least 0, not -1.0"),
        (f"{PRETRAIN} {{plain}} --cell lstm --windows 2 1", "--windows and --zoneout are for QRNNs: add --cell qrnn"),
        (f"{PRETRAIN} {{plain}} --windows 2", "--windows is for QRNNs: add --cell qrnn"),
        (f"{PRETRAIN} {{plain}} --zoneout 0.1", "--windows and --zoneout are for QRNNs: add --cell qrnn"),
        (f"{PRETRAIN} {{plain}} --cell qrnn --windows 2 0", "--windows must be at least 1, not 2 0"),
        (f"{PRETRAIN} {{plain}} --cell qrnn --n-layers 1 --windows 2 1", "2 windows are given for 1 layers"),
        (f"{PRETRAIN} {{plain}} --cell qrnn --zoneout 1", "--zoneout must be at least 0 and below 1, got 1.0"),
        (f"{PRETRAIN} {{plain}} --seed -1", "--seed must be from 0 to 4294967295, not -1"),
        ("evaluate {model} {train} --precision fp16", "--precision takes auto, fp32 or bf16, not 'fp16'"),
        ("fit tagger --train {plain} --output {new} --scheme bioe", "--scheme takes bio, bioes, iob1 or plain, not 'bioe'"),
        ("pretrain word2vec --corpus --output {new}", "no text is given: --corpus needs a file"),
        (f"{PRETRAIN} {{plain}} --seed", "--seed needs a value; see unfreeze pretrain lm --help"),
        (f"{FIT} {{train}} --seed 99999999999999999999", "--seed must be from 0"),
        ("generate {lm} The --seed -1", "--seed must be from 0"),
        ("find-rate {lm} --corpus {plain} --low -1", "--low must be above 0"),
        ("find-rate {lm} --corpus {plain} --plot rate.txt", "cannot draw 'rate.txt'"),
        (f"{FIT} {{train}} --encoder {{lm}} --architecture awd-lstm", "--architecture awd-lstm is trained from scratch"),
        (f"{FIT} {{train}} --encoder {{lm}} --new-words", "--new-words is for an encoder of word vectors, not for --encoder "),
        (f"{FIT} {{train}} --encoder none --new-words", "--new-words is for an encoder of word vectors, not for --encoder none"),
        (f"{FIT} {{train}} --labels 13", "holds 12 examples, not 13"),
    ],
)  # fmt: skip
def test_a_number_that_cannot_work(line: str, said: str, world: Path, tmp_path: Path) -> None:
    assert said in fail(*words(line, world, tmp_path / "new"))
    assert not (tmp_path / "new" / "config.json").exists()


# Data

TABLES = {
    "a column twice": ("text,label,label\nfine,pos,x\nbad,neg,y\n", "x.csv:1: the header names the column 'label' twice"),
    "an open quote": ('text,label\n"fine",pos\n"bad,neg\nmore,neg\n', "x.csv:3: not CSV"),
    "a separator too many": ("text,label\nfine, film,pos\nbad,neg\n", "x.csv:2: 3 fields, but 2"),
    "no label": ("text,label\nfine,pos\nbad,\n", "x.csv:3: this example has no label; --skip-unlabeled leaves such examples out"),
    "one class": ("text,label\nfine,pos\nbad,pos\n", "all 2 examples are of one class (pos)"),
    "only a header": ("text,label\n", "x.csv: no example in it"),
    "an unknown header": ("a,b\nfine,pos\nbad,neg\n", "the first line holds 'a', 'b': name the column by its number"),
    "nothing": ("", "x.csv: the file is empty"),
    "a NUL": ("text,label\nfine,pos\nb\0d,neg\n", "x.csv:3: a NUL byte"),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLES)
def test_a_table_that_cannot_be_read(name: str, world: Path, tmp_path: Path) -> None:
    content, said = TABLES[name]
    (tmp_path / "x.csv").write_text(content, encoding="utf-8")
    assert said in fail(*words(f"{FIT} {{here}}/x.csv", world, tmp_path / "new"))
    assert not (tmp_path / "new").exists()


def test_a_label_that_training_lacked_is_told_with_its_line(world: Path, tmp_path: Path) -> None:
    data = write_table(tmp_path / "test.csv", [("Two\nlines.", "pos"), ("Fine.", "neg"), ("So so.", "meh")])
    said = f"{data}:5: the label 'meh', which is not in the training data (it had neg, pos)"
    assert said in fail("evaluate", world / "model", data)
    line = f"{FIT} {{train}} --validation {data}"
    assert said in fail(*words(line, world, tmp_path / "new"))


def test_a_label_that_training_lacked_counts_as_an_error_when_told(world: Path, tmp_path: Path) -> None:
    data = write_table(tmp_path / "test.csv", [("Fine.", "pos"), ("Bad.", "neg"), ("So so.", "meh")])
    said = fail("evaluate", world / "model", data)
    assert "--unknown-labels wrong counts it as an error" in said
    asked = ["evaluate", world / "model", data, "--unknown-labels", "wrong"]
    (values,) = succeed(*asked, "--json", "--plot", tmp_path / "p.png").rows
    assert values["labels"] == ["neg", "pos", "meh"] and values["n_unknown_labels"] == 1
    assert [row["support"] for row in values["classes"]] == [1, 1, 1]
    assert sum(values["confusion"][2]) == 1 and values["confusion"][2][2] == 0
    assert (
        "1 text has a label that is not in the training data (meh); it counts as an error"
        in succeed(*asked).out
    )
    lines = tmp_path / "few.txt"
    lines.write_text("pos fine\nneg bad\nmeh so so\nodd what\n", encoding="utf-8")  # each label once
    (values,) = succeed("evaluate", world / "model", lines, "--unknown-labels", "wrong", "--json").rows
    assert values["unknown_names"] == ["meh", "odd"] and values["n_unknown_labels"] == 2
    header = tmp_path / "header.csv"
    header.write_text("phrase,outcome\nfine,pos\nbad,neg\n", encoding="utf-8")
    columns = ["--text-column", 1, "--label-column", 2, "--unknown-labels", "wrong"]
    assert "header.csv:1: the label 'outcome' occurs in this line alone: add --header" in fail(
        "evaluate", world / "model", header, *columns
    )
    assert (
        succeed("evaluate", world / "model", header, *columns, "--header", "--json").rows[0]["n_examples"]
        == 2
    )
    line = f"{FIT} {{train}} --validation {data}"
    assert "--unknown-labels" not in fail(*words(line, world, tmp_path / "new"))


def test_several_labels_of_fasttext_and_labels_before_a_tab(world: Path, tmp_path: Path) -> None:
    fast, tabs = tmp_path / "fast.txt", tmp_path / "tabs.txt"
    fast.write_text("__label__a __label__b one\n__label__b two\n", encoding="utf-8")
    tabs.write_text("sci fi\tone\ndrama\ttwo\n", encoding="utf-8")
    for number, (file, options, labels) in enumerate(
        (
            (fast, ["--multi-label"], ["__label__a", "__label__b"]),
            (tabs, [], ["drama", "sci fi"]),
            (tabs, ["--label-separator", "space"], ["drama", "sci"]),
        )
    ):
        output = tmp_path / f"model{number}"
        succeed(*words(f"{FIT} {file}", world, output), *options)
        assert json.loads((output / "config.json").read_text())["labels"] == labels
    assert "2 labels where an example takes one" in fail("evaluate", world / "model", fast)


def test_labels_are_names_without_the_spaces_around_them(world: Path, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("text,label\nfine, pos\nbad,neg \nok,\tpos\n", encoding="utf-8")
    succeed(*words(f"{FIT} {{here}}/x.csv", world, tmp_path / "new"))
    assert json.loads((tmp_path / "new" / "config.json").read_text())["labels"] == ["neg", "pos"]


def test_2000_classes(world: Path, tmp_path: Path) -> None:
    rows = [(f"film {k} was {(GOOD + BAD)[k % 12]}", f"class {k}") for k in range(2000)]
    write_table(tmp_path / "x.csv", [*rows, *rows])
    said = "1999 examples cannot cover 2000 classes"
    assert said in fail(*words(f"{FIT} {{here}}/x.csv --labels 1999", world, tmp_path / "new"))
    line = f"{FIT} {{here}}/x.csv --labels 2000 --batch-size 500"
    assert "of 2,000 classes (class 0 1, " in succeed(*words(line, world, tmp_path / "new")).err
    row = succeed("predict", tmp_path / "new", "film", "--probabilities", "--json").rows[0]
    assert len(row["probabilities"]) == 2000


@pytest.mark.parametrize("verb", [PRETRAIN, ADAPT])
def test_a_corpus_folder_with_files_that_are_no_text(verb: str, world: Path, tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    folder.mkdir()
    write_corpus(folder / "fine.txt", plain_documents(30, seed=5))
    (folder / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR")
    line = f"{verb} {{here}}/corpus"
    succeed(*words(line, world, tmp_path / "new"))
    (folder / "picture.png").unlink()  # that it is left out is said, besides the mistakes
    (folder / "no-suffix").write_bytes(b"\x7fELF\x02\x01\x01\0\0\0" * 20)
    assert "no-suffix:1: a NUL byte: not a text file" in fail(*words(line, world, tmp_path / "b"))
    (folder / "no-suffix").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR")
    assert "no-suffix:1:1: not utf-8: byte 0x89" in fail(*words(line, world, tmp_path / "c"))


@pytest.mark.parametrize("number", ["nan", "inf", "1e39", "x"])
@pytest.mark.parametrize("verb", [f"{PRETRAIN} {{plain}}", f"{FIT} {{train}}"])
def test_word_vectors_that_hold_no_numbers(verb: str, number: str, world: Path, tmp_path: Path) -> None:
    (tmp_path / "v.txt").write_text(f"film 1 2\nstory 1 {number}\n", encoding="utf-8")
    said = fail(*words(f"{verb} --word-vectors {{here}}/v.txt", world, tmp_path / "new"))
    assert "v.txt, line 2: " in said and number in said


def test_a_class_whose_folder_is_not_utf8_is_learned_and_told(world: Path, tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9")
    for label, text in ((name, "fine film"), ("neg", "dull film")):
        (tmp_path / "data" / label).mkdir(parents=True)
        for number in "12":
            (tmp_path / "data" / label / f"{number}.txt").write_text(f"{text} {number}")
    succeed(*words(f"{FIT} {{here}}/data --head linear", world, tmp_path / "new"))
    assert json.loads((tmp_path / "new" / "config.json").read_text())["labels"] == [name, "neg"]
    line = ["predict", tmp_path / "new", "film", "--probabilities"]
    succeed(*line, "--output", tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_text(encoding="utf-8").splitlines()[0].endswith(",p(caf?),p(neg)")


# Places


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("file", "file is a file: --output names a folder"),
        ("file/sub", "cannot write {here}/file/sub: Not a directory"),
        ("/proc/nowhere/model", "cannot write /proc/nowhere/model"),
        (".", "is the folder you are in, or above it"),
        ("..", "is the folder you are in, or above it"),
    ],
)
@pytest.mark.parametrize("verb", [f"{PRETRAIN} {{plain}}", f"{ADAPT} {{plain}}", f"{FIT} {{train}}"])
def test_an_output_that_cannot_be(
    verb: str, place: str, said: str, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("mine")
    monkeypatch.chdir(tmp_path)
    target = place if place.startswith(("/", ".")) else str(tmp_path / place)
    line = words(verb, world, tmp_path / "new")
    line[line.index("--output") + 1] = target
    assert said.format(here=tmp_path) in fail(*line, "--overwrite")
    assert contents(tmp_path) == {"file": b"mine"}


def test_what_else_lies_in_the_output_stays(world: Path, tmp_path: Path) -> None:
    """An output folder that holds the user's own files becomes a model beside them, or is refused."""
    folder = tmp_path / "project"
    (folder / "notes").mkdir(parents=True)
    theirs = {"train.csv": (world / "train.csv").read_bytes(), os.path.join("notes", "thesis.txt"): b"years"}
    for name, content in theirs.items():
        (folder / name).write_bytes(content)
    line = words(f"{FIT} {{new}}/train.csv", world, folder)
    for options in ([], ["--seed", "1", "--overwrite"]):
        succeed(*line, *options)
        assert theirs.items() <= contents(folder).items() and "config.json" in contents(folder)
    (tmp_path / "other" / "training").mkdir(parents=True)
    (tmp_path / "other" / "training" / "week-1.csv").write_bytes(theirs["train.csv"])
    said = fail(*words(f"{FIT} {{train}} --overwrite", world, tmp_path / "other"))
    assert "week-1.csv is not unfreeze's and would be replaced: choose another --output" in said
    assert (tmp_path / "other" / "training" / "week-1.csv").read_bytes() == theirs["train.csv"]


@pytest.mark.parametrize("size", [300, 3000, 30_000])
@pytest.mark.parametrize("verb", [f"{PRETRAIN} {{plain}}", f"{ADAPT} {{plain}}", f"{FIT} {{train}}"])
def test_a_full_disk_leaves_the_earlier_model(verb: str, size: int, world: Path, tmp_path: Path) -> None:
    line = words(f"{verb} --checkpoint-minutes 0", world, tmp_path / "model")
    succeed(*line)
    before = contents(tmp_path)
    with files_of(size):
        said = fail(*line, "--seed", "1", "--overwrite")
    assert "cannot write" in said and "intact" in said
    assert contents(tmp_path) == before
    succeed(*line, "--seed", "1", "--overwrite")
    assert contents(tmp_path) != before


def test_a_full_disk_leaves_the_earlier_predictions(world: Path, tmp_path: Path) -> None:
    target = tmp_path / "labels.csv"
    target.write_text("before")
    with files_of(1000):
        said = fail(
            "predict", world / "model", "--file", world / "plain.txt", "--output", target, "--overwrite"
        )
    assert f"cannot write {target}: File too large" in said
    assert contents(tmp_path) == {"labels.csv": b"before"}


@pytest.mark.parametrize("line", [
    "predict {model} --file {plain} --output {here}/there.csv",
    "predict {model} --file {plain} --output {here}/there.jsonl",
    "evaluate {model} {train} --plot {here}/there.png",
    "embed {lm} {plain} --layers -1 --output {here}/there.npz",
    "find-rate {lm} --corpus {plain} --plot {here}/there.svg",
    "neighbors {lm} film --plot {here}/there.pdf",
    "convert {here}/there.txt --output {here}/there.bin",
])  # fmt: skip
def test_an_output_that_exists_is_refused_by_every_verb(line: str, world: Path, tmp_path: Path) -> None:
    suffix = line[-4:] if line.endswith(("bin", "npz", "png", "svg", "pdf", "csv")) else ".jsonl"
    there = tmp_path / f"there{suffix}"
    there.write_bytes(b"mine")
    before = contents(tmp_path)
    option = "--plot" if "--plot" in line else "--output"
    said = fail(*words(line, world, tmp_path / "new"))
    assert f"{option} {there} exists: take another name, or add --overwrite" in said
    assert contents(tmp_path) == before


@pytest.mark.parametrize("line", [
    "predict {model} --file {train} --output {here}/there.csv --overwrite",
    "evaluate {model} {train} --plot {here}/there.png --overwrite",
    "neighbors {lm} film --plot {here}/there.svg --overwrite",
])  # fmt: skip
def test_an_output_that_exists_is_replaced_when_asked(line: str, world: Path, tmp_path: Path) -> None:
    there = next(Path(word.format(here=tmp_path)) for word in line.split() if word.startswith("{here}"))
    there.write_bytes(b"mine")
    succeed(*words(line, world, tmp_path / "new"))
    assert there.read_bytes() != b"mine"


def test_a_full_disk_does_not_cost_the_report(world: Path, tmp_path: Path) -> None:
    """What was measured is printed before the picture of it is drawn."""
    with files_of(1000):
        done = call("evaluate", world / "model", world / "train.csv", "--plot", tmp_path / "a.png", "--quiet")
    assert done.status == 2 and done.out.startswith("accuracy ")
    assert done.err.startswith(f"unfreeze: cannot write {tmp_path / 'a.png'}: File too large")
    assert contents(tmp_path) == {}


# What a file from elsewhere may hold


NINES = "9" * 5000


@pytest.mark.parametrize(
    ("name", "content", "line", "said"),
    [
        ("x.jsonl", '{"text": ' + "[" * 100_000, "predict {model} --file {here}/x.jsonl", "x.jsonl:1: lists or"),
        ("x.jsonl", f'{{"text": {NINES}}}', "evaluate {model} {here}/x.jsonl", "x.jsonl:1: a number has more than 4,300"),
        ("x.jsonl", "[" * 100_000, "adapt {lm} --corpus {here}/x.jsonl --output {new}", "x.jsonl:1: lists or"),
        ("x.csv", "text,label\na,b\n", "predict {model} --file {here}/x.csv --encoding undefined", "unknown encoding"),
        ("x.csv", "text,label\na,b\n", f"evaluate {{model}} {{here}}/x.csv --label-column {NINES}", "for --label-column"),
        ("x.csv", "text,label\na,b\n", f"{FIT} {{here}}/x.csv --label-column 2 --text-column {NINES}", "for --text-column"),
        ("x.csv", "text,label\na,b\n", f"{FIT} {{here}}/x.csv --body bilstm --layers {NINES}", "--layers takes mix, bottom+top or INT"),
        ("x.npz", "a 1 2\n", "convert {here}/x.npz --output {new}", "x.npz is not a file of word vectors"),
    ],
)  # fmt: skip
def test_files_and_options_that_python_cannot_read(
    name: str, content: str, line: str, said: str, world: Path, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    told = fail(*words(line, world, tmp_path / "new"))
    assert said in told and len(told) < 600
    assert not (tmp_path / "new" / "config.json").exists()


@pytest.mark.parametrize(
    "line", ["predict {new} fine", "evaluate {new} {train}", f"{FIT} {{train}} --encoder {{here}}/lm"]
)
def test_weights_with_a_flipped_bit_are_refused_by_every_verb(line: str, world: Path, tmp_path: Path) -> None:
    for source, copy in (("model", "new"), ("lm", "lm")):
        shutil.copytree(world / source, tmp_path / copy)
        path = tmp_path / copy / "model.safetensors"
        data = bytearray(path.read_bytes())
        data[-7] ^= 16
        path.write_bytes(data)
    if "{train} --encoder" in line:
        shutil.rmtree(tmp_path / "new")
        line = line.replace("--encoder {lm} ", "")
    assert "model.safetensors is truncated or damaged" in fail(*words(line, world, tmp_path / "new"))


def test_results_are_as_private_as_the_umask_or_the_file_before(world: Path, tmp_path: Path) -> None:
    predict = ["predict", world / "model", "--file", world / "train.csv", "--overwrite"]
    predict += ["--output", tmp_path / "labels.csv"]
    before = os.umask(0o022)
    try:
        succeed(*predict)
        assert (tmp_path / "labels.csv").stat().st_mode & 0o777 == 0o644
        (tmp_path / "labels.csv").chmod(0o600)
        succeed(*predict)
        assert (tmp_path / "labels.csv").stat().st_mode & 0o777 == 0o600
        os.umask(0o077)
        succeed(*words(f"{FIT} {{train}}", world, tmp_path / "new"))
    finally:
        os.umask(before)
    found = [tmp_path / "new", *(tmp_path / "new").rglob("*")]
    assert {path.name for path in found} >= {"config.json", "model.safetensors", "README.md", "log.jsonl"}
    assert not [path for path in found if path.stat().st_mode & 0o077]


# Sizes


def peak_memory(line: list[str]) -> float:
    """GB that a command line takes at most, in a process of its own."""
    code = (
        "import resource, sys; from unfreeze.commands.main import main; status = main(sys.argv[1:]); "
        "print('peak', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr); sys.exit(status)"
    )
    done = subprocess.run([sys.executable, "-c", code, *line], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stderr.split()[-1]) / 1e6


HUGE = [
    ("predict {model} --file {here}/huge.txt --json", 0.6),
    ("evaluate {model} {here}/huge.csv", 0.6),
    ("evaluate {lm} {here}/huge.txt", 0.6),
    ("score {lm} --file {here}/huge.txt --no-tokens", 1.5),
    (f"{PRETRAIN} {{here}}/huge.txt", 0.8),
    (f"{FIT} {{here}}/huge.csv", 1.0),
    (f"{FIT} {{here}}/huge.csv --transfer frozen", 0.6),
]


@pytest.mark.slow
@pytest.mark.parametrize(("line", "most"), HUGE)
def test_a_million_tokens_in_one_document_take_bounded_memory(
    line: str, most: float, world: Path, tmp_path: Path
) -> None:
    random = Random(0)
    vocabulary = " ".join(text for text, _ in reviews(50, seed=6)).split()
    huge = " ".join(random.choice(vocabulary) for _ in range(1_000_000))
    write_corpus(tmp_path / "huge.txt", [huge, *plain_documents(60, seed=7)])
    write_table(tmp_path / "huge.csv", [*reviews(19, seed=8), (huge, "neg")])
    assert peak_memory(words(line, world, tmp_path / "new")) < most


@pytest.mark.slow
@pytest.mark.parametrize("tokenizer", ["word", "subword"])
def test_five_megabytes_without_a_space_take_seconds(tokenizer: str, world: Path, tmp_path: Path) -> None:
    letters = np.random.default_rng(0).integers(97, 123, 5_000_000, dtype=np.uint8).tobytes().decode()
    write_corpus(tmp_path / "x.txt", [letters, *plain_documents(60, seed=7)])
    write_table(tmp_path / "x.csv", [*reviews(19, seed=8), (letters, "neg")])
    lines = [f"{PRETRAIN} {{here}}/x.txt --tokenizer {tokenizer} --vocabulary-size 300"]
    if tokenizer == "word":
        score = "score {lm} --file {here}/x.txt --no-tokens"
        lines += [f"{FIT} {{here}}/x.csv", "predict {model} --file {here}/x.txt --json", score]
    started = time.process_time()
    for number, line in enumerate(lines):
        succeed(*words(line, world, tmp_path / f"new-{number}"))
    assert time.process_time() - started < 180
