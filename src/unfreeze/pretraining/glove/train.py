"""GloVe: one vector a word, whose products with context vectors predict the logarithm of how often two words meet.

Pennington et al. 2014: the sum of f(x) (w_i . c_j + b_i + b'_j - log x_ij)^2 over all pairs that occur, f(x) = (x /
x_max)^alpha up to 1, is made small by AdaGrad; a word's vector is w + c. x_max is 100 for corpora of billions of words;
10 suits those of up to some 10 million, in which few pairs come near 100.
Special here: counts lie on disk in an order that is as good as random (`cooccurrence`) and are read in blocks, whose
order changes from epoch to epoch; within a block the columns are shuffled, and the pairs of each. Visiting a column's
pairs together finds its vectors in the cache and is as good a way down as a random order (docs/lab-notes.md). Threads
share the parameters without locks (Hogwild); one thread and a seed give the same bits.
Cost: 22 million tokens, window 10 and 30,000 words make 39 million entries, an epoch of 7 s of one core. Memory is 16 bytes x vocabulary x (size + 2, rounded up to 16), and 44 bytes x `BLOCK_PAIRS`
a thread; counting takes `memory_mb` before that, and 12 bytes of disk for each two words that meet.
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
from typing import TYPE_CHECKING, Any, NamedTuple

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
from unfreeze.pretraining.token_blocks import count_tokens
from unfreeze.pretraining.word2vec.train import WordTokenizer
from unfreeze.progress import SILENT, Bar, Progress
from unfreeze.vectors.table import VectorTable

if TYPE_CHECKING:
    from unfreeze.text.token_store import TokenStore

BLOCK_PAIRS = 1 << 18

Floats = NDArray[np.float32]


class GloveFactors(NamedTuple):
    """What GloVe learns; w . c + b + b' predicts log x."""

    words: Floats
    """(V, D)"""
    contexts: Floats
    """(V, D)"""
    word_biases: Floats
    """(V,)"""
    context_biases: Floats
    """(V,)"""


def train_glove_vectors(store: TokenStore, tokenizer: WordTokenizer, **options: Any) -> VectorTable:
    """GloVe vectors for the words of `tokenizer` that occur in `store`, most frequent first.

    Args:
        options: of `train_glove`, but for what the tokenizer says.

    Raises:
        UserError: `store` was made with another tokenizer; else as `train_glove`.
    """
    if store.fingerprint != tokenizer.fingerprint():
        raise UserError(f"{store.folder} holds the ids of another tokenizer: build the token store anew")
    counts, special = count_tokens(store, len(tokenizer)), tokenizer.special_ids
    matrix = train_glove(store, vocabulary_size=len(tokenizer), skip_ids=special, **options)
    by_frequency = np.argsort(-counts, kind="stable")
    rows = [int(row) for row in by_frequency if counts[row] and int(row) not in special]
    return VectorTable([tokenizer.token(row) for row in rows], matrix[rows])


def train_glove(
    store: TokenStore,
    *,
    vocabulary_size: int,
    skip_ids: frozenset[int] = frozenset(),
    window: int = 10,
    symmetric: bool = True,
    memory_mb: float = 1024,
    folder: str | Path | None = None,
    workers: int | None = None,
    progress: Progress = SILENT,
    **options: Any,
) -> Floats:
    """Count which words meet and train one vector for each of `vocabulary_size` ids: w + c.

    Args:
        skip_ids: neither word nor context, taken out before windows are made; so are ids from `vocabulary_size` on.
        window, symmetric, memory_mb: of `count_cooccurrences`.
        folder: in which the counts lie meanwhile; None is the system's place for temporary files.
        workers: threads; None is one a core.
        progress: told of what `count_cooccurrences` and `fit_glove` say.
        options: of `fit_glove`: size, epochs, learning_rate, x_max, alpha, seed.

    Returns: (V, size); ids that meet no other keep their small random start.

    Raises:
        UserError: no two words meet, the disk is full, or training diverges.
    """
    keep = np.ones(vocabulary_size, np.bool_)
    keep[list(skip_ids)] = False
    with _temporary_folder(folder) as temporary:
        pairs = count_cooccurrences(
            store,
            temporary / "pairs",
            keep=keep,
            window=window,
            symmetric=symmetric,
            memory_mb=memory_mb,
            workers=workers,
            progress=progress,
        )
        factors = fit_glove(
            pairs, vocabulary_size=vocabulary_size, workers=workers, progress=progress, **options
        )
    return factors.words + factors.contexts


@contextmanager
def _temporary_folder(place: str | Path | None) -> Iterator[Path]:
    with writing(Path(place or tempfile.gettempdir())):
        if place is not None:
            Path(place).mkdir(parents=True, exist_ok=True)
        temporary = tempfile.TemporaryDirectory(prefix=".cooccurrences-", dir=place)
    with temporary as name:
        yield Path(name)


def fit_glove(
    pairs: Cooccurrences,
    *,
    vocabulary_size: int,
    size: int = 100,
    epochs: int = 25,
    learning_rate: float = 0.05,
    x_max: float = 100.0,
    alpha: float = 0.75,
    workers: int | None = None,
    seed: int = 0,
    progress: Progress = SILENT,
) -> GloveFactors:
    """Fit vectors and biases to the counts.

    Args:
        size: D.
        epochs: the paper made 50 for sizes below 300, else 100; its program makes 25 unless told.
        learning_rate: initial learning rate of AdaGrad.
        x_max, alpha: of the weight (x / x_max)^alpha, at most 1.
        workers: threads; None is one a core. With one, the same seed gives the same bits.
        progress: told of entries of the matrix, the loss (f(x) error^2 / 2 an entry, the mean of the epoch so far) and
            entries/s.

    Raises:
        UserError: training diverges.
    """
    assert size >= 1 and epochs >= 0 and learning_rate > 0 and x_max > 0
    parameters = make_parameters(vocabulary_size, size, seed)
    run = _Run(
        pairs,
        parameters,
        np.float32(learning_rate),
        (x_max, alpha),
        seed,
        _blocks(pairs.n_pairs, epochs, seed),
    )
    with progress.bar("glove", total=epochs * pairs.n_entries, unit="pair") as bar:
        run.work(bar, workers or os.cpu_count() or 1)
    words, contexts = parameters[:, WORD, VALUE], parameters[:, CONTEXT, VALUE]
    return GloveFactors(
        words[:, :size].copy(), contexts[:, :size].copy(), words[:, size].copy(), contexts[:, size + 1].copy()
    )


class _Block(NamedTuple):
    """Pairs [start, stop) in one epoch."""

    epoch: int
    start: int
    stop: int


def _blocks(n_pairs: int, epochs: int, seed: int) -> Iterator[_Block]:
    starts = np.arange(0, n_pairs, BLOCK_PAIRS)
    for epoch in range(epochs):
        for start in np.random.default_rng([seed, epoch]).permutation(starts).tolist():
            yield _Block(epoch, start, min(start + BLOCK_PAIRS, n_pairs))


@dataclass
class _Run:
    """Threads that take blocks from one iterator until it is empty."""

    pairs: Cooccurrences
    parameters: Floats
    rate: np.float32
    weighting: tuple[float, float]
    """x_max, alpha"""
    seed: int
    blocks: Iterator[_Block]
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

    def _worker(self, bar: Bar) -> None:
        while (block := self._next_block()) is not None:
            loss, entries = self._train(block)
            if not np.isfinite(loss):
                raise UserError(
                    f"GloVe diverges at the rate {self.rate:g}: choose a lower one (0.05 is usual)"
                )
            self._report(bar, block, loss, entries)

    def _next_block(self) -> _Block | None:
        with self.lock:
            return next(self.blocks, None)

    def _train(self, block: _Block) -> tuple[float, int]:
        rows, columns, values = self.pairs.read(block.start, block.stop)
        x_max, alpha = map(np.float32, self.weighting)
        weights = np.minimum((values / x_max) ** alpha, np.float32(1.0))
        random = np.random.default_rng([self.seed, block.epoch, block.start])
        ranks = random.permutation(len(self.parameters))
        order = grouped_order(columns, ranks, random.integers(2**64, size=1, dtype=np.uint64))
        loss, entries = train_pairs(
            rows, columns, np.log(values), weights, order, self.pairs.symmetric, self.rate, self.parameters
        )
        return loss, entries

    def _report(self, bar: Bar, block: _Block, loss: float, entries: int) -> None:
        with self.lock:
            if block.epoch > self.epoch:
                self.epoch, self.loss, self.epoch_entries = block.epoch, 0.0, 0
            self.loss += loss
            self.epoch_entries += entries
            self.entries += entries
            bar.advance(
                entries,
                loss=self.loss / self.epoch_entries,
                pairs_per_second=self.entries / (time.monotonic() - self.began),
            )
