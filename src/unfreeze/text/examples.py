"""Read labeled texts from tables, folders per class and lines of a label and a text.

Examples are held in memory; reading a million short ones takes less than 10 seconds. How they are sampled and split is in
`unfreeze.datasets`.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from unfreeze.datasets.columns import find_column, find_label_column, wanted_columns, warn_of_header
from unfreeze.datasets.dataset import ExampleSet, LabeledExample, labeled_set
from unfreeze.datasets.labels import (
    BadLabel,
    UnknownName,
    class_names,
    labels_of,
    need_known_labels,
    ordered_names,
    split_labels,
)
from unfreeze.datasets.lines import existing_file, read_lines
from unfreeze.datasets.tables import FEW, LABEL_COLUMNS, TEXT_COLUMNS, is_hub, is_table, open_table
from unfreeze.errors import Notice, UnknownLabel, UserError, setting
from unfreeze.text.columns import find_text_columns, read_text, table_texts
from unfreeze.text.labeled_files import (
    LabeledRows,
    LabelSeparator,
    read_class_folders,
    read_labeled_lines,
    without_labels,
)
from unfreeze.text.text_inputs import TextInput, TextPair, has_empty_text, single_texts, text_inputs

logger = logging.getLogger(__name__)

MOST_SINGLE_LABELS = 20
"""Number of guessed labels up to which most may occur in a single example each."""


def read_examples(
    path: str | Path,
    *,
    text_column: str | None = None,
    pair_column: str | None = None,
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
    """Read labeled texts in their order, including empty texts.

    The source is a table (CSV, TSV, JSON lines, Parquet, hub id `hf:owner/name[@revision][:config][:split]`), a folder that
    contains a folder of .txt files for each class, or any other file with a label, white space and a text per line. All
    but Parquet may be compressed (.gz, .xz, .zst). In lines with fastText's `__label__NAME`, all such words are labels.

    Possible mistakes are refused: a label that occurs only in the first line if that may be a header, and, without
    `known_labels`, labels that are nearly all different, like ids, or of which most occur once, like the words of plain text, if
    only their position says that they are labels.

    Args:
        text_column, label_column: names, or numbers from 1 (default: found by their usual names); several text columns,
            separated by commas, are joined by newlines.
        pair_column: name or number of the column of the second text: inputs are then pairs of texts.
        header: whether the first line of a CSV or TSV names its columns (default: guessed; it does not if all columns are
            given by number).
        multi_label: read lists, and split strings: a JSON list, otherwise at "|", otherwise at "," (default: whether there
            is a list, or a line with several `__label__NAME`).
        skip_unlabeled: leave out examples without a label; their number is logged.
        known_labels: labels of the training set.
        unknown_labels: whether other labels are refused, or read and count as wrong.
        label_separator: where the label of a line ends (default: at the tab if all lines have one, otherwise at the first
            white space).

    Raises:
        UserError: a column or a label is missing, a label is not among `known_labels`, a record is malformed, or there are
            no examples.
    """
    if is_table(path):
        found = _read_table(path, text_column, pair_column, label_column, header, encoding, labels_required)
    elif text_column or pair_column or label_column or header is not None:
        raise UserError(f"{path}: only tables (.csv, .tsv, .jsonl, .parquet) have columns to choose from")
    elif Path(path).is_dir():
        found = LabeledRows(read_class_folders(Path(path), encoding), lambda number: f"{path}, file {number}")
    else:
        found = read_labeled_lines(existing_file(Path(path)), encoding, label_separator)
    rows = list(found.rows)
    if not rows:
        raise UserError(f"{path}: no example in it")
    several = any(isinstance(value, list) for _, _, value in rows) if multi_label is None else multi_label
    examples: list[LabeledExample] = []
    unlabeled: list[int] = []
    empty: list[str] = []
    for number, text, value in rows:
        try:
            labels = labels_of(split_labels(value) if multi_label else value, several)
            if known_labels is not None and unknown_labels == "error":
                need_known_labels(labels or (), known_labels)
        except BadLabel as error:
            hint = (
                f"; add {setting('header', True)} if this line names the columns"
                if found.header_is_doubtful and not examples
                else ""
            )
            kind = UnknownLabel if isinstance(error, UnknownName) else UserError
            raise kind(f"{found.place(number)}: {error}{hint}") from None
        if labels is None and skip_unlabeled:
            unlabeled.append(number)
            continue
        if labels is None and labels_required:
            raise UserError(
                f"{found.place(number)}: this example has no label; {setting('skip_unlabeled', True)} leaves such examples out"
            )
        examples.append(LabeledExample(text, labels or (), number))
        if has_empty_text(text):
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
    names = ordered_names(label for each in examples for label in each.labels)
    return ExampleSet(examples, str(path), names, several, found.place)


def example_set(texts: Sequence[Any], labels: Sequence[Any], source: str = "the given texts") -> ExampleSet:
    """Make a data set of texts, or pairs of texts, and labels in memory; see `labeled_set`.

    Raises:
        UserError: the numbers of texts and labels differ, or an item is not a text or label; the message has its index.
    """
    examples = labeled_set(text_inputs(texts), labels, source, noun="text")
    empty = [examples.place(each.number) for each in examples.examples if has_empty_text(each.input)]
    _say_empty(empty, logging.WARNING)  # Python shows warnings by default
    return examples


def stream_texts(
    path: str | Path, *, text_column: str | None = None, header: bool | None = None, encoding: str = "utf-8"
) -> Iterator[str]:
    """Yield the texts of a table or hub data set, or the lines of any other file, including empty ones.

    Raises:
        UserError: immediately if the file is missing; while reading if a record is malformed; at the end if there was no text.
    """
    if not is_hub(path):
        existing_file(Path(path))
    return _texts(path, text_column, header, encoding)


def stream_pairs(
    path: str | Path,
    *,
    pair_column: str,
    text_column: str | None = None,
    header: bool | None = None,
    encoding: str = "utf-8",
) -> Iterator[TextPair]:
    """Yield the pairs of texts of a table or hub data set, including empty texts; arguments as for `read_examples`.

    Raises:
        UserError: immediately if the file is missing or is no table; while reading if a record is malformed.
    """
    if not is_table(path):
        raise UserError(f"{path}: only tables (.csv, .tsv, .jsonl, .parquet) have columns to choose from")
    found = _read_table(path, text_column, pair_column, None, header, encoding, labels_required=False)
    return (text for _, text, _ in found.rows if isinstance(text, tuple))


def _read_table(
    path: str | Path,
    text_column: str | None,
    pair_column: str | None,
    label_column: str | None,
    header: bool | None,
    encoding: str,
    labels_required: bool,
) -> LabeledRows:
    wanted = [*wanted_columns(text_column), *(name for name in (pair_column, label_column) if name)]
    table = open_table(path, encoding, wanted, header)
    label = find_label_column(table, label_column, required=labels_required)
    columns = find_text_columns(table, text_column, label)
    if label in columns:
        raise UserError(f"{path}: the column {label!r} cannot be both the text and the label")
    pair = [find_column(table, pair_column, "pair_column")] if pair_column else []
    if {*pair} & {*columns, label}:
        other = "the label" if label in pair else f"the text: name that with {setting('text_column')}"
        raise UserError(
            f"{path}: the column {pair[0]!r} cannot be both the second text of a pair and {other}"
        )

    def rows() -> Iterator[tuple[int, TextInput, object]]:
        names = table.class_names.get(label) if label else None
        n = len(columns)
        for number, values in table.rows([*columns, *pair, *([label] if label else [])]):
            text = read_text(table, number, columns, values[:n])
            both = (text, read_text(table, number, pair, values[n : n + 1])) if pair else None
            value = values[-1] if label else None
            yield number, both or text, value if names is None else class_names(value, names)

    if label is None:
        warn_of_header(table)
    advice = (
        f"they are in column {label} of {len(table.columns)}; add {setting('label_column', str(label))} if these are the labels, "
        "or the number of the column that holds them"
    )
    is_named = bool(label_column) or table.has_header
    return LabeledRows(
        rows(),
        table.place,
        "" if is_named else advice,
        is_table=True,
        header_is_doubtful=table.header_is_doubtful,
    )


def _texts(path: str | Path, text_column: str | None, header: bool | None, encoding: str) -> Iterator[str]:
    if is_table(path):
        texts = table_texts(path, text_column, header, encoding)
    else:
        texts = without_labels((line.rstrip("\n") for line in read_lines(Path(path), encoding)), path)
    empty = True
    for text in texts:
        empty = False
        yield text
    if empty:
        raise UserError(f"{path}: no text in it")


def _need_no_ids(path: str | Path, examples: Sequence[LabeledExample], advice: str) -> None:
    """Refuse guessed labels that are nearly all different, like ids, or mostly occur once, like the first words of plain text."""
    counts = Counter(example.labels for example in examples if example.labels)
    n_labels, n_classes = counts.total(), len(counts)
    all_differ = FEW <= n_labels == n_classes
    if all_differ or (n_labels >= 5 * FEW and 2 * n_classes > n_labels):
        raise UserError(
            f"{path}: {n_classes:,} different labels in {n_labels:,} examples, as ids are: {advice}"
        )
    n_single = sum(count == 1 for count in counts.values())
    if n_classes > MOST_SINGLE_LABELS and 2 * n_single > n_classes:
        raise UserError(
            f"{path}: {n_single:,} of {n_classes:,} labels occur in a single example, as the words of plain text do: {advice}"
        )


def _need_no_header(
    examples: Sequence[LabeledExample], found: LabeledRows, place: str, known: Collection[str]
) -> None:
    """Refuse a first line whose label occurs nowhere else, like that of a header, unless `header` is given."""
    labels, text = examples[0].labels, single_texts([examples[0].input])[0]
    others = {*known, *(label for example in examples[1:] for label in example.labels)}
    usual = text.strip().lower() in TEXT_COLUMNS and all(label.lower() in LABEL_COLUMNS for label in labels)
    doubtful = found.header_is_doubtful if found.is_table else usual
    if not labels or not doubtful or not others.isdisjoint(labels):
        return
    message = f"{place}: the label {', '.join(labels)!r} occurs in this line alone"
    if not found.is_table:
        raise UserError(
            f"{message}, like a column's name: remove it, or give the file as a table (.csv, .tsv)"
        )
    advice = f"add {setting('header', True)} if this line names the columns, or {setting('header', False)} if it is an example"
    if len(examples) > 2 or usual:
        raise UserError(f"{message}: {advice}")
    logger.warning(Notice(f"{message}; {advice}"))


def _say_empty(places: Sequence[str], level: int) -> None:
    if places:
        more = f", as in {len(places) - 1:,} more" if len(places) > 1 else ""
        logger.log(level, "%s: the text is empty%s", places[0], more)
