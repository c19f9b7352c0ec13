"""GloVe: one vector per word, whose dot products with context vectors predict the logarithms of co-occurrence counts.

Following Pennington et al. 2014, AdaGrad minimizes the sum of f(x_ij) (w_i . c_j + b_i + b'_j - log x_ij)^2 over all pairs
that occur, with f(x) = min(1, (x / x_max)^alpha). The vector of a word is w + c. An x_max of 100 is meant for corpora of
billions of words; 10 suits corpora of up to about 10 million words, in which few counts come near 100.

The counts are on disk in a scattered order (`cooccurrence`) and are read in blocks, whose order changes from epoch to
epoch. Within a block, the columns and the pairs of each column are shuffled. Visiting the pairs of a column together finds
its vectors in the cache, and converges as well as a random order (docs/lab-notes.md). Threads share the parameters without
locks (Hogwild); with one thread, the same seed gives the same bits.

Cost: 22 million tokens, window 10 and 30,000 words make 39 million entries; an epoch takes 7 s of one core. Memory is
16 bytes x vocabulary x (size + 2, rounded up to 16), and 44 bytes x `BLOCK_PAIRS` per thread; counting takes `memory_mb`
before that, and 12 bytes of disk for each pair of words that co-occur.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from unfreeze.errors import UserError
from unfreeze.folders import writing
from unfreeze.pretraining.glove.cooccurrence import Cooccurrences, count_cooccurrences
from unfreeze.pretraining.glove.kernel import (
    CONTEXT,
    VALUE,
    WORD,
    grouped_order,
    make_parameters,
    train_pairs,
)
from unfreeze.pretraining.glove.settings import GloveSettings
from unfreeze.pretraining.word2vec.train import WordTokenizer, table_by_frequency, tokenizer_counts
from unfreeze.progress import SILENT, Bar, Progress
from unfreeze.vectors.table import VectorTable

if TYPE_CHECKING:
    from unfreeze.text.token_store import TokenStore

BLOCK_PAIRS = 1 << 18
DEFAULTS = GloveSettings()

Floats = NDArray[np.float32]


class GloveFactors(NamedTuple):
    """The parameters of GloVe: w . c + b + b' predicts log x."""

    words: Floats
    """(V, D)"""
    contexts: Floats
    """(V, D)"""
    word_biases: Floats
    """(V,)"""
    context_biases: Floats
    """(V,)"""


def train_glove_vectors(
    store: TokenStore,
    tokenizer: WordTokenizer,
    settings: GloveSettings = DEFAULTS,
    *,
    workers: int | None = None,
    progress: Progress = SILENT,
) -> VectorTable:
    """GloVe vectors for the words of `tokenizer` that occur in `store`, most frequent first.

    Args:
        workers, progress: as in `train_glove`.

    Raises:
        UserError: `store` was made with another tokenizer; otherwise as `train_glove`.
    """
    counts, special = tokenizer_counts(store, tokenizer), tokenizer.special_ids
    matrix = train_glove(
        store,
        settings,
        vocabulary_size=len(tokenizer),
        skip_ids=special,
        workers=workers,
        progress=progress,
    )
    return table_by_frequency(tokenizer, counts, matrix)


def train_glove(
    store: TokenStore,
    settings: GloveSettings = DEFAULTS,
    *,
    vocabulary_size: int,
    skip_ids: frozenset[int] = frozenset(),
    folder: str | Path | None = None,
    workers: int | None = None,
    progress: Progress = SILENT,
) -> Floats:
    """Count which words occur near each other and train one vector for each of `vocabulary_size` ids: w + c.

    Args:
        settings: their vocabulary size and minimum count are not used.
        skip_ids: removed before windows are made, like ids from `vocabulary_size` on.
        folder: folder for the counts while they are needed; None is the system's folder for temporary files.
        workers: threads; None is one per core.
        progress: reports the progress of `count_cooccurrences` and `fit_glove`.

    Returns:
        (V, size); ids that never occur near another id keep their small random initial values.

    Raises:
        UserError: no two words occur near each other, the disk is full, or training diverges.
    """
    keep = np.ones(vocabulary_size, np.bool_)
    keep[list(skip_ids)] = False
    with _temporary_folder(folder) as temporary:
        pairs = count_cooccurrences(
            store,
            temporary / "pairs",
            keep=keep,
            window=settings.window,
            memory_mb=settings.memory_mb,
            workers=workers,
            progress=progress,
        )
        factors = fit_glove(
            pairs, settings, vocabulary_size=vocabulary_size, workers=workers, progress=progress
        )
    return factors.words + factors.contexts


@contextmanager
def _temporary_folder(parent: str | Path | None) -> Iterator[Path]:
    with writing(Path(parent or tempfile.gettempdir())):
        if parent is not None:
            Path(parent).mkdir(parents=True, exist_ok=True)
        temporary = tempfile.TemporaryDirectory(prefix=".cooccurrences-", dir=parent)
    with temporary as name:
        yield Path(name)


def fit_glove(
    pairs: Cooccurrences,
    settings: GloveSettings = DEFAULTS,
    *,
    vocabulary_size: int,
    workers: int | None = None,
    progress: Progress = SILENT,
) -> GloveFactors:
    """Fit vectors and biases to the counts.

    Args:
        workers: threads; None is one per core. With one, the same seed gives the same bits.
        progress: reports entries of the matrix, the loss (f(x) error^2 / 2 per entry, the mean of the epoch so far) and
            entries/s.

    Raises:
        UserError: training diverges.
    """
    parameters = make_parameters(vocabulary_size, settings.size, settings.seed)
    run = _Run(pairs, parameters, settings, _blocks(pairs.n_pairs, settings.epochs, settings.seed))
    with progress.bar("glove", total=settings.epochs * pairs.n_entries, unit="pair") as bar:
        run.work(bar, workers or os.cpu_count() or 1)
    size, words, contexts = settings.size, parameters[:, WORD, VALUE], parameters[:, CONTEXT, VALUE]
    return GloveFactors(
        words[:, :size].copy(), contexts[:, :size].copy(), words[:, size].copy(), contexts[:, size + 1].copy()
    )


def _blocks(n_pairs: int, epochs: int, seed: int) -> Iterator[tuple[int, int, int]]:
    """Epoch, start and stop of each block of pairs, in a new order in each epoch."""
    starts = np.arange(0, n_pairs, BLOCK_PAIRS)
    for epoch in range(epochs):
        for start in np.random.default_rng([seed, epoch]).permutation(starts).tolist():
            yield epoch, start, min(start + BLOCK_PAIRS, n_pairs)


@dataclass
class _Run:
    """Threads that take blocks from one iterator until it is empty."""

    pairs: Cooccurrences
    parameters: Floats
    settings: GloveSettings
    blocks: Iterator[tuple[int, int, int]]
    lock: threading.Lock = field(default_factory=threading.Lock)
    began: float = field(default_factory=time.monotonic)
    epoch: int = 0
    loss: float = 0.0
    epoch_entries: int = 0
    entries: int = 0

    def work(self, bar: Bar, workers: int) -> None:
        with ThreadPoolExecutor(workers, thread_name_prefix="glove") as threads:
            futures = [threads.submit(self._worker, bar) for _ in range(workers)]
            try:
                for future in futures:
                    future.result()
            finally:
                with self.lock:
                    self.blocks = iter(())

    def _next_block(self) -> tuple[int, int, int] | None:
        with self.lock:
            return next(self.blocks, None)

    def _worker(self, bar: Bar) -> None:
        symmetric, learning_rate = self.pairs.symmetric, np.float32(self.settings.learning_rate)
        x_max, alpha = np.float32(self.settings.x_max), np.float32(self.settings.alpha)
        while (block := self._next_block()) is not None:
            epoch, start, stop = block
            rows, columns, values = self.pairs.read(start, stop)
            weights = np.minimum((values / x_max) ** alpha, np.float32(1.0))
            random = np.random.default_rng([self.settings.seed, epoch, start])
            ranks = random.permutation(len(self.parameters))
            order = grouped_order(columns, ranks, random.integers(2**64, size=1, dtype=np.uint64))
            logs = np.log(values)
            loss, entries = train_pairs(
                rows, columns, logs, weights, order, symmetric, learning_rate, self.parameters
            )
            if not np.isfinite(loss):
                raise UserError(
                    f"GloVe diverges at the learning rate {learning_rate:g}: choose a lower one (0.05 is usual)"
                )
            with self.lock:
                if epoch > self.epoch:
                    self.epoch, self.loss, self.epoch_entries = epoch, 0.0, 0
                self.loss += loss
                self.epoch_entries += entries
                self.entries += entries
                bar.advance(
                    entries,
                    loss=self.loss / self.epoch_entries,
                    pairs_per_second=self.entries / (time.monotonic() - self.began),
                )
