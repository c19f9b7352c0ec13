"""Views move boxes forth and back exactly, and show what the boxes say."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from unfreeze.errors import UserError
from unfreeze.vision.images import load_image
from unfreeze.vision.transforms import PREPROCESSOR, Augmentation, Fit, ImageTransform, View

sides = st.integers(1, 300)
fits = st.sampled_from(["crop", "stretch", "pad"])
transforms = st.builds(
    ImageTransform, size=st.integers(1, 96), fit=fits, crop_fraction=st.sampled_from([0.875, 1.0])
)
augmentations = st.builds(
    Augmentation, area=st.sampled_from([(0.1, 1.0), (1.0, 1.0)]), flip=st.sampled_from([0.0, 1.0])
)
boxes = st.lists(st.tuples(*[st.floats(-100, 400)] * 4), max_size=3).map(
    lambda rows: np.array(rows).reshape(-1, 4)
)


@given(transforms, augmentations, sides, sides, boxes, st.integers(0, 1000))
def test_boxes_come_back(
    transform: ImageTransform,
    augmentation: Augmentation,
    width: int,
    height: int,
    boxes: np.ndarray,
    seed: int,
) -> None:
    random = augmentation.view(transform, width, height, np.random.default_rng(seed))
    for view in (transform.view(width, height), random):
        np.testing.assert_allclose(view.to_image(view.to_view(boxes)), boxes, atol=1e-8)
        assert (view.source[2] > view.source[0]) and (view.source[3] > view.source[1])


@settings(max_examples=60)
@given(fits, st.booleans(), st.integers(0, 10_000))
def test_a_rectangle_ends_up_where_its_box_says(fit: Fit, augmented: bool, seed: int) -> None:
    generator = np.random.default_rng(seed)
    width, height = (int(side) for side in generator.integers(60, 200, 2))
    near, extent = generator.uniform(0, 0.6, 2), generator.uniform(0.2, 0.4, 2)
    box = np.round(np.concatenate([near, near + extent]) * np.array([width, height] * 2))
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    pixels[int(box[1]) : int(box[3]), int(box[0]) : int(box[2])] = 255
    transform = ImageTransform(size=48, fit=fit, mean=(0.0, 0.0, 0.0))
    view = transform.view(width, height)
    if augmented:
        view = Augmentation(area=(0.3, 1.0)).view(transform, width, height, generator, keep=box[None])
    found = view.render(load_image(pixels), transform.fill, transform.resample)[:, :, 0] / 255.0
    left, top, right, bottom = np.clip(view.to_view(box[None])[0], 0, 48)
    # The area, and the position along both axes (the mean over the bright pixels, of which those at the edges are partly bright).
    bright = found.sum()
    expected = (right - left) * (bottom - top)
    assert bright == pytest.approx(expected, rel=0.06, abs=8)
    if expected > 60:
        centers = np.arange(48) + 0.5
        assert (found.sum(0) @ centers) / bright == pytest.approx((left + right) / 2, abs=0.6)
        assert (found.sum(1) @ centers) / bright == pytest.approx((top + bottom) / 2, abs=0.6)


@given(transforms, sides, sides, st.integers(0, 1000))
def test_crops_keep_the_boxes_that_they_must_and_stay_inside(
    transform: ImageTransform, width: int, height: int, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    corners = np.sort(generator.uniform(0, 1, (2, 2, 2)), axis=1) * [width, height]
    keep = corners.reshape(2, 4)
    view = Augmentation(area=(0.05, 0.3)).view(transform, width, height, generator, keep=keep)
    moved = view.to_view(keep)
    assert moved.min() >= -1e-6 and moved.max() <= transform.size + 1e-6
    if transform.fit != "pad":
        assert min(view.source) >= 0 and view.source[2] <= width + 1e-6 and view.source[3] <= height + 1e-6


def test_boxes_that_are_kept_do_not_end_at_the_edges_of_the_crops() -> None:
    transform, generator = ImageTransform(size=32, fit="stretch"), np.random.default_rng(0)
    box, augmentation = np.array([[30.0, 20.0, 70.0, 80.0]]), Augmentation(area=(0.1, 1.0))
    views = [augmentation.view(transform, 100, 100, generator, keep=box) for _ in range(300)]
    moved = np.concatenate([view.to_view(box) for view in views])
    assert ((moved > 0) & (moved < 32)).all()
    margins = np.array([view.source for view in views])[:, 0]
    assert margins.min() < 3 and margins.max() > 27


def test_random_crops_cover_the_range_of_areas_and_are_seeded() -> None:
    transform, augmentation = ImageTransform(size=32), Augmentation(area=(0.25, 1.0), aspect=(1.0, 1.0))

    def drawn(seed: int) -> list[View]:
        generator = np.random.default_rng(seed)
        return [augmentation.view(transform, 100, 100, generator) for _ in range(400)]

    assert drawn(0) == drawn(0) != drawn(1)
    views = drawn(0)
    areas = (
        np.array([(view.source[2] - view.source[0]) * (view.source[3] - view.source[1]) for view in views])
        / 1e4
    )
    assert 0.25 <= areas.min() < 0.3 and 0.95 < areas.max() <= 1
    assert areas.mean() == pytest.approx(0.625, abs=0.05)
    assert np.mean([view.mirrored for view in views]) == pytest.approx(0.5, abs=0.08)


@pytest.mark.parametrize(("fit", "lowest", "highest"), [("crop", 0.5, 2.0), ("stretch", 1.5, 6.0)])
def test_random_crops_keep_the_range_of_aspects(fit: Fit, lowest: float, highest: float) -> None:
    transform, generator = ImageTransform(size=32, fit=fit), np.random.default_rng(0)
    augmentation = Augmentation(area=(0.02, 1.0), aspect=(0.5, 2.0))
    views = [augmentation.view(transform, 300, 100, generator).source for _ in range(400)]
    ratios = np.array([(right - left) / (bottom - top) for left, top, right, bottom in views])
    assert lowest - 1e-9 <= ratios.min() < 1.1 * lowest
    assert 0.9 * highest < ratios.max() <= highest + 1e-9


@pytest.mark.parametrize("fit", ["crop", "stretch", "pad"])
def test_the_squares_are_those_of_pillow(fit: Fit) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (60, 90, 3)).astype(np.uint8)
    transform = ImageTransform(size=30, fit=fit)
    image = Image.fromarray(pixels)
    expected = {
        "crop": image.crop((15, 0, 75, 60)).resize((30, 30), Image.Resampling.BILINEAR),
        "stretch": image.resize((30, 30), Image.Resampling.BILINEAR),
        "pad": image.resize((30, 20), Image.Resampling.BILINEAR),
    }[fit]
    found, view = transform.square(image)
    inner = found[5:25] if fit == "pad" else found
    # Pillow halves the image first, which differs by a rounding and by pixels across the border of a crop.
    assert np.abs(inner.astype(int) - np.asarray(expected).astype(int)).mean() < 12
    smooth = Image.fromarray(np.tile(np.arange(90, dtype=np.uint8)[None, :, None], (60, 1, 3)))
    gradient = transform.square(smooth)[0][15, :, 0].astype(float)
    x = np.stack([np.arange(30) + 0.5, np.zeros(30)] * 2, axis=1)
    np.testing.assert_allclose(gradient[1:-1], view.to_image(x)[1:-1, 0] - 0.5, atol=1)
    if fit == "pad":
        assert (found[:5] == transform.fill).all() and (found[25:] == transform.fill).all()


def test_normalization() -> None:
    transform = ImageTransform(size=4, mean=(0.5, 0.25, 0.0), std=(0.5, 0.5, 2.0))
    pixels = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3)).astype(np.uint8)
    expected = ((pixels / 255.0 - [0.5, 0.25, 0.0]) / [0.5, 0.5, 2.0]).transpose(0, 3, 1, 2)
    found = transform.normalized(pixels)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)
    assert found.is_contiguous(memory_format=torch.channels_last)
    given_floats = torch.from_numpy(pixels).float()
    torch.testing.assert_close(transform.normalized(given_floats), found)
    assert torch.equal(given_floats, torch.from_numpy(pixels).float())  # is not changed


def test_colors_change_within_their_bounds() -> None:
    generator = np.random.default_rng(0)
    squares = generator.integers(60, 120, (64, 5, 5, 3)).astype(np.uint8)
    assert np.array_equal(Augmentation().colored(squares[0], generator), squares[0])
    jitter = Augmentation(jitter=0.4)
    found = np.stack([jitter.colored(each, generator) for each in squares]).astype(float)
    before = squares.astype(float)
    ratio = found.mean((1, 2, 3)) / before.mean((1, 2, 3))
    assert 0.58 < ratio.min() < 0.75 and 1.25 < ratio.max() < 1.42
    contrast = found.std((1, 2, 3)) / before.std((1, 2, 3)) / ratio
    assert contrast.min() < 0.8 and contrast.max() > 1.2
    # Colors relative to contrast: the saturation.
    spread = np.median(found.std(-1), (1, 2)) / np.median(before.std(-1), (1, 2)) / contrast / ratio
    assert spread.std() > 0.05
    gray = np.repeat(squares[..., :1], 3, axis=-1)
    for each in gray:  # gray stays gray
        colored = jitter.colored(each, generator)
        assert np.array_equal(colored[..., 0], colored[..., 2])
    white = np.full((3, 3, 3), 255, dtype=np.uint8)
    darkest = min(int(jitter.colored(white, generator).min()) for _ in range(20))
    assert darkest >= 0.6 * 255 - 1  # bright colors are cut off and do not begin again at 0


def test_saved_and_loaded(tmp_path: Path) -> None:
    transform = ImageTransform(
        size=40, fit="pad", mean=(0.1, 0.2, 0.3), std=(1.0, 2.0, 0.5), resample="bicubic"
    )
    transform.save(tmp_path)
    assert ImageTransform.load(tmp_path) == transform


def test_published_preprocessors_are_read(tmp_path: Path) -> None:
    published = {
        "crop_pct": 0.875,
        "do_normalize": True,
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
        "resample": 3,
        "size": {"shortest_edge": 224},
    }
    (tmp_path / PREPROCESSOR).write_text(json.dumps(published))
    expected = ImageTransform(size=224, crop_fraction=0.875, resample="bicubic")
    assert ImageTransform.load(tmp_path) == expected


def test_a_published_crop_is_the_middle_of_the_resized_image(tmp_path: Path) -> None:
    """ResNet's classical preparation: the shorter side to 256, then the middle of 224."""
    published = {
        "size": {"shortest_edge": 256},
        "do_center_crop": True,
        "crop_size": {"height": 224, "width": 224},
    }
    (tmp_path / PREPROCESSOR).write_text(json.dumps(published))
    assert ImageTransform.load(tmp_path) == ImageTransform(size=224, crop_fraction=0.875)


@pytest.mark.parametrize(
    "values",
    [
        [],
        {"do_normalize": False},
        {"size": "big"},
        {"size": 0},
        {"size": 10**9},
        {"size": {}},
        {"size": {"height": 2, "width": [3]}},
        {"fit": "squeeze"},
        {"resample": 9},
        {"resample": [2]},
        {"crop_fraction": 0},
        {"crop_pct": None},
        {"image_mean": [0.5]},
        {"image_std": [1, 0, 1]},
        {"image_std": "x"},
    ],
)
def test_damaged_preprocessors_are_named(values: object, tmp_path: Path) -> None:
    (tmp_path / PREPROCESSOR).write_text(json.dumps(values))
    with pytest.raises(UserError, match=PREPROCESSOR):
        ImageTransform.load(tmp_path)


@pytest.mark.parametrize(
    "values", [{"area": (0, 1)}, {"area": (0.9, 0.5)}, {"aspect": (0, 1)}, {"flip": 2.0}, {"jitter": 1.0}]
)
def test_wrong_augmentations(values: dict) -> None:
    with pytest.raises(UserError):
        Augmentation(**values)
