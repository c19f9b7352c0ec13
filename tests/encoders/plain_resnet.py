"""A residual network in torch's own modules, written after the paper and torchvision's names; it uses nothing of ours."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PlainBlock(nn.Module):
    """Convolutions and the shortcut around them; a bottleneck has its stride in the middle."""

    def __init__(self, inputs: int, width: int, stride: int, bottleneck: bool) -> None:
        super().__init__()
        sizes = [(inputs, width, 3, stride), (width, width, 3, 1)]
        if bottleneck:
            sizes = [(inputs, width, 1, 1), (width, width, 3, stride), (width, 4 * width, 1, 1)]
        self.count, self.outputs = len(sizes), sizes[-1][1]
        for number, (before, after, side, step) in enumerate(sizes, start=1):
            conv = nn.Conv2d(before, after, side, step, side // 2, bias=False)
            self.add_module(f"conv{number}", conv)
            self.add_module(f"bn{number}", nn.BatchNorm2d(after))
        if stride > 1 or inputs != self.outputs:
            projection = nn.Conv2d(inputs, self.outputs, 1, stride, bias=False)
            self.downsample = nn.Sequential(projection, nn.BatchNorm2d(self.outputs))

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for number in range(1, self.count + 1):
            y = getattr(self, f"bn{number}")(getattr(self, f"conv{number}")(y))
            y = torch.relu(y) if number < self.count else y
        return torch.relu(y + (self.downsample(x) if hasattr(self, "downsample") else x))


class PlainResNet(nn.Module):
    """(B, 3, S, S) -> (B, K)."""

    def __init__(
        self,
        width: int,
        depths: Sequence[int],
        n_classes: int,
        *,
        bottleneck: bool = False,
        large: bool = True,
    ) -> None:
        super().__init__()
        self.large, self.n_stages = large, len(depths)
        self.conv1 = (
            nn.Conv2d(3, width, 7, 2, 3, bias=False) if large else nn.Conv2d(3, width, 3, 1, 1, bias=False)
        )
        self.bn1, inputs = nn.BatchNorm2d(width), width
        for stage, depth in enumerate(depths):
            blocks = nn.Sequential()
            for number in range(depth):
                stride = 2 if stage and not number else 1
                blocks.append(PlainBlock(inputs, width * 2**stage, stride, bottleneck))
                inputs = blocks[-1].outputs
            self.add_module(f"layer{stage + 1}", blocks)
        self.fc = nn.Linear(inputs, n_classes)

    def features(self, x: Tensor) -> list[Tensor]:
        """The map of each stage."""
        x = torch.relu(self.bn1(self.conv1(x)))
        x = F.max_pool2d(x, 3, 2, 1) if self.large else x
        found = []
        for stage in range(1, self.n_stages + 1):
            x = getattr(self, f"layer{stage}")(x)
            found.append(x)
        return found

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.fc(self.features(x)[-1].mean((2, 3)))
        return logits


def random_resnet(width: int, depths: Sequence[int], n_classes: int = 5, **options: bool) -> PlainResNet:
    """In evaluation mode, with random weights and statistics that keep the activations of every stage around 1."""
    torch.manual_seed(0)
    net = PlainResNet(width, depths, n_classes, **options)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.running_var):
                nn.init.uniform_(tensor, 0.5, 1.5)  # type: ignore[arg-type]
            for tensor in (module.bias, module.running_mean):
                nn.init.normal_(tensor, std=0.3)  # type: ignore[arg-type]
    return net.eval()
