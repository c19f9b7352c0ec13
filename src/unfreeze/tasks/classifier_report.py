"""What `TextClassifier.evaluate` finds: accuracy, F1 by class, the confusion matrix and the worst errors."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unfreeze.datasets.dataset import ExampleSet
from unfreeze.tasks.metrics import ClassMetrics, class_metrics, confusion_matrix

THRESHOLD = 0.5
"""Probability from which a label is given, where a text may have many."""

Prediction = dict[str, Any]
"""{"label", "score"}; with many labels a list of these under "labels"."""


@dataclass(frozen=True)
class Report:
    """How a classifier did on labeled texts."""

    accuracy: float
    """Share of texts whose label (all labels, with many) is right."""
    macro_f1: float
    """Mean F1 over classes."""
    loss: float
    """Mean cross-entropy in nats, of texts whose labels training had; not a number where there is none."""
    n_examples: int
    """Texts measured."""
    classes: list[ClassMetrics]
    """By class; those that training lacked stand behind the others."""
    confusion: list[list[int]]
    """Rows: true; columns: predicted; both in the order of `classes`. Empty with many labels."""
    worst: list[dict[str, Any]]
    """The most confident errors: text, label, predicted, score."""
    n_unknown_labels: int = 0
    """Texts with a label that training lacked; each counts as an error."""
    n_unknown_texts: int = 0
    """Texts without any known word."""
    unknown_names: tuple[str, ...] = ()
    """The labels that training lacked."""

    @property
    def label_names(self) -> tuple[str, ...]:
        """The classes' names in their order."""
        return tuple(figures.label for figures in self.classes)

    def figures(self) -> dict[str, float]:
        """As metrics.json has them."""
        return {
            "accuracy": self.accuracy,
            "macro_f1": self.macro_f1,
            "loss": self.loss,
            "n_examples": self.n_examples,
        }

    def as_dict(self) -> dict[str, Any]:
        """All of it as JSON values."""
        return asdict(self)


def make_report(
    examples: ExampleSet,
    targets: NDArray[Any],
    found: NDArray[np.float32],
    known: NDArray[np.bool_],
    names: Sequence[str],
    *,
    said: Callable[[NDArray[np.float32], np.bool_], Prediction],
    multi_label: bool,
    n_worst: int,
) -> Report:
    """Compare N texts' labels with what was found.

    Args:
        targets: (N,) numbers of names, or (N, names) of 0 and 1 with many labels.
        found: (N, K) probabilities of the first K names, those of the classifier; the others are names that training
            lacked, whose probability is 0.
        known: (N,) whether a text has a known word.
        said: a row of `found` and of `known` as a prediction.
        n_worst: errors in the report.
    """
    n_known = found.shape[1]
    shares = np.pad(found, ((0, 0), (0, len(names) - n_known)))
    safe = np.clip(shares, 1e-12, 1.0).astype(np.float64)
    if multi_label:
        predicted, true = shares >= THRESHOLD, targets > 0.5
        right = (predicted == true).all(1)
        unknown = true[:, n_known:].any(1)
        losses = -np.where(true, np.log(safe), np.log(np.clip(1.0 - shares, 1e-12, 1.0))).sum(1)
        confusion: list[list[int]] = []
        classes = class_metrics((true & predicted).sum(0), predicted.sum(0), true.sum(0), names)
    else:
        best = found.argmax(1)
        right = best == targets
        unknown = targets >= n_known
        losses = -np.log(safe[np.arange(len(targets)), targets])
        matrix = confusion_matrix(targets.tolist(), best.tolist(), len(names))
        classes = class_metrics(matrix.diagonal(), matrix.sum(0), matrix.sum(1), names)
        confusion = matrix.tolist()
    wrong = np.flatnonzero(~right)
    worst = wrong[np.argsort(-found[wrong].max(1), kind="stable")][:n_worst]
    return Report(
        float(right.mean()),
        float(np.mean([each.f1 for each in classes])),
        float(losses[~unknown].mean()) if not unknown.all() else math.nan,
        len(examples),
        classes,
        confusion,
        [
            {
                "text": examples.examples[n].input,
                "label": "|".join(examples.examples[n].labels),
                "predicted": said(found[n], known[n]),
            }
            for n in worst
        ],
        int(unknown.sum()),
        int((~known).sum()),
        tuple(names[n_known:]),
    )
