"""word2vec's binary format: a line with two numbers, then each word, a space and its numbers as little-endian float32.

The C program writes a line break after each vector, gensim does not; both are read. Words cannot hold spaces. A file that
ends before its header says is an error; bytes behind the last word are counted and not read, for nothing in them would
show where a word begins.

Special here: only the search for the next space is a step a word; the rows of a block are gathered in one go.
About 3.5 times as fast as gensim, words' dictionary included (python -m benchmarks --only vectors).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from unfreeze.errors import UserError
from unfreeze.formats.vector_blocks import Block, VectorSource, decoded
from unfreeze.formats.vector_table import Floats, LoadReport

_CHUNK = 1 << 19
"""Bytes at a time; what the processor's cache does not hold is read at half the speed."""
_NEVER_BEHIND = b"\r\n"


def binary_source(path: Path, stream: BinaryIO, report: LoadReport, limit: int | None) -> VectorSource:
    """The words of a binary file, opened at its beginning.

    Raises:
        UserError: line 1 is no header, or, on the way, the word that is truncated or holds NaN or infinity.
    """
    n_words, size = _header(path, stream.readline(64))
    wanted = n_words if limit is None else min(limit, n_words)
    return VectorSource(size, wanted, _blocks(path, stream, report, (wanted, n_words), size))


def header_numbers(fields: list[bytes]) -> tuple[int, int] | None:
    """The number of words and their size, if the fields of a first line are word2vec's header."""
    if len(fields) != 2 or not all(field.isdigit() and len(field) < 16 for field in fields):
        return None
    n_words, size = map(int, fields)
    return n_words, size


def binary_row(word: bytes, row: Floats) -> bytes:
    """A word as it stands in the file."""
    return word + b" " + row.tobytes() + b"\n"


def _header(path: Path, line: bytes) -> tuple[int, int]:
    header = header_numbers(line.split())
    if header is None or 0 in header:
        raise UserError(
            f"{path}, line 1: expected the header of word2vec's binary format, two numbers: words and size"
        )
    return header


def _blocks(
    path: Path, stream: BinaryIO, report: LoadReport, numbers: tuple[int, int], size: int
) -> Iterator[Block]:
    wanted, n_words = numbers
    n_read, rest = 0, b""
    while n_read < wanted:
        fresh = stream.read(_CHUNK)
        data = rest + fresh
        words, starts, end = _scan(data, 4 * size, wanted - n_read)
        rest = data[end:]
        if words:
            rows = _gathered(data, starts, size)
            _need_finite(path, words, rows, n_read)
            yield decoded(words, report), rows
        n_read += len(words)
        if n_read < wanted and not fresh:
            raise UserError(f"{path} ends at word {n_read + 1} of {n_words}: the file is truncated")
        if len(rest) > 4 * size + _CHUNK:
            raise UserError(f"{path}: word {n_read + 1} is longer than {_CHUNK:,} bytes: the file is damaged")
    if wanted == n_words:
        report.bytes_behind = _count_behind(rest, stream)


def _scan(data: bytes, width: int, limit: int) -> tuple[list[bytes], list[int], int]:
    """The whole words in `data`, where their vectors of `width` bytes begin, and where the last one ends."""
    words: list[bytes] = []
    starts: list[int] = []
    place, last = 0, len(data) - width
    find, add_word, add_start = data.find, words.append, starts.append
    for _ in range(limit):
        start = find(b" ", place) + 1
        if start == 0 or start > last:
            break
        add_word(data[place : start - 1].lstrip(b"\n"))
        add_start(start)
        place = start + width
    return words, starts, place


def _gathered(data: bytes, starts: list[int], size: int) -> Floats:
    """(N, D): the vectors that begin at those bytes."""
    vectors = np.ndarray((len(data) - 4 * size + 1,), f"V{4 * size}", data, strides=(1,))
    return vectors[starts].view("<f4").reshape(len(starts), size).astype(np.float32, copy=False)


def _need_finite(path: Path, words: list[bytes], rows: Floats, before: int) -> None:
    finite = np.isfinite(rows)
    if not finite.all():
        row = int(np.flatnonzero(~finite.all(axis=1))[0])
        word = words[row].decode("utf-8", "replace")
        raise UserError(f"{path}: the vector of word {before + row + 1} ({word!r}) holds NaN or infinity")


def _count_behind(rest: bytes, stream: BinaryIO) -> int:
    """Bytes that follow, but for line breaks."""
    count = len(rest.strip(_NEVER_BEHIND))
    while data := stream.read(_CHUNK):
        count += len(data.strip(_NEVER_BEHIND))
    return count
