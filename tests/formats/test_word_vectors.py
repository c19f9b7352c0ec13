"""Word vectors in files; gensim is the oracle where it is installed."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tests.conftest import data_folder
from unfreeze.errors import UserError
from unfreeze.formats.word_vectors import VectorTable, read_word_vectors, write_word_vectors

SUFFIXES = [".txt", ".bin", ".npz", ".txt.gz", ".bin.gz"]


def some_vectors(n: int = 5, size: int = 7) -> VectorTable:
    matrix = np.random.default_rng(0).normal(size=(n, size)).astype(np.float32)
    return VectorTable([f"wörd{i}" for i in range(n)], matrix)


@pytest.mark.parametrize("suffix", SUFFIXES)
@given(
    matrix=arrays.arrays(
        np.float32,
        st.tuples(st.integers(1, 5), st.integers(1, 4)),
        elements=st.floats(allow_nan=False, allow_infinity=False, width=32),
    )
)
def test_what_is_written_is_read_bit_by_bit(
    tmp_path_factory: pytest.TempPathFactory, suffix: str, matrix: np.ndarray
) -> None:
    path = tmp_path_factory.mktemp("vectors") / f"vectors{suffix}"
    words = ["the", "2.5", "\u00a0x\u2028", "日本", "\n"][: len(matrix)]
    words = [word if suffix == ".npz" else word.replace("\n", "\x0b") for word in words]
    write_word_vectors(path, VectorTable(words, matrix))
    again = read_word_vectors(path)
    assert again.words == words
    assert again.matrix.dtype == np.float32 and again.matrix.tobytes() == matrix.tobytes()


@pytest.mark.parametrize("suffix", [".txt", ".bin"])
def test_gensim_reads_what_we_write_and_the_other_way_round(tmp_path: Path, suffix: str) -> None:
    keyed = pytest.importorskip("gensim.models").KeyedVectors
    ours, theirs = tmp_path / f"ours{suffix}", tmp_path / f"theirs{suffix}"
    vectors = some_vectors(4_200)  # more than a block of lines
    write_word_vectors(ours, vectors)
    loaded = keyed.load_word2vec_format(str(ours), binary=suffix == ".bin")
    assert loaded.index_to_key == vectors.words
    assert loaded.vectors.tobytes() == vectors.matrix.tobytes()
    loaded.save_word2vec_format(str(theirs), binary=suffix == ".bin", sort_attr="nothing")
    again = read_word_vectors(theirs)
    assert again.words == vectors.words
    assert again.matrix.tobytes() == vectors.matrix.tobytes()


def test_binary_of_the_c_program_has_a_line_break_after_each_vector(tmp_path: Path) -> None:
    rows = np.array([[1.5, -2], [3, 4]], "<f4")
    (tmp_path / "c.bin").write_bytes(b"2 2\na " + rows[0].tobytes() + b"\nb " + rows[1].tobytes() + b"\n")
    vectors = read_word_vectors(tmp_path / "c.bin")
    assert vectors.words == ["a", "b"] and vectors.matrix.tolist() == rows.tolist()


def test_text_with_header_spaces_in_words_and_trailing_spaces(tmp_path: Path) -> None:
    (tmp_path / "glove.txt").write_bytes(b"the 1 2\n. . . 3 4 \r\n2 5 6\nat a@b.c 7 8\n\xff 9 10\n")
    vectors = read_word_vectors(tmp_path / "glove.txt")
    assert vectors.words == ["the", ". . .", "2", "at a@b.c", "\ufffd"]
    assert vectors.matrix.tolist() == [[1, 2], [3, 4], [5, 6], [7, 8], [9, 10]]
    (tmp_path / "w2v.vec").write_bytes(b"2 3\nthe 1 2 3\na 4 5 6\n")
    assert read_word_vectors(tmp_path / "w2v.vec").matrix.tolist() == [[1, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a 1 2\nb 1\n", "line 2: 1 numbers after the word where 2"),
        (b"a 1 2\nb 1 2 3\n", "line 2: 3 numbers after the word where 2"),
        (b"a 1 2\nb 1 x\n", "line 2: 'x' is not a number"),
        (b"2 2\na 1 2\nb 1 nan\n", "line 3: nan in a vector"),
        (b"a 1 2\nb 1 1e39\n", "line 2: 1e39 in a vector"),
        (b"a 1 2\n\nb 1 2\n", "line 2: 0 numbers"),
        (b"3 2\na 1 2\n", "has 1 words where its first line says 3"),
        (b"", "line 1: no word vectors"),
        (b"0 2\n", "line 1: no word vectors"),
        (b"a 1 2\n" * 5000 + b"b 1\n", "line 5001: 1 numbers"),
    ],
)
def test_broken_text_names_the_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "vectors.txt"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        read_word_vectors(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_broken_binary_packed_and_npz(tmp_path: Path) -> None:
    path, packed, arrays_path = tmp_path / "v.bin", tmp_path / "v.txt.gz", tmp_path / "v.npz"
    write_word_vectors(path, some_vectors())
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(UserError, match="ends at word 5 of 5"):
        read_word_vectors(path)
    path.write_bytes(b"1 1\na " + np.array([np.nan], "<f4").tobytes())
    with pytest.raises(UserError, match=r"word 1 \('a'\) holds NaN"):
        read_word_vectors(path)
    path.write_bytes(b"\xba\x16\x4f\x2f whatever\n")
    with pytest.raises(UserError, match="line 1: expected the header"):
        read_word_vectors(path)
    packed.write_bytes(gzip.compress(b"a 1 2\n" * 1000)[:-12])
    with pytest.raises(UserError, match="cannot be unpacked"):
        read_word_vectors(packed)
    np.savez(arrays_path, words=np.array(["a"]))
    with pytest.raises(UserError, match="needs the arrays"):
        read_word_vectors(arrays_path)
    with pytest.raises(UserError, match="is no file"):
        read_word_vectors(tmp_path / "nowhere.txt")


@pytest.mark.parametrize("word", ["", "two words", "line\nbreak"])
@pytest.mark.parametrize("suffix", [".txt", ".bin"])
def test_words_that_a_format_cannot_carry_leave_an_earlier_file_intact(
    tmp_path: Path, word: str, suffix: str
) -> None:
    path = tmp_path / f"v{suffix}"
    write_word_vectors(path, some_vectors())
    before = path.read_bytes()
    with pytest.raises(UserError, match="word 2"):
        write_word_vectors(path, VectorTable(["a", word], np.zeros((2, 3), np.float32)))
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_matrix_for_prefers_the_exact_word_then_lower_case() -> None:
    vectors = VectorTable(
        ["Apple", "apple", "Paris", "IT", "it", "it"], np.arange(6, dtype=np.float32)[:, None]
    )
    matrix, found = vectors.matrix_for(["apple", "Apple", "APPLE", "paris", "It", "IT", "it"])
    assert found.all()
    assert matrix[:, 0].tolist() == [1, 0, 1, 2, 4, 3, 4]


def test_matrix_for_draws_missing_rows_at_the_scale_of_the_found_ones() -> None:
    vectors = some_vectors(400, 50)
    vectors = VectorTable(vectors.words, vectors.matrix * 0.01)
    vocabulary = ["no", *vectors.words, *(f"none{i}" for i in range(400))]
    matrix, found = vectors.matrix_for(vocabulary, seed=3)
    assert found.tolist() == [False] + [True] * 400 + [False] * 400
    assert np.array_equal(matrix[1:401], vectors.matrix)
    assert matrix[~found].std() == pytest.approx(vectors.matrix.std(), rel=0.05)
    assert np.array_equal(matrix, vectors.matrix_for(vocabulary, seed=3)[0])
    assert not np.array_equal(matrix, vectors.matrix_for(vocabulary, seed=4)[0])
    with pytest.raises(UserError, match="none of the 1 words"):
        vectors.matrix_for(["no"])


def test_published_vectors_agree_with_gensim() -> None:
    keyed = pytest.importorskip("gensim.models").KeyedVectors
    path = data_folder("vectors") / "glove.twitter.27B.25d.12k.txt"
    ours, theirs = read_word_vectors(path), keyed.load_word2vec_format(str(path), no_header=True)
    assert len(theirs) == 11_925
    assert np.array_equal(ours.matrix[[ours.index[word] for word in theirs.index_to_key]], theirs.vectors)
