"""What a `Classifier` asks of its network, whatever is inside: an encoder with a head, TF-IDF, or several of them together.

Legend: N inputs, P features, K labels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from unfreeze.errors import UserError, setting
from unfreeze.folders import Config
from unfreeze.tasks.explanations import Contributions, Method, by_occlusion

KIND = "text_classifier"
"""The kind of a classifier of texts in config.json."""
SMALLEST = 1e-6
"""Probabilities below this one are no more evidence than it."""


class ClassifyingNetwork(nn.Module, ABC):
    """Inputs -> probabilities of labels."""

    multi_label: bool
    """Whether labels are independent of each other, otherwise they exclude each other."""

    @property
    def reads_pairs(self) -> bool:
        """Whether an input is a pair of texts."""
        return False

    @property
    @abstractmethod
    def n_features(self) -> int:
        """P."""

    @abstractmethod
    def describe(self, given: Sequence[Any]) -> tuple[Tensor, Tensor, NDArray[np.bool_]]:
        """N >= 1 raw inputs -> (N, P) features, (N, K) probabilities, and (N,) whether a word is known; each on its own."""

    def classify(self, given: Sequence[Any]) -> tuple[Tensor, NDArray[np.bool_]]:
        """N >= 1 raw inputs -> (N, K) probabilities, and (N,) whether a word is known."""
        _, probabilities, known = self.describe(given)
        return probabilities, known

    def explain(self, text: str, target: int, method: Method | None = None) -> Contributions:
        """The contributions of the words of a text to the evidence for label number `target`, by leaving each word out.

        Raises:
            UserError: another method is asked for, which needs an encoder.
        """
        if method not in (None, "occlusion"):
            raise UserError(
                f"{setting('explain_by', method)} is for a classifier on one encoder: use {setting('explain_by', 'occlusion')}"
            )

        def evidence(texts: Sequence[str]) -> NDArray[np.float64]:
            exact = self.classify(texts)[0].double().clamp(SMALLEST, 1 - SMALLEST).cpu()
            if self.multi_label:
                return torch.logit(exact).numpy()
            logits = exact.log()
            others = (logits.sum(1, keepdim=True) - logits) / (logits.shape[1] - 1)
            return (logits - others).numpy()

        return by_occlusion(evidence, text, target)

    @abstractmethod
    def save(self, folder: str | Path, config: dict[str, Any]) -> None:
        """Write config.json with `config` in it, the weights, and what else loading needs into `folder`, whole or not at all."""

    def mix_shares(self) -> dict[str, list[float]]:
        """The weight of each layer of an encoder, by the place of the mix, if a mix of layers is learned."""
        return {}


@dataclass(frozen=True, kw_only=True)
class ClassifierConfig(Config):
    """The config.json of a classifier."""

    labels: list[str]
    multi_label: bool
    settings: dict[str, Any]
    """Arguments of the network, whose signature has their types."""
    prior: list[float] | None = None
    """Fraction of the training texts that have each label; models of earlier versions lack it."""
    classes: list[bool] | list[int] | list[float] | None = None
    """The labels as given to `fit`, if they were not strings."""
    estimator: dict[str, Any] | None = None
    """The settings of the estimator; models of earlier versions lack them."""
