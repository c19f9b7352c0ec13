"""Settings of `pretrain cove` and of the search for a translation, and presets: functions that return a whole configuration.

Loads neither torch nor numba: the command line is made from these classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from unfreeze.checked import need_not_negative, need_positive, need_setting_types
from unfreeze.errors import UserError, setting
from unfreeze.training.loop_settings import LoopSettings
from unfreeze.transfer.policies import TransferPolicy

MOST_BEAMS = 100
"""More beams find nothing better, and take as many times the memory."""
LARGEST_PENALTY = 10
"""Larger exponents of the length are beyond all use, and soon beyond the range of numbers."""


@dataclass(frozen=True, kw_only=True)
class Search:
    """Settings of the search for a translation.

    Raises:
        UserError: a value is out of range.
    """

    beams: int = 5
    """Partial translations that are kept at each step of the search; 1 is greedy search."""
    length_penalty: float = 1.0
    """Exponent of a translation's length by which its log-probability is divided; 0 prefers short ones."""

    def __post_init__(self) -> None:
        need_setting_types(self)
        need_positive(self, "beams")
        if self.beams > MOST_BEAMS:
            raise UserError(f"{setting('beams')} must be at most {MOST_BEAMS}, not {self.beams}")
        need_not_negative(self, "length_penalty")
        if self.length_penalty > LARGEST_PENALTY:
            raise UserError(
                f"{setting('length_penalty')} must be at most {LARGEST_PENALTY}, not {self.length_penalty}"
            )


@dataclass(frozen=True, kw_only=True)
class TranslationSettings:
    """A translator and its training."""

    policy: TransferPolicy
    """Learning rate and schedule."""
    loop: LoopSettings
    """Length of the training, and the optimizer."""
    batch_size: int = 64
    """Pairs of texts in a batch, over all processes."""
    embedding_size: int = 300
    """Width of the word vectors of the source; those of given word vectors replace it."""
    hidden_size: int = 300
    """Cells of each LSTM of the encoder in each direction; twice as many in the one direction of a forward encoder."""
    target_size: int | None = None
    """Width of the embedding of the target's tokens (default: that of the decoder, with one matrix for it and the output
    layer)."""
    n_layers: int = 2
    """LSTM layers of the encoder, and of the decoder."""
    direction: Literal["both", "forward"] = "both"
    """Directions in which the encoder reads. Forward gives states that know nothing of the words that follow, and as wide ones:
    the single direction has 2 x hidden_size cells."""
    dropout: float = 0.2
    """Dropout on the word vectors, between layers, and on the decoder's output."""
    tokenizer: Literal["subword", "word"] = "subword"
    """Translations are written in subwords, or in words; an unknown word is then copied from the source."""
    vocabulary_size: int = 8000
    """Largest number of subwords or words of the target."""
    source_vocabulary_size: int = 50_000
    """Largest number of words of the source whose vectors are trained; given vectors that are not trained are all kept."""
    min_count: int = 2
    """Words with fewer occurrences in the pairs are unknown, unless they have a given vector. With given vectors that are not
    trained, a word without one is unknown however often it occurs."""
    init_range: float | None = None
    """Draw all weights but word vectors from the uniform distribution between minus this number and it (default: each layer its
    own range)."""
    train_vectors: bool | None = None
    """Train the word vectors of the source (default: only if none are given)."""

    def __post_init__(self) -> None:
        need_positive(self, "batch_size", "embedding_size", "hidden_size", "target_size", "n_layers")
        need_positive(self, "vocabulary_size", "source_vocabulary_size", "min_count", "init_range")
        if not 0 <= self.dropout < 1:
            raise UserError(f"{setting('dropout')} must be at least 0 and under 1, not {self.dropout}")
        if self.direction not in ("both", "forward"):
            raise UserError(f"{setting('direction')} must be both or forward, not {self.direction!r}")
        if self.tokenizer not in ("subword", "word"):
            raise UserError(f"{setting('tokenizer')} must be subword or word, not {self.tokenizer!r}")


def _settings(
    learning_rate: float, epochs: int, schedule: Any = "cosine", loop: Any = None, **changes: Any
) -> TranslationSettings:
    policy = TransferPolicy(mode="scratch", learning_rate=learning_rate, schedule=schedule)
    settings = {"weight_decay": 0.0, "betas": (0.9, 0.98), "keep_best": True, **(loop or {})}
    return TranslationSettings(policy=policy, loop=LoopSettings(epochs=epochs, **settings), **changes)


def tiny() -> TranslationSettings:
    """Trains in seconds on a CPU: for tests and first steps."""
    return _settings(
        1e-2,
        5,
        batch_size=16,
        embedding_size=32,
        hidden_size=32,
        vocabulary_size=1000,
        min_count=1,
        dropout=0.0,
    )


def small() -> TranslationSettings:
    """Learns tens of thousands of pairs in an hour on two cores."""
    return _settings(1e-3, 12, embedding_size=256, hidden_size=256, dropout=0.3)


def paper() -> TranslationSettings:
    """The published MT-LSTM's sizes, initialization and optimizer: SGD, its rate of 1 halved whenever the held-out loss rises.

    Three things differ. The gradient is divided by the number of tokens of a batch, not of its sentences as by OpenNMT, so that
    an update is smaller by about the length of a translation. The decoder's cells begin with the encoder's h instead of its c.
    Words are looked up in lower case if they are unknown as they are written. The default word vectors are trained here; the
    paper's are GloVe's (word_vectors).
    """
    loop = {"optimizer": "sgd", "clip": 5.0}
    sizes = {"vocabulary_size": 50_000, "target_size": 300}
    return _settings(1.0, 20, "plateau", loop, tokenizer="word", init_range=0.1, **sizes)


PRESETS = {"tiny": tiny, "small": small, "paper": paper}
