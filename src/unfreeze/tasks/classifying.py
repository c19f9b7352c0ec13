"""What a `Classifier` asks of its network, whatever is inside: an encoder with a head, TF-IDF, or several of them together.

Legend: N inputs, K labels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

KIND = "text_classifier"
"""The kind of a classifier of texts in config.json."""


class ClassifyingNetwork(nn.Module, ABC):
    """Inputs -> probabilities of labels."""

    multi_label: bool
    """Whether labels are independent of each other, otherwise they exclude each other."""

    @property
    def reads_pairs(self) -> bool:
        """Whether an input is a pair of texts."""
        return False

    @abstractmethod
    def classify(self, given: Sequence[Any]) -> tuple[Tensor, NDArray[np.bool_]]:
        """N >= 1 raw inputs -> (N, K) probabilities, which do not depend on the other inputs; and (N,) whether a word is known."""

    @abstractmethod
    def save(self, folder: str | Path, config: dict[str, Any]) -> None:
        """Write config.json with `config` in it, the weights, and what else loading needs into `folder`, whole or not at all."""

    def mix_shares(self) -> dict[str, list[float]]:
        """The weight of each layer of an encoder, by the place of the mix, if a mix of layers is learned."""
        return {}
