"""Pictures of filters, maps, neighbors and evidence: what stands in them and where, and what cannot be drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from unfreeze.analysis.image_features import NearImage, StageMaps
from unfreeze.analysis.image_plots import (
    MOST_IMAGES,
    ShownBoxes,
    ShownEvidence,
    plot_boxes,
    plot_evidence,
    plot_filters,
    plot_maps,
    plot_nearest,
)
from unfreeze.errors import UserError
from unfreeze.vision.transforms import View

GRAY = np.full((40, 60, 3), 128, np.uint8)
MIDDLE = View((10, 0, 50, 40), 16)
"""What a network sees that crops the middle of `GRAY`."""


def labels_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def color_share(path: Path, columns: slice) -> float:
    """The mean difference of the largest and the smallest of red, green and blue, in some columns of the picture."""
    pixels = np.asarray(PIL.Image.open(path).convert("RGB")).astype(int)
    return float((pixels.max(2) - pixels.min(2))[:, columns].mean())


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_pictures_of_filters_and_maps(suffix: str, tmp_path: Path) -> None:
    plot_filters(np.random.default_rng(0).random((10, 3, 3, 3), np.float32), tmp_path / f"filters.{suffix}")
    maps = np.random.default_rng(1).random((2, 4, 4), np.float32)
    stages = [StageMaps(np.array([7, 2]), maps, 8), StageMaps(np.array([11]), maps[:1], 16)]
    plot_maps(GRAY, stages, tmp_path / f"maps.{suffix}", MIDDLE)
    assert all(path.stat().st_size > 800 for path in tmp_path.iterdir())
    if suffix == "svg":
        text = labels_of(tmp_path / "maps.svg")
        for label in ("image", "channel 7", "channel 11", "stage 2 of 2", "4 x 4 places", "16 channels"):
            assert f"<!-- {label} -->" in text or label in text


def test_neighbors_stand_in_a_row_with_their_cosines(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / "cats").mkdir(exist_ok=True)
        PIL.Image.fromarray(GRAY).save(tmp_path / "cats" / f"{name}.png")
    names = [str(tmp_path / "cats" / f"{name}.png") for name in ("a", "b", "c")]
    near = [[NearImage(names[1], 0.987), NearImage(names[2], 0.5)], [NearImage(names[0], 0.25)]]
    plot_nearest(names[:2], near, tmp_path / "near.svg")
    text = labels_of(tmp_path / "near.svg")
    for label in ("cats/a.png", "0.99", "cats/b.png", "0.50", "cats/c.png", "0.25"):
        assert f"<!-- {label} -->" in text


def test_evidence_is_colored_where_it_is(tmp_path: Path) -> None:
    evidence = np.zeros((4, 4), np.float32)
    evidence[:, 3] = 2.0  # on the right of what the network sees
    shown = ShownEvidence(GRAY, MIDDLE, evidence, "cat, 90 %")
    plot_evidence([shown], tmp_path / "right.png")
    plot_evidence([ShownEvidence(GRAY, MIDDLE, evidence[:, ::-1], "cat")], tmp_path / "left.png")
    width = PIL.Image.open(tmp_path / "right.png").width
    # The second of the two images lies about between .45 and .85 of the width, beside the scale.
    left, right = slice(int(0.45 * width), int(0.62 * width)), slice(int(0.66 * width), int(0.8 * width))
    assert color_share(tmp_path / "right.png", right) > 5 * color_share(tmp_path / "right.png", left)
    assert color_share(tmp_path / "left.png", left) > 5 * color_share(tmp_path / "left.png", right)
    plot_evidence([shown] * 5, tmp_path / "five.svg")
    text = labels_of(tmp_path / "five.svg")
    assert text.count("<!-- cat, 90 % -->") == 5 and "<!-- image 4 -->" in text


def test_no_evidence_is_said(tmp_path: Path) -> None:
    plot_evidence([ShownEvidence(GRAY, MIDDLE, np.zeros((4, 4), np.float32), "dog")], tmp_path / "none.svg")
    assert "<!-- nothing speaks for this class -->" in labels_of(tmp_path / "none.svg")


def test_boxes_are_drawn_where_they_are(tmp_path: Path) -> None:
    true, found = np.array([[30.0, 10, 50, 30]]), np.array([[10.0, 10, 20, 30], [32, 12, 48, 28]])
    plot_boxes([ShownBoxes(GRAY, {"true": true}, "one")], tmp_path / "true.png")
    pixels = np.asarray(PIL.Image.open(tmp_path / "true.png").convert("L")).astype(int)
    gray = np.abs(pixels - 128) < 3
    rows, columns = (np.flatnonzero(gray.sum(axis) > 0.4 * gray.sum(axis).max()) for axis in (1, 0))
    top, left = rows[0], columns[0]  # of the image
    scale = (columns[-1] + 1 - left) / 60
    inside = pixels[top:, left:][: round(40 * scale), : round(60 * scale)]
    line = np.abs(inside - 128).max(0) > 60  # columns in which something else than the image is drawn
    expected = np.array([30, 50]) * scale
    assert np.abs(np.flatnonzero(line)[[0, -1]] - expected).max() < 4
    plot_boxes(
        [ShownBoxes(GRAY, {"true": true, "found": found}, "IoU 0.64"), ShownBoxes(GRAY, {})],
        tmp_path / "both.svg",
    )
    text = labels_of(tmp_path / "both.svg")
    assert all(f"<!-- {label} -->" in text for label in ("true", "found", "IoU 0.64"))
    with pytest.raises(UserError, match="at most 5 can be told apart"):
        plot_boxes([ShownBoxes(GRAY, {str(n): true for n in range(6)})], tmp_path / "six.png")


def test_what_cannot_be_drawn(tmp_path: Path) -> None:
    shown = ShownEvidence(GRAY, MIDDLE, np.ones((2, 2), np.float32), "cat")
    with pytest.raises(UserError, match=f"at most {MOST_IMAGES} can be seen"):
        plot_evidence([shown] * (MOST_IMAGES + 1), tmp_path / "a.png")
    with pytest.raises(UserError, match="no image to draw"):
        plot_nearest([], [], tmp_path / "a.png")
    with pytest.raises(UserError, match=r"has to end in \.png"):
        plot_evidence([shown], tmp_path / "a.gif")
    assert not list(tmp_path.iterdir())
