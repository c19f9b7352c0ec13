"""Settings of `pretrain elmo` and of `adapt` for an ELMo, and presets: functions that return a whole configuration.

Loads neither torch nor numba: the command line is made from these classes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from tyro.conf import Suppress

from unfreeze.checked import need_positive
from unfreeze.errors import UserError, setting
from unfreeze.training.loop_settings import LoopSettings
from unfreeze.transfer.policies import TransferPolicy


@dataclass(frozen=True, kw_only=True)
class ElmoSettings:
    """A bidirectional language model over words, and its training."""

    policy: TransferPolicy
    """Learning rate and schedule."""
    loop: LoopSettings
    """Length of the training, and the optimizer."""
    batch_size: int = 128
    """Streams of text in a batch, in each direction, over all processes."""
    bptt: int = 20
    """Words of each stream in a batch."""
    projection_size: int = 512
    """Width of a word's vector and of the states of each direction (the paper's projection)."""
    hidden_size: int = 4096
    """Cells of each LSTM, before the projection."""
    n_layers: int = 2
    """LSTM layers of each direction."""
    char_cnn: Suppress[dict[str, Any] | None] = field(default_factory=dict)
    """Arguments of the character CNN's `CharCnnSettings`; None reads words by their ids."""
    skip_connections: bool = True
    """Add the input of each layer above the first to its output."""
    dropout: float = 0.1
    """Dropout on the input of each layer and of the output layer."""
    softmax: Literal["sampled", "adaptive", "full"] = "sampled"
    """Output layer; a sampled one is evaluated over the full vocabulary."""
    n_samples: int = 8192
    """Words that each target is compared with in training, with a sampled softmax."""
    vocabulary_size: int = 200_000
    """Largest number of words in the output vocabulary; any word can be read."""
    min_count: int = 3
    """Words with fewer occurrences are unknown to the output layer."""

    def __post_init__(self) -> None:
        need_positive(self, "batch_size", "bptt", "projection_size", "hidden_size", "n_layers", "n_samples")
        need_positive(self, "vocabulary_size", "min_count")
        if not 0 <= self.dropout < 1:
            raise UserError(f"{setting('dropout')} must be at least 0 and under 1, not {self.dropout}")


def _settings(learning_rate: float, **changes: Any) -> ElmoSettings:
    policy = TransferPolicy(mode="scratch", learning_rate=learning_rate, schedule="cosine")
    return ElmoSettings(policy=policy, loop=LoopSettings(epochs=1), **changes)


def tiny() -> ElmoSettings:
    """Trains in seconds on a CPU: for tests and first steps."""
    return _settings(
        1e-2,
        softmax="adaptive",
        batch_size=16,
        dropout=0.0,
        projection_size=32,
        hidden_size=64,
        n_layers=2,
        char_cnn={"embedding": 8, "filters": [[1, 16], [2, 16], [3, 32]], "n_highway": 1},
        vocabulary_size=10_000,
    )


def small() -> ElmoSettings:
    """Sizes that still learn in an hour on two cores."""
    filters = [[1, 16], [2, 32], [3, 64], [4, 128], [5, 128], [6, 144]]
    return _settings(
        3e-3,
        softmax="adaptive",
        batch_size=64,
        dropout=0.0,
        projection_size=256,
        hidden_size=768,
        char_cnn={"embedding": 16, "filters": filters, "n_highway": 1},
        vocabulary_size=40_000,
    )


def paper() -> ElmoSettings:
    """The published model's sizes and recipe; needs GPUs."""
    loop = LoopSettings(epochs=10, optimizer="adagrad", clip=10.0)
    policy = TransferPolicy(mode="scratch", learning_rate=0.2, schedule="constant")
    return ElmoSettings(policy=policy, loop=loop, vocabulary_size=800_000)


PRESETS = {"tiny": tiny, "small": small, "paper": paper}


@dataclass(frozen=True, kw_only=True)
class AdaptElmoSettings:
    """Training of an ELMo continued on the target's text."""

    policy: TransferPolicy = field(
        default_factory=lambda: TransferPolicy(
            mode="fine-tune", learning_rate=1e-3, gradual=False, schedule="slanted"
        )
    )
    """Learning rates and schedule."""
    loop: LoopSettings = field(default_factory=lambda: LoopSettings(epochs=1))
    """Length of the training, and the optimizer."""
    batch_size: int = 64
    """Streams of text in a batch, in each direction, over all processes."""
    bptt: int = 20
    """Words of each stream in a batch."""
    new_vocabulary: bool = True
    """Replace the output vocabulary by the words of the target's text."""
    vocabulary_size: int | None = None
    """Largest number of words in the output vocabulary (default: as many as the model has)."""
    min_count: int = 3
    """Words with fewer occurrences are unknown to the output layer."""

    def __post_init__(self) -> None:
        need_positive(self, "batch_size", "bptt", "vocabulary_size", "min_count")
