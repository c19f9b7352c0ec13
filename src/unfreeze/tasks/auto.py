"""`encoder="auto"`: every rung that can pay within a budget, and their ensemble.

The rungs are in candidates.py: TF-IDF, word vectors, states of language models, a fine-tuned one. Each predicts the labeled examples out of fold. The ensemble
(`tasks.ensemble`) takes them all, with weights from these predictions: choosing one of them, or leaving out what seems to add
nothing by cross-validation on a hundred labels, costs accuracy (docs/lab-notes.md).

Legend: R repetitions of the folds, N examples, M members, K labels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from unfreeze.datasets.dataset import ExampleSet
from unfreeze.progress import Progress
from unfreeze.tasks.candidates import considered
from unfreeze.tasks.ensemble import (
    FLOOR,
    EnsembleNetwork,
    Floats,
    calibration_error,
    combined,
    fit_weights,
    log_odds,
    losses,
)
from unfreeze.tasks.rungs import Fitted, Rung, Task, cost_of
from unfreeze.tasks.settings import ClassifierSettings

NEGLIGIBLE = 0.02
"""Members with a smaller weight are left out."""


@dataclass(frozen=True)
class Row:
    """A line of the table: one rung, or the ensemble."""

    name: str
    accuracy: float
    """Out of fold."""
    error: float
    """Its standard error."""
    loss: float
    """Log-loss out of fold."""
    seconds: float
    """Estimated cost; not what it took."""
    weight: float | None = None
    """In the ensemble; 0 where it was left out."""


@dataclass(frozen=True)
class Choice:
    """The ensemble, and how it came about."""

    network: EnsembleNetwork
    fitted: list[Fitted]
    """All rungs that were considered."""
    rows: list[Row]
    """The rungs, then the ensemble."""
    left_out: dict[str, str]
    """Rungs that were not considered, and why."""
    majority: float
    """Share of the most frequent label, or of the most frequent set of labels."""
    calibration_error: float

    def metrics(self) -> dict[str, Any]:
        """What metrics.json has of it."""
        return {
            "cross_validated_accuracy": self.rows[-1].accuracy,
            "majority": self.majority,
            "calibration_error": self.calibration_error,
            "considered": [asdict(row) for row in self.rows],
            "left_out": self.left_out,
        }


def choose(examples: ExampleSet, settings: ClassifierSettings, progress: Progress) -> Choice:
    """Fit the rungs that the budget allows, and their ensemble.

    Raises:
        UserError: the unlabeled text cannot be read.
    """
    task = Task.of(examples, settings.seed)
    rungs, left_out = considered(task, settings, progress)
    with progress.bar("rungs", total=len(rungs), unit="rung") as bar:
        fitted = []
        for rung in rungs:
            fitted.append(rung.fit(task, progress))
            bar.advance(1)
    weights, found, rows = _weighed(task, rungs, fitted)
    members = [each.member for each, weight in zip(fitted, weights, strict=True) if weight]
    network = EnsembleNetwork(members, multi_label=examples.multi_label)
    with torch.no_grad():
        network.weights.copy_(torch.from_numpy(weights[weights > 0]))
    best = found.max(-1) if not examples.multi_label else np.maximum(found, 1 - found)
    right = _is_right(found, task) if not examples.multi_label else (found >= 0.5) == (task.targets > 0)
    usual = Counter(example.labels for example in examples.examples).most_common(1)[0][1]
    return Choice(
        network.eval(),
        fitted,
        rows,
        left_out,
        usual / len(examples),
        calibration_error(best.ravel(), right.ravel()),
    )


def _weighed(task: Task, rungs: Sequence[Rung], fitted: Sequence[Fitted]) -> tuple[Floats, Floats, list[Row]]:
    """The weights (M,), the cross-fitted probabilities of the ensemble (R, N, K), and the table.

    An expensive rung is only taken if the loss falls by more than one standard error of the paired difference.
    """
    multi_label, tested = task.examples.multi_label, task.tested()
    scores = np.stack([_scores(each.out_of_fold, multi_label) for each in fitted])

    def weights_of(members: Sequence[int], repeat: int | slice, kept: Any) -> Floats:
        rows = scores[list(members)][:, repeat][:, kept]
        wanted = np.broadcast_to(task.targets, (*tested.shape, *task.targets.shape[1:]))[repeat][kept]
        repeats = task.folds.n_repeats if isinstance(repeat, slice) else 1
        return fit_weights(rows, wanted, multi_label=multi_label, repeats=repeats)

    def cross_fitted(members: Sequence[int]) -> Floats:
        found = np.zeros(scores.shape[1:])
        for repeat, train, held_out in task.folds.parts():
            weights = weights_of(members, repeat, train[tested[repeat, train]])
            found[repeat, held_out] = combined(
                weights, scores[list(members), repeat][:, held_out], multi_label
            )
        return found

    def loss_of(members: Sequence[int]) -> Floats:
        each = [losses(found, task.targets, multi_label) for found in cross_fitted(members)]
        return np.asarray(np.mean(each, axis=0))

    chosen = [number for number, rung in enumerate(rungs) if not rung.is_expensive]
    for number in (number for number, rung in enumerate(rungs) if rung.is_expensive):
        gain = loss_of(chosen) - loss_of([*chosen, number])
        if gain.mean() > gain.std() / np.sqrt(len(gain)):
            chosen.append(number)
    weights = np.zeros(len(fitted))
    weights[chosen] = weights_of(chosen, slice(None), tested)
    kept = [number for number in chosen if weights[number] >= NEGLIGIBLE] or [int(weights.argmax())]
    weights = np.zeros(len(fitted))
    weights[kept] = weights_of(kept, slice(None), tested)
    found = cross_fitted(chosen)
    rows = [
        _row(rung.name, rung.seconds, cross_fitted([number]), task, float(weights[number]))
        for number, rung in enumerate(rungs)
    ]
    rows.append(_row("all of them", cost_of([rungs[number] for number in chosen]), found, task))
    return weights, found, rows


def _scores(probabilities: Floats, multi_label: bool) -> Floats:
    return log_odds(torch.from_numpy(probabilities), multi_label).numpy()


def _is_right(probabilities: Floats, task: Task) -> Any:
    """(R, N): whether the label is right, all labels if there may be several."""
    if task.examples.multi_label:
        return ((probabilities >= 0.5) == (task.targets > 0)).all(-1)
    return probabilities.argmax(-1) == task.targets


def _row(name: str, seconds: float, found: Floats, task: Task, weight: float | None = None) -> Row:
    right = _is_right(found, task).mean(0)
    loss = np.mean(
        [losses(each, task.targets, task.examples.multi_label) for each in np.maximum(found, FLOOR)]
    )
    error = float(right.std() / np.sqrt(len(right)))
    return Row(name, float(right.mean()), error, float(loss), round(seconds, 1), weight)
