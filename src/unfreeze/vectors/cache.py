"""Open files of word vectors; large ones are read once and memory-mapped after that.

When it is opened for the first time, a large file is streamed into a folder of the cache, in the memory of its words. After that
only the words are read and the matrix is mapped, so that processes share its pages and unused vectors are never read.

    CACHE/vectors/NAME-PLACE/  config.json   identity of the file, sizes of the parts
                               words.json    a list
                               matrix.npy    (V, D) float32

CACHE is the folder in UNFREEZE_CACHE, or ~/.cache/unfreeze. PLACE is a digest of the path of the file. A file that has changed
(its size, its time, or its first or last 64 KiB) is read again and replaces the earlier folder. If the cache cannot be written,
the file is read into memory.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from unfreeze.caches import making, mark_used
from unfreeze.checked import read_json
from unfreeze.errors import CannotWrite, UserError
from unfreeze.folders import Config, cache_folder, read_config, write_config, written_folder
from unfreeze.vectors.fasttext import is_fasttext, read_fasttext
from unfreeze.vectors.reading import load_vectors, read_word_vectors
from unfreeze.vectors.table import Floats, LoadReport, VectorTable

_logger = logging.getLogger(__name__)

CACHED_BYTES = 20_000_000
"""Files of at least this size are cached."""
_KIND = "cached word vectors"
_WORDS, _MATRIX = "words.json", "matrix.npy"
_SAMPLE = 1 << 16
_NPY_HEADER = 128
"""Size of the header of a .npy file, which is written last, when the number of rows is known."""


@dataclass(frozen=True, kw_only=True)
class VectorCacheConfig(Config):
    """config.json of a cached file."""

    source: dict[str, Any]
    """Identifies the file and its state."""
    shape: list[int]
    sizes: dict[str, int]
    """Bytes of each part."""
    report: dict[str, Any]


def open_vector_file(path: str | Path, *, extra_words: Collection[str] = ()) -> VectorTable:
    """The vectors of a file in any supported format; large files are cached.

    Args:
        extra_words: unknown words among these get a vector composed of their n-grams if the file is a fastText model; they come
            after the others.

    Raises:
        UserError: the file is missing or damaged.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(f"{path}: no such file of word vectors")
    large = path.stat().st_size >= CACHED_BYTES
    table = open_word_vectors(path) if large else read_word_vectors(path)
    unknown = [word for word in dict.fromkeys(extra_words) if table.row(word) is None]
    if not unknown or not is_fasttext(path):
        return table
    made = read_fasttext(path).vectors(unknown)
    usable = [row for row in range(len(unknown)) if made[row].any()]
    words, matrix = [unknown[row] for row in usable], np.concatenate([table.matrix, made[usable]])
    return VectorTable([*table.words, *words], matrix, table.report, len(words))


def open_word_vectors(path: str | Path, cache: str | Path | None = None) -> VectorTable:
    """`read_word_vectors` through the cache, whatever the file's size; a matrix from the cache is read-only.

    Args:
        cache: folder of the cache (default: CACHE/vectors).

    Raises:
        UserError: the file is missing or damaged.
    """
    path = Path(path)
    if not path.is_file():
        return read_word_vectors(path)  # raises
    try:
        folder = cache_folder("vectors") if cache is None else Path(cache)
        where = hashlib.blake2b(os.fsencode(path.resolve()), digest_size=8).hexdigest()
        place = folder / f"{path.name[:60]}-{where}"
        key = _key(path)
        table = _mapped(place, key)
        if table is None:
            with making(place):
                if _mapped(place, key) is None:  # another process may have written it meanwhile
                    _keep(path, place, key)
            table = _mapped(place, key)
    except CannotWrite as error:
        _logger.warning("%s is not cached: %s", path, error)
        return read_word_vectors(path)
    if table is None:
        return read_word_vectors(path)
    mark_used(place)
    return table


def _key(path: Path) -> dict[str, Any]:
    """Identify the state of a file without reading all of it."""
    facts = path.stat()
    with path.open("rb") as file:
        sample = file.read(_SAMPLE)
        file.seek(max(0, facts.st_size - _SAMPLE))
        sample += file.read(_SAMPLE)
    return {
        "size": facts.st_size,
        "time": facts.st_mtime_ns,
        "digest": hashlib.blake2b(sample, digest_size=16).hexdigest(),
    }


def _keep(path: Path, place: Path, key: dict[str, Any]) -> None:
    with written_folder(place) as folder:
        with (folder / _MATRIX).open("wb") as file:
            table = load_vectors(path, lambda size, _: _FileRows(file, size))
        words = json.dumps(table.words, ensure_ascii=False).encode("utf-8", "surrogatepass")
        (folder / _WORDS).write_bytes(words)
        sizes = {name: (folder / name).stat().st_size for name in (_WORDS, _MATRIX)}
        shape = list(table.matrix.shape)
        write_config(
            folder,
            {"kind": _KIND, "source": key, "shape": shape, "sizes": sizes, "report": asdict(table.report)},
        )
    _logger.info("%s is cached in %s", path, place)


def _mapped(place: Path, key: dict[str, Any]) -> VectorTable | None:
    """The cached table; None if there is none, or if it belongs to another state of the file or is damaged."""
    if not place.exists():
        return None
    try:
        config = read_config(place, {_KIND}, VectorCacheConfig)
        if config["source"] != key:
            return None
        for name in (_WORDS, _MATRIX):
            if (place / name).stat().st_size != config["sizes"][name]:
                raise ValueError(f"{name} is truncated")
        words = read_json((place / _WORDS).read_bytes().decode("utf-8", "surrogatepass"))
        matrix = np.asarray(np.load(place / _MATRIX, mmap_mode="r", allow_pickle=False))
        if [len(words), *matrix.shape[1:]] != config["shape"] or len(matrix) != len(words):
            raise ValueError("its parts do not fit each other")
        return VectorTable(words, matrix, LoadReport(**config["report"]))
    except (OSError, ValueError, TypeError, KeyError) as error:
        _logger.warning("%s is damaged (%s) and is written again", place, error)
        return None


class _FileRows:
    """Appends vectors to a .npy file."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._shape = file, (0, size)
        file.seek(_NPY_HEADER)

    def add(self, rows: Floats) -> None:
        self._file.write(rows.astype("<f4", copy=False).tobytes())
        self._shape = (self._shape[0] + len(rows), self._shape[1])

    def matrix(self) -> Floats:
        self._file.seek(0)
        fields = {"descr": "<f4", "fortran_order": False, "shape": self._shape}
        np.lib.format.write_array_header_1_0(self._file, fields)
        assert self._file.tell() == _NPY_HEADER, "numpy leaves room for any number of rows"
        self._file.flush()
        if not self._shape[0]:  # an empty file cannot be mapped
            return np.empty(self._shape, np.float32)
        return np.load(self._file.name, mmap_mode="r")  # type: ignore[no-any-return]
