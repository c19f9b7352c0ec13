"""Standard input in any encoding, outputs that exist already, and models of the wrong kind."""

from __future__ import annotations

import gzip
import io
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from unfreeze.commands.arguments import as_option
from unfreeze.commands.inputs import need_new
from unfreeze.commands.options import PlotOptions, TextArguments
from unfreeze.datasets.lines import standard_lines
from unfreeze.errors import UserError


def type_in(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    """Standard input of a terminal whose encoding is no Unicode."""
    monkeypatch.setattr(
        sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(content)), encoding="ascii")
    )


def given_texts(*texts: str, encoding: str = "utf-8") -> Iterator[str]:
    return TextArguments(model="model", texts=texts, encoding=encoding).given_texts()


def test_standard_input_is_utf8_without_its_mark_whatever_the_terminal_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    type_in(monkeypatch, "\ufeffcafé\r\nzwei\n".encode())
    assert list(given_texts("-")) == ["café", "zwei"]
    type_in(monkeypatch, "café\n".encode("latin-1"))
    assert list(given_texts("a", "-", encoding="latin-1")) == ["a", "café"]


@pytest.mark.parametrize(
    ("content", "encoding", "said"),
    [
        (b"a\nb\ncaf\xe9\nd\n", "utf-8", "line 3: not utf-8: byte 0xe9; name its encoding, such as --encoding latin-1"),
        (b"it\x92s\n", "utf-8", "line 1: not utf-8: byte 0x92; name its encoding, such as --encoding cp1252"),
        (b"a\ncaf\xe9\n", "ascii", "line 2: not ascii: byte 0xe9; name its encoding, such as --encoding latin-1"),
        (b"a\n" * 9000 + b"\xe9\n", None, "line 9001: not utf-8: byte 0xe9; convert it"),
        (b"a\ncaf\xc3\xa9\n", "ascii", "line 2: not ascii: byte 0xc3; name its encoding, such as --encoding utf-8"),
        (b"a\x92\x81\n", "utf-8", "line 1: not utf-8: byte 0x92; name its encoding with --encoding"),
        ("a\n".encode("utf-16"), "utf-8", "line 1: not utf-8: byte 0xff; name its encoding, such as --encoding utf-16"),
        (b"a\0\n", "utf-8", "line 1: a NUL byte: not a text, or one that needs --encoding utf-16"),
        (b"a\nb\0\n", None, "line 2: a NUL byte: not a text"),
    ],
)  # fmt: skip
def test_other_bytes_on_standard_input_are_told_with_their_line(
    content: bytes, encoding: str | None, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    type_in(monkeypatch, content)
    with pytest.raises(UserError) as caught:
        list(standard_lines(encoding))
    assert caught.value.written(as_option) == f"standard input, {said}"


def test_standard_input_is_read_as_files_are(monkeypatch: pytest.MonkeyPatch) -> None:
    type_in(monkeypatch, "\ufeffone\n\ufefftwo\nth\ufeffree".encode())
    assert list(standard_lines()) == ["one\n", "two\n", "th\ufeffree"]
    type_in(monkeypatch, "café\nzwei".encode("utf-16"))
    assert list(standard_lines("utf-16")) == ["café\n", "zwei"]
    type_in(monkeypatch, gzip.compress(b"a\n"))
    with pytest.raises(UserError, match="^standard input is compressed by gzip: decompress it first$"):
        list(standard_lines("utf-8"))
    type_in(monkeypatch, b"abc\n")
    with pytest.raises(UserError, match="^standard input: not utf-16; name its encoding with encoding$"):
        list(standard_lines("utf-16"))


def test_standard_input_that_is_closed_or_asked_for_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="can be read only once"):
        given_texts("-", "-")
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(UserError, match="standard input is closed"):
        list(given_texts("-"))


def test_what_exists_is_replaced_when_asked_only(tmp_path: Path) -> None:
    there = tmp_path / "a.png"
    there.touch()
    with pytest.raises(UserError) as caught:
        need_new(there, overwrite=False)
    assert str(caught.value) == f"--output {there} exists: take another name, or add --overwrite"
    with pytest.raises(UserError, match=r"^--plot .* exists"):
        PlotOptions(plot=there).need_picture()
    need_new(there, overwrite=True)
    PlotOptions(plot=there, overwrite=True).need_picture()
    need_new(tmp_path / "new", overwrite=False)
    PlotOptions().need_picture()
