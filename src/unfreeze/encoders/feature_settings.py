"""Choices that settings name: which vectors of a text are computed, and the parts of a ConvNet.

This module does not import torch, so that the command line can show its help quickly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

BlockName = Literal["basic", "bottleneck"]
Stem = Literal["large", "small"]
Pool = Literal["mean", "max", "last"]
JoinedLayers = Literal["mix", "bottom+top"]
"""How several layers become one vector: a mix whose weights are learned, or layer 0 and the top layer, concatenated."""


@dataclass(frozen=True, kw_only=True)
class EmbedSettings:
    """Which layers of a text are written, how they are pooled, and in what number format."""

    layers: Literal["all", "mean", "joined"] | int = "all"
    """All layers, their mean, their concatenation, or one layer counted from 0 (-1 is the last)."""
    pool: Pool | None = None
    """Write one vector per line, the mean, the maximum or the last of its words' vectors (default: one vector per word)."""
    half: bool = False
    """Store float16 instead of float32."""
    tokenized: bool = False
    """The texts are already split into words, at spaces."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Number format of the vectors on disk, little-endian."""
        return np.dtype("<f2" if self.half else "<f4")
