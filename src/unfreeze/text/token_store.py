"""Token ids of a corpus on disk, memory-mapped; built by many processes, resumable at any moment.

The layout and how it is written are described in store_builder.py. The bytes depend only on the documents, the tokenizer and
`shard_characters`, not on the number of workers or on interruptions of the build.

Memory: about two shards per worker for building; 8 bytes per document (mapped) for reading. `document` returns a view of the
memory map. `rows` and `gather` read with `pread`, because the kernel maps up to 2 MiB around each page that is touched, and 64
lanes in 64 places would soon have mapped the whole file.
"""

from __future__ import annotations

import mmap
import os
import weakref
from collections.abc import Iterable
from contextlib import closing
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from unfreeze.errors import UserError
from unfreeze.folders import read_config
from unfreeze.memory import release_free_memory
from unfreeze.progress import SILENT, Progress
from unfreeze.text.store_builder import (
    JOURNAL,
    KIND,
    OFFSETS,
    DocumentTokenizer,
    Ids,
    StoreBuilder,
    StoreConfig,
    encode_shard,
    read_journal,
    size_of,
    tokens_name,
    tokens_of_files,
)
from unfreeze.text.workers import batches_of_texts, ordered_results

Numbers = NDArray[np.integer[Any]]
Places = NDArray[np.int64]


class TokenStore:
    """The documents of a corpus as token ids.

    Attributes:
        n_tokens, n_documents: totals.
        n_bytes: UTF-8 bytes of the documents' text.
        unknown_bytes: UTF-8 bytes of words that the vocabulary lacks.
        pad_id, fingerprint: of the tokenizer.
    """

    def __init__(self, folder: Path, config: dict[str, Any], file_tokens: list[int]) -> None:
        """Only for `open` and `build`, which check the folder."""
        self.folder = folder
        self.n_tokens: int = config["n_tokens"]
        self.n_documents: int = config["n_documents"]
        self.n_bytes: int = config["n_bytes"]
        self.unknown_bytes: int = config["unknown_bytes"]
        self.pad_id: int = config["pad_id"]
        self.fingerprint: str = config["fingerprint"]
        self.dtype = np.dtype(config["dtype"])
        self._offsets = self._map(folder / OFFSETS, np.dtype("<i8"), self.n_documents + 1)
        self._files = [
            self._map(folder / tokens_name(file), self.dtype, size) for file, size in enumerate(file_tokens)
        ]
        self._file_begins = np.array([*accumulate(file_tokens, initial=0)][:-1])
        self._descriptors = [
            os.open(folder / tokens_name(file), os.O_RDONLY) for file in range(len(file_tokens))
        ]
        weakref.finalize(self, lambda descriptors: list(map(os.close, descriptors)), self._descriptors)

    @classmethod
    def open(cls, folder: str | Path) -> TokenStore:
        """Map a finished store.

        Raises:
            UserError: it is not a token store, was written by a newer version, or a file is missing or truncated.
        """
        folder = Path(folder)
        config = read_config(folder, {KIND}, StoreConfig)
        file_tokens = tokens_of_files(read_journal(folder)[1])
        if sum(file_tokens) != config["n_tokens"]:
            raise UserError(
                f"{folder / JOURNAL} does not add up to the store's tokens: the token store is damaged, build it again"
            )
        return cls(folder, config, file_tokens)

    @classmethod
    def build(
        cls,
        documents: Iterable[str],
        tokenizer: DocumentTokenizer,
        folder: str | Path,
        *,
        workers: int | None = None,
        progress: Progress = SILENT,
        shard_characters: int = 8_000_000,
    ) -> TokenStore:
        """Encode `documents` to `folder` and open it.

        An interrupted build is resumed. An existing store of the same documents and tokenizer is left as it is (`documents`
        are read to find out); any other one is replaced when the new one is complete.

        Args:
            workers: number of processes (default: one per core).
            shard_characters: amount of text that a worker encodes at a time.

        Raises:
            UserError: there is no document, `folder` contains something else, a worker was killed, or the disk is full (an
                existing store is intact).
        """
        builder = StoreBuilder(Path(folder).resolve(), tokenizer)
        shards = batches_of_texts(documents, shard_characters)
        with progress.bar("encode text", unit="document") as bar:
            unknown_shards = builder.pass_known(shards, bar.advance)
            encoded_shards = ordered_results(encode_shard, tokenizer, unknown_shards, workers=workers)
            with closing(encoded_shards) as results:
                for encoded in results:
                    builder.append(encoded)
                    bar.advance(encoded.shard.documents)
            builder.finish()
        store = cls.open(folder)
        release_free_memory(store.n_tokens)
        return store

    @property
    def lengths(self) -> NDArray[np.int64]:
        """The number of tokens of each document, (n_documents,); a new array at each call."""
        return np.diff(self._offsets)

    def document(self, number: int) -> Ids:
        """The ids of one document, memory-mapped; it begins with xxbos."""
        begin, end = self._offsets[number : number + 2].tolist()
        file = int(np.searchsorted(self._file_begins, begin, side="right")) - 1
        shift = int(self._file_begins[file])
        return self._files[file][begin - shift : end - shift]

    def gather(self, order: Numbers, cumulative: Places, start: int, stop: int) -> Ids:
        """Tokens [start, stop) of the stream that `rows` describes."""
        return self.rows(order, cumulative, np.array([start]), stop - start).reshape(-1)

    def rows(
        self,
        order: Numbers,
        cumulative: Places,
        begins: Places,
        length: int,
        *,
        direction: Literal["forward", "backward", "reversed"] = "forward",
    ) -> Ids:
        """Slices of the stream of the documents in `order`, one after the other.

        Args:
            order: (D,) numbers of documents.
            cumulative: (D + 1,) start of each document in the stream, and the end of the stream.
            begins: (B,) starts of the slices in the stream.
            length: T, of each slice; none may reach beyond the end of the stream.
            direction: how each document is read; "backward" is its first token, then the rest from its end.

        Returns:
            (B, T) ids. The cost is about a microsecond per document that is read.
        """
        if not length:
            return np.empty((len(begins), 0), dtype=self.dtype)
        row, place = _overlaps(cumulative, begins, length)
        document_begins, document_ends = cumulative[place], cumulative[place + 1]
        first = np.maximum(begins[row], document_begins) - document_begins
        last = np.minimum(begins[row] + length, document_ends) - document_begins
        addresses = self._offsets[order[place]]
        if direction == "forward":
            return self._read(addresses + first, last - first).reshape(-1, length)
        # Reversing each chunk is the same as reversing the concatenation of the chunks in reverse order.
        n_fixed = int(direction == "backward")
        with_first = (first == 0) & bool(n_fixed)
        rest_begin = addresses + (document_ends - document_begins) - last + n_fixed
        rest_size = last - np.maximum(first, n_fixed)
        chunks = np.stack([addresses, rest_begin], axis=1).ravel()[::-1]
        sizes = np.stack([with_first, rest_size], axis=1).ravel()[::-1]
        return self._read(chunks, sizes)[::-1].reshape(-1, length)

    def _read(self, addresses: Places, sizes: Places) -> Ids:
        """Concatenated chunks of the sequence of all tokens; no chunk crosses the end of a file."""
        files = np.searchsorted(self._file_begins, addresses, side="right") - 1
        byte_begins = (addresses - self._file_begins[files]) * self.dtype.itemsize
        chunks = zip(
            files.tolist(), (sizes * self.dtype.itemsize).tolist(), byte_begins.tolist(), strict=True
        )
        data = b"".join(
            [os.pread(self._descriptors[file], size, begin) for file, size, begin in chunks if size]
        )
        return np.frombuffer(data, dtype=self.dtype)

    def _map(self, path: Path, dtype: np.dtype[Any], length: int) -> NDArray[Any]:
        expected, size = length * dtype.itemsize, size_of(path)
        if size != expected:
            found = "is missing" if size < 0 else f"has {size} bytes, not {expected}"
            raise UserError(f"{path} {found}: the token store is damaged, build it again")
        if not expected:
            return np.empty(0, dtype=dtype)  # an empty file cannot be mapped
        with path.open("rb") as file:
            return np.frombuffer(mmap.mmap(file.fileno(), expected, access=mmap.ACCESS_READ), dtype=dtype)


def _overlaps(cumulative: Places, begins: Places, length: int) -> tuple[Places, Places]:
    """All pairs (row, place) of a row [begin, begin + length) and a document of the stream that share a token."""
    firsts = np.searchsorted(cumulative, begins, side="right") - 1
    counts = np.searchsorted(cumulative, begins + length, side="left") - firsts
    row = np.repeat(np.arange(len(begins)), counts)
    number_in_row = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
    return row, firsts[row] + number_in_row
