"""The residual network: published names and shapes, layers, batch norm of frozen stages, one result over any processes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.encoders.plain_resnet import PlainResNet
from unfreeze import Encoder
from unfreeze.encoders.convnet import ConvNet
from unfreeze.encoders.feature_settings import BlockName, Stem
from unfreeze.encoders.layers import map_norm
from unfreeze.encoders.layers.map_norm import MapNorm
from unfreeze.errors import UserError
from unfreeze.vision.transforms import ImageTransform


def images(n: int = 3, size: int = 20) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, size, size, 3)).astype(np.uint8)


def small(**arguments: object) -> ConvNet:
    torch.manual_seed(0)
    defaults: dict[str, object] = {"width": 4, "depths": (1, 2, 1), "stem": "small"}
    return ConvNet(ImageTransform(size=16), **{**defaults, **arguments}).eval()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "n_parameters", "n_tensors", "some"),
    [
        # Published: ResNet-18 has 11,689,512 parameters, ResNet-50 25,557,032, with a classifier of 1,000 classes.
        ({}, 11_689_512 - 513_000, 120, {"layer2.0.downsample.0.weight": (128, 64, 1, 1)}),
        (
            {"depths": (3, 4, 6, 3), "block": "bottleneck"},
            25_557_032 - 2_049_000,
            318,
            {"layer1.0.downsample.0.weight": (256, 64, 1, 1), "layer4.2.conv3.weight": (2048, 512, 1, 1)},
        ),
    ],
)
def test_names_and_shapes_are_the_published_ones(
    arguments: dict[str, object], n_parameters: int, n_tensors: int, some: dict[str, tuple[int, ...]]
) -> None:
    with torch.device("meta"):
        net = ConvNet(ImageTransform(), **arguments)  # type: ignore[arg-type]
    assert net.n_parameters == n_parameters
    tensors = net.weights()
    assert len(tensors) == n_tensors
    shapes = {
        "conv1.weight": (64, 3, 7, 7),
        "bn1.running_var": (64,),
        "layer1.0.bn1.num_batches_tracked": (),
        **some,
    }
    assert {name: tuple(tensors[name].shape) for name in shapes} == shapes


@pytest.mark.parametrize(("stem", "sides"), [("small", [16, 8, 4]), ("large", [4, 2, 1])])
def test_a_stage_is_a_layer(stem: str, sides: list[int]) -> None:
    net = small(stem=stem)
    batch = net.prepare(list(images()))
    with torch.no_grad():
        maps, (layers, mask) = net.maps(batch), net.layers(batch)
    assert net.widths == [4, 8, 16] and [16 // side for side in sides] == net.strides()
    assert [tuple(each.shape) for each in maps] == [
        (3, w, s, s) for w, s in zip(net.widths, sides, strict=True)
    ]
    assert mask.shape == (3, sides[-1] ** 2) and net.n_places == sides[-1] ** 2 and bool(mask.all())
    torch.testing.assert_close(layers[1][2, sides[1] + 1], maps[1][2, :, 1, 1])  # row by row
    groups = net.layer_groups()
    assert len(groups) == 4 and sum(len(group) for group in groups) == len(list(net.parameters()))


def test_vectors_depend_neither_on_the_batch_nor_on_the_kind_of_input(tmp_path: Path) -> None:
    from PIL import Image

    net, pictures = small(), images(5)
    Image.fromarray(pictures[4]).save(tmp_path / "one.png")
    vectors = net.encode([*pictures[:4], tmp_path / "one.png"])
    np.testing.assert_allclose(net.encode(list(pictures))[4], vectors[4], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(net.encode([pictures[2]])[0], vectors[2], rtol=1e-5, atol=1e-6)
    net.save_pretrained(tmp_path / "net")
    loaded = Encoder.from_pretrained(tmp_path / "net")
    assert isinstance(loaded, ConvNet) and loaded.processor == net.processor
    np.testing.assert_array_equal(loaded.encode(list(pictures)), net.encode(list(pictures)))


def test_frozen_stages_keep_their_statistics() -> None:
    net = small().train()
    for parameter in [*net.conv1.parameters(), *net.bn1.parameters(), *net.stages[0].parameters()]:
        parameter.requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    batch = net.prepare(list(images()))
    trained = net.maps(batch)
    changed = {name for name, tensor in net.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {
        name
        for name in before
        if name.startswith(("layer2", "layer3")) and ("running" in name or "num_b" in name)
    }
    with torch.no_grad():
        torch.testing.assert_close(net.eval().maps(batch)[0], trained[0].detach())


@pytest.mark.parametrize("width", [8, 16])
def test_a_narrow_network_has_the_gradients_of_a_plain_one(width: int) -> None:
    """In float64, which oneDNN leaves to torch; below 16 channels, no strided convolution of 1 by 1 may reach oneDNN."""
    net = small(width=width, depths=(1, 1, 1)).train()
    plain = PlainResNet(width, (1, 1, 1), 1, large=False).double()
    plain.load_state_dict({**plain.state_dict(), **net.state_dict()})
    batch = net.prepare(list(images()))
    of_top = torch.randn(net.maps(batch)[-1].shape)
    net.maps(batch)[-1].backward(of_top)  # type: ignore[no-untyped-call]
    pixels = net.processor.normalized(batch.pixels).double()
    plain.features(pixels)[-1].backward(of_top.double())  # type: ignore[no-untyped-call]
    wanted = dict(plain.named_parameters())
    for name, parameter in net.named_parameters():
        grad = wanted[name].grad
        assert parameter.grad is not None and grad is not None
        error = float((parameter.grad - grad).norm())
        assert error <= 1e-4 * float(grad.norm()), name
    for module in net.modules():
        if isinstance(module, torch.nn.Conv2d) and module.kernel_size == (1, 1):
            assert module.stride == (1, 1) or module.in_channels >= 16


def test_batch_norm_within_the_convolutions_follows_the_weights() -> None:
    """Without gradients both are one convolution, whose weights are kept until one of their sources changes."""
    net = small(block="bottleneck")
    batch = net.prepare(list(images()))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(2):
        apart = net.maps(batch)
        with torch.no_grad():
            for found, wanted in zip(net.maps(batch), apart, strict=True):
                torch.testing.assert_close(found, wanted.detach(), rtol=1e-4, atol=1e-5)
        net.train().layers(batch)[0][-1].square().mean().backward()
        optimizer.step()
        net.eval()


def test_statistics_of_several_processes_are_those_of_the_whole_batch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def trained(norm: MapNorm, x: Tensor) -> list[Tensor]:
        x = x.clone().requires_grad_()
        (norm(x) * torch.arange(x.numel()).view(x.shape).sin()).sum().backward()
        assert x.grad is not None and norm.weight.grad is not None and norm.running_var is not None
        return [norm(x).detach(), x.grad, norm.weight.grad, norm.running_var]

    torch.manual_seed(0)
    x, one, many = torch.randn(4, 3, 5, 5), MapNorm(3), MapNorm(3)
    wanted = trained(one, x)
    # As in the first of several processes that has the whole batch: the sums over processes are its own.
    monkeypatch.setattr(map_norm, "are_several", lambda: True)
    monkeypatch.setattr(map_norm, "summed", lambda value: value)
    for found, expected in zip(trained(many, x), wanted, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_an_image_is_scaled_as_the_weights_expect_it() -> None:
    net, pixels = small(), images(2, 16)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    scaled = torch.tensor((pixels / 255 - mean) / std).permute(0, 3, 1, 2)
    with torch.no_grad():
        weight = net.conv1.weight.double()
        wanted = F.conv2d(scaled, weight, padding=1)
        found = net.conv1(net.processor.normalized(net.prepare(list(pixels)).pixels))
    torch.testing.assert_close(found.double(), wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [({"stem": "tiny"}, "stem must be one of"), ({"width": 0}, "at least 1"), ({"depths": ()}, "at least 1")],
)
def test_what_cannot_be_made_is_refused(arguments: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said):
        small(**arguments)


def test_every_layer_is_encoded() -> None:
    encoder, given = small(), list(images())
    with torch.no_grad():
        maps = encoder.maps(encoder.prepare(given))
    for number, each in enumerate(maps):
        mean, largest = each.mean((2, 3)).numpy(), each.amax((2, 3)).numpy()
        np.testing.assert_allclose(encoder.encode(given, layer=number), mean, atol=1e-5)
        np.testing.assert_allclose(encoder.encode(given, layer=number, pool="max"), largest, atol=1e-5)


@pytest.mark.parametrize(
    ("stem", "block", "size"), [("small", "basic", 17), ("large", "basic", 50), ("large", "bottleneck", 33)]
)
def test_the_largest_map_is_that_of_the_stem_or_a_stage(stem: Stem, block: BlockName, size: int) -> None:
    """Memory of a batch is bounded by it; the wide maps of the stem count, not only the layers."""
    net = ConvNet(ImageTransform(size=size), width=8, depths=(1, 1), block=block, stem=stem)
    batch = net.prepare([np.zeros((size, size, 3), dtype=np.uint8)])
    maps = [net.conv1(net.processor.normalized(batch.pixels)), *net.maps(batch)]
    assert net.largest_map == max(each[0].numel() for each in maps)
