"""Training of a locator: random views that keep the boxes in sight, and features of a frozen encoder, computed once.

A training image is seen through another view in each epoch (a random crop around all of its boxes, mirrored or not), which is a pure
function of the seed, the epoch and the number of the image. Where the encoder is frozen, its feature maps of a few views of each
image are computed once, and the epochs take turns on these views.

Legend: I images, V views of each, B batch, D channels, H and W height and width of a map, S side of the square.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unfreeze.display import counted
from unfreeze.encoders.base import evaluating
from unfreeze.errors import Notice, setting
from unfreeze.folders import writing
from unfreeze.progress import SILENT, Progress
from unfreeze.tasks.average_precision import Located
from unfreeze.tasks.detection import n_unassigned, places_of
from unfreeze.tasks.image_inputs import augmentation_of, make_encoder
from unfreeze.tasks.located_images import LocatedImages, box_count
from unfreeze.tasks.locator_network import Found, LocatorNetwork
from unfreeze.tasks.locator_report import LocatorReport, make_report, mean_box_of, usual_label_of
from unfreeze.tasks.plans import LocatorPlan
from unfreeze.training.memory_check import planned_within_memory
from unfreeze.training.objective import Loss, SeparateExamples
from unfreeze.vision.annotations import BoxSet
from unfreeze.vision.boxes import clipped, to_center
from unfreeze.vision.images import LoadedImage
from unfreeze.vision.random_views import RandomViews
from unfreeze.vision.transforms import Augmentation, View

if TYPE_CHECKING:
    from accelerate import Accelerator

logger = logging.getLogger(__name__)

LEAST_SIZE = 128
"""Smallest side of the square, in pixels, unless the settings say it: objects are small parts of an image."""
CHANNELS = {"one": 32, "several": 64}
"""Channels of the head, by the boxes in an image."""
STAGES = 2
"""Stages of the encoder, from the top, whose feature maps are read, unless the settings say it or there are fewer."""
MOST_VIEWS = 8
"""Largest number of views of an image whose features are computed once."""
CACHE_BYTES = 512 * 2**20
"""Features of several views are computed only as far as they fit into this much memory; those of one view that do not are in a
temporary file."""
FEATURE_BATCH = 32
"""Images whose features are computed together."""


class ViewFeatures:
    """What the head of a network reads of images, in another view in each epoch, and the boxes in that view.

    Args:
        augmentation: the random views, after the plain view in epoch 0; None always shows the plain one.
        seed: of the random views.
    """

    def __init__(
        self,
        network: LocatorNetwork,
        data: LocatedImages,
        augmentation: Augmentation | None = None,
        seed: int = 0,
    ) -> None:
        self.network, self.data = network, data
        keep = [each.boxes for each in data.true]
        transform = network.encoder.processor
        self.views = RandomViews(data.images, data.sizes, transform, augmentation, keep=keep, seed=seed)
        self.once: list[NDArray[np.float32]] = []
        """For each map that the head reads (I, V, D, H, W), if they are computed once; else empty."""
        self.n_views = 1

    def view(self, number: int, draw: int) -> View:
        """A view of an image that shows all of its boxes; draw 0 is the plain one."""
        return self.views.view(number, draw)

    def read(self, numbers: Sequence[int], epoch: int) -> tuple[list[Tensor], list[View]]:
        """Features of these images, (B, D, H, W) of each map, and the views that they show."""
        if not self.once:
            return self._compute([(number, epoch) for number in numbers])
        if not numbers:
            return [torch.from_numpy(each[:0, 0]).to(self.network.encoder.device) for each in self.once], []
        chosen = [(number, (number + epoch) % self.n_views) for number in numbers]
        rows, draws = (list(each) for each in zip(*chosen, strict=True))
        device = self.network.encoder.device
        features = [torch.from_numpy(each[rows, draws]).to(device) for each in self.once]
        return features, [self.view(*each) for each in chosen]

    def _compute(self, chosen: Sequence[tuple[int, int]]) -> tuple[list[Tensor], list[View]]:
        """Features of images in the views of these draws."""
        pixels, views = self.views.squares(chosen)
        return self.network.features(self.network.encoder.batch_of(pixels)), views

    def targets(self, numbers: Sequence[int], views: Sequence[View]) -> tuple[list[Tensor], list[Tensor]]:
        """The boxes of these images in pixels of the square, (N, 4) of each, and their labels."""
        device, boxes, labels = self.network.encoder.device, [], []
        for number, view in zip(numbers, views, strict=True):
            true = self.data.true[number]
            inside = clipped(view.to_view(true.boxes), view.size, view.size)
            boxes.append(torch.from_numpy(inside).float().to(device))
            labels.append(torch.from_numpy(true.labels).to(device))
        return boxes, labels

    def mean_center_size(self) -> list[float]:
        """The mean over all boxes, center and size as fractions of the plain view."""
        every = [np.zeros((0, 4))]
        for number, true in enumerate(self.data.true):
            view = self.view(number, 0)
            every.append(to_center(view.to_view(true.boxes), view.size, view.size))
        return [float(side) for side in np.concatenate(every).mean(0)]

    def warn_of_small_boxes(self) -> None:
        """Say how many boxes are too small for the places of the feature maps, so that a head of several boxes cannot learn them."""
        encoder, stages = self.network.encoder, self.network.stages
        size, strides = encoder.processor.size, encoder.strides()[-stages:]
        places = places_of([(-(-size // stride),) * 2 for stride in strides], size)
        missed = total = 0
        for number, true in enumerate(self.data.true):
            boxes = torch.from_numpy(self.view(number, 0).to_view(true.boxes)).float()
            missed, total = missed + n_unassigned(places, boxes), total + len(boxes)
        if missed:
            logger.warning(
                Notice(
                    f"{missed} of {counted(total, 'box')} are too small or too close to others to be learned: the finest map that is "
                    f"read has a place every {strides[0]} of {size} pixels; raise {setting('image_size')} or {setting('stages')}"
                )
            )

    @torch.no_grad()
    def compute_once(
        self,
        number_format: Callable[[], AbstractContextManager[object]] = nullcontext,
        progress: Progress = SILENT,
    ) -> None:
        """Compute the features of each image in as many views as fit into memory; `read` then takes turns on them.

        Raises:
            CannotWrite: one view of each does not fit, and the folder of temporary files (TMPDIR) has no room for it either.
        """
        n_images = len(self.data.true)
        with evaluating(self.network), number_format(), tempfile.TemporaryFile() as file:
            first, _ = self._compute([(0, 0)])
            n_bytes = sum(4 * each[0].numel() for each in first) * n_images
            n_views = (
                1 if self.views.augmentation is None else max(1, min(MOST_VIEWS, CACHE_BYTES // n_bytes))
            )
            offset, found, in_memory = 0, [], n_bytes * n_views <= CACHE_BYTES
            if not in_memory and hasattr(os, "posix_fallocate"):
                # A mapped file whose pages find no room on the disk would end the process by a signal, without a message.
                with writing(Path(tempfile.gettempdir())):
                    os.posix_fallocate(file.fileno(), 0, n_bytes)
            for each in first:
                shape = (n_images, n_views, *each.shape[1:])
                if in_memory:
                    found.append(np.empty(shape, dtype=np.float32))
                else:  # the file is removed with the last array that is mapped to it
                    found.append(np.memmap(file, np.float32, "r+" if offset else "w+", offset, shape))
                offset += found[-1].nbytes
            chosen = [(number, draw) for number in range(n_images) for draw in range(n_views)]
            with progress.bar("features", total=len(chosen), unit="view") as bar:
                for start in range(0, len(chosen), FEATURE_BATCH):
                    part = chosen[start : start + FEATURE_BATCH]
                    rows, draws = (list(each) for each in zip(*part, strict=True))
                    for array, computed in zip(found, self._compute(part)[0], strict=True):
                        array[rows, draws] = computed.float().cpu().numpy()
                    bar.advance(len(part))
        self.once, self.n_views = found, n_views


def located(found: Found, view: View, size: tuple[int, int]) -> Located:
    """The boxes that were found in a view, in pixels of the image, whose width and height is `size`."""
    boxes = clipped(view.to_image(found.boxes.double().cpu().numpy()), *size)
    return Located(boxes, found.labels.cpu().numpy(), found.scores.double().cpu().numpy())


@torch.no_grad()
def locate(network: LocatorNetwork, images: Sequence[LoadedImage], **options: Any) -> list[Located]:
    """The boxes in each image, in evaluation mode; `options` are those of `LocatorNetwork.locate`."""
    results, encoder = [], network.encoder
    with evaluating(network):
        for start in range(0, len(images), FEATURE_BATCH):
            part = images[start : start + FEATURE_BATCH]
            pixels, views = encoder.processor.squares(part)
            found = network.locate(network.features(encoder.batch_of(pixels)), **options)
            for each, view, image in zip(found, views, part, strict=True):
                results.append(located(each, view, image.size))
    return results


class LocatingObjective(SeparateExamples):
    """The objective of a locator for the training loop.

    Args:
        network: trained in place.
        train: the training images in their random views.
        epochs: of the training; None if time limits it.
        giou_from: fraction of the epochs after which the loss of one box is generalized IoU.
        validation: images to measure on after each epoch.
        report: measures the boxes found in the validation images.
    """

    def __init__(
        self,
        network: LocatorNetwork,
        train: ViewFeatures,
        *,
        epochs: int | None,
        giou_from: float = 0.5,
        batch_size: int = 16,
        validation: ViewFeatures | None = None,
        report: Callable[[Sequence[Located]], LocatorReport] | None = None,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        lengths = [1] * len(train.data.true)
        super().__init__(network, lengths, batch_size=batch_size, seed=seed, rank=rank, world_size=world_size)
        self.network, self.train = network, train
        self.epochs, self.giou_from = epochs, giou_from
        self.validation, self.report = validation, report
        self.baseline_score: float | None = None
        """The score of the mean box on the validation images, once it was measured."""

    def batches(self, epoch: int, start: int) -> Iterator[tuple[int, list[int]]]:
        """The epoch, which determines the views, and the indices of the images of this process, batch by batch."""
        for numbers in super().batches(epoch, start):
            yield epoch, numbers

    def giou_share(self, epoch: int) -> float:
        """The share of generalized IoU in the loss of one box: all or nothing, or half if the number of epochs is unknown."""
        return 0.5 if self.epochs is None else float(epoch >= self.giou_from * self.epochs)

    def loss(self, batch: tuple[int, list[int]]) -> Loss:
        """Loss of this process's part of a batch."""
        epoch, numbers = batch
        features, views = self.train.read(numbers, epoch)
        boxes, labels = self.train.targets(numbers, views)
        loss = self.network.loss(features, boxes, labels, giou=self.giou_share(epoch))
        return Loss(loss, len(numbers))

    def validate(self) -> dict[str, float]:
        """Loss (of one box that of generalized IoU) and measures on the validation images."""
        if self.validation is None:
            return {}
        assert self.report is not None
        sizes, found, total = self.validation.data.sizes, [], 0.0
        for start in range(0, len(sizes), FEATURE_BATCH):
            numbers = range(start, min(start + FEATURE_BATCH, len(sizes)))
            features, views = self.validation.read(numbers, 0)
            boxes, labels = self.validation.targets(numbers, views)
            total += float(self.network.loss(features, boxes, labels, giou=1.0))
            results = self.network.locate(features)
            for number, each, view in zip(numbers, results, views, strict=True):
                found.append(located(each, view, sizes[number]))
        report = self.report(found)
        self.baseline_score = report.baseline_score
        return {"loss": total / len(sizes), **report.metrics(), "score": report.score}


@planned_within_memory
def make_network(train_set: BoxSet, plan: LocatorPlan) -> tuple[LocatorNetwork, dict[str, Any]]:
    """A network to train on images with the boxes that are to be found, and its arguments, which config.json keeps under "settings".

    Raises:
        UserError: the encoder cannot be read, or has fewer stages than the plan wants.
    """
    count = box_count(plan, train_set)
    encoder = make_encoder(plan, "stretch", LEAST_SIZE)
    arguments: dict[str, Any] = {
        "boxes": count,
        "stages": plan.stages or min(STAGES, len(encoder.widths)),
        "channels": plan.channels or CHANNELS[count],
    }
    return LocatorNetwork(encoder, len(train_set.label_names), **arguments), arguments


def make_objective(
    network: LocatorNetwork,
    train_set: BoxSet,
    plan: LocatorPlan,
    accelerator: Accelerator,
    validation: BoxSet | None = None,
    *,
    epochs: int | None = None,
    progress: Progress = SILENT,
) -> LocatingObjective:
    """Read the images, and compute their features where the encoder is frozen, for training.

    Args:
        epochs: of the training; None if something else limits it.

    Raises:
        UserError: an image cannot be read.
    """
    names, transform, is_one = train_set.label_names, network.encoder.processor, network.boxes == "one"
    augmentation = augmentation_of(plan)
    data = LocatedImages.of(train_set, names, transform, progress, augmentation=augmentation)
    train, held_out, report = ViewFeatures(network, data, augmentation, plan.seed), None, None
    if is_one:
        network.start_from(train.mean_center_size())
    else:
        train.warn_of_small_boxes()
    if validation is not None:
        held_out = ViewFeatures(network, LocatedImages.of(validation, names, transform, progress))
        report = partial(
            make_report,
            held_out.data.true,
            sizes=held_out.data.sizes,
            names=names,
            is_one=is_one,
            mean_box=mean_box_of(data.true, data.sizes),
            usual_label=usual_label_of(data.true),
        )
    if plan.mode == "frozen":
        for each in (train, held_out):
            if each is not None:
                each.compute_once(accelerator.autocast, progress)
    return LocatingObjective(
        network,
        train,
        epochs=epochs,
        giou_from=plan.giou_from,
        batch_size=plan.batch_size,
        validation=held_out,
        report=report,
        seed=plan.seed,
        rank=accelerator.process_index,
        world_size=accelerator.num_processes,
    )
