"""What files and options hold is checked: JSON of any depth, and values against types."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from unfreeze.checked import (
    need_call,
    need_fields,
    need_type,
    parse_json,
    read_json_file,
    shown,
    whole_number,
)
from unfreeze.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Inner:
    """A part."""

    kind: str
    more: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Outer:
    """A whole."""

    inner: Inner
    size: int = 3


class Module:
    """Made of checked arguments."""

    def __init__(
        self,
        own: str,
        *,
        size: int,
        share: float = 0.5,
        name: Literal["a", "b"] | None = None,
        inner: Inner | None = None,
    ) -> None:
        self.own = own


def said(run: Any, *arguments: Any, **named: Any) -> str:
    with pytest.raises(UserError) as caught:
        run(*arguments, **named)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_json_that_cannot_be_read_is_one_line_with_its_place(tmp_path: Any) -> None:
    assert parse_json('{"a": [1, 2.5, "ü"]}', "f", "x") == {"a": [1, 2.5, "ü"]}
    assert (
        said(parse_json, '{"a":\n  b}', "f", "write JSON") == "f:2:3: not JSON: Expecting value; write JSON"
    )
    assert said(parse_json, '{"a": b}', "f", "x", line=7).startswith("f:7:7: not JSON")
    assert said(parse_json, b'{"a": "\xff"}', "f", "x").startswith("f: not JSON: not UTF-8 at byte offset 7")
    for deep in ("[" * 100_000, '{"a":' * 100_000, "[" * 100_000 + "]" * 100_000):
        assert (
            said(parse_json, deep, "f", "x", line=7)
            == "f:7: lists or objects are nested too deeply to be read; x"
        )
    assert said(parse_json, "9" * 5000, "f", "x") == "f: a number has more than 4,300 digits; x"
    assert parse_json("9" * 4300, "f", "x") == 10**4300 - 1
    assert said(read_json_file, tmp_path / "none.json").endswith(
        "none.json is missing: the saved model is incomplete"
    )
    assert "cannot be read: Is a directory" in said(read_json_file, tmp_path)


@pytest.mark.parametrize(
    ("value", "hint", "fits"),
    [
        (3, int, True),
        (True, int, False),
        (3.0, int, False),
        (3, float, True),
        (True, float, False),
        (math.nan, float, False),
        (math.inf, float, False),
        (10**400, float, False),
        (10**400, int, True),
        ("a", str, True),
        (None, str, False),
        (None, str | None, True),
        ("a", Literal["a", 1], True),
        (True, Literal["a", 1], False),
        ([], Literal["a"], False),
        ([1, 2], list[int], True),
        ([1, True], list[int], False),
        ("12", list[str], False),
        ([[1, 2], [3]], list[list[int]], True),
        ([1, 2.5], tuple[int, float], True),
        ([1], tuple[int, float], False),
        ([1, 2, 3], tuple[int, ...], True),
        ({"a": 1}, dict[str, int], True),
        ({"a": "b"}, dict[str, int], False),
        ({"a": []}, dict[str, Any], True),
    ],
)
def test_values_are_of_a_type_or_not(value: object, hint: object, fits: bool) -> None:
    if fits:
        need_type(value, hint, "here")
    else:
        assert said(need_type, value, hint, "here").startswith("here is ")


def test_fields_are_needed_and_others_may_stand_beside_them() -> None:
    need_fields({"inner": {"kind": "a", "unknown": 1}, "unknown": 2}, Outer, "f")
    for values, message in (
        ({}, "f lacks 'inner': the file is damaged"),
        ({"inner": {}}, "f lacks 'inner.kind': the file is damaged"),
        ({"inner": {"kind": 3}}, "f: inner.kind is 3, not a string"),
        ({"inner": {"kind": "a", "more": [1]}}, "f: inner.more is a list, not an object"),
        ({"inner": "x"}, "f: inner is 'x', not an object"),
        ({"inner": {"kind": "a"}, "size": None}, "f: size is null, not a whole number"),
    ):
        assert said(need_fields, values, Outer, "f") == message


def test_calls_are_checked_before_they_are_made() -> None:
    need_call(Module, "f", "own", size=3, share=1, name=None)
    assert said(need_call, Module, "f", "own", size="x") == "f: size is 'x', not a whole number"
    assert said(need_call, Module, "f", "own", size=1, name="c") == "f: name is 'c', not 'a' or 'b' or null"
    need_call(Module, "f", "own", size=3, inner=Inner(kind="a"))
    assert said(need_call, Module, "f", "own", size=3, inner={"kind": "a"}).startswith(
        "f: inner is an object"
    )
    for wrong in ({}, {"size": 1, "wings": 2}, {"size": 1, "own": "twice"}):
        assert "upgrade" in said(need_call, Module, "f", "own", **wrong)


def test_wrong_values_are_shown_in_a_line() -> None:
    assert [shown(value) for value in (None, True, [1], {"a": 1}, "a", 2.5)] == [
        "null",
        "true",
        "a list",
        "an object",
        "'a'",
        "2.5",
    ]
    assert shown("9" * 5000) == "'" + "9" * 39 + "..."
    assert whole_number("-12") == -12 and whole_number("9" * 5000) is None and whole_number("x") is None
