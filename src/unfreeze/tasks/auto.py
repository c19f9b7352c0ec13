"""`encoder="auto"`: every rung that can pay within a budget, and their ensemble.

The rungs are in candidates.py: TF-IDF, word vectors, states of language models, a fine-tuned one. Each predicts the labeled examples out of fold. The ensemble
(`tasks.ensemble`) takes them all, with weights from these predictions: choosing one of them, or leaving out what seems to add
nothing by cross-validation on a hundred labels, costs accuracy (docs/lab-notes.md).

Legend: R repetitions of the folds, N examples, M members, K labels.
"""

from __future__ import annotations

import math
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
    EnsembleNetwork,
    Floats,
    bounded,
    calibration_error,
    combined,
    fit_weights,
    log_odds,
    losses,
)
from unfreeze.tasks.rungs import Fitted, Rung, Task, cost_of
from unfreeze.tasks.settings import ClassifierSettings

NEGLIGIBLE, SMALLEST = 0.02, 1e-3
"""Members with a smaller weight than the first are left out; no member that is kept has a smaller one than the second."""


@dataclass(frozen=True)
class Row:
    """A line of the table: one rung, or the ensemble."""

    name: str
    accuracy: float | None
    """Out of fold; None where each label has a single example, so that nothing can be held out."""
    error: float | None
    """Its standard error, of the examples alone; C and the weights were chosen by the same folds."""
    loss: float | None
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
    n_copies: int
    """Examples with the text of another one, which was held out together with them."""
    majority: float
    """Share of the most frequent label, or of the most frequent set of labels."""
    calibration_error: float

    def metrics(self) -> dict[str, Any]:
        """What metrics.json has of it."""
        rows = [asdict(row) for row in self.rows]
        return {
            "cross_validated_accuracy": rows[-1]["accuracy"],
            "majority": self.majority,
            "calibration_error": self.calibration_error,
            "considered": rows,
            "left_out": self.left_out,
            "copies": self.n_copies,
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
    tested = task.tested()
    targets = np.broadcast_to(task.targets, (*tested.shape, *task.targets.shape[1:]))
    if tested.any():
        found, targets = found[tested], targets[tested]
    if examples.multi_label:
        best, right = np.maximum(found, 1 - found), (found >= 0.5) == (targets > 0)
    else:
        best, right = found.max(-1), found.argmax(-1) == targets
    usual = Counter(example.labels for example in examples.examples).most_common(1)[0][1]
    return Choice(
        network.eval(),
        fitted,
        rows,
        left_out,
        task.folds.n_copies,
        usual / len(examples),
        calibration_error(best.ravel(), right.ravel()),
    )


def _weighed(task: Task, rungs: Sequence[Rung], fitted: Sequence[Fitted]) -> tuple[Floats, Floats, list[Row]]:
    """The weights (M,), the cross-fitted probabilities of the ensemble (R, N, K), and the table.

    An expensive rung is only taken if the loss falls by more than one standard error of the paired difference.
    """
    multi_label, tested = task.examples.multi_label, task.tested()
    scores = np.stack([_scores(each.out_of_fold, multi_label) for each in fitted])

    def weights_of(
        members: Sequence[int], repeat: int | slice, examples: Any, center: float | None = None
    ) -> Floats:
        rows = scores[list(members)][:, repeat][:, examples]
        wanted = np.broadcast_to(task.targets, (*tested.shape, *task.targets.shape[1:]))[repeat][examples]
        repeats = task.folds.n_repeats if isinstance(repeat, slice) else 1
        found = fit_weights(rows, wanted, multi_label=multi_label, repeats=repeats, center=center)
        return np.maximum(found, SMALLEST)

    def cross_fitted(members: Sequence[int], center: float | None = None) -> Floats:
        found = np.zeros(scores.shape[1:])
        for repeat, train, held_out in task.folds.parts():
            weights = weights_of(members, repeat, train[tested[repeat, train]], center)
            found[repeat, held_out] = combined(
                weights, scores[list(members), repeat][:, held_out], multi_label
            )
        return found

    def losses_of(members: Sequence[int]) -> Floats:
        return np.stack([losses(found, task.targets, multi_label) for found in cross_fitted(members)])

    chosen = [number for number, rung in enumerate(rungs) if not rung.is_expensive]
    for number in (number for number, rung in enumerate(rungs) if rung.is_expensive):
        gain, error = task.mean_of(losses_of(chosen) - losses_of([*chosen, number]))
        if gain > error:
            chosen.append(number)
    weights = np.zeros(len(fitted))
    weights[chosen] = weights_of(chosen, slice(None), tested)
    kept = [number for number in chosen if weights[number] >= NEGLIGIBLE] or [int(weights.argmax())]
    weights = np.zeros(len(fitted))
    # With the prior of all of them, so that nothing else changes where one of almost no weight is left out.
    center = 1 / len(chosen)
    weights[kept] = weights_of(kept, slice(None), tested, center)
    found = cross_fitted(kept, center)
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
    multi_label = task.examples.multi_label
    accuracy, error = task.mean_of(_is_right(found, task))
    loss, _ = task.mean_of(
        np.stack([losses(bounded(each, multi_label), task.targets, multi_label) for each in found])
    )
    found_any = not math.isnan(accuracy)
    return Row(
        name,
        accuracy if found_any else None,
        error if found_any else None,
        loss if found_any else None,
        round(seconds, 1),
        weight,
    )
