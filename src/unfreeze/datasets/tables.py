"""Read tables (CSV, TSV, JSON lines, Parquet, hub data sets) record by record.

Memory is bounded by the first megabyte, the longest record or one Parquet batch. Every error names the file and the line
(the row, if the format has no lines). pyarrow and datasets (extra `data`) are imported on first use.
"""

from __future__ import annotations

import csv
import logging
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, count, islice
from pathlib import Path
from typing import TypeVar

from unfreeze.checked import parse_json
from unfreeze.datasets.labels import MISSING, kind_of_value
from unfreeze.datasets.lines import COMPRESSIONS, existing_file, plain_suffix, read_lines, unreadable
from unfreeze.errors import Notice, UserError, import_extra, setting

TABLES = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "json",
    ".ndjson": "json",
    ".json": "json",
    ".parquet": "parquet",
}
TEXT_COLUMNS = tuple(
    "text sentence review content body document comment tweet message utterance "
    "review_text reviewtext review_body description question query title".split()
)
LABEL_COLUMNS = tuple(
    "label labels class category sentiment target intent topic polarity emotion classes categories topics "
    "stars rating score tag tags genre genres".split()
)

T = TypeVar("T")
Row = tuple[int, tuple[object, ...]]
"""The number of a row, from 1 (its first line, if there are lines), and its values in the requested columns."""

_HUB = re.compile(r"hf:(?P<name>[^@:]+)(@(?P<revision>[^:]+))?(:(?P<first>[^:]*))?(:(?P<second>[^:]+))?")
_SPLIT = re.compile(r"(train|validation|valid|val|dev|test|unsupervised|unlabeled)\b")
_INTEGER = re.compile(r"\s*[+-]?\d+\s*")
_PLAIN_NAME = re.compile(r"([^\W\d][\w.-]*)?")
"""A column name as programs write it; empty for the index of a data frame."""

FEW = 4
"""Numbers or labels that are all different are taken for ids if there are at least this many records."""

_log = logging.getLogger(__name__)


class EmptyTable(UserError):
    """A table has no records; readers of several files can continue with the next one."""

    def __init__(self, source: object) -> None:
        super().__init__(f"{source}: the file is empty")


@dataclass(frozen=True)
class Table:
    """Records with named columns. They can be read once, from beginning to end."""

    source: str
    columns: list[str]
    rows: Callable[[Sequence[str]], Iterator[Row]]
    """Yields each record's values in some of `columns`."""
    has_lines: bool = True
    has_header: bool = True
    class_first: bool = False
    """There is no header, and the first of several columns contains only integers (as in Zhang et al. 2015)."""
    ids_first: bool = False
    """The same, but the integers are all different: they number the records and are not classes."""
    first_line: Sequence[str] = ()
    """The cells of the first line of a CSV or TSV."""
    header_is_doubtful: bool = False
    """The first line is read as a record only because columns are given by number."""
    class_names: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """For columns of class numbers, and for fields of columns of records: the names of the classes, if the data set has them."""

    def place(self, number: int) -> str:
        """Names a row for an error message."""
        return f"{self.source}:{number}" if self.has_lines else f"{self.source}, row {number}"


def is_hub(source: str | Path) -> bool:
    """Whether `source` is a hub data set (`hf:owner/name...`) rather than a file."""
    return str(source).startswith("hf:")


def is_table(source: str | Path) -> bool:
    """Whether `source` is a table, by its name; any other file is plain text."""
    return is_hub(source) or plain_suffix(Path(source)) in TABLES


def open_table(
    source: str | Path,
    encoding: str = "utf-8",
    columns_asked: Sequence[str] = (),
    header: bool | None = None,
) -> Table:
    """Open a table.

    Args:
        columns_asked: the columns that the caller will read, by name or number.
        header: whether the first line of a CSV or TSV names its columns (default: guessed from the line and from
            `columns_asked`).

    Raises:
        EmptyTable: it has no records.
        UserError: it is missing, cannot be read, or it is unclear whether the first line is a header.
    """
    if is_hub(source):
        return _open_hub(str(source))
    path = existing_file(Path(source))
    kind = TABLES[plain_suffix(path)]
    if kind == "json":
        return _open_json_lines(path, encoding)
    if kind == "parquet":
        return _open_parquet(path)
    return _open_delimited(path, encoding, columns_asked, header, tabs=kind == "tsv")


def _peek(records: Iterator[T], path: Path) -> tuple[list[T], Iterator[T]]:
    """The first records (at most 100, or about a megabyte), and an iterator over all records."""
    head: list[T] = []
    size = 0
    while len(head) < 100 and size < 1_000_000 and (record := next(records, None)) is not None:
        head.append(record)
        size += len(str(record))
    if not head:
        raise EmptyTable(path)
    return head, chain(head, records)


def _open_delimited(
    path: Path, encoding: str, columns_asked: Sequence[str], header: bool | None, tabs: bool
) -> Table:
    """CSV, with or without a header, or TSV. Without a header the columns are called "1", "2", ...

    If `header` is None, there is a header if columns are requested by name, and none if all are requested by number.
    Otherwise the first row is a header if it contains a usual name of a text or label column and no number. A CSV
    whose first line has semicolons and no comma is separated by semicolons. In a TSV each line is a row; quotes are
    removed if they enclose a whole field, and are ordinary characters otherwise. Only in a line with another number of
    fields than the first does a quote at the beginning of a field enclose tabs and line ends, as in CSV.
    """
    lines = read_lines(path, encoding)
    head, records = _peek(_tab_separated(lines) if tabs else _comma_separated(lines, path), path)
    first = head[0][1]
    has_header = _guess_header(head, columns_asked, path) if header is None else header
    columns = [cell.strip() if has_header and cell.strip() else str(i) for i, cell in enumerate(first, 1)]
    if twice := [column for column in columns if columns.count(column) > 1]:
        raise UserError(f"{path}:1: the header names the column {twice[0]!r} twice")
    numbered = not has_header and len(first) > 1 and all(_INTEGER.fullmatch(row[0]) for _, row in head)
    all_differ = numbered and len(head) >= FEW and len({row[0].strip() for _, row in head}) == len(head)
    by_number = header is None and not has_header and bool(columns_asked)
    data = islice(records, int(has_header), None)

    def rows(chosen: Sequence[str]) -> Iterator[Row]:
        indices = [columns.index(column) for column in chosen]
        for line, row in data:
            if len(row) != len(columns):
                advice = f"{len(columns)} in the first row; a field that holds the separator needs quotes"
                raise UserError(f"{path}:{line}: {len(row)} fields, but {advice}")
            yield line, tuple(row[index] for index in indices)

    return Table(
        str(path),
        columns,
        rows,
        has_header=has_header,
        class_first=numbered and not all_differ,
        ids_first=all_differ,
        first_line=first,
        header_is_doubtful=by_number and not any(map(_INTEGER.fullmatch, first)),
    )


def _comma_separated(lines: Iterator[str], path: Path) -> Iterator[tuple[int, list[str]]]:
    csv.field_size_limit(sys.maxsize)  # 131,072 characters by default: less than one long document
    first = next(lines, "")
    delimiter = ";" if ";" in first and "," not in first else ","
    reader = csv.reader(chain([first], lines), delimiter=delimiter, strict=True)
    line = 1
    try:
        for row in reader:
            if row:
                yield line, row
            line = reader.line_num + 1
    except csv.Error as error:
        raise UserError(f"{path}:{line}: not CSV: {error} (a quote not closed, or not doubled?)") from None


def _tab_separated(lines: Iterator[str]) -> Iterator[tuple[int, list[str]]]:
    csv.field_size_limit(sys.maxsize)
    number = width = 0
    for line in lines:
        number += 1
        if line == "\n":
            continue
        cells = line.rstrip("\n").split("\t")
        width = width or len(cells)
        if len(cells) == width or not any(cell.startswith('"') for cell in cells):
            yield number, [_unquoted(cell) for cell in cells]
            continue
        reader = csv.reader(chain([line], lines), delimiter="\t", strict=True)
        try:
            yield number, next(reader)
        except csv.Error:
            yield number, cells  # a wrong number of fields, which is reported when the row is used
        number += reader.line_num - 1


def _unquoted(cell: str) -> str:
    inner = cell[1:-1]
    enclosed = len(cell) >= 2 and cell[0] == cell[-1] == '"' and '"' not in inner.replace('""', "")
    return inner.replace('""', '"') if enclosed else cell


def _guess_header(head: Sequence[tuple[int, list[str]]], columns_asked: Sequence[str], path: Path) -> bool:
    if columns_asked:
        return not all(_INTEGER.fullmatch(name) for name in columns_asked)
    row = head[0][1]
    if not holds_usual_name(row) or any(map(_INTEGER.fullmatch, row)):
        return False
    usual = [column for column, cell in enumerate(row) if holds_usual_name([cell])]
    values = {records[usual[0]] for _, records in head[1:] if len(records) > usual[0]}
    if len(usual) == 1 and row[usual[0]] in values:
        raise UserError(
            f"{path}:1: {row[usual[0]]!r} may name the column or be a value of it, as in later lines: "
            f"add {setting('header', True)} if this line names the columns, {setting('header', False)} if it does not"
        )
    if not all(_PLAIN_NAME.fullmatch(cell.strip()) for cell in row):
        _log.warning(
            Notice(
                f"{path}: the first line is read as the names of the columns; {setting('header', False)} reads it as data"
            )
        )
    return True


def holds_usual_name(row: Sequence[str]) -> bool:
    """Whether any cell is a usual name of a column of texts or labels."""
    return not {cell.strip().lower() for cell in row}.isdisjoint(TEXT_COLUMNS + LABEL_COLUMNS)


def _open_json_lines(path: Path, encoding: str) -> Table:
    """JSON lines, one object per line; the columns are the keys of the first records, in order of appearance."""
    head, records = _peek(_json_objects(read_lines(path, encoding), path), path)

    def rows(chosen: Sequence[str]) -> Iterator[Row]:
        for number, record in records:
            yield number, tuple(record.get(column, MISSING) for column in chosen)

    return Table(str(path), list(dict.fromkeys(key for _, record in head for key in record)), rows)


def _json_objects(lines: Iterator[str], path: Path) -> Iterator[tuple[int, dict[str, object]]]:
    for number, line in enumerate(lines, 1):
        if line.isspace():
            continue
        record = parse_json(line, path, "every line must hold one JSON object", line=number)
        if not isinstance(record, dict):
            advice = 'every line must hold one object, such as {"text": "...", "label": "..."}'
            raise UserError(f"{path}:{number}: a JSON {kind_of_value(record)}; {advice}")
        yield number, record


def _open_parquet(path: Path) -> Table:
    """Parquet, read in batches, and only the requested columns."""
    if path.suffix.lower() in COMPRESSIONS:
        raise UserError(f"{path}: Parquet is compressed in itself; decompress the file first")
    parquet = import_extra("pyarrow", "data", "pyarrow.parquet")
    errors: tuple[type[Exception], ...] = (OSError, import_extra("pyarrow", "data").ArrowException)
    try:
        file = parquet.ParquetFile(path)
    except errors as error:
        raise unreadable(path, error) from None
    if not file.metadata.num_rows:
        raise EmptyTable(path)

    def rows(chosen: Sequence[str]) -> Iterator[Row]:
        numbers = count(1)
        try:
            for batch in file.iter_batches(batch_size=1024, columns=list(chosen)):
                values = [batch.column(column).to_pylist() for column in chosen]
                for row in zip(*values, strict=True):
                    yield next(numbers), row
        except errors as error:
            raise unreadable(path, error) from None

    return Table(str(path), list(file.schema_arrow.names), rows, has_lines=False)


def _open_hub(source: str) -> Table:
    """A data set of the Hugging Face hub, streamed: `hf:owner/name[@revision][:config][:split]`.

    A single part after the name is a split if it has the name of one (train, validation, test, ...), otherwise a
    configuration; in `hf:owner/name::part` it is always a split. The default split is train.
    """
    match = _HUB.fullmatch(source)
    if match is None:
        raise UserError(f"{source!r} is not a hub data set: write hf:owner/name[@revision][:config][:split]")
    config, split = match["first"] or None, match["second"]
    if config and split is None and _SPLIT.match(config):
        config, split = None, config
    datasets = import_extra("datasets", "data")
    errors = (OSError, ValueError, RuntimeError)
    try:
        data = datasets.load_dataset(
            match["name"], config, split=split or "train", revision=match["revision"], streaming=True
        )
        for column, feature in (data.features or {}).items():
            if type(feature).__name__ == "Image":  # the bytes of files, which are read when they are needed
                data = data.cast_column(column, type(feature)(decode=False))
        records = iter(data)
        first = next(records, None)
    except errors as error:
        raise _hub_error(source, error) from None
    if first is None:
        raise EmptyTable(source)

    def rows(chosen: Sequence[str]) -> Iterator[Row]:
        try:
            for number, record in enumerate(chain([first], records), 1):
                yield number, tuple(record.get(column, MISSING) for column in chosen)
        except errors as error:
            raise _hub_error(source, error) from None

    # `datasets` gives ClassLabel features, or lists of them, the names of their classes.
    features = {column: getattr(found, "feature", found) for column, found in (data.features or {}).items()}
    for column, found in list(
        features.items()
    ):  # the fields of a column of records, such as objects.category
        if isinstance(found, Mapping):
            inner = {f"{column}.{key}": getattr(each, "feature", each) for key, each in found.items()}
            features.update(inner)
    names = {column: found.names for column, found in features.items() if hasattr(found, "names")}
    return Table(source, list(first), rows, has_lines=False, class_names=names)


def _hub_error(source: str, error: Exception) -> UserError:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return UserError(f"{source}: the data set cannot be read: {reason}")
