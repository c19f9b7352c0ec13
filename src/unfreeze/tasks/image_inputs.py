"""Images as the networks of tasks read them: an encoder of the plan's settings, and decoded images.

Legend: B batch, S side of the squares, D channels of the top feature map.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from unfreeze.encoders.convnet import ConvNet
from unfreeze.encoders.image_encoder import ImageEncoder
from unfreeze.errors import UserError, setting
from unfreeze.progress import SILENT, Progress
from unfreeze.tasks.bodies import JOINT, Body
from unfreeze.tasks.plans import NO_ENCODER, SMALL_IMAGES, ImagePlan
from unfreeze.transfer.policies import LayerGroups
from unfreeze.vision.store import ImageStore
from unfreeze.vision.transforms import Augmentation, Fit, ImageTransform

SCRATCH_SIZE = 64
"""Side of the squares if neither settings nor an encoder say it."""


def make_encoder(plan: ImagePlan, usual_resize: Fit | None = None, least_size: int = 0) -> ImageEncoder:
    """The encoder of the plan, pre-trained or with random weights, which makes squares as the settings say.

    Args:
        usual_resize: what happens to images that are no squares, unless the settings say it; None leaves it to the encoder.
        least_size: smallest side of the squares in pixels, unless the settings say it.

    Raises:
        UserError: the encoder cannot be read, or has fewer stages than are to be trained.
    """
    fit = plan.resize or usual_resize
    if plan.encoder == NO_ENCODER:
        size = plan.image_size or max(SCRATCH_SIZE, least_size)
        transform = ImageTransform(size=size, fit=fit or "crop")
        stem = plan.stem or ("small" if size < SMALL_IMAGES else "large")
        return ConvNet(transform, width=plan.width, depths=plan.depths, block=plan.block, stem=stem)
    encoder = ImageEncoder.from_pretrained(plan.encoder)
    n_groups = len(encoder.layer_groups())
    if plan.unfreeze is not None and plan.unfreeze > n_groups:
        raise UserError(
            f"{setting('unfreeze')} must be at most {n_groups}, the stages of {plan.encoder} and the layers before them, not "
            f"{plan.unfreeze}"
        )
    own = encoder.processor
    size = plan.image_size or max(own.size, least_size)
    encoder.processor = replace(own, size=size, fit=fit or own.fit)
    return encoder


def augmentation_of(plan: ImagePlan) -> Augmentation:
    """The random views of the settings."""
    return Augmentation(area=(plan.crop_area, 1.0), flip=0.5 if plan.flip else 0.0, jitter=plan.jitter)


def read_once(
    images: Sequence[Any],
    transform: ImageTransform,
    augmentation: Augmentation | None = None,
    progress: Progress = SILENT,
) -> ImageStore:
    """Read images whose squares are made again in every epoch.

    Args:
        augmentation: of training images, which are kept so large that the smallest random crop is still as sharp as the square.
    """
    smallest = 1.0 if augmentation is None else augmentation.area[0]
    at_least = math.ceil(transform.at_least / math.sqrt(smallest))
    return ImageStore(images, at_least=at_least, progress=progress)


class PooledMaps(Body):
    """The mean of the top feature map."""

    encoder: ImageEncoder
    network, noun = "images", "image"
    usual_head = "linear"

    def __init__(self, encoder: ImageEncoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.widths = {JOINT: encoder.widths[-1]}

    def length(self, one: Any) -> int:
        """The same for all images."""
        return self.encoder.input_size(one)

    def forward(self, inputs: Sequence[Any]) -> dict[str, Tensor]:
        """B images -> (B, D)."""
        return self.pooled(self.encoder.maps(self.encoder.prepare(inputs))[-1])

    @staticmethod
    def pooled(top: Tensor) -> dict[str, Tensor]:
        """The top feature map (B, D, H, W) -> (B, D)."""
        return {JOINT: top.float().mean((2, 3))}

    def layer_groups(self) -> LayerGroups:
        """The layer groups of the encoder; nothing is new to the task."""
        return [*self.encoder.layer_groups(), []]
