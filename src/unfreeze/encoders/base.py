"""What every rung is: an encoder that turns tokens into layers of vectors.

    text -> ids -> Encoder -> layers of vectors, each (B, T, D_l)

Whatever consumes layers works on every rung unchanged. Legend: B batch, T pieces, W words, L layers, D_l widths.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from unfreeze.checked import need_call, shown
from unfreeze.errors import UserError, need_texts
from unfreeze.folders import (
    CONFIG,
    WEIGHTS,
    load_tensors,
    read_config,
    tensor_shapes,
    write_model,
    written_folder,
)
from unfreeze.registry import encoder_class, find_model
from unfreeze.text.batches import pad_sequences
from unfreeze.text.tokenizers import Pieces, TextTokenizer

T = TypeVar("T")
ON_WORDS = ("sequence_tagger", "question_answerer")
"""Task models that may stand on word vectors alone."""
LARGEST_SIZE = 2**31 - 1
"""Of anything that a model's arguments name."""
MOST_CALLS = 50
"""Calls of torch for each tensor of a model while it is made; the models here need 3 to 6."""


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
            UserError: the arguments are not those of this encoder, or ask for other tensors than the folder has; or the
                tokenizer is missing or damaged.
        """
        arguments = config.get("arguments", {})
        shapes = encoder_part(tensor_shapes(folder / WEIGHTS))
        return made_to_fit(cls, folder, shapes, cls.weights, TextTokenizer.load(folder), **arguments)

    @classmethod
    def from_pretrained(
        cls,
        name_or_dir: str | Path,
        *,
        revision: str | None = None,
        cache_dir: str | Path | None = None,
        token: str | None = None,
        local_files_only: bool = False,
    ) -> Self:
        """Load a saved encoder, in evaluation mode and fp32, or the encoder of a language model or task model.

        `Encoder` itself loads any kind, and a subclass its own.

        Args:
            name_or_dir: a folder, the name of a released model, or owner/name on the hub.
            revision, cache_dir, token, local_files_only: for the hub, as in `huggingface_hub.snapshot_download`.

        Raises:
            UserError: there is no such model, or its folder is incomplete, damaged, of another kind or newer.
        """
        folder = find_model(
            name_or_dir,
            revision=revision,
            cache_dir=cache_dir,
            token=token,
            local_files_only=local_files_only,
        )
        config = read_config(folder)
        if config["kind"] in ON_WORDS and "encoder" not in config:
            if not config.get("word_vectors"):
                raise UserError(f"{folder} was fitted without an encoder: there is none to start from")
            return cls.from_pretrained(folder / "word_vectors")
        config = config.get("encoder") or config
        found = encoder_class(config["kind"], folder)
        if not issubclass(found, cls):
            expected = getattr(cls, "kind", cls.__name__)
            raise UserError(f"{folder} holds an encoder of the kind {config['kind']}, not {expected}")
        encoder: Self = found.from_config(config, folder)
        tensors = {
            name: tensor
            for name, tensor in encoder_weights(folder).items()
            if not name.startswith(("outputs.", "heads.", "word_vectors"))
        }
        encoder.load_weights(tensors, str(folder))
        return encoder.eval()


def made_to_fit(
    make: Callable[..., T],
    folder: Path,
    shapes: dict[str, list[int]],
    weights: Callable[[T], dict[str, Tensor]],
    /,
    *own: object,
    **arguments: Any,
) -> T:
    """`made_from_config`, once it is sure that what comes out has the tensors of `folder`: nothing larger is ever made.

    Args:
        shapes: of the saved tensors, by name.
        weights: the tensors that must be among them.

    Raises:
        UserError: also where the arguments ask for other tensors than those.
    """
    need_call(make, folder / CONFIG, *own, **arguments)
    _need_sizes(arguments, folder)
    try:
        with _Sketching(len(shapes)):
            sketch = made_from_config(make, folder, *own, **arguments)
    except UserError:
        raise
    except (ArithmeticError, RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{folder / CONFIG} asks for a model that cannot be made: {reason}") from error
    _need_shapes(shapes, weights(sketch), str(folder))
    return made_from_config(make, folder, *own, **arguments)


class _Sketching(TorchFunctionMode):
    """Makes tensors without numbers, which take no memory, and no more of them than a model with so many tensors has."""

    def __init__(self, n_tensors: int) -> None:
        super().__init__()
        self.left = MOST_CALLS * (1 + n_tensors)

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.left -= 1
        if self.left < 0:  # layers without end would fill the memory with modules, if not with numbers
            raise ValueError(f"it has far more tensors than {WEIGHTS}")
        with torch.device("meta"):
            return function(*args, **(kwargs or {}))


def _need_sizes(arguments: dict[str, Any], folder: Path) -> None:
    """Refuse whole numbers that are no size of anything."""
    for name, value in _whole_numbers(arguments):
        if abs(value) > LARGEST_SIZE:
            raise UserError(f"{folder / CONFIG}: {name} is {shown(value)}, which is no size of a model")


def _whole_numbers(value: object, name: str = "") -> Iterator[tuple[str, int]]:
    """All whole numbers in an object of JSON, with the names that they go by."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _whole_numbers(inner, str(key))
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _whole_numbers(inner, name)
    elif isinstance(value, int) and not isinstance(value, bool):
        yield name, value


def made_from_config(make: Callable[..., T], folder: Path, /, *own: object, **arguments: Any) -> T:
    """`make(*own, **arguments)` with the arguments that `folder`'s config.json names.

    Raises:
        UserError: `make` has no such argument, needs another one, or refuses its type or value.
    """
    need_call(make, folder / CONFIG, *own, **arguments)  # beforehand: a TypeError from within `make` is a bug
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
        write_model(target, config, {name: t.half() if half else t for name, t in weights.items()})
        tokenizer.save(target)


def load_matching(
    module: nn.Module, tensors: dict[str, Tensor], expected: dict[str, Tensor], source: str
) -> None:
    """Load `tensors` into `module`, which owns exactly the names and shapes of `expected`."""
    _need_shapes({name: list(tensor.shape) for name, tensor in tensors.items()}, expected, source)
    if unknown := tensors.keys() - expected.keys():
        raise UserError(f"{source} has an unknown tensor {min(unknown)!r}: weights and {CONFIG} do not fit")
    # A shared parameter is listed once in `expected`, so names of its second home may be missing: not strict.
    found = module.load_state_dict(
        {name: tensor.to(expected[name].dtype) for name, tensor in tensors.items()}, strict=False
    )
    assert not found.unexpected_keys, f"{source}: expected names that the module does not have"


def _need_shapes(shapes: dict[str, list[int]], expected: dict[str, Tensor], source: str) -> None:
    """Raise the UserError where a tensor that is expected is missing in `shapes`, or has another one."""
    if missing := expected.keys() - shapes.keys():
        raise UserError(f"{source} lacks tensor {min(missing)!r}: weights and {CONFIG} do not fit")
    for name, tensor in expected.items():
        if list(tensor.shape) != shapes[name]:
            raise UserError(
                f"{source}: tensor {name!r} is {shapes[name]}, {CONFIG} wants {list(tensor.shape)}"
            )


def encoder_weights(folder: Path) -> dict[str, Tensor]:
    """The encoder's own tensors of a saved encoder, language model or task model."""
    return encoder_part(load_tensors(folder / WEIGHTS))


def encoder_part(tensors: dict[str, T]) -> dict[str, T]:
    """What belongs to the encoder among the tensors of a saved model, under the encoder's own names."""
    prefix = "encoder."
    own = {name.removeprefix(prefix): x for name, x in tensors.items() if name.startswith(prefix)}
    return own or tensors


__all__ = ["Batch", "Encoder", "encoder_weights", "load_matching", "made_from_config", "read_config"]
