"""Find the text columns of a table, and read their texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from unfreeze.datasets.columns import find_column, no_column, resolve, wanted_columns, warn_of_header
from unfreeze.datasets.labels import MISSING, is_null, kind_of_value
from unfreeze.datasets.tables import TEXT_COLUMNS, Table, open_table
from unfreeze.errors import UserError
from unfreeze.text.words import without_surrogates


def table_texts(
    source: str | Path, text_column: str | None, header: bool | None, encoding: str
) -> Iterator[str]:
    """Yield the text of each record of a table.

    Raises:
        EmptyTable: it holds no record.
        UserError: a column is missing, or a record is malformed.
    """
    table = open_table(source, encoding, wanted_columns(text_column), header)
    columns = find_text_columns(table, text_column)
    warn_of_header(table)
    for number, values in table.rows(columns):
        yield read_text(table, number, columns, values)


def find_text_columns(table: Table, wanted: str | None = None, taken: str | None = None) -> list[str]:
    """Return the columns of the text.

    Without a header and `wanted`, the text is the only column besides the label, or all columns after a first column of
    integers (which is the class, unless all are different).

    Args:
        wanted: names (in any case) or numbers from 1, separated by commas (default: the column with a usual name).
        taken: the label column.

    Raises:
        UserError: there is no such column.
    """
    if wanted is not None:
        names = [wanted] if resolve(table, wanted) else [name.strip() for name in wanted.split(",")]
        return [find_column(table, name, "text_column") for name in names]
    class_first = table.class_first or (table.ids_first and taken == table.columns[0])
    free = [column for column in table.columns[class_first or table.ids_first :] if column != taken]
    if not table.has_header and (class_first or len(free) == 1):
        return free
    by_name = [column for name in TEXT_COLUMNS for column in free if column.lower() == name]
    if not by_name:
        raise no_column(table, "text", TEXT_COLUMNS)
    return by_name[:1]


def read_text(table: Table, number: int, columns: Sequence[str], values: Sequence[object]) -> str:
    """The text of a record: its non-empty text columns, joined by newlines (null and NaN count as empty).

    Raises:
        UserError: the record has none of the columns, or a value that is not text.
    """
    if all(value is MISSING for value in values):
        raise UserError(f"{table.place(number)}: this record has no {columns[0]!r}")
    parts = [_as_text(table, number, column, value) for column, value in zip(columns, values, strict=True)]
    return parts[0] if len(parts) == 1 else "\n".join(part for part in parts if part)


def _as_text(table: Table, number: int, column: str, value: object) -> str:
    if isinstance(value, str):
        return without_surrogates(value)
    if value is MISSING or is_null(value):
        return ""
    if isinstance(value, (int, float)):
        return str(value)
    raise UserError(f"{table.place(number)}: column {column!r} holds a {kind_of_value(value)}, not text")
