"""Word vectors in other people's files: word2vec text and binary, GloVe text, fastText .vec and .bin, a plain .npz; .gz of these.

What a file is, is told by its beginning: fastText's .bin by its magic number, text behind a header by its second line;
the suffix only says what cannot be seen (.npz, .bin). What published files have that they should not is handled and
counted (`VectorTable.report`), and said once. To map a large file the next time instead of reading it: `vector_cache`.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Callable, Iterable, Iterator, Set
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast
from zipfile import BadZipFile

import numpy as np
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

from unfreeze.errors import UserError
from unfreeze.folders import written_file
from unfreeze.formats.fasttext import MAGIC, fasttext_source
from unfreeze.formats.vector_binary import binary_row, binary_source, header_numbers
from unfreeze.formats.vector_blocks import Block, MemoryRows, RowStore, VectorSource, collect
from unfreeze.formats.vector_table import LoadReport, VectorTable
from unfreeze.formats.vector_text import is_line, text_row, text_source
from unfreeze.text.lines import hidden_compression

__all__ = ["LoadReport", "VectorTable", "load_vectors", "read_word_vectors", "write_word_vectors"]

_REFUSED = {
    "": (
        " \n\r",
        "a space or line break, which word2vec's formats cannot carry: write .npz",
    ),
    ".npz": ("\0", "a NUL, which .npz cannot carry"),
}
"""What a word may not hold in a kind of file, and how to say so."""
_HEAD = 1 << 16
"""Bytes that tell a format."""


def read_word_vectors(
    path: str | Path, *, limit: int | None = None, only: Set[str] | None = None
) -> VectorTable:
    """Read word2vec text or binary (.bin), GloVe text, fastText .vec or .bin, or .npz (arrays `words` and `matrix`); .gz too.

    Args:
        limit: read no more than the first so many words.
        only: keep only these words, in the order of the file, as many of them as are there; memory is bounded by them,
            and what else the file holds is not checked.

    Raises:
        UserError: no such file, or it is broken: the message names the line (in a binary file the word).
    """
    if limit is not None and limit < 1:
        raise UserError(f"limit is {limit}: at least the first word must be read")
    return load_vectors(Path(path), MemoryRows, limit, only)


def load_vectors(
    path: Path,
    store: Callable[[int, int | None], RowStore],
    limit: int | None = None,
    only: Set[str] | None = None,
) -> VectorTable:
    """`read_word_vectors` into a place for rows, which `store` makes for their size and, if known, their number."""
    if not path.is_file():
        raise UserError(
            f"{path} is no file: word vectors are one file in word2vec's, GloVe's or fastText's format, or .npz"
        )
    report = LoadReport()
    try:
        with _opened(path) as stream:
            source = _source(path, stream, report, limit, only)
            rows = store(source.size, None if only is not None else source.n_words)
            table = collect(source, rows, report, only)
    except (EOFError, gzip.BadGzipFile, BadZipFile, zlib.error) as error:
        raise UserError(f"{path} cannot be unpacked ({error}): the file is truncated or damaged") from error
    if not table.words and only is None:
        raise UserError(f"{path} holds no words: {report.describe() or 'its vocabulary is empty'}")
    report.log(path)
    return table


def write_word_vectors(path: str | Path, vectors: VectorTable, *, header: bool = True) -> None:
    """Write word2vec binary (.bin), .npz, or text (any other name); .gz packs it.

    Args:
        header: text begins with the line of word2vec and fastText; GloVe's has none.

    Raises:
        UserError: a word is empty or holds what the format cannot carry; the place cannot be written.
    """
    path = Path(path)
    kind = _suffix(path)
    if not header and (kind in (".bin", ".npz") or vectors.size == 1):
        raise UserError(
            f"{path}: only text can be without a header, with vectors of two numbers or more (line 1 would look like one)"
        )
    words = _encoded(vectors.words, kind)
    with written_file(path) as temporary, _opened(path, temporary) as stream:
        if kind == ".npz":
            _write_npz(stream, vectors)
            return
        if header:
            stream.write(b"%d %d\n" % vectors.matrix.shape)
        to_bytes = binary_row if kind == ".bin" else text_row
        for word, row in zip(words, vectors.matrix, strict=True):
            stream.write(to_bytes(word, row.astype("<f4", copy=False)))


def _write_npz(stream: BinaryIO, vectors: VectorTable) -> None:
    # Packed it goes through memory: zipfile goes back to correct what it wrote, which gzip cannot.
    place = io.BytesIO() if isinstance(stream, gzip.GzipFile) else stream
    np.savez(place, words=np.array(vectors.words), matrix=vectors.matrix)
    if isinstance(place, io.BytesIO):
        stream.write(place.getbuffer())


def _encoded(words: Iterable[str], kind: str) -> list[bytes]:
    refused, said = _REFUSED.get(kind, _REFUSED[""])
    found = []
    for number, word in enumerate(words, start=1):
        if not word or any(mark in word for mark in refused):
            raise UserError(f"word {number} ({word!r}) is empty or holds {said}")
        try:
            found.append(word.encode())
        except UnicodeEncodeError as error:
            raise UserError(
                f"word {number} ({word!r}) holds half a character, which UTF-8 cannot carry"
            ) from error
    return found


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


def _source(
    path: Path, stream: BinaryIO, report: LoadReport, limit: int | None, only: Set[str] | None
) -> VectorSource:
    if _suffix(path) == ".npz":
        return _npz_source(path, stream, limit)
    head = stream.read(_HEAD)
    stream.seek(0)
    if (compressed := hidden_compression(head)) is not None:
        raise UserError(f"{path} {compressed}")
    if head.startswith(MAGIC):
        return fasttext_source(path, stream, report, limit, only)
    if _is_binary(head, _suffix(path) == ".bin"):
        return binary_source(path, stream, report, limit)
    return text_source(path, stream, report, limit, only)


def _is_binary(head: bytes, said: bool) -> bool:
    """Whether a file is word2vec binary, as its name says or does not, by its first two lines."""
    first, _, rest = head.partition(b"\n")
    header = header_numbers(first.split())
    if header is None:
        return said
    second = rest.partition(b"\n")[0]
    if is_line(second, header[1]):
        return False
    numbers = rest.partition(b" ")[2][: 4 * header[1]]
    return said or any(byte < 9 or 13 < byte < 32 for byte in numbers)


def _npz_arrays(path: Path, stream: BinaryIO) -> tuple[NDArray[Any], NDArray[Any]]:
    """The arrays words, of strings, and matrix, of numbers.

    Raises:
        UserError: the file is no .npz, is encrypted, or holds something else under these names.
    """
    needed = "it needs the arrays words, of strings, and matrix, of numbers"
    try:
        found = np.load(stream, allow_pickle=False)
        arrays = [found[name] for name in ("words", "matrix")] if isinstance(found, NpzFile) else []
    except (
        KeyError,
        ValueError,
        RuntimeError,
        MemoryError,
    ) as error:  # an encrypted archive is a RuntimeError
        # numpy's advice is to load it unsafely
        why = "it is no .npz, or holds objects of Python" if "pickle" in str(error) else str(error.args[0])
        raise UserError(f"{path} is no file of word vectors ({why}): {needed}") from error
    except OSError as error:  # a damaged table of contents leads to places before the file's beginning
        raise UserError(f"{path} cannot be unpacked ({error}): the file is truncated or damaged") from error
    for array, kinds in zip(arrays, ("U", "fiu"), strict=False):
        if not isinstance(array, np.ndarray) or array.dtype.kind not in kinds:
            sort = array.dtype if isinstance(array, np.ndarray) else "bytes"
            raise UserError(f"{path} is no file of word vectors (an array is of {sort}): {needed}")
    if not arrays:
        raise UserError(f"{path} is no .npz but one array of numpy: {needed}")
    return arrays[0], arrays[1]


def _npz_source(path: Path, stream: BinaryIO, limit: int | None) -> VectorSource:
    words, matrix = _npz_arrays(path, stream)
    if matrix.ndim != 2 or words.shape != matrix.shape[:1] or not matrix.size:
        raise UserError(
            f"{path} has words of shape {words.shape} and a matrix of {matrix.shape}: they must be (V,) and (V, D)"
        )
    words, matrix = words[:limit], matrix[:limit]
    if not np.isfinite(matrix).all():
        row = int(np.flatnonzero(~np.isfinite(matrix).all(axis=1))[0])
        raise UserError(f"{path}: the vector of {str(words[row])!r} (row {row}) holds NaN or infinity")
    block: Block = (list(map(str, words.tolist())), matrix.astype(np.float32, copy=False))
    return VectorSource(matrix.shape[1], len(words), iter([block]))
