"""Random views of training images, each a pure function of the seed, the number of the draw and the number of the image.

What the network sees in an update then depends neither on the other images of the batch nor on the number of processes, nor on
how often a training was interrupted.

Legend: B batch, S side of the square.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from unfreeze.vision.boxes import Boxes
from unfreeze.vision.images import LoadedImage, Pixels
from unfreeze.vision.transforms import Augmentation, ImageTransform, View


class RandomViews:
    """Views of images; draw 0 is the plain one.

    Args:
        transform: makes the squares.
        augmentation: of the other draws; None always shows the plain view.
        keep: the boxes of each image, (N, 4), that must stay in sight; None for images without boxes.
    """

    def __init__(
        self,
        images: Sequence[LoadedImage],
        sizes: Sequence[tuple[int, int]],
        transform: ImageTransform,
        augmentation: Augmentation | None = None,
        *,
        keep: Sequence[Boxes] | None = None,
        seed: int = 0,
    ) -> None:
        self.images, self.sizes, self.transform = images, sizes, transform
        self.augmentation, self.keep, self.seed = augmentation, keep, seed

    def view(self, number: int, draw: int) -> View:
        """What the network sees of an image in a draw."""
        if self.augmentation is None or draw == 0:
            return self.transform.view(*self.sizes[number])
        boxes = None if self.keep is None else self.keep[number]
        generator = self._generator(number, draw)
        return self.augmentation.view(self.transform, *self.sizes[number], generator, keep=boxes)

    def squares(self, chosen: Sequence[tuple[int, int]]) -> tuple[Pixels, list[View]]:
        """The squares of B pairs of an image's number and a draw, (B, S, S, 3), which may be none; and their views."""
        size, views = self.transform.size, [self.view(*each) for each in chosen]
        pixels = np.empty((len(chosen), size, size, 3), dtype=np.uint8)
        for row, ((number, draw), view) in enumerate(zip(chosen, views, strict=True)):
            square = view.render(self.images[number], self.transform.fill, self.transform.resample)
            if self.augmentation is not None and draw:
                square = self.augmentation.colored(square, self._generator(number, draw, of_colors=1))
            pixels[row] = square
        return pixels, views

    def _generator(self, number: int, draw: int, of_colors: int = 0) -> np.random.Generator:
        return np.random.default_rng([self.seed, draw, number, of_colors])
