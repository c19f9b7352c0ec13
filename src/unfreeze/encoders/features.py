"""An encoder's vectors of every word of a text, computed line by line and stored on disk.

Memory does not grow with the text, and a run that was killed resumes.

    FOLDER/  config.json     settings, and the totals once everything is written: a folder without it is incomplete
             vectors.bin     (N, K, D) float32 or float16: N words (or lines, if they are pooled), K layers
             words.jsonl     for each line its text and its words
             journal.jsonl   for each batch that is safe on disk the lines and rows so far

Empty lines are included: they have no words, or a vector of zeros if lines are pooled.

Legend: B batch, W words of a line, K stored layers, D width.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unfreeze.caches import making, mark_used
from unfreeze.checked import NotJson, need_call, parse_json, read_json
from unfreeze.encoders.base import layer_number
from unfreeze.encoders.feature_settings import EmbedSettings, Pool
from unfreeze.encoders.text_encoder import TextEncoder
from unfreeze.errors import UserError, setting
from unfreeze.folders import CONFIG, Config, read_config, write_config, writing
from unfreeze.progress import SILENT, Progress

logger = logging.getLogger(__name__)

KIND = "embedded text"
VECTORS, WORDS, JOURNAL = "vectors.bin", "words.jsonl", "journal.jsonl"
LINES = 1024
"""Lines that are sorted by length together and written together."""
BATCH_WORDS = 4096
"""Words in a batch including padding; a longer line is a batch of its own."""
Numbers = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Line:
    """A line of a text and its vectors."""

    text: str
    words: list[str]
    vectors: Numbers
    """(W, K, D), or (1, K, D) where lines are pooled."""


@dataclass(frozen=True, kw_only=True)
class EmbeddedConfig(Config):
    """Content of config.json, which is written once the folder is complete."""

    settings: EmbedSettings
    shape: list[int]
    """(N, K, D) of all vectors."""
    n_lines: int
    head: int = 0
    """Bytes at the beginning of vectors.bin that were left free."""


class EmbeddedText:
    """A text with the vectors of its words, from a folder that `embed_text` completed; vectors are memory-mapped."""

    def __init__(self, folder: Path) -> None:
        """Raises UserError if the folder is incomplete or damaged."""
        config = read_config(folder, {KIND}, EmbeddedConfig)
        need_call(EmbedSettings, f"{folder / CONFIG}: settings", **config["settings"])
        self.folder, self.settings = folder, EmbedSettings(**config["settings"])
        self.n_lines: int = config["n_lines"]
        self.head: int = config.get("head", 0)
        shape = tuple(config["shape"])
        path = folder / VECTORS
        self.n_bytes = math.prod(shape) * self.settings.dtype.itemsize
        size = path.stat().st_size if path.is_file() else -1
        # If there is a head, writing an .npz in place may have begun, which appends more after the vectors.
        if size < self.head + self.n_bytes or (size > self.n_bytes and not self.head):
            raise UserError(f"{path} is missing or truncated: embed the text again")
        self.vectors: Numbers = (
            np.memmap(path, dtype=self.settings.dtype, mode="r", shape=shape, offset=self.head)
            if self.n_bytes
            else np.empty(shape, self.settings.dtype)
        )

    def lines(self) -> Iterator[Line]:
        """All lines in order; their vectors are mapped."""
        row = 0
        for text, words, count in self._texts():
            yield Line(text, words, self.vectors[row : row + count])
            row += count

    def read_lines(self) -> Iterator[Line]:
        """All lines in order; their vectors are read, since pages of a mapped file stay in the memory of a process."""
        shape = self.vectors.shape[1:]
        size = int(np.prod(shape))
        with (self.folder / VECTORS).open("rb") as file:
            file.seek(self.head)
            for text, words, count in self._texts():
                numbers = np.fromfile(file, self.settings.dtype, count * size)
                yield Line(text, words, numbers.reshape(count, *shape))

    def _texts(self) -> Iterator[tuple[str, list[str], int]]:
        """For each line its text, its words and its number of vectors."""
        with (self.folder / WORDS).open(encoding="utf-8") as file:
            for each in file:
                text, words = parse_json(
                    each, self.folder / WORDS, "the file is damaged: embed the text again"
                )
                yield text, words, 1 if self.settings.pool is not None else len(words)


def embed_text(
    encoder: TextEncoder,
    texts: Iterable[str],
    folder: Path,
    settings: EmbedSettings,
    *,
    identity: str = "",
    head: int = 0,
    number_format: Callable[[], AbstractContextManager[object]] = nullcontext,
    progress: Progress = SILENT,
) -> EmbeddedText:
    """Embed the lines of a text into `folder`; an interrupted run resumes, a complete and sound folder is returned at once.

    Args:
        identity: identifies the text and the encoder; a folder of others is overwritten.
        head: bytes that are left free before the vectors, so that vectors.bin can become a file of another format in place.
        number_format: makes the context in which the encoder runs, such as autocast.

    Raises:
        UserError: there is no such layer, a text cannot be read, or the disk is full (a later run resumes).
    """
    layers = _chosen(settings.layers, len(encoder.widths))
    shape = _shape(encoder, layers, settings)
    key = {"settings": asdict(settings), "identity": identity, **({"head": head} if head else {})}
    writer = _Writer(folder, key, settings.dtype, shape, head)
    if writer.is_complete():
        try:
            return EmbeddedText(folder)
        except UserError as error:
            logger.warning("%s; it is computed again", error)
            shutil.rmtree(folder)
    with writer, torch.no_grad():
        encoder.eval()
        with progress.bar("embed", unit="line") as bar, number_format():
            bar.advance(writer.n_lines)
            remaining = islice(iter(texts), writer.n_lines, None)
            while batch := list(islice(remaining, LINES)):
                writer.add(_embed_lines(encoder, batch, layers, shape, settings))
                bar.advance(len(batch))
        writer.finish()
    return EmbeddedText(folder)


def _shape(encoder: TextEncoder, layers: list[int], settings: EmbedSettings) -> tuple[int, int]:
    """(K, D) of each word. Raises UserError for layers of unequal widths that are not joined."""
    widths = [encoder.widths[number] for number in layers]
    if settings.layers == "joined":
        return 1, sum(widths)
    if len(set(widths)) > 1:
        shown = ", ".join(map(str, encoder.widths))
        raise UserError(
            f"the layers' widths are {shown}: layers of unequal width are embedded one at a time, such as {setting('layers', -1)}"
        )
    return 1 if settings.layers == "mean" else len(layers), widths[0]


def _chosen(layers: Literal["all", "mean", "joined"] | int, count: int) -> list[int]:
    return [layer_number(layers, count)] if isinstance(layers, int) else list(range(count))


def _embed_lines(
    encoder: TextEncoder,
    texts: Sequence[str],
    layers: list[int],
    shape: tuple[int, int],
    settings: EmbedSettings,
) -> list[Line]:
    """The lines in their order; they are run sorted by length, in batches with little padding."""
    n_vectors = int(settings.pool is not None)
    lines = [Line(text, [], np.zeros((n_vectors, *shape), settings.dtype)) for text in texts]
    full = [number for number, text in enumerate(texts) if text.strip()]
    full.sort(key=lambda number: -len(texts[number]))
    while full:
        size = max(1, BATCH_WORDS // (1 + len(texts[full[0]].split())))
        numbers, full = full[:size], full[size:]
        batch = _embed_batch(encoder, [texts[number] for number in numbers], layers, settings)
        for number, line in zip(numbers, batch, strict=True):
            lines[number] = line
    return lines


def _embed_batch(
    encoder: TextEncoder, texts: list[str], layers: list[int], settings: EmbedSettings
) -> list[Line]:
    if settings.tokenized:
        spelled = [text.split() for text in texts]
        batch = encoder.prepare_words(spelled)
    else:
        batch = encoder.prepare(texts)
        spelled = [words_of(batch.words[row], batch.offsets[row], text) for row, text in enumerate(texts)]
    every, _ = encoder.word_layers(batch)
    chosen = [every[number].float() for number in layers]
    joined = settings.layers == "joined"
    stacked = torch.cat(chosen, dim=2)[:, :, None] if joined else torch.stack(chosen, dim=2)  # (B, W, K, D)
    if settings.layers == "mean":
        stacked = stacked.mean(2, keepdim=True)
    lines = []
    for text, words, row in zip(texts, spelled, stacked, strict=True):
        vectors = row[: len(words)]
        if settings.pool is not None:
            vectors = pool_words(vectors, settings.pool)[None]
        lines.append(Line(text, words, vectors.cpu().numpy().astype(settings.dtype)))
    return lines


def words_of(numbers: list[int], offsets: list[tuple[int, int]], text: str) -> list[str]:
    """The words of a text, from the word number and the span of each piece."""
    spans: dict[int, tuple[int, int]] = {}
    for word, (start, end) in zip(numbers, offsets, strict=True):
        if word >= 0:
            first = spans.get(word, (start, end))
            spans[word] = (min(first[0], start), max(first[1], end))
    count = max(spans, default=-1) + 1
    words, last = [], (0, 0)
    for number in range(count):  # a word that was folded into the one before it has that word's span
        last = spans.get(number, last)
        words.append(text[last[0] : last[1]].strip())
    return words


def pool_words(vectors: Tensor, pool: Pool) -> Tensor:
    """(W, K, D) -> (K, D); zeros if there is no word."""
    if not len(vectors):
        return vectors.new_zeros(vectors.shape[1:])
    if pool == "mean":
        return vectors.mean(0)
    return vectors.amax(0) if pool == "max" else vectors[-1]


class _Writer:
    """Appends batches to a folder; a batch is entered in the journal once its vectors are on disk."""

    def __init__(
        self, folder: Path, key: dict[str, Any], dtype: np.dtype[Any], shape: tuple[int, int], head: int
    ) -> None:
        self.folder, self.shape, self.head = folder, shape, head
        self.row_bytes = math.prod(shape) * dtype.itemsize
        digest = hashlib.blake2b(json.dumps(key, sort_keys=True).encode(), digest_size=12).hexdigest()
        self.config = {"kind": KIND, **key, "digest": digest}
        self.n_lines = self.n_rows = 0
        self.files: dict[str, BinaryIO] = {}

    def is_complete(self) -> bool:
        """Whether an earlier run with the same key completed the folder: then the text need not be read again."""
        if not (self.folder / CONFIG).is_file():
            return False
        try:
            return bool(read_config(self.folder, {KIND}).get("digest") == self.config["digest"])
        except UserError as error:
            logger.warning("%s; it is computed again", error)
            return False

    def __enter__(self) -> _Writer:
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            for half_written in self.folder.glob(f".{CONFIG}.*.part"):  # by a process that was killed
                half_written.unlink()
            sizes = self._safe_sizes()
            for name in (VECTORS, WORDS, JOURNAL):
                self.files[name] = (self.folder / name).open("ab")
                self.files[name].truncate(sizes.get(name, self.head if name == VECTORS else 0))
                self.files[name].seek(0, os.SEEK_END)
            if not sizes:
                (self.folder / CONFIG).unlink(missing_ok=True)
                self._append(JOURNAL, {"digest": self.config["digest"]})
                self.files[JOURNAL].flush()
        return self

    def __exit__(self, *_: object) -> None:
        with writing(self.folder), ExitStack() as stack:  # closing writes what is buffered
            for file in self.files.values():
                stack.callback(file.close)

    def _safe_sizes(self) -> dict[str, int]:
        """Bytes of each file that an earlier run with the same key entered in the journal; empty if there are none."""
        path = self.folder / JOURNAL
        lines = path.read_bytes().splitlines(keepends=True) if path.is_file() else []
        size, sizes = 0, dict[str, int]()
        for number, line in enumerate(lines):
            try:
                entry = read_json(line)
            except NotJson:
                break  # half written when the run was killed
            if not isinstance(entry, dict) or (not number and entry.get("digest") != self.config["digest"]):
                break
            if number:
                counts: list[Any] = [entry.get(name) for name in ("lines", "rows", "bytes")]
                if not all(isinstance(count, int) and count >= 0 for count in counts):
                    break  # damaged: what is before it counts
                self.n_lines, self.n_rows, n_bytes = counts
                sizes = {VECTORS: self.head + self.n_rows * self.row_bytes, WORDS: n_bytes}
            size += len(line)
        files = {name: self.folder / name for name in sizes}
        if any(not files[name].is_file() or files[name].stat().st_size < sizes[name] for name in sizes):
            self.n_lines = self.n_rows = 0
            return {}
        if self.n_lines:
            logger.info("%d lines were embedded already", self.n_lines)
        return {**sizes, JOURNAL: size} if sizes else {}

    def add(self, lines: list[Line]) -> None:
        """Write a batch. Raises UserError if the disk is full."""
        with writing(self.folder):
            for line in lines:
                self.files[VECTORS].write(np.ascontiguousarray(line.vectors).data)
                self._append(WORDS, [line.text, line.words])
                self.n_rows += len(line.vectors)
            for name in (VECTORS, WORDS):
                self.files[name].flush()
                os.fsync(self.files[name].fileno())
            self.n_lines += len(lines)
            self._append(
                JOURNAL, {"lines": self.n_lines, "rows": self.n_rows, "bytes": self.files[WORDS].tell()}
            )
            self.files[JOURNAL].flush()

    def _append(self, name: str, value: object) -> None:
        self.files[name].write(json.dumps(value).encode() + b"\n")

    def finish(self) -> None:
        """Mark the folder as complete."""
        config = {**self.config, "shape": [self.n_rows, *self.shape], "n_lines": self.n_lines}
        write_config(self.folder, config)


def embed_into_cache(
    encoder: TextEncoder,
    texts: Callable[[], Iterable[str]],
    folder: Path,
    settings: EmbedSettings,
    **options: Any,
) -> EmbeddedText:
    """`embed_text` into a folder of the cache; of several processes one computes and the others wait.

    Args:
        texts: returns them from the beginning.
        options: of `embed_text`.
    """
    with making(folder):
        found = embed_text(encoder, texts(), folder, settings, **options)
        mark_used(folder)
    return found
