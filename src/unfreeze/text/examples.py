"""Labeled texts: read from tables, folders per class and `label text` lines; sampled and split by class.

Samples for learning curves are fixed by the seed, stratified and nested: the examples are put in one order,
of which every beginning holds the classes in proportion (Webster's method of apportionment) after one
example of each class; a sample is a beginning of that order. Examples are held in memory; reading a million
short ones takes less than 10 seconds.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count as count_from
from pathlib import Path

from unfreeze.checked import NotJson, read_json, shown, whole_number
from unfreeze.errors import UserError
from unfreeze.text.lines import existing_file, plain_suffix, read_lines
from unfreeze.text.records import (
    MISSING,
    Table,
    find_label_column,
    find_text_columns,
    is_hub,
    is_null,
    is_table,
    kind_of_value,
    open_table,
    read_text,
)


@dataclass(frozen=True, slots=True)
class TextExample:
    """A text and its labels: one, in a multi-label set any number (sorted), none where unlabeled."""

    text: str
    labels: tuple[str, ...]


@dataclass(frozen=True)
class ExampleSet:
    """Examples, and the names of all classes in order (that of numbers where all names are integers)."""

    examples: list[TextExample]
    label_names: tuple[str, ...]
    multi_label: bool
    source: str

    def __len__(self) -> int:
        return len(self.examples)

    def texts(self) -> list[str]:
        """The texts in their order."""
        return [example.text for example in self.examples]


@dataclass(frozen=True)
class _Rows:
    """Number, text and label (as it was read) of each example, and how an error names the place of one."""

    rows: Iterable[tuple[int, str, object]]
    place: Callable[[int], str]


def read_examples(
    path: str | Path,
    *,
    text_column: str | None = None,
    label_column: str | None = None,
    encoding: str = "utf-8",
    multi_label: bool | None = None,
    labels_required: bool = True,
    known_labels: Collection[str] | None = None,
) -> ExampleSet:
    """Reads labeled texts in their order; an empty text is an example too.

    Read are tables (CSV, TSV, JSON lines, Parquet, hub ids `hf:owner/name[@revision][:config][:split]`), a
    folder that holds a folder of .txt files for each class, and any other file as lines of a label, white
    space, and a text; all but Parquet plain or compressed (.gz, .xz, .zst). Columns are given by name or by
    number, from 1, or found by their usual names; several text columns, separated by commas, are joined by
    newlines.

    `multi_label=True` takes lists, and splits strings: a JSON list, else at "|", else at ","; None means
    True for a set that holds a list. Raises UserError for a missing column, a missing label (unless
    `labels_required=False`), one that is not among `known_labels` (those of the training set), a broken
    record, and a source without examples.
    """
    found = _open(path, text_column, label_column, encoding, labels_required)
    rows = list(found.rows)
    if not rows:
        raise UserError(f"{path}: no example in it")
    several = any(isinstance(value, list) for _, _, value in rows) if multi_label is None else multi_label
    examples = []
    for number, text, value in rows:
        try:
            labels = _labels(_split_labels(value) if multi_label else value, several)
            if known_labels is not None:
                _need_known(labels or (), known_labels)
        except _BadLabel as error:
            raise UserError(f"{found.place(number)}: {error}") from None
        if labels is None and labels_required:
            raise UserError(f"{found.place(number)}: this example has no label")
        examples.append(TextExample(text, labels or ()))
    return ExampleSet(examples, _ordered_names(examples), several, str(path))


def stream_texts(
    path: str | Path, *, text_column: str | None = None, encoding: str = "utf-8"
) -> Iterator[str]:
    """Yields the texts of a table or hub data set, or each line of any other file, empty ones too.

    Raises UserError at once for a missing file, on the way for a broken record, at the end for no text.
    """
    if not is_hub(path):
        existing_file(Path(path))
    return _texts(path, text_column, encoding)


def sample_examples(examples: ExampleSet, count: int, seed: int) -> ExampleSet:
    """A stratified sample: every class (multi-label: combination) in proportion, no class left out.

    For one seed samples are nested: a smaller one is the beginning of a larger one. The names of the
    classes stay those of the whole set. Raises UserError for a `count` above the number of examples or
    below that of classes.
    """
    if count > len(examples):
        raise UserError(f"{examples.source}: {count} examples were asked for, it holds {len(examples)}")
    if count < len(examples.label_names) or count < 1:
        classes = f"{len(examples.label_names)} classes"
        raise UserError(
            f"{examples.source}: a sample of {count} cannot show each of its {classes}; take more"
        )
    order, _ = _stratified_order(examples, seed)
    return replace(examples, examples=[examples.examples[index] for index in order[:count]])


def split_validation(examples: ExampleSet, fraction: float, seed: int) -> tuple[ExampleSet, ExampleSet]:
    """Splits into (training, validation), stratified; each in the order of `examples`.

    `fraction` of the examples (rounded, at least one) is for validation, less where that would take a class
    away from training. Raises UserError where nothing can be set aside.
    """
    if not 0 < fraction < 1:
        raise UserError(
            f"a fraction of {fraction} cannot be set aside for validation: take one between 0 and 1"
        )
    order, n_covering = _stratified_order(examples, seed)
    n_validation = min(max(1, round(fraction * len(order))), len(order) - max(1, n_covering))
    if n_validation < 1:
        classes = f"{len(order)} examples of {len(examples.label_names)} classes"
        raise UserError(f"{examples.source}: {classes} are too few to set some aside for validation")
    cut = len(order) - n_validation
    training, validation = (
        replace(examples, examples=[examples.examples[index] for index in sorted(part)])
        for part in (order[:cut], order[cut:])
    )
    return training, validation


def duplicates_between(train: ExampleSet, test: ExampleSet) -> int:
    """How many examples of `test` have exactly the text of an example of `train`."""
    texts = {example.text for example in train.examples}
    return sum(example.text in texts for example in test.examples)


def _open(
    path: str | Path, text_column: str | None, label_column: str | None, encoding: str, labels_required: bool
) -> _Rows:
    if is_table(path):
        return _read_table(path, text_column, label_column, encoding, labels_required)
    if text_column or label_column:
        raise UserError(f"{path}: only tables (.csv, .tsv, .jsonl, .parquet) have columns to choose from")
    if Path(path).is_dir():
        return _Rows(_read_folder(Path(path), encoding), lambda number: f"{path}, file {number}")
    return _Rows(_read_labeled_lines(existing_file(Path(path)), encoding), lambda number: f"{path}:{number}")


def _open_columns(
    path: str | Path, text_column: str | None, label_column: str | None, encoding: str
) -> Table:
    wanted = [*(text_column.split(",") if text_column else []), *([label_column] if label_column else [])]
    return open_table(path, encoding, wanted)


def _read_table(
    path: str | Path, text_column: str | None, label_column: str | None, encoding: str, labels_required: bool
) -> _Rows:
    table = _open_columns(path, text_column, label_column, encoding)
    label = find_label_column(table, label_column, required=labels_required)
    columns = find_text_columns(table, text_column, label)
    if label in columns:
        raise UserError(f"{path}: the column {label!r} cannot be both the text and the label")

    def rows() -> Iterator[tuple[int, str, object]]:
        names = table.class_names.get(label) if label else None
        for number, values in table.rows([*columns, *([label] if label else [])]):
            text = read_text(table, number, columns, values[: len(columns)])
            value = values[-1] if label else None
            yield number, text, value if names is None else _named(value, names)

    return _Rows(rows(), table.place)


def _named(value: object, names: Sequence[str]) -> object:
    """What class numbers stand for; a negative one says that the label is held back."""
    if isinstance(value, list):
        return [_named(number, names) for number in value]
    if not isinstance(value, int):
        return value
    return names[value] if value >= 0 else None


def _read_folder(folder: Path, encoding: str) -> Iterator[tuple[int, str, object]]:
    """folder/CLASS/*.txt, the classes and the files of each in sorted order."""
    classes = sorted(item for item in folder.iterdir() if item.is_dir() and not item.name.startswith("."))
    if not classes:
        raise UserError(
            f"{folder}: no folder for each class (CLASS/*.txt) in it; to read a file in it, name the file"
        )
    numbers = count_from(1)
    for class_folder in classes:
        files = sorted(
            item for item in class_folder.iterdir() if plain_suffix(item) == ".txt" and item.is_file()
        )
        if not files:
            raise UserError(f"{class_folder}: this folder of a class holds no .txt file")
        for file in files:
            yield next(numbers), "".join(read_lines(file, encoding)).rstrip("\n"), class_folder.name


def _read_labeled_lines(path: Path, encoding: str) -> Iterator[tuple[int, str, object]]:
    for number, line in enumerate(read_lines(path, encoding), 1):
        label, *text = line.split(maxsplit=1) or [""]
        if label:
            yield number, text[0].rstrip() if text else "", label


def _texts(path: str | Path, text_column: str | None, encoding: str) -> Iterator[str]:
    empty = True
    if is_table(path):
        table = _open_columns(path, text_column, None, encoding)
        columns = find_text_columns(table, text_column)
        texts = (read_text(table, number, columns, values) for number, values in table.rows(columns))
    else:
        texts = (line.rstrip("\n") for line in read_lines(Path(path), encoding))
    for text in texts:
        empty = False
        yield text
    if empty:
        raise UserError(f"{path}: no text in it")


class _BadLabel(ValueError):
    """A label that cannot be one; says why."""


def _labels(value: object, multi_label: bool) -> tuple[str, ...] | None:
    """The labels that a value stands for; None where it stands for none."""
    if not isinstance(value, list):
        name = _label_name(value)
        return None if name is None else (name,)
    names = {name for name in map(_label_name, value) if name is not None}
    if multi_label:
        return tuple(sorted(names))
    if len(names) > 1:
        raise _BadLabel(f"{len(names)} labels where an example takes one; is this a multi-label set?")
    return tuple(names) or None


def _need_known(labels: Iterable[str], known: Collection[str]) -> None:
    for label in labels:
        if label not in known:
            shown = ", ".join(list(known)[:10]) + (", ..." if len(known) > 10 else "")
            raise _BadLabel(f"the label {label!r}, which training lacked (it had {shown})")


def _split_labels(value: object) -> object:
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        try:
            return read_json(value)
        except NotJson as error:
            raise _BadLabel(
                f"the labels {shown(value)} are not a JSON list: {str(error).removeprefix('not JSON: ')}"
            ) from None
    return list(value.split("|" if "|" in value else ","))


def _label_name(value: object) -> str | None:
    if value is MISSING or is_null(value):
        return None
    if isinstance(value, bool):
        return str(value).lower()  # as JSON writes it
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, str):
        return value.strip() or None
    raise _BadLabel(f"the label is a {kind_of_value(value)}, not a string or a number")


def _ordered_names(examples: Iterable[TextExample]) -> tuple[str, ...]:
    names = {label for example in examples for label in example.labels}
    if all(name.removeprefix("-").isdecimal() for name in names):
        return tuple(sorted(names, key=_number_order))
    return tuple(sorted(names))


def _number_order(name: str) -> tuple[bool, int, str]:
    """By their value; numbers of thousands of digits, which Python does not read, stand behind the others."""
    number = whole_number(name)
    return number is None, number or 0, name


def _stratified_order(examples: ExampleSet, seed: int) -> tuple[list[int], int]:
    """All indices in an order whose beginnings are stratified, and how many at first cover all classes.

    The example of rank r (from 0) among the n of its stratum stands at (r + 1/2) / n. Cutting at t leaves
    n t examples of each stratum, rounded, which is Webster's method. Ties are broken at random.
    """
    # random() alone is the same in every version of Python for the same seed
    generator = random.Random(seed)
    tie_breaks = [generator.random() for _ in examples.examples]
    shuffled = sorted(range(len(tie_breaks)), key=tie_breaks.__getitem__)
    strata = [example.labels for example in examples.examples]
    covering = _covering(shuffled, strata)
    chosen = set(covering)
    sizes, seen = Counter(strata), Counter[tuple[str, ...]]()
    places: dict[int, float] = {}
    for index in [*covering, *(index for index in shuffled if index not in chosen)]:
        places[index] = (seen[strata[index]] + 0.5) / sizes[strata[index]]
        seen[strata[index]] += 1
    rest = [index for index in places if index not in chosen]
    return covering + sorted(rest, key=lambda index: (places[index], tie_breaks[index])), len(covering)


def _covering(shuffled: list[int], strata: list[tuple[str, ...]]) -> list[int]:
    """Examples that together have every label: for each that none has yet, rarest first, its first one."""
    counts = Counter(label for labels in strata for label in labels)
    first = {label: index for index in reversed(shuffled) for label in strata[index]}
    covering: list[int] = []
    covered: set[str] = set()
    for label in sorted(counts, key=lambda label: (counts[label], label)):
        if label not in covered:
            covering.append(first[label])
            covered.update(strata[first[label]])
    return covering
