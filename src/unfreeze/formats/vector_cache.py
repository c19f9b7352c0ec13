"""Word vectors that are read once and mapped from then on.

The first time a foreign file is streamed into a folder of the cache, in the memory of its words; after that only the words
are read and the matrix is mapped, so that processes share its pages and what is never looked up is never read.

    CACHE/vectors/NAME-PLACE/  config.json   of which file it is, and how large its parts are
                               words.json    a list
                               matrix.npy    (V, D) float32

CACHE is the folder in UNFREEZE_CACHE, else ~/.cache/unfreeze. There is one folder for each place of a file: a file that
changed (its size, its time, or its first and last 64 KiB) is read anew and takes the place of what was kept of it. A cache
that cannot be written is done without.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from unfreeze.caches import making, mark_used
from unfreeze.checked import read_json
from unfreeze.errors import CannotWrite
from unfreeze.folders import Config, cache_folder, read_config, write_config, written_folder
from unfreeze.formats.vector_table import Floats, LoadReport, VectorTable
from unfreeze.formats.word_vectors import load_vectors, read_word_vectors

_logger = logging.getLogger(__name__)

_KIND = "cached word vectors"
_WORDS, _MATRIX = "words.json", "matrix.npy"
_SAMPLE = 1 << 16
_NPY_HEADER = 128
"""Bytes before the numbers of a .npy whose header we write last, when the number of rows is known."""


@dataclass(frozen=True, kw_only=True)
class VectorCacheConfig(Config):
    """What config.json says of the vectors of a file."""

    source: dict[str, Any]
    """Tells the file from others, and from what it was before."""
    shape: list[int]
    sizes: dict[str, int]
    """Bytes of each part."""
    report: dict[str, Any]


def open_word_vectors(path: str | Path, cache: str | Path | None = None) -> VectorTable:
    """`read_word_vectors`, mapped from the cache where the file was opened before; its matrix is read-only then.

    Args:
        cache: the folder to keep it in, instead of the one of all word vectors.

    Raises:
        UserError: no such file, or it is broken.
    """
    path = Path(path)
    if not path.is_file():
        return read_word_vectors(path)  # says what is wrong
    try:
        place = _place(path, cache_folder("vectors") if cache is None else Path(cache))
        key = _key(path)
        table = _mapped(place, key)
        if table is None:
            with making(place):
                if _mapped(place, key) is None:  # else another process has made it meanwhile
                    _keep(path, place, key)
            table = _mapped(place, key)
    except CannotWrite as error:
        _logger.warning("%s is not kept: %s", path, error)
        return read_word_vectors(path)
    if table is not None:
        mark_used(place)
    return read_word_vectors(path) if table is None else table


def _place(path: Path, cache: Path) -> Path:
    where = hashlib.blake2b(os.fsencode(path.resolve()), digest_size=8).hexdigest()
    return cache / f"{path.name[:60]}-{where}"


def _key(path: Path) -> dict[str, Any]:
    """What tells a file from others of its name, without reading all of it."""
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
    _logger.info("%s is kept in %s", path, place)


def _mapped(place: Path, key: dict[str, Any]) -> VectorTable | None:
    """None where nothing is kept, or it is of another file or damaged."""
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
        _logger.warning("%s is damaged (%s) and is made anew", place, error)
        return None


class _FileRows:
    """Rows that go to a .npy as they come."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._shape = file, (0, size)
        file.seek(_NPY_HEADER)

    def add(self, rows: Floats) -> None:
        self._file.write(rows.astype("<f4", copy=False).tobytes())
        self._shape = (self._shape[0] + len(rows), self._shape[1])

    def matrix(self) -> Floats:
        fields = {"descr": "<f4", "fortran_order": False, "shape": self._shape}
        header = repr(fields).encode().ljust(_NPY_HEADER - 11) + b"\n"
        self._file.seek(0)
        self._file.write(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
        self._file.flush()
        if not self._shape[0]:  # nothing cannot be mapped
            return np.empty(self._shape, np.float32)
        return np.load(self._file.name, mmap_mode="r")  # type: ignore[no-any-return]
