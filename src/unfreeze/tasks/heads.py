"""The heads of classifiers, features -> logits; and the linear head on a frozen encoder, solved instead of trained.

On fixed features a linear head is a logistic regression: convex, with one solution that is found in a second. With few
labels its L2 penalty matters more than any setting of a training loop; C, the inverse of the penalty, is chosen by
cross-validation within the training examples, as for the TF-IDF baseline.

Legend: B batch, N examples, P features, K labels.
"""

from __future__ import annotations

import logging
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from unfreeze.encoders.layers.batch_norm import BatchNorm
from unfreeze.tasks.baselines import folds

logger = logging.getLogger(__name__)

HEAD_WIDTH, HEAD_DROPOUT = 50, 0.1
POOL_SIZE, MAXOUT_DROPOUTS = 4, (0.2, 0.3, 0.0)
CANDIDATES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
"""Values of C to choose from, for features of unit variance."""
UNCHOSEN = 0.01
"""C if a class has a single example, so that nothing can be held out."""
STEPS = 1_000

Features = NDArray[np.float64]


class TwoLayerHead(nn.Module):
    """Batch norm, dropout, linear 50, ReLU; batch norm, dropout, linear (Howard & Ruder 2018, section 3.3).

    The linear layers have no bias: the batch norm before each of them has one.

    Args:
        input_size: P.
        n_labels: K.
        input_dropout: dropout before the first linear layer (0.4 in the paper).
    """

    def __init__(self, input_size: int, n_labels: int, input_dropout: float = 0.4) -> None:
        super().__init__()
        self.norm_0, self.norm_1 = BatchNorm(input_size), BatchNorm(HEAD_WIDTH)
        self.linear_0 = nn.Linear(input_size, HEAD_WIDTH, bias=False)
        self.linear_1 = nn.Linear(HEAD_WIDTH, n_labels, bias=False)
        self.dropout_0, self.dropout_1 = nn.Dropout(input_dropout), nn.Dropout(HEAD_DROPOUT)

    def forward(self, x: Tensor) -> Tensor:
        """(B, P) -> (B, K) logits."""
        hidden = F.relu(self.linear_0(self.dropout_0(self.norm_0(x))))
        logits: Tensor = self.linear_1(self.dropout_1(self.norm_1(hidden)))
        return logits


class MaxoutHead(nn.Module):
    """Three maxout layers of widths P/2, P/4 and K, each after a batch norm (McCann et al. 2017, section 4).

    Each output of a maxout layer is the largest of `POOL_SIZE` linear functions (Goodfellow et al. 2013).

    Args:
        input_size: P.
        n_labels: K.
        input_dropout: dropout before the first layer.
    """

    def __init__(self, input_size: int, n_labels: int, input_dropout: float = MAXOUT_DROPOUTS[0]) -> None:
        super().__init__()
        sizes = [input_size, max(1, input_size // 2), max(1, input_size // 4), n_labels]
        self.norms = nn.ModuleList(BatchNorm(size) for size in sizes[:-1])
        self.linears = nn.ModuleList(nn.Linear(n, POOL_SIZE * m) for n, m in pairwise(sizes))
        self.dropouts = nn.ModuleList(nn.Dropout(each) for each in (input_dropout, *MAXOUT_DROPOUTS[1:]))

    def forward(self, x: Tensor) -> Tensor:
        """(B, P) -> (B, K) logits."""
        for norm, dropout, linear in zip(self.norms, self.dropouts, self.linears, strict=True):
            x = linear(dropout(norm(x))).unflatten(1, (-1, POOL_SIZE)).amax(2)
        return x


class LinearHead(nn.Module):
    """Batch norm without gain and bias, dropout, linear: logistic regression on standardized features."""

    def __init__(self, input_size: int, n_labels: int, input_dropout: float = 0.4) -> None:
        super().__init__()
        self.norm = BatchNorm(input_size, affine=False)
        self.dropout = nn.Dropout(input_dropout)
        self.linear = nn.Linear(input_size, n_labels)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, P) -> (B, K) logits."""
        logits: Tensor = self.linear(self.dropout(self.norm(x)))
        return logits


HEADS: dict[str, type[TwoLayerHead] | type[LinearHead] | type[MaxoutHead]] = {
    "two-layer": TwoLayerHead,
    "linear": LinearHead,
    "maxout": MaxoutHead,
}


# The linear head, solved


@dataclass(frozen=True)
class Solution:
    """Weights and bias of a fitted multinomial logistic regression, and its C."""

    weight: Features
    """(K, P)."""
    bias: Features
    """(K,)."""
    C: float
    """The C that was chosen."""


@torch.no_grad()
def solve_head(
    head: LinearHead, features: Tensor, targets: Tensor, sample_weight: Tensor | None = None, *, seed: int = 0
) -> Solution:
    """Set the normalization and the weights of the head to the solution for features (N, P) and targets (N,).

    Args:
        sample_weight: (N,) weights of the examples; None for equal ones.
    """
    exact = features.double()
    norm, linear = head.norm, head.linear
    assert norm.running_mean is not None and norm.running_var is not None
    weights = None if sample_weight is None else sample_weight.double()
    if weights is None:
        mean, variance = exact.mean(0), exact.var(0, correction=0)
    else:
        shares = (weights / weights.sum())[:, None]
        mean = (shares * exact).sum(0)
        variance = (shares * (exact - mean) ** 2).sum(0)
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(variance)
    standardized = norm.eval()(features.to(norm.running_mean.device)).double().cpu().numpy()
    solution = fit_regression(
        standardized,
        targets.cpu().numpy(),
        linear.out_features,
        sample_weight=None if weights is None else weights.numpy(),
        seed=seed,
    )
    linear.weight.copy_(torch.from_numpy(solution.weight))
    linear.bias.copy_(torch.from_numpy(solution.bias))
    return solution


def fit_regression(
    x: Features,
    targets: NDArray[np.int64],
    n_labels: int,
    *,
    sample_weight: Features | None = None,
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
    C = _choose_C(x, targets, sample_weight, candidates, seed)
    found = _regression(C, x, targets, sample_weight)
    weight, bias = np.zeros((n_labels, x.shape[1])), np.full(n_labels, -30.0)
    if len(found.classes_) == 2:  # scikit-learn has a single row for two labels
        halves = np.array([[-0.5], [0.5]])
        weight[found.classes_], bias[found.classes_] = halves * found.coef_, (halves * found.intercept_)[:, 0]
    else:
        weight[found.classes_], bias[found.classes_] = found.coef_, found.intercept_
    logger.info("logistic regression on %d features, C = %g", x.shape[1], C)
    return Solution(weight, bias, C)


def _choose_C(
    x: Features, targets: NDArray[np.int64], weights: Features | None, candidates: Sequence[float], seed: int
) -> float:
    if min(Counter(targets.tolist()).values()) < 2:
        return UNCHOSEN
    loss = dict.fromkeys(candidates, 0.0)
    for train, held_out in folds(targets, seed):
        before, after = (None, 1.0) if weights is None else (weights[train], weights[held_out])
        for C in candidates:
            found = _regression(C, x[train], targets[train], before)
            columns = np.searchsorted(found.classes_, targets[held_out])
            of_true = found.predict_proba(x[held_out])[np.arange(len(held_out)), columns]
            loss[C] -= float((after * np.log(np.maximum(of_true, 1e-12))).sum())
    return min(candidates, key=lambda C: loss[C])


def _regression(C: float, x: Features, targets: NDArray[np.int64], weights: Features | None) -> Any:
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # not converged to the last digit, which does not matter
        return LogisticRegression(C=C, max_iter=STEPS).fit(x, targets, sample_weight=weights)
