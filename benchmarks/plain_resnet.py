"""ResNet-18 and a loop around it with PIL, as a user would write them in plain PyTorch: eager, without channels_last.

Legend: B batch, S side of the images, K classes.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from benchmarks.turns import StepEnd

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Block(nn.Module):
    """Two convolutions of 3 by 3 and the shortcut around them."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride > 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class PlainResNet(nn.Module):
    """ResNet-18 with the names of the published weights, and a classifier.

    Args:
        n_classes: K.
        stem: large (7 by 7, stride 2, and a pooling) or small (3 by 3, stride 1).
    """

    def __init__(self, n_classes: int, stem: str) -> None:
        super().__init__()
        self.is_large = stem == "large"
        self.conv1 = (
            nn.Conv2d(3, 64, 7, 2, 3, bias=False) if self.is_large else nn.Conv2d(3, 64, 3, 1, 1, bias=False)
        )
        self.bn1 = nn.BatchNorm2d(64)
        inputs = 64
        for number, width in enumerate((64, 128, 256, 512), start=1):
            blocks = [Block(inputs, width, 1 if number == 1 else 2), Block(width, width, 1)]
            self.add_module(f"layer{number}", nn.Sequential(*blocks))
            inputs = width
        self.fc = nn.Linear(512, n_classes)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, S, S) -> (B, K)."""
        x = F.relu(self.bn1(self.conv1(x)))
        if self.is_large:
            x = F.max_pool2d(x, 3, 2, 1)
        for number in range(1, 5):
            x = self.get_submodule(f"layer{number}")(x)
        found: Tensor = self.fc(x.mean((2, 3)))
        return found


def operations(network: PlainResNet, size: int) -> float:
    """Floating-point operations in the convolutions for an image of `size` by `size` pixels, forward."""
    found = []

    def count(conv: nn.Module, _: object, output: Tensor) -> None:
        assert isinstance(conv, nn.Conv2d)
        found.append(2 * conv.weight.numel() * output.shape[2] * output.shape[3])

    hooks = [each.register_forward_hook(count) for each in network.modules() if isinstance(each, nn.Conv2d)]
    with torch.no_grad():
        network.eval()(torch.zeros(1, 3, size, size))
    for hook in hooks:
        hook.remove()
    return float(sum(found))


class Photos(Dataset[tuple[Tensor, int]]):
    """Image files, decoded when they are asked for: a random crop and a random flip, or the middle.

    Args:
        size: S.
        augments: whether crops and flips are random.
    """

    def __init__(self, paths: Sequence[Path], labels: Sequence[int], size: int, *, augments: bool) -> None:
        self.paths, self.labels, self.size, self.augments = paths, labels, size, augments

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, number: int) -> tuple[Tensor, int]:
        with Image.open(self.paths[number]) as file:
            image = file.convert("RGB")
        width, height = image.size
        if self.augments:
            area = random.uniform(0.35, 1.0) * width * height
            ratio = math.exp(random.uniform(math.log(3 / 4), math.log(4 / 3)))
            w, h = min(width, math.sqrt(area * ratio)), min(height, math.sqrt(area / ratio))
            left, top = random.uniform(0, width - w), random.uniform(0, height - h)
        else:
            w = h = min(width, height)
            left, top = (width - w) / 2, (height - h) / 2
        image = image.resize(
            (self.size, self.size), Image.Resampling.BILINEAR, box=(left, top, left + w, top + h)
        )
        if self.augments and random.random() < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255
        mean, std = (torch.tensor(each).view(3, 1, 1) for each in (MEAN, STD))
        return (pixels - mean) / std, self.labels[number]


def train(
    network: nn.Module,
    photos: Photos,
    batch_size: int,
    workers: int,
    step: StepEnd,
    *,
    bf16: bool = False,
) -> None:
    """Train until the benchmark ends; calls `step` with the number of images after each update.

    Args:
        bf16: run the forward pass under autocast.
    """
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    loader = DataLoader(photos, batch_size, shuffle=True, num_workers=workers, drop_last=True)
    network.train()
    while True:
        for images, labels in loader:
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                loss = F.cross_entropy(network(images), labels)
            loss.backward()
            optimizer.step()
            step(len(images))


@torch.no_grad()
def predict(
    network: nn.Module, photos: Photos, batch_size: int, workers: int, *, bf16: bool = False
) -> Tensor:
    """The probability of each class for each image: (n, K)."""
    loader = DataLoader(photos, batch_size, num_workers=workers)
    network.eval()
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        return torch.cat([network(images).float().softmax(1) for images, _ in loader])
