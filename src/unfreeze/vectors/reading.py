"""Read word vectors in the formats of other libraries: word2vec text and binary, GloVe, fastText .vec and .bin, .npz; also .gz.

The format is recognized by the beginning of a file: fastText's .bin by its magic number, text with a header by its second line;
the suffix counts only if the beginning is not conclusive (.npz, .bin). Irregularities of published files are handled, counted
(`VectorTable.report`) and logged once. `cache` maps large files that have been read before.

Speed (python -m benchmarks --only vectors): text is read about 9 times as fast as by gensim, because a block of lines is parsed
at once and only a block with irregularities line by line; binary files about 3.5 times, because only the search for the next
space is a step per word and the rows of a block are gathered at once.

Shapes: V words, N words of a block, D vector dimension.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator, Set
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import BinaryIO, cast
from zipfile import BadZipFile

import numpy as np
from numpy.lib.npyio import NpzFile

from unfreeze.datasets.lines import hidden_compression
from unfreeze.errors import UserError
from unfreeze.vectors.fasttext import MAGIC, parse_fasttext
from unfreeze.vectors.table import (
    Block,
    Floats,
    LoadReport,
    MemoryRows,
    RowStore,
    VectorSource,
    VectorTable,
    collect,
    decoded,
    row_not_finite,
)

_HEAD = 1 << 16
"""Number of bytes by which the format is recognized."""
_TEXT_BLOCK = 1 << 20
"""Number of bytes of lines that are parsed at once."""
_LONGEST_LINE = 1 << 24
"""Maximum number of bytes of the first line; a file of another kind may have no line breaks."""
_BINARY_BLOCK = 1 << 19
"""Number of bytes that are read at once; reading takes twice as long beyond the size of the processor's cache."""
_LONGEST_REST = 200
"""Number of bytes after the first space of a word that are searched for the beginning of its vector."""
_WHITE = b" \t\r\n"
_MARK = b"\xef\xbb\xbf"
_INFINITE = 2.0**128 * (1 - 2.0**-25)
"""The smallest number that rounds to infinity in float32."""


def read_word_vectors(
    path: str | Path, *, limit: int | None = None, only: Set[str] | None = None
) -> VectorTable:
    """Read word2vec text or binary (.bin), GloVe text, fastText .vec or .bin, or .npz (arrays `words` and `matrix`); .gz too.

    Args:
        limit: read at most the first `limit` words.
        only: keep only these words, in the order of the file; memory is bounded by their number, and the rest of the file
            is not checked.

    Raises:
        UserError: the file is missing or damaged; the message names the line (in a binary file the word).
    """
    if limit is not None and limit < 1:
        raise UserError(f"limit is {limit}: at least the first word must be read")
    return load_vectors(Path(path), MemoryRows, limit, only)


def load_vectors(
    path: Path,
    make_store: Callable[[int, int | None], RowStore],
    limit: int | None = None,
    only: Set[str] | None = None,
) -> VectorTable:
    """`read_word_vectors` into a store, made from the vector dimension and the number of words (None if unknown)."""
    if not path.is_file():
        raise UserError(
            f"{path} is not a file: word vectors are one file in word2vec's, GloVe's or fastText's format, or .npz"
        )
    report = LoadReport()
    try:
        with ExitStack() as stack:
            stream: BinaryIO = stack.enter_context(path.open("rb"))
            if path.suffix == ".gz":
                stream = cast(BinaryIO, stack.enter_context(gzip.GzipFile("", "rb", fileobj=stream)))
            source = _open_source(path, stream, report, limit, only)
            store = make_store(source.size, None if only is not None else source.n_words)
            table = collect(source, store, report, only)
    except (EOFError, gzip.BadGzipFile, BadZipFile, zlib.error) as error:
        raise UserError(f"{path} cannot be unpacked ({error}): the file is truncated or damaged") from error
    if not table.words and only is None:
        raise UserError(f"{path} holds no words: {report.describe() or 'its vocabulary is empty'}")
    report.log(path)
    return table


def _open_source(
    path: Path, stream: BinaryIO, report: LoadReport, limit: int | None, only: Set[str] | None
) -> VectorSource:
    suffix = Path(path.name.removesuffix(".gz")).suffix
    if suffix == ".npz":
        return _npz_source(path, stream, limit)
    head = stream.read(_HEAD)
    stream.seek(0)
    if (compressed := hidden_compression(head)) is not None:
        raise UserError(f"{path} {compressed}")
    if head.startswith(MAGIC):
        return parse_fasttext(path, stream, report).source(path, limit, only)
    if _is_binary(head, suffix == ".bin"):
        return _binary_source(path, stream, report, limit)
    return _text_source(path, stream, report, limit, only)


def _is_binary(head: bytes, is_bin: bool) -> bool:
    """Whether a file is word2vec binary, by its first two lines, or by `is_bin` if they are not conclusive."""
    first, _, rest = head.partition(b"\n")
    header = _header_numbers(first.split())
    if header is None:
        return is_bin
    fields = rest.partition(b"\n")[0].rstrip(_WHITE).rsplit(b" ", header[1])
    if len(fields) == header[1] + 1 and all(map(_is_number, fields[1:])):
        return False
    numbers = rest.partition(b" ")[2][: 4 * header[1]]
    return is_bin or any(byte < 9 or 13 < byte < 32 for byte in numbers)


def _header_numbers(fields: list[bytes]) -> tuple[int, int] | None:
    """(V, D) if the fields of a first line are the header of word2vec, otherwise None."""
    if len(fields) != 2 or not all(field.isdigit() and len(field) < 16 for field in fields):
        return None
    n_words, size = map(int, fields)
    return n_words, size


# .npz


def _npz_source(path: Path, stream: BinaryIO, limit: int | None) -> VectorSource:
    needed = "it needs the arrays words, of strings, and matrix, of numbers"
    try:
        found = np.load(stream, allow_pickle=False)
        arrays = [found[name] for name in ("words", "matrix")] if isinstance(found, NpzFile) else []
    except (KeyError, ValueError, RuntimeError, MemoryError) as error:
        # An encrypted archive is a RuntimeError. What numpy says of pickles is how to load them unsafely.
        why = (
            "it is not an .npz, or contains Python objects" if "pickle" in str(error) else str(error.args[0])
        )
        raise UserError(f"{path} is not a file of word vectors ({why}): {needed}") from error
    except OSError as error:  # a damaged table of contents leads to places before the file's beginning
        raise UserError(f"{path} cannot be unpacked ({error}): the file is truncated or damaged") from error
    for array, kinds in zip(arrays, ("U", "fiu"), strict=False):
        if not isinstance(array, np.ndarray) or array.dtype.kind not in kinds:
            sort = array.dtype if isinstance(array, np.ndarray) else "bytes"
            raise UserError(f"{path} is not a file of word vectors (an array is of {sort}): {needed}")
    if not arrays:
        raise UserError(f"{path} is a single array of NumPy, not an .npz: {needed}")
    words, matrix = arrays
    if matrix.ndim != 2 or words.shape != matrix.shape[:1] or not matrix.size:
        raise UserError(
            f"{path} has words of shape {words.shape} and a matrix of {matrix.shape}: they must be (V,) and (V, D)"
        )
    words, matrix = words[:limit], matrix[:limit]
    if (row := row_not_finite(matrix)) is not None:
        raise UserError(f"{path}: the vector of {str(words[row])!r} (row {row}) holds NaN or infinity")
    block: Block = (list(map(str, words.tolist())), matrix.astype(np.float32, copy=False))
    return VectorSource(matrix.shape[1], len(words), iter([block]))


# Text: a word and its numbers per line; word2vec's and fastText's (.vec) with a header line, GloVe's without
#
# Published files contain words with spaces (so fields are counted from the right), spaces at the end of lines, CRLF, blank last
# lines, and byte order marks before any line (concatenated files). Fewer rows than in the header are an error, because the file
# may be truncated. Further rows are read and counted, because some writers count distinct words and repeat some.


def _text_source(
    path: Path, stream: BinaryIO, report: LoadReport, limit: int | None, only: Set[str] | None
) -> VectorSource:
    first = stream.readline(_LONGEST_LINE)
    if first.startswith(_MARK):
        report.byte_order_marks, first = 1, first.removeprefix(_MARK)
    fields = first.rstrip().split(b" ")
    header = _header_numbers(fields)
    if header is None:
        n_words, size = None, 0
        while size < len(fields) - 1 and _is_number(fields[-1 - size]):  # the first field is always a word
            size += 1
    else:
        n_words, size = header
    if size < 1 or n_words == 0:
        raise UserError(
            f"{path}, line 1: no word vectors here; expected a word and its numbers, separated by spaces (or word2vec's header)"
        )
    parser = _TextLines(path, report, size, only)

    def blocks() -> Iterator[Block]:
        number, left = 1 if header is None else 2, limit
        unread = [[first]] if header is None else []  # what has been read already, if it is no header
        for lines in chain(unread, iter(lambda: stream.readlines(_TEXT_BLOCK), [])):
            yield parser.parse(lines[:left], number)
            number += len(lines)
            if left is not None:
                left -= len(lines)
                if left <= 0:
                    break
        report.blank_last_lines = parser.n_blank
        if n_words is None or (limit is not None and limit < n_words):
            return
        if parser.n_words < n_words:
            raise UserError(
                f"{path} has {parser.n_words} words where its first line says {n_words}: the file is truncated or damaged"
                " (if it is whole, put the right number there)"
            )
        report.beyond_header = parser.n_words - n_words

    return VectorSource(size, n_words if limit is None else min(limit, n_words or limit), blocks())


class _TextLines:
    """Parses lines; counts blank ones, which are allowed only at the end of the file."""

    def __init__(self, path: Path, report: LoadReport, size: int, only: Set[str] | None) -> None:
        self.path, self.report, self.size = path, report, size
        self.n_words = self.n_blank = 0  # so far; blank lines since the last word
        self._beginnings: set[bytes] | None = None
        if only is not None:
            self._beginnings = {word.encode("utf-8", "replace").split(b" ")[0] for word in only}

    def parse(self, lines: list[bytes], first: int) -> Block:
        """Parse a block of lines, the first of which has the number `first`."""
        if marks := sum(line.startswith(_MARK) for line in lines):
            self.report.byte_order_marks += marks
            lines = [line.removeprefix(_MARK) for line in lines]
        stripped = [line.rstrip(_WHITE) for line in lines]
        for line, text in zip(lines, stripped, strict=True):
            if len(line) - len(text) > 1:  # more than a line break
                end = line[len(text) :]
                self.report.carriage_returns += end.endswith(b"\r\n")
                self.report.trailing_spaces += b" " in end or b"\t" in end
        while stripped and not stripped[-1]:
            stripped.pop()
        if stripped and self.n_blank:
            self._check_line(first - self.n_blank, [b""])
        self.n_blank = len(lines) - len(stripped) + (0 if stripped else self.n_blank)
        self.n_words += len(stripped)
        numbered = list(enumerate(stripped, start=first))
        if self._beginnings is not None:
            numbered = [one for one in numbered if one[1].split(b" ", 1)[0] in self._beginnings]
        words, rows = self._parse_at_once(numbered) or self._parse_each(numbered)
        return decoded(words, self.report), rows

    def _parse_at_once(self, lines: list[tuple[int, bytes]]) -> tuple[list[bytes], Floats] | None:
        """Parse lines in one step; None if a line is malformed or a word contains a space."""
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
        """Raise UserError if a line, split from the right, is not a word and D finite numbers."""
        where = f"{self.path}, line {number}"
        word, *numbers = fields
        extra = word.split(b" ")[1:]
        if len(numbers) < self.size or (extra and _is_number(extra[-1])):
            found = len(numbers) + sum(map(_is_number, extra))
            raise UserError(f"{where}: {found} numbers after the word where {self.size} are expected")
        for field in numbers:
            if not _is_number(field):
                raise UserError(f"{where}: {field.decode('utf-8', 'replace')!r} is not a number")
            if not abs(float(field)) < _INFINITE:
                raise UserError(f"{where}: {field.decode()} in a vector; numbers must be finite in 32 bits")


def _is_number(field: bytes) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return b"_" not in field


# word2vec's binary format: a line with V and D, then each word, a space and its vector as little-endian float32
#
# The C program writes a line break after each vector, gensim does not; both are read. A file with fewer words than in its header
# is an error. Bytes after the last word are counted and not read, because nothing in them shows where a word begins.


def _binary_source(path: Path, stream: BinaryIO, report: LoadReport, limit: int | None) -> VectorSource:
    header = _header_numbers(stream.readline(64).split())
    if header is None or 0 in header:
        raise UserError(f"{path}, line 1: expected word2vec's binary header, two numbers: words and size")
    n_words, size = header
    wanted = n_words if limit is None else min(limit, n_words)
    return VectorSource(size, wanted, _binary_blocks(path, stream, report, wanted, n_words, size))


def _binary_blocks(
    path: Path, stream: BinaryIO, report: LoadReport, wanted: int, n_words: int, size: int
) -> Iterator[Block]:
    width = 4 * size
    n_read, rest = 0, b""
    while n_read < wanted:
        fresh = stream.read(_BINARY_BLOCK)
        data = rest + fresh
        # Find where words and vectors begin. The bytes after a vector are needed to check that it was read correctly.
        words: list[bytes] = []
        starts: list[int] = []
        place, last = 0, len(data) - width - (_LONGEST_REST if fresh else 0)
        find, add_word, add_start = data.find, words.append, starts.append
        for _ in range(wanted - n_read):
            start = find(b" ", place) + 1
            if start == 0 or start > last:
                break
            add_word(data[place : start - 1].lstrip(b"\n"))
            add_start(start)
            place = start + width
        rest = data[place:]
        if words:
            every_place = np.ndarray((len(data) - width + 1,), f"V{width}", data, strides=(1,))
            rows = every_place[starts].view("<f4").reshape(len(starts), size).astype(np.float32, copy=False)
            _check_spaces(path, data, words, starts, rows, n_read)
            if (row := row_not_finite(rows)) is not None:
                word = words[row].decode("utf-8", "replace")
                where = f"{path}: the vector of word {n_read + row + 1} ({word!r})"
                raise UserError(f"{where} holds NaN or infinity")
            yield decoded(words, report), rows
        n_read += len(words)
        if n_read < wanted and not fresh:
            raise UserError(f"{path} ends at word {n_read + 1} of {n_words}: the file is truncated")
        if len(rest) > width + _LONGEST_REST + _BINARY_BLOCK:
            raise UserError(
                f"{path}: word {n_read + 1} is longer than {_BINARY_BLOCK:,} bytes: the file is damaged"
            )
    if wanted == n_words:
        for data in chain([rest], iter(lambda: stream.read(_BINARY_BLOCK), b"")):
            report.bytes_behind += len(data.strip(b"\r\n"))


def _check_spaces(
    path: Path, data: bytes, words: list[bytes], starts: list[int], rows: Floats, n_before: int
) -> None:
    """Raise UserError if the file was written with a word that contains a space, which the format cannot represent.

    The first part of such a word is read as the word, the rest as the beginning of its vector, and the last bytes of the
    vector as the beginning of the next word; everything after that is correct again. It is recognized by unusual numbers or
    an unusual next word: then the vector is read again after the next space, and the file is refused only if that gives a
    word that is text and a vector of ordinary numbers.

    Args:
        data: the block, in which the vectors begin at `starts`.
        n_before: words in the blocks before.
    """
    width = 4 * rows.shape[1]
    following = data[starts[-1] + width :][:_LONGEST_REST].lstrip(b"\n").partition(b" ")[0]
    everything = [*words, following]
    binary = (  # rows of words that are not printable text; testing all at once is much faster
        []
        if _is_text(b" ".join(everything))
        else [row for row, word in enumerate(everything) if not _is_text(word)]
    )
    first = np.abs(rows[:, :8])  # text that belongs to the word is at the beginning of the vector
    unusual = ((first < 1e-12) & (first > 0) | ~(first <= 1e6)).any(axis=1)
    for row in sorted({*np.flatnonzero(unusual).tolist(), *(row - 1 for row in binary if row)}):
        rest = _rest_of_word(data[starts[row] : starts[row] + _LONGEST_REST + width], width)
        if rest is not None:
            word = (words[row] + b" " + rest).decode("utf-8", "replace")
            raise UserError(
                f"{path}: word {n_before + row + 1} ({word!r}) holds a space, which word2vec's binary format cannot carry: write"
                " _ in the place of the space, or write the vectors as text"
            )
    for row in binary:
        if row < len(words) and (b"\0" in words[row] or b"\n" in words[row]):
            word = words[row][-40:].decode("utf-8", "replace")
            raise UserError(
                f"{path}: word {n_before + row + 1} ({word!r}) holds a NUL or a line break: the file is damaged, or a word before"
                " it holds a space, which word2vec's binary format cannot carry"
            )


def _rest_of_word(data: bytes, width: int) -> bytes | None:
    """The text before a space and an ordinary vector; None if there is none."""
    end = data.find(b" ", 0, _LONGEST_REST)
    while end >= 0 and _is_text(data[:end]) and end + 1 + width <= len(data):
        sizes = np.abs(np.frombuffer(data, "<f4", width // 4, end + 1))
        if sizes.any() and ((sizes == 0) | (sizes > 1e-12) & (sizes < 1e6)).all():
            return data[:end]
        end = data.find(b" ", end + 1, _LONGEST_REST)
    return None


def _is_text(data: bytes) -> bool:
    try:
        return data.decode().isprintable()
    except UnicodeDecodeError:
        return False
