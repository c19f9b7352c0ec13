"""Boxes as tensors against loops in float64, counted pixels, and the gradients that GIoU is for."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from unfreeze.tasks.box_losses import (
    box_areas,
    center_size_loss,
    center_sizes,
    corners_of,
    generalized_iou,
    giou_loss,
    iou_matrix,
    paired_iou,
)

SIDE = 24


@st.composite
def whole_boxes(draw: st.DrawFn) -> list[int]:
    left, right = sorted(draw(st.tuples(st.integers(0, SIDE), st.integers(0, SIDE))))
    top, bottom = sorted(draw(st.tuples(st.integers(0, SIDE), st.integers(0, SIDE))))
    return [left, top, right, bottom]


def pixels_of(box: list[int]) -> NDArray[np.bool_]:
    """The box as the pixels that it covers: (SIDE, SIDE)."""
    found = np.zeros((SIDE, SIDE), dtype=bool)
    found[box[1] : box[3], box[0] : box[2]] = True
    return found


def boxes_of(count: int, seed: int) -> Tensor:
    corners = torch.rand(count, 2, 2, dtype=torch.double, generator=torch.Generator().manual_seed(seed))
    return corners.sort(1).values.flatten(1)


def giou_of_two(a: list[float], b: list[float]) -> tuple[float, float]:
    """IoU and GIoU, as algorithm 1 of the paper has it, in Python's floats."""
    area_a, area_b = (a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1])
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    shared = width * height
    union = area_a + area_b - shared
    around = (max(a[2], b[2]) - min(a[0], b[0])) * (max(a[3], b[3]) - min(a[1], b[1]))
    return shared / union, shared / union - (around - union) / around


@given(whole_boxes(), whole_boxes())
def test_areas_are_numbers_of_pixels(a: list[int], b: list[int]) -> None:
    one, other = pixels_of(a), pixels_of(b)
    union = (one | other).sum()
    wanted = (one & other).sum() / union if union else 0.0
    both = torch.tensor([a, b], dtype=torch.double)
    assert box_areas(both).tolist() == [one.sum(), other.sum()]
    assert float(paired_iou(both[0], both[1])) == pytest.approx(wanted, abs=1e-12)
    assert torch.allclose(iou_matrix(both, both)[0, 1], torch.tensor(wanted, dtype=torch.double))


def test_against_two_loops() -> None:
    a, b = boxes_of(30, 0), boxes_of(40, 1)
    wanted = np.array([[giou_of_two(x, y) for y in b.tolist()] for x in a.tolist()])
    np.testing.assert_allclose(iou_matrix(a, b).numpy(), wanted[:, :, 0], rtol=1e-12)
    np.testing.assert_allclose(generalized_iou(a[:, None], b).numpy(), wanted[:, :, 1], rtol=1e-12)
    np.testing.assert_allclose(giou_loss(a[:, None], b).numpy(), 1 - wanted[:, :, 1], rtol=1e-12)


def test_generalized_iou_pulls_boxes_together_that_do_not_overlap() -> None:
    wanted = torch.tensor([6.0, 6, 8, 8])
    box = torch.tensor([0.0, 0, 2, 2], requires_grad=True)
    giou_loss(box, wanted).backward()
    assert box.grad is not None
    assert (box.grad[2:] < 0).all()  # the right and the bottom side have to move towards it
    with torch.no_grad():
        assert paired_iou(box, wanted) == 0
        assert giou_loss(box, wanted) > giou_loss(box + 3, wanted) > giou_loss(box + 6, wanted) == 0


def test_gradients_are_those_of_finite_differences() -> None:
    a, b = boxes_of(12, 2).requires_grad_(), boxes_of(12, 3)
    assert torch.autograd.gradcheck(lambda x: giou_loss(x, b), a)
    assert torch.autograd.gradcheck(lambda x: center_size_loss(center_sizes(x), center_sizes(b)), a)


def test_boxes_without_area_have_finite_values_and_gradients() -> None:
    point = torch.full((1, 4), 3.0, requires_grad=True)
    (giou_loss(point, point.detach()) + paired_iou(point, point.detach())).sum().backward()
    assert point.grad is not None and point.grad.isfinite().all()
    assert paired_iou(point, point) == 0


def test_smooth_l1_of_center_and_size() -> None:
    """Quadratic below beta and linear above, with the same slope where they meet (Girshick 2015, equation 3)."""
    wanted, beta = torch.zeros(4, dtype=torch.double), 0.1
    for differences in ([0.05, -0.02, 0.0, 0.1], [0.3, -0.2, 0.1, 0.01]):
        terms = [0.5 * x * x / beta if abs(x) < beta else abs(x) - 0.5 * beta for x in differences]
        found = center_size_loss(torch.tensor(differences, dtype=torch.double), wanted, beta)
        assert float(found) == pytest.approx(sum(terms))


@given(whole_boxes())
def test_corners_come_back(box: list[int]) -> None:
    given_box = torch.tensor(box, dtype=torch.double)
    assert torch.equal(corners_of(center_sizes(given_box)), given_box)
    x, y, width, height = center_sizes(given_box).tolist()
    assert (x, y) == ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
    assert (width, height) == (box[2] - box[0], box[3] - box[1])
