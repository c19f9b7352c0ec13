"""Settings of the ladder. Loads no torch: the command line is made from this class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from unfreeze.checked import need_positive, need_seed, need_setting_types
from unfreeze.errors import UserError, setting

FEWEST = 30
"""Smallest number of labels of the default series."""


@dataclass(kw_only=True)
class LadderSettings:
    """Which rungs are fitted, on how many labels, how often, and for how long.

    Raises:
        UserError: a value is out of range.
    """

    unlabeled: tuple[str, ...] = ()
    """Unlabeled text of the task's kind: files, folders, globs, or hf:owner/name; for word vectors of its own and for adapting the
    language model."""
    encoder: tuple[str, ...] = ()
    """Further encoders, each a rung of its own: names or folders of encoders, or files of word vectors."""
    labels: tuple[int, ...] = ()
    """Numbers of labels (default: 30, 100, 300, 1000 and so on, up to all)."""
    seeds: int = 3
    """Samples of each number of labels; a larger sample contains the smaller ones of the same seed."""
    minutes: float = 60.0
    """Time to spend, as estimated beforehand for one core: what does not fit is left out, the cheap rungs and the small numbers
    of labels come first, and a rerun makes the same choice."""
    epochs: int | None = None
    """Passes over the training examples of rungs that are trained, and over the unlabeled text (default: chosen by each)."""
    workers: int = 1
    """Threads that train word vectors; with one, the vectors are the same in every run."""
    seed: int = 0
    """First seed of the samples and of all random numbers."""

    def __post_init__(self) -> None:
        self.unlabeled, self.encoder = _several(self.unlabeled), _several(self.encoder)
        self.labels = tuple(self.labels)
        need_setting_types(self)
        need_positive(self, "seeds", "minutes", "epochs", "workers")
        need_seed(self.seed)
        for count in self.labels:
            if count < 1:
                raise UserError(f"{setting('labels')} must be above 0, not {count}")
        if len(set(self.labels)) < len(self.labels):
            raise UserError(f"{setting('labels')} has a number twice: {' '.join(map(str, self.labels))}")
        if len(set(self.encoder)) < len(self.encoder):
            raise UserError(f"{setting('encoder')} has a name twice")


def _several(given: str | Path | Sequence[str | Path]) -> tuple[str, ...]:
    """Several names; from Python, one is also accepted by itself."""
    return tuple(map(str, [given] if isinstance(given, (str, Path)) else given))


def usual_labels(n_examples: int, n_classes: int = 1) -> tuple[int, ...]:
    """The default series: 30, 100, 300, 1000 and so on as far as it is clearly below the whole, and then the whole.

    Args:
        n_classes: there are at least two examples for each class, where there are so many.
    """
    least = max(FEWEST, 2 * n_classes)
    powers = range(1, 1 + max(1, math.ceil(math.log10(max(10, n_examples)))))
    rising = sorted(count for power in powers for count in (10**power, 3 * 10**power))
    return (*(count for count in rising if least <= count <= 0.7 * n_examples), n_examples)
