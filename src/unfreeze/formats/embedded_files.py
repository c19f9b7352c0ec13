"""Embedded text as one file: Parquet, NPZ or HDF5, written line by line from the folder that `embed_text` fills.

    .parquet  a row a line: line (int64), text, words (list of strings), vectors (list of W lists of K x D numbers);
              the shape of a word's vectors is in the schema's metadata, "layers" and "width"
    .npz      vectors (N, K, D), offsets (lines + 1,): the words of line i are rows offsets[i] to offsets[i + 1];
              words (N,) and texts (lines,) as UTF-8 bytes behind words_ends and texts_ends
    .hdf5     as AllenNLP wrote it: a data set "0", "1", ... (K, W, D) a line, and `sentences`, all texts in their order;
              a line is found by its number, so that its text may hold any character

Pooled lines have one row each and W = 1.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unfreeze.encoders.features import EmbeddedText
from unfreeze.errors import UserError
from unfreeze.folders import written_file
from unfreeze.progress import SILENT, Progress

LINES = 1024
"""Lines that are written together."""


def write_embedded(text: EmbeddedText, path: str | Path, *, progress: Progress = SILENT) -> None:
    """Write what is in `text` as the suffix of `path` says, whole or not at all.

    Raises:
        UserError: the suffix is unknown, a library is missing, or the place cannot be written.
    """
    path = Path(path)
    write = writer_for(path)
    with (
        written_file(path) as temporary,
        progress.bar(f"write {path.name}", total=text.n_lines, unit="line") as bar,
    ):
        write(text, temporary, bar.advance)


def writer_for(path: Path) -> Callable[[EmbeddedText, Path, Callable[[int], None]], None]:
    """What writes a file of that suffix, with its library at hand.

    Raises:
        UserError: as `write_embedded`; so a long run does not end in it.
    """
    if path.suffix == ".npz":
        return _write_npz
    if path.suffix == ".parquet":
        _need("pyarrow", "data")
        return _write_parquet
    if path.suffix in (".hdf5", ".h5"):
        _need("h5py", "formats")
        return _write_hdf5
    raise UserError(f"cannot write {str(path)!r}: the name has to end in .parquet, .npz or .hdf5")


def _need(library: str, extra: str) -> None:
    from importlib.util import find_spec

    if find_spec(library) is None:
        raise UserError(f"this needs {library}: pip install 'unfreeze[{extra}]'")


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
    """Without lone surrogates, which UTF-8 cannot hold."""
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


def _write_npz(text: EmbeddedText, path: Path, advance: Callable[[int], None]) -> None:
    """The members are streamed: no array is ever in memory whole, but for 8 bytes a word."""
    rows = [0]
    for line in text.lines():
        rows.append(rows[-1] + len(line.vectors))
        advance(1)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        _member(archive, "offsets", np.array(rows, dtype=np.int64))
        _streamed(archive, "vectors", text.vectors.dtype, text.vectors.shape, _pieces(text))
        _strings(archive, "texts", lambda: (line.text for line in text.lines()))
        _strings(archive, "words", lambda: (word for line in text.lines() for word in line.words))


def _pieces(text: EmbeddedText) -> Iterator[bytes]:
    for line in text.read_lines():
        yield line.vectors.tobytes()


def _strings(archive: zipfile.ZipFile, name: str, make: Callable[[], Iterator[str]]) -> None:
    """Strings as bytes one after the other, and where each ends."""
    ends = np.cumsum([len(each.encode("utf-8", "replace")) for each in make()], dtype=np.int64)
    _member(archive, f"{name}_ends", ends)
    size = int(ends[-1]) if len(ends) else 0
    encoded = (each.encode("utf-8", "replace") for each in make())
    _streamed(archive, name, np.dtype(np.uint8), (size,), encoded)


def _member(archive: zipfile.ZipFile, name: str, array: NDArray[Any]) -> None:
    _streamed(archive, name, array.dtype, array.shape, iter([array.tobytes()]))


def _streamed(
    archive: zipfile.ZipFile, name: str, dtype: np.dtype[Any], shape: tuple[int, ...], data: Iterator[bytes]
) -> None:
    with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
        header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_2_0(file, header)
        for piece in data:
            file.write(piece)


def read_strings(arrays: Any, name: str) -> list[str]:
    """The strings of an .npz, "words" or "texts"."""
    data, ends = arrays[name].tobytes(), arrays[f"{name}_ends"].tolist()
    return [data[begin:end].decode() for begin, end in zip([0, *ends], ends, strict=False)]
