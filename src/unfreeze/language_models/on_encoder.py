"""What the language models on an encoder share: how they are saved and loaded."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Self

from torch import Tensor, nn

from unfreeze.encoders.saving import load_matching, made_from_config, save_model
from unfreeze.encoders.text_encoder import TextEncoder
from unfreeze.folders import WEIGHTS, load_tensors
from unfreeze.language_models.base import Adapts, Fills
from unfreeze.language_models.model import LanguageModel
from unfreeze.registry import encoder_class


class EncoderLanguageModel(nn.Module, LanguageModel, Fills, Adapts):
    """An encoder of the same kind, and an output layer under the name `output_name`."""

    encoder: TextEncoder
    output_name: ClassVar[str]

    @abstractmethod
    def output_arguments(self) -> dict[str, Any]:
        """The constructor's arguments other than the encoder, as config.json keeps them."""

    def config(self) -> dict[str, Any]:
        """The content of config.json: the encoder's, and the output layer's arguments."""
        return {**self.encoder.config(), "output": self.output_arguments()}

    def weights(self) -> dict[str, Tensor]:
        """The tensors to save by name, those of the encoder under `encoder.`."""
        output = getattr(self, self.output_name).state_dict()
        own = {f"encoder.{name}": tensor for name, tensor in self.encoder.weights().items()}
        return own | {f"{self.output_name}.{name}": tensor for name, tensor in output.items()}

    def save_pretrained(
        self, folder: str | Path, *, without_output: bool = False, half: bool = False
    ) -> None:
        """Write config.json, model.safetensors and tokenizer.json into `folder`, whole or not at all.

        Args:
            without_output: save the encoder only, which is no longer a language model.
            half: store fp16, for release; loading converts to fp32.
        """
        if without_output:
            self.encoder.save_pretrained(folder)
        else:
            save_model(folder, self.config(), self.weights(), self.tokenizer, half=half)

    @classmethod
    def load_folder(cls, folder: Path, config: dict[str, Any]) -> Self:
        encoder = encoder_class(cls.kind, folder).from_config(config, folder)
        make: Callable[..., Self] = cls
        model = made_from_config(make, folder, encoder, **config["output"])
        load_matching(model, load_tensors(folder / WEIGHTS), model.weights(), str(folder))
        return model.eval()
