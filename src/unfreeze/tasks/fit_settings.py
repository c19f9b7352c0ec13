"""Settings of all tasks, and those of a classifier; what they leave open is decided by `unfreeze.tasks.plans`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from unfreeze.tasks.heads import Head
from unfreeze.tasks.pooling import Pooling
from unfreeze.training.loop_settings import LoopSettings
from unfreeze.transfer.policies import Mode, OptimizerName, ScheduleName

if TYPE_CHECKING:
    pass

Body = Literal["pooling", "bilstm"]
MixAt = Literal["input", "output", "both"]


@dataclass(frozen=True, kw_only=True)
class EncoderSettings:
    """Which encoder a task starts from."""

    encoder: str | None = None
    """Name or folder of an encoder, a language model or a task model, or a file of word vectors; "none" is from scratch; the
    released one by default."""
    transfer: Mode | None = None
    """scratch, frozen or fine-tune; what suits the task and the encoder by default."""


@dataclass(frozen=True, kw_only=True)
class LearningSettings(EncoderSettings):
    """What all tasks have in common: the layers of an encoder that are used, and how the task learns."""

    mix_at: MixAt = "input"
    """Where a mix of layers stands: at the body's input, its output, or both."""
    mix_l2: float = 0.0
    """L2 penalty on the weights of a mix; .001 lets them differ, 1 keeps them equal."""
    layer_norm: bool = False
    """Normalize each layer before it is mixed."""
    epochs: int | None = None
    """Passes over the examples; by default what suits the task and how many there are."""
    minutes: float | None = None
    """Bound by time instead."""
    discriminative: float = 2.6
    """Fine-tuning: each lower group's rate is divided by this; 1 turns it off."""
    gradual: bool = True
    """Fine-tuning: thaw one layer group an epoch, last first."""
    optimizer: OptimizerName = "adamw"
    """adamw or nt-asgd."""
    weight_decay: float | None = None
    """Of matrices; by default what suits the optimizer."""
    keep_best: bool = True
    """With validation examples: keep the epoch that was best."""
    checkpoint_minutes: float = 3.0
    """How much work a kill may cost."""
    seed: int = 0
    """Of everything random."""

    def loop(self, epochs: int | None, *, measures: bool) -> LoopSettings:
        """How long it learns.

        Args:
            epochs: None where time bounds the run.
            measures: whether there are validation examples.
        """
        return LoopSettings(
            epochs=epochs,
            minutes=self.minutes,
            optimizer=self.optimizer,
            weight_decay=self.weight_decay,
            checkpoint_minutes=self.checkpoint_minutes,
            keep_best=self.keep_best and measures,
            seed=self.seed,
        )


@dataclass(frozen=True, kw_only=True)
class FitSettings(LearningSettings):
    """How a classifier is fitted. None means: chosen by what else is given."""

    body: Body | None = None
    """What stands on the encoder: pooling, or a biLSTM that starts from random weights, on word vectors or on the layers of
    a contextual encoder; pooling by default, but the biLSTM on ELMo."""
    new_words: bool | None = None
    """Word vectors: add the task's words that they lack; by default where those can learn or have n-grams."""
    word_vectors: str | None = None
    """Static vectors (word2vec, GloVe, npz; under a biLSTM also a folder): their mean stands beside the encoder's pooled
    states, or, under a biLSTM on layers, each word's beside the mix."""
    layers: Literal["mix"] | int | None = None
    """Under a biLSTM on a contextual encoder: a learned mix of all its layers, or the number of one; mix by default."""
    architecture: Literal["bilstm", "awd-lstm"] = "bilstm"
    """From scratch: a biLSTM, or a random AWD-LSTM."""
    pooling: Pooling | None = None
    """top (the paper's), top+vectors, or vectors."""
    head: Head | None = None
    """two-layer (the paper's), or linear; linear on a frozen encoder by default."""
    rate: float | None = None
    """Largest rate, of the head."""
    batch_size: int = 32
    """Examples an update, over all processes."""
    dropout_scale: float | None = None
    """Factor on the dropouts."""
    schedule: ScheduleName = "slanted"
    """slanted (triangular), cosine or constant."""
    embedding_size: int = 100
    """From scratch: width of the word vectors."""
    hidden_size: int = 128
    """From scratch: width of each direction."""
    vocabulary_size: int = 20_000
    """From scratch, and for a biLSTM on word vectors: words at most, besides the task's."""
    min_count: int = 2
    """From scratch: rarer words are unknown."""
