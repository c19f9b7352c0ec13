"""fastText's own models (.bin, versions 11 and 12), whose n-grams give a vector to unknown words.

    magic, version | arguments | words with counts and kinds | pruned n-grams | quantized? | matrix (words + buckets, D) | ...

(fastText's Args::load, Dictionary::load, Matrix::load; all little-endian.) The output layer behind it is not read. The vector
of a word is the mean of its own row and of those of its n-grams' buckets, that of an unknown word the mean over its n-grams
alone, summed in fastText's order so that the result equals fastText's bit by bit. Labels of a classifier are skipped.

The matrix (cc.en.300.bin: 4.8 GB) is memory-mapped; only that of a .gz is read into memory.

Legend: V words, D numbers in a vector.
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
from unfreeze.text.character_ngrams import ngram_buckets, ngram_buckets_of
from unfreeze.vectors.table import (
    Block,
    Floats,
    LoadReport,
    MemoryRows,
    VectorSource,
    VectorTable,
    collect,
    decoded,
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
    counts: NDArray[np.int64]
    """(V,) occurrences in the training text."""
    rows: Floats
    """(V + buckets, D) of the words, then of the n-grams' buckets."""
    minn: int
    maxn: int
    """Longest n-gram, in characters including the borders; 0: the model has no n-grams."""
    raw_words: dict[int, bytes]
    """By row, the bytes of words that are not UTF-8: their n-grams are hashed from the bytes."""
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
        """Word -> row."""
        return dict(zip(reversed(self.words), range(len(self.words) - 1, -1, -1), strict=True))

    def __contains__(self, word: str) -> bool:
        return word in self.index

    def vector(self, word: str) -> Floats:
        """(D,) of a word; as in fastText, zeros for an unknown word without n-grams.

        Raises:
            UserError: the vector holds NaN or infinity.
        """
        row = self.index.get(word)
        own = [] if row is None else [row]
        raw = word if row is None else self.raw_words.get(row, word)
        hashed = [] if word == _END else ngram_buckets(raw, self.minn, self.maxn, self.buckets)
        rows = own + [len(self.words) + bucket for bucket in hashed]
        if not rows:
            return np.zeros(self.size, np.float32)
        vector = _means(self.rows, np.array(rows), np.array([len(rows)]))[0]
        if not np.isfinite(vector).all():
            raise UserError(f"the vector of {word!r} in a fastText model holds NaN or infinity")
        return cast(Floats, vector)

    def vectors(self, words: Sequence[str]) -> Floats:
        """(len(words), D)"""
        return np.array([self.vector(word) for word in words], np.float32).reshape(len(words), self.size)

    def table(self, *, limit: int | None = None, only: Set[str] | None = None) -> VectorTable:
        """The known words and their vectors; `limit` and `only` as in `read_word_vectors`."""
        source = self.source("the model", limit, only)
        rows = MemoryRows(source.size, None if only is not None else source.n_words)
        return collect(source, rows, LoadReport(not_utf8=self.report.not_utf8), only)

    def source(self, path: Path | str, limit: int | None, only: Set[str] | None) -> VectorSource:
        """The known words as blocks; vectors of words that are not in `only` are not computed."""
        chosen = range(len(self.words))[:limit]
        if only is not None:
            chosen = [row for row in chosen if self.words[row] in only]  # type: ignore[assignment]
        return VectorSource(self.size, len(chosen), self._blocks(path, chosen))

    def _blocks(self, path: Path | str, chosen: Sequence[int]) -> Iterator[Block]:
        for first in range(0, len(chosen), _WORDS):
            some = chosen[first : first + _WORDS]
            words = [self.words[row] for row in some]
            vectors = self._known(some)
            finite = np.isfinite(vectors).all(axis=1)
            if not finite.all():
                bad = int(np.flatnonzero(~finite)[0])
                raise UserError(
                    f"{path}: the vector of word {some[bad] + 1} ({words[bad]!r}) holds NaN or infinity"
                )
            yield words, vectors

    def _known(self, rows: Sequence[int]) -> Floats:
        """(len(rows), D) of the known words in these rows."""
        raw = [self.raw_words.get(row, self.words[row]) for row in rows]
        hashed, counts = ngram_buckets_of(raw, self.minn, self.maxn, self.buckets)
        kept = np.repeat([word != _END for word in raw], counts)
        hashed = hashed[kept]
        counts = counts * [word != _END for word in raw]
        places = np.insert(hashed + len(self.words), np.cumsum(counts) - counts, rows)
        return _means(self.rows, places, counts + 1)


def is_fasttext(path: str | Path) -> bool:
    """Whether a file begins as a fastText model does."""
    with Path(path).open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def read_fasttext(path: str | Path) -> FastTextVectors:
    """Open a fastText model, one file (.bin or .bin.gz).

    Raises:
        UserError: the file is missing, no fastText model, quantized (.ftz) or pruned, or damaged.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path} is no file: a fastText model is one file, .bin")
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            return _read(path, cast(BinaryIO, stream), LoadReport())
    except (EOFError, gzip.BadGzipFile) as error:
        raise UserError(f"{path} cannot be unpacked ({error}): the file is truncated or damaged") from error


def fasttext_source(
    path: Path, stream: BinaryIO, report: LoadReport, limit: int | None, only: Set[str] | None
) -> VectorSource:
    """The words and vectors of a model that is open at its beginning."""
    return _read(path, stream, report).source(path, limit, only)


def _means(rows: Floats, places: NDArray[np.int64], counts: NDArray[np.int64]) -> Floats:
    """(N, D) means over the next `counts` of `places` each; computed as in fastText: float32 sums in order, times 1 / count."""
    sums = np.zeros((len(counts), rows.shape[1]), np.float32)
    starts = np.cumsum(counts) - counts
    for step in range(int(counts.max())):
        left = np.flatnonzero(counts > step)
        sums[left] += rows[places[starts[left] + step]]
    return cast(Floats, sums * (1.0 / counts).astype(np.float32)[:, None])


# The file


@dataclass(frozen=True)
class _Header:
    size: int
    buckets: int
    minn: int
    maxn: int


def _read(path: Path, stream: BinaryIO, report: LoadReport) -> FastTextVectors:
    header = _read_header(path, _taken(path, stream, _ARGUMENTS.size))
    n_entries, n_words, _, _, n_pruned = struct.unpack("<3i2q", _taken(path, stream, 28))
    if n_pruned >= 0:
        raise UserError(f"{path} is a pruned (quantized) model: the .bin that it was made from can be read")
    if not 0 < n_words <= n_entries:
        raise UserError(f"{path} holds no words, or it is damaged ({n_words} words of {n_entries} entries)")
    raw, counts = _read_entries(path, stream, n_entries, n_words)
    if _taken(path, stream, 1) != b"\0":
        raise UserError(f"{path} is a quantized model (.ftz): the .bin that it was made from can be read")
    n_rows, size = struct.unpack("<2q", _taken(path, stream, 16))
    buckets = n_rows - n_words
    if size != header.size or buckets < 0 or (header.maxn > 0 and buckets != header.buckets):
        raise UserError(
            f"{path} has a matrix of {n_rows} x {size} for {n_words} words, {header.buckets} buckets and vectors of {header.size}:"
            " the file is damaged"
        )
    words = decoded(raw, report)
    odd = {row: word for row, word in enumerate(raw) if "\ufffd" in words[row] and report.not_utf8}
    rows = _matrix(path, stream, n_rows, size)
    return FastTextVectors(words, counts, rows, header.minn, header.maxn, odd, report)


def _read_header(path: Path, data: bytes) -> _Header:
    magic, version, *arguments = _ARGUMENTS.unpack(data)
    size, _, _, _, _, _, _, model, buckets, minn, maxn, _, _ = arguments
    if struct.pack("<i", magic) != MAGIC:
        raise UserError(f"{path} is no fastText model: it does not begin with fastText's magic number")
    if version not in (11, 12):
        raise UserError(f"{path} is a fastText model of version {version}: versions 11 and 12 are read")
    if size < 1 or buckets < 0:
        raise UserError(f"{path} has vectors of {size} numbers and {buckets} buckets: the file is damaged")
    if version == 11 and model == _SUPERVISED:
        maxn = 0  # classifiers of version 11 were trained without n-grams
    return _Header(size, buckets, minn, maxn)


def _read_entries(
    path: Path, stream: BinaryIO, n_entries: int, n_words: int
) -> tuple[list[bytes], NDArray[np.int64]]:
    """The words and their counts; labels follow the words and are skipped."""
    words: list[bytes] = []
    counts: list[int] = []
    data, place = b"", 0
    for number in range(1, n_entries + 1):
        end = data.find(b"\0", place)
        while end < 0 or end + 10 > len(data):
            fresh = stream.read(_CHUNK)
            if not fresh:
                raise UserError(f"{path} ends at word {number} of {n_entries}: the file is truncated")
            data, place = data[place:] + fresh, 0
            end = data.find(b"\0")
        count, kind = struct.unpack_from("<qb", data, end + 1)
        if kind not in (0, 1) or (kind == 0) != (number <= n_words):
            raise UserError(f"{path}: word {number} is of kind {kind}: the file is damaged")
        if kind == 0:
            words.append(data[place:end])
            counts.append(count)
        place = end + 10
    stream.seek(place - len(data), 1)
    return words, np.array(counts, np.int64)


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
