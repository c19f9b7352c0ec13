"""Decoded images give the same squares as their files, in memory and in a file."""

from __future__ import annotations

import io
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unfreeze.errors import CannotWrite, UserError
from unfreeze.vision.images import ImageFile
from unfreeze.vision.store import ImageStore
from unfreeze.vision.transforms import Fit, ImageTransform


def files() -> list[ImageFile]:
    generator = np.random.default_rng(0)
    found = []
    for number, (width, height) in enumerate([(40, 90), (64, 31), (7, 300), (33, 33), (5, 5)]):
        pixels = generator.integers(0, 256, (height, width, 3)).astype(np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG" if number % 2 else "PNG")
        found.append(ImageFile(Path(f"{number}"), buffer.getvalue()))
    return found


@pytest.mark.parametrize("largest_in_memory", [0, 5000, 10**9])
@pytest.mark.parametrize("fit", ["crop", "stretch", "pad"])
def test_squares_are_those_of_the_files(fit: Fit, largest_in_memory: int) -> None:
    transform = ImageTransform(size=16, fit=fit)
    store = ImageStore(files(), at_least=16, largest_in_memory=largest_in_memory)
    expected, views = transform.squares(files())
    for _ in range(2):
        found, same_views = transform.squares(store)
        np.testing.assert_array_equal(found, expected)
        assert same_views == views
    assert len(store) == 5 and store.sizes[:2] == [(40, 90), (64, 31)]
    assert store[0].picture.size == (20, 45)  # as small as 16 allows
    assert [each.size for each in store[-2:]] == store.sizes[-2:]
    with pytest.raises(IndexError):
        store[5]


def test_no_images_and_a_bad_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert len(ImageStore([])) == 0
    with pytest.raises(UserError, match=r"none\.png: no such file"):
        ImageStore([*files(), tmp_path / "none.png"])
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    with pytest.raises(CannotWrite, match="cannot write"):
        ImageStore(files(), largest_in_memory=0)


def test_the_file_is_gone_with_the_store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").is_dir() else 0
    store = ImageStore(files(), largest_in_memory=0)
    assert store[0].size == (40, 90)
    for spilled, found in ((True, store), (False, ImageStore(files()))):
        base = found._pixels[0]
        while not isinstance(base, np.memmap) and base.base is not None and isinstance(base.base, np.ndarray):
            base = base.base
        assert isinstance(base, np.memmap) == spilled
    del store, found, base
    assert not list(tmp_path.iterdir())
    if before:
        assert len(os.listdir("/proc/self/fd")) <= before
