"""Shared by the experiments on IMDb: locations of the data, and the split of the reviews.

Of the 25,000 labeled training reviews 5,000 are held out for model selection. Samples of 100, 1,000 and 10,000 labels are
drawn from the rest, nested and stratified by seed. The 25,000 test reviews are used for final results only.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from unfreeze.datasets.dataset import ExampleSet
from unfreeze.pretraining.settings import PretrainSettings, small
from unfreeze.tasks.settings import ClassifierSettings
from unfreeze.tasks.text_classifier import fit_classifier
from unfreeze.text.examples import read_examples

HELD_BACK, HELD_BACK_SEED = 5_000, 12345
TUNING = 1_500
"""Number of held-out reviews used for selecting epochs."""
SEEDS = {100: 5, 1_000: 2, 10_000: 1}
"""Number of labels -> number of samples."""


def small_lstm() -> PretrainSettings:
    """The preset `small` at the time when the LSTMs of these experiments were trained."""
    training = small().training
    training = replace(training, policy=replace(training.policy, learning_rate=6e-3))
    return replace(small(), training=training, cell="lstm", embedding_size=200, hidden_size=400, n_layers=3)


@dataclass(frozen=True)
class Places:
    """Locations of data and runs."""

    data: Path
    runs: Path

    @property
    def wikipedia(self) -> list[Path]:
        """All files except the last one, which is held out."""
        return sorted((self.data / "enwiki-2015").glob("*.txt"))[:-1]

    @property
    def held_out_wikipedia(self) -> Path:
        """The last file."""
        return sorted((self.data / "enwiki-2015").glob("*.txt"))[-1]

    @property
    def unlabeled_reviews(self) -> Path:
        """The 50,000 unlabeled reviews."""
        return self.data / "imdb" / "unsupervised.jsonl"

    @cached_property
    def train(self) -> ExampleSet:
        """The 25,000 labeled training reviews."""
        return read_examples(self.data / "imdb" / "train.jsonl")

    @cached_property
    def test(self) -> ExampleSet:
        """The 25,000 test reviews."""
        return read_examples(self.data / "imdb" / "test.jsonl")

    @cached_property
    def held_back(self) -> ExampleSet:
        """5,000 training reviews for model selection."""
        return self.train.sample(HELD_BACK, HELD_BACK_SEED)

    @cached_property
    def tuning(self) -> ExampleSet:
        """1,500 of the held-out reviews, for selecting epochs."""
        return self.held_back.sample(TUNING, HELD_BACK_SEED)

    @cached_property
    def pool(self) -> ExampleSet:
        """The training reviews that are not held out."""
        held = {example.input for example in self.held_back.examples}
        kept = [example for example in self.train.examples if example.input not in held]
        return replace(self.train, examples=kept, source="imdb/train.jsonl without the held-out reviews")

    def sample(self, count: int, seed: int) -> ExampleSet:
        """A sample of `count` labeled reviews from the pool, or the whole pool if it is smaller."""
        return self.pool if count >= len(self.pool) else self.pool.sample(count, seed)


def fitted_accuracy(
    train: ExampleSet, test: ExampleSet, settings: ClassifierSettings, validation: ExampleSet | None = None
) -> dict[str, Any]:
    """Fit on `train` and evaluate on `test` in the fastest number format."""
    classifier, _ = fit_classifier(train, settings, validation=validation)
    classifier.precision = "auto"
    return {"accuracy": round(classifier.evaluate(test).accuracy, 5)}
