"""Turn a value from a label column, as files and Python hold it, into one label, several, or none."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from unfreeze.checked import NotJson, read_json, shown, whole_number
from unfreeze.errors import UserError, column_of

FASTTEXT = "__label__"
"""Prefix of labels in fastText's files."""
MISSING = object()
"""The value of a column that a record does not have at all; a null is None."""


class BadLabel(ValueError):
    """A value that cannot be a label; the message says why."""


class UnknownName(BadLabel):
    """A label that is not in the training data."""


def labels_of(value: object, multi_label: bool) -> tuple[str, ...] | None:
    """The labels in a value; None if there is none.

    Raises:
        BadLabel: it is neither a string nor a number, or holds several labels where an example takes one.
    """
    if not isinstance(value, list):
        name = _label_name(value)
        return None if name is None else (name,)
    names = {name for name in map(_label_name, value) if name is not None}
    if multi_label:
        return tuple(sorted(names))
    if len(names) > 1:
        raise BadLabel(f"{len(names)} labels where an example takes one; is this a multi-label set?")
    return tuple(names) or None


def need_known_labels(labels: Iterable[str], known: Collection[str]) -> None:
    """Raise UnknownName for a label that is not in the training data."""
    for label in labels:
        if label not in known:
            names = ", ".join(list(known)[:10]) + (", ..." if len(known) > 10 else "")
            raise UnknownName(f"the label {label!r}, which is not in the training data (it had {names})")


def split_labels(value: object) -> object:
    """Split a cell of several labels: a JSON list, else at "|", else at ","; other values are returned as they are."""
    if not isinstance(value, str) or value.startswith(FASTTEXT):
        return value
    if value.lstrip().startswith("["):
        try:
            return read_json(value)
        except NotJson as error:
            raise BadLabel(
                f"the labels {shown(value)} are not a JSON list: {str(error).removeprefix('not JSON: ')}"
            ) from None
    return list(value.split("|" if "|" in value else ","))


def join_labels(labels: Sequence[str]) -> str:
    """Join labels so that `split_labels` splits them again: by "|", or as a JSON list where that would be ambiguous."""
    ambiguous = any(mark in label for label in labels for mark in "|,[")
    return json.dumps(labels, ensure_ascii=False) if ambiguous else "|".join(labels)


def as_read(value: object) -> object:
    """Convert a label given in Python to what a file would give: NumPy values become Python's, sets become lists.

    Truth values keep their names in Python, "True" and "False", which are also what data frames write into a CSV.
    """
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, (tuple, set, frozenset)):
        value = list(value)
    return [as_read(item) for item in value] if isinstance(value, list) else value


def label_column(y: Any) -> tuple[list[Any], list[Any] | None]:
    """The labels in the argument `y` of an estimator.

    Args:
        y: a list, an iterator, an array, a Series or a data frame of one column, of labels or of lists of labels; or an
            indicator matrix (n, K) of 0 and 1, which may be a data frame or sparse.

    Returns:
        n labels or lists of labels; and the K labels of an indicator matrix, which are the columns of a data frame, else
        numbers from 0, or None.

    Raises:
        UserError: there are several columns that are no indicator matrix, or no sequence at all.
    """
    if getattr(y, "ndim", 1) != 2 or y.shape[1] == 1:
        values = list(column_of(y, "labels"))
        kinds = {type(each.item() if hasattr(each, "item") else each) for each in values}
        # As in an array, 1 and 1.0 are the same label.
        return [float(each) for each in values] if kinds == {int, float} else values, None
    columns = list(y.columns) if hasattr(y, "columns") else list(range(y.shape[1]))
    matrix = y.toarray() if hasattr(y, "toarray") else y.to_numpy() if hasattr(y, "to_numpy") else y
    rows = matrix.tolist()
    if all(isinstance(each, str) for row in rows for each in row):
        return rows, None
    if any(each not in (0, 1) for row in rows for each in row):
        raise UserError(
            f"labels have {len(columns)} columns: choose one, or give an indicator matrix of 0 and 1 if an example may have "
            "several labels"
        )
    return [[label for label, has in zip(columns, row, strict=True) if has] for row in rows], columns


def classes_of(values: Iterable[Any]) -> list[Any]:
    """The classes of labels that are in memory, as they were given, in the order of `numpy.unique`.

    Raises:
        UserError: some labels are strings and others are numbers, or two differ only in white space around them.
    """
    given: dict[str, Any] = {}
    kinds: dict[str, Any] = {}
    for value in values:
        for label in value if isinstance(value, (list, tuple, set, frozenset)) else [value]:
            kind = "string" if isinstance(label, str) else "number"
            kinds.setdefault(kind, label)
            if len(kinds) > 1:
                raise UserError(
                    f"some labels are strings, such as {kinds['string']!r}, and others are numbers, such as "
                    f"{kinds['number']!r}: give all of them as one type"
                )
            other = given.setdefault(label_name(label), label)
            if other != label:
                raise UserError(f"the labels {other!r} and {label!r} differ only in white space")
    return sorted(given.values())


def label_name(label: Any) -> str:
    """The name of one label that is in memory; "" if it is missing."""
    (name,) = labels_of(as_read(label), multi_label=False) or ("",)
    return name


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
    raise BadLabel(f"the label is a {kind_of_value(value)}, not a string or a number")


def class_names(value: object, names: Sequence[str]) -> object:
    """The names of class numbers; a negative number means that the label is not published."""
    if isinstance(value, list):
        return [class_names(number, names) for number in value]
    if not isinstance(value, int):
        return value
    return names[value] if value >= 0 else None


def ordered_names(labels: Iterable[str]) -> tuple[str, ...]:
    """Each label once, sorted; by value if all are integers."""
    names = set(labels)
    if all(name.removeprefix("-").isdecimal() for name in names):
        return tuple(sorted(names, key=_number_order))
    return tuple(sorted(names))


def _number_order(name: str) -> tuple[bool, int, str]:
    """By value; numbers of thousands of digits, which Python does not read, come last."""
    number = whole_number(name)
    return number is None, number or 0, name


def is_null(value: object) -> bool:
    """Whether a value is None, or the NaN that data frames write for it."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def kind_of_value(value: object) -> str:
    """A user's word for the type of a value read from JSON or Parquet."""
    names = {
        list: "list",
        str: "string",
        bytes: "byte string",
        bool: "truth value",
        int: "number",
        float: "number",
        dict: "record",
    }
    return "null" if value is None else names.get(type(value), type(value).__name__)
