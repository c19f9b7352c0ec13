"""What the experiments on IMDb share: where things are, and which reviews serve for what.

Of the 25,000 labeled training reviews 5,000 are held back and only ever serve for choosing; samples of 100, 1,000 and
10,000 labels come out of the rest, nested and stratified by seed. The 25,000 test reviews are for the final lines.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from unfreeze.datasets.dataset import ExampleSet
from unfreeze.pretraining.settings import PretrainSettings, small
from unfreeze.tasks.fit_classifier import fit_classifier
from unfreeze.tasks.fit_settings import FitSettings
from unfreeze.text.examples import read_examples

HELD_BACK, HELD_BACK_SEED = 5_000, 12345
TUNING = 1_500
"""So many of the held-back reviews are enough to choose epochs by."""
SEEDS = {100: 5, 1_000: 2, 10_000: 1}
"""Number of labels -> how many samples of them are drawn."""


def small_lstm() -> PretrainSettings:
    """The preset `small` as it was when the LSTMs of these experiments were trained."""
    training = small().training
    training = replace(training, policy=replace(training.policy, learning_rate=6e-3))
    return replace(small(), training=training, cell="lstm", embedding_size=200, hidden_size=400)


@dataclass(frozen=True)
class Places:
    """Where data comes from and runs go."""

    data: Path
    runs: Path

    @property
    def wikipedia(self) -> list[Path]:
        """All files but the held-out last one."""
        return sorted((self.data / "enwiki-2015").glob("*.txt"))[:-1]

    @property
    def held_out_wikipedia(self) -> Path:
        """The last file."""
        return sorted((self.data / "enwiki-2015").glob("*.txt"))[-1]

    @property
    def unlabeled_reviews(self) -> Path:
        """IMDb's 50,000 reviews without labels."""
        return self.data / "imdb" / "unsupervised.jsonl"

    @cached_property
    def train(self) -> ExampleSet:
        """IMDb's 25,000 labeled training reviews."""
        return read_examples(self.data / "imdb" / "train.jsonl")

    @cached_property
    def test(self) -> ExampleSet:
        """IMDb's 25,000 test reviews."""
        return read_examples(self.data / "imdb" / "test.jsonl")

    @cached_property
    def held_back(self) -> ExampleSet:
        """5,000 training reviews for choosing."""
        return self.train.sample(HELD_BACK, HELD_BACK_SEED)

    @cached_property
    def tuning(self) -> ExampleSet:
        """1,500 of them."""
        return self.held_back.sample(TUNING, HELD_BACK_SEED)

    @cached_property
    def pool(self) -> ExampleSet:
        """The training reviews whose texts are not held back."""
        held = {example.input for example in self.held_back.examples}
        kept = [example for example in self.train.examples if example.input not in held]
        return replace(self.train, examples=kept, source="imdb/train.jsonl without the held-back reviews")

    def sample(self, count: int, seed: int) -> ExampleSet:
        """So many labeled reviews of the pool; all of it where `count` is larger."""
        return self.pool if count >= len(self.pool) else self.pool.sample(count, seed)


def fitted_accuracy(
    train: ExampleSet, test: ExampleSet, settings: FitSettings, validation: ExampleSet | None = None
) -> dict[str, Any]:
    """Fit on `train`, measure on `test` in the format that is fastest here."""
    classifier, _ = fit_classifier(train, settings, validation=validation)
    classifier.precision = "auto"
    return {"accuracy": round(classifier.evaluate(test).accuracy, 5)}
