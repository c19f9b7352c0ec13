"""How a tagger is fitted: the settings, and what is chosen where they say nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from unfreeze.tasks.fit_settings import NO_ENCODER, EncoderSettings, MixAt
from unfreeze.transfer.optimizers import OptimizerName
from unfreeze.transfer.policies import Mode

UPDATES, FEWEST_EPOCHS, MOST_EPOCHS = 1_000, 6, 60
"""Updates that a small training set should see at least; the number of epochs follows, within bounds."""


@dataclass(frozen=True, kw_only=True)
class TaggerSettings(EncoderSettings):
    """How a tagger is fitted. None means: chosen by what else is given."""

    word_vectors: str | None = None
    """Static vectors of each word beside the encoder's layers: a file or a folder. Without an encoder and without these, a
    table of the training words' own vectors learns from random ones."""
    vectors_learn: bool | None = None
    """Whether word vectors move with the task; by default only those of the task itself."""
    characters: int = 50
    """Width of a character CNN's vector of each word, which learns with the task; 0 is none."""
    layers: Literal["mix"] | int = "mix"
    """A learned mix of all of the encoder's layers, or the number of one."""
    mix_at: MixAt = "input"
    """Where the mix stands: at the body's input, its output, or both."""
    mix_l2: float = 0.0
    """L2 penalty on the weights of a mix."""
    layer_norm: bool = False
    """Normalize each layer before it is mixed."""
    hidden_size: int = 200
    """Of each direction of the biLSTM."""
    n_layers: int = 1
    """Of the biLSTM."""
    input_dropout: float = 0.3
    """Of what the biLSTM reads."""
    dropout: float = 0.3
    """Of what it gives."""
    epochs: int | None = None
    """Passes over the sentences; more for fewer sentences by default."""
    minutes: float | None = None
    """Bound by time instead."""
    rate: float = 2e-3
    """Largest rate, of the body and the head."""
    batch_size: int = 16
    """Sentences an update, over all processes."""
    discriminative: float = 2.6
    """Fine-tuning: each lower group's rate is divided by this; 1 turns it off."""
    gradual: bool = True
    """Fine-tuning: thaw one layer group an epoch, last first."""
    schedule: str = "cosine"
    """slanted (triangular), cosine or constant."""
    optimizer: OptimizerName = "adamw"
    """adamw or nt-asgd."""
    weight_decay: float | None = None
    """Of matrices; by default what suits the optimizer."""
    keep_best: bool = True
    """With validation sentences: keep the epoch with the best F1."""
    checkpoint_minutes: float = 3.0
    """How much work a kill may cost."""
    embedding_size: int = 100
    """Of the task's own word vectors."""
    vocabulary_size: int = 50_000
    """Words of a file of vectors at most, besides the task's."""
    min_count: int = 2
    """Of the task's own word vectors: rarer words are unknown."""
    seed: int = 0
    """Of everything random."""

    @property
    def mode(self) -> Mode:
        """The transfer asked for; frozen by default where there is an encoder."""
        if self.chosen_encoder == NO_ENCODER:
            return "scratch"
        return self.transfer or "frozen"

    @property
    def static(self) -> str | None:
        """The word vectors: those beside an encoder, or those that are the encoder."""
        return self.chosen_encoder if self.starts_from_vectors else self.word_vectors

    @property
    def contextual(self) -> str | None:
        """The encoder, where it is more than word vectors."""
        return None if self.starts_from_vectors or self.chosen_encoder == NO_ENCODER else self.chosen_encoder


def tagger_epochs(n_sentences: int, settings: TaggerSettings) -> int | None:
    """As many epochs as give a small set enough updates, within bounds; None where time bounds the run."""
    if settings.minutes is not None:
        return None
    wanted = math.ceil(UPDATES * settings.batch_size / n_sentences)
    return settings.epochs or max(FEWEST_EPOCHS, min(MOST_EPOCHS, wanted))
