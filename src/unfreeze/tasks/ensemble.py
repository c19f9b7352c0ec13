"""Several classifiers as one: their log-probabilities are summed with weights that out-of-fold predictions determine.

    logits(x) = sum over the members m of w_m log p_m(x), w_m >= 0

A member with weight 0 is left out, and the sum of the weights acts as the inverse of a temperature, so that the probabilities are
calibrated: a single member becomes temperature scaling (Guo et al. 2017, https://arxiv.org/abs/1706.04599). One weight a member
is all that few labels can determine; a prior pulls the weights towards their mean, a geometric mean of the members.

Legend: M members, N examples, K labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from unfreeze.folders import MEMBERS, write_model, written_folder
from unfreeze.tasks.classifying import ClassifyingNetwork

FLOOR = 1e-4
"""Smallest probability of a member: with few labels, none is that certain."""
PRIOR = 8.0
"""Inverse variance of the prior of the weights."""
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Member:
    """One classifier of an ensemble."""

    name: str
    network: ClassifyingNetwork
    arguments: dict[str, Any]
    """Of the network, as in config.json."""


class EnsembleNetwork(ClassifyingNetwork):
    """The weighted sum of the members' log-probabilities.

    Args:
        members: M of them, of the same labels.
        multi_label: labels are independent of each other.
    """

    network = "ensemble"

    def __init__(self, members: Sequence[Member], *, multi_label: bool = False) -> None:
        super().__init__()
        self.multi_label = multi_label
        self.members = list(members)
        self.networks = nn.ModuleList(member.network for member in members)
        self.weights = nn.Parameter(torch.full((len(members),), 1 / len(members)))

    def mix_shares(self) -> dict[str, list[float]]:
        """The weight of each layer of the members' encoders, by member and place of the mix."""
        return {
            f"{member.name}, {place}": shares
            for member in self.members
            for place, shares in member.network.mix_shares().items()
        }

    @property
    def n_features(self) -> int:
        """Those of all members."""
        return sum(member.network.n_features for member in self.members)

    @torch.no_grad()
    def describe(self, given: Sequence[Any]) -> tuple[Tensor, Tensor, NDArray[np.bool_]]:
        """N texts -> (N, P) features of all members, (N, K) probabilities, and (N,) whether a member knows a word of the text."""
        found = [member.network.describe(given) for member in self.members]
        features = torch.cat([own.cpu() for own, _, _ in found], dim=1)
        known = np.logical_or.reduce([own for _, _, own in found])
        return features, self.combine([probabilities for _, probabilities, _ in found]), known

    @torch.no_grad()
    def combine(self, probabilities: Sequence[Tensor]) -> Tensor:
        """(N, K) probabilities of each of the M members -> (N, K)."""
        scores = torch.stack([log_odds(each, self.multi_label) for each in probabilities])
        logits = torch.einsum("m,mnk->nk", self.weights.double(), scores)
        return (logits.sigmoid() if self.multi_label else logits.softmax(1)).float()

    def save(self, folder: str | Path, config: dict[str, Any]) -> None:
        """Write config.json, the weights, and a folder for each member, a classifier of its own, whole or not at all."""
        with written_folder(Path(folder), keep={"training", "README.md", "metrics.json"}) as target:
            write_model(target, config, {"weights": self.weights})
            for number, member in enumerate(self.members):
                member.network.save(
                    target / MEMBERS / str(number),
                    {**config, "settings": member.arguments, "estimator": None},
                )


def log_odds(probabilities: Tensor, multi_label: bool) -> Tensor:
    """The logarithms of probabilities of at least `FLOOR`, relative to the label's absence if there may be several: float64."""
    exact = probabilities.double().clamp(FLOOR, 1 - FLOOR if multi_label else 1.0)
    return torch.logit(exact) if multi_label else exact.log()


def bounded(probabilities: Floats, multi_label: bool) -> Floats:
    """Probabilities of at least `FLOOR`; where there may be several labels, their absence has at least that, too."""
    return np.clip(probabilities, FLOOR, 1 - FLOOR if multi_label else 1.0)


def combined(weights: Floats, scores: Floats, multi_label: bool) -> Floats:
    """(M,), (M, ..., K) log-odds -> (..., K) probabilities."""
    logits = np.tensordot(weights, scores, 1)
    if multi_label:
        return np.asarray(1 / (1 + np.exp(-logits)))
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return np.asarray(powers / powers.sum(-1, keepdims=True))


def losses(probabilities: Floats, targets: NDArray[Any], multi_label: bool) -> Floats:
    """The log-loss of each example, (N, K) and (N,) or (N, K) -> (N,)."""
    if multi_label:
        of_true = np.where(targets > 0, probabilities, 1 - probabilities)
        return np.asarray(-np.log(np.maximum(of_true, 1e-12)).sum(-1))
    of_true = probabilities[np.arange(len(targets)), targets]
    return np.asarray(-np.log(np.maximum(of_true, 1e-12)))


def fit_weights(
    scores: Floats,
    targets: NDArray[Any],
    *,
    multi_label: bool = False,
    repeats: int = 1,
    prior: float = PRIOR,
    center: float | None = None,
) -> Floats:
    """The weights (M,) of the smallest log-loss on out-of-fold predictions, plus the prior.

    Args:
        scores: (M, N, K) log-odds of examples that the members were not trained on.
        targets: (N,) label numbers, or (N, K) of 0 and 1.
        repeats: how often each example is among them.
        prior: inverse variance of the weights.
        center: mean of the prior; None for 1 / M.
    """
    from scipy.optimize import minimize

    n_members, n = scores.shape[:2]
    start = np.full(n_members, 1 / n_members if center is None else center)
    if not n:
        return start
    strength = prior * repeats / n
    if multi_label:
        wanted = np.asarray(targets, np.float64)
    else:
        wanted = np.zeros(scores.shape[1:])
        wanted[np.arange(n), targets] = 1.0

    def objective(weights: Floats) -> tuple[float, Floats]:
        found = combined(weights, scores, multi_label)
        loss = losses(found, targets, multi_label).mean() + strength / 2 * ((weights - start) ** 2).sum()
        gradient = np.einsum("mnk,nk->m", scores, found - wanted) / n + strength * (weights - start)
        return float(loss), gradient

    found = minimize(objective, start, jac=True, method="L-BFGS-B", bounds=[(0, None)] * n_members)
    weights: Floats = found.x
    return weights


def calibration_error(probabilities: Floats, right: NDArray[np.bool_], bins: int = 10) -> float:
    """Expected calibration error (Guo et al. 2017): the mean difference of confidence and accuracy over bins of equal width.

    Args:
        probabilities: (N,), of the predicted labels.
        right: (N,), whether these are right.
    """
    place = np.minimum((probabilities * bins).astype(np.int64), bins - 1)
    gaps = np.bincount(place, weights=probabilities - right, minlength=bins)
    return float(np.abs(gaps).sum() / len(right))
