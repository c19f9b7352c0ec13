"""The mathematics of the anchor-free head against loops that follow the paper place by place and box by box."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from torch import Tensor

from tests.tasks.test_box_losses import boxes_of
from unfreeze.tasks.box_losses import paired_iou
from unfreeze.tasks.detection import (
    LARGEST_OF_MAP,
    RADIUS,
    Detections,
    FcosHead,
    assign,
    best_boxes,
    centerness_of,
    detection_loss,
    distances_to,
    focal_loss,
    n_unassigned,
    places_of,
    suppress,
)

SIZE, SHAPES = 32, [(8, 8), (4, 4)]  # strides of 4 and 8 pixels


def assigned_by_loops(boxes: list[list[float]]) -> list[int]:
    """The number of the box of each place, or -1."""
    found = []
    for level, (height, width) in enumerate(SHAPES):
        stride = SIZE / width
        for row in range(height):
            for column in range(width):
                x, y = (column + 0.5) * stride, (row + 0.5) * stride
                chosen, smallest = -1, math.inf
                for number, (left, top, right, bottom) in enumerate(boxes):
                    sides = [x - left, y - top, right - x, bottom - y]
                    middle_x, middle_y = (left + right) / 2, (top + bottom) / 2
                    near = max(abs(x - middle_x), abs(y - middle_y)) <= RADIUS * stride
                    if level == 0:
                        fits = max(sides) <= LARGEST_OF_MAP * 4
                    else:
                        fits = max(sides) >= LARGEST_OF_MAP * 4
                    area = (right - left) * (bottom - top)
                    if min(sides) > 0 and near and fits and area < smallest:
                        chosen, smallest = number, area
                found.append(chosen)
    return found


@given(st.integers(0, 1_000), st.integers(0, 6))
@settings(max_examples=40, deadline=None)
def test_places_belong_to_the_boxes_of_the_paper(seed: int, count: int) -> None:
    boxes = (boxes_of(count, seed) * SIZE * 1.2).float()
    labels, own = assign(places_of(SHAPES, SIZE), boxes, torch.arange(count))
    wanted = torch.tensor(assigned_by_loops(boxes.tolist()))
    assert torch.equal(labels, wanted)
    for place, number in enumerate(wanted.tolist()):
        assert torch.equal(own[place], boxes[number] if number >= 0 else torch.zeros(4))


def test_boxes_without_a_place_are_counted() -> None:
    boxes = torch.tensor([[4.0, 4, 14, 14], [2.3, 2.3, 3.1, 3.1], [2.2, 2.2, 3.2, 3.2]])
    assert (
        n_unassigned(places_of(SHAPES, SIZE), boxes) == 2
    )  # they lie between the places at 2 and at 6 pixels
    assert n_unassigned(places_of(SHAPES, SIZE), boxes[:0]) == 0


def test_centerness_by_hand() -> None:
    box = torch.tensor([0.0, 0, 8, 4])
    places = torch.tensor([[4.0, 2], [2, 2], [2, 1], [0, 2], [9, 2]])
    found = centerness_of(distances_to(places, box))
    assert found.tolist() == pytest.approx([1, math.sqrt(1 / 3), 1 / 3, 0, 0])


def test_focal_loss_by_the_formula() -> None:
    generator = np.random.default_rng(0)
    logits, targets = generator.normal(0, 3, (20, 3)), generator.integers(0, 2, (20, 3))
    p = 1 / (1 + np.exp(-logits))
    wanted = np.where(targets == 1, -0.25 * (1 - p) ** 2 * np.log(p), -(1 - 0.25) * p**2 * np.log(1 - p))
    found = focal_loss(torch.from_numpy(logits), torch.from_numpy(targets).double())
    np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-9)
    plain = focal_loss(torch.from_numpy(logits), torch.from_numpy(targets).double(), alpha=0.5, gamma=0)
    torch.testing.assert_close(  # without focus it is half the cross-entropy
        2 * plain.sum(),
        torch.nn.functional.binary_cross_entropy_with_logits(
            torch.from_numpy(logits), torch.from_numpy(targets).double(), reduction="sum"
        ),
    )


def suppressed_by_a_loop(
    boxes: Tensor, scores: NDArray[np.float64], labels: Tensor, overlap: float
) -> list[int]:
    left: list[int] = []
    for number in np.argsort(-scores, kind="stable").tolist():
        rivals = [other for other in left if labels[other] == labels[number]]
        if all(paired_iou(boxes[other], boxes[number]) <= overlap for other in rivals):
            left.append(number)
    return left


@given(
    st.integers(0, 40).flatmap(lambda n: arrays(np.int64, n, elements=st.integers(0, 5))),
    st.integers(0, 1_000),
    st.sampled_from([0.0, 0.3, 0.6]),
)
@settings(max_examples=40, deadline=None)
def test_suppression_is_that_of_the_loop(scores: NDArray[np.int64], seed: int, overlap: float) -> None:
    """Boxes near a few places, equal scores among them."""
    generator = np.random.default_rng(seed)
    corners = generator.integers(0, 3, (len(scores), 2)) * 4 + generator.normal(0, 1, (len(scores), 2))
    boxes = torch.from_numpy(np.concatenate([corners, corners + generator.uniform(3, 8, corners.shape)], 1))
    labels = torch.from_numpy(generator.integers(0, 2, len(scores)))
    found = suppress(boxes, torch.from_numpy(scores / 5), labels, overlap)
    assert found.tolist() == suppressed_by_a_loop(boxes, scores / 5, labels, overlap)


def sure_of(boxes: Tensor, labels: Tensor, n_labels: int = 2) -> Detections:
    """What a perfect head says about an image with these boxes."""
    places = places_of(SHAPES, SIZE)
    own, target = assign(places, boxes, labels)
    logits = torch.full((len(own), n_labels), -12.0)
    logits[own >= 0, own[own >= 0]] = 12.0
    centerness = torch.logit(centerness_of(distances_to(places.centers, target)), eps=1e-6)
    return Detections(logits[None], centerness[None], target[None], places)


def test_perfect_predictions_give_the_boxes_and_hardly_any_loss() -> None:
    boxes = torch.tensor([[2.0, 3, 12, 14], [15, 1, 31, 30], [14, 16, 26, 29]])
    labels = torch.tensor([0, 1, 0])
    perfect = sure_of(boxes, labels)
    ((found, scores, names),) = best_boxes(perfect, least_score=0.3)
    assert (
        sorted(found.tolist()) == sorted(boxes.tolist()) and scores.tolist() == sorted(scores.tolist())[::-1]
    )
    order = found[:, 0].argsort()
    assert names[order].tolist() == labels[boxes[:, 0].argsort()].tolist()
    loss = detection_loss(perfect, [boxes], [labels])
    moved = Detections(perfect.logits, perfect.centerness, perfect.boxes + 2, perfect.places)
    others = detection_loss(moved, [boxes], [labels])
    # Only the entropy of centerness itself, whose target is no 0 or 1, is left.
    middle = torch.sigmoid(perfect.centerness[0][perfect.logits[0].amax(1) > 0])
    entropy = -(middle * middle.log() + (1 - middle) * (1 - middle).log()).nan_to_num().mean()
    assert float(loss) == pytest.approx(float(entropy), abs=1e-3)
    assert others > loss + 0.1


def loss_by_loops(found: Detections, boxes: list[list[float]], labels: list[int]) -> float:
    """The loss of the first image, place by place after the papers, in float64."""
    logits, centers, predicted = (
        np.asarray(each[0], dtype=np.float64) for each in (found.logits, found.centerness, found.boxes)
    )
    classes = overlaps = weights = entropies = count = 0.0
    owners = assigned_by_loops(boxes)
    xs = [(x + 0.5) * SIZE / w for h, w in SHAPES for _ in range(h) for x in range(w)]
    ys = [(y + 0.5) * SIZE / h for h, w in SHAPES for y in range(h) for _ in range(w)]
    for place, owner in enumerate(owners):
        for label, logit in enumerate(logits[place]):
            p = 1 / (1 + math.exp(-logit))
            if owner >= 0 and labels[owner] == label:
                classes -= 0.25 * (1 - p) ** 2 * math.log(p)
            else:
                classes -= 0.75 * p**2 * math.log(1 - p)
        if owner < 0:
            continue
        left, top, right, bottom = boxes[owner]
        sides = [xs[place] - left, right - xs[place]], [ys[place] - top, bottom - ys[place]]
        middle = math.sqrt(math.prod(min(pair) / max(pair) for pair in sides))
        a, b, c, d = predicted[place]
        shared = max(0, min(right, c) - max(left, a)) * max(0, min(bottom, d) - max(top, b))
        union = (right - left) * (bottom - top) + (c - a) * (d - b) - shared
        around = (max(right, c) - min(left, a)) * (max(bottom, d) - min(top, b))
        overlaps += middle * (1 - shared / union + (around - union) / around)
        weights += middle
        p = 1 / (1 + math.exp(-centers[place]))
        entropies -= middle * math.log(p) + (1 - middle) * math.log(1 - p)
        count += 1
    return (classes + entropies) / max(count, 1) + (overlaps / weights if count else 0)


@given(st.integers(0, 1_000), st.integers(0, 5))
@settings(max_examples=25, deadline=None)
def test_the_loss_of_random_heads_is_that_of_the_loops(seed: int, count: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    places = places_of(SHAPES, SIZE)
    n_places, n_labels = len(places.centers), 3
    corners = places.centers[:, [0, 1, 0, 1]] + torch.rand(n_places, 4, generator=generator) * torch.tensor(
        [-9, -9, 9, 9]
    )
    random = Detections(
        torch.randn(1, n_places, n_labels, generator=generator),
        torch.randn(1, n_places, generator=generator),
        corners[None],
        places,
    )
    boxes = (boxes_of(count, seed) * SIZE * 1.2).float()
    labels = torch.randint(n_labels, (count,), generator=generator)
    wanted = loss_by_loops(random, boxes.tolist(), labels.tolist())
    assert float(detection_loss(random, [boxes], [labels])) == pytest.approx(wanted, rel=1e-5)


def test_the_loss_of_an_image_does_not_depend_on_its_batch() -> None:
    torch.manual_seed(0)
    head = FcosHead([6, 8], 2, size=SIZE, channels=8, depth=1).eval()
    maps = [torch.randn(3, 6, 8, 8), torch.randn(3, 8, 4, 4)]
    boxes = [boxes_of(n, n).float() * SIZE for n in (2, 0, 3)]
    labels = [torch.zeros(len(each), dtype=torch.long) for each in boxes]
    together = detection_loss(head(maps), boxes, labels)
    alone = [
        detection_loss(head([x[n : n + 1] for x in maps]), boxes[n : n + 1], labels[n : n + 1])
        for n in range(3)
    ]
    torch.testing.assert_close(together, torch.stack(alone).sum())
    assert alone[1] > 0  # an image without a box teaches where nothing is


def test_a_head_learns_the_boxes_of_two_images() -> None:
    """Features that tell where the boxes are: after some steps the boxes are found, and nothing else."""
    torch.manual_seed(0)
    boxes = [torch.tensor([[4.0, 4, 14, 14]]), torch.tensor([[16.0, 8, 30, 28], [2.0, 18, 10, 28]])]
    labels = [torch.tensor([0]), torch.tensor([1, 0])]
    maps = [torch.randn(2, 6, 8, 8), torch.randn(2, 8, 4, 4)]
    head = FcosHead([6, 8], 2, size=SIZE, channels=16, depth=1)
    optimizer = torch.optim.AdamW(head.parameters(), lr=0.02)
    for _ in range(80):
        detection_loss(head(maps), boxes, labels).backward()
        optimizer.step()
        optimizer.zero_grad()
    for (found, _, names), true, own in zip(
        best_boxes(head(maps), least_score=0.4), boxes, labels, strict=True
    ):
        assert sorted(names.tolist()) == sorted(own.tolist())
        for box, label in zip(found, names, strict=True):
            assert max(float(paired_iou(box.detach(), each)) for each in true[own == label]) > 0.7
