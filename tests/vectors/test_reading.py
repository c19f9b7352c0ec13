"""Word vectors in files; gensim is the oracle where it is installed."""

from __future__ import annotations

import gzip
import io
import logging
import lzma
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tests.conftest import data_folder
from unfreeze.errors import UserError
from unfreeze.vectors import reading
from unfreeze.vectors.reading import read_word_vectors
from unfreeze.vectors.table import LoadReport, VectorTable
from unfreeze.vectors.writing import write_word_vectors

SUFFIXES = [".txt", ".vec", ".bin", ".npz", ".txt.gz", ".bin.gz", ".npz.gz"]


def some_vectors(n: int = 5, size: int = 7) -> VectorTable:
    matrix = np.random.default_rng(0).normal(size=(n, size)).astype(np.float32)
    return VectorTable([f"wörd{i}" for i in range(n)], matrix)


@st.composite
def any_vectors(draw: st.DrawFn) -> VectorTable:
    """Words of any characters but those that no format but .npz carries; numbers from the smallest to the largest."""
    characters = st.characters(exclude_categories=["Cs"], exclude_characters=" \n\r\0\ufeff")
    words = draw(st.lists(st.text(characters, min_size=1, max_size=6), min_size=1, max_size=5, unique=True))
    numbers = st.floats(allow_nan=False, allow_infinity=False, width=32)
    shape = (len(words), draw(st.integers(2, 4)))
    return VectorTable(words, draw(arrays.arrays(np.float32, shape, elements=numbers)))


@pytest.mark.parametrize("suffix", [*SUFFIXES, "without header"])
@given(vectors=any_vectors())
def test_what_is_written_is_read_bit_by_bit(
    tmp_path_factory: pytest.TempPathFactory, suffix: str, vectors: VectorTable
) -> None:
    header = suffix != "without header"
    path = tmp_path_factory.mktemp("vectors") / f"vectors{suffix if header else '.txt'}"
    write_word_vectors(path, vectors, header=header)
    again = read_word_vectors(path)
    assert again.words == vectors.words
    assert again.matrix.dtype == np.float32 and again.matrix.tobytes() == vectors.matrix.tobytes()


@pytest.mark.parametrize("suffix", [".txt", ".bin", ".npz"])
@given(vectors=any_vectors(), limit=st.integers(1, 6), data=st.data())
def test_a_part_of_a_file_is_that_part_of_the_whole(
    tmp_path_factory: pytest.TempPathFactory,
    suffix: str,
    vectors: VectorTable,
    limit: int,
    data: st.DataObject,
) -> None:
    path = tmp_path_factory.mktemp("vectors") / f"vectors{suffix}"
    write_word_vectors(path, vectors)
    first = read_word_vectors(path, limit=limit)
    assert first.words == vectors.words[:limit]
    assert first.matrix.tobytes() == vectors.matrix[:limit].tobytes()
    only = data.draw(st.sets(st.sampled_from(vectors.words)))
    some = read_word_vectors(path, only=only | {"never there"})
    assert some.words == [word for word in vectors.words if word in only]
    assert some.matrix.tobytes() == vectors.matrix[[vectors.index[word] for word in some.words]].tobytes()


# What gensim 4.4's save_word2vec_format wrote of GENSIM_WORDS and GENSIM_ROWS.
GENSIM_WORDS = ["käse", "日本", "2.5", "</s>"]
GENSIM_ROWS = np.array([[1.5, -2], [1 / 3, 1e-45], [3.4e38, -0.0], [0, 0.1]], np.float32)
GENSIM_FILES = {
    ".txt": b"4 2\nk\xc3\xa4se 1.5 -2.0\n\xe6\x97\xa5\xe6\x9c\xac 0.33333334 1e-45\n2.5 3.4e+38 -0.0\n</s> 0.0 0.1\n",
    ".bin": b"4 2\nk\xc3\xa4se \x00\x00\xc0?\x00\x00\x00\xc0\xe6\x97\xa5\xe6\x9c\xac \xab\xaa\xaa>\x01\x00\x00\x00"
    b"2.5 \x9e\xc9\x7f\x7f\x00\x00\x00\x80</s> \x00\x00\x00\x00\xcd\xcc\xcc=",
}


@pytest.mark.parametrize("suffix", GENSIM_FILES)
def test_what_gensim_wrote_is_read_bit_by_bit(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"v{suffix}").write_bytes(GENSIM_FILES[suffix])
    vectors = read_word_vectors(tmp_path / f"v{suffix}")
    assert vectors.words == GENSIM_WORDS and vectors.matrix.tobytes() == GENSIM_ROWS.tobytes()
    assert vectors.report == LoadReport()


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
    path.write_bytes(b"\xba\x16\x4f\x2e whatever\n")
    with pytest.raises(UserError, match="line 1: expected word2vec.s binary header"):
        read_word_vectors(path)
    packed.write_bytes(gzip.compress(b"a 1 2\n" * 1000)[:-12])
    with pytest.raises(UserError, match="cannot be unpacked"):
        read_word_vectors(packed)
    np.savez(arrays_path, words=np.array(["a"]))
    with pytest.raises(UserError, match="needs the arrays"):
        read_word_vectors(arrays_path)
    with pytest.raises(UserError, match="is not a file"):
        read_word_vectors(tmp_path / "nowhere.txt")


def encrypted(archive: bytes) -> bytes:
    """The same archive, whose entries say that they need a password."""
    found = bytearray(archive)
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = found.find(mark)
        while start >= 0:
            found[start + place] |= 1
            start = found.find(mark, start + 1)
    return bytes(found)


def archive(**arrays: object) -> bytes:
    """A .npz in memory; what is no array is stored as a text."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        for name, array in arrays.items():
            if isinstance(array, np.ndarray):
                inner = io.BytesIO()
                np.save(inner, array)
                file.writestr(f"{name}.npy", inner.getvalue())
            else:
                file.writestr(name, str(array))
    return stream.getvalue()


def misplaced() -> bytes:
    """An archive whose table of contents names a place before its beginning."""
    content = bytearray(archive(words=NPZ_WORDS, matrix=NPZ_MATRIX))
    at = content.rindex(b"PK\x05\x06") + 16  # where the table begins
    content[at : at + 4] = (int.from_bytes(content[at : at + 4], "little") + 1000).to_bytes(4, "little")
    return bytes(content)


def one_array() -> bytes:
    """A .npy under another name."""
    stream = io.BytesIO()
    np.save(stream, np.ones((2, 3)))
    return stream.getvalue()


NPZ_WORDS, NPZ_MATRIX = np.array(["a", "b"]), np.ones((2, 3), np.float32)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (encrypted(archive(words=NPZ_WORDS, matrix=NPZ_MATRIX)), "encrypted"),
        (b"a 1 2 3\nb 4 5 6\n", "not an .npz"),
        (archive(words="a b", matrix="1 2"), "an array is of bytes"),
        (archive(words=np.array(["a", {}], object), matrix=NPZ_MATRIX), "contains Python objects"),
        (archive(words=NPZ_WORDS, matrix=NPZ_WORDS), "an array is of <U1"),
        (archive(words=np.array([b"a", b"b"]), matrix=NPZ_MATRIX), "an array is of |S1"),
        (archive(words=np.array([1, 2]), matrix=NPZ_MATRIX), "an array is of int64"),
        (archive(words=NPZ_WORDS, matrix=NPZ_MATRIX * 1j), "an array is of complex64"),
        (archive(words=np.array("a"), matrix=np.array(1.0)), "words of shape ()"),
        (archive(words=NPZ_WORDS, matrix=np.ones((3, 3))), "words of shape (2,)"),
        (archive(), "words"),
        (one_array(), "single array of NumPy"),
        (misplaced(), "cannot be unpacked"),
        (b"", "truncated or damaged"),
    ],
)
def test_a_npz_that_holds_something_else(content: bytes, said: str, tmp_path: Path) -> None:
    for name in ("v.npz", "v.npz.gz"):
        path = tmp_path / name
        path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
        with pytest.raises(UserError) as caught:
            read_word_vectors(path)
        assert (
            str(path) in str(caught.value) and said in str(caught.value) and "unsafe" not in str(caught.value)
        )


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


def test_a_row_is_found_however_accents_and_apostrophes_are_written() -> None:
    vectors = VectorTable(
        ["n’t", "cafe\u0301", "O'Neill", "n't", "Zoë"], np.arange(5, dtype=np.float32)[:, None]
    )
    rows = {
        "n’t": 0,
        "n't": 3,
        "café": 1,
        "cafe\u0301": 1,
        "O’Neill": 2,
        "Zoe\u0308": 4,
        "o’neill": None,
        "Café": None,
    }
    assert {word: vectors.row(word) for word in rows} == rows
    matrix, found = vectors.matrix_for(["O’Neill", "o’neill", "o'neill", "CAFÉ", "N’T", "zoe\u0308"])
    assert found.all() and matrix[:, 0].tolist() == [2, 2, 2, 1, 3, 4]


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


# What published files have that they should not


def in_text(folder: Path, content: bytes) -> VectorTable:
    (folder / "vectors.txt").write_bytes(content)
    return read_word_vectors(folder / "vectors.txt")


def in_binary(folder: Path, header: bytes, *words: bytes, behind: bytes = b"") -> VectorTable:
    rows = [b"%b %b" % (word, np.array([n, 2], "<f4").tobytes()) for n, word in enumerate(words)]
    (folder / "vectors.bin").write_bytes(header + b"\n" + b"".join(rows) + behind)
    return read_word_vectors(folder / "vectors.bin")


ODD_TEXT = {
    b"a 1 2\nb 3 4\na 5 6\n": {"duplicates": 1},
    b" 5 6\na 1 2\nb 3 4\n": {"empty_words": 1},
    b"a 1 2 \nb 3 4\t\n": {"trailing_spaces": 2},
    b"2 2 \na 1 2\r\nb 3 4 \r\n": {"carriage_returns": 2, "trailing_spaces": 1},
    b"a 1 2\nb 3 4\n\n \n": {"blank_last_lines": 2, "trailing_spaces": 1},
    b"1 2\na 1 2\nb 3 4\n": {"beyond_header": 1},
    b"2 2\na 1 2\nb 3 4\na 5 6": {"beyond_header": 1, "duplicates": 1},
    b"3 2\na 1 2\nb 3 4\na 5 6": {"duplicates": 1},
    b"\xef\xbb\xbf2 2\na 1 2\nb 3 4\n": {"byte_order_marks": 1},
    b"\xef\xbb\xbfa 1 2\nb 3 4": {"byte_order_marks": 1},
    b"a 1 2\n\xef\xbb\xbfb 3 4\r\n": {"byte_order_marks": 1, "carriage_returns": 1},
    b"a 1 2\nb 3e0 +4.00\n": {},
}


@pytest.mark.parametrize("content", ODD_TEXT)
def test_odd_text_is_read_and_counted(tmp_path: Path, content: bytes) -> None:
    vectors = in_text(tmp_path, content)
    assert vectors.words == ["a", "b"] and vectors.matrix.tolist() == [[1, 2], [3, 4]]
    assert vectors.report == LoadReport(**ODD_TEXT[content])


def test_words_with_spaces_and_without_utf_8_are_kept_and_counted(tmp_path: Path) -> None:
    vectors = in_text(tmp_path, b". . . 1 2\n\xe4\xffx 0 0\n\xc2\xa0 0 1\nat a@b.c 7 8\n0 0 -0.0")
    assert vectors.words == [". . .", "\ufffd\ufffdx", "\u00a0", "at a@b.c", "0"]
    assert vectors.report == LoadReport(words_with_spaces=2, not_utf8=1, zero_vectors=2)
    assert read_word_vectors(tmp_path / "vectors.txt", only={"at a@b.c"}).matrix.tolist() == [[7, 8]]


def test_odd_binary_is_read_and_counted(tmp_path: Path) -> None:
    vectors = in_binary(tmp_path, b"5 2", b"</s>", b"\na", b"\n\xff", b"a", b"\n", behind=b"\n")
    assert vectors.words == ["</s>", "a", "\ufffd"] and vectors.matrix[:, 0].tolist() == [0, 1, 2]
    assert vectors.report == LoadReport(duplicates=1, not_utf8=1, empty_words=1)
    vectors = in_binary(tmp_path, b"1 2", b"a", b"b")
    assert vectors.words == ["a"] and vectors.report == LoadReport(bytes_behind=10)


SPACED = ["New York", "a b", "rock and roll", "San José", " leading", "x  y"]


@pytest.mark.parametrize("end", [b"", b"\n"], ids=["gensim", "C"])
@pytest.mark.parametrize("word", SPACED)
@pytest.mark.parametrize("place", [0, 3, 9])
def test_a_binary_file_with_a_space_in_a_word_is_refused(
    tmp_path: Path, word: str, end: bytes, place: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [f"word{n}" for n in range(9)]
    words.insert(place, word)
    matrix = np.random.default_rng(place).normal(size=(10, 6)).astype("<f4")
    rows = [b"%b %b%b" % (each.encode(), row.tobytes(), end) for each, row in zip(words, matrix, strict=True)]
    for name, pack in (("v.bin", bytes), ("v.bin.gz", gzip.compress)):
        (tmp_path / name).write_bytes(pack(b"10 6\n" + b"".join(rows)))
        with pytest.raises(
            UserError, match=rf"{name}: word {place + 1} \({re.escape(repr(word))}\) holds a space"
        ):
            read_word_vectors(tmp_path / name)
    monkeypatch.setattr(reading, "_BINARY_BLOCK", 64)  # a vector is read in parts
    with pytest.raises(UserError, match=f"word {place + 1} "):
        read_word_vectors(tmp_path / "v.bin")


def test_a_binary_file_whose_next_word_shows_the_space_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"word 2 .* holds a NUL or a line break: .* holds a space"):
        rows = [b"New York " + bytes(8) + b"\n", b"a " + np.array([1, 2], "<f4").tobytes() + b"\n"]
        (tmp_path / "zero.bin").write_bytes(b"2 2\n" + b"".join(rows))
        read_word_vectors(tmp_path / "zero.bin")


def test_odd_numbers_alone_are_no_space(tmp_path: Path) -> None:
    """Large and small numbers, bytes that look like text and a space, words that are no text."""
    matrix = np.array([[1e30, 1e-30], [3e7, 2.0], [0.0, 0.0]], np.float32)
    matrix = np.concatenate([matrix, np.frombuffer(b"York 234 as York", "<f4").reshape(2, 2)])
    words = ["\x01", "\u200b", "b\x7f", "c", "d"]
    write_word_vectors(tmp_path / "v.bin", VectorTable(words, matrix))
    found = read_word_vectors(tmp_path / "v.bin")
    assert found.words == words and np.array_equal(found.matrix, matrix)


def test_what_is_odd_is_said_once_with_counts(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    in_text(tmp_path, b"a 1 2 \n" * 3 + b"b 0 0\n")
    (record,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert "vectors.txt: 2 repeated words (left out), 1 vectors of zeros (kept)" in record.message
    caplog.clear()
    in_text(tmp_path, b"a 1 2 \nb 1 0 \n\n")
    assert not any(record.levelno == logging.WARNING for record in caplog.records)  # white space alone


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("v.bin", b"2 2\na 1 2\nb 3 4\n", ["a", "b"]),
        ("v.w2v", b"1 2\na " + np.array([1, 2], "<f4").tobytes(), ["a"]),
        ("v", b"1 2\na " + np.array([1, 2], "<f4").tobytes() + b"\n", ["a"]),
    ],
)
def test_a_misleading_name_does_not_matter(
    tmp_path: Path, name: str, content: bytes, words: list[str]
) -> None:
    (tmp_path / name).write_bytes(content)
    vectors = read_word_vectors(tmp_path / name)
    assert vectors.words == words and vectors.matrix[0].tolist() == [1, 2]


def test_blank_lines_between_words_name_the_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_TEXT_BLOCK", 5)  # a line a block
    assert in_text(tmp_path, b"a 1 2\nb 3 4\n\n\n").report == LoadReport(blank_last_lines=2)
    with pytest.raises(UserError, match="line 3: 0 numbers"):
        in_text(tmp_path, b"a 1 2\nb 3 4\n\n\nc 1 2\n")


def test_a_part_needs_no_sound_rest(tmp_path: Path) -> None:
    (tmp_path / "v.txt").write_bytes(b"9 2\na 1 2\nb 3 4\nc 1\n")
    assert read_word_vectors(tmp_path / "v.txt", limit=2).words == ["a", "b"]
    assert read_word_vectors(tmp_path / "v.txt", only={"b"}).words == ["b"]
    with pytest.raises(UserError, match="line 4: 1 numbers"):
        read_word_vectors(tmp_path / "v.txt", limit=20)
    with pytest.raises(UserError, match="limit is 0"):
        read_word_vectors(tmp_path / "v.txt", limit=0)


@pytest.mark.parametrize("header", [b"99999999999999 2", b"2 99999999999"])
@pytest.mark.parametrize("suffix", [".bin", ".txt"])
def test_a_header_that_promises_too_much_takes_no_memory(tmp_path: Path, header: bytes, suffix: str) -> None:
    path = tmp_path / f"v{suffix}"
    path.write_bytes(header + b"\na " + np.array([1, 2], "<f4").tobytes())
    with pytest.raises(UserError, match="word 2 of|word 1 of|line 2: 0 numbers|longer than"):
        read_word_vectors(path)


def test_what_cannot_be_written(tmp_path: Path) -> None:
    one = VectorTable(["a"], np.ones((1, 1), np.float32))
    for name in ("v.txt", "v.bin", "v.npz"):
        with pytest.raises(UserError, match="without a header"):
            write_word_vectors(tmp_path / name, one, header=False)
    for word, name in (("a\0", "v.npz"), ("", "v.npz"), ("\ud800", "v.txt")):
        with pytest.raises(UserError, match="word 1"):
            write_word_vectors(tmp_path / name, VectorTable([word], one.matrix))
    assert not list(tmp_path.iterdir())


def test_published_vectors_agree_with_gensim() -> None:
    keyed = pytest.importorskip("gensim.models").KeyedVectors
    path = data_folder("vectors") / "glove.twitter.27B.25d.12k.txt"
    ours, theirs = read_word_vectors(path), keyed.load_word2vec_format(str(path), no_header=True)
    assert len(theirs) == 11_925
    assert np.array_equal(ours.matrix[[ours.index[word] for word in theirs.index_to_key]], theirs.vectors)


@pytest.mark.parametrize(
    ("name", "pack", "said"),
    [
        ("v.txt", gzip.compress, r"compressed by gzip: give it a name that ends in \.gz"),
        ("v.bin", gzip.compress, "compressed by gzip"),
        ("v.vec.gz", lambda data: gzip.compress(gzip.compress(data)), "compressed by gzip"),
        ("v.txt", lzma.compress, "compressed by xz"),
    ],
)
def test_a_compression_that_the_name_does_not_show_is_said(
    tmp_path: Path, name: str, pack: Callable[[bytes], bytes], said: str
) -> None:
    (tmp_path / name).write_bytes(pack(b"a 1 2\nb 3 4\n"))
    with pytest.raises(UserError, match=f"{name} is {said}"):
        read_word_vectors(tmp_path / name)
