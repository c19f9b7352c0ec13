"""Labeled texts: read from tables, folders per class and `label text` lines; sampled and split by class.

Samples for learning curves are fixed by the seed, stratified and nested: the examples are put in one order,
of which every beginning holds the classes in proportion (Webster's method of apportionment) after one
example of each class; a sample is a beginning of that order. Examples are held in memory; reading a million
short ones takes less than 10 seconds.
"""

from __future__ import annotations

import json
import logging
import random
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count as count_from
from pathlib import Path
from typing import Any, Literal

from unfreeze.checked import NotJson, read_json, shown, whole_number
from unfreeze.errors import UnknownLabel, UserError, need_several, need_texts
from unfreeze.text.lines import existing_file, is_hidden, plain_suffix, read_lines, say_left_out
from unfreeze.text.records import (
    FEW,
    LABEL_COLUMNS,
    MISSING,
    TEXT_COLUMNS,
    find_label_column,
    find_text_columns,
    is_hub,
    is_null,
    is_table,
    kind_of_value,
    open_table,
    read_text,
    wanted_columns,
    warn_of_header,
)

logger = logging.getLogger(__name__)

LabelSeparator = Literal["auto", "tab", "space"]
"""What ends the label of a line of a label and a text."""

FASTTEXT = "__label__"
_FASTTEXT_LABEL = re.compile(rf"(?<!\S){FASTTEXT}\S+\s*")


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
    advice_if_ids: str = ""
    """Where the labels were only guessed: what says that they are labels, and what to do if they are none."""
    is_table: bool = False
    header_is_doubtful: bool = False
    """Whether the first row of a table may be its header."""


def read_examples(
    path: str | Path,
    *,
    text_column: str | None = None,
    label_column: str | None = None,
    header: bool | None = None,
    encoding: str = "utf-8",
    multi_label: bool | None = None,
    labels_required: bool = True,
    skip_unlabeled: bool = False,
    known_labels: Collection[str] | None = None,
    unknown_labels: Literal["error", "wrong"] = "error",
    label_separator: LabelSeparator = "auto",
) -> ExampleSet:
    """Reads labeled texts in their order; an empty text is an example too.

    Read are tables (CSV, TSV, JSON lines, Parquet, hub ids `hf:owner/name[@revision][:config][:split]`), a
    folder that holds a folder of .txt files for each class, and any other file as lines of a label, white
    space, and a text; all but Parquet plain or compressed (.gz, .xz, .zst). Columns are given by name or by
    number, from 1, or found by their usual names; several text columns, separated by commas, are joined by
    newlines. `header` says whether the first line of a CSV or TSV names its columns; by default columns that
    are all given by number say that it does not.

    A line's label ends at its tab where all lines have one, otherwise at the first white space; `label_separator` says it.
    Where a line holds fastText's `__label__NAME`, all such words of a line are its labels.

    `multi_label=True` takes lists, and splits strings: a JSON list, else at "|", else at ","; None means
    True for a set that holds a list or a line of several `__label__NAME`. Raises UserError for a missing
    column, a missing label (unless `labels_required=False`, or `skip_unlabeled`, which leaves such examples out
    and says how many), one that is not among `known_labels` (those of the training set; `unknown_labels="wrong"`
    takes it all the same), a broken record, and a source without examples.

    What cannot be told from a mistake is refused: a label in the first line alone where that may be a header,
    and, without `known_labels`, labels that are nearly all different, as ids are, where nothing but their
    place says that they are labels.
    """
    found = _open(path, text_column, label_column, header, encoding, labels_required, label_separator)
    rows = list(found.rows)
    if not rows:
        raise UserError(f"{path}: no example in it")
    several = any(isinstance(value, list) for _, _, value in rows) if multi_label is None else multi_label
    examples: list[TextExample] = []
    unlabeled: list[int] = []
    empty: list[str] = []
    for number, text, value in rows:
        try:
            labels = _labels(_split_labels(value) if multi_label else value, several)
            if known_labels is not None and unknown_labels == "error":
                _need_known(labels or (), known_labels)
        except _BadLabel as error:
            hint = (
                "; add --header if this line names the columns"
                if found.header_is_doubtful and not examples
                else ""
            )
            kind = UnknownLabel if isinstance(error, _UnknownName) else UserError
            raise kind(f"{found.place(number)}: {error}{hint}") from None
        if labels is None and skip_unlabeled:
            unlabeled.append(number)
            continue
        if labels is None and labels_required:
            raise UserError(
                f"{found.place(number)}: this example has no label; --skip-unlabeled leaves such examples out"
            )
        examples.append(TextExample(text, labels or ()))
        if not text.strip():
            empty.append(found.place(number))
    if not examples:
        raise UserError(f"{path}: none of its {len(rows)} examples has a label")
    if known_labels is None and found.advice_if_ids and not several:
        _need_no_ids(path, examples, found.advice_if_ids)
    if unlabeled[:1] != [rows[0][0]]:
        _need_no_header(examples, found, found.place(rows[0][0]), known_labels or ())
    if unlabeled:
        logger.info(
            "%s: %s of %s examples have no label and are left out, the first is %s",
            *(path, f"{len(unlabeled):,}", f"{len(rows):,}", found.place(unlabeled[0])),
        )
    _say_empty(empty, logging.INFO)
    return ExampleSet(examples, _ordered_names(examples), several, str(path))


def example_set(texts: Sequence[str], labels: Sequence[Any], source: str = "the given texts") -> ExampleSet:
    """Texts and labels that are in memory, as examples.

    A label is a string or a number, as in a file; a list of them for each text makes the set multi-label.

    Raises:
        UserError: not as many labels as texts, or a text or label that is none, named by its position from 0.
    """
    need_texts(texts, "texts")
    need_several(labels, "labels")
    if len(texts) != len(labels):
        raise UserError(
            f"{len(texts)} texts and {len(labels)} labels: there must be one (list of) label(s) a text"
        )
    values = [_as_read(label) for label in labels]
    several = any(isinstance(value, list) for value in values)
    examples = []
    for position, (text, value) in enumerate(zip(texts, values, strict=True)):
        try:
            found = _labels(value, several)
        except _BadLabel as error:
            raise UserError(f"labels[{position}]: {error}") from None
        if found is None:
            raise UserError(f"labels[{position}] is {value!r}: this text has no label")
        examples.append(TextExample(text, found))
    empty = [f"texts[{n}]" for n, each in enumerate(examples) if not each.text.strip()]
    _say_empty(empty, logging.WARNING)  # what Python shows without being told to
    return ExampleSet(examples, _ordered_names(examples), several, source)


def stream_texts(
    path: str | Path, *, text_column: str | None = None, header: bool | None = None, encoding: str = "utf-8"
) -> Iterator[str]:
    """Yields the texts of a table or hub data set, or each line of any other file, empty ones too.

    Raises UserError at once for a missing file, on the way for a broken record, at the end for no text.
    """
    if not is_hub(path):
        existing_file(Path(path))
    return _texts(path, text_column, header, encoding)


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
    path: str | Path,
    text_column: str | None,
    label_column: str | None,
    header: bool | None,
    encoding: str,
    labels_required: bool,
    label_separator: LabelSeparator,
) -> _Rows:
    if is_table(path):
        return _read_table(path, text_column, label_column, header, encoding, labels_required)
    if text_column or label_column or header is not None:
        raise UserError(f"{path}: only tables (.csv, .tsv, .jsonl, .parquet) have columns to choose from")
    if Path(path).is_dir():
        return _Rows(_read_folder(Path(path), encoding), lambda number: f"{path}, file {number}")
    return _read_labeled_lines(existing_file(Path(path)), encoding, label_separator)


def _read_table(
    path: str | Path,
    text_column: str | None,
    label_column: str | None,
    header: bool | None,
    encoding: str,
    labels_required: bool,
) -> _Rows:
    wanted = [*wanted_columns(text_column), *([label_column] if label_column else [])]
    table = open_table(path, encoding, wanted, header)
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

    if label is None:
        warn_of_header(table)
    advice = (
        f"they stand in column {label} of {len(table.columns)}; add --label-column {label} if these are the labels, "
        "or the number of the column that holds them"
    )
    is_named = bool(label_column) or table.has_header
    return _Rows(
        rows(),
        table.place,
        "" if is_named else advice,
        is_table=True,
        header_is_doubtful=table.header_is_doubtful,
    )


def _named(value: object, names: Sequence[str]) -> object:
    """What class numbers stand for; a negative one says that the label is held back."""
    if isinstance(value, list):
        return [_named(number, names) for number in value]
    if not isinstance(value, int):
        return value
    return names[value] if value >= 0 else None


def _read_folder(folder: Path, encoding: str) -> Iterator[tuple[int, str, object]]:
    """folder/CLASS/*.txt, the classes and the files of each in sorted order; hidden ones are left out."""
    classes = sorted(item for item in folder.iterdir() if item.is_dir() and not is_hidden(item.name))
    if not classes:
        raise UserError(
            f"{folder}: no folder for each class (CLASS/*.txt) in it; to read a file in it, name the file"
        )
    numbers = count_from(1)
    left_out: list[Path] = []
    for class_folder in classes:
        items = sorted(class_folder.iterdir())
        files = [item for item in items if _is_example(item)]
        left_out += [item for item in items if not _is_example(item)]
        if not files:
            raise UserError(f"{class_folder}: this folder of a class holds no .txt file")
        for file in files:
            yield next(numbers), "".join(read_lines(file, encoding)).rstrip("\n"), class_folder.name
    say_left_out(folder, left_out)


def _is_example(item: Path) -> bool:
    return plain_suffix(item) == ".txt" and item.is_file() and not is_hidden(item.name)


def _read_labeled_lines(path: Path, encoding: str, separator: LabelSeparator) -> _Rows:
    lines = [(number, line) for number, line in enumerate(read_lines(path, encoding), 1) if line.strip()]
    if separator == "auto" and any(FASTTEXT in line and _FASTTEXT_LABEL.search(line) for _, line in lines):
        return _Rows(_split_fasttext(lines), lambda number: f"{path}:{number}")
    advice = ""
    if separator == "auto":
        separator = _label_separator(lines, path)
        advice = (
            f"each line is read as a label and a text; add --label-separator {separator} if that is right, "
            "or give the file as a table (.csv, .tsv, .jsonl)"
        )
    return _Rows(_split_lines(lines, separator), lambda number: f"{path}:{number}", advice)


def _split_fasttext(lines: Iterable[tuple[int, str]]) -> Iterator[tuple[int, str, object]]:
    for number, line in lines:
        names = sorted({label.rstrip() for label in _FASTTEXT_LABEL.findall(line)})
        yield number, _FASTTEXT_LABEL.sub("", line).strip(), names if len(names) > 1 else "".join(names)


def _split_lines(
    lines: Iterable[tuple[int, str]], separator: LabelSeparator
) -> Iterator[tuple[int, str, object]]:
    for number, line in lines:
        label, *rest = line.split("\t", 1) if separator == "tab" else line.split(maxsplit=1)
        yield number, "".join(rest).strip(), label


def _label_separator(lines: Sequence[tuple[int, str]], path: Path) -> LabelSeparator:
    """tab where all lines of more than one word have one.

    Raises:
        UserError: some have none, and before another's tab are several words, which could be a label or not.
    """
    without = next((number for number, line in lines if "\t" not in line and len(line.split()) > 1), None)
    spaced = next(
        (
            (number, label)
            for number, line in lines
            if "\t" in line and len((label := line.partition("\t")[0].strip()).split()) > 1
        ),
        None,
    )
    if spaced is None:
        return "space" if without is not None else "tab"
    number, label = spaced
    if without is not None:
        raise UserError(
            f"{path}:{number}: a tab stands behind {label[:40]!r} and line {without} has none: "
            "--label-separator tab or space says where labels end"
        )
    logger.warning(
        "%s: labels end at the tab, such as %r (line %d); --label-separator space ends them at the first space",
        path,
        label[:40],
        number,
    )
    return "tab"


def _texts(path: str | Path, text_column: str | None, header: bool | None, encoding: str) -> Iterator[str]:
    empty = True
    if is_table(path):
        table = open_table(path, encoding, wanted_columns(text_column), header)
        columns = find_text_columns(table, text_column)
        warn_of_header(table)
        texts = (read_text(table, number, columns, values) for number, values in table.rows(columns))
    else:
        texts = (line.rstrip("\n") for line in read_lines(Path(path), encoding))
    for text in texts:
        empty = False
        yield text
    if empty:
        raise UserError(f"{path}: no text in it")


def _need_no_ids(path: str | Path, examples: Sequence[TextExample], advice: str) -> None:
    """Refuses labels that nobody named where they tell the examples apart instead of grouping them."""
    labels = [example.labels for example in examples if example.labels]
    n_classes = len(set(labels))
    all_differ = FEW <= len(labels) == n_classes
    if all_differ or (len(labels) >= 5 * FEW and 2 * n_classes > len(labels)):
        raise UserError(
            f"{path}: {n_classes:,} different labels in {len(labels):,} examples, as ids are: {advice}"
        )


def _need_no_header(
    examples: Sequence[TextExample], found: _Rows, place: str, known: Collection[str]
) -> None:
    """Refuses a first line whose label occurs there alone and is not known, if nothing says that it is an example."""
    labels, text = examples[0].labels, examples[0].text
    others = {*known, *(label for example in examples[1:] for label in example.labels)}
    usual = text.strip().lower() in TEXT_COLUMNS and all(label.lower() in LABEL_COLUMNS for label in labels)
    doubtful = found.header_is_doubtful if found.is_table else usual
    if not labels or not doubtful or not others.isdisjoint(labels):
        return
    said = f"{place}: the label {', '.join(labels)!r} occurs in this line alone"
    if not found.is_table:
        raise UserError(
            f"{said}, as the name of a column does: take it out, or give the file as a table (.csv, .tsv)"
        )
    mend = "add --header if this line names the columns, or --no-header if it is an example"
    if len(examples) > 2 or usual:
        raise UserError(f"{said}: {mend}")
    logger.warning("%s; %s", said, mend)


def _say_empty(places: Sequence[str], level: int) -> None:
    if places:
        more = f", as in {len(places) - 1:,} more" if len(places) > 1 else ""
        logger.log(level, "%s: the text is empty%s", places[0], more)


def _as_read(value: object) -> object:
    """A label from Python as a file would give it: numbers and arrays of NumPy become Python's, sets become lists.

    Truth values keep their names in Python, "True" and "False", which are also what data frames write into a CSV.
    """
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, (tuple, set, frozenset)):
        value = list(value)
    return [_as_read(item) for item in value] if isinstance(value, list) else value


class _BadLabel(ValueError):
    """A label that cannot be one; says why."""


class _UnknownName(_BadLabel):
    """A label that training lacked."""


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
            names = ", ".join(list(known)[:10]) + (", ..." if len(known) > 10 else "")
            raise _UnknownName(f"the label {label!r}, which training lacked (it had {names})")


def _split_labels(value: object) -> object:
    if not isinstance(value, str) or value.startswith(FASTTEXT):
        return value
    if value.lstrip().startswith("["):
        try:
            return read_json(value)
        except NotJson as error:
            raise _BadLabel(
                f"the labels {shown(value)} are not a JSON list: {str(error).removeprefix('not JSON: ')}"
            ) from None
    return list(value.split("|" if "|" in value else ","))


def join_labels(labels: Sequence[str]) -> str:
    """Several labels in one cell, as `read_examples` splits them: joined by "|", or a JSON list where that would not do."""
    ambiguous = any(mark in label for label in labels for mark in "|,[")
    return json.dumps(labels, ensure_ascii=False) if ambiguous else "|".join(labels)


def _label_name(value: object) -> str | None:
    if value is MISSING or is_null(value):
        return None
    if isinstance(value, bool):
        return str(value).lower()  # as JSON writes it
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, str):
        return value.strip() or None
    if isinstance(value, dict) and value.keys() == {"label", "score"}:  # as predict writes several labels
        return _label_name(value["label"])
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
