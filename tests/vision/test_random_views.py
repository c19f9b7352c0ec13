"""Views of training images: the same in any batch, other ones in each draw, and boxes that stay in sight."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unfreeze.vision.images import load_image
from unfreeze.vision.random_views import RandomViews
from unfreeze.vision.transforms import Augmentation, ImageTransform

RANDOM = np.random.default_rng(0)
IMAGES = [
    load_image(RANDOM.integers(0, 256, (*side, 3)).astype(np.uint8))
    for side in [(20, 20), (12, 30), (40, 16)]
]
BOXES = [np.array([[4.0, 4.0, 10.0, 12.0]]), np.zeros((0, 4)), np.array([[0.0, 30.0, 16.0, 40.0]])]


def views(augmentation: Augmentation | None, seed: int = 0) -> RandomViews:
    sizes = [image.size for image in IMAGES]
    return RandomViews(IMAGES, sizes, ImageTransform(size=8), augmentation, keep=BOXES, seed=seed)


@settings(max_examples=25, deadline=None)
@given(chosen=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 5)), max_size=6))
def test_a_view_does_not_depend_on_the_rest_of_the_batch(chosen: list[tuple[int, int]]) -> None:
    made = views(Augmentation(jitter=0.3))
    pixels, found = made.squares(chosen)
    assert pixels.shape == (len(chosen), 8, 8, 3)
    for row, one in enumerate(chosen):
        alone, (view,) = made.squares([one])
        assert view == found[row] and np.array_equal(alone[0], pixels[row])


def test_draws_seeds_and_images_differ_and_draw_0_is_plain() -> None:
    transform = ImageTransform(size=8)
    for augmentation in (None, Augmentation(jitter=0.3)):
        pixels, _ = views(augmentation).squares([(0, 0), (1, 0)])
        assert np.array_equal(pixels, transform.squares(IMAGES[:2])[0])
    assert views(None).view(0, 3) == transform.view(20, 20)
    made = views(Augmentation())
    different = {
        str(each) for each in [made.view(0, 1), made.view(0, 2), views(Augmentation(), 1).view(0, 1)]
    }
    assert len(different) == 3


@pytest.mark.parametrize("number", [0, 2])
def test_boxes_stay_in_sight(number: int) -> None:
    made = views(Augmentation(area=(0.1, 0.2)))
    for draw in range(1, 50):
        left, top, right, bottom = made.view(number, draw).source
        box = BOXES[number][0]
        assert left <= box[0] and top <= box[1] and right >= box[2] and bottom >= box[3]


def test_colors_are_those_of_the_draw() -> None:
    plain, jittered = (views(Augmentation(jitter=jitter)) for jitter in (0.0, 0.5))
    assert plain.view(0, 1) == jittered.view(0, 1)
    assert not np.array_equal(plain.squares([(0, 1)])[0], jittered.squares([(0, 1)])[0])
