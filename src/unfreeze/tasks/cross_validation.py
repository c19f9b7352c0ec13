"""Cross-validation within few labeled examples: stratified folds, repeated, that also work where a class has a single example."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

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

    @classmethod
    def of(cls, examples: ExampleSet, seed: int) -> Folds:
        """Stratified folds: each combination of labels is dealt out to all folds in turn."""
        n = len(examples)
        n_folds = min(n, FEWER_FOLDS if n >= MANY else FOLDS)
        generator = np.random.default_rng(seed)
        strata: dict[tuple[str, ...], list[int]] = {}
        for number, example in enumerate(examples.examples):
            strata.setdefault(example.labels, []).append(number)
        rows = np.empty((REPEATS if n < FEW else 1, n), np.int64)
        for row in rows:
            dealt = int(generator.integers(n_folds))
            for labels in sorted(strata):
                own = generator.permutation(strata[labels])
                row[own] = (dealt + np.arange(len(own))) % n_folds
                dealt += len(own)
        return cls(rows)

    @property
    def n_repeats(self) -> int:
        """R."""
        return len(self.of_example)

    def parts(self) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.int64]]]:
        """(repetition, numbers of the training examples, numbers of those held out)."""
        for repeat, row in enumerate(self.of_example):
            for fold in np.unique(row):
                yield repeat, np.flatnonzero(row != fold), np.flatnonzero(row == fold)
