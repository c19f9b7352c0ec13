"""Likely label errors in a labeled set: confident learning on out-of-fold predictions (Northcutt, Jiang & Chuang 2021).

Each example is classified by a model that was fitted on the other folds. Examples whose given label is much less probable than
another one are listed, and the joint distribution of given and true labels says how many of them to list.

Legend: N examples, K labels.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unfreeze.datasets.dataset import ExampleSet, LabeledExample
from unfreeze.display import counted
from unfreeze.errors import UserError, setting
from unfreeze.progress import SILENT, Progress
from unfreeze.tasks.classifier import Classifier
from unfreeze.tasks.cross_validation import text_groups

FOLDS = 5

Rows = NDArray[np.float64]


@dataclass(frozen=True)
class LabelIssue:
    """An example whose label is likely wrong."""

    example: LabeledExample
    given: str
    suggested: str
    """The most probable label."""
    self_confidence: float
    """Probability of the given label."""
    score: float
    """Probability of the suggested label."""
    margin: float
    """Normalized margin: `self_confidence` minus the largest probability of another label, from -1 to 0."""


@dataclass(frozen=True)
class LabelErrors:
    """What `find_label_errors` finds."""

    issues: list[LabelIssue]
    """The likeliest errors first."""
    n_judged: int
    """Examples that were classified by a model that had not seen them."""
    accuracy: float
    """Share of these whose most probable label is the given one."""
    majority: float
    """Share of the most frequent label, the accuracy of a model that has learned nothing."""
    joint: Rows
    """(K, K) estimated joint distribution of given labels (rows) and true ones (columns)."""
    label_names: tuple[str, ...]
    single: tuple[str, ...]
    """Labels of a single example, which cannot be judged: no model could learn them without it."""
    folds: int


def confident_joint(probabilities: NDArray[Any], given: NDArray[np.int64]) -> Rows:
    """The joint distribution of given and true labels (section 3.1 of the paper).

    The threshold of a label is the mean self-confidence of the examples that have it. An example counts for the most probable of the
    labels whose thresholds it reaches, and for none if it reaches none. The counts of each row are then scaled to the number of
    examples with that label. As in cleanlab, each label has at least one example that counts for itself.

    Args:
        probabilities: (N, K), out of sample.
        given: (N,) label numbers.

    Returns:
        (K, K), rows are given labels; sums to 1.
    """
    exact, n_labels = probabilities.astype(np.float64), probabilities.shape[1]
    sizes = np.bincount(given, minlength=n_labels)
    thresholds = np.array([exact[given == k, k].mean() if sizes[k] else np.inf for k in range(n_labels)])
    # A mean of equal numbers may be one rounding error above each of them.
    reached = np.where(exact >= thresholds - 1e-9, exact, -1.0)
    confident = reached.max(1) >= 0
    counts = np.zeros((n_labels, n_labels))
    np.add.at(counts, (given[confident], reached.argmax(1)[confident]), 1)
    present = sizes > 0
    counts[present, present] = np.maximum(counts[present, present], 1)
    joint = counts / np.maximum(counts.sum(1, keepdims=True), 1) * sizes[:, None]
    found: Rows = joint / joint.sum()
    return found


def normalized_margins(probabilities: NDArray[Any], given: NDArray[np.int64]) -> Rows:
    """The probability of the given label minus the largest one of another label: (N, K), (N,) -> (N,) from -1 to 1."""
    rows = np.arange(len(given))
    others = probabilities.astype(np.float64)
    own = others[rows, given]
    others[rows, given] = -np.inf
    found: Rows = own - others.max(1)
    return found


def likely_errors(probabilities: NDArray[Any], given: NDArray[np.int64]) -> NDArray[np.int64]:
    """The numbers of the likely errors, the likeliest first.

    There are N times the off-diagonal sum of the joint distribution of them, but no example whose given label is the most probable one.
    """
    off_diagonal = 1 - float(np.trace(confident_joint(probabilities, given)))
    margins = normalized_margins(probabilities, given)
    most = min(round(len(given) * off_diagonal), int((margins < 0).sum()))
    return np.argsort(margins, kind="stable")[:most]


def find_label_errors(
    classifier: Classifier, examples: ExampleSet, *, folds: int = FOLDS, progress: Progress = SILENT
) -> LabelErrors:
    """Find likely label errors: fit classifiers with the settings of `classifier` on folds of the examples.

    Args:
        folds: number of models to fit; each example is classified by the one that did not see it.

    Raises:
        UserError: examples may have several labels, there are fewer than two classes or folds, or too few examples.
    """
    if examples.multi_label or classifier.multi_label:
        raise UserError(
            f"{examples.source}: examples may have several labels; label errors are found for single labels only"
        )
    if folds < 2:
        raise UserError(f"{setting('folds')} must be at least 2, not {folds}")
    names = examples.label_names
    sizes = {name: examples.count(name) for name in names}
    several = [name for name in names if sizes[name] > 1]
    if len(several) < 2:
        raise UserError(
            f"{examples.source}: {counted(len(several), 'class')} with two examples or more; two classes are needed to find "
            "label errors"
        )
    given = np.array([names.index(each.labels[0]) for each in examples.examples])
    judged = np.array([sizes[each.labels[0]] > 1 for each in examples.examples])
    # With more folds than a class has examples, some folds lack it; no class may lack all.
    folds = min(folds, max(sizes.values()))
    probabilities = np.zeros((len(examples), len(names)))
    with progress.bar("folds", total=folds, unit="fold") as bar:
        groups = text_groups(examples)
        for learned, held_out in _folds(given, groups, judged, folds, classifier.seed):
            model = classifier.refitted(examples.subset(examples.examples[n] for n in learned))
            inputs = [examples.examples[n].input for n in held_out]
            found = model.predict_stream_known(inputs)
            probabilities[held_out] = [shares for _, shares, _ in found]
            bar.advance(1)
    rows = np.flatnonzero(judged)
    shares, own = probabilities[rows], given[rows]
    margins = normalized_margins(shares, own)
    issues = [
        LabelIssue(
            examples.examples[rows[n]],
            names[own[n]],
            names[int(shares[n].argmax())],
            float(shares[n, own[n]]),
            float(shares[n].max()),
            float(margins[n]),
        )
        for n in likely_errors(shares, own)
    ]
    single = tuple(name for name in names if sizes[name] == 1)
    accuracy = float((shares.argmax(1) == own).mean())
    majority = float(np.bincount(own).max() / len(own))
    joint = confident_joint(shares, own)
    return LabelErrors(issues, len(rows), accuracy, majority, joint, names, single, folds)


def _folds(
    given: NDArray[np.int64], groups: NDArray[np.int64], judged: NDArray[np.bool_], folds: int, seed: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """(numbers to learn from, held-out numbers): stratified; an example that is not judged is learned from in each fold.

    Copies of a text are in one fold, so that a wrong label is not confirmed by its copy.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    rows, always = np.flatnonzero(judged), np.flatnonzero(~judged)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a class has fewer examples than there are folds
        folder = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
        parts = list(folder.split(rows, given[rows], groups[rows]))
    for learned, held_out in parts:
        if len(held_out):
            yield np.sort(np.concatenate([rows[learned], always])), rows[held_out]
