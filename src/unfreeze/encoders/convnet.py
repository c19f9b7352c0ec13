"""A residual network (He et al. 2016, https://arxiv.org/abs/1512.03385), whose stages are its layers.

The layout and the names of the tensors are those of the published ResNets: `conv1`, `bn1`, `layer1.0.conv1`, ...,
`layer4.1.bn2`, `layer2.0.downsample.0`. Width, depths, block and stem are arguments, so that ResNet-18 and 34 (basic blocks), 50
and 101 (bottlenecks) and their small relatives for small images are one class.

Legend: B batch, S side of the images, D channels, H and W height and width of a map.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unfreeze.encoders.feature_settings import BlockName, Stem
from unfreeze.encoders.image_encoder import ImageEncoder, Images
from unfreeze.encoders.layers.conv_norm import ConvNorm
from unfreeze.encoders.layers.map_norm import MapNorm
from unfreeze.errors import UserError, setting
from unfreeze.vision.transforms import ImageTransform


def _conv(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False)


class BasicBlock(nn.Module):
    """Two convolutions of 3 by 3, and the shortcut around them."""

    expansion = 1
    downsample: nn.Module | None

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = _conv(inputs, width, 3, stride), MapNorm(width)
        self.conv2, self.bn2 = _conv(width, width, 3), MapNorm(width)
        self.first, self.second = ConvNorm(), ConvNorm()
        self.downsample = _shortcut(inputs, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(B, D, H, W) -> (B, D', H / stride, W / stride)."""
        y = self.first(self.conv1, self.bn1, x)
        return self.second(self.conv2, self.bn2, y, x if self.downsample is None else self.downsample(x))


class Bottleneck(nn.Module):
    """Convolutions of 1, 3 and 1 pixels, the middle one on a quarter of the channels; it has the stride, as in published weights."""

    expansion = 4
    downsample: nn.Module | None

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = width * self.expansion
        self.conv1, self.bn1 = _conv(inputs, width, 1), MapNorm(width)
        self.conv2, self.bn2 = _conv(width, width, 3, stride), MapNorm(width)
        self.conv3, self.bn3 = _conv(width, outputs, 1), MapNorm(outputs)
        self.first, self.second, self.third = ConvNorm(), ConvNorm(), ConvNorm()
        self.downsample = _shortcut(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(B, D, H, W) -> (B, D', H / stride, W / stride)."""
        y = self.second(self.conv2, self.bn2, self.first(self.conv1, self.bn1, x))
        return self.third(self.conv3, self.bn3, y, x if self.downsample is None else self.downsample(x))


class _Projection(nn.Sequential):
    """A convolution and its batch normalization."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        # The gradient of a strided convolution of 1 by 1 over fewer than 16 channels writes past the end of its memory in oneDNN
        # 3.12, which torch 2.13 has: with several threads, training crashes or hangs (oneDNN's issue 6035). Such a convolution
        # gets maps that have only the places it reads; over more channels this would be slower.
        step = stride if inputs < 16 else 1
        super().__init__(_conv(inputs, outputs, 1, stride // step), MapNorm(outputs))
        self.step, self.run = step, ConvNorm()

    def forward(self, x: Tensor) -> Tensor:
        conv, norm = self[0], self[1]
        assert isinstance(conv, nn.Conv2d) and isinstance(norm, MapNorm)
        return self.run(conv, norm, x[:, :, :: self.step, :: self.step], relu=False)


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Module | None:
    """A projection where the shape changes."""
    return None if inputs == outputs and stride == 1 else _Projection(inputs, outputs, stride)


BLOCKS: dict[str, type[BasicBlock] | type[Bottleneck]] = {"basic": BasicBlock, "bottleneck": Bottleneck}


class ConvNet(ImageEncoder):
    """A residual network without its classifier. With the defaults it is ResNet-18.

    Args:
        processor: makes squares of images.
        width: channels of the first stage; every further stage has twice as many.
        depths: blocks of each stage.
        block: basic or bottleneck.
        stem: `large` is a convolution of 7 by 7 with stride 2 and a pooling of stride 2, for images of 100 pixels and more;
            `small` is one of 3 by 3 with stride 1, as for CIFAR.

    Raises:
        UserError: an argument is unknown or too small.
    """

    kind = "convnet"

    def __init__(
        self,
        processor: ImageTransform,
        *,
        width: int = 64,
        depths: Sequence[int] = (2, 2, 2, 2),
        block: BlockName = "basic",
        stem: Stem = "large",
    ) -> None:
        super().__init__()
        for name, value, known in (("block", block, get_args(BlockName)), ("stem", stem, get_args(Stem))):
            if value not in known:
                raise UserError(f"{setting(name)} must be one of {', '.join(known)}, not {value!r}")
        if width < 1 or not depths or min(depths) < 1:
            raise UserError(
                f"{setting('width')} and {setting('depths')} must be at least 1: {width}, {list(depths)}"
            )
        self.processor = processor
        self._arguments = {"width": width, "depths": list(depths), "block": block, "stem": stem}
        make = BLOCKS[block]
        self.has_large_stem = stem == "large"
        self.conv1 = _conv(3, width, 7, 2) if self.has_large_stem else _conv(3, width, 3)
        self.bn1, self.first = MapNorm(width), ConvNorm()
        self._widths = [(width << stage) * make.expansion for stage in range(len(depths))]
        for stage, (depth, (inputs, outputs)) in enumerate(
            zip(depths, pairwise([width, *self._widths]), strict=True)
        ):
            strides = [1 if stage == 0 else 2, *[1] * (depth - 1)]
            blocks = [
                make(inputs if number == 0 else outputs, width << stage, stride)
                for number, stride in enumerate(strides)
            ]
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):  # He et al. 2015, for layers that a ReLU follows
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def widths(self) -> list[int]:
        return list(self._widths)

    @property
    def stages(self) -> list[nn.Module]:
        """The stages, bottom to top."""
        return [self.get_submodule(f"layer{stage + 1}") for stage in range(len(self._widths))]

    def strides(self) -> list[int]:
        return [(4 if self.has_large_stem else 1) << stage for stage in range(len(self._widths))]

    @property
    def n_places(self) -> int:
        return (-(-self.processor.size // self.strides()[-1])) ** 2

    @property
    def largest_map(self) -> int:
        size, stem = self.processor.size, self.conv1
        sides = [-(-size // stride) for stride in (stem.stride[0], *self.strides())]
        return max(
            width * side**2 for width, side in zip((stem.out_channels, *self._widths), sides, strict=True)
        )

    def maps(self, batch: Images) -> list[Tensor]:
        x = self.first(self.conv1, self.bn1, self.processor.normalized(batch.pixels))
        if self.has_large_stem:
            x = F.max_pool2d(x, 3, stride=2, padding=1)
        found = []
        for stage in self.stages:
            x = stage(x)
            found.append(x)
        return found

    def layer_groups(self) -> list[list[nn.Parameter]]:
        """The stem, and each stage."""
        return [
            [*self.conv1.parameters(), *self.bn1.parameters()],
            *(list(stage.parameters()) for stage in self.stages),
        ]
