"""Logistic regression by scikit-learn, of exclusive labels or of several labels an example, on dense or sparse features.

C, the inverse of the L2 penalty, matters more than any setting of a training loop where labels are few. It is chosen by
cross-validation within the training examples.

Legend: N examples, P features, K labels.
"""

from __future__ import annotations

import logging
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unfreeze.tasks.baselines import folds

logger = logging.getLogger(__name__)

CANDIDATES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
"""Values of C to choose from, for features of unit variance."""
UNCHOSEN = 0.01
"""C if a class has a single example, so that nothing can be held out."""
STEPS = 1_000
NEVER = -30.0
"""Bias of a label without an example: it is never predicted."""

Features = Any
"""(N, P), an array or a sparse matrix of SciPy."""
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Solution:
    """Weights and bias of a fitted logistic regression, and its C."""

    weight: Floats
    """(K, P)."""
    bias: Floats
    """(K,)."""
    C: float
    """The C that was chosen."""
    cross_validated: float | None = None
    """Accuracy of that C on held-out folds; None if it was not chosen by folds."""

    def logits(self, x: Features) -> Floats:
        """(N, P) -> (N, K)."""
        found: Floats = np.asarray(x @ self.weight.T) + self.bias
        return found


def fit_regression(
    x: Features,
    targets: NDArray[np.int64],
    n_labels: int,
    *,
    sample_weight: Floats | None = None,
    candidates: Sequence[float] = CANDIDATES,
    seed: int = 0,
) -> Solution:
    """Logistic regression with the C of the best cross-validated log-loss.

    Args:
        x: (N, P) of about unit variance.
        targets: (N,) of label numbers; a label without an example is never predicted.
        n_labels: K.
        sample_weight: (N,) weights of the examples, in the log-loss of held-out ones as well; None for equal ones.
    """
    C, accuracy = _choose_C(x, targets, sample_weight, candidates, seed)
    logger.info("logistic regression on %d features, C = %g", x.shape[1], C)
    return replace(solve_regression(C, x, targets, n_labels, sample_weight), cross_validated=accuracy)


def solve_regression(
    C: float, x: Features, targets: NDArray[Any], n_labels: int, sample_weight: Floats | None = None
) -> Solution:
    """Logistic regression with a given C.

    Args:
        targets: (N,) of label numbers, which exclude each other; or (N, K) of 0 and 1, a regression for each label.
    """
    weight, bias = np.zeros((n_labels, x.shape[1])), np.full(n_labels, NEVER)
    if targets.ndim == 2:
        for label, column in enumerate(targets.T.astype(np.int64)):
            if column.min() == column.max():
                bias[label] = -NEVER if column[0] else NEVER
                continue
            found = _regression(C, x, column, sample_weight)
            weight[label], bias[label] = found.coef_[0], found.intercept_[0]
        return Solution(weight, bias, C)
    if targets.min() == targets.max():
        bias[targets[0]] = 0.0
        return Solution(weight, bias, C)
    found = _regression(C, x, targets, sample_weight)
    if len(found.classes_) == 2:  # scikit-learn has a single row for two labels
        halves = np.array([[-0.5], [0.5]])
        weight[found.classes_], bias[found.classes_] = halves * found.coef_, (halves * found.intercept_)[:, 0]
    else:
        weight[found.classes_], bias[found.classes_] = found.coef_, found.intercept_
    return Solution(weight, bias, C)


def _choose_C(
    x: Features, targets: NDArray[np.int64], weights: Floats | None, candidates: Sequence[float], seed: int
) -> tuple[float, float | None]:
    """The C with the best cross-validated log-loss, and its accuracy."""
    if min(Counter(targets.tolist()).values()) < 2:
        return UNCHOSEN, None
    loss, right = dict.fromkeys(candidates, 0.0), dict.fromkeys(candidates, 0.0)
    for train, held_out in folds(targets, seed):
        before, after = (None, 1.0) if weights is None else (weights[train], weights[held_out])
        for C in candidates:
            found = _regression(C, x[train], targets[train], before)
            columns = np.searchsorted(found.classes_, targets[held_out])
            shares = found.predict_proba(x[held_out])
            of_true = shares[np.arange(len(held_out)), columns]
            loss[C] -= float((after * np.log(np.maximum(of_true, 1e-12))).sum())
            right[C] += float((after * (shares.argmax(1) == columns)).sum())
    best = min(candidates, key=lambda C: loss[C])
    return best, right[best] / (len(targets) if weights is None else float(weights.sum()))


def _regression(C: float, x: Features, targets: NDArray[np.int64], weights: Floats | None) -> Any:
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # not converged to the last digit, which does not matter
        return LogisticRegression(C=C, max_iter=STEPS).fit(x, targets, sample_weight=weights)
