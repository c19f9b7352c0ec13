"""fastText's own models (.bin, versions 11 and 12), whose n-grams give a vector to unknown words.

    magic, version | arguments | words with counts and kinds | pruned n-grams | quantized? | matrix (words + buckets, D) | ...

(fastText's Args::load, Dictionary::load, Matrix::load; all little-endian.) The output layer after the matrix is not read. The
vector of a word is the mean of its own row and the rows of the buckets of its n-grams; that of an unknown word is the mean over
its n-grams only. Sums are in fastText's order, so that the results are bitwise equal. Labels of a classifier are skipped.

The matrix (cc.en.300.bin: 4.8 GB) is memory-mapped, except in a .gz.

Shapes: V words, D vector dimension, N words whose vectors are computed at once.
"""

from __future__ import annotations

import gzip
import mmap
import struct
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from unfreeze.errors import UserError
from unfreeze.text.character_ngrams import ngram_buckets_of
from unfreeze.vectors.table import (
    Block,
    Floats,
    LoadReport,
    MemoryRows,
    VectorSource,
    VectorTable,
    collect,
    decoded,
    row_not_finite,
)

MAGIC = struct.pack("<i", 793_712_314)
_ARGUMENTS = struct.Struct("<2i12id")
_END = "</s>"
"""End of a sentence; fastText gives it no n-grams."""
_SUPERVISED = 3
_CHUNK = 1 << 20
_WORDS = 512
"""Number of words whose vectors are computed at once."""


@dataclass(frozen=True, eq=False)
class FastTextVectors:
    """A fastText model: known words, and n-grams for the others."""

    words: list[str]
    """(V,) by falling frequency."""
    rows: Floats
    """(V + buckets, D): the rows of the words, then of the buckets of n-grams."""
    minn: int
    maxn: int
    """Longest n-gram, in characters including the borders; 0: the model has no n-grams."""
    raw_words: dict[int, bytes]
    """Row -> bytes of a word that is not UTF-8; its n-grams are hashed from the bytes."""
    report: LoadReport

    @property
    def size(self) -> int:
        """D, the vector dimension."""
        return int(self.rows.shape[1])

    @property
    def buckets(self) -> int:
        """Number of rows for n-grams."""
        return len(self.rows) - len(self.words)

    @cached_property
    def index(self) -> dict[str, int]:
        """Word -> row; of equal words the first one counts."""
        return dict(zip(reversed(self.words), range(len(self.words) - 1, -1, -1), strict=True))

    def vectors(self, words: Sequence[str]) -> Floats:
        """The vectors (len(words), D) of words; as in fastText, zeros for an unknown word without n-grams.

        Raises:
            UserError: a vector holds NaN or infinity.
        """
        rows = np.array([self.index.get(word, -1) for word in words], np.int64)
        vectors = self._means(words, rows)
        if (row := row_not_finite(vectors)) is not None:
            raise UserError(f"the vector of {words[row]!r} in a fastText model holds NaN or infinity")
        return vectors

    def table(self) -> VectorTable:
        """The known words and their vectors.

        Raises:
            UserError: a vector holds NaN or infinity.
        """
        source = self.source("the model")
        rows = MemoryRows(source.size, source.n_words)
        return collect(source, rows, LoadReport(not_utf8=self.report.not_utf8))

    def source(
        self, path: Path | str, limit: int | None = None, only: Set[str] | None = None
    ) -> VectorSource:
        """The known words as blocks; only the vectors of words in `only` are computed."""
        chosen = range(len(self.words))[:limit]
        if only is not None:
            chosen = [row for row in chosen if self.words[row] in only]  # type: ignore[assignment]
        return VectorSource(self.size, len(chosen), self._blocks(path, chosen))

    def _blocks(self, path: Path | str, chosen: Sequence[int]) -> Iterator[Block]:
        for first in range(0, len(chosen), _WORDS):
            some = chosen[first : first + _WORDS]
            words = [self.words[row] for row in some]
            vectors = self._means(words, np.array(some))
            if (row := row_not_finite(vectors)) is not None:
                where = f"{path}: the vector of word {some[row] + 1} ({words[row]!r})"
                raise UserError(f"{where} holds NaN or infinity")
            yield words, vectors

    def _means(self, words: Sequence[str], rows: NDArray[np.int64]) -> Floats:
        """The vectors (N, D) of words in these rows (N,), -1 for an unknown word.

        They are computed as in fastText: float32 sums in order (its own row, then its n-grams), times 1 / count.
        """
        raw = [self.raw_words.get(row, word) for row, word in zip(rows.tolist(), words, strict=True)]
        hashed, counts = ngram_buckets_of(raw, self.minn, self.maxn, self.buckets)
        has_ngrams = np.array([word != _END for word in words], bool)
        hashed = hashed[np.repeat(has_ngrams, counts)]
        counts *= has_ngrams
        known = rows >= 0
        places = np.insert(hashed + len(self.words), (np.cumsum(counts) - counts)[known], rows[known])
        counts += known
        sums = np.zeros((len(counts), self.size), np.float32)
        starts = np.cumsum(counts) - counts
        for step in range(int(counts.max(initial=0))):
            left = np.flatnonzero(counts > step)
            sums[left] += self.rows[places[starts[left] + step]]
        return cast(Floats, sums * (1.0 / np.maximum(counts, 1)).astype(np.float32)[:, None])


def is_fasttext(path: str | Path) -> bool:
    """Whether a file begins like a fastText model."""
    with Path(path).open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def read_fasttext(path: str | Path) -> FastTextVectors:
    """Open a fastText model, one file (.bin or .bin.gz).

    Raises:
        UserError: the file is missing, no fastText model, quantized (.ftz) or pruned, or damaged.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path} is not a file: a fastText model is one file, .bin")
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            return parse_fasttext(path, cast(BinaryIO, stream), LoadReport())
    except (EOFError, gzip.BadGzipFile) as error:
        raise UserError(f"{path} cannot be unpacked ({error}): the file is truncated or damaged") from error


# The file


def parse_fasttext(path: Path, stream: BinaryIO, report: LoadReport) -> FastTextVectors:
    """Read the model in a stream that is open at its beginning; `path` is for messages.

    Raises:
        UserError: as for `read_fasttext`.
    """
    magic, version, *arguments = _ARGUMENTS.unpack(_taken(path, stream, _ARGUMENTS.size))
    width, _, _, _, _, _, _, model, n_buckets, minn, maxn, _, _ = arguments
    if struct.pack("<i", magic) != MAGIC:
        raise UserError(f"{path} is not a fastText model: it does not begin with fastText's magic number")
    if version not in (11, 12):
        raise UserError(f"{path} is a fastText model of version {version}: versions 11 and 12 are read")
    if width < 1 or n_buckets < 0:
        raise UserError(f"{path} has vectors of {width} numbers and {n_buckets} buckets: the file is damaged")
    if version == 11 and model == _SUPERVISED:
        maxn = 0  # classifiers of version 11 were trained without n-grams
    n_entries, n_words, _, _, n_pruned = struct.unpack("<3i2q", _taken(path, stream, 28))
    if n_pruned >= 0:
        raise UserError(f"{path} is a pruned (quantized) model: the .bin that it was made from can be read")
    if not 0 < n_words <= n_entries:
        raise UserError(f"{path} holds no words, or it is damaged ({n_words} words of {n_entries} entries)")
    raw = _read_entries(path, stream, n_entries, n_words)
    if _taken(path, stream, 1) != b"\0":
        raise UserError(f"{path} is a quantized model (.ftz): the .bin that it was made from can be read")
    n_rows, size = struct.unpack("<2q", _taken(path, stream, 16))
    buckets = n_rows - n_words
    if size != width or buckets < 0 or (maxn > 0 and buckets != n_buckets):
        raise UserError(
            f"{path} has a matrix of {n_rows} x {size} for {n_words} words, {n_buckets} buckets and vectors of {width}: "
            "the file is damaged"
        )
    words = decoded(raw, report)
    odd = {row: word for row, word in enumerate(raw) if "\ufffd" in words[row] and report.not_utf8}
    rows = _matrix(path, stream, n_rows, size)
    return FastTextVectors(words, rows, minn, maxn, odd, report)


def _read_entries(path: Path, stream: BinaryIO, n_entries: int, n_words: int) -> list[bytes]:
    """The words; labels follow them and are skipped."""
    words: list[bytes] = []
    data, place = b"", 0
    for number in range(1, n_entries + 1):
        end = data.find(b"\0", place)
        while end < 0 or end + 10 > len(data):
            fresh = stream.read(_CHUNK)
            if not fresh:
                raise UserError(f"{path} ends at word {number} of {n_entries}: the file is truncated")
            data, place = data[place:] + fresh, 0
            end = data.find(b"\0")
        _, kind = struct.unpack_from("<qb", data, end + 1)  # the number of occurrences is not needed
        if kind not in (0, 1) or (kind == 0) != (number <= n_words):
            raise UserError(f"{path}: word {number} is of kind {kind}: the file is damaged")
        if kind == 0:
            words.append(data[place:end])
        place = end + 10
    stream.seek(place - len(data), 1)
    return words


def _matrix(path: Path, stream: BinaryIO, n_rows: int, size: int) -> Floats:
    n_bytes, start = 4 * n_rows * size, stream.tell()
    data: bytes | mmap.mmap
    if isinstance(stream, gzip.GzipFile):
        data, start = stream.read(n_bytes), 0
    else:
        data = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    if len(data) - start < n_bytes:
        n_whole = (len(data) - start) // (4 * size)
        raise UserError(f"{path} ends at row {n_whole + 1} of {n_rows}: the file is truncated")
    return np.frombuffer(data, "<f4", n_rows * size, start).reshape(n_rows, size)


def _taken(path: Path, stream: BinaryIO, n_bytes: int) -> bytes:
    data = stream.read(n_bytes)
    if len(data) < n_bytes:
        raise UserError(f"{path} ends within its first part: the file is truncated")
    return data
