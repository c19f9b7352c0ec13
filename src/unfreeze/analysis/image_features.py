"""What an encoder of images has learned: first filters, feature maps, nearest images, and the evidence for a class.

Legend: B images, D channels, H and W height and width of a feature map, K classes, N filters or images, C chosen channels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unfreeze.encoders.base import evaluating
from unfreeze.encoders.convnet import ConvNet
from unfreeze.encoders.image_encoder import ImageEncoder
from unfreeze.errors import UserError
from unfreeze.progress import SILENT, Progress
from unfreeze.vectors.neighbors import NeighborIndex
from unfreeze.vectors.table import VectorTable
from unfreeze.vision.images import ImageFile

AT_ONCE = 256
"""Images between two reports of the progress."""


def filter_colors(encoder: ConvNet) -> NDArray[np.float32]:
    """The filters of the first convolution as colors from 0 to 1: (N, height, width, 3), largest norm first.

    A weight of 0 becomes gray, 0.5; each filter is scaled by its own largest weight, so weak filters are as visible as strong
    ones.
    """
    weights = encoder.conv1.weight.detach().float().cpu().permute(0, 2, 3, 1).numpy()
    flat = weights.reshape(len(weights), -1)
    order = np.argsort(-np.linalg.norm(flat, axis=1), kind="stable")
    largest = np.maximum(np.abs(flat).max(1), np.finfo(np.float32).tiny)
    found: NDArray[np.float32] = (0.5 + 0.5 * weights / largest[:, None, None, None])[order]
    return found


@dataclass(frozen=True)
class StageMaps:
    """Some feature maps of one stage for an image."""

    channels: NDArray[np.int64]
    """(C,): their numbers."""
    maps: NDArray[np.float32]
    """(C, H, W)."""
    n_channels: int
    """D, all channels of the stage."""


@torch.no_grad()
def strongest_maps(encoder: ImageEncoder, image: Any, count: int = 8) -> list[StageMaps]:
    """The maps of each stage, bottom to top, that vary most over the image, by their standard deviation.

    A channel with the same value everywhere may be strong, but says nothing about where something is. The outermost places of maps
    of more than 4 by 4 do not count: padding shows there.

    Args:
        image: one image.
        count: C, at most.

    Raises:
        UserError: the image cannot be read.
    """
    with evaluating(encoder):
        stages = encoder.maps(encoder.prepare([image]))
    found = []
    for stage in stages:
        maps = stage[0].float().cpu().numpy()
        inner = maps[:, 1:-1, 1:-1] if min(maps.shape[1:]) > 4 else maps
        order = np.argsort(-inner.std((1, 2), dtype=np.float64), kind="stable")[:count]
        found.append(StageMaps(order, maps[order], len(maps)))
    return found


@dataclass(frozen=True)
class NearImage:
    """An image near to another one."""

    image: str
    """The name of its file."""
    score: float
    """Cosine similarity of their features."""


def nearest_images(
    encoder: ImageEncoder,
    images: Sequence[str | Path],
    collection: Sequence[ImageFile],
    *,
    top: int = 5,
    layer: int = -1,
    progress: Progress = SILENT,
) -> list[list[NearImage]]:
    """The images of a collection whose features are nearest to those of each of `images`, best first.

    The features of an image are the mean of a feature map over its places. The search is exact. Copies of an image, the same
    bytes, are not counted among its neighbors.

    Args:
        layer: number of the stage, counted from 0; -1 is the last.

    Raises:
        UserError: the collection is empty, an image cannot be read, or there is no such layer.
    """
    if not collection:
        raise UserError("there is no image to search among")
    queries = encoder.encode(list(images), layer=layer)
    rows = []
    with progress.bar("encode", total=len(collection), unit="image") as bar:
        for start in range(0, len(collection), AT_ONCE):
            part = list(collection[start : start + AT_ONCE])
            rows.append(encoder.encode(part, layer=layer))
            bar.advance(len(part))
    names = [str(each) for each in collection]
    index = NeighborIndex(VectorTable(names, np.concatenate(rows)))
    digests = [each.digest() for each in collection]
    copies = [
        [row for row, digest in enumerate(digests) if digest == own]
        for own in (ImageFile(Path(each)).digest() for each in images)
    ]
    found = index.nearest_to_vectors(queries, top=top, excluded=copies)
    return [[NearImage(each.word, each.score) for each in near] for near in found]


def class_evidence(
    maps: Tensor, classify: Callable[[Tensor], Tensor], classes: Sequence[int] | None = None
) -> tuple[NDArray[np.float32], list[int]]:
    """Where the evidence for a class lies: Grad-CAM (Selvaraju et al. 2017, https://arxiv.org/abs/1610.02391, equations 1, 2).

    The channels of the feature maps are added up, each weighted by the mean gradient of the class's logit with respect to it;
    what speaks against the class is cut off. With a linear classifier on the mean of the maps these are the class activation
    maps of Zhou et al. 2016, divided by H * W.

    Args:
        maps: (B, D, H, W), the top feature map of each image.
        classify: maps -> logits (B, K); a row depends on its own image alone.
        classes: the class of each image, from 0; None takes the one with the largest logit.

    Returns:
        (B, H, W) of at least 0, and the classes.
    """
    leaf = maps.detach().requires_grad_()
    with torch.enable_grad():
        logits = classify(leaf)
        chosen = logits.argmax(1).tolist() if classes is None else list(classes)
        wanted = logits[torch.arange(len(leaf)), torch.tensor(chosen)].sum()
        (gradient,) = torch.autograd.grad(wanted, leaf)
    weights = gradient.mean((2, 3), keepdim=True)
    found = torch.relu((weights * leaf.detach()).sum(1))
    return found.cpu().numpy(), chosen
