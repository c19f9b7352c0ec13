"""The network of a locator: feature maps of an encoder -> boxes; one box an image, or several of several classes.

One box: the upper maps of the encoder are brought to one grid of G by G places and concatenated, a 1 x 1 convolution reduces
them to a few channels, and a linear layer on all places gives the center and the size of the box as fractions of the square.
In contrast to a pooled vector, each place has weights of its own, so the features say where something is.

Several boxes: `unfreeze.tasks.detection`, every place predicts a box.

Legend: B batch, D channels of an encoder's map, C of the head, G side of the grid, K labels, M found boxes, S side of the square.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unfreeze.encoders.image_encoder import ImageEncoder, Images
from unfreeze.errors import UserError, setting
from unfreeze.tasks.box_losses import center_size_loss, center_sizes, corners_of, giou_loss
from unfreeze.tasks.detection import FcosHead, best_boxes, detection_loss
from unfreeze.tasks.settings import BoxCount
from unfreeze.transfer.policies import LayerGroups

GRID = 8
"""Largest side of the grid of a regressed box."""
LEAST_SHARE = 0.02
"""Sides of the mean box, and its distance to the edges, are at least this large where the regressor starts from it."""


@dataclass(frozen=True)
class Found:
    """The boxes that were found in an image, from the highest score to the lowest."""

    boxes: Tensor
    """(M, 4) in pixels of the square."""
    scores: Tensor
    """(M,)"""
    labels: Tensor
    """(M,) from 0 to K - 1."""


class BoxRegressor(nn.Module):
    """Features of every place of a grid -> one box, and a label.

    Args:
        width: channels of the features.
        n_labels: K; a single label is not predicted.
        grid: G.
        channels: C.
        dropout: on the features of the places.
    """

    def __init__(
        self, width: int, n_labels: int, *, grid: int = GRID, channels: int = 32, dropout: float = 0.2
    ) -> None:
        super().__init__()
        self.grid, self.n_labels = grid, n_labels
        self.reduce = nn.Conv2d(width, channels, 1)
        self.norm = nn.GroupNorm(1, channels)
        self.dropout = nn.Dropout(dropout)
        self.box = nn.Linear(channels * grid * grid, 4)
        nn.init.normal_(self.box.weight, std=0.001)
        nn.init.zeros_(self.box.bias)
        self.label = nn.Linear(channels * grid * grid, n_labels) if n_labels > 1 else None

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor | None]:
        """(B, D, G, G) -> center and size of the box as fractions of the square, (B, 4), and logits (B, K) of several labels."""
        x = self.dropout(F.relu(self.norm(self.reduce(features)))).flatten(1)
        logits = None if self.label is None else self.label(x).float()
        return torch.sigmoid(self.box(x).float()), logits

    @torch.no_grad()
    def start_from(self, box: Sequence[float]) -> None:
        """Predict this box, center and size as fractions, at the beginning: the mean box of the training images."""
        self.box.bias.copy_(torch.logit(torch.tensor(list(box)), eps=LEAST_SHARE))


class LocatorNetwork(nn.Module):
    """Encoder -> feature maps -> boxes.

    Args:
        n_labels: K.
        boxes: one box an image, or several.
        stages: number of the encoder's stages that the head reads, from the top.
        channels: C; of several boxes a multiple of 8.

    Raises:
        UserError: the encoder has fewer stages.
    """

    head: BoxRegressor | FcosHead

    def __init__(
        self,
        encoder: ImageEncoder,
        n_labels: int,
        *,
        boxes: BoxCount = "one",
        stages: int = 2,
        channels: int = 32,
    ) -> None:
        super().__init__()
        if not 1 <= stages <= len(encoder.widths):
            raise UserError(
                f"{setting('stages')} must be from 1 to {len(encoder.widths)}, the stages of the encoder, not {stages}"
            )
        self.encoder, self.n_labels, self.boxes, self.stages = encoder, n_labels, boxes, stages
        widths, size = encoder.widths[-stages:], encoder.processor.size
        if boxes == "one":
            finest = -(-size // encoder.strides()[-stages])
            self.head = BoxRegressor(sum(widths), n_labels, grid=min(GRID, finest), channels=channels)
        else:
            self.head = FcosHead(widths, n_labels, size=size, channels=channels)

    @property
    def size(self) -> int:
        """S, in pixels."""
        return self.encoder.processor.size

    def layer_groups(self) -> LayerGroups:
        """The layer groups of the encoder, and then the head."""
        return [*self.encoder.layer_groups(), list(self.head.parameters())]

    def features(self, batch: Images) -> list[Tensor]:
        """What the head reads: the upper maps, from the finest to the coarsest; for one box a single one, (B, D, G, G)."""
        maps = self.encoder.maps(batch)[-self.stages :]
        if isinstance(self.head, FcosHead):
            return maps
        return [torch.cat([F.adaptive_avg_pool2d(each, self.head.grid) for each in maps], 1)]

    def start_from(self, center_size: Sequence[float]) -> None:
        """Let the regressor of one box predict this center and size, as fractions of the square, before it is trained."""
        if isinstance(self.head, BoxRegressor):
            self.head.start_from(center_size)

    def loss(
        self, features: Sequence[Tensor], boxes: Sequence[Tensor], labels: Sequence[Tensor], *, giou: float
    ) -> Tensor:
        """The loss of a batch, summed over its images, which may be none: there can be more processes than images in a last batch.

        Args:
            features: as `features` gives them.
            boxes: (N, 4) of each image in pixels of the square.
            labels: (N,) of each image.
            giou: for one box, the share of the loss that is 1 - GIoU; the rest is smooth L1 of center and size.
        """
        if not boxes:  # only takes part in the sums of the batch norms
            return sum((each.sum() for each in features), start=features[0].new_zeros(())) * 0.0
        if isinstance(self.head, FcosHead):
            return detection_loss(self.head(features), boxes, labels)
        found, logits = self.head(features[0])
        wanted = torch.stack([each[0] for each in boxes]) / self.size
        losses = giou * giou_loss(corners_of(found), wanted)
        losses = losses + (1 - giou) * center_size_loss(found, center_sizes(wanted))
        if logits is not None:
            entropies = F.cross_entropy(logits, torch.cat([each[:1] for each in labels]), reduction="none")
            # In units of the entropy of a guess, so that the labels do not outweigh the boxes where there are many.
            losses = losses + entropies / torch.tensor(float(self.n_labels)).log()
        return losses.sum()

    def locate(
        self,
        features: Sequence[Tensor],
        *,
        least_score: float = 0.05,
        overlap: float = 0.6,
        max_boxes: int = 100,
    ) -> list[Found]:
        """The boxes of each image of a batch; keywords are those of `detection.best_boxes`, and do not matter for one box."""
        if isinstance(self.head, FcosHead):
            found = best_boxes(
                self.head(features), least_score=least_score, overlap=overlap, max_boxes=max_boxes
            )
            return [Found(*each) for each in found]
        center_size, logits = self.head(features[0])
        boxes = corners_of(center_size).clamp(0, 1) * self.size
        if logits is None:
            logits = boxes.new_zeros(len(boxes), 1)
        scores, labels = logits.softmax(1).max(1)
        return [
            Found(box[None], score[None], label[None])
            for box, score, label in zip(boxes, scores, labels, strict=True)
        ]

    def own_tensors(self) -> dict[str, Tensor]:
        """The tensors besides those of the encoder."""
        return {name: x for name, x in self.state_dict().items() if not name.startswith("encoder.")}
