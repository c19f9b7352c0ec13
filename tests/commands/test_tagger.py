"""`fit tagger`, and what predict and evaluate do with one, as a user calls them."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import torch

from tests.commands.calls import fail, succeed
from tests.encoders.elmos import small_elmo
from tests.tasks.sentences import columns, tagged_sentences
from unfreeze.tasks.sequence_tagger import SequenceTagger
from unfreeze.text.tagged import read_tagged

SMALL = ["--hidden-size", 16, "--characters", 8, "--learning-rate", 0.02, "--precision", "fp32"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tagged")
    for name, count, seed in (("train", 60, 0), ("dev", 20, 1)):
        (folder / name).write_text(columns(tagged_sentences(count, seed)), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def tagger(data: Path) -> Path:
    asked = ["fit", "tagger", "--train", data / "train", "--validation", data / "dev", "--encoder", "none"]
    (values,) = succeed(*asked, *SMALL, "--epochs", 15, "--output", data / "t", "--json").rows
    assert values["f1"] > 0.9 and values["scheme"] == "bio" and values["tags"] == ["LOC", "PER"]
    card = (data / "t" / "README.md").read_text(encoding="utf-8")
    assert "unfreeze" in card and "f1" in card
    return data / "t"


def test_measured(tagger: Path, data: Path) -> None:
    (values,) = succeed("evaluate", tagger, data / "dev", "--json").rows
    assert values["f1"] > 0.9 and values["n_sentences"] == 20
    assert [each["name"] for each in values["spans"]] == ["LOC", "PER", "all"]
    text = succeed("evaluate", tagger, data / "dev").out
    assert text.startswith("F1 ") and "PER" in text


def test_predicted_in_every_format(tagger: Path, tmp_path: Path) -> None:
    texts = ["Ada Lovelace visits <New> York.", "Grace likes Paris. Alan leaves London."]
    (tmp_path / "texts.txt").write_text("\n".join(texts) + "\n", encoding="utf-8")
    rows = succeed("predict", tagger, *texts, "--json").rows
    assert [row["text"] for row in rows] == texts
    for row in rows:
        for each in row["entities"]:
            assert row["text"][each["start"] : each["end"]] == each["word"]
    assert "PER Grace" in succeed("predict", tagger, texts[1]).out
    for name in ("a.jsonl", "a.conll", "a.html"):
        line = ["predict", tagger, "--file", tmp_path / "texts.txt", "--output", tmp_path / name]
        succeed(*line)
        assert f"--output {tmp_path / name} exists" in fail(*line)
    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [each["text"] for each in lines] == texts
    found = read_tagged(tmp_path / "a.conll")
    assert [each.tokens for each in found.examples][1:] == [
        ("Grace", "likes", "Paris", "."),
        ("Alan", "leaves", "London", "."),
    ]
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert "&lt;" in page and "<mark" in page and "PER" in page and "<script" not in page
    assert page.count("<p>") == 2


def test_predicted_tags_stand_behind_the_columns_of_the_file(
    tagger: Path, data: Path, tmp_path: Path
) -> None:
    gold = read_tagged(data / "dev")
    asked = ["predict", tagger, "--file", data / "dev", "--tokenized"]
    assert succeed(*asked, "--output", tmp_path / "a.conll").out.startswith("20 texts")
    lines = (tmp_path / "a.conll").read_text(encoding="utf-8").splitlines()
    first = (data / "dev").read_text(encoding="utf-8").splitlines()[0]
    assert lines[0].startswith(f"{first} ") and len(lines[0].split()) == 4
    predicted = read_tagged(tmp_path / "a.conll")
    assert [each.tokens for each in predicted.examples] == [each.tokens for each in gold.examples]
    again = read_tagged(tmp_path / "a.conll", tag_column=-2)
    assert [each.tags for each in again.examples] == [each.tags for each in gold.examples]
    metrics = pytest.importorskip("seqeval.metrics")
    (values,) = succeed("evaluate", tagger, data / "dev", "--json").rows
    pairs = [[list(each.tags) for each in found.examples] for found in (again, predicted)]
    assert metrics.f1_score(*pairs) == pytest.approx(values["f1"])
    assert succeed(*asked).out == (tmp_path / "a.conll").read_text(encoding="utf-8")


def test_words_that_are_split_already_come_from_everywhere(
    tagger: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gold = read_tagged(data / "dev")
    sentences = [list(each.tokens) for each in gold.examples]
    expected = SequenceTagger.from_pretrained(tagger).predict(sentences)
    named = tmp_path / "b.conll"
    named.write_text("\n".join("\n".join(each.tokens) + "\n" for each in gold.examples), encoding="utf-8")
    rows = succeed("predict", tagger, "--file", named, "--json").rows
    assert [row["tokens"] for row in rows] == sentences and [row["tags"] for row in rows] == expected
    succeed("predict", tagger, "--file", named, "--output", tmp_path / "c.jsonl")
    written = read_tagged(tmp_path / "c.jsonl")
    assert [list(each.tags) for each in written.examples] == expected
    succeed("predict", tagger, "--file", tmp_path / "c.jsonl", "--tokenized", "--output", tmp_path / "d.html")
    assert (tmp_path / "d.html").read_text(encoding="utf-8").count("<p>") == 20
    text = " ".join(gold.examples[0].tokens)
    assert succeed("predict", tagger, text, "--tokenized", "--json").rows == rows[:1]
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{text}\n"))
    assert succeed("predict", tagger, "-", "--tokenized", "--json").rows == rows[:1]
    assert "not from both" in fail("predict", tagger, "a", "--file", named)


def test_evaluate_says_why_f1_is_zero(tagger: Path, tmp_path: Path) -> None:
    (tmp_path / "lower").write_text("so B-PER\nit O\nis O\n", encoding="utf-8")
    (tmp_path / "none").write_text("is O\nit O\n", encoding="utf-8")
    network = SequenceTagger.from_pretrained(tagger)
    with torch.no_grad():
        network.network.scores.weight.zero_()
        network.network.scores.bias.copy_(torch.tensor([9.0] + [0.0] * 8))
    network.save_pretrained(tmp_path / "silent")
    remark = "no entity was predicted: the tagger gave every word the tag O\n"
    assert succeed("evaluate", tmp_path / "silent", tmp_path / "lower").err.endswith(remark)
    assert f"{tmp_path / 'none'} has no entity" in succeed("evaluate", tagger, tmp_path / "none").err
    assert "entity" not in succeed("evaluate", tmp_path / "silent", tmp_path / "lower", "--quiet").err


def test_unknown_tags_are_counted_when_told(tagger: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("Ada B-PER\nlikes O\nMars B-PLANET\n. O\n", encoding="utf-8")
    assert "--unknown-labels wrong counts it as an error" in fail("evaluate", tagger, other)
    asked = ["evaluate", tagger, other, "--unknown-labels", "wrong"]
    (values,) = succeed(*asked, "--json").rows
    assert values["n_unknown_labels"] == 1 and values["spans"][-1]["true"] == 2
    said = "1 word has a tag that is not in the training data (PLANET); it counts as an error"
    assert said in succeed(*asked).out


def test_comments_and_schemes_are_options(data: Path, tagger: Path, tmp_path: Path) -> None:
    lines = (data / "train").read_text(encoding="utf-8").split("\n\n")
    (tmp_path / "t").write_text("\n\n".join(f"# id 1\n{each}" for each in lines), encoding="utf-8")
    asked = ["fit", "tagger", "--train", tmp_path / "t", "--encoder", "none", *SMALL, "--epochs", 1, "--json"]
    (values,) = succeed(*asked, "--output", tmp_path / "a").rows
    assert values["scheme"] == "bio" and values["sentences"] == 60
    (values,) = succeed(*asked, "--scheme", "plain", "--output", tmp_path / "b").rows
    assert values["scheme"] == "plain" and "B-LOC" in values["tags"]
    assert "f1" not in succeed("evaluate", tmp_path / "b", data / "dev", "--json").rows[0]["spans"]
    assert "t:1: '1' is not a tag of bio" in fail(
        *asked, "--scheme", "bio", "--comments", "words", "--output", tmp_path / "c"
    )
    assert len(succeed("predict", tagger, "--file", tmp_path / "t", "--tokenized", "--json").rows) == 60


def test_a_sample_and_plain_tags(data: Path, tmp_path: Path) -> None:
    asked = ["fit", "tagger", "--train", data / "train", "--encoder", "none", *SMALL, "--epochs", 1]
    (values,) = succeed(*asked, "--labels", 10, "--output", tmp_path / "a", "--json").rows
    assert values["sentences"] == 10
    assert "all words have one tag" in fail(*asked, "--tag-column", 1, "--output", tmp_path / "b")
    assert "holds 60 sentences, not 61" in fail(*asked, "--labels", 61, "--output", tmp_path / "b")


def test_on_an_elmo_and_again(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNFREEZE_CACHE", str(tmp_path / "cache"))
    small_elmo().save_pretrained(tmp_path / "elmo")
    asked = [
        "fit",
        "tagger",
        "--train",
        data / "train",
        "--validation",
        data / "dev",
        "--encoder",
        tmp_path / "elmo",
    ]
    outputs = [tmp_path / "a", tmp_path / "b"]
    for output in outputs:
        (values,) = succeed(
            *asked, *SMALL, "--epochs", 2, "--mix-l2", 0.001, "--output", output, "--json"
        ).rows
        assert set(values["layer_weights"]) == {"input"} and values["transfer"] == "frozen"
    files = [(output / "model.safetensors").read_bytes() for output in outputs]
    assert files[0] == files[1]
    assert "bottom to top" in succeed("evaluate", outputs[0], data / "dev").out
    succeed("fit", "tagger", "--train", data / "train", "--encoder", outputs[0], *SMALL, "--epochs", 1,
            "--transfer", "fine-tune", "--layers", -1, "--output", tmp_path / "c")  # fmt: skip


def test_mistakes_are_one_line(tagger: Path, data: Path, tmp_path: Path) -> None:
    broken, other = tmp_path / "broken", tmp_path / "other"
    broken.write_text("a O\nb\n", encoding="utf-8")
    other.write_text("Mars B-PLANET\nis O\n", encoding="utf-8")
    asked = ["fit", "tagger", "--encoder", "none", "--output", tmp_path / "o", "--train"]
    assert "broken:2: 1 columns" in fail(*asked, broken)
    assert "missing" in fail(*asked, tmp_path / "missing")
    assert "there is no column 7" in fail(*asked, data / "train", "--tag-column", 7)
    assert "which is not in the training data" in fail("evaluate", tagger, other)
    assert "give --epochs or --minutes, not both" in fail(
        *asked, data / "train", "--epochs", 1, "--minutes", 1
    )
    for name in ("a.csv", "a"):
        said = fail("predict", tagger, "a", "--output", tmp_path / name)
        assert "end in .jsonl, .conll or .html" in said
    assert "a file of vectors ends in .txt, .vec, .bin, .npz" in fail(
        "export", tagger, "--output", tmp_path / "t.onnx"
    )
    assert "mix-at" in (said := fail(*asked, data / "train", "--mix-at", "middle")) and "None" not in said
    assert "--layers is for an encoder of several layers" in fail(*asked, data / "train", "--layers", 1)
    assert "--probabilities is for classifiers" in fail("predict", tagger, "a", "--probabilities")
    assert "is a sequence tagger" in fail("generate", tagger, "a")
    assert "--top is for answerers" in fail("predict", tagger, "a", "--top", 3)
    assert "--plot is for classifiers and image classifiers, not for taggers" in fail(
        "evaluate", tagger, data / "dev", "--plot", tmp_path / "p.png"
    )
    assert "--layers takes mix, bottom+top or INT" in fail(*asked, data / "train", "--layers", "\u00b2")
    assert "no folder" in fail(*asked, data / "train", "--word-vectors", tmp_path / "none.txt")


def test_a_rate_is_found(data: Path) -> None:
    asked = ["find-rate", "--task", "tagger", "--train", data / "train", "--encoder", "none"]
    (found,) = succeed(*asked, "--low", 1e-4, "--high", 1, "--steps", 25, "--json").rows
    assert 1e-4 <= found["suggestion"] <= 1 and found["losses"][0] > min(found["losses"])
    assert "--multi-label is for --task classifier, not for --task tagger" in fail(*asked, "--multi-label")
    said = fail(*asked, "--label-separator", "tab")
    assert "--label-separator is for --task classifier, not for --task tagger" in said


def test_a_rate_for_plain_tags(tmp_path: Path) -> None:
    (tmp_path / "t").write_text("a B\nb X\n\na B\nb X-Y\n", encoding="utf-8")
    asked = ["find-rate", "--task", "tagger", "--train", tmp_path / "t", "--encoder", "none", "--steps", 10]
    assert succeed(*asked, "--scheme", "plain", "--json").rows[0]["suggestion"] > 0
    assert "t:2: 'X' is not a tag of bio" in fail(*asked, "--scheme", "bio")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            "--header",
            "--header is for classifiers, image classifiers, locators, translators and language models, not for taggers",
        ),
        (
            "--no-header",
            "--no-header is for classifiers, image classifiers, locators, translators and language models, not for taggers",
        ),
        ("--skip-unlabeled", "--skip-unlabeled is for classifiers and image classifiers, not for taggers"),
        ("--label-separator tab", "--label-separator is for classifiers, not for taggers"),
        ("--no-mend-starts", "--no-mend-starts is for answerers, not for taggers"),
        ("--case-sensitive", "--case-sensitive is for word vectors, not for taggers"),
    ],
)
def test_options_that_evaluate_has_for_other_models(
    tagger: Path, data: Path, options: str, said: str
) -> None:
    assert said in fail("evaluate", tagger, data / "dev", *options.split())


def test_options_that_predict_has_for_other_texts(tagger: Path, data: Path, tmp_path: Path) -> None:
    (tmp_path / "x.conll").write_bytes((data / "dev").read_bytes())
    said = "--header is for classifiers, image classifiers, taggers of raw text and locators, not for taggers of split words"
    assert said in fail("predict", tagger, "--file", tmp_path / "x.conll", "--header")
    said = "--comments is for taggers of split words, not for taggers of raw text"
    assert said in fail("predict", tagger, "Ada likes Oslo.", "--comments", "skip")
    (tmp_path / "x.csv").write_text("Ada likes Oslo.\nSo it is.\n", encoding="utf-8")
    asked = ["predict", tagger, "--file", tmp_path / "x.csv", "--text-column", 1, "--json"]
    assert [len(succeed(*asked, header).rows) for header in ("--header", "--no-header")] == [1, 2]


def test_split_words_of_standard_input_are_in_the_encoding_named(
    tagger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed = io.BytesIO("André likes Oslo .\n".encode("latin-1"))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BufferedReader(typed)))
    (row,) = succeed("predict", tagger, "-", "--tokenized", "--encoding", "latin-1", "--json").rows
    assert row["tokens"] == ["André", "likes", "Oslo", "."]


def test_what_predict_writes_of_raw_texts_is_read_again(tagger: Path, tmp_path: Path) -> None:
    (tmp_path / "raw.jsonl").write_text(
        '{"text": "Ada likes Paris. Grace \\u0000 visits London."}\n', encoding="utf-8"
    )
    for name, sentences in (("a.jsonl", 1), ("a.conll", 2)):
        succeed("predict", tagger, "--file", tmp_path / "raw.jsonl", "--output", tmp_path / name)
        (values,) = succeed("evaluate", tagger, tmp_path / name, "--json").rows
        assert (values["n_words"], values["n_sentences"]) == (9, sentences)
