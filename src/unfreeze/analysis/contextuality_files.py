"""The temporary files of `contextuality`: sentences in pieces, and the vectors of occurrences, sorted by word.

Legend: R rows of D numbers.
"""

from __future__ import annotations

import errno
import os
import tempfile
from array import array
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from unfreeze.folders import writing
from unfreeze.text.tokenizers import Pieces

WRITTEN_TOGETHER = 1 << 18
"""Numbers of the pieces that are written at once."""
Floats = NDArray[np.float32]


class KeptPieces:
    """Encoded sentences in a file, so that none is split into pieces twice.

    Args:
        file: empty, and without a buffer, so that closing it writes nothing.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.ends = file, array("q", [0])
        self._waiting = array("i")

    def append(self, pieces: Pieces) -> None:
        """Keep the next sentence."""
        starts, ends = zip(*pieces.offsets, strict=True) if pieces.offsets else ((), ())
        row = [*pieces.ids, *pieces.words, *starts, *ends]
        self._waiting.extend(row)
        self.ends.append(self.ends[-1] + len(row))
        if len(self._waiting) > WRITTEN_TOGETHER:
            self._write()

    def _write(self) -> None:
        size = len(self._waiting) * self._waiting.itemsize
        with writing(Path(tempfile.gettempdir())):
            if self.file.write(self._waiting) < size:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._waiting = array("i")

    def __getitem__(self, number: int) -> Pieces:
        if self._waiting:
            self._write()
        start, end = self.ends[number], self.ends[number + 1]
        row = array("i")
        self.file.seek(start * row.itemsize)
        row.fromfile(self.file, end - start)
        size = (end - start) // 4
        ids, words, starts, ends = (row[part * size : (part + 1) * size] for part in range(4))
        return Pieces(ids.tolist(), words.tolist(), list(zip(starts, ends, strict=True)))


def write_rows(file: BinaryIO, rows: NDArray[np.int32], vectors: Floats) -> None:
    """Write vectors (R, D), each at its row of the file.

    Raises:
        UserError: the disk is full.
    """
    handle, size = file.fileno(), vectors[:1].nbytes
    with writing(Path(tempfile.gettempdir())):
        for row, vector in zip(rows.tolist(), vectors, strict=True):
            if os.pwrite(handle, vector.data, row * size) < size:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def read_rows(file: BinaryIO, first: int, into: Floats) -> None:
    """Read consecutive rows into an array (R, D), the first one from row `first` of the file."""
    file.seek(first * into[:1].nbytes)
    into[:] = np.fromfile(file, np.float32, into.size).reshape(into.shape)
