"""Write an embedded text to one file: Parquet, NPZ or HDF5.

`embed_text` writes vectors into a folder, from which an interrupted run is resumed. A folder with NPZ_HEAD free bytes becomes an
.npz in place, so that every vector is written only once. The other formats cannot be resumed after a kill; they are written
line by line from the folder.

    .parquet  a row per line: line (int64), text, words (list of strings), vectors (list of W lists of K x D numbers);
              "layers" and "width" in the metadata of the schema give K and D
    .npz      vectors (N, K, D), offsets (lines + 1,): the words of line i are rows offsets[i] to offsets[i + 1];
              words (N,) and texts (lines,) as concatenated UTF-8 bytes; words_ends and texts_ends are their ends
    .hdf5     as in AllenNLP: a data set (K, W, D) for each line, named "0", "1", ..., and `sentences`, all texts in order;
              lines are identified by number, so that texts may contain any character

Pooled lines have one row each, W = 1.
"""

from __future__ import annotations

import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unfreeze.encoders.features import VECTORS, EmbeddedText
from unfreeze.errors import UserError, import_extra
from unfreeze.folders import written_file
from unfreeze.progress import SILENT, Progress

LINES = 1024
"""Number of lines that are written at once."""
NPZ_HEAD = 256
"""Number of bytes that `embed_text` must leave free for the headers of an .npz."""


def write_embedded(text: EmbeddedText, path: str | Path, *, progress: Progress = SILENT) -> None:
    """Write `text` atomically, in the format given by the suffix of `path`.

    If `text` has NPZ_HEAD free bytes, an .npz takes over its file of vectors, and the folder of `text` is no longer complete.

    Raises:
        UserError: the suffix is unknown, a library is missing, or the file cannot be written.
    """
    path = Path(path)
    write = writer_for(path)
    with (
        written_file(path) as temporary,
        progress.bar(f"write {path.name}", total=text.n_lines, unit="line") as bar,
    ):
        write(text, temporary, bar.advance)


def writer_for(path: Path) -> Callable[[EmbeddedText, Path, Callable[[int], None]], None]:
    """Return the function that writes files with this suffix; call it before a long run to find errors early.

    Raises:
        UserError: the suffix is unknown, or a library is missing.
    """
    if path.suffix == ".npz":
        return _write_npz
    if path.suffix == ".parquet":
        import_extra("pyarrow", "data")
        return _write_parquet
    if path.suffix in (".hdf5", ".h5"):
        import_extra("h5py", "formats")
        return _write_hdf5
    raise UserError(f"cannot write {str(path)!r}: the name must end in .parquet, .npz or .hdf5")


def _write_parquet(text: EmbeddedText, path: Path, advance: Callable[[int], None]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    n_layers, width = text.vectors.shape[1:]
    number = pa.float16() if text.settings.half else pa.float32()
    vector = pa.list_(number, n_layers * width)
    fields = {
        "line": pa.int64(),
        "text": pa.string(),
        "words": pa.list_(pa.string()),
        "vectors": pa.list_(vector),
    }
    facts = {"layers": str(n_layers), "width": str(width)}
    schema = pa.schema(list(fields.items()), metadata=facts)
    first, lines = 0, text.read_lines()
    with pq.ParquetWriter(path, schema) as writer:
        while batch := list(islice(lines, LINES)):
            counts = np.cumsum([0, *(len(line.vectors) for line in batch)])
            flat = np.concatenate([line.vectors.reshape(-1) for line in batch])
            vectors = pa.FixedSizeListArray.from_arrays(pa.array(flat, number), type=vector)
            columns = [
                pa.array(range(first, first + len(batch)), pa.int64()),
                pa.array([_plain(line.text) for line in batch]),
                pa.array([[_plain(word) for word in line.words] for line in batch], fields["words"]),
                pa.ListArray.from_arrays(pa.array(counts, pa.int32()), vectors),
            ]
            writer.write_batch(pa.record_batch(columns, schema=schema))
            first += len(batch)
            advance(len(batch))


def _plain(text: str) -> str:
    """Replace lone surrogates, which UTF-8 cannot encode."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _write_hdf5(text: EmbeddedText, path: Path, advance: Callable[[int], None]) -> None:
    import h5py

    with h5py.File(path, "w") as file:
        strings = h5py.string_dtype("utf-8")
        sentences = file.create_dataset("sentences", (text.n_lines,), strings)
        for number, line in enumerate(text.read_lines()):
            file.create_dataset(str(number), data=np.swapaxes(line.vectors, 0, 1))
            sentences[number] = _plain(line.text)
            advance(1)


# .npz is a ZIP archive of uncompressed arrays, so vectors.bin becomes its first member when headers are written before it.
# The NPZ_HEAD bytes contain the header of the member in the archive, then that of the array in numpy's format 2.0.


def _write_npz(text: EmbeddedText, path: Path, advance: Callable[[int], None]) -> None:
    place = text.folder / VECTORS
    if text.head != NPZ_HEAD:
        with place.open("rb") as source, path.open("wb") as target:
            source.seek(text.head)
            target.write(bytes(NPZ_HEAD))
            shutil.copyfileobj(source, target, 1 << 20)
        place = path
    rows = [0]
    for line in text.lines():
        rows.append(rows[-1] + len(line.vectors))
        advance(1)
    member = zipfile.ZipInfo("vectors.npy")
    member.CRC = member.header_offset = 0
    fields = {
        "descr": np.lib.format.dtype_to_descr(text.settings.dtype),
        "fortran_order": False,
        "shape": text.vectors.shape,
    }
    size = NPZ_HEAD - len(member.FileHeader(zip64=True))
    header = repr(fields).encode().ljust(size - 13) + b"\n"
    header = b"\x93NUMPY\x02\x00" + len(header).to_bytes(4, "little") + header
    with place.open("r+b") as file:
        file.truncate(NPZ_HEAD + text.n_bytes)  # an interrupted run may have appended the other members
        member.CRC = zlib.crc32(header)
        file.seek(NPZ_HEAD)
        for piece in iter(lambda: file.read(1 << 20), b""):
            member.CRC = zlib.crc32(piece, member.CRC)
        member.file_size = member.compress_size = len(header) + text.n_bytes
        with zipfile.ZipFile(file, "w") as archive:  # writes on from the current position
            archive.filelist.append(member)
            archive.NameToInfo[member.filename] = member
            _add(archive, "offsets", np.array(rows, dtype=np.int64))
            _add_strings(archive, "texts", lambda: (line.text for line in text.lines()))
            _add_strings(archive, "words", lambda: (word for line in text.lines() for word in line.words))
        file.seek(0)
        file.write(member.FileHeader(zip64=True) + header)
    if place != path:
        shutil.move(place, path)


def _add(archive: zipfile.ZipFile, name: str, array: NDArray[Any]) -> None:
    with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
        np.lib.format.write_array(file, array)


def _add_strings(archive: zipfile.ZipFile, name: str, make: Callable[[], Iterator[str]]) -> None:
    """Strings as concatenated bytes, and the end of each; streamed, because they may not fit into memory."""
    ends = np.cumsum([len(each.encode("utf-8", "replace")) for each in make()], dtype=np.int64)
    _add(archive, f"{name}_ends", ends)
    shape = (int(ends[-1]) if len(ends) else 0,)
    with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_2_0(file, header)
        for each in make():
            file.write(each.encode("utf-8", "replace"))
