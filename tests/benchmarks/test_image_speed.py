"""The plain ResNet of the benchmark is the same network as ours, and its operations are those that are published."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

from benchmarks.image_speed import Case, Sides, largest_difference
from benchmarks.plain_resnet import Photos, PlainResNet, operations, predict, train
from unfreeze.encoders.feature_settings import Stem


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, random = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for number in range(6):
        path = folder / ("cat", "dog")[number % 2] / f"{number}.jpg"
        path.parent.mkdir(exist_ok=True)
        pixels = random.integers(0, 256, (40, 50, 3)).astype(np.uint8)
        PIL.Image.fromarray(pixels).save(path)
    return folder


@pytest.mark.parametrize("stem", ["small", "large"])
def test_both_sides_have_the_same_network(data: Path, stem: Stem, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)  # as if it were not installed
    sides = Sides(Case("toy", stem, 24, 4, lambda data: data, 6, 6), data, 0)
    assert isinstance(sides.network, PlainResNet) and sides.names == ["cat", "dog"]
    # The running statistics of a network that has seen images.
    sides.network.train()
    with torch.no_grad():
        sides.network(torch.randn(8, 3, 24, 24))
    assert largest_difference(sides, sides.classifier()) < 1e-5
    with torch.no_grad():
        sides.network.layer2[0].conv1.weight.mul_(1.1)
    other = sides.classifier()
    with torch.no_grad():
        sides.network.layer2[0].conv1.weight.div_(1.1)
    assert largest_difference(sides, other) > 1e-5


def test_operations_are_those_of_resnet_18() -> None:
    # 1.814 billion multiplications and additions for 224 x 224 pixels, of which the classifier has half a million.
    assert operations(PlainResNet(1000, "large"), 224) == pytest.approx(2 * 1.8136e9, rel=1e-3)


def test_the_plain_loop_learns_from_files(data: Path) -> None:
    paths = sorted(data.glob("*/*.jpg"))
    torch.manual_seed(0)
    network, seen = PlainResNet(2, "small"), []
    before = network.fc.weight.detach().clone()

    class Enough(Exception):
        pass

    def step(count: int) -> None:
        seen.append(count)
        if len(seen) == 2:
            raise Enough

    with pytest.raises(Enough):
        train(network, Photos(paths, [0, 0, 0, 1, 1, 1], 8, augments=True), 2, 0, step)
    assert seen == [2, 2] and not torch.equal(network.fc.weight, before)
    found = predict(network, Photos(paths, [0] * 6, 8, augments=False), 4, 0)
    assert found.shape == (6, 2) and torch.allclose(found.sum(1), torch.ones(6))
