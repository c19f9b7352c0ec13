"""What taggers and answerers have in common: which vectors their words have, and how they learn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from unfreeze.tasks.fit_settings import LearningSettings
from unfreeze.transfer.policies import ScheduleName


@dataclass(frozen=True, kw_only=True)
class WordTaskSettings(LearningSettings):
    """How a task on words is fitted. None means: chosen by what else is given."""

    word_vectors: str | None = None
    """Static vectors of each word beside the encoder's layers: a file or a folder. Without an encoder and without these, a
    table of the training words' own vectors learns from random ones."""
    vectors_learn: bool | None = None
    """Whether word vectors move with the task; by default the task's own, and those of a file where an encoder is
    fine-tuned."""
    characters: int = 50
    """Width of a character CNN's vector of each word, which learns with the task; 0 is none."""
    layers: Literal["mix"] | int = "mix"
    """A learned mix of all of the encoder's layers, or the number of one."""
    input_dropout: float = 0.3
    """Of what the body reads."""
    dropout: float = 0.3
    """Behind each of its layers."""
    rate: float = 2e-3
    """Largest rate, of the body and the head."""
    schedule: ScheduleName = "cosine"
    """slanted (triangular), cosine or constant."""
    embedding_size: int = 100
    """Of the task's own word vectors."""
    vocabulary_size: int = 50_000
    """Words of a file of vectors at most, besides the task's."""
    min_count: int = 2
    """Of the task's own word vectors: rarer words are unknown."""


@dataclass(frozen=True, kw_only=True)
class TaggerSettings(WordTaskSettings):
    """How a tagger is fitted."""

    hidden_size: int = 200
    """Of each direction of the biLSTM."""
    n_layers: int = 1
    """Of the biLSTM."""
    batch_size: int = 16
    """Sentences an update, over all processes."""


@dataclass(frozen=True, kw_only=True)
class AnswererSettings(WordTaskSettings):
    """How an answerer is fitted."""

    input_dropout: float = 0.2
    """Of what the reader reads."""
    dropout: float = 0.2
    """Behind each of its parts."""
    hidden_size: int = 100
    """Of each direction of its LSTMs."""
    batch_size: int = 32
    """Questions an update, over all processes."""
