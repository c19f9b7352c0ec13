"""Texts and their translations: every way to give them, what is skipped, and what is refused."""

from __future__ import annotations

import csv
import gzip
import json
import logging
from pathlib import Path

import numpy as np
import pytest

from unfreeze.datasets.tables import Table
from unfreeze.errors import UserError
from unfreeze.text import pairs
from unfreeze.text.pairs import Pair, PairSet, pairs_in_memory, read_pairs

ROWS = [("A man, a dog.", "Ein Mann, ein Hund."), ('He said "no".', 'Er sagte "nein".'), ("நான்", "I")]


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def two_files(folder: Path, rows: list[tuple[str, str]] = ROWS) -> list[Path]:
    return [
        write(folder / f"pairs.{end}", "".join(f"{row[side]}\n" for row in rows))
        for side, end in enumerate(("en", "de"))
    ]


def as_rows(found: PairSet) -> list[tuple[str, str]]:
    return [tuple(pair) for pair in found.examples]  # type: ignore[misc]


def test_every_format_gives_the_same_pairs(tmp_path: Path) -> None:
    tabs = "".join(f"{one}\t{two}\n" for one, two in ROWS)
    with (tmp_path / "pairs.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("id", "en", "de"), *((n, *row) for n, row in enumerate(ROWS))])
    lines = "".join(json.dumps({"en": one, "de": two}) + "\n" for one, two in ROWS)
    with gzip.open(tmp_path / "zipped.txt.gz", "wt", encoding="utf-8") as zipped:
        zipped.write(tabs)
    columns = {"source_column": "en", "target_column": "de"}
    found = [
        read_pairs(two_files(tmp_path)),
        read_pairs([write(tmp_path / "a.tsv", tabs)]),
        read_pairs([write(tmp_path / "a.txt", tabs)]),
        read_pairs([tmp_path / "zipped.txt.gz"]),
        read_pairs([write(tmp_path / "a.jsonl", lines)]),
        read_pairs([tmp_path / "pairs.csv"], **columns),
        read_pairs([tmp_path / "pairs.csv"], source_column="2", target_column="3", header=True),
        pairs_in_memory(*zip(*ROWS, strict=True)),
        pairs_in_memory(*(np.array(side) for side in zip(*ROWS, strict=True))),
    ]
    assert all(as_rows(each) == ROWS for each in found)
    assert len({each.digest() for each in found}) == 1
    turned = read_pairs([tmp_path / "pairs.csv"], source_column="de", target_column="en")
    assert as_rows(turned) == [row[::-1] for row in ROWS] and turned.digest() != found[0].digest()
    assert found[0].sources == [row[0] for row in ROWS] and found[0].targets == [row[1] for row in ROWS]


def test_several_files_are_joined_in_order(tmp_path: Path) -> None:
    table = write(tmp_path / "more.tsv", "one\teins\ntwo\tzwei\n")
    one, two = two_files(tmp_path)
    assert as_rows(read_pairs([one, two, table])) == [*ROWS, ("one", "eins"), ("two", "zwei")]
    assert as_rows(read_pairs([one, table, two])) == [("one", "eins"), ("two", "zwei"), *ROWS]


def test_text_with_tabs_may_have_a_header(tmp_path: Path) -> None:
    table = write(tmp_path / "a.txt", "de\ten\neins\tone\n")
    columns = {"source_column": "en", "target_column": "de"}
    assert as_rows(read_pairs([table], header=True)) == [("eins", "one")]
    assert as_rows(read_pairs([table], **columns)) == [("one", "eins")]
    assert as_rows(read_pairs([table])) == [("de", "en"), ("eins", "one")]
    one, two = two_files(tmp_path)  # the columns are those of the table beside the two files
    assert as_rows(read_pairs([one, two, table], **columns)) == [*ROWS, ("one", "eins")]


@pytest.mark.parametrize(
    ("first", "said"),
    [
        ("en\tde", True),
        ("en\tpt-BR", True),
        ("Source\tTarget", True),
        ("hello\thallo", False),
        ("Go.\tGeh.", False),
    ],
)
def test_a_first_line_that_looks_like_names_is_said(
    first: str, said: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = write(tmp_path / "pairs.tsv.txt", f"{first}\nA dog.\tEin Hund.\n")
    with caplog.at_level(logging.WARNING, logger="unfreeze"):
        assert len(read_pairs([file])) == 2
    assert any("read as a pair" in record.getMessage() for record in caplog.records) == said
    caplog.clear()
    assert len(read_pairs([file], header=False)) == 2
    assert all(record.levelno < logging.WARNING for record in caplog.records)


def test_the_same_file_on_both_sides_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "pairs.en", "A dog.\n")
    with pytest.raises(UserError, match="given for both sides"):
        read_pairs([file, file])


def test_a_data_set_of_the_hub_is_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def opened(source: str, **_: object) -> Table:
        asked.append(source)
        return Table(source, ["en", "de"], lambda _: iter([(1, ("one", "eins"))]), has_lines=False)

    monkeypatch.setattr(pairs, "open_table", opened)
    found = read_pairs(["hf:owner/name:train"])
    assert as_rows(found) == [("one", "eins")]
    assert asked == [found.source] == ["hf:owner/name:train"]


def test_a_digest_tells_where_a_side_ends() -> None:
    one, two = (PairSet([Pair(*sides)], "x") for sides in (("ab", "c"), ("a", "bc")))
    assert one.digest() != two.digest()


def test_empty_sides_and_long_pairs_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [("one", "eins"), ("", "zwei"), ("three", "  "), ("four " * 6, "vier"), ("five", "x " * 5)]
    with caplog.at_level(logging.WARNING, logger="unfreeze"):
        found = read_pairs(two_files(tmp_path, rows), max_words=5)
    assert as_rows(found) == [("one", "eins"), ("five", "x x x x x")]
    said = [str(record.getMessage()) for record in caplog.records]
    assert said == [
        "pairs.en, pairs.de: 2 pairs with an empty side: skipped",
        "pairs.en, pairs.de: 1 pair with more than 5 words on a side: skipped; max_words changes this",
    ]


@pytest.mark.parametrize(
    ("contents", "options", "said"),
    [
        (
            ["a\nb\nc\n", "x\n"],
            {},
            r"1\.txt has 1 line and .*0\.txt has 3: every line needs its translation",
        ),
        (["a\n", "x\ny\n"], {}, r"0\.txt has 1 line and .*1\.txt has 2"),
        ([], {}, "no pairs were given: name a table of two columns"),
        (["a\n"], {}, r"0\.txt has no tab in its first line: give a table of two columns, or a second file"),
        (["a\n", "x\n", "y\n"], {}, r"2\.txt has no tab in its first line"),
        (["a\tx\tp\n"], {}, r"0\.txt has 3 columns \('1', '2', '3'\): name two of them"),
        (["a\tx\nb\n"], {}, r"0\.txt:2 has 1 column, the first line has 2"),
        (["a\tx\n"], {"source_column": "1"}, "source_column and target_column"),
        (["a\tx\n"], {"source_column": "1", "target_column": "3"}, "has no column '3'"),
        (["a\tx\n"], {"source_column": "2", "target_column": "2"}, "name two different columns"),
        (["", ""], {}, r"no pair is left \(0 with an empty side, 0 too long\)"),
        ([" \n", "x\n"], {}, r"no pair is left \(1 with an empty side, 0 too long\)"),
        (["a\0b\n", "x\n"], {}, r"0\.txt:1: a NUL byte"),
        (
            ["a\n", "x\n"],
            {"source_column": "1"},
            r"source_column is for tables, and the lines of 0\.txt, 1\.txt",
        ),
        (["a\n", "x\n"], {"header": True}, "header is for tables"),
        (["en\tde\n"], {"header": True}, "no pair is left"),
        (["a\tx\n"], {"source_column": "en", "target_column": "de"}, "has no column 'en': it has 'a', 'x'"),
    ],
)
def test_what_is_refused(contents: list[str], options: dict[str, str], said: str, tmp_path: Path) -> None:
    files = [write(tmp_path / f"{number}.txt", text) for number, text in enumerate(contents)]
    with pytest.raises(UserError, match=said):
        read_pairs(files, **options)  # type: ignore[arg-type]


def test_no_files_other_encodings_and_wrong_types(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        read_pairs([tmp_path / "none.txt"])
    with pytest.raises(UserError, match="no pairs were given"):
        read_pairs([])
    latin = tmp_path / "latin.txt"
    latin.write_bytes("Mädchen\tgirl\n".encode("latin-1"))
    assert as_rows(read_pairs([latin], encoding="latin-1")) == [("Mädchen", "girl")]
    with pytest.raises(UserError, match="not utf-8"):
        read_pairs([latin])
    with pytest.raises(UserError, match="2 texts and 1 translations: there must be one for each text"):
        pairs_in_memory(["a", "b"], ["x"])
    with pytest.raises(UserError, match=r"texts\[1\] is None, not a text"):
        pairs_in_memory(["a", "b"], ["x", None])
    with pytest.raises(UserError, match="come in a list"):
        pairs_in_memory("a", "x")


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_columns_of_other_names_are_not_taken_for_pairs(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, suffix: str
) -> None:
    def written(one: str, other: str) -> Path:
        path = tmp_path / f"{one}-{other}{suffix}"
        rows = [("a small cat", "negative"), ("two small dogs", "positive")]
        lines = [f"{one},{other}", *map(",".join, rows)]
        path.write_text(
            "\n".join(lines if suffix == ".csv" else [json.dumps({one: a, other: b}) for a, b in rows])
        )
        return path

    with pytest.raises(
        UserError, match=r"'label' is not named.*source_column='text' and target_column='label'"
    ):
        read_pairs([written("text", "label")])
    assert len(read_pairs([written("text", "label")], source_column="text", target_column="label")) == 2
    with caplog.at_level("INFO", "unfreeze"):
        found = read_pairs([written("de", "en-US")], header=True if suffix == ".csv" else None)
    assert found.sources[0] == "a small cat"
    assert "column de is read as the texts, column en-US as their translations" in caplog.text
    if suffix == ".csv":  # nothing tells this header from a pair
        assert read_pairs([written("de", "en-US")]).sources[0] == "de"
        assert "the first line, 'de' and 'en-US', is read as a pair" in caplog.text
