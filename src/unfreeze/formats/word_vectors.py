"""Word vectors in other people's files: word2vec text and binary, GloVe text, and a plain .npz; .gz of each.

Special here: text is parsed in blocks of lines, at about 0.3 us a number; only a block that fails is gone through line
by line to name the line. Fields are counted from the right, since published GloVe files hold words
with spaces in them. The suffix says which format a file has: .bin and .npz, all else is text, with a header or without.
"""

from __future__ import annotations

import gzip
import logging
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, islice
from pathlib import Path
from typing import BinaryIO, cast
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from unfreeze.errors import UserError
from unfreeze.folders import written_file

_logger = logging.getLogger(__name__)
_LINES = 4096
_CHUNK = 1 << 24
_TOO_LARGE = 2.0**128 * (1 - 2.0**-25)
"""From here on a number rounds to infinity in 32 bits."""


@dataclass(frozen=True, eq=False)
class VectorTable:
    """One vector a word.

    A word that stands twice means its first row.
    """

    words: list[str]
    """(V,) as in the file, usually by falling frequency."""
    matrix: NDArray[np.float32]
    """(V, D)"""

    def __post_init__(self) -> None:
        assert self.matrix.ndim == 2 and len(self.words) == len(self.matrix), "a row a word"

    def __len__(self) -> int:
        return len(self.words)

    @property
    def size(self) -> int:
        """Numbers in one vector."""
        return int(self.matrix.shape[1])

    @cached_property
    def index(self) -> dict[str, int]:
        """The row of each word."""
        return {word: row for row, word in reversed(list(enumerate(self.words)))}

    @cached_property
    def _lower_case_index(self) -> dict[str, int]:
        """The row for a lower-cased word: of that word itself, else of the first that is it but for its case."""
        rows: dict[str, int] = {}
        for row, word in enumerate(self.words):
            rows.setdefault(word.lower(), row)
        return rows | {word: row for word, row in self.index.items() if word == word.lower()}

    def matrix_for(
        self, vocabulary: Sequence[str], *, seed: int = 0
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Vectors for `vocabulary`: an exact match wins, then one in lower case.

        Returns: a (len(vocabulary), D) matrix and which of its rows were found; the others are normal with mean 0 and
            the standard deviation of those found, drawn from `seed`.

        Raises:
            UserError: not one word was found.
        """
        rows = np.array([self._row(word) for word in vocabulary], dtype=np.int64)
        found = rows >= 0
        if not found.any():
            raise UserError(
                f"none of the {len(vocabulary)} words of the vocabulary ({', '.join(vocabulary[:3])}, ...) has a vector"
                f" ({', '.join(self.words[:3])}, ...): the vectors must be of the same language and kind of token"
            )
        matrix = np.empty((len(vocabulary), self.size), np.float32)
        matrix[found] = self.matrix[rows[found]]
        missing = (int((~found).sum()), self.size)
        matrix[~found] = np.random.default_rng(seed).normal(0.0, float(matrix[found].std()), missing)
        return matrix, found

    def _row(self, word: str) -> int:
        row = self.index.get(word)
        return self._lower_case_index.get(word.lower(), -1) if row is None else row


def read_word_vectors(path: str | Path) -> VectorTable:
    """Read word2vec text or binary (.bin), GloVe text, or .npz (arrays `words` and `matrix`); .gz of these too.

    Raises:
        UserError: no such file, or it is broken: the message names the line (in a binary file the word).
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(
            f"{path} is no file: word vectors are one file in word2vec's or GloVe's format, or .npz"
        )
    try:
        with _opened(path) as stream:
            vectors = _reader(path)(path, stream)
    except (EOFError, gzip.BadGzipFile, BadZipFile, zlib.error) as error:
        raise UserError(f"{path} cannot be unpacked ({error}): the file is truncated or damaged") from error
    repeated = len(vectors) - len(vectors.index)
    if repeated:
        _logger.warning(
            "%s: %d words stand there more than once; the first vector of each counts", path, repeated
        )
    return vectors


def write_word_vectors(path: str | Path, vectors: VectorTable) -> None:
    """Write word2vec binary (.bin), .npz, or word2vec text with a header (any other name); .gz packs it.

    Raises:
        UserError: a word is empty or holds white space that the format cannot carry; the place cannot be written.
    """
    path = Path(path)
    if _suffix(path) != ".npz":
        _check_words(vectors.words)
    with written_file(path) as temporary, _opened(path, temporary) as stream:
        if _suffix(path) == ".npz":
            np.savez(stream, words=np.array(vectors.words), matrix=vectors.matrix)
            return
        stream.write(b"%d %d\n" % vectors.matrix.shape)
        to_bytes = _binary_row if _suffix(path) == ".bin" else _text_row
        for word, row in zip(vectors.words, vectors.matrix.astype("<f4", copy=False), strict=True):
            stream.write(word.encode() + b" " + to_bytes(row) + b"\n")


def _binary_row(row: NDArray[np.float32]) -> bytes:
    return row.tobytes()


def _text_row(row: NDArray[np.float32]) -> bytes:
    return b" ".join(b"%.9g" % number for number in row.tolist())


def _check_words(words: Iterable[str]) -> None:
    for number, word in enumerate(words, start=1):
        if not word or any(mark in word for mark in " \n\r"):
            raise UserError(
                f"word {number} ({word!r}) is empty or holds a space or line break, which word2vec's formats cannot carry:"
                " write .npz"
            )


def _suffix(path: Path) -> str:
    return Path(path.name.removesuffix(".gz")).suffix


@contextmanager
def _opened(path: Path, place: Path | None = None) -> Iterator[BinaryIO]:
    """Open `path` to read, or to write at `place`."""
    mode = "rb" if place is None else "wb"
    with open(place or path, mode) as plain:
        if path.suffix != ".gz":
            yield cast(BinaryIO, plain)
            return
        with gzip.GzipFile("", mode, 6, plain, mtime=0) as packed:
            yield cast(BinaryIO, packed)


def _reader(path: Path) -> Callable[[Path, BinaryIO], VectorTable]:
    return {".npz": _read_npz, ".bin": _read_binary}.get(_suffix(path), _read_text)


def _read_npz(path: Path, stream: BinaryIO) -> VectorTable:
    try:
        with np.load(stream, allow_pickle=False) as arrays:
            words, matrix = arrays["words"], arrays["matrix"]
    except (KeyError, ValueError) as error:
        raise UserError(
            f"{path} is no file of word vectors ({error}): it needs the arrays words and matrix"
        ) from error
    if matrix.ndim != 2 or words.shape != matrix.shape[:1]:
        raise UserError(
            f"{path} has words of shape {words.shape} and a matrix of {matrix.shape}: they must be (V,) and (V, D)"
        )
    if not np.isfinite(matrix).all():
        row = int(np.flatnonzero(~np.isfinite(matrix).all(axis=1))[0])
        raise UserError(f"{path}: the vector of {str(words[row])!r} (row {row}) holds NaN or infinity")
    return VectorTable(words.tolist(), matrix.astype(np.float32, copy=False))


def _read_binary(path: Path, stream: BinaryIO) -> VectorTable:
    n_words, size = _binary_header(path, stream.readline(64))
    words: list[str] = []
    matrix = np.empty((n_words, size), np.float32)
    data, place = b"", 0
    for row in range(n_words):
        space = data.find(b" ", place)
        if space < 0 or len(data) < space + 1 + 4 * size:
            data, place = data[place:] + stream.read(_CHUNK), 0
            space = data.find(b" ")
        end = space + 1 + 4 * size
        if space < 0 or end > len(data):
            raise UserError(f"{path} ends at word {row + 1} of {n_words}: the file is truncated")
        words.append(data[place:space].lstrip(b"\n").decode("utf-8", "replace"))
        matrix[row] = np.frombuffer(data, "<f4", size, space + 1)
        place = end
    broken = np.flatnonzero(~np.isfinite(matrix).all(axis=1))
    if len(broken):
        raise UserError(
            f"{path}: the vector of word {broken[0] + 1} ({words[broken[0]]!r}) holds NaN or infinity"
        )
    return VectorTable(words, matrix)


def _binary_header(path: Path, line: bytes) -> tuple[int, int]:
    header = _header(line.split())
    if header is None or 0 in header:
        raise UserError(
            f"{path}, line 1: expected the header of word2vec's binary format, two numbers: words and size"
        )
    return header


def _header(fields: list[bytes]) -> tuple[int, int] | None:
    """The number of words and their size, if the fields of a first line are word2vec's header."""
    if len(fields) != 2 or not all(field.isdigit() for field in fields):
        return None
    n_words, size = map(int, fields)
    return n_words, size


def _read_text(path: Path, stream: BinaryIO) -> VectorTable:
    first = stream.readline()
    fields = first.rstrip().split(b" ")
    header = _header(fields)
    n_words, size = header or (None, len(fields) - 1)
    if size < 1 or n_words == 0:
        raise UserError(
            f"{path}, line 1: no word vectors here; expected a word and its numbers, separated by spaces (or word2vec's header)"
        )
    words: list[str] = []
    parts: list[NDArray[np.float32]] = []
    lines: Iterator[bytes] = iter(stream) if header else chain([first], stream)
    number = 2 if header else 1
    while block := list(islice(lines, _LINES)):
        block_words, numbers = _parse_block(path, block, number, size)
        words += block_words
        parts.append(numbers)
        number += len(block)
    if n_words is not None and len(words) != n_words:
        raise UserError(
            f"{path} has {len(words)} words where its first line says {n_words}: the file is truncated or damaged"
        )
    return VectorTable(words, np.concatenate(parts))


def _parse_block(
    path: Path, lines: list[bytes], first: int, size: int
) -> tuple[list[str], NDArray[np.float32]]:
    """Words and (lines, size) numbers of some lines, the first of which has the number `first`."""
    split = [line.rstrip(b" \t\r\n").rsplit(b" ", size) for line in lines]
    try:
        with np.errstate(over="ignore"):
            numbers = np.array([fields[1:] for fields in split], dtype=np.float32)
        sound = numbers.shape == (len(lines), size) and bool(np.isfinite(numbers).all())
    except ValueError:
        sound = False
    if not sound or any(b" " in fields[0] for fields in split):
        for number, fields in enumerate(split, start=first):
            _check_line(f"{path}, line {number}", fields, size)
        assert sound, "a line by itself shows what a block showed"
    return [fields[0].decode("utf-8", "replace") for fields in split], numbers


def _check_line(where: str, fields: list[bytes], size: int) -> None:
    """Raise if a line, split from the right, is not a word and `size` finite numbers."""
    word, *numbers = fields
    extra = word.split(b" ")[1:]
    if len(numbers) < size or (extra and _is_number(extra[-1])):
        found = len(numbers) + sum(map(_is_number, extra))
        raise UserError(f"{where}: {found} numbers after the word where {size} are expected")
    for field in numbers:
        if not _is_number(field):
            raise UserError(f"{where}: {field.decode('utf-8', 'replace')!r} is not a number")
        if not abs(float(field)) < _TOO_LARGE:
            raise UserError(f"{where}: {field.decode()} in a vector; every number must be finite in 32 bits")


def _is_number(field: bytes) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True
