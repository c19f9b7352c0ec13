"""Read published residual networks: weights with the names of torchvision and timm, or those of transformers.

A file has `conv1`, `bn1`, `layer1.0.conv1` and so on, as `ConvNet` names them, or transformers' `embedder`,
`encoder.stages.0.layers.0` and so on. Width, depths, block and stem follow from the shapes. With a classifier (`fc`) the result
is an image classifier, without one an encoder. Variants that compute something else (ResNeXt, wide, with attention, with a deep
stem) are refused.

What the weights do not say comes from files beside them, if there are any: the preprocessing from preprocessor_config.json or
config.json, the names of the classes from config.json. By default, the preprocessing is that of ImageNet.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unfreeze.checked import parse_json
from unfreeze.encoders.convnet import ConvNet
from unfreeze.errors import UserError, setting
from unfreeze.folders import CONFIG
from unfreeze.formats.torch_files import read_state
from unfreeze.tasks.classifier_network import ClassifierNetwork
from unfreeze.tasks.heads import LinearHead
from unfreeze.tasks.image_classifier import ImageClassifier
from unfreeze.tasks.image_inputs import PooledMaps
from unfreeze.vision.transforms import PREPROCESSOR, ImageTransform

logger = logging.getLogger(__name__)

FILES = ("model.safetensors", "pytorch_model.bin")
"""Names of the weights in a folder."""
IMAGENET = ImageTransform(size=224, crop_fraction=0.875)
CIFAR_SIZE = 32
"""Side of the images of networks whose first convolution is small."""
MANY_BATCHES = 1_000
"""Count of the batches behind published statistics."""

_PARTS = {"convolution": "conv", "normalization": "bn"}
# transformers' names -> those of torchvision; the numbers of stages and of layers begin at 0 there and at 1 here.
_TRANSFORMERS: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], str]], ...] = (
    (re.compile(r"embedder\.embedder\.(convolution|normalization)\."), lambda m: f"{_PARTS[m[1]]}1."),
    (
        re.compile(r"encoder\.stages\.(\d+)\.layers\.(\d+)\.layer\.(\d+)\.(convolution|normalization)\."),
        lambda m: f"layer{int(m[1]) + 1}.{m[2]}.{_PARTS[m[4]]}{int(m[3]) + 1}.",
    ),
    (
        re.compile(r"encoder\.stages\.(\d+)\.layers\.(\d+)\.shortcut\.(convolution|normalization)\."),
        lambda m: f"layer{int(m[1]) + 1}.{m[2]}.downsample.{int(m[3] == 'normalization')}.",
    ),
    (re.compile(r"classifier\.1\."), lambda m: "fc."),
)


class NotResNet(UserError):
    """A file of weights that are not those of a residual network."""


def find_resnet(source: Path) -> Path | None:
    """The file of weights that `source` names, or holds if it is a folder of another library; None for anything else."""
    if source.is_dir():
        found = [source / name for name in FILES if (source / name).is_file()]
        return found[0] if found and "kind" not in _config(source) else None
    return source if source.suffix in (".safetensors", ".pth", ".pt") or source.name in FILES else None


def read_resnet(source: Path, labels: Sequence[str] = ()) -> ConvNet | ImageClassifier:
    """Read a published residual network, in evaluation mode.

    Args:
        source: file of safetensors or of torch.save, or a folder with one of `FILES`.
        labels: names of the classes in the order of the outputs (default: those of config.json, or numbers from 0).

    Raises:
        UserError: the file cannot be read, or the tensors are not those of such a network.
    """
    path = find_resnet(source)
    if path is None:
        raise UserError(
            f"{source} is no file of weights: {', '.join(FILES)}, or NAME.safetensors or NAME.pth"
        )
    state, config = _renamed(_tensors(path)), _config(path.parent)
    for name, tensor in state.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise UserError(f"{path}: tensor {name} has other values than finite numbers")
    for name, usual in (
        ("downsample_in_bottleneck", False),
        ("downsample_in_first_stage", False),
        ("hidden_act", "relu"),
    ):
        if config.get(name, usual) != usual:
            raise UserError(
                f"{path.with_name(CONFIG)}: {name} is {config[name]}, and only networks with {usual} are read"
            )
    fc: dict[str, Tensor] = {name: state.pop(name) for name in ("fc.weight", "fc.bias") if name in state}
    arguments = _sizes(state, path)
    encoder = ConvNet(_transform(path.parent, config, arguments["stem"]), **arguments)
    # Statistics without a counter come from many batches: the first ones of a fine-tuning must not replace them.
    counters = {
        name: torch.full_like(x, MANY_BATCHES)
        for name, x in encoder.weights().items()
        if name.endswith("num_batches_tracked")
    }
    encoder.load_weights({**counters, **state}, str(path))
    if fc:
        return _classifier(encoder, fc, labels, config, path)
    if labels:
        raise UserError(f"{path} has no classifier (fc.weight), whose outputs {setting('labels')} would name")
    return encoder.eval()


def _classifier(
    encoder: ConvNet, fc: Mapping[str, Tensor], labels: Sequence[str], config: Mapping[str, Any], path: Path
) -> ImageClassifier:
    shapes = [list(fc[name].shape) if name in fc else None for name in ("fc.weight", "fc.bias")]
    n_outputs = (shapes[1] or [0])[0]
    if not n_outputs or shapes != [[n_outputs, encoder.widths[-1]], [n_outputs]]:
        raise UserError(
            f"{path}: fc.weight and fc.bias are {shapes[0]} and {shapes[1]}, and the features have {encoder.widths[-1]} channels"
        )
    if labels and len(labels) != n_outputs:
        raise UserError(f"{path} has {n_outputs} outputs, and {setting('labels')} names {len(labels)}")
    names = labels or _known_names(config, n_outputs)
    network = ClassifierNetwork(PooledMaps(encoder), n_outputs, head="linear")
    (head,) = network.heads.values()
    assert isinstance(head, LinearHead) and head.norm.running_var is not None
    with torch.no_grad():
        head.linear.weight.copy_(fc["fc.weight"])
        head.linear.bias.copy_(fc["fc.bias"])
        # The linear head standardizes its features, which published classifiers do not.
        head.norm.running_var.fill_(1 - head.norm.eps)
    return ImageClassifier.of_network(
        network.eval(), names, {"network": PooledMaps.network, "head": "linear"}
    )


def _tensors(path: Path) -> dict[str, Tensor]:
    if path.suffix != ".safetensors":
        return read_state(
            path, origin="torchvision", advice="save it with torch.save(network.state_dict(), NAME)"
        )
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        return {name: x.float() if x.is_floating_point() else x for name, x in load_file(str(path)).items()}
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"{path} cannot be read ({error}): the file is truncated, or no safetensors"
        ) from error


def _renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors by torchvision's names."""
    found = {}
    for name, tensor in state.items():
        name = name.removeprefix("resnet.")
        for pattern, rename in _TRANSFORMERS:
            if match := pattern.match(name):
                name = rename(match) + name[match.end() :]
        found[name] = tensor
    return found


def _sizes(state: Mapping[str, Tensor], path: Path) -> dict[str, Any]:
    """The arguments of `ConvNet`; the shapes of the other tensors are compared when they are loaded.

    Raises:
        UserError: the first convolution is missing or of another form, or there are tensors of another kind of network.
    """
    first = state.get("conv1.weight")
    if first is None:
        some = ", ".join(list(state)[:3]) or "nothing"
        raise NotResNet(f"{path} has no tensor conv1.weight: it is no ResNet (it begins with {some})")
    stem = {"3 7 7": "large", "3 3 3": "small"}.get(" ".join(map(str, first.shape[1:])))
    if stem is None:
        raise UserError(
            f"{path}: conv1.weight is {list(first.shape)}: the first convolution of a ResNet is 3 x 7 x 7, or 3 x 3 x 3"
        )
    blocks = Counter(
        int(match[1]) for name in state if (match := re.fullmatch(r"layer(\d+)\.\d+\.conv1\.weight", name))
    )
    depths = [blocks[stage] for stage in range(1, len(blocks) + 1)]
    if not depths or 0 in depths:
        raise UserError(f"{path} lacks the stages of a ResNet: layer1.0.conv1.weight and those above it")
    block = "bottleneck" if "layer1.0.conv3.weight" in state else "basic"
    width = len(first)
    for stage in range(len(depths)):
        name = f"layer{stage + 1}.0.conv1.weight"
        if list(state[name].shape[:1]) != [width << stage]:
            raise UserError(
                f"{path} is no plain ResNet, as wide variants and ResNeXt: {name} is {list(state[name].shape)}, not "
                f"[{width << stage}, ...]"
            )
    return {"width": width, "depths": depths, "block": block, "stem": stem}


def _config(folder: Path) -> dict[str, Any]:
    """The config.json beside the weights; {} if there is none."""
    path = folder / CONFIG
    if not path.is_file():
        return {}
    found = parse_json(path.read_bytes(), path, "remove it, or copy the model again")
    return found if isinstance(found, dict) else {}


def _transform(folder: Path, config: Mapping[str, Any], stem: str) -> ImageTransform:
    """The preprocessing that the files beside the weights name (transformers' or timm's), or the usual one."""
    if (folder / PREPROCESSOR).is_file():
        return ImageTransform.load(folder)
    timm = config.get("pretrained_cfg")
    sides = timm.get("input_size") if isinstance(timm, dict) else None
    if isinstance(timm, dict) and isinstance(sides, list) and sides:
        try:
            return ImageTransform(
                size=sides[-1],
                crop_fraction=timm.get("crop_pct", 1.0),
                mean=timm.get("mean", IMAGENET.mean),
                std=timm.get("std", IMAGENET.std),
                resample=timm.get("interpolation", "bilinear"),
            )
        except UserError as error:
            raise UserError(f"{folder / CONFIG}: {error}") from None
    if stem == "small":
        logger.info(
            "the first convolution is small, so images are made %s pixels wide and high, with ImageNet's mean; a %s beside the weights "
            "would say it",
            *(CIFAR_SIZE, PREPROCESSOR),
        )
        return ImageTransform(size=CIFAR_SIZE)
    return IMAGENET


def _known_names(config: Mapping[str, Any], count: int) -> list[str]:
    """The names of the classes in config.json, or numbers from 0; a name that occurs twice gets the number of its class."""
    known = config.get("id2label")
    if not isinstance(known, dict) or known.keys() != {str(number) for number in range(count)}:
        return [str(number) for number in range(count)]
    names = [str(known[str(number)]) for number in range(count)]
    several = Counter(names)
    return [name if several[name] == 1 else f"{name} ({number})" for number, name in enumerate(names)]
