"""What every rung is: an encoder that turns tokens into layers of vectors.

    text -> ids -> Encoder -> layers of vectors, each (B, T, D_l)

Whatever consumes layers works on every rung unchanged. Legend: B batch, T pieces, W words, L layers, D_l widths.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

import torch
from torch import Tensor, nn

from unfreeze.errors import UserError, need_texts
from unfreeze.folders import (
    CONFIG,
    WEIGHTS,
    load_tensors,
    read_config,
    save_tensors,
    write_config,
    written_folder,
)
from unfreeze.text.batches import pad_sequences
from unfreeze.text.tokenizers import Pieces, TextTokenizer

T = TypeVar("T")


@dataclass(frozen=True)
class Batch:
    """Texts as ids, padded on the right, and where each piece comes from."""

    ids: Tensor
    """(B, T) of int64; every row begins with the begin-of-text id."""
    lengths: Tensor
    """(B,) of int64: ids of each row that are no padding."""
    words: list[list[int]]
    """For every id of a row the index of its word, -1 for special tokens."""
    offsets: list[list[tuple[int, int]]]
    """For every id of a row its span of characters in the text."""

    def to(self, device: torch.device) -> Batch:
        """The same batch with its tensors on `device`."""
        return Batch(self.ids.to(device), self.lengths.to(device), self.words, self.offsets)


class Encoder(nn.Module, ABC):
    """Tokens -> layers of vectors. Stateless: a text always gets the same vectors in evaluation mode."""

    kind: ClassVar[str]
    """The name of this rung in config.json."""

    tokenizer: TextTokenizer

    @property
    @abstractmethod
    def widths(self) -> list[int]:
        """D_l of every layer, bottom to top."""

    @abstractmethod
    def layers(self, batch: Batch) -> tuple[list[Tensor], Tensor]:
        """L tensors (B, T, D_l) in the order of the text, begin symbols stripped, and the mask (B, T) of real pieces."""

    @abstractmethod
    def word_layers(self, batch: Batch) -> tuple[list[Tensor], Tensor]:
        """L tensors (B, W, D_l), one vector a word, and the mask (B, W) of real words."""

    @abstractmethod
    def layer_groups(self) -> list[list[nn.Parameter]]:
        """The parameters bottom to top, as a transfer policy moves them."""

    @abstractmethod
    def arguments(self) -> dict[str, Any]:
        """The constructor's arguments but the tokenizer, as config.json keeps them."""

    def prepare_text(self, texts: Sequence[str]) -> Batch:
        """Raw texts -> a batch."""
        need_texts(texts, "texts")
        return self._batch([self.tokenizer.encode(text) for text in texts])

    def prepare(self, sentences: Sequence[list[str]]) -> Batch:
        """Texts that are split into words already -> a batch; word indices follow the given words."""
        return self._batch([self.tokenizer.encode_words(words) for words in sentences])

    def _batch(self, pieces: list[Pieces]) -> Batch:
        if not pieces:
            raise UserError("no texts were given")
        ids, lengths = pad_sequences([p.ids for p in pieces], self.tokenizer.pad_id)
        device = next(self.parameters()).device
        return Batch(
            ids.to(device), lengths.to(device), [p.words for p in pieces], [p.offsets for p in pieces]
        )

    @property
    def n_parameters(self) -> int:
        """How many numbers the encoder learned."""
        return sum(parameter.numel() for parameter in self.parameters())

    def config(self) -> dict[str, Any]:
        """What config.json says: kind and constructor arguments."""
        return {"kind": self.kind, "arguments": self.arguments()}

    def weights(self) -> dict[str, Tensor]:
        """The tensors to be saved; none twice."""
        return dict(self.state_dict())

    def load_weights(self, tensors: dict[str, Tensor], source: str) -> None:
        """Take over saved tensors, by name.

        Raises:
            UserError: a tensor is missing, left over or of another shape; the message names it.
        """
        load_matching(self, tensors, self.weights(), source)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write config.json, model.safetensors and tokenizer.json into `folder`, whole or not at all."""
        save_model(folder, self.config(), self.weights(), self.tokenizer)

    @classmethod
    def from_config(cls, config: dict[str, Any], folder: Path) -> Self:
        """An encoder with random weights, made as the config of `folder` says, and the folder's tokenizer.

        Raises:
            UserError: the arguments are not those of this encoder, or the tokenizer is missing or damaged.
        """
        return made_from_config(cls, folder, TextTokenizer.load(folder), **config.get("arguments", {}))

    @classmethod
    def from_pretrained(
        cls,
        name_or_dir: str | Path,
        *,
        revision: str | None = None,
        cache_dir: str | Path | None = None,
        token: str | None = None,
        local_files_only: bool = False,
    ) -> Encoder:
        """Load any rung: from a folder, by a released name, or from the hub (a name with a slash).

        Raises:
            UserError: there is no such model, or its folder is incomplete, damaged, of another kind or newer.
        """
        from unfreeze.encoders.loading import load_encoder

        return load_encoder(
            name_or_dir,
            expected=cls,
            revision=revision,
            cache_dir=cache_dir,
            token=token,
            local_files_only=local_files_only,
        )


def made_from_config(make: Callable[..., T], folder: Path, *own: object, **arguments: Any) -> T:
    """`make(*own, **arguments)` with the arguments that `folder`'s config.json names.

    Raises:
        UserError: `make` has no such argument, needs another one, or refuses its value.
    """
    try:
        signature(make).bind(*own, **arguments)  # beforehand: a TypeError from within `make` is a bug
    except TypeError as error:
        raise UserError(
            f"{folder / CONFIG} does not fit this version of unfreeze ({error}): upgrade with pip install -U unfreeze"
        ) from error
    try:
        return make(*own, **arguments)
    except UserError as error:
        if str(folder) in str(error):
            raise
        raise UserError(f"{folder / CONFIG}: {error}") from error


def save_model(
    folder: str | Path,
    config: dict[str, Any],
    weights: dict[str, Tensor],
    tokenizer: TextTokenizer,
    *,
    half: bool = False,
) -> None:
    """Write config.json, model.safetensors (in fp16, if `half`) and tokenizer.json, whole or not at all."""
    with written_folder(Path(folder), keep={"training", "README.md", "metrics.json"}) as target:
        write_config(target, config)
        save_tensors(target / WEIGHTS, {name: t.half() if half else t for name, t in weights.items()})
        tokenizer.save(target)


def load_matching(
    module: nn.Module, tensors: dict[str, Tensor], expected: dict[str, Tensor], source: str
) -> None:
    """Load `tensors` into `module`, which owns exactly the names and shapes of `expected`."""
    for problem, names in (
        ("lacks", expected.keys() - tensors.keys()),
        ("has an unknown", tensors.keys() - expected.keys()),
    ):
        if names:
            raise UserError(
                f"{source} {problem} tensor {sorted(names)[0]!r}: weights and {CONFIG} do not fit"
            )
    for name, tensor in tensors.items():
        if tensor.shape != expected[name].shape:
            raise UserError(
                f"{source}: tensor {name!r} is {list(tensor.shape)}, {CONFIG} wants {list(expected[name].shape)}"
            )
    # A shared parameter is listed once in `expected`, so names of its second home may be missing: not strict.
    found = module.load_state_dict(
        {name: tensor.to(expected[name].dtype) for name, tensor in tensors.items()}, strict=False
    )
    assert not found.unexpected_keys, f"{source}: expected names that the module does not have"


def encoder_weights(folder: Path) -> dict[str, Tensor]:
    """The encoder's own tensors of a saved encoder, language model or task model."""
    tensors = load_tensors(folder / WEIGHTS)
    return {
        name.removeprefix("encoder."): t for name, t in tensors.items() if name.startswith("encoder.")
    } or tensors


__all__ = ["Batch", "Encoder", "encoder_weights", "load_matching", "made_from_config", "read_config"]
