"""Find the columns of a table, which are given by name or number or have usual names."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from unfreeze.checked import shown, whole_number
from unfreeze.datasets.tables import (
    LABEL_COLUMNS,
    Table,
    holds_usual_name,
)
from unfreeze.display import cut
from unfreeze.errors import Notice, UserError, setting

_log = logging.getLogger(__name__)


def wanted_columns(*options: str | None) -> list[str]:
    """The columns that settings name; each setting may name several, separated by commas."""
    return [name for option in options if option for name in option.split(",")]


def warn_of_header(table: Table) -> None:
    """Warn if the first line is read as data although it holds a usual column name."""
    if table.header_is_doubtful and holds_usual_name(table.first_line):
        _log.warning(
            Notice(
                f"{table.source}: the first line ({_shown_cells(table.first_line)}) is read as data, because columns are given "
                f"by number; add {setting('header', True)} if it names the columns, or {setting('header', False)} to confirm"
            )
        )


def find_label_column(table: Table, wanted: str | None, *, required: bool = True) -> str | None:
    """Return the label column: `wanted` (name or number), or a column with a usual name, or None.

    Raises:
        UserError: there is no column `wanted`, or none at all and one is `required`.
    """
    if wanted is not None:
        return find_column(table, wanted, "label_column")
    by_name = [column for name in LABEL_COLUMNS for column in table.columns if column.lower() == name]
    found = table.columns[:1] if table.class_first else by_name[:1]
    if not found and required and table.ids_first:
        raise UserError(
            f"{table.source}: no header says which column is the label, and column 1 holds another number in each row, "
            f"as ids do; the first line holds {_shown_cells(table.first_line)}: name the columns by number with "
            f"{setting('text_column')} and {setting('label_column')} ({setting('label_column', '1')} takes these numbers for the "
            "labels)"
        )
    if not found and required:
        raise no_column(table, "label", LABEL_COLUMNS)
    return found[0] if found else None


def find_column(table: Table, wanted: str, field: str) -> str:
    """The column of a name, in any case, or a number from 1, given as the setting `field`; raises UserError if there is none."""
    column = resolve(table, wanted)
    if column is None:
        raise UserError(f"{table.source}: no column {shown(wanted)} for {setting(field)}; {_listing(table)}")
    return column


def resolve(table: Table, wanted: str) -> str | None:
    """The column of a name, in any case, or a number from 1; None if there is none."""
    if wanted in table.columns:
        return wanted
    same = [column for column in table.columns if column.lower() == wanted.lower()]
    if len(same) == 1:
        return same[0]
    number = whole_number(wanted)
    known = number is not None and 1 <= number <= len(table.columns)
    return table.columns[number - 1] if number is not None and known else None


def no_column(table: Table, role: str, names: Sequence[str]) -> UserError:
    """The error if no column is found for a role, such as "label", for which columns have usual `names`."""
    if not table.has_header:
        number = 2 if table.ids_first else 1
        advice = (
            f"by its number, such as {setting(f'{role}_column', str(number))}, if this line is data, "
            "or by its name if this line is a header"
        )
        return UserError(
            f"{table.source}: no header says which of {len(table.columns)} columns is the {role}; "
            f"the first line holds {_shown_cells(table.first_line)}: name the column {advice}"
        )
    usual = ", ".join(names[:5])
    advice = f"{_listing(table)}; name one with {setting(f'{role}_column')}"
    return UserError(f"{table.source}: no {role} column is found by its name ({usual}, ...); {advice}")


def _shown_cells(cells: Sequence[str]) -> str:
    more = ", ..." if len(cells) > 10 else ""
    return ", ".join(repr(cut(cell, 40)) for cell in cells[:10]) + more


def _listing(table: Table) -> str:
    more = f" and {len(table.columns) - 20} more" if len(table.columns) > 20 else ""
    return f"the columns are {', '.join(map(repr, table.columns[:20]))}{more}"
