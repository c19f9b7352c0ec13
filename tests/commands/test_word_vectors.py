"""The verbs that ask word vectors, end to end: neighbors, similarity, and evaluate on published kinds of sets."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.analysis.tables import table_of
from tests.commands.calls import fail, succeed
from unfreeze.encoders.word_vectors import WordVectors
from unfreeze.text.rules import SPECIAL_TOKENS
from unfreeze.text.tokenizers import WordTokenizer
from unfreeze.vectors.table import VectorTable
from unfreeze.vectors.writing import write_word_vectors

TABLE = table_of(
    king=(5, 1, 0.1), man=(0, 2, 0), woman=(0, 0, 3), queen=(9, 0.2, 2), prince=(5, 1, 0), nothing=(0, 0, 0)
)
PAIRS = "king\tprince\t9\nking\tman\t3\nking\twoman\t1\nking\tjoker\t5\n"
QUESTIONS = ": royal\nman king woman queen\nman king woman joker\n: gram1\nman king woman prince\n"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with vectors and with a folder of sets, in which one is."""
    monkeypatch.chdir(tmp_path)
    write_word_vectors(tmp_path / "vectors.txt", TABLE)
    Path("sets").mkdir()
    Path("sets/people.txt").write_text(PAIRS, encoding="utf-8")
    Path("sets/questions.txt").write_text(QUESTIONS, encoding="utf-8")
    return tmp_path


def test_neighbors_of_a_sum(here: Path) -> None:
    outcome = succeed("neighbors", "vectors.txt", "king", "woman", "--minus", "man", "-k", 1)
    assert outcome.out == "king + woman - man\nrank  word   cosine\n   1  queen  0.7133\n"
    (row,) = succeed(*"neighbors vectors.txt king woman --minus man --top 2 --json".split()).rows
    assert row["query"] == "king + woman - man" and row["measure"] == "cosine"
    assert [(each["rank"], each["word"]) for each in row["neighbors"]] == [(1, "queen"), (2, "prince")]
    assert row["neighbors"][0]["cosine"] == pytest.approx(0.7133, abs=1e-4)
    (row,) = succeed(*"neighbors vectors.txt king --measure dot --json".split()).rows
    assert [each["word"] for each in row["neighbors"]] == ["queen", "prince", "man", "woman"]
    assert row["neighbors"][1]["dot"] == pytest.approx(26)


def test_neighbors_as_a_picture(here: Path) -> None:
    outcome = succeed("neighbors", "vectors.txt", "king", "--plot", "king.png", "--json")
    assert len(outcome.rows) == 1 and "drawn: king.png" in outcome.err
    assert Path("king.png").read_bytes().startswith(b"\x89PNG")


def test_a_word_alone(here: Path) -> None:
    write_word_vectors("one.txt", table_of(king=(1, 0)))
    assert "no other word" in succeed("neighbors", "one.txt", "king").out
    assert succeed("neighbors", "one.txt", "king", "--json").rows[0]["neighbors"] == []


def test_a_released_language_model_is_asked_too() -> None:
    (row,) = succeed(*"neighbors wiki-small river --top 3 --json".split()).rows
    assert len(row["neighbors"]) == 3


def test_similarity(here: Path) -> None:
    assert succeed(*"similarity vectors.txt king man".split()).out == "king, man: cosine 0.1961\n"
    (row,) = succeed(*"similarity vectors.txt king man --measure dot --json".split()).rows
    assert row == {"a": "king", "b": "man", "dot": pytest.approx(2)}


def test_evaluate_a_folder_of_sets(here: Path) -> None:
    outcome = succeed("evaluate", "vectors.txt", "sets")
    assert outcome.out == (
        "set     pairs  missing  spearman\n"
        "people      4        1         1\n"
        "\n"
        "analogies  questions  missing  correct  accuracy\n"
        "royal              2        1        1         1\n"
        "gram1              1        0        0         0\n"
        "semantic           2        1        1         1\n"
        "syntactic          1        0        0         0\n"
        "all                3        1        1       0.5\n"
    )
    rows = succeed("evaluate", "vectors.txt", "sets", "--json").rows
    assert rows[0] == {"set": "people", "pairs": 4, "missing": 1, "spearman": 1.0}
    assert rows[-1] == {"analogies": "all", "questions": 3, "missing": 1, "correct": 1, "accuracy": 0.5}
    assert len(rows) == 6


def test_evaluate_one_file_within_the_first_words_and_with_case(here: Path) -> None:
    (row,) = succeed(*"evaluate vectors.txt sets/people.txt --restrict 2 --json".split()).rows
    assert row == {"set": "people", "pairs": 4, "missing": 3, "spearman": None}
    Path("upper.txt").write_text(PAIRS.upper().replace("KING\tMAN", "king\tman"), encoding="utf-8")
    assert succeed(*"evaluate vectors.txt upper.txt --json".split()).rows[0]["missing"] == 1
    (row,) = succeed(*"evaluate vectors.txt upper.txt --case-sensitive --json".split()).rows
    assert row["missing"] == 3
    assert len(succeed(*"evaluate vectors.txt sets/questions.txt --json".split()).rows) == 5


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("neighbors vectors.txt", "no word was given"),
        (
            "neighbors vectors.txt kign",
            "'kign' is none of the 6 words that have a vector; did you mean 'king'?",
        ),
        ("neighbors vectors.txt KING", "its lower-case form 'king' is"),
        ("neighbors vectors.txt king --minus joker", "'joker' is none of the 6 words"),
        ("neighbors vectors.txt king -k 0", "--top must be above 0, not 0"),
        ("neighbors vectors.txt nothing", "the vector of 'nothing' is zero: it has no direction"),
        ("neighbors vectors.txt king --minus king", "king - king is zero"),
        ("neighbors vectors.txt king --plot king.gif2", "cannot draw 'king.gif2'"),
        (
            "neighbors vectors.txt king --plot king.png --projection tsne",
            "t-SNE needs at least 10 words, not 5",
        ),
        ("neighbors missing.txt king", "missing.txt: no such file of word vectors"),
        ("neighbors missing king", "there is no folder 'missing'"),
        ("neighbors sets king", "sets holds no config.json"),
        ("neighbors empty.txt king", "no word vectors here"),
        ("neighbors nan.txt king", "nan.txt, line 2: nan in a vector"),
        (
            "similarity vectors.txt king nothing",
            "'nothing' is zero: it has no direction, so it has no cosine",
        ),
        ("similarity vectors.txt king kign", "did you mean 'king'?"),
        ("similarity vectors.txt king", "missing B"),
        ("similarity empty.txt king man", "no word vectors here"),
        ("evaluate vectors.txt empty", "empty contains no files of word pairs or analogies"),
        ("evaluate vectors.txt empty.txt", "empty.txt contains no word pairs"),
        ("evaluate vectors.txt vectors.txt", "vectors.txt:2: expected two words and a score"),
        ("evaluate vectors.txt missing.txt", "missing.txt: no such file"),
        ("evaluate missing.txt sets", "missing.txt: no such file of word vectors"),
        ("evaluate nan.txt sets", "nan.txt, line 2: nan in a vector"),
        ("evaluate strange.txt sets", "sets and vectors must be of the same language"),
        ("evaluate vectors.txt sets --restrict 0", "--restrict must be above 0, not 0"),
        (
            "evaluate vectors.txt sets --plot x.png",
            "--plot is for classifiers and image classifiers, not for word vectors",
        ),
    ],
)
def test_a_mistake_is_one_line(line: str, said: str, here: Path) -> None:
    Path("empty").mkdir()
    Path("empty.txt").touch()
    Path("nan.txt").write_text("king 1 2\nman nan 2\n", encoding="utf-8")
    write_word_vectors("strange.txt", VectorTable(["roi", "reine"], np.eye(2, dtype=np.float32)))
    assert said in fail(*line.split())


def test_words_are_found_however_accents_and_apostrophes_are_written(here: Path) -> None:
    matrix = np.array([[3, 4], [4, 3], [-1, 0]], np.float32)
    table = VectorTable(["o'neill", "café", "n’t"], matrix)
    write_word_vectors("curly.txt", table)
    WordVectors.from_table(table).save_pretrained("curly")
    for vectors in ("curly.txt", "curly"):
        outcome = succeed("neighbors", vectors, "o’neill", "-k", 1, "--json")
        assert outcome.rows[0]["neighbors"][0]["word"] == "café"
        assert succeed("similarity", vectors, "cafe\u0301", "n't", "--json").rows[0][
            "cosine"
        ] == pytest.approx(-0.8)
        assert 'its lower-case form "o\'neill" is' in fail("similarity", vectors, "O’Neill", "café")
        Path("pairs.txt").write_text("O’Neill\tCAFE\u0301\t9\nN’T\to'neill\t1\n", encoding="utf-8")
        (row,) = succeed("evaluate", vectors, "pairs.txt", "--json").rows
        assert row["missing"] == 0 and row["spearman"] == 1


def test_files_are_asked_without_torch(here: Path) -> None:
    """A look-up in a file is a matter of a second; torch alone takes longer to import."""
    program = (
        "import sys; from unfreeze.commands.main import main; "
        "sys.exit(main(sys.argv[1:]) or 'torch' in sys.modules)"
    )
    for line in (
        "neighbors vectors.txt king",
        "similarity vectors.txt king man",
        "evaluate vectors.txt sets",
    ):
        done = subprocess.run(
            [sys.executable, "-c", program, *line.split()], capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr


@pytest.fixture
def with_ngrams(here: Path) -> WordVectors:
    """A folder of vectors that make unseen words of their n-grams."""
    words = ["king", "queen", "prince"]
    encoder = WordVectors(WordTokenizer([*SPECIAL_TOKENS, *words]), size=6, ngrams=(2, 4), buckets=40)
    with torch.no_grad():
        encoder.embedding[len(SPECIAL_TOKENS) :] = torch.randn(
            3, 6, generator=torch.Generator().manual_seed(1)
        )
        encoder.buckets.copy_(torch.randn(40, 6, generator=torch.Generator().manual_seed(2)))
    encoder.save_pretrained(here / "folder")
    return encoder


def test_unseen_words_are_asked_by_their_ngrams(with_ngrams: WordVectors) -> None:
    king, kings = with_ngrams.vector("king"), with_ngrams.vector("kings")
    assert king is not None and kings is not None
    (row,) = succeed(*"similarity folder king kings --json".split()).rows
    assert row["cosine"] == pytest.approx(float(torch.cosine_similarity(king, kings, 0)), abs=1e-6)
    (row,) = succeed(*"neighbors folder kings --json".split()).rows
    assert sorted(each["word"] for each in row["neighbors"]) == ["king", "prince", "queen"]
    pairs, *_ = succeed(*"evaluate folder sets/people.txt --json".split()).rows
    assert pairs["missing"] == 0
    assert "'kings' is none of the 6 words" in fail("similarity", "vectors.txt", "king", "kings")


def test_a_file_without_ngrams_says_so(with_ngrams: WordVectors) -> None:
    assert "n-grams are left out" in succeed("convert", "folder", "--output", "plain.bin").err
    assert "n-grams" not in succeed("convert", "folder", "--output", "copy").err
    assert "ends in .txt, .vec, .bin, .npz" in fail("convert", "folder", "--output", "copy.foo")


@pytest.mark.parametrize("line", ["similarity folder king queen", "convert folder --output x.txt"])
def test_a_folder_with_nan_is_refused(line: str, with_ngrams: WordVectors) -> None:
    with torch.no_grad():
        with_ngrams.embedding[-1, 2] = torch.nan
    with_ngrams.save_pretrained(Path("folder"))
    assert "the vector of 'prince' holds NaN or infinity" in fail(*line.split())
    assert not Path("x.txt").exists()


def test_words_of_megabytes_are_cut(here: Path) -> None:
    write_word_vectors("long.txt", VectorTable(["a", "b" * 1_000_000], np.eye(2, dtype=np.float32)))
    outcome = succeed("neighbors", "long.txt", "a", "--plot", "long.png")
    assert len(outcome.out) < 500 and Path("long.png").exists()


def test_what_cannot_fit_is_said_before(here: Path) -> None:
    Path("t.txt").write_text(" ".join(f"w{number}" for number in range(500)) * 5, encoding="utf-8")
    for verb in ("word2vec", "glove"):
        line = f"pretrain {verb} --corpus t.txt --size 2000000000 --min-count 1 --output v"
        said = "--size 2000000000 is too large for this machine: with it, the vectors of 508 words need"
        assert said in fail(*line.split(), "--overwrite")
