"""How well the states of a language model predict sentiment: logistic regression on the mean of the top states.

There is no fine-tuning, and only C is selected, by cross-validation on the labels. It takes minutes per model, and the accuracy
improves with the model (docs/results.md). Evaluation uses the held-out reviews of imdb.py, never test reviews.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from experiments.imdb import Places
from unfreeze.datasets.dataset import ExampleSet
from unfreeze.encoders.awd_lstm import AwdLstm
from unfreeze.encoders.base import Encoder
from unfreeze.tasks.classifier_network import pooled_network
from unfreeze.tasks.regression import fit_regression
from unfreeze.training.precision import Precision, prediction_format

SEEDS = {100: 5, 1_000: 2}
"""Number of labels -> number of samples."""


def mean_top_states(
    model: str | Path, texts: Sequence[str], *, precision: Precision = "auto"
) -> NDArray[np.float64]:
    """Mean of the top states over each text, with the directions concatenated (N, D)."""
    encoder = Encoder.from_pretrained(model)
    assert isinstance(encoder, AwdLstm)
    network = pooled_network(encoder, 2, pooling="top", head="linear").eval()
    prepared = [np.array(encoder.tokenizer.encode(text).ids, dtype=np.uint32) for text in texts]
    with prediction_format(precision, next(encoder.parameters()).device):
        pooled = network.read_all(prepared)  # last, max and mean for each direction
    parts = [features.double().numpy() for features in pooled.values()]
    return np.concatenate([part[:, -part.shape[1] // 3 :] for part in parts], axis=1)


def readout(model: str | Path, places: Places) -> dict[int, list[float]]:
    """Number of labels -> accuracy on the held-out reviews for each sample."""
    samples = {
        (count, seed): places.sample(count, seed) for count, seeds in SEEDS.items() for seed in range(seeds)
    }
    texts = dict.fromkeys(example.input for sample in samples.values() for example in sample.examples)
    states = mean_top_states(model, list(texts))
    rows = {text: row for row, text in enumerate(texts)}
    measured = mean_top_states(model, [example.input for example in places.tuning.examples])
    wanted = _targets(places.tuning)
    found: dict[int, list[float]] = {count: [] for count in SEEDS}
    for (count, seed), sample in samples.items():
        x = states[[rows[example.input] for example in sample.examples]]
        center, scale = x.mean(0), x.std(0) + 1e-8
        solution = fit_regression((x - center) / scale, _targets(sample), 2, seed=seed)
        logits = (measured - center) / scale @ solution.weight.T + solution.bias
        found[count].append(float((logits.argmax(1) == wanted).mean()))
    return found


def _targets(examples: ExampleSet) -> NDArray[np.int64]:
    names = list(examples.label_names)
    return np.array([names.index(example.labels[0]) for example in examples.examples])


def shown(figures: dict[int, list[float]]) -> str:
    """Format the mean accuracy for each number of labels in percent, with its samples."""
    return ", ".join(
        f"{count:,} labels {100 * np.mean(values):.1f} ({', '.join(f'{100 * v:.1f}' for v in values)})"
        for count, values in figures.items()
    )
