"""Settings of `pretrain word2vec`. Loads neither torch nor numba: the command line is made from these classes."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from unfreeze.checked import need_positive, need_seed
from unfreeze.errors import UserError, setting

Architecture = Literal["skip-gram", "cbow"]
LEARNING_RATES: dict[Architecture, float] = {"skip-gram": 0.025, "cbow": 0.05}


@dataclass(frozen=True, kw_only=True)
class Word2VecSettings:
    """Settings of training by word2vec.

    Raises:
        UserError: a value is out of range.
    """

    architecture: Architecture = "skip-gram"
    """skip-gram predicts the center from each context word, cbow from their mean."""
    hierarchical: bool = False
    """Hierarchical softmax instead of negative sampling."""
    size: int = 100
    """Vector dimension."""
    window: int = 5
    """Largest distance between the center and a context word, in words to each side, after subsampling."""
    negatives: int = 5
    """Negative samples per window."""
    epochs: int = 5
    """Passes over the corpus."""
    learning_rate: float | None = None
    """Initial learning rate, which falls to zero (default: 0.025 for skip-gram, 0.05 for cbow)."""
    subsample: float = 1e-3
    """Drop occurrences of words with a larger share of the corpus than this at random; 0 keeps all."""
    seed: int = 0
    """Seed of all random numbers; with a single worker, the same seed gives the same vectors on the same machine."""

    def __post_init__(self) -> None:
        need_positive(self, "size", "window", "epochs", "learning_rate")
        if self.negatives < (0 if self.hierarchical else 1):
            raise UserError(f"{setting('negatives')} must be at least 1, not {self.negatives}")
        if not 0 <= self.subsample <= 1:
            raise UserError(f"{setting('subsample')} must be from 0 (off) to 1, not {self.subsample}")
        need_seed(self.seed)

    @property
    def initial_rate(self) -> float:
        """The initial learning rate: `learning_rate` if given, else the default of the architecture."""
        return LEARNING_RATES[self.architecture] if self.learning_rate is None else self.learning_rate


@dataclass(frozen=True, kw_only=True)
class VectorSettings:
    """The vocabulary of word vectors, and how they are trained."""

    training: Word2VecSettings = field(default_factory=Word2VecSettings)
    """How the vectors are trained."""
    vocabulary_size: int = 200_000
    """Largest number of words in the vocabulary."""
    min_count: int = 5
    """Words with fewer occurrences are left out."""
    ngrams: tuple[int, int] | None = None
    """Add vectors of character n-grams of these lengths, such as 3 6, so that unseen words have vectors too."""
    buckets: int = 200_000
    """Number of rows to which character n-grams are hashed."""
    phrases: int = 0
    """Passes over the text that join words which often occur together into phrases (new_york)."""
    phrase_threshold: float = 10.0
    """Score above which two words become a phrase; higher gives fewer phrases."""

    def __post_init__(self) -> None:
        need_positive(self, "vocabulary_size", "min_count")
        if self.ngrams is not None and not 1 <= self.ngrams[0] <= self.ngrams[1]:
            raise UserError(
                f"{setting('ngrams')} takes two rising numbers from 1, such as 3 6, not {self.ngrams[0]} {self.ngrams[1]}"
            )
        if self.ngrams is not None and self.buckets < 1:
            raise UserError(f"{setting('buckets')} must be at least 1, not {self.buckets}")
        if self.phrases < 0:
            raise UserError(f"{setting('phrases')} must be at least 0, not {self.phrases}")
        if not 0 < self.phrase_threshold < math.inf:
            raise UserError(
                f"{setting('phrase_threshold')} must be a finite number above 0, not {self.phrase_threshold}"
            )
