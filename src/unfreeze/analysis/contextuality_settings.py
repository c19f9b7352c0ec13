"""How contextuality is measured; this module does not import torch, so that the command line can show its help quickly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from unfreeze.checked import need_positive, need_seed
from unfreeze.errors import UserError, setting

Estimator = Literal["uncentered", "centered"]


@dataclass(frozen=True, kw_only=True)
class ContextualitySettings:
    """Which words and how many of their occurrences are compared.

    Raises:
        UserError: a value is out of range.
    """

    least_contexts: int = 5
    """Smallest number of different sentences in which a word that is compared occurs."""
    most_occurrences: int = 1000
    """Largest number of occurrences of a word; of more, so many are sampled."""
    sample: int = 1000
    """Number of random sentences of which a random word is in the baseline of unrelated words."""
    explained: Estimator = "uncentered"
    """Explained variance of the vectors as they are, as in the formula of the paper, or around their mean (principal components)."""
    draws: int = 1000
    """Draws of the bootstrap that makes the intervals."""
    seed: int = 0
    """Seed of all samples: the same seed gives the same figures."""

    def __post_init__(self) -> None:
        need_positive(self, "sample", "draws")
        need_seed(self.seed)
        for name, least in (("least_contexts", 2), ("most_occurrences", 2), ("sample", 2)):
            if getattr(self, name) < least:
                raise UserError(f"{setting(name)} must be at least {least}, not {getattr(self, name)}")
        if self.explained not in get_args(Estimator):
            raise UserError(
                f"{setting('explained')} must be one of {', '.join(get_args(Estimator))}, not {self.explained!r}"
            )
