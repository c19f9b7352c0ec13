"""Word vectors by the verbs: pretrain, adapt, fit, at toy size; resumed, and refused where they cannot work."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from tests.commands.calls import fail, succeed
from tests.commands.toy import plain_documents, reviews, write_corpus, write_table
from unfreeze.encoders.base import Encoder
from unfreeze.encoders.vector_source import open_vectors
from unfreeze.encoders.word_vectors import WordVectors
from unfreeze.tasks.text_classifier import TextClassifier
from unfreeze.vectors.writing import write_word_vectors

SIZES = "--size 16 --min-count 2 --epochs 3 --workers 1".split()
GOOD = "--size 16 --min-count 2 --epochs 30 --workers 1 --window 10".split()
"""So trained that a biLSTM can tell the words apart."""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("corpus")
    texts = plain_documents(150, seed=4) + [text for text, _ in reviews(150, seed=3)]
    return write_corpus(root / "texts.txt", texts)


@pytest.fixture(scope="module")
def vectors(corpus: Path) -> Path:
    output = corpus.parent / "vectors"
    succeed(
        "pretrain",
        "word2vec",
        "--corpus",
        corpus,
        "--output",
        output,
        *GOOD,
    )
    return output


@pytest.fixture(scope="module")
def train(corpus: Path) -> Path:
    return write_table(corpus.parent / "train.csv", reviews(60, seed=1))


@pytest.fixture(scope="module")
def test(corpus: Path) -> Path:
    return write_table(corpus.parent / "test.csv", reviews(60, seed=2))


def test_vectors_are_a_folder_with_their_card(vectors: Path, corpus: Path) -> None:
    figures = json.loads((vectors / "metrics.json").read_text())
    assert figures["loss"] > 0 and figures["words_per_second"] > 0 and figures["tokens"] > 1000
    assert figures["vocabulary"] == len(open_vectors(vectors))
    card = (vectors / "README.md").read_text()
    assert "Word vectors (skip-gram)" in card and corpus.name in card
    again = succeed(
        "pretrain",
        "word2vec",
        "--corpus",
        corpus,
        "--output",
        vectors,
        *GOOD,
        "--json",
    )
    assert json.loads(again.out)["loss"] == figures["loss"]  # complete already


@pytest.mark.parametrize(
    "options", ["--architecture cbow", "--hierarchical", "--ngrams 3 5 --buckets 500", "--phrases 1"]
)
def test_every_kind_of_vectors_is_trained(options: str, corpus: Path, tmp_path: Path) -> None:
    arguments = ["--corpus", corpus, "--output", tmp_path / "v", *SIZES, *options.split()]
    succeed("pretrain", "word2vec", *arguments)
    metrics = json.loads((tmp_path / "v" / "metrics.json").read_text())
    untrained = math.log(metrics["vocabulary"]) if "hierarchical" in options else 6 * math.log(2)
    assert metrics["loss"] < untrained  # one word and five negative samples, or a walk through the tree
    encoder = Encoder.from_pretrained(tmp_path / "v")
    assert isinstance(encoder, WordVectors) and np.isfinite(encoder.table().matrix).all()
    if "ngrams" in options:
        vector = encoder.vector("unbelievability")
        assert vector is not None and vector.any()
    if "phrases" in options:
        assert any("_" in word for word in encoder.table().words)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("word2vec --min-count 1", "word2vec learned nothing: of 4 occurrences"),
        (
            "word2vec --min-count 1 --architecture cbow --subsample 0",
            "no two were in the same document: give more text",
        ),
        ("glove --min-count 1", "no two words of the vocabulary occur near each other"),
    ],
)
def test_text_without_neighbors_leaves_no_model(options: str, said: str, tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "texts.txt", ["one", "two", "three", "four"])
    assert said in fail("pretrain", *options.split(), "--corpus", corpus, "--output", tmp_path / "new")
    assert not (tmp_path / "new/config.json").exists()


def test_glove_gives_vectors_too(corpus: Path, tmp_path: Path) -> None:
    arguments = ["--corpus", corpus, "--output", tmp_path / "g", "--x-max", "10", "--memory-mb", "2"]
    said = succeed("pretrain", "glove", *arguments, *"--size 12 --epochs 3 --min-count 2 --json".split())
    table = open_vectors(tmp_path / "g")
    assert json.loads(said.out)["vocabulary"] == len(table) and np.isfinite(table.matrix).all()
    assert "pretrain word2vec" in fail(
        "adapt", tmp_path / "g", "--corpus", corpus, "--output", tmp_path / "h"
    )


def test_vectors_are_converted_both_ways(vectors: Path, tmp_path: Path) -> None:
    succeed("convert", vectors, "--output", tmp_path / "v.bin")
    succeed("convert", tmp_path / "v.bin", "--output", tmp_path / "again")
    before, after = open_vectors(vectors), open_vectors(tmp_path / "again")
    assert before.words == after.words and np.array_equal(before.matrix, after.matrix)
    assert "exists" in fail("convert", vectors, "--output", tmp_path / "v.bin")


def test_adapt_goes_on_and_adds_words(vectors: Path, tmp_path: Path) -> None:
    text = write_corpus(tmp_path / "more.txt", ["the zyxomma is a good film"] * 400)
    said = succeed(
        "adapt", vectors, "--corpus", text, "--output", tmp_path / "more", "--epochs", "2", "--json"
    )
    before, after = open_vectors(vectors), open_vectors(tmp_path / "more")
    assert after.words[: len(before)] == before.words and "zyxomma" in after.words[len(before) :]
    assert json.loads(said.out)["vocabulary"] == len(after)
    moved = ~np.isclose(before.matrix, after.matrix[: len(before)]).all(axis=1)
    assert moved[before.index["film"]] and not moved.all()


def test_adapt_with_one_worker_gives_the_vectors_of_its_seed(
    vectors: Path, corpus: Path, tmp_path: Path
) -> None:
    found = []
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        line = ["adapt", vectors, "--corpus", corpus, "--output", tmp_path / name, "--epochs", 1]
        succeed(*line, "--workers", 1, "--seed", seed)
        found.append(open_vectors(tmp_path / name).matrix)
    assert np.array_equal(found[0], found[1]) and not np.array_equal(found[0], found[2])


def test_adapt_needs_the_output_matrix(vectors: Path, corpus: Path, tmp_path: Path) -> None:
    small = ["--corpus", corpus, "--output", tmp_path / "v", *SIZES, "--without-output"]
    succeed("pretrain", "word2vec", *small)
    said = fail("adapt", tmp_path / "v", "--corpus", corpus, "--output", tmp_path / "w")
    assert "has no output matrix" in said
    assert "(--without-output there, --no-without-output here)" in fail("pretrain", "word2vec", *small[:-1])
    succeed("pretrain", "word2vec", *small)
    succeed("pretrain", "word2vec", *small[:-1], "--overwrite")
    succeed("pretrain", "word2vec", *small)
    adapted = ["adapt", tmp_path / "v", "--corpus", corpus, "--output", tmp_path / "w"]
    succeed(*adapted, "--epochs", 1, "--workers", 1)
    for option, value in (("--bptt", 3), ("--validation", corpus)):
        said = fail("adapt", vectors, "--corpus", corpus, "--output", tmp_path / "w", option, value)
        assert f"{option} is for language models" in said


@pytest.mark.parametrize(
    "options",
    [
        "",
        "--transfer fine-tune --epochs 4",
        "--body bilstm --epochs 12",
        "--body bilstm --transfer frozen --epochs 15",
    ],
)
def test_fit_stands_on_vectors(options: str, vectors: Path, train: Path, test: Path, tmp_path: Path) -> None:
    paths = ["--train", train, "--validation", test, "--encoder", vectors, "--output", tmp_path / "c"]
    said = json.loads(succeed("fit", "classifier", *paths, "--json", *options.split()).out)
    assert said["transfer"] == ("fine-tune" if options and "frozen" not in options else "frozen")
    assert said["accuracy"] > 0.6
    classifier = TextClassifier.from_pretrained(tmp_path / "c")
    probabilities = classifier.predict_proba(["a great film", "zyxomma", ""])
    assert np.isfinite(probabilities).all()


def test_frozen_vectors_stay_as_they_are_below_a_bilstm(vectors: Path, train: Path, tmp_path: Path) -> None:
    paths = ["--train", train, "--encoder", vectors, "--output", tmp_path / "c"]
    succeed("fit", "classifier", *paths, *"--body bilstm --transfer frozen --epochs 2 --new-words".split())
    encoder = TextClassifier.from_pretrained(tmp_path / "c").network.encoder
    table = open_vectors(vectors)
    rows = [encoder.tokenizer.id(word) for word in table.words[:50]]
    found = encoder.stack("forward").embedding.weight.detach().numpy()[rows]
    factors = found / table.matrix[:50]
    np.testing.assert_allclose(factors, factors[0, 0], rtol=1e-4)  # all by one number


def test_fit_takes_a_file_of_vectors(vectors: Path, train: Path, tmp_path: Path) -> None:
    write_word_vectors(tmp_path / "v.txt", open_vectors(vectors))
    paths = ["--train", train, "--output", tmp_path / "c", "--encoder", tmp_path / "v.txt"]
    succeed("fit", "classifier", *paths)
    succeed("fit", "classifier", *paths[:2], "--output", tmp_path / "d", "--encoder", vectors)
    texts, labels = zip(*reviews(20, seed=7), strict=True)
    of_file, of_folder = (TextClassifier.from_pretrained(tmp_path / name) for name in ("c", "d"))
    np.testing.assert_allclose(of_file.predict_proba(texts), of_folder.predict_proba(texts), atol=0.05)
    assert sum(of_file.predict(texts) == labels) >= 18


def test_a_language_model_starts_from_a_folder_of_vectors(
    vectors: Path, corpus: Path, tmp_path: Path
) -> None:
    sizes = "--preset tiny --embedding-size 16 --hidden-size 8 --epochs 1 --precision fp32".split()
    line = ["pretrain", "lm", "--corpus", corpus, "--word-vectors", vectors, *sizes]
    succeed(*line, "--learning-rate", 1e-7, "--output", tmp_path / "lm")
    line[line.index(vectors)] = tmp_path / "nothing.txt"
    for output in (
        tmp_path / "lm",
        tmp_path / "new",
    ):  # before runs are compared, and before any text is read
        assert "nothing.txt: no such file of word vectors" in fail(*line, "--output", output)
    assert not (tmp_path / "new").exists()
    trained, given = open_vectors(tmp_path / "lm"), open_vectors(vectors)
    rows, known = trained.matrix_for(given.words)
    assert known.sum() > 20
    # One factor scales all vectors, and the small learning rate changes them little.
    assert np.corrcoef(rows[known].ravel(), given.matrix[known].ravel())[0, 1] > 0.999


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--min-count 100000", "no word of the corpus occurs 100000 times"),
        ("--size 0", "--size must be above 0"),
        ("--ngrams 4 3", "--ngrams takes two rising numbers"),
        ("--negatives 0", "negatives must be at least 1"),
        ("--subsample -1", "subsample must be from 0"),
    ],
)
def test_what_cannot_work_is_one_line(line: str, said: str, corpus: Path, tmp_path: Path) -> None:
    assert said in fail("pretrain", "word2vec", "--corpus", corpus, "--output", tmp_path / "v", *line.split())


def test_a_body_needs_an_encoder(train: Path, tmp_path: Path) -> None:
    asked = ["fit", "classifier", "--train", train, "--output", tmp_path / "c"]
    said = fail(*asked, "--encoder", "none", "--body", "bilstm")
    assert "--body bilstm needs an encoder" in said
