"""Detection without anchors, in the form of FCOS (Tian et al. 2019, https://arxiv.org/abs/1904.01355).

Every place of a feature map predicts a class, a box as the four distances from the place to its sides, and a centerness, which
is high in the middle of a box and lets the boxes of places near its edge count less:

    centerness = sqrt(min(l, r) / max(l, r) * min(t, b) / max(t, b))                       (equation 3)

In training a place belongs to a box if it lies near the middle of the box (center sampling, section 4.3 of
https://arxiv.org/abs/2006.09214) and, with several maps, if the box is of the size that its map is for; of several boxes it
belongs to the smallest. Classes have the focal loss (Lin et al. 2017), the boxes of places that belong to one 1 - GIoU, weighted by
centerness, and centerness binary cross-entropy. Boxes and places are in pixels of the square that the network sees.

Legend: B batch, P places of all maps, V maps, N true boxes of an image, M found boxes, K labels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unfreeze.tasks.box_losses import box_areas, giou_loss, iou_matrix

RADIUS = 1.5
"""Half the side of the square around the center of a box whose places belong to it, in strides of the map."""
PRIOR = 0.01
"""Probability of each class at every place before training, so that the many empty places do not dominate the loss."""
LARGEST_OF_MAP = 8.0
"""A map is for boxes whose larger distance to a side is up to this many of its strides; the last map is for all larger ones, too."""
ALPHA, GAMMA = 0.25, 2.0
"""Of the focal loss."""
MAX_CANDIDATES = 200
"""Boxes of an image that take part in non-maximum suppression."""


# Places, and the boxes that they belong to


@dataclass(frozen=True)
class Places:
    """The places of all feature maps."""

    centers: Tensor
    """(P, 2): x and y in pixels."""
    strides: Tensor
    """(P,): pixels between the places of the map."""
    ranges: Tensor
    """(P, 2): the smallest and the largest distance from a place to the farthest side of its box."""
    size: int
    """Side of the square in pixels."""


def places_of(shapes: Sequence[tuple[int, int]], size: int, device: torch.device | None = None) -> Places:
    """The places of feature maps of the shapes (H, W), from the finest to the coarsest, over a square of `size` pixels."""
    centers, strides, ranges, smallest = [], [], [], 0.0
    for number, (height, width) in enumerate(shapes):
        y, x = (
            (torch.arange(n, device=device, dtype=torch.float32) + 0.5) * (size / n) for n in (height, width)
        )
        centers.append(torch.stack(torch.meshgrid(x, y, indexing="xy"), -1).flatten(0, 1))
        stride = size / max(height, width)
        largest = math.inf if number == len(shapes) - 1 else LARGEST_OF_MAP * stride
        strides.append(torch.full((height * width,), stride, device=device))
        ranges.append(torch.tensor([smallest, largest], device=device).expand(height * width, 2))
        smallest = largest
    return Places(torch.cat(centers), torch.cat(strides), torch.cat(ranges), size)


def assign(places: Places, boxes: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The box that each place belongs to.

    Args:
        boxes: (N, 4) of one image.
        labels: (N,).

    Returns:
        (P,) labels, -1 for places that belong to no box, and (P, 4) boxes, zeros for those.
    """
    if not len(boxes):
        n_places = len(places.centers)
        return labels.new_full((n_places,), -1), boxes.new_zeros(n_places, 4)
    distances = distances_to(places.centers[:, None], boxes)  # (P, N, 4)
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    near = (places.centers[:, None] - middle).abs().amax(2) <= RADIUS * places.strides[:, None]
    farthest = distances.amax(2)
    fits = (farthest >= places.ranges[:, :1]) & (farthest <= places.ranges[:, 1:])
    areas = box_areas(boxes).masked_fill(~(near & fits & (distances.amin(2) > 0)), math.inf)  # (P, N)
    area, chosen = areas.min(1)
    belongs = area < math.inf
    return labels[chosen].masked_fill(~belongs, -1), boxes[chosen] * belongs[:, None]


def n_unassigned(places: Places, boxes: Tensor) -> int:
    """How many boxes (N, 4) no place belongs to, because they are small, or covered by smaller ones."""
    numbers, _ = assign(places, boxes, torch.arange(len(boxes), device=boxes.device))
    return len(boxes) - len(set(numbers.tolist()) - {-1})


def distances_to(centers: Tensor, boxes: Tensor) -> Tensor:
    """(..., 2) and (..., 4) -> (..., 4): to the left, top, right and bottom side, positive from within the box."""
    return torch.cat([centers - boxes[..., :2], boxes[..., 2:] - centers], -1)


def centerness_of(distances: Tensor) -> Tensor:
    """(..., 4) -> (...): 1 in the middle of a box and 0 at its sides, and outside of it (equation 3)."""
    pairs = torch.stack([distances[..., [0, 2]], distances[..., [1, 3]]], -2).clamp_min(0)
    ratios: Tensor = pairs.amin(-1) / pairs.amax(-1).clamp_min(1e-9)
    return ratios.prod(-1).sqrt()


# The head and its loss


@dataclass(frozen=True)
class Detections:
    """What the head says about every place."""

    logits: Tensor
    """(B, P, K), of each class by itself."""
    centerness: Tensor
    """(B, P) logits."""
    boxes: Tensor
    """(B, P, 4) in pixels."""
    places: Places


class FcosHead(nn.Module):
    """Feature maps -> a class, a centerness and a box for every place.

    The maps are brought to one width and the coarser ones are added to the finer ones (Lin et al. 2017, feature pyramids).
    All maps share two towers of 3 x 3 convolutions with group norm, one for the classes and one for the box and centerness.

    Args:
        widths: channels of the V maps, from the finest to the coarsest.
        n_labels: K.
        size: side of the square that the network sees, in pixels.
        channels: width of the towers, a multiple of 8.
        depth: convolutions of each tower (4 in the paper, for images of 800 pixels).
    """

    def __init__(
        self, widths: Sequence[int], n_labels: int, *, size: int, channels: int = 64, depth: int = 2
    ) -> None:
        super().__init__()
        self.size = size
        self.laterals = nn.ModuleList(nn.Conv2d(width, channels, 1) for width in widths)
        self.class_tower, self.box_tower = (_tower(channels, depth) for _ in range(2))
        self.classes = nn.Conv2d(channels, n_labels, 3, padding=1)
        self.centers = nn.Conv2d(channels, 1, 3, padding=1)
        self.sides = nn.Conv2d(channels, 4, 3, padding=1)
        self.scales = nn.Parameter(torch.ones(len(widths)))
        for last in (self.classes, self.centers, self.sides):
            nn.init.normal_(last.weight, std=0.01)
            nn.init.zeros_(last.bias)  # type: ignore[arg-type]
        nn.init.constant_(self.classes.bias, -math.log((1 - PRIOR) / PRIOR))  # type: ignore[arg-type]

    def forward(self, maps: Sequence[Tensor]) -> Detections:
        """V maps (B, D, H, W), from the finest to the coarsest."""
        levels = [lateral(x) for lateral, x in zip(self.laterals, maps, strict=True)]
        for fine in range(len(levels) - 2, -1, -1):
            larger = F.interpolate(levels[fine + 1], size=levels[fine].shape[-2:], mode="nearest")
            levels[fine] = levels[fine] + larger
        shapes = [(x.shape[2], x.shape[3]) for x in levels]
        places = places_of(shapes, self.size, maps[0].device)
        logits, centerness, distances = [], [], []
        for level, scale in zip(levels, self.scales, strict=True):
            in_box = self.box_tower(level)
            logits.append(_by_place(self.classes(self.class_tower(level))))
            centerness.append(_by_place(self.centers(in_box)))
            # The exponential of the paper; a box twice as large as the square is the largest one.
            distances.append((_by_place(self.sides(in_box)).float() * scale).clamp_max(8.0).exp())
        sides = (torch.cat(distances, 1) * places.strides[:, None]).clamp_max(2.0 * self.size)
        boxes = torch.cat([places.centers - sides[..., :2], places.centers + sides[..., 2:]], -1)
        return Detections(
            torch.cat(logits, 1).float(), torch.cat(centerness, 1).squeeze(2).float(), boxes, places
        )


def _tower(channels: int, depth: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.GroupNorm(8, channels),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers)


def _by_place(x: Tensor) -> Tensor:
    """(B, D, H, W) -> (B, H * W, D)."""
    return x.flatten(2).transpose(1, 2)


def detection_loss(found: Detections, boxes: Sequence[Tensor], labels: Sequence[Tensor]) -> Tensor:
    """Focal loss of the classes, GIoU loss of the boxes and cross-entropy of centerness, summed over the images.

    Each part is divided by the number of places that belong to a box (or, of the GIoU loss, by the sum of their centerness)
    in its own image, so that the loss of an image does not depend on the others in its batch.

    Args:
        boxes, labels: (N, 4) and (N,) of each of the B images.
    """
    total = found.logits.new_zeros(())
    for number, (true, own) in enumerate(zip(boxes, labels, strict=True)):
        wanted, target = assign(found.places, true, own)
        belongs = wanted >= 0
        classes = F.one_hot(wanted.clamp_min(0), found.logits.shape[2]) * belongs[:, None]
        n_belong = belongs.sum().clamp_min(1)
        total = total + focal_loss(found.logits[number], classes.float()).sum() / n_belong
        target, predicted = target[belongs], found.boxes[number][belongs]
        middle = centerness_of(distances_to(found.places.centers[belongs], target))
        losses = giou_loss(predicted, target)
        total = total + (losses * middle).sum() / middle.sum().clamp_min(1e-6)
        entropies = F.binary_cross_entropy_with_logits(
            found.centerness[number][belongs], middle, reduction="sum"
        )
        total = total + entropies / n_belong
    return total


def focal_loss(logits: Tensor, targets: Tensor, alpha: float = ALPHA, gamma: float = GAMMA) -> Tensor:
    """-a (1 - p)^gamma log p of each class by itself, where p is the probability of the target and a is alpha or, for
    targets of 0, 1 - alpha (Lin et al. 2017, equation 5).

    Args:
        logits: (...).
        targets: (...) of 0 and 1.

    Returns:
        (...)
    """
    entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    p = torch.exp(-entropy)
    return (alpha * targets + (1 - alpha) * (1 - targets)) * (1 - p) ** gamma * entropy


# From places to boxes


def best_boxes(
    found: Detections, *, least_score: float = 0.05, overlap: float = 0.6, max_boxes: int = 100
) -> list[tuple[Tensor, Tensor, Tensor]]:
    """The boxes of each image that are left after non-maximum suppression, from the highest score to the lowest.

    Args:
        least_score: the score, the geometric mean of the probability of the class and centerness, is higher.
        overlap: two boxes of a class with a larger IoU are the same object, and the better one is left.
        max_boxes: of each image.

    Returns:
        For each of the B images (M, 4) boxes within the square, (M,) scores and (M,) labels.
    """
    scores = (torch.sigmoid(found.logits) * torch.sigmoid(found.centerness)[..., None]).sqrt()  # (B, P, K)
    n_labels = scores.shape[2]
    results = []
    for row, boxes in zip(scores.flatten(1), found.boxes, strict=True):
        chosen = (row > least_score).nonzero().squeeze(1)
        best = row[chosen].sort(descending=True, stable=True).indices[:MAX_CANDIDATES]
        chosen = chosen[best]
        own, labels = boxes[chosen // n_labels].clamp(0, found.places.size), chosen % n_labels
        kept = suppress(own, row[chosen], labels, overlap)[:max_boxes]
        results.append((own[kept], row[chosen][kept], labels[kept]))
    return results


def suppress(boxes: Tensor, scores: Tensor, labels: Tensor, overlap: float) -> Tensor:
    """Non-maximum suppression within each class: the numbers of the boxes that are left, from the highest score to the lowest.

    A box is left unless a better one that is left has its label and an IoU above `overlap` with it. Instead of box by box,
    this is computed for all at once, and repeated until nothing changes: the first box is settled from the beginning, and each
    repetition settles at least one more, so there are at most M, and in practice three or four.

    Args:
        boxes: (M, 4).
        scores: (M,); of equal ones, the first is the better.
        labels: (M,).
    """
    order = scores.sort(descending=True, stable=True).indices
    same = labels[order][:, None] == labels[order]
    beats = ((iou_matrix(boxes[order], boxes[order]) > overlap) & same).triu(1)  # (better, worse)
    left = torch.ones_like(order, dtype=torch.bool)
    while True:
        now = ~(beats & left[:, None]).any(0)
        if torch.equal(now, left):
            return order[left]
        left = now
