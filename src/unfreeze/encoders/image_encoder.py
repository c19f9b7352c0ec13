"""What encoders of images have in common: an image becomes feature maps, and each place of a map is a position of a layer.

Legend: B batch, S side of the square that the network sees, D_l channels of map l, H_l and W_l its height and width.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from unfreeze.encoders.base import Batch, Encoder, pooled
from unfreeze.encoders.feature_settings import Pool
from unfreeze.vision.transforms import ImageTransform

NUMBERS_PER_UNIT = 2048
"""Numbers of the largest feature map that count as one unit of `input_size`: with ResNet-18, a batch of `encode` then holds 10
images of 224 by 224."""


@dataclass(frozen=True, kw_only=True)
class Images(Batch):
    """A batch of images."""

    pixels: Tensor
    """(B, S, S, 3) of uint8, RGB."""


class ImageEncoder(Encoder):
    """An encoder whose layers are feature maps, read row by row."""

    processor: ImageTransform
    reads = "images"

    @classmethod
    def load_processor(cls, folder: Path) -> ImageTransform:
        return ImageTransform.load(folder)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def input_size(self, one: Any) -> int:
        """The same for every image, as all of them become squares of one size: its largest map decides the memory of a batch."""
        return max(1, self.largest_map // NUMBERS_PER_UNIT)

    @property
    @abstractmethod
    def largest_map(self) -> int:
        """Numbers in the largest feature map of an image."""

    def prepare(self, inputs: Sequence[Any]) -> Images:
        """Images (files, arrays or PIL images) -> a batch on the device of the encoder."""
        return self.batch_of(self.processor.squares(inputs)[0])

    def batch_of(self, pixels: NDArray[Any] | Tensor) -> Images:
        """Squares (B, S, S, 3) of uint8 -> a batch on the device of the encoder."""
        found = torch.as_tensor(pixels, device=self.device)
        return Images(lengths=torch.full((len(found),), self.n_places, device=self.device), pixels=found)

    @abstractmethod
    def strides(self) -> list[int]:
        """Pixels of the square from one place of each map to the next, bottom to top."""

    @property
    @abstractmethod
    def n_places(self) -> int:
        """H * W of the top map."""

    @abstractmethod
    def maps(self, batch: Images) -> list[Tensor]:
        """The feature maps (B, D_l, H_l, W_l), bottom to top."""

    def layers(self, batch: Images) -> tuple[list[Tensor], Tensor]:
        """The maps as (B, H_l * W_l, D_l), row by row, and a mask of the top map (B, H * W): every place is real."""
        flat = [each.flatten(2).transpose(1, 2) for each in self.maps(batch)]
        return flat, torch.ones(flat[-1].shape[:2], dtype=torch.bool, device=flat[-1].device)

    def _pooled(self, batch: Images, layer: int, pool: Pool) -> Tensor:
        """Encode one batch and pool a map; every place is real, and each map has a number of places of its own."""
        found = self.layers(batch)[0][layer].float()
        return pooled(found, torch.ones(found.shape[:2], dtype=torch.bool, device=found.device), pool)
