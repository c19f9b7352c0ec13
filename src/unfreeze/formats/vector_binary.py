"""word2vec's binary format: a line with two numbers, then each word, a space and its numbers as little-endian float32.

The C program writes a line break after each vector, gensim does not; both are read. A file that ends before its header says
is an error; bytes behind the last word are counted and not read, for nothing in them would show where a word begins.

Words cannot hold spaces. Of a word that does, the first part is read as the word, the rest as the beginning of its vector,
and the last bytes of the vector as the beginning of the next word; what follows is sound again, so that nothing but the odd
numbers and the odd word show it. Where either is found, the vector is read again from behind the next space: a word that is
text and a vector that is ordinary only so make the file one to be refused.

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
_ORDINARY = (1e-12, 1e6)
"""Absolute values, besides 0, that vectors usually have; text that is read as numbers mostly leaves them."""
_COLUMNS = 8
"""First numbers of a vector that are looked at: text that belongs to the word stands there."""
_LONGEST_REST = 200
"""Bytes of a word behind its first space."""


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
        # What follows a vector must be there to tell whether it was read right.
        words, starts, end = _scan(data, 4 * size, _LONGEST_REST if fresh else 0, wanted - n_read)
        rest = data[end:]
        if words:
            rows = _gathered(data, starts, size)
            _need_no_spaces(path, data, words, starts, rows, n_read)
            _need_finite(path, words, rows, n_read)
            yield decoded(words, report), rows
        n_read += len(words)
        if n_read < wanted and not fresh:
            raise UserError(f"{path} ends at word {n_read + 1} of {n_words}: the file is truncated")
        if len(rest) > 4 * size + _LONGEST_REST + _CHUNK:
            raise UserError(f"{path}: word {n_read + 1} is longer than {_CHUNK:,} bytes: the file is damaged")
    if wanted == n_words:
        report.bytes_behind = _count_behind(rest, stream)


def _scan(data: bytes, width: int, behind: int, limit: int) -> tuple[list[bytes], list[int], int]:
    """The words in `data` that `behind` bytes follow, where their vectors of `width` bytes begin, and where the last one ends."""
    words: list[bytes] = []
    starts: list[int] = []
    place, last = 0, len(data) - width - behind
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


def _need_no_spaces(
    path: Path, data: bytes, words: list[bytes], starts: list[int], rows: Floats, before: int
) -> None:
    """Raise if the file was written with a word that holds a space.

    Args:
        data: the block, in which each word's vector begins at one of `starts`.
        before: the words of the blocks before.
    """
    width = 4 * rows.shape[1]
    behind = data[starts[-1] + width :][:_LONGEST_REST].lstrip(b"\n").partition(b" ")[0]
    no_text = _no_texts([*words, behind])
    for row in sorted(_with_odd_numbers(rows) | {row - 1 for row in no_text if row}):
        rest = _rest_of_word(data[starts[row] : starts[row] + _LONGEST_REST + width], width)
        if rest is not None:
            word = (words[row] + b" " + rest).decode("utf-8", "replace")
            raise UserError(
                f"{path}: word {before + row + 1} ({word!r}) holds a space, which word2vec's binary format cannot carry: write"
                " _ in the place of the space, or write the vectors as text"
            )
    for row in no_text:
        if row < len(words) and (b"\0" in words[row] or b"\n" in words[row]):
            word = words[row][-40:].decode("utf-8", "replace")
            raise UserError(
                f"{path}: word {before + row + 1} ({word!r}) holds a NUL or a line break: the file is damaged, or a word before"
                " it holds a space, which word2vec's binary format cannot carry"
            )


def _with_odd_numbers(rows: Floats) -> set[int]:
    """Rows with numbers that vectors seldom have."""
    sizes = np.abs(rows[:, :_COLUMNS])
    odd = (sizes < _ORDINARY[0]) & (sizes > 0) | ~(sizes <= _ORDINARY[1])
    return set(np.flatnonzero(odd.any(axis=1)).tolist())


def _no_texts(words: list[bytes]) -> list[int]:
    """The places of words with control characters or with bytes that are not UTF-8."""
    if _is_text(b" ".join(words)):  # much faster than one by one
        return []
    return [place for place, word in enumerate(words) if not _is_text(word)]


def _is_text(data: bytes) -> bool:
    try:
        return data.decode().isprintable()
    except UnicodeDecodeError:
        return False


def _rest_of_word(data: bytes, width: int) -> bytes | None:
    """What of a word stands at the beginning of `data` before a space and an ordinary vector; None where the vector begins there."""
    end = data.find(b" ", 0, _LONGEST_REST)
    while end >= 0 and _is_text(data[:end]) and end + 1 + width <= len(data):
        sizes = np.abs(np.frombuffer(data, "<f4", width // 4, end + 1))
        if sizes.any() and ((sizes == 0) | (sizes > _ORDINARY[0]) & (sizes < _ORDINARY[1])).all():
            return data[:end]
        end = data.find(b" ", end + 1, _LONGEST_REST)
    return None


def _count_behind(rest: bytes, stream: BinaryIO) -> int:
    """Bytes that follow, but for line breaks."""
    count = len(rest.strip(_NEVER_BEHIND))
    while data := stream.read(_CHUNK):
        count += len(data.strip(_NEVER_BEHIND))
    return count
