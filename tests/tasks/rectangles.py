"""Generated pictures for locators: rectangles on noise, bright or dark."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unfreeze.vision.images import Pixels

SIDE = 32


def noise(generator: np.random.Generator, height: int = SIDE, width: int = SIDE) -> Pixels:
    return generator.integers(90, 150, (height, width, 3)).astype(np.uint8)


def one_rectangle(count: int, seed: int = 0) -> tuple[list[Pixels], NDArray[np.float64]]:
    """Pictures with one bright rectangle, and its box: (n, 4)."""
    generator = np.random.default_rng(seed)
    pictures, boxes = [], []
    for _ in range(count):
        picture = noise(generator)
        left, top = generator.integers(0, SIDE - 14, 2)
        width, height = generator.integers(8, 15, 2)
        picture[top : top + height, left : left + width] = (250, 230, 80)
        pictures.append(picture)
        boxes.append([left, top, left + width, top + height])
    return pictures, np.array(boxes, dtype=np.float64)


def several_rectangles(count: int, seed: int = 0) -> tuple[list[Pixels], list[dict[str, object]]]:
    """Pictures with none to two rectangles in each half, bright or dark, with their boxes and labels."""
    generator = np.random.default_rng(seed)
    pictures, wanted = [], []
    for _ in range(count):
        picture, boxes, labels = noise(generator), [], []
        for half in (0, SIDE // 2):
            if generator.random() < 0.25:
                continue
            left, top = half + generator.integers(0, 4), generator.integers(0, SIDE - 14)
            width, height = generator.integers(8, 13), generator.integers(8, 15)
            is_bright = bool(generator.integers(2))
            picture[top : top + height, left : left + width] = (250, 230, 80) if is_bright else (10, 20, 60)
            boxes.append([left, top, left + width, top + height])
            labels.append("bright" if is_bright else "dark")
        pictures.append(picture)
        wanted.append({"boxes": np.array(boxes, dtype=np.float64).reshape(-1, 4), "labels": labels})
    return pictures, wanted
