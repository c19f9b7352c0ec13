"""The heads of classifiers, features -> logits; and the linear head on a frozen encoder, solved instead of trained.

On fixed features a linear head is a logistic regression (regression.py): convex, with one solution that is found in a second.

Legend: B batch, N examples, P features, K labels.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unfreeze.encoders.layers.batch_norm import BatchNorm
from unfreeze.tasks.regression import Solution, fit_regression

HEAD_WIDTH, HEAD_DROPOUT = 50, 0.1
POOL_SIZE, MAXOUT_DROPOUTS = 4, (0.2, 0.3, 0.0)


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


@torch.no_grad()
def solve_head(
    head: LinearHead, features: Tensor, targets: Tensor, sample_weight: Tensor | None = None, *, seed: int = 0
) -> Solution:
    """Set the normalization and the weights of the head to the solution for features (N, P) and targets (N,).

    Args:
        sample_weight: (N,) weights of the examples; None for equal ones.
    """
    weights = None if sample_weight is None else sample_weight.double()
    solution = fit_regression(
        standardize(head, features, weights).numpy(),
        targets.cpu().numpy(),
        head.linear.out_features,
        sample_weight=None if weights is None else weights.numpy(),
        seed=seed,
    )
    set_solution(head, solution)
    return solution


@torch.no_grad()
def standardize(head: LinearHead, features: Tensor, weights: Tensor | None = None) -> Tensor:
    """Set the normalization of the head to features (N, P), with weights (N,), and return what it makes of them, in float64."""
    exact, norm = features.double(), head.norm
    assert norm.running_mean is not None and norm.running_var is not None
    if weights is None:
        mean, variance = exact.mean(0), exact.var(0, correction=0)
    else:
        shares = (weights / weights.sum())[:, None]
        mean = (shares * exact).sum(0)
        variance = (shares * (exact - mean) ** 2).sum(0)
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(variance)
    found: Tensor = norm.eval()(features.to(norm.running_mean.device)).double().cpu()
    return found


@torch.no_grad()
def set_solution(head: LinearHead, solution: Solution) -> None:
    """Set the weights and the bias of the head."""
    head.linear.weight.copy_(torch.from_numpy(solution.weight))
    head.linear.bias.copy_(torch.from_numpy(solution.bias))
