"""Filters, feature maps, nearest images and Grad-CAM against NumPy and finite differences in float64."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from unfreeze.analysis.image_features import class_evidence, filter_colors, nearest_images, strongest_maps
from unfreeze.encoders.convnet import ConvNet
from unfreeze.errors import UserError
from unfreeze.tasks.image_classifier import ImageClassifier
from unfreeze.vision.images import ImageFile
from unfreeze.vision.transforms import ImageTransform

RANDOM = np.random.default_rng(0)


def convnet(n_stages: int = 2) -> ConvNet:
    torch.manual_seed(0)
    return ConvNet(ImageTransform(size=16), width=4, depths=(1,) * n_stages, stem="small").eval()


def pictures(folder: Path, count: int) -> list[Path]:
    """Files of noise, each around a color of its own."""
    paths = []
    for number in range(count):
        noise = RANDOM.integers(0, 60, (20, 24, 3)) + RANDOM.integers(0, 195, 3)
        paths.append(folder / f"{number}.png")
        PIL.Image.fromarray(noise.astype(np.uint8)).save(paths[-1])
    return paths


def test_filters_are_scaled_one_by_one_and_sorted_by_their_norm() -> None:
    encoder = convnet()
    weights = np.array([[[[1.0, 0], [0, 0]]] * 3, [[[0.0, -4], [2, 0]]] * 3, [[[0.0, 0], [0, 0]]] * 3])
    encoder.conv1 = nn.Conv2d(3, 3, 2)
    encoder.conv1.weight.data = torch.tensor(weights, dtype=torch.float32)
    gray = [0.5] * 3
    expected = [
        [[gray, [0.0] * 3], [[0.75] * 3, gray]],
        [[[1.0] * 3, gray], [gray, gray]],
        [[gray, gray], [gray, gray]],
    ]
    assert filter_colors(encoder).tolist() == expected
    assert filter_colors(convnet()).shape == (4, 3, 3, 3)


def test_the_strongest_maps_vary_most() -> None:
    encoder, image = convnet(3), RANDOM.integers(0, 256, (30, 20, 3)).astype(np.uint8)
    with torch.no_grad():
        maps = [each[0].double().numpy() for each in encoder.maps(encoder.prepare([image]))]
    for stage, every in zip(strongest_maps(encoder, image, 3), maps, strict=True):
        inside = every if len(every[0]) == 4 else every[:, 1:-1, 1:-1]  # without the places that see padding
        deviations = [np.sqrt(((each - each.mean()) ** 2).mean()) for each in inside]
        assert stage.channels.tolist() == sorted(range(len(every)), key=lambda n: -deviations[n])[:3]
        np.testing.assert_allclose(stage.maps, every[stage.channels], rtol=1e-6)
        assert stage.n_channels == len(every)


def test_nearest_images_by_brute_force(tmp_path: Path) -> None:
    encoder, paths = convnet(), pictures(tmp_path, 14)
    (tmp_path / "copy.png").write_bytes(paths[3].read_bytes())
    collection = [ImageFile(path) for path in [*paths[2:], tmp_path / "copy.png"]]
    asked = [paths[0], paths[3]]
    found = nearest_images(encoder, asked, collection, top=20)
    for query, near in zip(asked, found, strict=True):
        # Not itself, nor its copy.
        others = [each.path for each in collection if each.path.read_bytes() != query.read_bytes()]
        vectors = encoder.encode([query, *others]).astype(np.float64)
        units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        scores = units[1:] @ units[0]
        order = np.argsort(-scores)
        assert [each.image for each in near] == [str(others[n]) for n in order]
        np.testing.assert_allclose([each.score for each in near], scores[order], atol=1e-6)
    assert [len(near) for near in found] == [13, 11]
    best = nearest_images(encoder, asked, collection, top=2)
    assert best == [near[:2] for near in found]
    lowest = nearest_images(encoder, asked, collection, top=2, layer=0)
    assert lowest != best
    with pytest.raises(UserError, match="no image to search among"):
        nearest_images(encoder, asked, [])
    with pytest.raises(UserError, match="there is no layer 2"):
        nearest_images(encoder, asked, collection, layer=2)


def classifier_of_maps() -> nn.Module:
    """A classifier that is linear in neither maps nor features, in float64."""
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 4)
    ).double()


@pytest.mark.parametrize("classes", [None, [3, 0]])
def test_evidence_by_finite_differences(classes: list[int] | None) -> None:
    network = classifier_of_maps()
    maps = torch.from_numpy(RANDOM.normal(size=(2, 3, 4, 5)))

    def logits(x: NDArray[np.float64]) -> NDArray[np.float64]:
        with torch.no_grad():
            found: NDArray[np.float64] = network(torch.from_numpy(x)[None])[0].numpy()
        return found

    found, chosen = class_evidence(maps, network, classes)
    assert chosen == (classes or [int(logits(each).argmax()) for each in maps.numpy()])
    for image, own, number in zip(maps.numpy(), found, chosen, strict=True):
        gradient, step = np.zeros_like(image), 1e-5
        for place in np.ndindex(image.shape):
            sides = []
            for sign in (1, -1):
                moved = image.copy()
                moved[place] += sign * step
                sides.append(logits(moved)[number])
            gradient[place] = (sides[0] - sides[1]) / (2 * step)
        weights = gradient.mean((1, 2))  # equation 1 of the paper
        expected = np.maximum(sum(w * each for w, each in zip(weights, image, strict=True)), 0)  # equation 2
        np.testing.assert_allclose(own, expected, atol=1e-8)
    assert (found > 0).any()
    assert not maps.requires_grad


def test_evidence_does_not_depend_on_the_other_images() -> None:
    network, maps = classifier_of_maps(), torch.from_numpy(RANDOM.normal(size=(3, 3, 4, 5)))
    together = class_evidence(maps, network)[0]
    for number in range(3):
        alone = class_evidence(maps[number : number + 1], network)[0]
        np.testing.assert_allclose(alone[0], together[number], atol=1e-12)


def test_a_classifier_finds_the_spot_that_its_class_depends_on() -> None:
    """Red or blue spots on gray noise: the evidence is where the spot is, and none is there for the other class."""
    images = RANDOM.integers(90, 160, (48, 32, 32, 3)).astype(np.uint8)
    corners = RANDOM.integers(0, 24, (48, 2))
    names = ["blue" if number % 2 else "red" for number in range(48)]
    for image, (y, x), name in zip(images, corners, names, strict=True):
        image[y : y + 8, x : x + 8] = (230, 30, 30) if name == "red" else (30, 30, 230)
    classifier = ImageClassifier(
        image_size=32, width=8, depths=(1, 1, 1), crop_area=1.0, epochs=12, batch_size=8, learning_rate=5e-3
    ).fit(images, names)
    held_out = [n for n in range(48) if classifier.predict(images[n : n + 1])[0] == names[n]][:16]
    found, labels = classifier.evidence(images[held_out])
    assert found.shape == (len(held_out), 8, 8) and list(labels) == [names[n] for n in held_out]
    hits = 0
    for each, (y, x) in zip(found, corners[held_out] / 4, strict=True):
        top, left = divmod(int(each.argmax()), 8)
        hits += abs(top + 0.5 - (y + 1)) <= 2 and abs(left + 0.5 - (x + 1)) <= 2
    assert hits >= 13
    # A linear head on the mean of the maps: these are class activation maps.
    network = classifier.network_
    (head,) = network.heads.values()

    def activation_map(top: Tensor, number: int) -> NDArray[np.float64]:
        scale = head.linear.weight[number] / (head.norm.running_var + head.norm.eps).sqrt()
        summed = torch.einsum("d,dhw->hw", scale.detach(), top) / top[0].numel()
        return summed.clamp_min(0).double().numpy()

    with torch.no_grad():
        tops = network.encoder.maps(network.encoder.prepare(images[:3]))[-1]
    own, _ = classifier.evidence(images[:3], ["red", "blue", "red"])
    for each, top, number in zip(own, tops, [1, 0, 1], strict=True):
        np.testing.assert_allclose(each, activation_map(top, number), atol=1e-5)
    with pytest.raises(UserError, match="there is no class 'green'; the classes are: blue, red"):
        classifier.evidence(images[:1], ["green"])
