"""CoVe on the command line: trained, translated with, measured, taken out and moved to a task; and its mistakes."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path
from random import Random

import numpy as np
import pytest

from tests.commands.calls import call, fail, succeed
from tests.commands.test_interruption import stop
from tests.commands.toy import reviews, write_corpus, write_table
from unfreeze import Encoder, Translator
from unfreeze.encoders.cove import CoVe

WORDS = {"the": "der", "man": "Mann", "dog": "Hund", "sees": "sieht", "likes": "mag", "bank": "Bank"}
SIZES = "--preset tiny --embedding-size 16 --hidden-size 16 --precision fp32".split()


def pairs(count: int, seed: int) -> list[tuple[str, str]]:
    """Sentences such as "the man sees the dog." and their translations, word by word."""
    random, found = Random(seed), []
    for _ in range(count):
        one, other = (random.choice(["man", "dog", "bank"]) for _ in range(2))
        english = f"the {one} {random.choice(['sees', 'likes'])} the {other}"
        found.append((f"{english}.", " ".join(WORDS[word] for word in english.split()) + "."))
    return found


def write_pairs(folder: Path, name: str, rows: list[tuple[str, str]]) -> list[Path]:
    """Two files with a text per line."""
    return [
        write_corpus(folder / f"{name}.{end}", (row[side] for row in rows))
        for side, end in enumerate(("en", "de"))
    ]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pairs and the translator `en-de`."""
    root = tmp_path_factory.mktemp("cove")
    write_pairs(root, "train", pairs(300, 0))
    write_pairs(root, "test", pairs(20, 1))
    (values,) = succeed(*train(root), "--epochs", 20, "--output", root / "en-de", "--json").rows
    assert values["perplexity"] < 1.5 and values["pairs"] == 300
    assert 0 < values["duplicates"] <= 20  # there are only 18 different sentences
    return root


def train(root: Path) -> list[object]:
    """The command that trains `en-de`, without its length and output."""
    files = (
        ["--pairs", root / "train.en", root / "train.de"],
        ["--validation-pairs", root / "test.en", root / "test.de"],
    )
    return ["pretrain", "cove", *files[0], *files[1], *SIZES]


def test_translated(world: Path, tmp_path: Path) -> None:
    model = world / "en-de"
    ran = succeed("translate", model, "the man sees the dog.", "", "the dog likes the bank.")
    assert ran.out == "der Mann sieht der Hund.\n\nder Hund mag der Bank.\n"
    (row,) = succeed("translate", model, "the man sees the dog.", "--beams", 1, "--json").rows
    assert row["translation"] == "der Mann sieht der Hund." and row["score"] < 0
    assert row["source_words"] == ["the", "man", "sees", "the", "dog", "."]
    assert "".join(row["tokens"]).replace("▁", " ").strip() == row["translation"]
    attention = np.array(row["attention"])
    assert attention.shape == (len(row["tokens"]), 6)
    np.testing.assert_allclose(attention.sum(1), 1.0, atol=1e-4)
    lines = write_corpus(tmp_path / "lines.txt", ["the dog sees the man.", "", "the dog"])
    found = succeed("translate", model, "--file", lines).out.splitlines()
    assert len(found) == 3 and found[:2] == ["der Hund sieht der Mann.", ""]
    assert Translator.from_pretrained(model).predict(["the dog sees the man."]) == found[:1]


def test_drawn(world: Path, tmp_path: Path) -> None:
    model, picture = world / "en-de", tmp_path / "a.png"
    assert "drawn" in succeed("translate", model, "the man sees the dog.", "--plot", picture).err
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "a.png exists" in fail("translate", model, "the man", "--plot", picture)
    again = ["--overwrite", "--plot", picture]
    assert "the attention of one text, and several were given" in fail("translate", model, "a", "b", *again)
    # What cannot be drawn is translated all the same.
    status, out, err = call("translate", model, "", *again)
    assert (status, out) == (2, "\n") and "no attention to draw" in err
    status, out, err = call("translate", model, "the man " * 61, *again, "--beams", 1)
    assert status == 2 and out.startswith("der Mann ") and "at most 120 can be read" in err
    assert "has to end in .png" in fail("translate", model, "a", "--plot", tmp_path / "a.gif")


def test_measured(world: Path, tmp_path: Path) -> None:
    pytest.importorskip("sacrebleu")
    model, test, references = world / "en-de", world / "test.en", world / "test.de"
    (values,) = succeed("evaluate", model, test, "--references", references, "--json").rows
    assert values["bleu"] > 80 and values["chrf"] > 80 and 1 < values["perplexity"] < 1.5
    assert "tok:13a" in values["bleu_signature"] and values["n_pairs"] == 20
    rows = zip(test.read_text().splitlines(), references.read_text().splitlines(), strict=True)
    table = tmp_path / "test.tsv"
    table.write_text("".join(f"{number}\t{one}\t{two}\n" for number, (one, two) in enumerate(rows)))
    columns = ["--source-column", 2, "--target-column", 3]
    assert succeed("evaluate", model, table, *columns, "--json").rows == [values]
    shown = succeed("evaluate", model, test, "--references", references).out
    assert shown.startswith(f"BLEU {values['bleu']:.2f} (nrefs:1|case:mixed") and "on 20 pairs" in shown
    assert "has no tab in its first line" in fail("evaluate", model, test)
    assert "not for translators" in fail("evaluate", model, test, "--worst", 3)


def test_the_encoder_is_taken_out_and_used(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNFREEZE_CACHE", str(tmp_path / "cache"))
    model, encoder = world / "en-de", tmp_path / "encoder"
    (values,) = succeed("convert", model, "--output", encoder, "--json").rows
    assert values["kind"] == "encoder" and values["hidden_size"] == 16
    assert not (encoder / "target").exists()
    lines = write_corpus(tmp_path / "lines.txt", ["the man.", "a bank"])
    for name, place in (("a", model), ("b", encoder)):
        succeed("embed", place, lines, "--layers", -1, "--output", tmp_path / f"{name}.npz")
    one, two = (np.load(tmp_path / f"{name}.npz")["vectors"] for name in "ab")
    np.testing.assert_array_equal(one, two)
    assert isinstance(Encoder.from_pretrained(model), CoVe)
    assert len(succeed("neighbors", model, "dog", "--top", 2, "--json").rows[0]["neighbors"]) == 2
    table = write_table(tmp_path / "train.csv", reviews(12, 0))
    fit = ["fit", "classifier", "--train", table, "--encoder", model, "--epochs", 1]
    succeed(*fit, "--output", tmp_path / "classifier")
    assert "is of kind cove; translate needs a translator" in fail("translate", encoder, "a")
    assert "nothing to evaluate" in fail("evaluate", encoder, lines)


def test_words_of_given_vectors_are_known_and_keep_them(world: Path, tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).normal(size=(5, 6)).astype(np.float32)
    words = ["the", "man", "dog", "unseen", "."]
    rows = [f"{word} {' '.join(map(str, row))}" for word, row in zip(words, vectors, strict=True)]
    given = write_corpus(tmp_path / "vectors.txt", rows)
    asked = [*train(world), "--epochs", 1]
    succeed(*asked, "--word-vectors", given, "--output", tmp_path / "out")
    encoder = Encoder.from_pretrained(tmp_path / "out")
    assert isinstance(encoder, CoVe)
    found = encoder.table()
    assert set(found.words) == set(words)
    for word, row in zip(words, vectors, strict=True):
        np.testing.assert_allclose(found.matrix[found.known_row(word)], row, rtol=1e-6)
    given.write_text(given.read_text().replace("unseen", "hidden"))
    said = fail(*asked, "--word-vectors", given, "--output", tmp_path / "out")
    assert "--overwrite" in said  # the run of other vectors, although they have the same name
    other = write_corpus(tmp_path / "other.txt", ["hola 1 2", "mundo 3 4"])
    said = fail(*asked, "--word-vectors", other, "--output", tmp_path / "none")
    assert "none of the 7 words of the source has one of the 2 vectors" in said


def test_a_finished_run_returns_at_once_and_another_needs_overwrite(world: Path) -> None:
    weights = world / "en-de" / "model.safetensors"
    before = weights.stat().st_mtime_ns
    (values,) = succeed(*train(world), "--epochs", 20, "--output", world / "en-de", "--json").rows
    assert values["pairs"] == 300 and weights.stat().st_mtime_ns == before
    assert "--overwrite" in fail(*train(world), "--epochs", 13, "--output", world / "en-de")


@pytest.mark.parametrize("number", [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_an_interrupted_run_ends_with_the_same_bits(
    number: signal.Signals, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(world)
    line = (
        "pretrain cove --pairs train.en train.de --preset tiny --hidden-size 16 --embedding-size 16 --epochs 8 "
        "--dropout 0.1"
    )
    words = [*line.split(), "--precision", "fp32", "--output"]
    succeed(*words, tmp_path / "whole")
    status, err = stop(line, tmp_path / "stopped", number)
    assert status in (-signal.SIGKILL, 130) and "Traceback" not in err
    assert not (tmp_path / "stopped" / "config.json").exists(), "it was over before the signal came"
    assert "resuming from " in succeed(*words, tmp_path / "stopped").err
    one, two = (tmp_path / name / "model.safetensors" for name in ("whole", "stopped"))
    assert one.read_bytes() == two.read_bytes()


# Mistakes


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"a.en": b"one\ntwo\nthree\n", "a.de": b"eins\nzwei\n"}, "a.de has 2 lines and"),
        ({"a.en": b"one\n"}, "a.en has no tab in its first line: give a table of two columns, or a second file"),
        ({"a.en": b"", "a.de": b""}, "no pair is left (0 with an empty side, 0 too long)"),
        ({"a.en": b"one\n\n", "a.de": b"\nzwei\n"}, "no pair is left (2 with an empty side, 0 too long)"),
        ({"a.en": b"w " * 101, "a.de": b"v\n"}, "no pair is left (0 with an empty side, 1 too long; --max-words is 100)"),
        ({"a.en": b"\x00\x01\xff", "a.de": b"v\n"}, "a.en:1"),
        ({"a.en": b"caf\xe9\n", "a.de": b"v\n"}, "--encoding"),
        ({"a.tsv": b"1\tone\teins\n2\ttwo\tzwei\n"}, "by --source-column and --target-column"),
        ({"a.txt": b"one\teins\ntwo\n"}, "a.txt:2"),
        ({"a.tsv": b"one\teins\ntwo\n"}, "a.tsv:2"),
        ({"none.tsv": None}, "none.tsv: no such file"),
    ],
)  # fmt: skip
def test_pairs_that_cannot_be_used(files: dict[str, bytes | None], said: str, tmp_path: Path) -> None:
    for name, content in files.items():
        if content is not None:
            (tmp_path / name).write_bytes(content)
    places = [tmp_path / name for name in files]
    assert said in fail("pretrain", "cove", "--pairs", *places, *SIZES, "--output", tmp_path / "out")
    assert not (tmp_path / "out" / "config.json").exists()


def test_what_is_skipped_is_counted_and_said(tmp_path: Path) -> None:
    rows = [
        *pairs(30, 2),
        ("only this side", ""),
        ("", "nur diese"),
        ("long " * 9, "lang"),
        ("x", "y " * 101),
    ]
    files = write_pairs(tmp_path, "some", rows)
    asked = ["pretrain", "cove", "--pairs", *files, *SIZES, "--epochs", 1, "--max-words", 8]
    err = succeed(*asked, "--output", tmp_path / "out", "--quiet").err
    assert "2 pairs with an empty side: skipped" in err
    assert "2 pairs with more than 8 words on a side: skipped; --max-words changes this" in err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--max-words 0", "--max-words must be above 0, not 0"),
        ("--dropout 1", "--dropout must be at least 0 and under 1"),
        ("--direction backward", "--direction takes both or forward, not 'backward'"),
        ("--hidden-size -1", "--hidden-size must be above 0"),
        ("--bptt 3", "unknown option '--bptt'"),
        ("--source-column 1 --target-column 1", "name two different columns"),
        ("--source-column 7 --target-column 1", "has no column '7'"),
        ("--source-column 1", "--source-column and --target-column"),
    ],
)
def test_options_that_cannot_work(options: str, said: str, tmp_path: Path) -> None:
    table = write_corpus(tmp_path / "a.tsv", ["one\teins", "two\tzwei"])
    asked = ["pretrain", "cove", "--pairs", table, *SIZES, *options.split()]
    assert said in fail(*asked, "--output", tmp_path / "out")


def test_models_that_cannot_translate(world: Path, tmp_path: Path) -> None:
    model, broken = world / "en-de", tmp_path / "broken"
    assert "--beams must be above 0, not 0" in fail("translate", model, "a", "--beams", 0)
    assert "--length-penalty must be at most 10" in fail("translate", model, "a", "--length-penalty", 99)
    assert "no text was given" in fail("translate", model)
    assert "use `unfreeze translate`" in fail("predict", model, "a")
    assert "is a translator, not a language model: use translate or evaluate" in fail("score", model, "a")
    assert "wiki-small is of kind language model; translate needs a translator" in fail(
        "translate", "wiki-small", "a"
    )
    shutil.copytree(model, broken)
    config = json.loads((broken / "config.json").read_text())
    for settings in ({"target_size": 3, "dropout": 0.1}, {"size": 3}, {"dropout": "x"}, []):
        (broken / "config.json").write_text(json.dumps({**config, "settings": settings}))
        assert str(broken) in fail("translate", broken, "a")
    (broken / "config.json").write_text(json.dumps(config))
    (broken / "target" / "tokenizer.json").write_text("{}")
    assert str(broken / "target") in fail("translate", broken, "a")
    shutil.rmtree(broken / "target")
    assert str(broken / "target") in fail("translate", broken, "a")
