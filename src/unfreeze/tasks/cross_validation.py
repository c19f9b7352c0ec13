"""Cross-validation within few labeled examples: stratified folds, repeated, that also work where a class has a single example.

Copies of a text are in one fold: a classifier that has seen one of them has seen them all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unfreeze.datasets.dataset import ExampleSet

FEW, REPEATS = 300, 3
"""With fewer examples than this, the folds are drawn several times."""
MANY, FEWER_FOLDS = 5_000, 3
"""From this number of examples, there are fewer folds."""
FOLDS = 5


@dataclass(frozen=True)
class Folds:
    """Which fold holds each example out, in each repetition."""

    of_example: NDArray[np.int64]
    """(R, N)."""
    group: NDArray[np.int64]
    """(N,) the number of each example's text: copies of a text are held out together, and count as one for standard errors."""

    @classmethod
    def of(cls, examples: ExampleSet, seed: int) -> Folds:
        """Stratified folds: the texts with each combination of labels are dealt out to all folds in turn."""
        group = text_groups(examples)
        strata: dict[tuple[str, ...], list[int]] = {}
        first = np.unique(group, return_index=True)[1]
        for number, place in enumerate(first.tolist()):
            strata.setdefault(examples.examples[place].labels, []).append(number)
        n, n_texts = len(examples), len(first)
        n_folds = min(n_texts, FEWER_FOLDS if n >= MANY else FOLDS)
        generator = np.random.default_rng(seed)
        of_text = np.empty((REPEATS if n < FEW else 1, n_texts), np.int64)
        for row in of_text:
            dealt = int(generator.integers(n_folds))
            for labels in sorted(strata):
                own = generator.permutation(strata[labels])
                row[own] = (dealt + np.arange(len(own))) % n_folds
                dealt += len(own)
        return cls(of_text[:, group], group)

    @property
    def n_copies(self) -> int:
        """How many examples have the text of an earlier one."""
        return len(self.group) - int(self.group.max(initial=-1)) - 1

    @property
    def n_repeats(self) -> int:
        """R."""
        return len(self.of_example)

    def parts(self) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.int64]]]:
        """(repetition, numbers of the training examples, numbers of those held out)."""
        for repeat, row in enumerate(self.of_example):
            for fold in np.unique(row):
                yield repeat, np.flatnonzero(row != fold), np.flatnonzero(row == fold)


def text_groups(examples: ExampleSet) -> NDArray[np.int64]:
    """(N,) a number for each text: copies, also in other case or white space, have the same one; other inputs than texts have none."""
    number_of: dict[Any, int] = {}
    keys = (
        " ".join(each.input.split()).casefold() if isinstance(each.input, str) else place
        for place, each in enumerate(examples.examples)
    )
    return np.array([number_of.setdefault(key, len(number_of)) for key in keys], np.int64)
