"""Settings of `pretrain glove`. Loads neither torch nor numba: the command line is made from this class."""

from __future__ import annotations

from dataclasses import dataclass

from unfreeze.checked import need_positive, need_seed


@dataclass(frozen=True, kw_only=True)
class GloveSettings:
    """The vocabulary of word vectors, and how GloVe trains them."""

    size: int = 100
    """Vector dimension."""
    window: int = 10
    """Words to each side that count as neighbors, weighted by one over their distance."""
    epochs: int = 25
    """Passes over the co-occurrence counts."""
    learning_rate: float = 0.05
    """Initial learning rate of AdaGrad."""
    x_max: float = 100.0
    """Co-occurrence count from which all pairs have full weight; 10 suits a small corpus."""
    alpha: float = 0.75
    """Exponent of the weight of smaller counts: (count / x-max)^alpha."""
    vocabulary_size: int = 200_000
    """Largest number of words in the vocabulary."""
    min_count: int = 5
    """Words with fewer occurrences are left out."""
    memory_mb: int = 1024
    """Memory for counting in MB; what does not fit goes to disk."""
    seed: int = 0
    """Seed of all random numbers; with a single worker, the same seed gives the same vectors on the same machine."""

    def __post_init__(self) -> None:
        need_positive(self, "size", "window", "epochs", "learning_rate", "x_max", "alpha", "memory_mb")
        need_positive(self, "vocabulary_size", "min_count")
        need_seed(self.seed)
