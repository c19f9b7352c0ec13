"""The contract that every rung fulfills: an encoder turns inputs into layers of vectors, and knows nothing of text.

    inputs -> prepare -> batch -> Encoder -> layers of vectors, each (B, N, D_l)

Whatever consumes layers works on every encoder unchanged. Encoders of text also give one vector a word
(`text_encoder.TextEncoder`); some can read an input piece by piece (`streaming.Streaming`).

Legend: B batch, N positions (pieces of a text, places of a feature map), L layers, D_l their widths.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from numbers import Integral
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Literal, Self, Unpack

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from unfreeze.checked import need_concrete
from unfreeze.datasets.batches import token_bounded_batches
from unfreeze.encoders.feature_settings import JoinedLayers, Pool
from unfreeze.encoders.saving import (
    Processor,
    encoder_part,
    load_matching,
    made_to_fit,
    save_model,
)
from unfreeze.errors import UserError, need_several
from unfreeze.folders import WEIGHTS, load_tensors, read_config, tensor_shapes
from unfreeze.registry import TASKS, HubOptions, encoder_class, find_model, push_to_hub

BATCH_SIZE = 4096
"""Sum of the sizes of the inputs that `encode` runs together, padding included."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """The input of an encoder; each kind of encoder adds its own tensors."""

    lengths: Tensor
    """(B,) of int64: positions of each row that are not padding."""

    def to(self, device: torch.device) -> Self:
        """The same batch with its tensors on `device`."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(
            self, **{n: value.to(device) for n, value in values.items() if isinstance(value, Tensor)}
        )


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Within the block, the module is in evaluation mode; afterwards, also after an error, in the mode that it was in."""
    was_training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(was_training)


class Encoder(nn.Module, ABC):
    """Inputs -> layers of vectors. Stateless: in evaluation mode an input always gets the same vectors."""

    kind: ClassVar[str]
    """The name of this rung in config.json."""
    reads: ClassVar[str] = "anything"
    """What messages call its inputs."""
    usual_layers: ClassVar[JoinedLayers] = "mix"
    """How its layers are read if nothing else is asked for."""
    usual_transfer: ClassVar[Literal["frozen", "fine-tune"]] = "fine-tune"
    """How it is transferred to a task that pools its layers, if nothing else is asked for."""
    is_pooled: ClassVar[bool] = True
    """Whether its layers may be pooled over an input as they are; others are read position by position."""
    processor: Processor
    """Makes batches of raw inputs; the first argument of the constructor."""
    _arguments: Mapping[str, Any] = MappingProxyType({})
    """The value of `arguments`; a constructor with arguments sets it."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        need_concrete(cls)
        return super().__new__(cls)

    @classmethod
    @abstractmethod
    def load_processor(cls, folder: Path) -> Processor:
        """The processor that was saved in `folder`."""

    @abstractmethod
    def prepare(self, inputs: Sequence[Any]) -> Batch:
        """Raw inputs -> a batch on the device of the encoder."""

    def input_size(self, one: Any) -> int:
        """The approximate number of positions of a raw input: inputs of similar size are encoded together."""
        return len(one)

    @property
    @abstractmethod
    def widths(self) -> list[int]:
        """D_l of every layer, bottom to top."""

    @abstractmethod
    def layers(self, batch: Any) -> tuple[list[Tensor], Tensor]:
        """L tensors (B, N, D_l), without begin and end symbols, and the mask (B, N) of real positions."""

    def layer_groups(self) -> list[list[nn.Parameter]]:
        """The parameters from bottom to top, in the groups that gradual unfreezing unfreezes one by one; by default a single group."""
        return [list(self.parameters())]

    def arguments(self) -> dict[str, Any]:
        """The constructor's arguments other than the processor, as written to config.json."""
        return dict(self._arguments)

    def set_dropout_scale(self, scale: float) -> None:
        """Set the dropouts for fine-tuning on a task, multiplied by `scale`; without effect on encoders without dropout."""

    # Vectors of whole inputs

    def encode(self, inputs: Sequence[Any], *, layer: int = -1, pool: Pool = "mean") -> NDArray[np.float32]:
        """One vector for each input, in evaluation mode: (n, D).

        Inputs of similar size run together, so the memory needed does not grow with their number, and a vector does not
        depend on the other inputs.

        Args:
            inputs: n raw inputs; with none the result is (0, D).
            layer: which layer, counted from 0 or, if negative, from the top.
            pool: the mean, the elementwise maximum or the last of an input's vectors. An input without positions gets zeros.

        Raises:
            UserError: there is no such layer or pool, or an input cannot be read.
        """
        inputs = self._listed(inputs)
        layer = layer_number(layer, len(self.widths))
        if pool not in ("mean", "max", "last"):
            raise UserError(f"pool {pool!r}: it is mean, max or last")
        found = np.zeros((len(inputs), self.widths[layer]), dtype=np.float32)
        with evaluating(self), torch.inference_mode():
            for numbers in token_bounded_batches([1 + self.input_size(each) for each in inputs], BATCH_SIZE):
                batch = self.prepare([inputs[number] for number in numbers])
                found[numbers] = self._pooled(batch, layer, pool).cpu().numpy()
        return found

    def _listed(self, inputs: Any) -> Sequence[Any]:
        """Raw inputs by position, from any container."""
        need_several(inputs, "inputs")
        return inputs if isinstance(inputs, (list, tuple)) else list(inputs)

    def _pooled(self, batch: Any, layer: int, pool: Pool) -> Tensor:
        """Encode one batch and pool its vectors (B, D)."""
        layers, mask = self.layers(batch)
        return pooled(layers[layer].float(), mask, pool)

    # Saving and loading

    @property
    def n_parameters(self) -> int:
        """The number of parameters, those that are frozen included."""
        return sum(parameter.numel() for parameter in self.parameters())

    def config(self) -> dict[str, Any]:
        """The content of config.json: the kind and the constructor's arguments."""
        return {"kind": self.kind, "arguments": self.arguments()}

    def weights(self) -> dict[str, Tensor]:
        """The tensors to save, none of them twice."""
        return dict(self.state_dict())

    def load_weights(self, tensors: dict[str, Tensor], source: str) -> None:
        """Copy saved tensors into this encoder, by name.

        Raises:
            UserError: a tensor is missing, unknown or of another shape; the message names it and `source`.
        """
        load_matching(self, tensors, self.weights(), source)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write config.json, model.safetensors and the processor's files into `folder`, whole or not at all."""
        save_model(folder, self.config(), self.weights(), self.processor)

    def push_to_hub(self, repo_id: str, *, private: bool = False, token: str | None = None) -> str:
        """Save the encoder to the repository owner/name on the Hugging Face hub, which is made if needed.

        Returns:
            The address of the commit.

        Raises:
            UserError: the hub refused, or could not be reached.
        """
        return push_to_hub(self.save_pretrained, repo_id, private=private, token=token)

    @classmethod
    def from_config(cls, config: dict[str, Any], folder: Path) -> Self:
        """An encoder with random weights, made as the config of `folder` says, and the folder's processor.

        Raises:
            UserError: the arguments are not those of this encoder, or ask for other tensors than the folder has; or the
                processor is missing or damaged.
        """
        arguments = config.get("arguments", {})
        shapes = encoder_part(tensor_shapes(folder / WEIGHTS))
        return made_to_fit(cls, folder, shapes, cls.weights, cls.load_processor(folder), **arguments)

    @classmethod
    def from_pretrained(cls, name_or_dir: str | Path, **hub: Unpack[HubOptions]) -> Self:
        """Load a saved encoder, in evaluation mode and fp32, or the encoder of a language model or task model.

        `Encoder` itself loads any kind, and a subclass its own.

        Args:
            name_or_dir: a folder, the name of a released model, or owner/name on the hub.
            hub: `revision`, `cache_dir`, `token` and `local_files_only`, as in `huggingface_hub.snapshot_download`.

        Raises:
            UserError: there is no such model, or its folder is incomplete, damaged, of another kind or newer.
        """
        folder = find_model(name_or_dir, **hub)
        config = read_config(folder)
        # A tagger or an answerer may read only word vectors.
        if config["kind"] in TASKS and "encoder" not in config:
            if not config.get("word_vectors"):
                raise UserError(f"{folder} was fitted without an encoder: there is none to start from")
            return cls.from_pretrained(folder / "word_vectors")
        config = config.get("encoder") or config
        found = encoder_class(config["kind"], folder)
        if not issubclass(found, cls):
            wanted = f"of the kind {cls.kind}" if hasattr(cls, "kind") else f"of {cls.reads}"
            raise UserError(
                f"{folder} holds an encoder of {found.reads}, of the kind {config['kind']}, and one {wanted} is needed"
            )
        encoder: Self = found.from_config(config, folder)
        tensors = {
            name: tensor
            for name, tensor in encoder_part(load_tensors(folder / WEIGHTS)).items()
            if not name.startswith(("outputs.", "heads.", "word_vectors"))
        }
        encoder.load_weights(tensors, str(folder))
        return encoder.eval()


def layer_number(layer: int, count: int) -> int:
    """The number of one of `count` layers, counted from 0; if negative, `layer` counts from the top.

    Raises:
        UserError: `layer` is no integer, or there is no such layer.
    """
    if not isinstance(layer, Integral):
        raise UserError(f"layer is the number of a layer, not {layer!r}")
    if not -count <= layer < count:
        raise UserError(f"there is no layer {layer}: the encoder has {count}, from 0 to {count - 1}")
    return layer % count


def pooled(layer: Tensor, mask: Tensor, pool: Pool) -> Tensor:
    """(B, N, D), (B, N) -> (B, D); zeros where no position is real."""
    if not layer.shape[1]:
        return layer.new_zeros(len(layer), layer.shape[2])
    real = mask[:, :, None]
    count = mask.sum(1)
    if pool == "mean":
        return layer.masked_fill(~real, 0.0).sum(1) / count.clamp_min(1)[:, None]
    if pool == "max":
        largest = layer.masked_fill(~real, -torch.inf).amax(1)
        return largest.masked_fill((count == 0)[:, None], 0.0)
    last = layer[torch.arange(len(layer), device=layer.device), (count - 1).clamp_min(0)]
    return last.masked_fill((count == 0)[:, None], 0.0)
