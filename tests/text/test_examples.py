"""Labeled examples: what is read from each format, and how they are sampled, split and compared."""

from __future__ import annotations

import csv
import gzip
import json
from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from sklearn.model_selection import train_test_split

from tests.conftest import data_folder
from tests.text.test_corpus import StubData, stub_datasets, write
from unfreeze.errors import UserError
from unfreeze.text.examples import (
    ExampleSet,
    TextExample,
    duplicates_between,
    read_examples,
    sample_examples,
    split_validation,
    stream_texts,
)


def pairs(examples: ExampleSet) -> list[tuple[str, ...]]:
    return [(example.text, *example.labels) for example in examples.examples]


def example_set(labels: list[tuple[str, ...]], multi_label: bool = False) -> ExampleSet:
    examples = [TextExample(f"text {i}", names) for i, names in enumerate(labels)]
    names = tuple(sorted({name for names in labels for name in names}))
    return ExampleSet(examples, names, multi_label, "here")


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
        examples = read_examples(tmp_path / name)
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


def test_files_in_a_folder_are_not_guessed(tmp_path: Path) -> None:
    write(tmp_path / "train.jsonl", '{"text": "a", "label": "b"}\n')
    with pytest.raises(UserError, match="no folder for each class .* name the file"):
        read_examples(tmp_path)


def test_lines_that_begin_with_the_label(tmp_path: Path) -> None:
    path = write(tmp_path / "e.train", "1 a b  c \n\n0\td\n1\n")
    assert pairs(read_examples(path)) == [("a b  c", "1"), ("d", "0"), ("", "1")]


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
        ("text,spam\na,1\n", {}, r"no label column .*'text', 'spam'; .*--label-column"),
        (
            "text,label\na,1\n",
            {"label_column": "stars"},
            "no column 'stars' for --label-column; .*'text', 'label'",
        ),
        ("text,label\na,1\n", {"text_column": "txt"}, "no column 'txt' for --text-column; .*'text', 'label'"),
        ("text,label\na,1\n", {"text_column": "label"}, "'label' cannot be both the text and the label"),
        ("text,label\na,1\n", {"text_column": "3"}, "no column '3'"),
        ("text,label\na,1\n", {"text_column": "9" * 5000}, r"no column '9{39}\.\.\. for --text-column"),
        (
            "text,label\na,1\n",
            {"label_column": "-" + "9" * 5000},
            r"no column '-9{38}\.\.\. for --label-column",
        ),
        ("good,a\nbad,b\n", {}, "no header says which of 2 columns is the label; .*--label-column 1"),
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
    assert [example.labels[0] for example in read_examples(path).examples] == [*values[:-1], "x"]


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


# Texts to predict


def test_each_line_of_plain_text_is_a_text(tmp_path: Path) -> None:
    path = write(tmp_path / "t.txt", "\ufeffone\n\n two \r\nthree")
    assert list(stream_texts(path)) == ["one", "", " two ", "three"]
    assert list(stream_texts(write(tmp_path / "t.csv", 'text\na\n""\nb\n'))) == ["a", "", "b"]


@pytest.mark.parametrize("name", ["t.txt", "t.csv", "t.jsonl"])
def test_a_file_without_text_is_told(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="no text in it|the file is empty"):
        list(stream_texts(write(tmp_path / name, "")))


# Samples

single_label = st.lists(st.sampled_from("aaaaaabbbc").map(lambda label: (label,)), min_size=1, max_size=60)
multi_label = st.lists(
    st.sets(st.sampled_from("abcd")).map(lambda s: tuple(sorted(s))), min_size=1, max_size=60
)
seeds = st.integers(0, 1000)
quick = settings(max_examples=40, deadline=None)


@quick
@given(single_label | multi_label, seeds)
def test_a_sample_grows_by_the_class_that_is_behind(names: list[tuple[str, ...]], seed: int) -> None:
    """Oracle: Webster's (Sainte-Laguë's) method, a seat at a time, once each label has one."""
    whole = example_set(names, multi_label=True)
    sizes, n_first = Counter(names), len(whole.label_names)
    assume(n_first <= len(whole))
    order = sample_examples(whole, len(whole), seed).examples
    assert set(order) == set(whole.examples)
    seats = Counter(example.labels for example in order[:n_first])
    for example in order[n_first:]:
        averages = {c: Fraction(n, 2 * seats[c] + 1) for c, n in sizes.items() if seats[c] < n}
        assert averages[example.labels] == max(averages.values())
        seats[example.labels] += 1


@quick
@given(single_label | multi_label, seeds, st.data())
def test_samples_are_nested_exact_and_show_every_class(
    names: list[tuple[str, ...]], seed: int, data: st.DataObject
) -> None:
    whole = example_set(names, multi_label=True)
    assume(len(whole.label_names) <= len(whole))
    counts = st.integers(max(1, len(whole.label_names)), len(whole))
    small, large = sorted([data.draw(counts), data.draw(counts)])
    smaller, larger = sample_examples(whole, small, seed), sample_examples(whole, large, seed)
    assert len(smaller) == small and len(larger) == large
    assert larger.examples[:small] == smaller.examples
    assert len(set(larger.examples)) == large and set(larger.examples) <= set(whole.examples)
    assert {label for example in smaller.examples for label in example.labels} == set(whole.label_names)
    assert smaller.label_names == whole.label_names and smaller.multi_label


def test_another_seed_gives_another_sample() -> None:
    whole = example_set([("a",), ("b",)] * 50)
    samples = {tuple(sample_examples(whole, 10, seed).examples) for seed in range(10)}
    assert len(samples) == 10


def test_samples_stay_what_they_were() -> None:
    """Published comparisons name a seed: another version must draw the same examples for it."""
    whole = example_set([("a",), ("a",), ("b",)] * 4)
    drawn = [example.text for example in sample_examples(whole, 5, seed=3).examples]
    assert drawn == ["text 5", "text 6", "text 9", "text 0", "text 8"]


@pytest.mark.parametrize(
    ("count", "message"), [(7, "holds 6"), (2, "each of its 3 classes"), (0, "3 classes")]
)
def test_samples_that_cannot_be(count: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        sample_examples(example_set([("a",), ("b",), ("c",)] * 2), count, seed=0)


@quick
@given(single_label | multi_label, st.floats(0.01, 0.99), seeds)
def test_a_split_keeps_every_example_once_and_every_class_in_training(
    names: list[tuple[str, ...]], fraction: float, seed: int
) -> None:
    whole = example_set(names, multi_label=True)
    assume(len(whole) > max(1, len(whole.label_names)))
    training, validation = split_validation(whole, fraction, seed)
    assert sorted(training.examples + validation.examples, key=whole.examples.index) == whole.examples
    assert {label for example in training.examples for label in example.labels} == set(whole.label_names)
    assert 1 <= len(validation) <= max(1, round(fraction * len(whole)))
    assert training.examples == sorted(training.examples, key=whole.examples.index)


@quick
@given(st.lists(st.integers(1, 6), min_size=1, max_size=4), seeds)
def test_a_split_has_the_classes_of_scikit_learns(tens: list[int], seed: int) -> None:
    names = [(f"class {i}",) for i, ten in enumerate(tens) for _ in range(10 * ten)]
    _, validation = split_validation(example_set(names), 0.3, seed)
    _, expected = train_test_split(names, test_size=0.3, stratify=names, random_state=seed)
    assert Counter(example.labels for example in validation.examples) == Counter(expected)


def test_splits_that_cannot_be() -> None:
    with pytest.raises(UserError, match="2 examples of 2 classes are too few"):
        split_validation(example_set([("a",), ("b",)]), 0.5, seed=0)
    with pytest.raises(UserError, match=r"fraction of 1\.5"):
        split_validation(example_set([("a",)] * 4), 1.5, seed=0)


def test_duplicates_are_counted_in_the_test_set() -> None:
    train = ExampleSet([TextExample(text, ("x",)) for text in "aab"], ("x",), False, "train")
    test = ExampleSet([TextExample(text, ("y",)) for text in "acaA"], ("y",), False, "test")
    assert duplicates_between(train, test) == 2


# Real data


def test_news_without_a_header() -> None:
    path = data_folder("ag-news") / "test.csv"
    examples = read_examples(path)
    assert Counter(example.labels for example in examples.examples) == {(c,): 1900 for c in "1234"}
    assert examples.examples[0].text.startswith("Fears for T N pension after talks\nUnions representing")
    assert examples == read_examples(path, text_column="2,3", label_column="1")


def test_product_reviews() -> None:
    examples = read_examples(data_folder("amazon-reviews") / "electronics.jsonl")
    assert Counter(example.labels for example in examples.examples) == {("neg",): 1000, ("pos",): 1000}
    shown = Counter(example.labels for example in sample_examples(examples, 100, seed=1).examples)
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
    assert questions.examples[0] == TextExample(
        "How did serfdom develop in and then leave Russia ?", ("DESC:manner",)
    )
