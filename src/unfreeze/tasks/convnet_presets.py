"""Presets of `pretrain convnet`: functions that return the settings of an image classifier that is trained from scratch."""

from __future__ import annotations

from unfreeze.tasks.settings import ImageClassifierSettings


def tiny() -> ImageClassifierSettings:
    """Trains in seconds on a CPU: for tests and the tour."""
    return ImageClassifierSettings(image_size=32, width=8, depths=(1, 1, 1))


def small() -> ImageClassifierSettings:
    """Learns from images of 32 pixels, such as CIFAR's, in an hour on a CPU."""
    return ImageClassifierSettings(image_size=32, width=32, depths=(2, 2, 2))


def resnet18() -> ImageClassifierSettings:
    """The sizes of ResNet-18 on images of 224 pixels; needs a GPU."""
    return ImageClassifierSettings(image_size=224)


PRESETS = {"tiny": tiny, "small": small, "resnet18": resnet18}
