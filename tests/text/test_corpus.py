"""Corpora: which files are found, what their documents are, what a broken one is told."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import itertools
import json
import logging
import lzma
import subprocess
import sys
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import data_folder
from unfreeze.commands.progress import LogHandler
from unfreeze.datasets import lines as text_lines
from unfreeze.datasets.lines import read_lines
from unfreeze.errors import MissingExtra, UserError
from unfreeze.text import corpus
from unfreeze.text.corpus import find_files, stream_documents

DOCUMENTS = ["First title\nA line of it.", 'Quotes " and, commas; tabs\tnot', "Dritter Text: äöü ∀ 😀"]


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def json_lines(documents: list[str]) -> str:
    return "".join(json.dumps({"id": i, "text": text}) + "\n" for i, text in enumerate(documents))


def compress(suffix: str, content: bytes) -> bytes:
    if suffix == ".zst":
        zstandard = pytest.importorskip("zstandard")
        half = len(content) // 2  # two frames, as parallel compressors write them
        return b"".join(zstandard.compress(part) for part in (content[:half], content[half:]))
    return {".gz": gzip.compress, ".xz": lzma.compress}[suffix](content)


# Which files


def test_a_folder_is_searched_through_in_sorted_order(tmp_path: Path) -> None:
    names = ["b.txt", "a/z.jsonl", "a/b/c.csv.gz", "wiki_00", "c.parquet", "D.TXT"]
    for name in [*names, ".hidden.txt", ".git/config.txt", "picture.jpg", "a/notes.md"]:
        write(tmp_path / name, "x")
    found = [str(path.relative_to(tmp_path)) for path in find_files([tmp_path])]
    assert found == ["D.TXT", "b.txt", "c.parquet", "wiki_00", "a/z.jsonl", "a/b/c.csv.gz"]


def test_what_is_left_out_of_a_folder_is_said_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ["a.txt", ".a.txt", "sub/._b.txt", "sub/b.txt", "notes.md", "sub/cat.jpg"]:
        write(tmp_path / name, "x")
    monkeypatch.setattr("sys.stderr", screen := io.StringIO())
    monkeypatch.setattr(
        logging.getLogger("unfreeze.datasets"), "propagate", False
    )  # to handlers of earlier tests
    logging.getLogger("unfreeze.datasets").addHandler(handler := LogHandler())
    for _ in range(2):
        assert [path.name for path in find_files([tmp_path])] == ["a.txt", "b.txt"]
    logging.getLogger("unfreeze.datasets").removeHandler(handler)
    assert screen.getvalue().splitlines() == [
        f"{tmp_path}: files that are not read: 2 hidden, 2 of other kinds (.jpg, .md)"
    ]
    assert [path.name for path in find_files([tmp_path / ".a.txt"])] == [".a.txt"]  # it was named


def test_links_to_folders_are_followed_once(tmp_path: Path) -> None:
    write(tmp_path / "corpus/a.txt", "x")
    write(tmp_path / "corpus/sub/b.txt", "x")
    write(tmp_path / "elsewhere/c.txt", "x")
    write(tmp_path / "elsewhere/deep/d.txt", "x")
    links = {
        "linked": "elsewhere",
        "corpus/link": "elsewhere",
        "elsewhere/back": "corpus",
        "corpus/sub/self": "corpus/sub",
    }
    for link, target in links.items():
        (tmp_path / link).symlink_to(tmp_path / target, target_is_directory=True)
    found = [path.relative_to(tmp_path).as_posix() for path in find_files([tmp_path / "corpus"])]
    assert found == ["corpus/a.txt", "corpus/link/c.txt", "corpus/link/deep/d.txt", "corpus/sub/b.txt"]
    assert [path.name for path in find_files([tmp_path / "linked"])] == ["c.txt", "a.txt", "b.txt", "d.txt"]
    assert len(list(stream_documents([tmp_path / "corpus", tmp_path / "linked"]))) == 4


def test_links_to_folders_above_are_not_followed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path / "data/held-out.txt", "x")
    write(tmp_path / "data/corpus/a.txt", "x")
    write(tmp_path / "data/corpus/sub/b.txt", "x")
    write(tmp_path / "else/where/c.txt", "x")
    write(tmp_path / "else/d.txt", "x")
    links = {
        "data/corpus/up": "..",
        "data/corpus/sub/root": "/",
        "data/corpus/where": "../../else/where",
        "else/where/up": "..",
    }
    for link, target in links.items():
        (tmp_path / link).symlink_to(target, target_is_directory=True)
    found = [path.name for path in find_files([tmp_path / "data/corpus"])]
    assert found == ["a.txt", "b.txt", "c.txt"]
    places = [f"{tmp_path}/data/corpus/{name}" for name in ("up", "sub/root", "where/up")]
    assert caplog.messages == [
        f"{tmp_path}/data/corpus: links that lead upwards are not followed: {', '.join(places)}"
    ]


def test_globs_named_files_and_duplicates(tmp_path: Path) -> None:
    for name in ["one.md", "two.md", "sub/three.md", "odd[1].md"]:
        write(tmp_path / name, "x")

    def names(*paths: str) -> list[str]:
        return [path.name for path in find_files([tmp_path / path for path in paths])]

    assert names("*.md") == ["odd[1].md", "one.md", "two.md"]
    assert names("**/*.md") == ["odd[1].md", "one.md", "three.md", "two.md"]
    assert names("odd[1].md") == ["odd[1].md"]  # a file of that name wins over the pattern
    assert names("two.md", "*.md", "sub/../two.md") == ["two.md", "odd[1].md", "one.md"]


def test_a_glob_that_matches_folders_searches_them(tmp_path: Path) -> None:
    write(tmp_path / "part-1/a.txt", "x")
    write(tmp_path / "part-2/b.txt", "x")
    assert [path.name for path in find_files([tmp_path / "part-*"])] == ["a.txt", "b.txt"]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("missing.txt", "no such file"),
        ("*.jsonl", "no file matches"),
        ("pictures", r"no file of a known kind .*\.txt"),
    ],
)
def test_paths_that_give_nothing_are_told_at_once(tmp_path: Path, path: str, message: str) -> None:
    write(tmp_path / "pictures/cat.jpg", b"\xff\xd8")
    with pytest.raises(UserError, match=message):
        stream_documents([tmp_path / path])


def test_no_path_and_an_unknown_way_to_split_are_told() -> None:
    with pytest.raises(UserError, match="no text is given: corpus needs a file"):
        stream_documents([])
    with pytest.raises(UserError, match="'paragraph' is none of auto, blank-line, line, file"):
        stream_documents(["x"], documents="paragraph")  # type: ignore[arg-type]


# Plain text


@pytest.mark.parametrize(
    ("content", "documents", "expected"),
    [
        ("T\na\n\nU\nb\n", "auto", ["T\na", "U\nb"]),
        ("\n\nT\r\na\r\n \t\r\n\r\nU", "auto", ["T\na", "U"]),
        ("one\ntwo\nthree", "auto", ["one", "two", "three"]),
        ("\none\ntwo\n\n\n", "auto", ["one", "two"]),  # blank lines that separate nothing
        ("one\n\ntwo\n", "line", ["one", "two"]),
        ("one\ntwo\n", "blank-line", ["one\ntwo"]),
        ("one\n\ntwo\n", "file", ["one\n\ntwo"]),
        ("\ufeffone\n", "auto", ["one"]),
        ("one\u2028still one\x85still\n", "line", ["one\u2028still one\x85still"]),
        ("\ufeffone\n\ufefftwo\n\ufeff", "line", ["one", "two"]),  # files that were put together
        ("T\n\ufeff\n\n\ufeffU\nb", "auto", ["T", "U\nb"]),
        ("\n\none\n\n\ufefftwo\n\n", "file", ["one\n\ntwo"]),
    ],
)
def test_how_plain_text_is_split(tmp_path: Path, content: str, documents: Any, expected: list[str]) -> None:
    path = write(tmp_path / "corpus.text", content)
    assert list(stream_documents(path, documents=documents)) == expected


def test_auto_decides_for_each_file_by_its_first_megabyte(tmp_path: Path) -> None:
    lines = write(tmp_path / "lines.txt", "word " * 4 + "\n")
    late = write(tmp_path / "late.txt", ("word " * 20 + "\n") * 11_000 + "\nlast\n")
    early = write(tmp_path / "early.txt", "first\n\n" + ("word " * 20 + "\n") * 11_000)
    counts = [len(list(stream_documents([path]))) for path in (lines, late, early)]
    assert counts == [1, 11_001, 2]
    assert len(list(stream_documents([lines, late, early]))) == sum(counts)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(st.characters(exclude_characters="\0\r", exclude_categories=["Cs"])), min_size=1))
def test_blank_lines_separate_like_a_regular_split(tmp_path: Path, lines: list[str]) -> None:
    content = "\n".join(lines)
    path = write(tmp_path / "corpus.txt", content)
    without_marks = [line.lstrip("\ufeff") for line in content.split("\n")]
    groups = itertools.groupby(without_marks, key=lambda line: bool(line.strip()))
    expected = ["\n".join(group) for kept, group in groups if kept]
    if expected:
        assert list(stream_documents(path, documents="blank-line")) == expected
    else:
        with pytest.raises(UserError, match="empty"):
            list(stream_documents(path, documents="blank-line"))


# Formats


@pytest.mark.parametrize("suffix", ["", ".gz", ".xz", ".zst"])
@pytest.mark.parametrize("kind", [".txt", ".jsonl", ".csv"])
def test_all_formats_plain_and_compressed_give_the_same_documents(
    tmp_path: Path, kind: str, suffix: str
) -> None:
    rows = [["7", text] for text in DOCUMENTS]
    path = tmp_path / "plain.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["id", "Text"], *rows])
    content = {".txt": "\n\n".join(DOCUMENTS), ".jsonl": json_lines(DOCUMENTS), ".csv": path.read_text()}[
        kind
    ]
    raw = content.encode()
    write(tmp_path / f"corpus{kind}{suffix}", compress(suffix, raw) if suffix else raw)
    assert list(stream_documents([tmp_path / f"corpus{kind}{suffix}"])) == DOCUMENTS


def test_parquet(tmp_path: Path) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    texts = [f"text {i}" for i in range(2500)]
    parquet.write_table(arrow.table({"n": range(2500), "content": texts}), tmp_path / "c.parquet")
    assert list(stream_documents([tmp_path])) == texts
    with pytest.raises(UserError, match="no column 'body'.*'n', 'content'"):
        list(stream_documents([tmp_path], text_column="body"))
    write(tmp_path / "broken.parquet", (tmp_path / "c.parquet").read_bytes()[:-9])
    with pytest.raises(UserError, match=r"broken\.parquet: cannot be read"):
        list(stream_documents([tmp_path / "broken.parquet"]))
    with pytest.raises(UserError, match="decompress"):
        list(stream_documents([write(tmp_path / "c.parquet.gz", b"")]))


def test_records_without_text_give_no_document(tmp_path: Path) -> None:
    path = write(
        tmp_path / "c.jsonl", '{"text": "a"}\n\n{"text": ""}\n{"text": null}\n{"text": " \\n"}\n{"text": "b"}'
    )
    assert list(stream_documents([path])) == ["a", "b"]


def test_an_empty_file_among_others_is_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ["a.txt", "b.jsonl", "c.csv"]:
        write(tmp_path / name, "")
    write(tmp_path / "d.csv", "text\n")
    with pytest.raises(UserError, match="corpus is empty"):
        list(stream_documents([tmp_path]))
    write(tmp_path / "e.txt", "something")
    assert list(stream_documents([tmp_path])) == ["something"]
    assert "b.jsonl holds no text" in caplog.text


def test_halves_of_characters_become_replacement_characters(tmp_path: Path) -> None:
    path = write(tmp_path / "c.jsonl", r'{"text": "cut \ud83d, whole \ud83d\ude00, é"}')
    assert list(stream_documents([path])) == ["cut \ufffd, whole 😀, é"]


# What is wrong with a file


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.text(st.characters(exclude_characters="\0\r", exclude_categories=["Cs"]), max_size=40),
    st.sampled_from([0, 8_000, 1 << 20]),
)
def test_text_that_is_not_utf8_is_told_with_line_column_and_byte(
    tmp_path: Path, text: str, before: int
) -> None:
    good = ("é\n" * before)[: before // 2].encode() + text.encode()
    path = write(tmp_path / "corpus.txt", good + b"\xff\n more")
    column = len(good.decode().rpartition("\n")[2]) + 1
    where = rf":{good.count(10) + 1}:{column}: not utf-8: byte 0xff at byte offset {len(good)};.* encoding='latin-1'"
    with pytest.raises(UserError, match=where):
        list(stream_documents([path]))


def test_other_encodings(tmp_path: Path) -> None:
    latin = write(tmp_path / "latin.txt", "früh\nspät".encode("latin-1"))
    assert list(stream_documents([latin], encoding="latin-1")) == ["früh", "spät"]
    wide = write(tmp_path / "wide.txt", "früh\nspät".encode("utf-16"))
    assert list(stream_documents([wide], encoding="utf-16")) == ["früh", "spät"]
    with pytest.raises(UserError, match=r"wide\.txt:1:1: .* byte offset 0;.*encoding='utf-16'"):
        list(stream_documents([wide]))
    with pytest.raises(UserError, match=r"latin\.txt: not utf-16"):
        list(stream_documents([latin], encoding="utf-16"))
    for encoding in ("klingon", "hex", "undefined", "rot13", "punycode", "idna", "ut\udce9", "x" * 5000):
        with pytest.raises(UserError, match=r"unknown encoding '.*name one such as utf-8"):
            list(stream_documents([latin], encoding=encoding))


@pytest.mark.parametrize(
    ("content", "tried", "advice"),
    [
        (b"it\x92s", "utf-8", "such as encoding='cp1252'"),
        (b"caf\xe9, it\x92s", "utf-8", "such as encoding='cp1252'"),  # the first byte alone could be latin-1
        (b"\x80 5", "ascii", "such as encoding='cp1252'"),
        (b"caf\xe9 \xc3\xa9", "utf-8", "such as encoding='latin-1'"),
        ("früh “”".encode(), "ascii", "such as encoding='utf-8'"),
        ("früh ”".encode(), "cp1252", "such as encoding='utf-8'"),
        (b"caf\xe9 \x81", "utf-8", "name the file's encoding with encoding"),  # not in cp1252
        (b"\x81\xe9", "cp1252", "name the file's encoding with encoding"),
        ("fr\xfc".encode()[:-1], "utf-8", "name the file's encoding with encoding"),
    ],
)
@pytest.mark.parametrize("name", ["c.txt", "c.csv", "c.jsonl"])
def test_the_encoding_that_is_advised_does_not_mangle(
    tmp_path: Path, content: bytes, tried: str, advice: str, name: str
) -> None:
    path = write(tmp_path / name, content)
    with pytest.raises(UserError) as caught:
        list(stream_documents([path], encoding=tried))
    assert str(caught.value).endswith(advice)


def test_a_byte_order_mark_before_any_line_is_no_part_of_it(tmp_path: Path) -> None:
    one, two = json_lines(["one"]), json_lines(["two"])
    assert list(stream_documents(write(tmp_path / "c.jsonl", f"\ufeff{one}\ufeff{two}"))) == ["one", "two"]
    assert list(stream_documents(write(tmp_path / "c.csv", "text,n\na,1\n\ufeffb,2\n"))) == ["a", "b"]
    wide = write(tmp_path / "c.txt", "one\n".encode("utf-16") + "two\n".encode("utf-16"))
    assert list(stream_documents(wide, encoding="utf-16")) == ["one", "two"]
    assert list(stream_documents(write(tmp_path / "c.txt", "a\ufeffb"))) == [
        "a\ufeffb"
    ]  # within a line it stays


MISNAMED = {
    "gzip": gzip.compress,
    "xz": lzma.compress,
    "zstd": lambda content: b"\x28\xb5\x2f\xfd" + content,
    "bzip2": bz2.compress,
}


@pytest.mark.parametrize("kind", MISNAMED)
@pytest.mark.parametrize("name", ["c.txt", "c.csv", "c.jsonl", "c"])
@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_a_compression_that_the_name_does_not_show_is_said(
    tmp_path: Path, kind: str, name: str, encoding: str
) -> None:
    path = write(tmp_path / name, MISNAMED[kind](b"text,n\na,1\n" * 50))
    with pytest.raises(UserError, match=f"{name} is compressed by {kind}: "):
        list(stream_documents([path], encoding=encoding))


def test_other_files_under_a_plain_name_are_said(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "book.csv", "w") as book:
        book.writestr("a.xml", "text")
    with pytest.raises(UserError, match=r"book\.csv is a ZIP archive or a document"):
        list(stream_documents([tmp_path / "book.csv"]))
    twice = write(tmp_path / "c.txt.gz", gzip.compress(gzip.compress(b"text")))
    with pytest.raises(UserError, match=r"c\.txt\.gz is compressed by gzip"):
        list(stream_documents([twice]))
    assert list(stream_documents([write(tmp_path / "c.txt", "BZhang is a name")])) == ["BZhang is a name"]


def test_utf8_cut_off_in_a_character(tmp_path: Path) -> None:
    path = write(tmp_path / "corpus.txt.gz", gzip.compress("a\nfrüh".encode()[:-2]))
    with pytest.raises(UserError, match=r"corpus\.txt\.gz:2:3: not utf-8: byte 0xc3 at byte offset 4"):
        list(stream_documents([path]))


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".zst"])
def test_a_damaged_compressed_file_is_told(tmp_path: Path, suffix: str) -> None:
    content = compress(suffix, "".join(f"line {i * 7919 % 10007}\n" for i in range(9000)).encode())
    for damaged in (content[:-20], content[: len(content) // 2], b"this is no such file at all"):
        path = write(tmp_path / f"corpus.txt{suffix}", damaged)
        with pytest.raises(UserError, match=rf"corpus\.txt\{suffix}: cannot be read: .*not a \{suffix} file"):
            list(stream_documents([path]))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("c.txt", "a\nb\0c\n", r"c\.txt:2: a NUL byte"),
        ("c.jsonl", '{"text": "a"}\n{"text": "b"\n', r"c\.jsonl:2:\d+: not JSON: .*one JSON object"),
        ("c.jsonl", '{"text": "a"}\n' + "[" * 100_000, r"c\.jsonl:2: lists or objects are nested too deeply"),
        (
            "c.jsonl",
            '{"text": %s}\n' % ("9" * 5000),
            r"c\.jsonl:1: a number has more than 4,300 digits; .*object",
        ),
        ("c.jsonl", '{"text": "a"}\n["b"]\n', r"c\.jsonl:2: a JSON list; .*object"),
        ("c.json", '[\n{"text": "a"}\n]\n', r"c\.json:1:\d+: not JSON"),
        ("c.jsonl", '{"text": "a"}\n{"txet": "b"}\n', r"c\.jsonl:2: this record has no 'text'"),
        ("c.jsonl", '{"text": "a"}\n{"text": ["b"]}\n', r"c\.jsonl:2: column 'text' holds a list, not text"),
        (
            "c.jsonl",
            '{"id": 1, "blurb": "a"}\n',
            r"no text column .*the columns are 'id', 'blurb'; .*text_column",
        ),
        (
            "c.csv",
            "id,blurb\n1,a\n",
            r"no header says which of 2 columns is the text; .*'id', 'blurb'.*text_column='1'",
        ),
        ("c.csv", "id,stars\n1,a\n", r"no text column .*the columns are 'id', 'stars'"),
        ("c.csv", 'id,text\n1,a\n2,"b\nb"\n3,c,d\n', r"c\.csv:5: 3 fields, but 2 in the first row"),
        ("c.csv", "id,text\n1,a\n2\n", r"c\.csv:3: 1 fields"),
        ("c.csv", 'id,text\n1,a\n2,"b\n3,c\n', r"c\.csv:3: not CSV: .*quote"),
        ("c.csv", "text,text\na,b\n", r"c\.csv:1: the header names the column 'text' twice"),
        ("c.tsv", "id\ttext\n1\ta\tb\n", r"c\.tsv:2: 3 fields"),
    ],
)
def test_broken_records_are_told_with_their_line(
    tmp_path: Path, name: str, content: str, message: str
) -> None:
    write(tmp_path / name, content)
    with pytest.raises(UserError, match=message) as caught:
        list(stream_documents([tmp_path / name]))
    assert "\n" not in str(caught.value)


# Columns


@pytest.mark.parametrize(
    ("content", "text_column", "expected"),
    [
        ("id,Review\n1,a\n", None, ["a"]),
        ("title,text\nt,a\n", None, ["a"]),  # the more usual name wins
        ("title,body\nt,a\nu,\n", "title,body", ["t\na", "u"]),
        ("title,body\nt,a\n", "TITLE", ["t"]),
        ("title,body\nt,a\n", "2", ["body", "a"]),
        ('"last, first",n\nt,1\n', "last, first", ["t"]),
        ("id;text\n1;a, b\n", None, ["a, b"]),
        ("3,t,a\n4,u,b\n", None, ["t\na", "u\nb"]),
        ("3,t,a\n4,u,b\n", "3", ["a", "b"]),
        ("only\ncolumn\n", None, ["only", "column"]),
        ("\ufefftext,n\na,1\n", None, ["a"]),
        (",text\n0,a\n", None, ["a"]),  # a data frame with its index
        ("text\n" + "x" * 200_000 + "\n", None, ["x" * 200_000]),
    ],
)
def test_which_columns_of_a_csv_are_the_text(
    tmp_path: Path, content: str, text_column: str | None, expected: list[str]
) -> None:
    path = write(tmp_path / "c.csv", content)
    assert list(stream_documents([path], text_column=text_column)) == expected


def test_quotes_in_tsv_are_undone_only_around_whole_fields(tmp_path: Path) -> None:
    content = 'text\tn\n"a ""b"" c"\t1\n"d" or "e"\t2\n" f\t3\n"\t4\n'
    path = write(tmp_path / "c.tsv", content)
    assert list(stream_documents([path])) == ['a "b" c', '"d" or "e"', '" f', '"']


def test_quotes_in_tsv_enclose_tabs_and_lines_where_the_fields_would_be_too_many_or_too_few(
    tmp_path: Path,
) -> None:
    content = 'text\tn\n"a\tb"\t1\n"c\n""d""\n\te"\t2\n"f\t3\nlast\t4\n'
    path = write(tmp_path / "c.tsv", content)
    assert list(stream_documents([path])) == ["a\tb", 'c\n"d"\n\te', '"f', "last"]
    path = write(tmp_path / "c.tsv", content + '"g\nh\n')
    with pytest.raises(UserError, match=r"c\.tsv:8: 1 fields, but 2"):
        list(stream_documents([path]))


@pytest.mark.parametrize(
    ("header", "expected"), [(None, ["title", "a"]), (False, ["title", "a"]), (True, ["a"])]
)
def test_a_header_is_told_to_a_corpus(tmp_path: Path, header: bool | None, expected: list[str]) -> None:
    write(tmp_path / "c.csv", "title,n\na,x\n")
    write(tmp_path / "c.tsv", "title\tn\na\tx\n")
    for paths in ([tmp_path / "c.csv"], [tmp_path / "c.tsv"]):
        assert list(stream_documents(paths, text_column="1", header=header)) == expected
    assert list(stream_documents([tmp_path], text_column="1", header=header)) == expected * 2


def test_columns_that_come_later_are_found(tmp_path: Path) -> None:
    path = write(tmp_path / "c.jsonl", '{"title": "t"}\n{"title": "u", "body": "b"}\n')
    assert list(stream_documents([path], text_column="title,body")) == ["t", "u\nb"]


# Optional packages


def stub_datasets(monkeypatch: pytest.MonkeyPatch, load: Callable[..., Any]) -> list[Any]:
    calls: list[Any] = []
    stub = ModuleType("datasets")

    def load_dataset(*arguments: Any, **options: Any) -> Any:
        calls.append((arguments, options))
        return load()

    stub.load_dataset = load_dataset  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "datasets", stub)
    return calls


class StubData(SimpleNamespace):
    def __iter__(self) -> Iterator[dict[str, object]]:
        return iter(self.records)


@pytest.mark.parametrize(
    ("source", "arguments", "split", "revision"),
    [
        ("hf:owner/name", ("owner/name", None), "train", None),
        ("hf:owner/name:test", ("owner/name", None), "test", None),
        ("hf:owner/name:en", ("owner/name", "en"), "train", None),
        ("hf:owner/name:en:dev", ("owner/name", "en"), "dev", None),
        ("hf:owner/name::part", ("owner/name", None), "part", None),
        ("hf:owner/name@abc12:en:dev", ("owner/name", "en"), "dev", "abc12"),
    ],
)
def test_hub_data_sets_are_streamed(
    monkeypatch: pytest.MonkeyPatch, source: str, arguments: tuple[Any, ...], split: str, revision: str | None
) -> None:
    data = StubData(records=[{"n": 1, "text": "a"}, {"n": 2, "text": "b"}], features=None)
    calls = stub_datasets(monkeypatch, lambda: data)
    assert list(stream_documents([source])) == ["a", "b"]
    assert calls == [(arguments, {"split": split, "revision": revision, "streaming": True})]


def test_what_is_wrong_with_a_hub_data_set(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise FileNotFoundError("Dataset 'owner/name' doesn't exist\non the Hub")

    stub_datasets(monkeypatch, fail)
    with pytest.raises(UserError, match="hf:owner/name: the data set cannot be read: Dataset .* exist$"):
        list(stream_documents(["hf:owner/name"]))
    with pytest.raises(UserError, match="is not a hub data set: write hf:owner/name"):
        list(stream_documents(["hf:owner/name:a:b:c"]))

    def broken() -> Iterator[dict[str, object]]:
        yield {"text": "a"}
        raise ConnectionError("the line is dead")

    stub_datasets(monkeypatch, lambda: StubData(records=broken(), features=None))
    with pytest.raises(UserError, match="hf:owner/name: .*the line is dead"):
        list(stream_documents(["hf:owner/name"]))


@pytest.mark.parametrize(
    ("name", "package"), [("c.parquet", "pyarrow"), ("c.txt.zst", "zstandard"), ("hf:owner/name", "datasets")]
)
def test_a_missing_package_is_named_with_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    source = name if name.startswith("hf:") else str(write(tmp_path / name, b"x"))
    with pytest.raises(MissingExtra, match=rf"'{package}': pip install 'unfreeze\[data\]'"):
        list(stream_documents([source]))


def test_nothing_heavy_is_imported() -> None:
    code = "import sys, unfreeze.text.corpus, unfreeze.text.examples; print(*sys.modules)"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"torch", "numba", "numpy", "pyarrow", "zstandard", "datasets"} & set(output.split())


# Memory


@pytest.mark.parametrize("kind", [".txt", ".jsonl", ".csv"])
def test_memory_does_not_grow_with_the_corpus(tmp_path: Path, kind: str) -> None:
    line = "word " * 600
    record = {".txt": f"{line}\n\n", ".jsonl": json.dumps({"text": line}) + "\n", ".csv": f"{line},1\n"}[kind]
    header = "text,n\n" if kind == ".csv" else ""

    def peak(n_records: int) -> int:
        path = write(tmp_path / f"{n_records}{kind}", header + record * n_records)
        tracemalloc.start()
        assert sum(1 for _ in stream_documents([path])) == n_records
        _, high = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return high

    small, large = peak(500), peak(2_500)  # 1.5 and 7.5 MB
    assert large < 1.05 * small + 50_000


def traced_peak(action: Callable[[], object]) -> int:
    tracemalloc.start()
    action()
    _, high = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return high


@pytest.mark.parametrize("end", ["", "\n"])
def test_a_long_line_takes_its_size_once(tmp_path: Path, end: str) -> None:
    path, size = write(tmp_path / "c.txt", b"word " * 6_000_000 + end.encode()), 30_000_000
    assert traced_peak(lambda: next(read_lines(path))) < 1.3 * size
    assert traced_peak(lambda: list(stream_documents([path], documents="file"))) < 1.3 * size


@pytest.mark.parametrize("documents", ["auto", "line", "blank-line"])
def test_a_line_beyond_all_bounds_is_read_in_parts(
    tmp_path: Path, documents: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(text_lines, "_LONGEST_READ", 1 << 14)
    monkeypatch.setattr(corpus, "LONGEST_LINE", 100_000)
    words = [f"w{number}" for number in range(200_000)]
    path = write(tmp_path / "c.txt", "first\n" + " ".join(words) + "\nlast\n")
    found: list[str] = []
    assert traced_peak(lambda: found.extend(stream_documents([path], documents=documents))) < 5_000_000
    assert found[0].split() + " ".join(found[1:]).split() == ["first", *words, "last"]
    assert max(map(len, found)) <= 100_000 and len(found) < 20
    assert (
        f"{path}:2: this line has more than 100,000 characters and is read as several documents"
        in caplog.text
    )
    assert len(caplog.records) == 1
    unspaced = write(tmp_path / "d.txt", "x" * 250_000)
    assert [len(text) for text in stream_documents([unspaced])] == [100_000, 100_000, 50_000]


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=st.text(st.sampled_from("ab \n\r\v\u2028\u00e9\ufeff")),
    read=st.integers(1, 9),
    longest=st.none() | st.integers(1, 9),
)
def test_lines_do_not_depend_on_how_much_is_read_at_a_time(
    tmp_path: Path, text: str, read: int, longest: int | None
) -> None:
    path = write(tmp_path / "c.txt", text)
    expected = []
    for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        expected.append(line.lstrip("\ufeff") + "\n")
    expected[-1] = expected[-1].removesuffix("\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_lines, "_LONGEST_READ", read)
        found = list(read_lines(path, longest=longest))
    if longest is None:
        assert found == [line for line in expected if line]
    else:
        assert "".join(found) == "".join(expected)
        assert all(found) and max(len(line.removesuffix("\n")) for line in ["", *found]) <= longest


def test_a_nul_behind_a_long_line_is_told_with_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_lines, "_LONGEST_READ", 10)
    monkeypatch.setattr(corpus, "LONGEST_LINE", 25)
    path = write(tmp_path / "c.txt", "word " * 20 + "\nb\nc\0\n")
    with pytest.raises(UserError, match=r"c\.txt:3: a NUL byte"):
        list(stream_documents([path]))


# Real text


def test_wikipedia_articles_stand_between_blank_lines() -> None:
    path = data_folder("enwiki-2015") / "wiki-11.txt"
    with path.open(encoding="utf-8", newline="\n") as file:
        brute_force = [article.strip("\n") for article in file.read().split("\n\n")]
    assert list(stream_documents([path])) == [article for article in brute_force if article]


def test_reviews_news_and_products() -> None:
    reviews = list(itertools.islice(stream_documents([data_folder("imdb") / "unsupervised.jsonl"]), 1000))
    assert reviews[0].startswith("I admit, the great majority of films") and len(reviews) == 1000
    news = list(stream_documents([data_folder("ag-news") / "test.csv"]))
    assert len(news) == 7600
    assert news[0].startswith("Fears for T N pension after talks\nUnions representing workers at Turner")
    assert len(list(stream_documents([data_folder("amazon-reviews") / "*.jsonl"]))) == 6000


def test_questions_in_latin_1_are_told_with_their_line() -> None:
    path = data_folder("sentences") / "TREC.train.all"
    with pytest.raises(UserError, match=r"TREC\.train\.all:66:53: not utf-8: byte 0xf0 at byte offset 3173"):
        list(stream_documents([path]))
    assert len(list(stream_documents([path], encoding="latin-1"))) == 5452
