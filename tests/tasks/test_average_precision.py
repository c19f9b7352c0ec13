"""Average precision against pycocotools, on hand-made and on random boxes."""

from __future__ import annotations

import contextlib
import io
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from unfreeze.tasks.average_precision import Located, Overlap, average_precision


def of_pycocotools(
    true: list[Located], found: list[Located], n_labels: int, max_boxes: int
) -> tuple[list[float], list[float]]:
    """AP, AP50, AP75, and the AP of each label; -1 where there is no true box."""

    def rows(images: list[Located]) -> list[dict[str, object]]:
        return [
            {
                "image_id": number + 1,
                "category_id": int(label) + 1,
                "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
                "area": (box[2] - box[0]) * (box[3] - box[1]),
                "iscrowd": 0,
                **({} if image.scores is None else {"score": float(image.scores[k])}),
            }
            for number, image in enumerate(images)
            for k, (box, label) in enumerate(zip(image.boxes.tolist(), image.labels, strict=True))
        ]

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {
            "images": [{"id": number + 1} for number in range(len(true))],
            "categories": [{"id": label + 1} for label in range(n_labels)],
            "annotations": [{**row, "id": number + 1} for number, row in enumerate(rows(true))],
        }
        truth.createIndex()
        results = COCO()
        results.dataset = {
            **truth.dataset,
            "annotations": [{**row, "id": number + 1} for number, row in enumerate(rows(found))],
        }
        results.createIndex()
        run = COCOeval(truth, results, "bbox")
        run.params.maxDets = [max_boxes]
        run.evaluate()
        run.accumulate()
    precision = run.eval["precision"][:, :, :, 0, 0]  # (T, R, K) of the area range "all"

    def mean(part: np.ndarray) -> float:
        return float(part[part > -1].mean()) if (part > -1).any() else -1.0

    figures = [mean(precision), mean(precision[0]), mean(precision[5])]
    return figures, [mean(precision[:, :, label]) for label in range(n_labels)]


@st.composite
def images(draw: st.DrawFn) -> tuple[list[Located], list[Located], int]:
    """True and found boxes on a coarse grid, so that equal scores, equal boxes and IoUs of exactly a threshold occur."""
    n_labels = draw(st.integers(1, 3))

    def located(scored: bool) -> Located:
        count = draw(st.integers(0, 12))
        corners = draw(arrays(np.int64, (count, 2), elements=st.integers(0, 6)))
        sizes = draw(arrays(np.int64, (count, 2), elements=st.integers(1, 6)))
        labels = draw(arrays(np.int64, count, elements=st.integers(0, n_labels - 1)))
        scores = draw(arrays(np.int64, count, elements=st.integers(0, 5))) / 5 if scored else None
        return Located(np.concatenate([corners, corners + sizes], 1).astype(np.float64), labels, scores)

    count = draw(st.integers(1, 4))
    return [located(False) for _ in range(count)], [located(True) for _ in range(count)], n_labels


def assert_equal(true: list[Located], found: list[Located], n_labels: int, max_boxes: int = 100) -> None:
    own = average_precision(true, found, n_labels, max_boxes=max_boxes)
    figures, by_label = of_pycocotools(true, found, n_labels, max_boxes)
    np.testing.assert_allclose(np.nan_to_num([own.mean, own.at_50, own.at_75], nan=-1), figures, atol=1e-9)
    np.testing.assert_allclose(np.nan_to_num(own.by_label, nan=-1), by_label, atol=1e-9)


@given(images(), st.sampled_from([1, 3, 100]))
@settings(max_examples=60, deadline=None)
def test_equals_pycocotools(drawn: tuple[list[Located], list[Located], int], max_boxes: int) -> None:
    assert_equal(*drawn, max_boxes=max_boxes)


def test_equals_pycocotools_in_crowded_images() -> None:
    """Real-valued boxes, most of them near a true one, and more than 100 of them in an image."""
    generator = np.random.default_rng(0)
    true, found = [], []
    for _ in range(6):
        corners, sizes = generator.uniform(0, 60, (40, 2)), generator.uniform(5, 40, (40, 2))
        boxes, labels = np.concatenate([corners, corners + sizes], 1), generator.integers(0, 3, 40)
        true.append(Located(boxes, labels))
        near = np.tile(boxes, (10, 1)) + generator.normal(0, 2, (400, 4))
        near = np.concatenate([np.minimum(near[:, :2], near[:, 2:]), np.maximum(near[:, :2], near[:, 2:])], 1)
        found.append(Located(near, np.tile(labels, 10), generator.random(400).round(2)))
    assert_equal(true, found, 3)


@given(images(), st.randoms(use_true_random=False))
@settings(max_examples=30, deadline=None)
def test_the_order_of_images_does_not_matter(
    drawn: tuple[list[Located], list[Located], int], random: Random
) -> None:
    """Where no two scores are equal; of equal ones, those of earlier images count first, as in pycocotools."""
    true, found, n_labels = drawn
    ranks = list(range(sum(len(each.boxes) for each in found)))
    random.shuffle(ranks)
    found = [Located(each.boxes, each.labels, np.array([ranks.pop() for _ in each.boxes])) for each in found]
    order = random.sample(range(len(true)), len(true))
    own = average_precision(true, found, n_labels)
    other = average_precision([true[n] for n in order], [found[n] for n in order], n_labels)
    np.testing.assert_allclose([other.mean, *other.by_label], [own.mean, *own.by_label], atol=1e-12)


def test_values_by_hand() -> None:
    truth = [Located(np.array([[0.0, 0, 10, 10]]), np.zeros(1, dtype=np.int64))]
    boxes, labels = np.array([[0.0, 0, 10, 6], [20.0, 20, 30, 30]]), np.zeros(2, dtype=np.int64)
    # The IoU is 0.6: right at 0.50, 0.55 and 0.60, with a wrong box after it, which costs nothing, or before it.
    after = average_precision(truth, [Located(boxes, labels, np.array([0.9, 0.8]))], 1)
    before = average_precision(truth, [Located(boxes, labels, np.array([0.8, 0.9]))], 1)
    assert (after.at_50, after.at_75, after.mean) == pytest.approx((1, 0, 0.3))
    assert (before.at_50, before.at_75, before.mean) == pytest.approx((0.5, 0, 0.15))
    nothing = average_precision(
        [Located(np.zeros((0, 4)), labels[:0])], [Located(boxes, labels, np.ones(2))], 1
    )
    assert np.isnan([nothing.mean, nothing.at_50, *nothing.by_label]).all()


def test_one_box_an_image() -> None:
    found = Overlap.of(np.array([0.2, 0.5, 0.75, 1.0]))
    assert (found.mean_iou, found.share_50, found.share_75) == (0.6125, 0.75, 0.5)
