"""The geometry of boxes, against areas that are counted pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unfreeze.errors import UserError
from unfreeze.vision.boxes import Boxes, areas, as_boxes, clipped, from_center, iou_matrix, to_center

SIDE = 12


@st.composite
def whole_boxes(draw: st.DrawFn) -> Boxes:
    """Boxes on whole pixels of a small image; some of them have no area."""
    edges = st.tuples(st.integers(0, SIDE), st.integers(0, SIDE)).map(sorted)
    found = draw(st.lists(st.tuples(edges, edges), min_size=1, max_size=4))
    return np.array([[x[0], y[0], x[1], y[1]] for x, y in found], dtype=np.float64)


def painted(box: np.ndarray) -> np.ndarray:
    image = np.zeros((SIDE, SIDE), dtype=bool)
    left, top, right, bottom = box.astype(int)
    image[top:bottom, left:right] = True
    return image


@given(whole_boxes(), whole_boxes())
def test_areas_and_iou_are_those_of_painted_boxes(first: Boxes, second: Boxes) -> None:
    ones, others = [painted(box) for box in first], [painted(box) for box in second]
    np.testing.assert_array_equal(areas(first), [image.sum() for image in ones])
    expected = [[(a & b).sum() / max(1, (a | b).sum()) for b in others] for a in ones]
    np.testing.assert_allclose(iou_matrix(first, second), expected, rtol=1e-12)


@given(whole_boxes(), st.integers(1, SIDE), st.integers(1, SIDE))
def test_clipping_keeps_the_part_inside(boxes: Boxes, width: int, height: int) -> None:
    inside = np.zeros((SIDE, SIDE), dtype=bool)
    inside[:height, :width] = True
    expected = [(painted(box) & inside).sum() for box in boxes]
    np.testing.assert_array_equal(areas(clipped(boxes, width, height)), expected)


@given(whole_boxes(), st.floats(1, 5000), st.floats(1, 5000))
def test_center_and_size(boxes: Boxes, width: float, height: float) -> None:
    values = to_center(boxes, width, height)
    np.testing.assert_allclose(from_center(values, width, height), boxes, atol=1e-9)
    np.testing.assert_allclose(values[:, 2] * values[:, 3] * width * height, areas(boxes), atol=1e-9)
    assert to_center(np.array([[0.0, 0, width, height]]), width, height).tolist() == [[0.5, 0.5, 1, 1]]


def test_what_is_no_box_is_refused() -> None:
    assert as_boxes([]).shape == (0, 4)
    assert as_boxes([1, 2, 3, 4]).shape == (1, 4)
    for wrong in ([1, 2, 3], [[1, 2, 3]], [[1, 2, 3, np.nan]], "box", [["a"] * 4], None, [[[1, 2, 3, 4]]]):
        with pytest.raises(UserError, match=r"y\[3\]: "):
            as_boxes(wrong, "y[3]")
