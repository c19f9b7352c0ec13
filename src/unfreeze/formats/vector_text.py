"""Word vectors as text: a line a word; word2vec's and fastText's (.vec) with a header line, GloVe's without.

Published files are odd in many ways: words with spaces in them (so fields are counted from the right), spaces at the end
of lines, CRLF, blank last lines, a byte order mark before any line (files that were put together). The header counts
rows of the file. Fewer are an error, since that is what a truncated file looks like; more are read and counted, since
each is a sound line: writers count distinct words and repeat some.

Special here: a block of lines is parsed at once; only a block where that fails is gone through line by line, to see words
with spaces or to name the line that is broken. About 9 times as fast as gensim (python -m benchmarks --only vectors).
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from itertools import chain
from pathlib import Path
from typing import BinaryIO

import numpy as np

from unfreeze.errors import UserError
from unfreeze.formats.vector_binary import header_numbers
from unfreeze.formats.vector_blocks import Block, VectorSource, decoded
from unfreeze.formats.vector_table import Floats, LoadReport

_BLOCK = 1 << 20
"""Bytes of lines that are parsed at once."""
_LONGEST = 1 << 24
"""Bytes of a first line; a file of something else may have no line breaks at all."""
_SPACE = b" \t\r\n"
_MARK = b"\xef\xbb\xbf"
_TOO_LARGE = 2.0**128 * (1 - 2.0**-25)
"""From here on a number rounds to infinity in 32 bits."""


def text_source(
    path: Path, stream: BinaryIO, report: LoadReport, limit: int | None, only: Set[str] | None
) -> VectorSource:
    """The words of a text file, opened at its beginning; lines of words that are not in `only` are not looked at.

    Raises:
        UserError: no word vectors at all, or, on the way, the line that is broken; fewer words than the header says.
    """
    first = stream.readline(_LONGEST)
    if first.startswith(_MARK):
        report.byte_order_marks, first = 1, first.removeprefix(_MARK)
    fields = first.rstrip().split(b" ")
    header = header_numbers(fields)
    n_words, size = header or (None, _vector_size(fields))
    if size < 1 or n_words == 0:
        raise UserError(
            f"{path}, line 1: no word vectors here; expected a word and its numbers, separated by spaces (or word2vec's header)"
        )
    parser = _LineParser(path, report, size, only)
    blocks = _line_blocks(stream, b"" if header else first, limit)
    wanted = limit if n_words is None or limit is None else min(limit, n_words)
    complete = n_words if n_words is None or limit is None or limit >= n_words else None
    return VectorSource(
        size, wanted or n_words, _parsed(parser, blocks, 2 if header else 1, complete, report)
    )


def text_row(word: bytes, row: Floats) -> bytes:
    """A line with as many digits as float32 needs to come back bit by bit."""
    return word + b"".join([b" %.9g" % number for number in row.tolist()]) + b"\n"


def is_line(line: bytes, size: int) -> bool:
    """Whether it is a word and `size` numbers."""
    fields = line.rstrip(_SPACE).rsplit(b" ", size)
    return len(fields) == size + 1 and all(map(_is_number, fields[1:]))


def _vector_size(fields: list[bytes]) -> int:
    """How many numbers end the first line, of which the word is never one."""
    n = 0
    while n < len(fields) - 1 and _is_number(fields[-1 - n]):
        n += 1
    return n


def _line_blocks(stream: BinaryIO, first: bytes, limit: int | None) -> Iterator[list[bytes]]:
    """Lines, about a megabyte at a time; `first` was read already."""
    left = limit
    for lines in chain([[first]] if first else [], iter(lambda: stream.readlines(_BLOCK), [])):
        yield lines[:left]
        if left is not None:
            left -= len(lines)
            if left <= 0:
                return


def _parsed(
    parser: _LineParser,
    blocks: Iterator[list[bytes]],
    number: int,
    expected: int | None,
    report: LoadReport,
) -> Iterator[Block]:
    for lines in blocks:
        yield parser.parse(lines, number)
        number += len(lines)
    report.blank_last_lines = parser.n_blank
    if expected is not None and parser.n_lines < expected:
        raise UserError(
            f"{parser.path} has {parser.n_lines} words where its first line says {expected}: the file is truncated or damaged"
            " (if it is whole, put the right number there)"
        )
    report.beyond_header = 0 if expected is None else parser.n_lines - expected


class _LineParser:
    """Lines to words and rows, with the blank lines that are allowed at the end and nowhere else."""

    def __init__(self, path: Path, report: LoadReport, size: int, only: Set[str] | None) -> None:
        self.path, self.report, self.size = path, report, size
        self.n_lines = 0
        """With words, so far."""
        self.n_blank = 0
        """Blank lines since the last line that was none."""
        self._beginnings: set[bytes] | None = None
        if only is not None:
            self._beginnings = {word.encode("utf-8", "replace").split(b" ")[0] for word in only}

    def parse(self, lines: list[bytes], first: int) -> Block:
        """The block of some lines, the first of which has the number `first`."""
        if marks := sum(line.startswith(_MARK) for line in lines):
            self.report.byte_order_marks += marks
            lines = [line.removeprefix(_MARK) for line in lines]
        stripped = [line.rstrip(_SPACE) for line in lines]
        self._count_line_ends(lines, stripped)
        while stripped and not stripped[-1]:
            stripped.pop()
        if stripped and self.n_blank:
            self._check_line(first - self.n_blank, [b""])
        self.n_blank = len(lines) - len(stripped) + (0 if stripped else self.n_blank)
        self.n_lines += len(stripped)
        numbered = list(enumerate(stripped, start=first))
        if self._beginnings is not None:
            numbered = [one for one in numbered if one[1].split(b" ", 1)[0] in self._beginnings]
        words, rows = self._parse_at_once(numbered) or self._parse_each(numbered)
        return decoded(words, self.report), rows

    def _count_line_ends(self, lines: list[bytes], stripped: list[bytes]) -> None:
        for line, text in zip(lines, stripped, strict=True):
            if len(line) - len(text) > 1:  # more than a line break
                end = line[len(text) :]
                self.report.carriage_returns += end.endswith(b"\r\n")
                self.report.trailing_spaces += b" " in end or b"\t" in end

    def _parse_at_once(self, lines: list[tuple[int, bytes]]) -> tuple[list[bytes], Floats] | None:
        """None where a line is broken or a word has a space in it."""
        if not lines:
            return [], np.empty((0, self.size), np.float32)
        words, _, numbers = zip(*(line.partition(b" ") for _, line in lines), strict=True)
        if not all(numbers):
            return None
        try:
            rows = np.loadtxt(
                list(numbers), np.float32, delimiter=" ", comments=None, ndmin=2, encoding="ascii"
            )
        except ValueError:
            return None
        sound = rows.shape == (len(lines), self.size) and bool(np.isfinite(rows).all())
        return (list(words), rows) if sound else None

    def _parse_each(self, lines: list[tuple[int, bytes]]) -> tuple[list[bytes], Floats]:
        split = [line.rsplit(b" ", self.size) for _, line in lines]
        for (number, _), fields in zip(lines, split, strict=True):
            self._check_line(number, fields)
        self.report.words_with_spaces += sum(b" " in fields[0] for fields in split)
        with np.errstate(over="ignore"):
            rows = np.array([fields[1:] for fields in split], dtype=np.float32)
        return [fields[0] for fields in split], rows

    def _check_line(self, number: int, fields: list[bytes]) -> None:
        """Raise if a line, split from the right, is not a word and `size` finite numbers."""
        where = f"{self.path}, line {number}"
        word, *numbers = fields
        extra = word.split(b" ")[1:]
        if len(numbers) < self.size or (extra and _is_number(extra[-1])):
            found = len(numbers) + sum(map(_is_number, extra))
            raise UserError(f"{where}: {found} numbers after the word where {self.size} are expected")
        for field in numbers:
            if not _is_number(field):
                raise UserError(f"{where}: {field.decode('utf-8', 'replace')!r} is not a number")
            if not abs(float(field)) < _TOO_LARGE:
                raise UserError(
                    f"{where}: {field.decode()} in a vector; every number must be finite in 32 bits"
                )


def _is_number(field: bytes) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return b"_" not in field
