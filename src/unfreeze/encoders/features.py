"""The vectors of every word of a text, line by line, in memory that does not grow; a run that was killed goes on.

    FOLDER/  config.json     what was asked, and the totals when all is done
             vectors.bin     (N, K, D) float32 or float16: N words (or lines, where they are pooled), K layers
             words.jsonl     a line a line of the text: its text and its words
             journal.jsonl   a line a batch that is safe on disk: lines and rows so far

An empty line stays: it has no words, and zeros where lines are pooled.

Legend: B batch, W words of a line, K layers that are kept, D width.
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
from unfreeze.encoders.text_encoder import TextEncoder
from unfreeze.errors import UserError
from unfreeze.folders import CONFIG, Config, read_config, write_config, writing
from unfreeze.progress import SILENT, Progress

logger = logging.getLogger(__name__)

KIND = "embedded text"
VECTORS, WORDS, JOURNAL = "vectors.bin", "words.jsonl", "journal.jsonl"
LINES = 1024
"""Lines that are sorted by their length together, and safe on disk together."""
BATCH_WORDS = 4096
"""Words of a batch, padding included; a longer line is a batch of its own."""
Pool = Literal["mean", "max", "last"]
Numbers = NDArray[np.floating[Any]]


@dataclass(frozen=True, kw_only=True)
class EmbedSettings:
    """Which vectors are wanted."""

    layers: Literal["all", "mean", "joined"] | int = "all"
    """All layers, their mean, all one behind the other as one wide layer, or one of them, counted from 0 (-1 is the last)."""
    pool: Pool | None = None
    """One vector a line: the mean, the largest numbers or the last of its words' vectors; None is one a word."""
    half: bool = False
    """Store float16."""
    tokenized: bool = False
    """Words are what stands between spaces; else raw text is split."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the numbers on disk."""
        return np.dtype("<f2" if self.half else "<f4")


@dataclass(frozen=True)
class Line:
    """A line of a text and its vectors."""

    text: str
    words: list[str]
    vectors: Numbers
    """(W, K, D), or (1, K, D) where lines are pooled."""


@dataclass(frozen=True, kw_only=True)
class EmbeddedConfig(Config):
    """What config.json says of an embedded text."""

    settings: EmbedSettings
    shape: list[int]
    """Of all vectors."""
    n_lines: int


class EmbeddedText:
    """What `embed` has written; vectors are mapped, not read."""

    def __init__(self, folder: Path) -> None:
        """Raises UserError where the folder is none, or damaged."""
        config = read_config(folder, {KIND}, EmbeddedConfig)
        need_call(EmbedSettings, f"{folder / CONFIG}: settings", **config["settings"])
        self.folder, self.settings = folder, EmbedSettings(**config["settings"])
        self.n_lines: int = config["n_lines"]
        shape = tuple(config["shape"])
        path = folder / VECTORS
        expected = math.prod(shape) * self.settings.dtype.itemsize
        if not path.is_file() or path.stat().st_size != expected:
            raise UserError(f"{path} is missing or truncated: embed the text again")
        self.vectors: Numbers = (
            np.memmap(path, dtype=self.settings.dtype, mode="r", shape=shape)
            if expected
            else np.empty(shape, self.settings.dtype)
        )

    def lines(self) -> Iterator[Line]:
        """All lines in order, their vectors mapped."""
        row = 0
        for text, words, count in self._texts():
            yield Line(text, words, self.vectors[row : row + count])
            row += count

    def read_lines(self) -> Iterator[Line]:
        """The same with vectors that are read: pages of a mapped file stay with a process that goes through all of it."""
        shape = self.vectors.shape[1:]
        size = int(np.prod(shape))
        with (self.folder / VECTORS).open("rb") as file:
            for text, words, count in self._texts():
                numbers = np.fromfile(file, self.settings.dtype, count * size)
                yield Line(text, words, numbers.reshape(count, *shape))

    def _texts(self) -> Iterator[tuple[str, list[str], int]]:
        """Each line's text, words, and rows of vectors."""
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
    number_format: Callable[[], AbstractContextManager[object]] = nullcontext,
    progress: Progress = SILENT,
) -> EmbeddedText:
    """Embed the lines of a text into `folder`; what an interrupted run left there is kept.

    Args:
        identity: tells this text and encoder from others: a folder of another is begun anew.

    Raises:
        UserError: there is no such layer, a text cannot be read, or the disk is full (what is there goes on later).
    """
    layers = _chosen(settings.layers, len(encoder.widths))
    shape = _shape(encoder, layers, settings)
    asked = {"settings": asdict(settings), "identity": identity}
    writer = _Writer(folder, asked, settings.dtype, shape)
    if writer.is_complete:
        return EmbeddedText(folder)
    with writer, torch.no_grad():
        encoder.eval()
        with progress.bar("embed", unit="line") as bar, number_format():
            bar.advance(writer.n_lines)
            remaining = islice(iter(texts), writer.n_lines, None)
            while batch := list(islice(remaining, LINES)):
                writer.add(_embed_lines(encoder, batch, layers, settings))
                bar.advance(len(batch))
        writer.finish()
    return EmbeddedText(folder)


def _shape(encoder: TextEncoder, layers: list[int], settings: EmbedSettings) -> tuple[int, int]:
    """(K, D) of each word.

    Raises:
        UserError: the layers are of unequal widths, and not joined.
    """
    widths = [encoder.widths[number] for number in layers]
    if settings.layers == "joined":
        return 1, sum(widths)
    if len(set(widths)) > 1:
        shown = ", ".join(map(str, encoder.widths))
        raise UserError(f"the layers' widths are {shown}: layers of unequal width are embedded one at a time")
    return 1 if settings.layers == "mean" else len(layers), widths[0]


def _chosen(layers: Literal["all", "mean", "joined"] | int, count: int) -> list[int]:
    if not isinstance(layers, int):
        return list(range(count))
    if not -count <= layers < count:
        raise UserError(f"there is no layer {layers}: the encoder has {count}, from 0 to {count - 1}")
    return [layers % count]


def _embed_lines(
    encoder: TextEncoder, texts: Sequence[str], layers: list[int], settings: EmbedSettings
) -> list[Line]:
    """The lines in their order, though they are run sorted by length."""
    found: dict[int, Line] = {}
    full = [number for number, text in enumerate(texts) if text.strip()]
    full.sort(key=lambda number: -len(texts[number]))
    n_kept, width = _shape(encoder, layers, settings)
    for number in set(range(len(texts))) - set(full):
        zeros = np.zeros((int(settings.pool is not None), n_kept, width), settings.dtype)
        found[number] = Line(texts[number], [], zeros)
    while full:
        size = max(1, BATCH_WORDS // (1 + len(texts[full[0]].split())))
        numbers, full = full[:size], full[size:]
        for number, (words, vectors) in zip(
            numbers, _embed_batch(encoder, [texts[n] for n in numbers], layers, settings), strict=True
        ):
            found[number] = Line(texts[number], words, vectors)
    return [found[number] for number in range(len(texts))]


def _embed_batch(
    encoder: TextEncoder, texts: list[str], layers: list[int], settings: EmbedSettings
) -> list[tuple[list[str], Numbers]]:
    """The words of each text and their vectors."""
    if settings.tokenized:
        spelled = [text.split() for text in texts]
        batch = encoder.prepare_words(spelled)
    else:
        batch = encoder.prepare(texts)
        spelled = [words_of(batch.words[row], batch.offsets[row], text) for row, text in enumerate(texts)]
    every, _ = encoder.word_layers(batch)
    chosen = [every[number].float() for number in layers]
    joined = settings.layers == "joined"
    kept = torch.cat(chosen, dim=2)[:, :, None] if joined else torch.stack(chosen, dim=2)  # (B, W, K, D)
    if settings.layers == "mean":
        kept = kept.mean(2, keepdim=True)
    found = []
    for row, words in enumerate(spelled):
        vectors = kept[row, : len(words)]
        if settings.pool is not None:
            vectors = pool_words(vectors, settings.pool)[None]
        found.append((words, vectors.cpu().numpy().astype(settings.dtype)))
    return found


def words_of(numbers: list[int], offsets: list[tuple[int, int]], text: str) -> list[str]:
    """The words of a text from the word and the place of each of its pieces."""
    spans: dict[int, tuple[int, int]] = {}
    for word, (start, end) in zip(numbers, offsets, strict=True):
        if word >= 0:
            first = spans.get(word, (start, end))
            spans[word] = (min(first[0], start), max(first[1], end))
    count = max(spans, default=-1) + 1
    words, last = [], (0, 0)
    for number in range(count):  # a word that was folded into the one before it has that one's place
        last = spans.get(number, last)
        words.append(text[last[0] : last[1]].strip())
    return words


def pool_words(vectors: Tensor, pool: Pool) -> Tensor:
    """(W, K, D) -> (K, D); zeros where there is no word."""
    if not len(vectors):
        return vectors.new_zeros(vectors.shape[1:])
    if pool == "mean":
        return vectors.mean(0)
    return vectors.amax(0) if pool == "max" else vectors[-1]


class _Writer:
    """Appends batches to a folder; the journal has a batch only when its vectors are on disk."""

    def __init__(
        self, folder: Path, asked: dict[str, Any], dtype: np.dtype[Any], shape: tuple[int, int]
    ) -> None:
        self.folder, self.dtype, self.shape = folder, dtype, shape
        digest = hashlib.blake2b(json.dumps(asked, sort_keys=True).encode(), digest_size=12).hexdigest()
        self.config = {"kind": KIND, **asked, "digest": digest}
        self.n_lines = self.n_rows = 0
        self.files: dict[str, BinaryIO] = {}

    @property
    def is_complete(self) -> bool:
        """Whether an earlier run of the same wrote all of it: then the text need not be read again."""
        path = self.folder / CONFIG
        return path.is_file() and read_config(self.folder, {KIND}).get("digest") == self.config["digest"]

    def __enter__(self) -> _Writer:
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            sizes = self._known()
            for name in (VECTORS, WORDS, JOURNAL):
                self.files[name] = (self.folder / name).open("ab")
                self.files[name].truncate(sizes.get(name, 0))
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

    def _known(self) -> dict[str, int]:
        """How much of each file an earlier run of the same vouches for."""
        path = self.folder / JOURNAL
        lines = path.read_bytes().splitlines(keepends=True) if path.is_file() else []
        size, sizes = 0, {}
        for number, line in enumerate(lines):
            try:
                entry = read_json(line)
            except NotJson:
                break  # half written when the run was killed
            if not number and entry.get("digest") != self.config["digest"]:
                return {}
            size += len(line)
            if number:
                self.n_lines, self.n_rows = entry["lines"], entry["rows"]
                sizes = {VECTORS: entry["rows"] * self._row_bytes, WORDS: entry["bytes"]}
        if sizes and any((self.folder / name).stat().st_size < known for name, known in sizes.items()):
            self.n_lines = self.n_rows = 0
            return {}
        if self.n_lines:
            logger.info("%d lines were embedded already", self.n_lines)
        return {**sizes, JOURNAL: size} if sizes else {}

    @property
    def _row_bytes(self) -> int:
        return self.shape[0] * self.shape[1] * self.dtype.itemsize

    def add(self, lines: list[Line]) -> None:
        """Raises UserError where the disk is full."""
        with writing(self.folder):
            for line in lines:
                self.files[VECTORS].write(np.ascontiguousarray(line.vectors).tobytes())
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
        """Say that the folder is whole."""
        config = {**self.config, "shape": [self.n_rows, *self.shape], "n_lines": self.n_lines}
        write_config(self.folder, config)


def embed_into_cache(
    encoder: TextEncoder,
    texts: Callable[[], Iterable[str]],
    folder: Path,
    settings: EmbedSettings,
    **options: Any,
) -> EmbeddedText:
    """`embed_text` into a folder of the cache: of several processes one computes, and what is damaged is computed anew.

    Args:
        texts: gives them, from the beginning at each call.
        options: of `embed_text`.
    """
    with making(folder):
        try:
            found = embed_text(encoder, texts(), folder, settings, **options)
        except UserError as error:
            if not folder.is_dir() or "embed the text again" not in str(error):
                raise
            logger.warning("%s is damaged and is computed anew", folder)
            shutil.rmtree(folder)
            found = embed_text(encoder, texts(), folder, settings, **options)
        mark_used(folder)
    return found
