"""Toy images for the tests: stripes across or down, or spots, in random colors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

LABELS = ("across", "down", "spots")
SIDE = 16


def pattern(label: str, random: np.random.Generator, side: int = SIDE) -> NDArray[np.uint8]:
    """An image of a class, (side, side, 3): the class is in the pattern, and neither in the colors nor in the places."""
    waves = np.sin(np.arange(side) * random.uniform(1.2, 1.8) + random.uniform(0, 6))[:, None]
    mask = {"across": waves, "down": waves.T, "spots": waves * np.roll(waves, 3).T}[label]
    colors = random.uniform(0, 255, (2, 3))
    colors[1] = (colors[0] + 127) % 255
    share = (np.broadcast_to(mask, (side, side)) > 0)[..., None]
    noisy = np.where(share, colors[0], colors[1]) + random.normal(0, 10, (side, side, 3))
    return np.clip(noisy, 0, 255).astype(np.uint8)


def patterns(
    count: int, seed: int, labels: Sequence[str] = LABELS[:2]
) -> tuple[list[NDArray[np.uint8]], list[str]]:
    """Images and their labels, in turn."""
    random = np.random.default_rng(seed)
    found = [labels[number % len(labels)] for number in range(count)]
    return [pattern(label, random) for label in found], found


def write_images(folder: Path, count: int, seed: int, labels: Sequence[str] = LABELS[:2]) -> Path:
    """A folder of PNG files for each class."""
    from PIL import Image

    for number, (image, label) in enumerate(zip(*patterns(count, seed, labels), strict=True)):
        (folder / label).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / label / f"{number:02}.png")
    return folder
