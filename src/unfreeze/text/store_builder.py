"""The files of a token store, and how they are written.

    config.json          kind "token-store", totals, fingerprint of the tokenizer
    offsets.bin          int64: start of each document in the sequence of all tokens, and the end of the sequence
    tokens-00000.bin ... uint16 (uint32 for large vocabularies), about `FILE_TOKENS` per file
    shards.jsonl         the journal: identity of the tokenizer; then a line per shard: hash of its text, sizes

The corpus is cut into shards, which worker processes encode. The builder appends the results in the order of the corpus, in a
folder next to the store, and adds a line to the journal when the tokens of a shard are safe on disk. A build that is started
again resumes after the last shard of the journal. The finished folder is renamed to the store. A file contains many shards
because each memory map needs a file descriptor, and a process has about a thousand.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from unfreeze.checked import need_call, read_json
from unfreeze.errors import UserError
from unfreeze.folders import Config, read_config, take_place, write_config, writing, written_file

KIND = "token-store"
FILE_TOKENS = 2**29
OFFSETS, JOURNAL = "offsets.bin", "shards.jsonl"

Ids = NDArray[np.unsignedinteger[Any]]
logger = logging.getLogger(__name__)


class DocumentTokenizer(Protocol):
    """The methods of a tokenizer that a token store needs; it must also be picklable."""

    @property
    def pad_id(self) -> int: ...

    def __len__(self) -> int: ...

    def fingerprint(self) -> str: ...

    def encode_with_unknown_bytes(self, texts: list[str], /) -> list[tuple[list[int], int]]: ...


@dataclass(frozen=True, kw_only=True)
class StoreConfig(Config):
    """config.json of a token store."""

    fingerprint: str
    """Digest of the tokenizer that made the ids."""
    dtype: Literal["<u2", "<u4"]
    pad_id: int
    n_documents: int
    n_tokens: int
    n_bytes: int
    unknown_bytes: int


@dataclass(frozen=True)
class Shard:
    """A line of the journal."""

    hash: str
    documents: int
    tokens: int
    bytes: int
    unknown_bytes: int
    file: int = 0


@dataclass(frozen=True)
class EncodedShard:
    """The result of a worker."""

    shard: Shard
    lengths: NDArray[np.int64]
    tokens: Ids


def encode_shard(tokenizer: DocumentTokenizer, texts: list[str]) -> EncodedShard:
    encoded = tokenizer.encode_with_unknown_bytes(texts)
    lengths = np.array([len(ids) for ids, _ in encoded], dtype=np.int64)
    ids = chain.from_iterable(ids for ids, _ in encoded)
    tokens = np.fromiter(ids, dtype=_dtype(tokenizer), count=int(lengths.sum()))
    shard = Shard(
        hash=text_hash(texts),
        documents=len(texts),
        tokens=len(tokens),
        bytes=sum(len(_utf8(text)) for text in texts),
        unknown_bytes=sum(unknown for _, unknown in encoded),
    )
    return EncodedShard(shard, lengths, tokens)


class StoreBuilder:
    """Writes a store in a folder next to its final place."""

    def __init__(self, folder: Path, tokenizer: DocumentTokenizer) -> None:
        is_empty = folder.is_dir() and not any(folder.iterdir())
        if folder.exists() and not is_empty and not (folder / JOURNAL).is_file():
            raise UserError(f"{folder} exists and is not a token store: name another folder, or delete it")
        self.folder = folder
        self.growing = folder.with_name(f".{folder.name}.building")
        self.dtype = _dtype(tokenizer)
        self.identity: dict[str, Any] = {
            "fingerprint": tokenizer.fingerprint(),
            "dtype": self.dtype.str,
            "pad_id": tokenizer.pad_id,
        }
        self.finished = self._known(folder) if self._is_complete(folder) else []
        self.shards: list[Shard] = []
        self.source: Path | None = None  # the folder that holds the tokens of `shards`
        self.started = False  # whether `growing` holds them, and nothing else

    def pass_known(self, shards: Iterator[list[str]], advance: Callable[[int], None]) -> Iterator[list[str]]:
        """Skip the shards that are encoded already, `advance` by their documents, and return the others."""
        candidates = {self.folder: self.finished, self.growing: self._known(self.growing)}
        for texts in shards:
            number, found = len(self.shards), text_hash(texts)
            candidates = {
                place: known
                for place, known in candidates.items()
                if number < len(known) and known[number].hash == found
            }
            if not candidates:
                if number:
                    logger.info("%d shards were encoded already", number)
                return chain([texts], shards)
            self.source, known = next(iter(candidates.items()))
            self.shards.append(known[number])
            advance(len(texts))
        return iter(())

    def _known(self, place: Path) -> list[Shard]:
        """The shards that can be reused from `place`: encoded by this tokenizer, and with all their tokens present."""
        identity, shards = read_journal(place)
        if identity != self.identity:
            return []
        present = {name: size_of(place / name) for name in self._file_sizes(shards)}
        while shards and any(present[name] < size for name, size in self._file_sizes(shards).items()):
            shards.pop()
        return shards

    def _is_complete(self, place: Path) -> bool:
        try:
            read_config(place, {KIND}, StoreConfig)
        except UserError:
            return False
        sizes = self._file_sizes(read_journal(place)[1])
        return all(size_of(place / name) == size for name, size in sizes.items())

    def _file_sizes(self, shards: list[Shard]) -> dict[str, int]:
        """Bytes of each file of a store of `shards`."""
        tokens = {
            tokens_name(file): size * self.dtype.itemsize for file, size in enumerate(tokens_of_files(shards))
        }
        return {OFFSETS: 8 * (1 + sum(shard.documents for shard in shards)), **tokens}

    def append(self, encoded: EncodedShard) -> None:
        """Append a shard; the journal lists it only when its tokens are on disk.

        Raises:
            UserError: the disk is full.
        """
        with writing(self.folder):
            self._start()
            sizes = tokens_of_files(self.shards) or [0]
            shard = replace(encoded.shard, file=len(sizes) - (sizes[-1] < FILE_TOKENS))
            _append(self.growing / tokens_name(shard.file), encoded.tokens.data)
            ends = sum(sizes) + np.cumsum(encoded.lengths, dtype="<i8")
            _append(self.growing / OFFSETS, ends.data)
            _append(self.growing / JOURNAL, _line(asdict(shard)))
            self.shards.append(shard)

    def finish(self) -> None:
        """Move the store to its final place.

        Raises:
            UserError: there is no document, or the disk is full.
        """
        if not self.shards:
            raise UserError(f"there is no document to put in {self.folder}: the corpus is empty")
        with writing(self.folder):
            if self.source != self.folder or self.shards != self.finished:
                self._start()
                totals = {
                    "n_documents": sum(shard.documents for shard in self.shards),
                    "n_tokens": sum(shard.tokens for shard in self.shards),
                    "n_bytes": sum(shard.bytes for shard in self.shards),
                    "unknown_bytes": sum(shard.unknown_bytes for shard in self.shards),
                }
                write_config(self.growing, {"kind": KIND, **self.identity, **totals})
                take_place(self.growing, self.folder)
            shutil.rmtree(self.growing, ignore_errors=True)

    def _start(self) -> None:
        """Make the folder contain the tokens of `shards` and nothing else."""
        if self.started:
            return
        if self.source != self.growing:
            shutil.rmtree(self.growing, ignore_errors=True)
            if self.source is None:
                self.growing.mkdir(parents=True)
            else:
                shutil.copytree(self.source, self.growing)
        # The journal is written before the files are cut, so it never claims too much.
        with written_file(self.growing / JOURNAL) as journal:
            journal.write_bytes(b"".join(map(_line, [self.identity, *map(asdict, self.shards)])))
        sizes = self._file_sizes(self.shards)
        for stale in set(self.growing.glob(tokens_name("*"))) - {self.growing / name for name in sizes}:
            stale.unlink()
        for name, size in sizes.items():
            with (self.growing / name).open("ab") as file:
                file.truncate(size)  # a new file of offsets becomes one zero
        self.source, self.started = self.growing, True


def _append(path: Path, data: bytes | memoryview) -> None:
    with path.open("ab") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def read_journal(folder: Path) -> tuple[dict[str, Any], list[Shard]]:
    """The identity of the tokenizer and the shards, as far as the file can be read."""
    identity: dict[str, Any] = {}
    shards: list[Shard] = []
    path = folder / JOURNAL
    lines = path.read_bytes().splitlines() if path.is_file() else []
    try:
        for number, line in enumerate(lines):
            if number:
                found = read_json(line)
                need_call(Shard, path, **found)
                shard = Shard(**found)
                if shard.file > number or min(each for each in found.values() if isinstance(each, int)) < 0:
                    raise ValueError("impossible sizes")
                shards.append(shard)
            else:
                identity = read_json(line)
    except (ValueError, TypeError):
        logger.warning("%s is damaged after %d shards; the rest is made again", path, len(shards))
    return identity, shards


def _line(value: dict[str, Any]) -> bytes:
    return json.dumps(value).encode() + b"\n"


def tokens_of_files(shards: list[Shard]) -> list[int]:
    """Number of tokens in each file, by the number of the file."""
    sizes = [0] * (shards[-1].file + 1 if shards else 0)
    for shard in shards:
        sizes[shard.file] += shard.tokens
    return sizes


def text_hash(texts: list[str]) -> str:
    """A hash of a list of texts, which includes where one text ends and the next begins."""
    digest = hashlib.blake2b(digest_size=16)
    for text in texts:
        data = _utf8(text)
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", errors="surrogatepass")


def _dtype(tokenizer: DocumentTokenizer) -> np.dtype[Any]:
    return np.dtype("<u2" if len(tokenizer) <= 2**16 else "<u4")


def tokens_name(file: int | str) -> str:
    return f"tokens-{file:05d}.bin" if isinstance(file, int) else f"tokens-{file}.bin"


def size_of(path: Path) -> int:
    return path.stat().st_size if path.is_file() else -1
