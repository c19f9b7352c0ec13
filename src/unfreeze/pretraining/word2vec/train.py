"""word2vec: one vector per word, learned by distinguishing the words of a window from random words.

Skip-gram and CBOW, with negative sampling or hierarchical softmax (Mikolov et al. 2013), with or without character n-grams
(Bojanowski et al. 2017); walk.py describes them. Frequent words are subsampled, windows shrink at random, and the learning
rate falls linearly to zero.

The ids stream from the token store in blocks, so memory does not grow with the corpus. Threads share two float32 matrices
without locks (Hogwild), and each block has its own random state, so the random decisions do not depend on the number of
threads. One thread and a seed give the same bits, even after an interruption, because checkpoints are written between blocks.

Memory: 2 x 4 bytes x vocabulary x size (and 4 x buckets x size with n-grams), and 24 bytes per document.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from unfreeze.errors import Interrupted, Notice, UserError, setting
from unfreeze.pretraining import token_blocks
from unfreeze.pretraining.token_blocks import Block, TokenBlocks, count_tokens
from unfreeze.pretraining.word2vec.settings import LEARNING_RATES, Word2VecSettings
from unfreeze.pretraining.word2vec.tables import make_tables
from unfreeze.pretraining.word2vec.walk import Mode, Tables, make_workspace, train_block
from unfreeze.progress import SILENT, Bar, Progress
from unfreeze.vectors.table import VectorTable

if TYPE_CHECKING:
    from unfreeze.text.token_store import TokenStore
    from unfreeze.training.checkpoints import Checkpoints

logger = logging.getLogger(__name__)

Floats = NDArray[np.float32]
Bags = tuple[NDArray[np.int64], NDArray[np.int32]]

LOWEST_RATE = 1e-4
"""Smallest learning rate, relative to the initial one."""


class WordTokenizer(Protocol):
    """The tokenizer of a token store."""

    @property
    def special_ids(self) -> frozenset[int]: ...

    def __len__(self) -> int: ...

    def fingerprint(self) -> str: ...

    def token(self, number: int, /) -> str: ...


@dataclass(eq=False)
class Matrices:
    """The two parameter matrices of word2vec."""

    inputs: Floats
    """(V + buckets, D): the vectors; with n-grams, the rows of the words themselves, then those of the buckets."""
    outputs: Floats
    """(V, D): vectors of the predicted words, or of the inner nodes of the Huffman tree."""
    metrics: dict[str, float] = field(default_factory=dict)
    """Of the last epoch: loss in nats per prediction, and words/s."""

    @classmethod
    def start(cls, rows: int, vocabulary_size: int, size: int, seed: int) -> Matrices:
        """Initialize as word2vec does: input vectors uniform in +-0.5 / size, output vectors zero."""
        uniform = np.random.default_rng(seed).random((rows, size), dtype=np.float32)
        uniform -= np.float32(0.5)
        uniform /= np.float32(size)
        return cls(uniform, np.zeros((vocabulary_size, size), np.float32))


def train_word_vectors(
    store: TokenStore,
    tokenizer: WordTokenizer,
    *,
    workers: int | None = None,
    minutes: float | None = None,
    progress: Progress = SILENT,
    **settings: Any,
) -> VectorTable:
    """Train vectors for the words of `tokenizer` that occur in `store`, most frequent first.

    Args:
        workers, minutes, progress: as in `train_matrices`.
        settings: of `Word2VecSettings`.

    Raises:
        UserError: `store` was made with another tokenizer, or holds no two different words.
    """
    counts = tokenizer_counts(store, tokenizer)
    matrices = train_matrices(
        store,
        counts,
        Word2VecSettings(**settings),
        skip_ids=tokenizer.special_ids,
        workers=workers,
        minutes=minutes,
        progress=progress,
    )
    return table_by_frequency(tokenizer, counts, matrices.inputs)


def tokenizer_counts(store: TokenStore, tokenizer: WordTokenizer) -> NDArray[np.int64]:
    """Return the occurrences (V,) of each id of `tokenizer` in `store`.

    Raises:
        UserError: `store` was made with another tokenizer.
    """
    if store.fingerprint != tokenizer.fingerprint():
        raise UserError(f"{store.folder} holds the ids of another tokenizer: rebuild the token store")
    return count_tokens(store, len(tokenizer))


def table_by_frequency(tokenizer: WordTokenizer, counts: NDArray[np.int64], matrix: Floats) -> VectorTable:
    """Return the rows of `matrix` for all words that occur, most frequent first, without special tokens."""
    special = tokenizer.special_ids
    by_frequency = np.argsort(-counts, kind="stable").tolist()
    rows = [row for row in by_frequency if counts[row] and row not in special]
    return VectorTable([tokenizer.token(row) for row in rows], matrix[rows])


def train_matrices(
    store: TokenStore,
    counts: NDArray[np.int64],
    settings: Word2VecSettings,
    *,
    skip_ids: frozenset[int] = frozenset(),
    bags: Bags | None = None,
    start: Matrices | None = None,
    workers: int | None = None,
    minutes: float | None = None,
    checkpoints: Checkpoints | None = None,
    checkpoint_minutes: float = 3.0,
    progress: Progress = SILENT,
) -> Matrices:
    """Train a vector for each id, or continue training.

    Args:
        counts: (V,) occurrences of each id in `store`.
        skip_ids: removed before windows are made, and never used as negatives.
        bags: the rows of the inputs whose mean is the vector of a word (see `bag_table`); None is its own row.
        start: matrices to continue with, trained in place; None initializes new ones.
        workers: threads; None is one per core. With one, the same seed gives the same bits (if `minutes` is None).
        minutes: time limit; the learning rate then falls to zero by the end of that time.
        checkpoints: where the state is saved; training resumes from the last checkpoint.
        checkpoint_minutes: minutes between checkpoints.
        progress: reports tokens, the loss (nats per prediction, mean of the epoch so far), the learning rate and words/s
            (before subsampling).

    Raises:
        UserError: `store` holds no two different words, no word has a neighbor to learn from, or training diverges.
    """
    word_counts = counts.astype(np.float64)
    word_counts[list(skip_ids)] = 0
    if np.count_nonzero(word_counts) < 2:
        raise UserError("the corpus holds no two different words of the vocabulary: word2vec needs more text")
    tables = make_tables(
        word_counts, subsample=settings.subsample, hierarchical=settings.hierarchical, bags=bags
    )
    if start is None:
        rows = len(counts) if bags is None else max(len(counts), 1 + int(bags[1].max(initial=0)))
        start = Matrices.start(rows, len(counts), settings.size, settings.seed)
    mode = Mode(
        settings.architecture == "cbow",
        settings.hierarchical,
        bags is not None,
        settings.window,
        settings.negatives,
    )
    blocks = TokenBlocks(store, settings.epochs, settings.seed)
    seconds = None if minutes is None else 60 * minutes
    run = _Run(store, blocks, tables, start, mode, settings.initial_rate, seconds)
    run.resume(checkpoints)
    with progress.bar("word2vec", total=settings.epochs * store.n_tokens, unit="token") as bar:
        if run.state.position:
            bar.advance(run.tokens_before(run.state.position))
        run.work(bar, workers or os.cpu_count() or 1, checkpoints, 60 * checkpoint_minutes)
    # The last update can diverge without any effect on the loss.
    if not np.isfinite(run.matrices.inputs.sum(dtype=np.float64)):
        raise run.diverged()
    run.need_predictions(word_counts, settings)
    run.matrices.metrics = run.metrics()
    return run.matrices


@dataclass
class _State:
    """The state of a run between two blocks."""

    position: int = 0
    """Number of finished blocks."""
    seconds: float = 0.0
    """Time spent by earlier processes."""
    epoch: int = 0
    loss: float = 0.0
    predictions: int = 0
    all_predictions: int | None = 0
    """Of all epochs, whereas `loss` and `predictions` are those of the last epoch that had any. Unknown (None) in runs that
    were started by an earlier version."""
    words: int = 0


@dataclass
class _Run:
    """Threads that take blocks in order until none is left or time is up.

    Training alternates with checkpoints: it runs in intervals, after each of which no thread is working.
    """

    store: TokenStore
    blocks: TokenBlocks
    tables: Tables
    matrices: Matrices
    mode: Mode
    learning_rate: float
    seconds: float | None
    state: _State = field(default_factory=_State)
    lock: threading.Lock = field(default_factory=threading.Lock)
    began: float = field(default_factory=time.monotonic)
    interval_end: float = 0.0
    interval_start: int = 0
    """The first block of the interval; at least one is taken, however short the interval."""
    all_started: bool = False
    stopped: bool = False

    def resume(self, checkpoints: Checkpoints | None) -> None:
        saved = None if checkpoints is None else checkpoints.load("inputs", "outputs", "position")
        if saved is not None:
            self.matrices = Matrices(saved.pop("inputs").numpy(), saved.pop("outputs").numpy())
            self.state = _State(**{"all_predictions": None, **saved})
            logger.info("resuming from token %d", self.tokens_before(self.state.position))

    def work(self, bar: Bar, workers: int, checkpoints: Checkpoints | None, interval: float) -> None:
        """Train in intervals of `interval` seconds, and write a checkpoint after each."""
        while True:
            stop = self._train_interval(bar, workers, interval if checkpoints is not None else np.inf)
            if stop is not None and checkpoints is None:
                raise stop
            over = self.state.position >= len(self.blocks) or self._fraction_done(self.state.position) >= 1
            if over and stop is None:
                return
            assert checkpoints is not None, "without checkpoints there is one interval"
            done = self.tokens_before(self.state.position)
            tensors = {
                "inputs": torch.from_numpy(self.matrices.inputs),
                "outputs": torch.from_numpy(self.matrices.outputs),
            }
            checkpoints.save(asdict(self.state) | {"seconds": self._elapsed()} | tensors)
            checkpoints.log({"tokens": done, **self.metrics()})
            if stop is not None:
                total = self.blocks.epochs * self.store.n_tokens
                raise Interrupted(
                    f"interrupted after {done:,} of {total:,} tokens; rerun the command to resume"
                ) from stop

    def _train_interval(self, bar: Bar, workers: int, seconds: float) -> KeyboardInterrupt | None:
        """Let threads work for a number of seconds; on Ctrl-C, return it after the threads have finished their blocks.

        A block counts from the moment that a thread takes it, so nothing may be saved while a thread is working: a second
        Ctrl-C while waiting for them ends the process at once, without a checkpoint.
        """
        self.interval_end, self.interval_start = time.monotonic() + seconds, self.state.position
        self.stopped = self.all_started = False
        interruption = None
        # No thread takes a block before all have started: the pool would not wait for one whose start Ctrl-C interrupts.
        threads = ThreadPoolExecutor(workers, thread_name_prefix="word2vec")
        try:
            futures = [threads.submit(self._worker, bar) for _ in range(workers)]
            self.all_started = True
            for future in futures:
                future.result()
        except KeyboardInterrupt as stop:
            interruption = stop
        finally:
            self.stopped = True  # threads end after their current block
            threads.shutdown()
        return interruption

    def _worker(self, bar: Bar) -> None:
        while not (self.all_started or self.stopped):
            time.sleep(0.001)
        inputs, outputs = self.matrices.inputs, self.matrices.outputs
        space = make_workspace(self.mode, self.tables, inputs.shape[1], token_blocks.BLOCK_TOKENS)
        while (next_block := self._next_block()) is not None:
            number, block = next_block
            tokens = block.tokens(self.store)
            assert len(tokens) <= len(space.kept), "a block fits in the workspace"
            assert int(tokens.max()) < len(self.tables.keep), "the store's ids lie within the vocabulary"
            begin, end = (
                self.learning_rate * max(1 - self._fraction_done(number, n_tokens), LOWEST_RATE)
                for n_tokens in (0, block.stop - block.start)
            )
            starts, random = block.document_starts(), block.random_state()
            loss, predictions, words = train_block(
                tokens, starts, self.mode, self.tables, inputs, outputs, (begin, end), random, space
            )
            if not np.isfinite(loss):
                raise self.diverged()
            with self.lock:
                state = self.state
                if predictions and block.epoch > state.epoch:
                    state.epoch, state.loss, state.predictions = block.epoch, 0.0, 0
                state.loss += loss
                state.predictions += predictions
                if state.all_predictions is not None:
                    state.all_predictions += predictions
                state.words += words
                bar.advance(block.stop - block.start, learning_rate=end, **self.metrics())

    def diverged(self) -> UserError:
        usual = " or ".join(f"{value:g} ({name})" for name, value in LEARNING_RATES.items())
        return UserError(
            f"word2vec diverges at the learning rate {self.learning_rate:g}: choose a lower one; {usual} is usual"
        )

    def need_predictions(self, counts: NDArray[np.float64], settings: Word2VecSettings) -> None:
        """Raise UserError if there was no prediction, so that the vectors are still random; log a warning if there were few."""
        n_words, n_predictions = int(np.count_nonzero(counts)), self.state.all_predictions
        if n_predictions is None or n_predictions >= n_words:
            return
        if not self.state.position:
            raise UserError("word2vec learned nothing: the time limit ended before the first block of text")
        subsampled = ""
        if settings.subsample:
            subsampled = f", after subsampling to about {float(counts @ self.tables.keep):,.0f} a pass,"
        advice = f"give more text, lower {setting('min_count')}"
        advice += f" or set {setting('subsample')} to 0" if settings.subsample else ""
        found = f"of {counts.sum():,.0f} occurrences of words in the vocabulary{subsampled}"
        if not n_predictions:
            raise UserError(f"word2vec learned nothing: {found} no two were in the same document: {advice}")
        logger.warning(
            Notice(
                f"word2vec learned from only {n_predictions} pairs of neighbors: {found} few were in the same document: {advice}"
            )
        )

    def _next_block(self) -> tuple[int, Block] | None:
        with self.lock:
            number = self.state.position
            interval_over = time.monotonic() >= self.interval_end and number > self.interval_start
            if number >= len(self.blocks) or interval_over or self.stopped or self._fraction_done(0) >= 1:
                return None
            self.state.position += 1
            return number, self.blocks[number]

    def _elapsed(self) -> float:
        return self.state.seconds + time.monotonic() - self.began

    def tokens_before(self, number: int) -> int:
        """Number of tokens in the first `number` blocks."""
        epoch, index = divmod(number, self.blocks.per_epoch)
        return epoch * self.store.n_tokens + index * token_blocks.BLOCK_TOKENS

    def _fraction_done(self, number: int, tokens: int = 0) -> float:
        """Fraction of the run that is finished after `number` blocks and `tokens`, by tokens or by time, whichever is more."""
        by_time = 0.0 if self.seconds is None else self._elapsed() / self.seconds
        by_tokens = (self.tokens_before(number) + tokens) / (self.blocks.epochs * self.store.n_tokens)
        return min(1.0, max(by_tokens, by_time))

    def metrics(self) -> dict[str, float]:
        """Loss of the epoch so far, in nats per prediction, and words/s."""
        state = self.state
        return {
            "loss": state.loss / max(state.predictions, 1),
            "words_per_second": state.words / max(self._elapsed(), 1e-9),
        }
