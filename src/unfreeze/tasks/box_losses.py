"""Boxes as tensors, and the losses that compare them: IoU, generalized IoU, and smooth L1 of center and size.

A box is `left, top, right, bottom` in continuous coordinates, so its width is `right - left`. `unfreeze.vision.boxes` has the
same geometry in NumPy, for files and for metrics; here are the functions that need gradients.

Generalized IoU (Rezatofighi et al. 2019, https://arxiv.org/abs/1902.09630, algorithm 1) also has a gradient for boxes that do
not overlap, where IoU is 0 whatever their distance:

    GIoU = IoU - (C - U) / C        from -1 to 1; C is the area of the smallest box around both, U that of their union

Legend: N and M boxes, ... any leading dimensions.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

EPSILON = 1e-9
"""Smallest area to divide by, so that two boxes without area have IoU 0."""


def box_areas(boxes: Tensor) -> Tensor:
    """(..., 4) -> (...); 0 for a box whose right side is left of its left one."""
    sizes = (boxes[..., 2:] - boxes[..., :2]).clamp_min(0)
    return sizes[..., 0] * sizes[..., 1]


def _intersections(a: Tensor, b: Tensor) -> Tensor:
    sizes = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp_min(0)
    return sizes[..., 0] * sizes[..., 1]


def paired_iou(a: Tensor, b: Tensor) -> Tensor:
    """IoU of each box with the one at the same place: (..., 4) and (..., 4) that broadcast -> (...)."""
    shared = _intersections(a, b)
    return shared / (box_areas(a) + box_areas(b) - shared).clamp_min(EPSILON)


def iou_matrix(a: Tensor, b: Tensor) -> Tensor:
    """IoU of every box with every other: (..., N, 4) and (..., M, 4) -> (..., N, M)."""
    return paired_iou(a[..., :, None, :], b[..., None, :, :])


def generalized_iou(a: Tensor, b: Tensor) -> Tensor:
    """GIoU of each box with the one at the same place: (..., 4) and (..., 4) -> (...), from -1 to 1."""
    shared = _intersections(a, b)
    union = box_areas(a) + box_areas(b) - shared
    corners = torch.minimum(a[..., :2], b[..., :2]), torch.maximum(a[..., 2:], b[..., 2:])
    around = box_areas(torch.cat(corners, -1))
    return shared / union.clamp_min(EPSILON) - (around - union) / around.clamp_min(EPSILON)


def giou_loss(found: Tensor, wanted: Tensor) -> Tensor:
    """1 - GIoU: (..., 4) and (..., 4) -> (...), from 0 to 2."""
    return 1 - generalized_iou(found, wanted)


def center_size_loss(found: Tensor, wanted: Tensor, beta: float = 0.1) -> Tensor:
    """Smooth L1 (Girshick 2015, equation 3), summed over center and size: (..., 4) and (..., 4) -> (...).

    Args:
        found, wanted: center x, center y, width and height as fractions of the image (`center_sizes`).
        beta: below this difference the loss is quadratic. 0.1 of the image is the scale on which the first guesses err;
            the 1 of the paper is for differences in units of an anchor's size.
    """
    return F.smooth_l1_loss(found, wanted, beta=beta, reduction="none").sum(-1)


def center_sizes(boxes: Tensor) -> Tensor:
    """left, top, right, bottom -> center x, center y, width, height: (..., 4)."""
    first, last = boxes[..., :2], boxes[..., 2:]
    return torch.cat([(first + last) / 2, last - first], -1)


def corners_of(boxes: Tensor) -> Tensor:
    """center x, center y, width, height -> left, top, right, bottom: (..., 4)."""
    centers, halves = boxes[..., :2], boxes[..., 2:] / 2
    return torch.cat([centers - halves, centers + halves], -1)
