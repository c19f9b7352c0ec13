"""word2vec: one vector a word, learned by telling a window's words from random ones.

Skip-gram with negative sampling (Mikolov et al. 2013): a word's vector is trained to score the words around it above
negatives drawn by count^0.75; frequent words are thinned out, windows shrink at random, the rate falls linearly to zero.
Special here: the ids stream from the token store in blocks, so that memory does not grow with the corpus; threads share
two float32 matrices without locks (Hogwild) and each block has its own random state, so that the random decisions do
not depend on the number of threads, and one thread and a seed give the same bits. Windows never cross documents; they
are also cut between blocks, which concerns one word in about 3,000.
Cost: see `skip_gram_kernel`; memory is 2 x 4 bytes x vocabulary x size, and 24 bytes a document.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from unfreeze.errors import UserError
from unfreeze.formats.word_vectors import VectorTable
from unfreeze.pretraining.skip_gram_kernel import make_scratch, train_block
from unfreeze.progress import SILENT, Bar, Progress

if TYPE_CHECKING:
    from unfreeze.text.token_store import TokenStore


class WordTokenizer(Protocol):
    """What is needed of a tokenizer."""

    @property
    def special_ids(self) -> frozenset[int]: ...

    def __len__(self) -> int: ...

    def fingerprint(self) -> str: ...

    def token(self, number: int, /) -> str: ...


BLOCK_TOKENS = 32_768
LOWEST_RATE = 1e-4
"""The share of the first rate below which it does not fall."""

Floats = NDArray[np.float32]


def train_word_vectors(store: TokenStore, tokenizer: WordTokenizer, **options: Any) -> VectorTable:
    """Skip-gram vectors for the words of `tokenizer` that occur in `store`, most frequent first.

    Args:
        options: of `train_skip_gram`, but for what the tokenizer says.

    Raises:
        UserError: `store` was made with another tokenizer, or holds no two different words.
    """
    if store.fingerprint != tokenizer.fingerprint():
        raise UserError(f"{store.folder} holds the ids of another tokenizer: build the token store anew")
    counts = count_tokens(store, len(tokenizer))
    special = tokenizer.special_ids
    matrix = train_skip_gram(
        store, vocabulary_size=len(tokenizer), counts=counts, skip_ids=special, **options
    )
    by_frequency = np.argsort(-counts, kind="stable")
    rows = [int(row) for row in by_frequency if counts[row] and int(row) not in special]
    return VectorTable([tokenizer.token(row) for row in rows], matrix[rows])


def train_skip_gram(
    store: TokenStore,
    *,
    vocabulary_size: int,
    counts: Sequence[int] | NDArray[np.int64] | None = None,
    skip_ids: frozenset[int] = frozenset(),
    size: int = 100,
    window: int = 5,
    negatives: int = 5,
    epochs: int = 5,
    rate: float = 0.025,
    subsample: float = 1e-3,
    workers: int | None = None,
    seed: int = 0,
    minutes: float | None = None,
    progress: Progress = SILENT,
) -> Floats:
    """Train one vector of `size` numbers for each of `vocabulary_size` ids.

    Args:
        counts: (V,) occurrences of each id; None counts them in `store`.
        skip_ids: neither center nor context nor negative: taken out before windows are made.
        window: at most so many words to each side, after skipping and subsampling.
        subsample: a word that is more frequent than this share of the corpus is thinned out; 0 keeps all.
        workers: threads; None is one a core. With one, the same seed gives the same bits (if `minutes` is None).
        minutes: stop after that time at the latest; the rate then falls to zero by the end of that time.
        progress: told of tokens, the loss (nats a context word with its negatives, mean of the epoch so far), the rate
            and words/s (before subsampling).

    Returns: (V, size); ids that do not occur keep their small random start.

    Raises:
        UserError: `store` holds no two different words.
    """
    if counts is None:
        counts = count_tokens(store, vocabulary_size)
    assert len(counts) == vocabulary_size, "a count an id"
    word_counts = np.array(counts, np.float64)
    word_counts[list(skip_ids)] = 0
    if np.count_nonzero(word_counts) < 2:
        raise UserError("the corpus holds no two different words of the vocabulary: word2vec needs more text")
    inputs, outputs = initial_matrices(vocabulary_size, size, seed)
    run = _Run(
        store=store,
        tables=(keep_probabilities(word_counts, subsample), *alias_table(word_counts**0.75)),
        matrices=(inputs, outputs),
        window=window,
        negatives=negatives,
        rate=rate,
        schedule=_Schedule(epochs * store.n_tokens, None if minutes is None else 60 * minutes),
        blocks=_blocks(store, epochs, seed),
    )
    with progress.bar("word2vec", total=epochs * store.n_tokens, unit="token") as bar:
        run.work(bar, workers or os.cpu_count() or 1)
    return inputs


def count_tokens(store: TokenStore, vocabulary_size: int) -> NDArray[np.int64]:
    """How often each id occurs in `store`, in one pass."""
    counts = np.zeros(vocabulary_size, np.int64)
    for block in _blocks(store, epochs=1, seed=0, shuffle=False):
        counts += np.bincount(block.tokens(store), minlength=vocabulary_size)
    return counts


def initial_matrices(vocabulary_size: int, size: int, seed: int) -> tuple[Floats, Floats]:
    """word2vec's start: input vectors uniform within 0.5 / size of zero, output vectors zero."""
    uniform = np.random.default_rng(seed).random((vocabulary_size, size), dtype=np.float32)
    uniform -= np.float32(0.5)
    uniform /= np.float32(size)
    return uniform, np.zeros_like(uniform)


def keep_probabilities(counts: NDArray[np.float64], subsample: float) -> NDArray[np.float64]:
    """(V,) sqrt(s / f) + s / f, at most 1, for words of relative frequency f (word2vec's code); 0 where the count is 0."""
    with np.errstate(divide="ignore"):
        ratio = subsample * counts.sum() / counts if subsample else np.full_like(counts, np.inf)
    return np.where(counts > 0, np.minimum(np.sqrt(ratio) + ratio, 1.0), 0.0)


def alias_table(weights: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Vose's alias table: draw a column uniformly, keep it with its acceptance, else take its alias. O(V).

    Returns: acceptance (V,) in [0, 1], alias (V,).
    """
    acceptance = weights * (len(weights) / weights.sum())
    alias = np.arange(len(weights), dtype=np.int32)
    small, large = np.flatnonzero(acceptance < 1).tolist(), np.flatnonzero(acceptance >= 1).tolist()
    while small and large:
        poor, rich = small.pop(), large[-1]
        alias[poor] = rich
        acceptance[rich] -= 1 - acceptance[poor]
        if acceptance[rich] < 1:
            small.append(large.pop())
    acceptance[[i for i in small + large if weights[i] > 0]] = 1.0  # what rounding left over
    return acceptance, alias


@dataclass(frozen=True)
class _Block:
    """Tokens [start, stop) of one epoch's stream of documents."""

    order: NDArray[np.int64]
    cumulative: NDArray[np.int64]
    start: int
    stop: int
    epoch: int
    seed: int

    def tokens(self, store: TokenStore) -> NDArray[Any]:
        return store.gather(self.order, self.cumulative, self.start, self.stop)

    def document_starts(self) -> NDArray[np.int64]:
        """(documents + 1,) where documents start within the block, and its end."""
        first, last = np.searchsorted(self.cumulative, [self.start, self.stop], side="right")
        inside = self.cumulative[first:last]
        return np.unique(np.concatenate([[self.start], inside, [self.stop]])) - self.start

    def random_state(self) -> NDArray[Any]:
        """(1,) 64 random bits that only this block has."""
        return np.random.SeedSequence([self.seed, self.epoch, self.start]).generate_state(1, np.uint64)


def _blocks(store: TokenStore, epochs: int, seed: int, shuffle: bool = True) -> Iterator[_Block]:
    lengths = store.lengths
    for epoch in range(epochs):
        order = np.arange(len(lengths))
        if shuffle:
            np.random.default_rng([seed, epoch]).shuffle(order)
        cumulative = np.concatenate([[0], np.cumsum(lengths[order])])
        for start in range(0, store.n_tokens, BLOCK_TOKENS):
            yield _Block(order, cumulative, start, min(start + BLOCK_TOKENS, store.n_tokens), epoch, seed)


@dataclass(frozen=True)
class _Schedule:
    """The share of the run that is over: by tokens, or by time if that is shorter."""

    tokens: int
    seconds: float | None
    began: float = field(default_factory=time.monotonic)

    def over(self, tokens: int) -> float:
        by_time = 0.0 if self.seconds is None else (time.monotonic() - self.began) / self.seconds
        return min(1.0, max(tokens / self.tokens, by_time))


@dataclass
class _Run:
    """Threads that take blocks from one iterator until it is empty or the time is over."""

    store: TokenStore
    tables: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int32]]
    matrices: tuple[Floats, Floats]
    window: int
    negatives: int
    rate: float
    schedule: _Schedule
    blocks: Iterator[_Block]
    lock: threading.Lock = field(default_factory=threading.Lock)
    epoch: int = 0
    words: int = 0
    loss: float = 0.0
    contexts: int = 0

    def work(self, bar: Bar, workers: int) -> None:
        with ThreadPoolExecutor(workers, thread_name_prefix="word2vec") as threads:
            futures = [threads.submit(self._worker, bar) for _ in range(workers)]
            try:
                for future in futures:
                    future.result()
            finally:
                with self.lock:
                    self.blocks = iter(())

    def _worker(self, bar: Bar) -> None:
        scratch = make_scratch(self.window, self.negatives, self.matrices[0].shape[1])
        while (block := self._next_block()) is not None:
            tokens = block.tokens(self.store)
            assert int(tokens.max()) < len(self.matrices[0]), "the store's ids lie within the vocabulary"
            result = train_block(
                tokens,
                block.document_starts(),
                *self.tables,
                *self.matrices,
                self.window,
                self.negatives,
                (self._rate_at(block, block.start), self._rate_at(block, block.stop)),
                block.random_state(),
                scratch,
            )
            self._report(bar, block, *result)

    def _next_block(self) -> _Block | None:
        with self.lock:
            block = next(self.blocks, None)
        return block if block is not None and self.schedule.over(0) < 1 else None

    def _rate_at(self, block: _Block, position: int) -> float:
        over = self.schedule.over(block.epoch * self.store.n_tokens + position)
        return self.rate * max(1 - over, LOWEST_RATE)

    def _report(self, bar: Bar, block: _Block, loss: float, contexts: int, words: int) -> None:
        with self.lock:
            if block.epoch > self.epoch:
                self.epoch, self.loss, self.contexts = block.epoch, 0.0, 0
            self.loss += loss
            self.contexts += contexts
            self.words += words
            bar.advance(
                block.stop - block.start,
                loss=self.loss / max(self.contexts, 1),
                rate=self._rate_at(block, block.stop),
                words_per_second=self.words / (time.monotonic() - self.schedule.began),
            )
