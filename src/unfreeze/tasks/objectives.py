"""What the objectives of tasks have in common: examples that stand by themselves."""

from __future__ import annotations

from typing import Any

from torch import Tensor


class SeparateExamples:
    """The part of the loop's `Objective` that carries a state and scales rates: there is neither."""

    def rate_scale(self, batch: Any) -> float:
        """Every batch moves alike."""
        return 1.0

    def carried(self) -> dict[str, Tensor]:
        """Nothing is carried from example to example."""
        return {}

    def carry(self, tensors: dict[str, Tensor]) -> None:
        """Nothing to take back."""
