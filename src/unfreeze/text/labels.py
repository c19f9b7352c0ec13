"""What the value of a label's column stands for, as files and Python hold it: one label, several, or none."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence

from unfreeze.checked import NotJson, read_json, shown, whole_number
from unfreeze.text.records import MISSING, is_null, kind_of_value

FASTTEXT = "__label__"
"""How fastText's labels begin."""


class BadLabel(ValueError):
    """A label that cannot be one; says why."""


class UnknownName(BadLabel):
    """A label that training lacked."""


def labels_of(value: object, multi_label: bool) -> tuple[str, ...] | None:
    """The labels that a value stands for; None where it stands for none.

    Raises:
        BadLabel: it is no string or number, or holds several labels though an example takes one.
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
    """Raise UnknownName for a label that training lacked."""
    for label in labels:
        if label not in known:
            names = ", ".join(list(known)[:10]) + (", ..." if len(known) > 10 else "")
            raise UnknownName(f"the label {label!r}, which training lacked (it had {names})")


def split_labels(value: object) -> object:
    """The list that a cell of several labels stands for, in JSON, else between "|", else between commas; other values as they are."""
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
    """Several labels in one cell, as `read_examples` splits them: joined by "|", or a JSON list where that would not do."""
    ambiguous = any(mark in label for label in labels for mark in "|,[")
    return json.dumps(labels, ensure_ascii=False) if ambiguous else "|".join(labels)


def as_read(value: object) -> object:
    """A label from Python as a file would give it: numbers and arrays of NumPy become Python's, sets become lists.

    Truth values keep their names in Python, "True" and "False", which are also what data frames write into a CSV.
    """
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, (tuple, set, frozenset)):
        value = list(value)
    return [as_read(item) for item in value] if isinstance(value, list) else value


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


def ordered_names(labels: Iterable[str]) -> tuple[str, ...]:
    """Each label once, in the order of numbers where all are whole numbers."""
    names = set(labels)
    if all(name.removeprefix("-").isdecimal() for name in names):
        return tuple(sorted(names, key=_number_order))
    return tuple(sorted(names))


def _number_order(name: str) -> tuple[bool, int, str]:
    """By their value; numbers of thousands of digits, which Python does not read, stand behind the others."""
    number = whole_number(name)
    return number is None, number or 0, name
