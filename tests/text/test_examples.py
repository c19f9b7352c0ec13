"""Labeled examples: what is read from each format, and how they are sampled, split and compared."""

from __future__ import annotations

import csv
import gzip
import json
import logging
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import data_folder
from tests.text.test_corpus import StubData, stub_datasets, write
from unfreeze.datasets.dataset import ExampleSet, LabeledExample
from unfreeze.datasets.labels import join_labels
from unfreeze.errors import UserError
from unfreeze.text.examples import example_set, read_examples, stream_texts


def pairs(examples: ExampleSet) -> list[tuple[str, ...]]:
    return [(example.input, *example.labels) for example in examples.examples]


# Formats


printable = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=30)
labels = st.text("abc-Ü_0", min_size=1, max_size=8)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(printable, labels), min_size=1, max_size=8))
def test_all_formats_give_the_same_examples(tmp_path: Path, rows: list[tuple[str, str]]) -> None:
    records = [{"text": text, "label": label} for text, label in rows]
    write(tmp_path / "a.jsonl", "".join(json.dumps(record) + "\n" for record in records))
    write(tmp_path / "b.jsonl.gz", gzip.compress((tmp_path / "a.jsonl").read_bytes()))
    for name, dialect in [("c.csv", "excel"), ("d.tsv", "excel-tab")]:
        with (tmp_path / name).open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, dialect).writerows([("label", "text"), *((label, text) for text, label in rows)])
    for name in ("a.jsonl", "b.jsonl.gz", "c.csv", "d.tsv"):
        examples = read_examples(tmp_path / name, label_column="label")
        assert pairs(examples) == rows
        assert not examples.multi_label and set(examples.label_names) == {label for _, label in rows}
        assert list(stream_texts(tmp_path / name)) == [text for text, _ in rows]


def test_parquet(tmp_path: Path) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    table = arrow.table({"label": [1, 0, 10], "other": [1.5] * 3, "text": ["a", None, "c"]})
    parquet.write_table(table, tmp_path / "e.parquet")
    examples = read_examples(tmp_path / "e.parquet")
    assert pairs(examples) == [("a", "1"), ("", "0"), ("c", "10")]
    assert examples.label_names == ("0", "1", "10")
    parquet.write_table(arrow.table({"text": ["a", "b"], "label": ["x", None]}), tmp_path / "e.parquet")
    with pytest.raises(UserError, match=r"e\.parquet, row 2: this example has no label"):
        read_examples(tmp_path / "e.parquet")
    parquet.write_table(arrow.table({"text": ["a", "b"], "label": [["x", "y"], []]}), tmp_path / "e.parquet")
    assert pairs(read_examples(tmp_path / "e.parquet")) == [("a", "x", "y"), ("b",)]


def test_a_folder_for_each_class(tmp_path: Path) -> None:
    for name, content in [("pos/2.txt", "b\nc\n"), ("pos/1.txt", ""), ("neg/1.txt.gz", gzip.compress(b"d"))]:
        write(tmp_path / name, content)
    write(tmp_path / "pos/2.json", "{}")
    write(tmp_path / ".cache/1.txt", "x")
    assert pairs(read_examples(tmp_path)) == [("d", "neg"), ("", "pos"), ("b\nc", "pos")]
    write(tmp_path / "unsure/1.html", "x")
    with pytest.raises(UserError, match=r"unsure: this folder of a class holds no \.txt file"):
        read_examples(tmp_path)


def test_hidden_files_of_a_class_are_left_out_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ["pos/1.txt", "pos/._1.txt", "pos/.draft.txt", "neg/2.txt", "neg/.DS_Store", "neg/sub/3.txt"]:
        write(tmp_path / name, name)
    assert pairs(read_examples(tmp_path)) == [("neg/2.txt", "neg"), ("pos/1.txt", "pos")]
    assert caplog.messages == [f"{tmp_path}: files that are not read: 3 hidden, 1 of other kinds (sub)"]
    write(tmp_path / "drafts/.1.txt", "x")
    with pytest.raises(UserError, match=r"drafts: this folder of a class holds no \.txt file"):
        read_examples(tmp_path)


def test_a_folder_too_high_is_refused_and_a_class_without_labels_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As IMDb's reviews lie: train/pos, train/neg, train/unsup, test/pos, test/neg, and a file of addresses in each."""
    for name in [
        "train/pos/1.txt",
        "train/neg/2.txt",
        "train/unsup/3.txt",
        "train/urls.txt",
        "test/pos/4.txt",
    ]:
        write(tmp_path / name, name)
    write(tmp_path / "test/neg/5.txt", "5")
    with pytest.raises(
        UserError, match=r"test holds folders of texts \(neg, pos\), so .* is not a folder of classes"
    ):
        read_examples(tmp_path)
    assert [label for _, label in pairs(read_examples(tmp_path / "train"))] == ["neg", "pos", "unsup"]
    assert f"{tmp_path / 'train' / 'unsup'} is read as a class" in caplog.text


@pytest.mark.parametrize(
    ("text", "texts"),
    [
        ("__label__cake __label__pan how heavy\n__label__b and  so\n", ["how heavy", "and  so"]),
        ("how __label__a heavy\n__label__b\n", ["how __label__a heavy", "__label__b"]),
    ],
)
def test_labels_of_fasttexts_lines_are_no_text(
    text: str, texts: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(tmp_path / "a.txt", text)
    assert list(stream_texts(path)) == texts
    assert ("its lines begin with labels (__label__cake), which are left out" in caplog.text) == (
        "cake" in text
    )


def test_classes_may_be_links(tmp_path: Path) -> None:
    write(tmp_path / "there/1.txt", "a")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/pos").symlink_to(tmp_path / "there", target_is_directory=True)
    assert pairs(read_examples(tmp_path / "data")) == [("a", "pos")]


def test_files_in_a_folder_are_not_guessed(tmp_path: Path) -> None:
    write(tmp_path / "train.jsonl", '{"text": "a", "label": "b"}\n')
    with pytest.raises(UserError, match="it has no folder per class .* name it"):
        read_examples(tmp_path)


def test_lines_that_begin_with_the_label(tmp_path: Path) -> None:
    path = write(tmp_path / "e.train", "1 a b  c \n\n0\td\n1\n")
    assert pairs(read_examples(path)) == [("a b  c", "1"), ("d", "0"), ("", "1")]


def test_fasttexts_lines_have_any_number_of_labels(tmp_path: Path) -> None:
    path = write(
        tmp_path / "cooking.txt", "__label__cake __label__pan how  heavy\n__label__cake which, one\n"
    )
    expected = [("how  heavy", "__label__cake", "__label__pan"), ("which, one", "__label__cake")]
    for multi_label in (None, True):
        found = read_examples(path, multi_label=multi_label)
        assert pairs(found) == expected and found.multi_label
    with pytest.raises(UserError, match="cooking.txt:1: 2 labels where an example takes one"):
        read_examples(path, multi_label=False)
    one = write(tmp_path / "one.txt", "__label__a,b\tfine\nwhat else __label__c\n__label__c  \n")
    assert pairs(read_examples(one)) == [
        ("fine", "__label__a,b"),
        ("what else", "__label__c"),
        ("", "__label__c"),
    ]
    assert not read_examples(one).multi_label
    assert pairs(read_examples(one, multi_label=True)) == pairs(read_examples(one))
    missing = write(tmp_path / "missing.txt", "__label__a fine\nno label here\n")
    with pytest.raises(UserError, match="missing.txt:2: this example has no label"):
        read_examples(missing)
    assert pairs(read_examples(missing, label_separator="space"))[1] == ("label here", "no")


def test_labels_before_a_tab_may_have_spaces(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path / "genres.txt", "sci fi\tGreat movie\ndrama\tA tear\tjerker\n\nsci fi\t\n")
    assert pairs(read_examples(path)) == [
        ("Great movie", "sci fi"),
        ("A tear\tjerker", "drama"),
        ("", "sci fi"),
    ]
    assert "labels end at the tab, such as 'sci fi' (line 1)" in caplog.text
    cut = read_examples(path, label_separator="space")
    assert pairs(cut)[0] == ("fi\tGreat movie", "sci")
    mixed = write(tmp_path / "mixed.txt", "sci fi\tGreat movie\ndrama A tear\n")
    with pytest.raises(UserError, match=r"mixed.txt:1: there is a tab after 'sci fi' and none in line 2"):
        read_examples(mixed)
    assert pairs(read_examples(mixed, label_separator="space"))[1] == ("A tear", "drama")
    unlabeled = write(tmp_path / "unlabeled.txt", "drama\tA tear\n\tGreat movie\n")
    with pytest.raises(UserError, match="unlabeled.txt:2: this example has no label"):
        read_examples(unlabeled)


def test_hub_data_sets_know_the_names_of_their_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    names = StubData(names=["neg", "pos"])
    records = [{"text": "a", "label": 1, "topics": [0]}, {"text": "b", "label": -1, "topics": [0, 1]}]
    features = {"text": object(), "label": names, "topics": StubData(feature=names)}
    stub_datasets(monkeypatch, lambda: StubData(records=records, features=features))
    with pytest.raises(UserError, match="hf:owner/name, row 2: this example has no label"):
        read_examples("hf:owner/name")
    assert pairs(read_examples("hf:owner/name", labels_required=False)) == [("a", "pos"), ("b",)]
    topics = read_examples("hf:owner/name", label_column="topics")
    assert topics.multi_label and pairs(topics) == [("a", "neg"), ("b", "neg", "pos")]
    assert list(stream_texts("hf:owner/name")) == ["a", "b"]


# Columns and labels


@pytest.mark.parametrize(
    ("content", "options", "expected"),
    [
        ("id,Sentiment,Review\n1,good,a\n", {}, [("a", "good")]),
        ("class,title,description\n3,t,a\n", {"text_column": "title,description"}, [("t\na", "3")]),
        ("3,t,a\n4,u,\n", {}, [("t\na", "3"), ("u", "4")]),
        ("3,t,a\n4,u,b\n", {"text_column": "2"}, [("t", "3"), ("u", "4")]),
        ("3,t,a\n4,u,b\n", {"label_column": "3"}, [("t", "a"), ("u", "b")]),
        ("good,a\nbad,b\n", {"label_column": "1"}, [("a", "good"), ("b", "bad")]),
        ("good,a,x\nbad,b,y\n", {"label_column": "1", "text_column": "3"}, [("x", "good"), ("y", "bad")]),
        ("spam,blurb\nyes,a\n", {"label_column": "spam", "text_column": "blurb"}, [("a", "yes")]),
        ("text,label\na, x \n", {}, [("a", "x")]),
        ("label,text\nx,\n", {}, [("", "x")]),
    ],
)
def test_which_columns_of_a_csv_are_text_and_label(
    tmp_path: Path, content: str, options: dict[str, str], expected: list[tuple[str, ...]]
) -> None:
    assert pairs(read_examples(write(tmp_path / "e.csv", content), **options)) == expected


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("text,spam\na,1\n", {}, r"no label column .*'text', 'spam'; .*label_column"),
        (
            "text,label\na,1\n",
            {"label_column": "stars"},
            "no column 'stars' for label_column; .*'text', 'label'",
        ),
        ("text,label\na,1\n", {"text_column": "txt"}, "no column 'txt' for text_column; .*'text', 'label'"),
        ("text,label\na,1\n", {"text_column": "label"}, "'label' cannot be both the text and the label"),
        ("text,label\na,1\n", {"text_column": "3", "label_column": "2"}, "no column '3'"),
        (
            "text,label\na,1\n",
            {"text_column": "9" * 5000, "label_column": "2"},
            r"no column '9{39}\.\.\. for text_column",
        ),
        (
            "text,label\na,1\n",
            {"label_column": "-" + "9" * 5000},
            r"no column '-9{38}\.\.\. for label_column",
        ),
        ("good,a\nbad,b\n", {}, "no header says which of 2 columns is the label; .*label_column='1'"),
        ("text,label\na,1\nb,\n", {}, r"e\.csv:3: this example has no label"),
        ("", {}, r"e\.csv: the file is empty"),
        ("text,label\n", {}, r"e\.csv: no example in it"),
        ("text,label\na,[1\n", {"multi_label": True}, r"e\.csv:2: the labels '\[1' are not a JSON list"),
        ("text,label\na,%s\n" % ("[" * 100_000), {"multi_label": True}, r"e\.csv:2: .* nested too deeply"),
        (
            "text,label\na,[%s]\n" % ("9" * 5000),
            {"multi_label": True},
            r"e\.csv:2: .* more than 4,300 digits",
        ),
    ],
)
def test_what_is_wrong_with_columns_and_labels(
    tmp_path: Path, content: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        read_examples(write(tmp_path / "e.csv", content), **options)


def test_labels_of_other_types_are_kept_as_json_writes_them(tmp_path: Path) -> None:
    values = ["true", "false", "3", "-12", "2.5", '"x"']
    path = write(tmp_path / "e.jsonl", "".join(f'{{"text": "a", "label": {value}}}\n' for value in values))
    examples = read_examples(path, label_column="label")
    assert [example.labels[0] for example in examples.examples] == [*values[:-1], "x"]


def test_names_of_classes_are_in_numeric_order_where_they_are_numbers(tmp_path: Path) -> None:
    path = write(tmp_path / "e.txt", "10 a\n9 b\n-1 c\n")
    assert read_examples(path).label_names == ("-1", "9", "10")
    path = write(tmp_path / "e.txt", f"{'9' * 5000} a\n9 b\n-1 c\n")
    assert read_examples(path).label_names == ("-1", "9", "9" * 5000)
    path = write(tmp_path / "e.txt", "10 a\n9 b\nx c\n")
    assert read_examples(path).label_names == ("10", "9", "x")


@pytest.mark.parametrize("value", ["null", "NaN", '""', '" "', "[]"])
def test_missing_labels(tmp_path: Path, value: str) -> None:
    path = write(tmp_path / "e.jsonl", f'{{"text": "a", "label": "x"}}\n{{"text": "b", "label": {value}}}\n')
    with pytest.raises(UserError, match=r"e\.jsonl:2: this example has no label"):
        read_examples(path, multi_label=False)
    examples = read_examples(path, multi_label=False, labels_required=False)
    assert pairs(examples) == [("a", "x"), ("b",)] and examples.label_names == ("x",)


def test_unlabeled_examples_need_no_label_column(tmp_path: Path) -> None:
    path = write(tmp_path / "e.jsonl", '{"text": "a"}\n')
    assert pairs(read_examples(path, labels_required=False)) == [("a",)]
    with pytest.raises(UserError, match="no column 'label'"):
        read_examples(path, labels_required=False, label_column="label")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("b|a|b", ("a", "b")),
        ("b, a", ("a", "b")),
        ("b, c|a", ("a", "b, c")),
        ('["b", 1]', ("1", "b")),
        ("a", ("a",)),
        ("", ()),
    ],
)
def test_strings_of_several_labels(tmp_path: Path, value: str, expected: tuple[str, ...]) -> None:
    with (tmp_path / "e.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("text", "label"), ("t", value)])
    examples = read_examples(tmp_path / "e.csv", multi_label=True)
    assert examples.examples[0].labels == expected and examples.multi_label


def test_lists_make_a_set_multi_label(tmp_path: Path) -> None:
    content = (
        '{"text": "t", "label": "a|b"}\n{"text": "u", "label": ["d", "c"]}\n{"text": "v", "label": []}\n'
    )
    path = write(tmp_path / "e.jsonl", content)
    examples = read_examples(path)
    assert examples.multi_label and pairs(examples) == [("t", "a|b"), ("u", "c", "d"), ("v",)]
    with pytest.raises(UserError, match=r"e\.jsonl:2: 2 labels where an example takes one"):
        read_examples(path, multi_label=False)
    nested = write(tmp_path / "n.jsonl", '{"text": "t", "label": [{"a": 1}]}\n')
    with pytest.raises(UserError, match=r"n\.jsonl:1: the label is a record"):
        read_examples(nested)


@pytest.mark.parametrize("name", ["e.csv", "e.jsonl", "e.txt", "pos"])
def test_a_missing_source_is_told_at_once(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="no such file"):
        read_examples(tmp_path / name)
    with pytest.raises(UserError, match="no such file"):
        stream_texts(tmp_path / name)


def test_plain_text_has_no_columns(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="only tables"):
        read_examples(write(tmp_path / "e.txt", "1 a\n"), label_column="label")


# The first line of a table: a header, or data


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> pytest.LogCaptureFixture:
    """What is said at all, whatever a verb has set before."""
    monkeypatch.setattr(logging.getLogger("unfreeze"), "propagate", True)
    caplog.set_level(logging.INFO, logger="unfreeze")
    return caplog


def file_of(folder: Path, name: str, rows: list[tuple[str, ...]]) -> Path:
    """A table without quotes, separated as the suffix says."""
    separator = "\t" if name.endswith(".tsv") else ","
    return write(folder / name, "".join(separator.join(row) + "\n" for row in rows))


ASKED = [("where is the station", "question"), ("hello there", "statement"), ("who is it", "question")]


@pytest.mark.parametrize("name", ["q.csv", "q.tsv"])
def test_columns_by_number_say_that_there_is_no_header(tmp_path: Path, name: str) -> None:
    path = file_of(tmp_path, name, ASKED)
    texts = [text for text, _ in ASKED]
    assert list(stream_texts(path, text_column="1")) == texts
    assert list(stream_texts(path, text_column="1", header=False)) == texts
    assert list(stream_texts(path, text_column="1", header=True)) == texts[1:]
    assert pairs(read_examples(path, text_column="1", label_column="2")) == ASKED
    assert pairs(read_examples(path, text_column="1", label_column="2", header=True)) == ASKED[1:]
    assert list(stream_texts(path, text_column="question")) == ["statement", "question"]


def test_a_first_line_like_a_header_that_is_read_as_data_is_said(
    tmp_path: Path, said: pytest.LogCaptureFixture
) -> None:
    path = file_of(tmp_path, "q.csv", ASKED)
    list(stream_texts(path, text_column="1"))
    (line,) = said.messages
    assert line.startswith(f"{path}: the first line ('where is the station', 'question') is read as data")
    assert "header=True" in line and "header=False" in line
    said.clear()
    list(stream_texts(path, text_column="1", header=False))
    read_examples(path, text_column="1", label_column="2")  # "question" is a label further down: no doubt
    list(stream_texts(file_of(tmp_path, "r.csv", [("a", "x"), ("b", "y")]), text_column="1"))
    assert not said.messages


def test_a_header_that_is_guessed_can_be_overridden(tmp_path: Path, said: pytest.LogCaptureFixture) -> None:
    path = file_of(tmp_path, "q.csv", [("Review", "very good?"), ("fine", "yes")])
    assert list(stream_texts(path)) == ["fine"]
    assert said.messages == [
        f"{path}: the first line is read as the names of the columns; header=False reads it as data"
    ]
    assert list(stream_texts(path, text_column="1", header=False)) == ["Review", "fine"]
    said.clear()
    list(stream_texts(file_of(tmp_path, "r.csv", [("id", "review_text"), ("1", "fine")])))
    assert not said.messages


def test_a_first_line_that_may_be_either_is_refused(tmp_path: Path) -> None:
    path = file_of(tmp_path, "q.csv", ASKED)
    for read in (read_examples, lambda path: list(stream_texts(path))):
        with pytest.raises(UserError, match=r"q\.csv:1: 'question' may name .* header=True .* header=False"):
            read(path)


@pytest.mark.parametrize("name", ["p.csv", "p.tsv"])
def test_a_label_in_the_first_line_alone_may_be_a_header(tmp_path: Path, name: str) -> None:
    rows = [("phrase", "outcome"), ("fine", "pos"), ("dull", "neg"), ("great", "pos"), ("bad", "neg")]
    path = file_of(tmp_path, name, rows)
    by_number = {"text_column": "1", "label_column": "2"}
    with pytest.raises(
        UserError, match=rf"{name}:1: the label 'outcome' occurs in this line alone: add header=True"
    ):
        read_examples(path, **by_number)  # type: ignore[arg-type]
    with_header = read_examples(path, header=True, **by_number)  # type: ignore[arg-type]
    assert with_header.label_names == ("neg", "pos") and pairs(with_header) == rows[1:]
    assert with_header == read_examples(path, text_column="phrase", label_column="outcome")
    assert pairs(read_examples(path, header=False, **by_number)) == rows  # type: ignore[arg-type]
    with pytest.raises(UserError, match=rf"{name}:1: the label 'outcome', which .*; add header=True"):
        read_examples(path, known_labels=["pos", "neg"], **by_number)  # type: ignore[arg-type]


def test_a_header_above_labels_and_texts_is_no_example(tmp_path: Path) -> None:
    path = write(tmp_path / "e.train", "label text\n1 a\n0 b\n1 c\n")
    with pytest.raises(UserError, match=r"e\.train:1: the label 'label' occurs in this line alone"):
        read_examples(path)
    assert len(read_examples(write(path, "label text\n1 a\nlabel b\n1 c\n"))) == 4


def test_too_few_lines_to_tell_are_said(tmp_path: Path, said: pytest.LogCaptureFixture) -> None:
    path = file_of(tmp_path, "p.csv", [("good", "a"), ("bad", "b")])
    assert pairs(read_examples(path, label_column="1")) == [("a", "good"), ("b", "bad")]
    assert [f"{path}:1: the label 'good' occurs in this line alone" in line for line in said.messages] == [
        True
    ]
    said.clear()
    read_examples(path, label_column="1", header=False)
    assert not said.messages


def test_the_advice_about_columns_leads_to_the_right_classes(tmp_path: Path) -> None:
    rows = [("phrase", "outcome"), ("fine", "pos"), ("dull", "neg"), ("great", "pos"), ("bad", "neg")]
    path = file_of(tmp_path, "p.csv", rows)
    with pytest.raises(
        UserError, match="the first line holds 'phrase', 'outcome': name the column .* by its name"
    ):
        read_examples(path)
    assert read_examples(path, text_column="phrase", label_column="outcome").label_names == ("neg", "pos")


# Ids are no classes

COUNTED = [
    ("1", "great fun", "pos"),
    ("2", "dull mess", "neg"),
    ("3", "lovely", "pos"),
    ("4", "awful", "neg"),
]


@pytest.mark.parametrize("name", ["i.csv", "i.tsv"])
def test_numbers_that_count_the_rows_are_no_classes(tmp_path: Path, name: str) -> None:
    path = file_of(tmp_path, name, COUNTED)
    with pytest.raises(
        UserError, match="column 1 holds another number in each row, as ids do; .*'1', 'great fun', 'pos'"
    ):
        read_examples(path)
    with pytest.raises(UserError, match="which of 3 columns is the text; .*'1', 'great fun', 'pos'"):
        list(stream_texts(path))
    right = read_examples(path, text_column="2", label_column="3")
    assert pairs(right) == [row[1:] for row in COUNTED] and right.label_names == ("neg", "pos")
    assert list(stream_texts(file_of(tmp_path, f"two-{name}", [row[:2] for row in COUNTED]))) == [
        row[1] for row in COUNTED
    ]
    taken = read_examples(path, label_column="1")  # the user says that they are the labels
    assert pairs(taken)[0] == ("great fun\npos", "1") and taken.label_names == ("1", "2", "3", "4")


@pytest.mark.parametrize(
    ("name", "content", "options"),
    [
        ("r.csv", "text,label\na,u0\nb,u1\nc,u2\nd,u3\n", {}),
        ("r.csv", "stars,text\n1,a\n2,b\n3,c\n4,d\n5,e\n", {}),
        ("r.tsv", "target\ttext\n11\ta\n12\tb\n13\tc\n14\td\n", {"header": True}),
        ("r.jsonl", "".join(f'{{"label": "u{i}", "text": "a"}}\n' for i in range(4)), {}),
        ("r.csv", "1,a\n2,b\n3,c\n4,d\n", {"label_column": "1"}),
        ("r.txt", "".join(f"__label__{name} the text\n" for name in "abcd"), {}),
        ("r.txt", "__label__a __label__b x\n" + "".join(f"__label__{name} x\n" for name in "cdef"), {}),
        ("r.txt", "a one\nb two\nc three\nd four\n", {"label_separator": "space"}),
        ("r.txt", "a a\tone\nb b\ttwo\nc c\tthree\nd d\tfour\n", {"label_separator": "tab"}),
        ("r.txt", "a one\nb two\nc three\nd four\n", {"known_labels": ["a", "b", "c", "d", "e"]}),
    ],
)
def test_an_example_of_each_class_is_read_where_the_labels_are_named(
    tmp_path: Path, name: str, content: str, options: dict[str, Any]
) -> None:
    examples = read_examples(write(tmp_path / name, content), **options)
    n_rows = content.count("\n") - ("text" in content.splitlines()[0].split("," if "," in content else "\t"))
    assert len(examples) == n_rows
    assert len({example.labels for example in examples.examples}) == n_rows


def test_one_example_of_each_class_by_folders(tmp_path: Path) -> None:
    for name in "abcd":
        (tmp_path / name).mkdir()
        write(tmp_path / name / "1.txt", name)
    assert read_examples(tmp_path).label_names == ("a", "b", "c", "d")


def test_numbers_in_the_first_column_are_refused_where_most_differ(tmp_path: Path) -> None:
    rows = [(str(max(number, 2)), f"text {number}", "pos") for number in range(1, 31)]
    path = file_of(tmp_path, "r.csv", rows)
    with pytest.raises(UserError) as caught:
        read_examples(path)
    assert str(caught.value) == (
        f"{path}: 29 different labels in 30 examples, as ids are: they are in column 1 of 3; "
        "add label_column='1' if these are the labels, or the number of the column that holds them"
    )
    assert len(read_examples(path, label_column="1", text_column="2").label_names) == 29
    assert read_examples(path, label_column="3", text_column="2").label_names == ("pos",)


def test_lines_of_text_are_no_labels_and_texts(tmp_path: Path) -> None:
    lines = ["The film was good.", "A dull mess.", "I liked it.", "Never again."]
    path = write(tmp_path / "t.txt", "\n".join(lines))
    with pytest.raises(UserError) as caught:
        read_examples(path)
    assert str(caught.value) == (
        f"{path}: 4 different labels in 4 examples, as ids are: each line is read as a label and a text; "
        "add label_separator='space' if that is right, or give the file as a table (.csv, .tsv, .jsonl)"
    )
    with pytest.raises(UserError, match="4 different labels .* label_separator='tab' if that is right"):
        read_examples(write(tmp_path / "t.txt", "\n".join(line.replace(" ", "\t", 1) for line in lines)))
    many = "\n".join(f"word{i // 2 if i < 10 else i} x" for i in range(25))
    with pytest.raises(UserError, match="20 different labels in 25 examples"):
        read_examples(write(tmp_path / "t.txt", many))


def test_a_label_that_training_lacked_is_taken_when_told(tmp_path: Path) -> None:
    path = write(tmp_path / "t.txt", "pos a\nneg b\nmeh c\nodd d\n")
    asked: dict[str, Any] = {"known_labels": ["neg", "pos"]}
    with pytest.raises(UserError, match=r"t\.txt:3: the label 'meh', which is not in the training data"):
        read_examples(path, **asked)
    assert pairs(read_examples(path, unknown_labels="wrong", **asked))[2:] == [("c", "meh"), ("d", "odd")]
    rows = [("phrase", "outcome"), ("fine", "pos"), ("dull", "neg")]
    asked |= {"text_column": "1", "label_column": "2", "unknown_labels": "wrong"}
    with pytest.raises(
        UserError, match=r"p\.csv:1: the label 'outcome' occurs in this line alone: add header=True"
    ):
        read_examples(file_of(tmp_path, "p.csv", rows), **asked)
    alone = file_of(
        tmp_path, "q.csv", [*rows[1:], ("so so", "meh")]
    )  # a known label, if in the first line alone
    assert pairs(read_examples(alone, **asked)) == [*rows[1:], ("so so", "meh")]


# What is written, and in memory


@pytest.mark.parametrize(
    "labels", [("a",), ("a", "b"), (), ("b, c",), ("a|b", "c"), ("[x",), ("a", 'say "x", y')]
)
def test_joined_labels_are_split_as_they_were(tmp_path: Path, labels: tuple[str, ...]) -> None:
    with (tmp_path / "e.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("text", "label"), ("t", join_labels(labels))])
    assert read_examples(tmp_path / "e.csv", multi_label=True).examples[0].labels == labels


def test_labels_in_memory_are_those_of_a_file(tmp_path: Path) -> None:
    values: list[Any] = [10, 9, -1, 10]
    path = write(tmp_path / "e.jsonl", "".join(json.dumps({"text": "t", "label": v}) + "\n" for v in values))
    from_file = read_examples(path)
    assert from_file.label_names == ("-1", "9", "10")
    for labels in (values, np.array(values), tuple(map(str, values))):
        given = example_set(["t"] * 4, labels)
        assert (given.label_names, given.examples) == (from_file.label_names, from_file.examples)
    for truth in (
        [True, False],
        np.array([True, False]),
        ["True", "False"],
    ):  # as before, and as in a CSV of pandas
        assert example_set(["t", "u"], truth).label_names == ("False", "True")
    assert example_set(["t", "u"], [[True, "x"], []]).label_names == ("True", "x")
    assert example_set(["t", "u"], np.array([0.5, 2.0])).label_names == ("0.5", "2.0")
    several = example_set(["t", "u"], [["b", "a"], []])
    assert several.multi_label and pairs(several) == [("t", "a", "b"), ("u",)]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["p", "n", None, float("nan")], r"labels\[2\] is None: this text has no label"),
        (["p", "n", float("nan"), "p"], r"labels\[2\] is nan: this text has no label"),
        (np.array(["p", "n", "p", np.nan], dtype=object), r"labels\[3\] is nan: this text has no label"),
        (["p", " ", "n", "p"], r"labels\[1\] is ' ': this text has no label"),
        (["p", b"n", "p", "n"], r"labels\[1\]: the label is a byte string, not a string or a number"),
        ([["p"], ["n", b"q"], [], []], r"labels\[1\]: the label is a byte string"),
        (["p", {"n": 1}, "p", "n"], r"labels\[1\]: the label is a record"),
        ("pnpn", "labels come in a list"),
        (["p", "n"], "4 texts and 2 labels"),
    ],
)
def test_labels_in_memory_that_are_none(labels: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        example_set(["a", "b", "c", "d"], labels)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["a", float("nan")], r"texts\[1\] is nan, not a text"),
        ([None, "a"], r"texts\[0\] is None, not a text"),
        (["a", b"b"], r"texts\[1\] is of type bytes, not a text: decode it first"),
        (["a", 3], r"texts\[1\] is of type int, not a text"),
        ("ab", "texts come in a list"),
    ],
)
def test_texts_in_memory_that_are_none(texts: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        example_set(texts, ["p", "n"])


# Unlabeled and empty texts


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("h.csv", "text,label\na,x\nb,\nc,y\nd,\n"),
        ("h.tsv", "text\tlabel\na\tx\nb\t \nc\ty\nd\t\n"),
        (
            "h.jsonl",
            '{"text": "a", "label": "x"}\n{"text": "b", "label": null}\n{"text": "c", "label": "y"}\n{"text": "d"}\n',
        ),
    ],
)
def test_unlabeled_texts_are_left_out_when_told(
    tmp_path: Path, said: pytest.LogCaptureFixture, name: str, content: str
) -> None:
    path = write(tmp_path / name, content)
    with pytest.raises(
        UserError, match="this example has no label; skip_unlabeled=True leaves such examples out"
    ):
        read_examples(path)
    examples = read_examples(path, skip_unlabeled=True)
    assert pairs(examples) == [("a", "x"), ("c", "y")] and examples.label_names == ("x", "y")
    place = f"{path}:{2 if name == 'h.jsonl' else 3}"
    assert said.messages == [f"{path}: 2 of 4 examples have no label and are left out, the first is {place}"]


def test_a_file_in_which_nothing_is_labeled_is_told(tmp_path: Path) -> None:
    path = write(tmp_path / "h.csv", "text,label\na,\nb,\n")
    with pytest.raises(UserError, match=r"h\.csv: none of its 2 examples has a label"):
        read_examples(path, skip_unlabeled=True)


def test_empty_texts_are_said(tmp_path: Path, said: pytest.LogCaptureFixture) -> None:
    read_examples(write(tmp_path / "e.csv", "text,label\na,x\n,x\n  ,y\nb,y\n"))
    read_examples(write(tmp_path / "e.train", "1 a\n0\n"))
    example_set(["a", ""], ["x", "y"])
    assert said.messages == [
        f"{tmp_path}/e.csv:3: the text is empty, as in 1 more",
        f"{tmp_path}/e.train:2: the text is empty",
        "texts[1]: the text is empty",
    ]


# Texts to predict


def test_each_line_of_plain_text_is_a_text(tmp_path: Path) -> None:
    path = write(tmp_path / "t.txt", "\ufeffone\n\n two \r\nthree")
    assert list(stream_texts(path)) == ["one", "", " two ", "three"]
    assert list(stream_texts(write(tmp_path / "t.csv", 'text\na\n""\nb\n'))) == ["a", "", "b"]


@pytest.mark.parametrize("name", ["t.txt", "t.csv", "t.jsonl"])
def test_a_file_without_text_is_told(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="no text in it|the file is empty"):
        list(stream_texts(write(tmp_path / name, "")))


# Real data


def test_news_without_a_header() -> None:
    path = data_folder("ag-news") / "test.csv"
    examples = read_examples(path)
    assert Counter(example.labels for example in examples.examples) == {(c,): 1900 for c in "1234"}
    assert examples.examples[0].input.startswith("Fears for T N pension after talks\nUnions representing")
    assert examples == read_examples(path, text_column="2,3", label_column="1")


def test_product_reviews() -> None:
    examples = read_examples(data_folder("amazon-reviews") / "electronics.jsonl")
    assert Counter(example.labels for example in examples.examples) == {("neg",): 1000, ("pos",): 1000}
    shown = Counter(example.labels for example in examples.sample(100, seed=1).examples)
    assert shown == {("neg",): 50, ("pos",): 50}


def test_movie_reviews_without_labels_are_told() -> None:
    with pytest.raises(UserError, match="no label column .*the columns are 'text'"):
        read_examples(data_folder("imdb") / "unsupervised.jsonl")


def test_sentences_and_questions() -> None:
    folder = data_folder("sentences")
    fine = read_examples(folder / "stsa.fine.test")
    assert len(fine) == 2210 and fine.label_names == ("0", "1", "2", "3", "4")
    questions = read_examples(folder / "TREC.train", encoding="latin-1")
    assert len(questions) == 5452 and len(questions.label_names) == 50
    assert questions.examples[0] == LabeledExample(
        "How did serfdom develop in and then leave Russia ?", ("DESC:manner",)
    )
