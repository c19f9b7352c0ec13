"""Published residual networks: the oracle is the network in torch's own modules, with random weights."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from tests.commands.calls import fail, succeed
from tests.encoders.plain_resnet import PlainResNet, random_resnet
from unfreeze import Encoder, ImageClassifier
from unfreeze.encoders.convnet import ConvNet
from unfreeze.formats.resnet import read_resnet
from unfreeze.tasks.bodies import JOINT

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
NETS = {
    "resnet18": {"width": 64, "depths": (2, 2, 2, 2)},
    "resnet50": {"width": 64, "depths": (3, 4, 6, 3), "bottleneck": True},
    "small": {"width": 8, "depths": (1, 2, 1), "large": False},
}


def net_of(name: str, **options: object) -> PlainResNet:
    return random_resnet(**{**NETS[name], **options})  # type: ignore[arg-type]


def state_of(net: PlainResNet, *, classifier: bool = True) -> dict[str, Tensor]:
    """As published files have it, without the counters of batches that many of them lack."""
    return {
        name: tensor
        for name, tensor in net.state_dict().items()
        if "num_batches" not in name and (classifier or not name.startswith("fc."))
    }


def in_transformers(state: dict[str, Tensor], prefix: str = "resnet.") -> dict[str, Tensor]:
    """The names that `transformers.ResNetForImageClassification` gives to the same tensors."""
    found = {}
    for name, tensor in state.items():
        for pattern, new in (
            (r"^fc\.", "classifier.1."),
            (r"^conv1\.", f"{prefix}embedder.embedder.convolution."),
            (r"^bn1\.", f"{prefix}embedder.embedder.normalization."),
            (r"downsample\.0\.", "shortcut.convolution."),
            (r"downsample\.1\.", "shortcut.normalization."),
            (r"\.conv(\d)\.", lambda m: f".layer.{int(m[1]) - 1}.convolution."),
            (r"\.bn(\d)\.", lambda m: f".layer.{int(m[1]) - 1}.normalization."),
            (r"^layer(\d)\.(\d+)\.", lambda m: f"{prefix}encoder.stages.{int(m[1]) - 1}.layers.{m[2]}."),
        ):
            name = re.sub(pattern, new, name)  # type: ignore[arg-type]
        found[name] = tensor
    return found


def picture(side: int, seed: int = 0) -> np.ndarray:
    """An image that is neither resized nor cut off at this side of the square."""
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3)).astype(np.uint8)


def scaled(images: np.ndarray) -> Tensor:
    return torch.tensor((images / 255 - MEAN) / STD, dtype=torch.float32).permute(0, 3, 1, 2)


@pytest.mark.parametrize("form", ["torchvision", "transformers", "pth"])
@pytest.mark.parametrize("name", NETS)
def test_outputs_are_those_of_the_plain_network(name: str, form: str, tmp_path: Path) -> None:
    net = net_of(name)
    state, path = state_of(net), tmp_path / "model.safetensors"
    if form == "pth":
        path = tmp_path / "model.pth"
        torch.save(net.state_dict(), path)
    else:
        save_file(
            {
                k: v.contiguous()
                for k, v in (in_transformers(state) if form == "transformers" else state).items()
            },
            path,
        )
    classifier = read_resnet(path)
    assert isinstance(classifier, ImageClassifier) and classifier.label_names == ("0", "1", "2", "3", "4")
    encoder = classifier.network.encoder
    images = np.stack([picture(64, seed) for seed in range(3)])
    with torch.no_grad():
        maps, wanted = encoder.maps(encoder.batch_of(images)), net.features(scaled(images))
        logits = net(scaled(images))
    assert len(maps) == len(wanted)
    for found, expected in zip(maps, wanted, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    with torch.no_grad():
        (found,) = classifier.network.logits({JOINT: maps[-1].mean((2, 3))})
    torch.testing.assert_close(found, logits, rtol=1e-5, atol=1e-5)


def test_converted_on_the_command_line(tmp_path: Path) -> None:
    net = net_of("small")
    save_file(state_of(net), tmp_path / "model.safetensors")
    preprocessing = {
        "size": 16,
        "crop_pct": 1.0,
        "image_mean": MEAN.tolist(),
        "image_std": STD.tolist(),
        "resample": 3,
    }
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(preprocessing))
    output = tmp_path / "net"
    names = ["ant", "bee, of the kind that stings", "cat", "dog", "emu"]
    (tmp_path / "names.txt").write_text("".join(f"{name}\n" for name in names))
    ran = succeed(
        "convert",
        tmp_path / "model.safetensors",
        "--labels",
        tmp_path / "names.txt",
        "--output",
        output,
        "--json",
    )
    (values,) = ran.rows
    assert (values["kind"], values["classes"], values["depths"], values["stem"]) == (
        "image classifier",
        5,
        [1, 2, 1],
        "small",
    )
    assert f"unfreeze predict {output} IMAGE" in ran.err
    images = [picture(16, seed) for seed in range(4)]
    with torch.no_grad():
        wanted = torch.softmax(net(scaled(np.stack(images))), 1)
    classifier = ImageClassifier.from_pretrained(output)
    np.testing.assert_allclose(classifier.predict_proba(images), wanted, rtol=1e-4, atol=1e-5)
    assert classifier.predict(images).tolist() == [names[k] for k in wanted.argmax(1)]
    assert classifier.network.encoder.processor.resample == "bicubic"
    assert isinstance(Encoder.from_pretrained(output), ConvNet)


def test_without_a_classifier_it_is_an_encoder_of_imagenets_preprocessing(tmp_path: Path) -> None:
    net = random_resnet(8, (1, 1))
    save_file(in_transformers(state_of(net, classifier=False), prefix=""), tmp_path / "model.safetensors")
    ran = succeed("convert", tmp_path, "--output", tmp_path / "net", "--json")
    assert ran.rows[0]["kind"] == "convnet" and "fit classifier --encoder" in ran.err
    encoder = Encoder.from_pretrained(tmp_path / "net")
    assert isinstance(encoder, ConvNet)
    processor = encoder.processor
    assert (processor.size, processor.crop_fraction) == (224, 0.875)
    np.testing.assert_allclose((processor.mean, processor.std), (MEAN, STD))
    large = picture(256)
    with torch.no_grad():
        wanted = net.features(scaled(large[None, 16:240, 16:240]))[-1].mean((2, 3))
    Image.fromarray(large).save(tmp_path / "large.png")
    np.testing.assert_allclose(encoder.encode([tmp_path / "large.png"]), wanted, rtol=1e-4, atol=1e-4)
    assert "no classifier (fc.weight), whose outputs --labels would name" in fail(
        "convert", tmp_path / "model.safetensors", "--labels", "a,b", "--output", tmp_path / "other"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("config", "labels", "processor"),
    [
        (
            {"id2label": {"0": "tench", "1": "crane", "2": "crane", "3": "maillot, tank suit", "4": "x"}},
            ("tench", "crane (1)", "crane (2)", "maillot, tank suit", "x"),
            (224, 0.875, "bilinear"),
        ),
        (
            {"pretrained_cfg": {"input_size": [3, 160, 160], "crop_pct": 0.95, "interpolation": "bicubic", "mean": [0.5] * 3, "std": [0.5] * 3}},
            ("0", "1", "2", "3", "4"),
            (160, 0.95, "bicubic"),
        ),
    ],
)  # fmt: skip
def test_files_beside_the_weights_name_classes_and_preprocessing(
    config: dict[str, object], labels: tuple[str, ...], processor: tuple[object, ...], tmp_path: Path
) -> None:
    save_file(state_of(random_resnet(4, (1, 1))), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(config))
    found = read_resnet(tmp_path)
    assert isinstance(found, ImageClassifier) and found.label_names == labels
    made = found.network.encoder.processor
    assert (made.size, made.crop_fraction, made.resample) == processor


def changed(**tensors: Tensor | None) -> dict[str, Tensor]:
    named = {name.replace("__", "."): tensor for name, tensor in tensors.items()}
    return {name: x for name, x in {**state_of(random_resnet(4, (1, 1))), **named}.items() if x is not None}


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({}, "has no tensor conv1.weight: it is no ResNet (it begins with nothing)"),
        ({"features.0.weight": torch.ones(3)}, "it is no ResNet (it begins with features.0.weight)"),
        (changed(conv1__weight=torch.ones(4, 3, 5, 5)), "conv1.weight is [4, 3, 5, 5]: the first convolution of a ResNet"),
        (changed(conv1__weight=torch.ones(())), "conv1.weight is []"),
        (changed(layer1__0__conv1__weight=None), "lacks the stages of a ResNet"),
        (changed(layer1__0__conv1__weight=torch.ones(8, 4, 3, 3)), "is no plain ResNet, as wide variants"),
        (changed(layer9__0__conv1__weight=torch.ones(8, 4, 3, 3)), "lacks the stages of a ResNet"),
        (changed(layer1__0__se__fc1__weight=torch.ones(1)), "unknown tensor 'layer1.0.se.fc1.weight'"),
        (changed(layer2__0__bn2__bias=None), "lacks tensor 'layer2.0.bn2.bias'"),
        (changed(bn1__weight=torch.tensor([1, 2, torch.nan, 1])), "tensor bn1.weight has other values than finite"),
        (changed(fc__weight=torch.ones(5, 9)), "fc.weight and fc.bias are [5, 9] and [5], and the features have 8"),
        (changed(fc__bias=None), "fc.weight and fc.bias are [5, 8] and None"),
        (changed(fc__weight=None), "fc.weight and fc.bias are None and [5]"),
    ],
)  # fmt: skip
def test_other_files_are_refused_in_one_line(state: dict[str, Tensor], said: str, tmp_path: Path) -> None:
    save_file(state, tmp_path / "w.safetensors")
    assert said in fail("convert", tmp_path / "w.safetensors", "--output", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_damaged_files_labels_and_first_forms_are_refused_in_one_line(tmp_path: Path) -> None:
    out = ["--output", tmp_path / "out"]
    (tmp_path / "w.safetensors").write_bytes(b"\x07" * 100)
    assert "is truncated, or no safetensors" in fail("convert", tmp_path / "w.safetensors", *out)
    assert "none.safetensors: no such file" in fail("convert", tmp_path / "none.safetensors", *out)
    (tmp_path / "w.pth").write_bytes(b"\x07" * 100)
    assert "w.pth" in fail("convert", tmp_path / "w.pth", *out)
    torch.save({"0.encoder.weight": torch.ones(3)}, tmp_path / "w.pth")
    assert "a .pth of fastai's needs its --vocabulary" in fail("convert", tmp_path / "w.pth", *out)
    save_file(state_of(random_resnet(4, (1, 1))), tmp_path / "w.safetensors")
    assert "has 5 outputs, and --labels names 2" in fail(
        "convert", tmp_path / "w.safetensors", "--labels", "a,b", *out
    )
    (tmp_path / "config.json").write_text('{"downsample_in_bottleneck": true}')
    assert "downsample_in_bottleneck is True" in fail("convert", tmp_path / "w.safetensors", *out)
    (tmp_path / "config.json").write_text('{"pretrained_cfg": {"input_size": [3, 64, 64], "crop_pct": 2}}')
    assert "config.json: crop_fraction must be" in fail("convert", tmp_path / "w.safetensors", *out)
    assert not (tmp_path / "out").exists()
