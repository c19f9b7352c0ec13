"""Create modules from config.json, after a check that they are not larger than the saved tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from unfreeze.checked import need_call, shown
from unfreeze.errors import UserError
from unfreeze.folders import CONFIG, WEIGHTS, write_model, written_folder

T = TypeVar("T")
LARGEST_SIZE = 2**31 - 1
"""Largest number that an argument of a model may have."""
MAX_CALLS = 50
"""Calls of torch for each tensor of a model while it is made; the models here need 3 to 6."""

RANDOM_STARTS: set[Any] = {Tensor.normal_, Tensor.uniform_, nn.init.normal_, nn.init.uniform_}
"""The functions that initialize weights in torch's modules and in ours."""


class Processor(Protocol):
    """Turns raw inputs into the numbers of a batch: a tokenizer, or an image transform."""

    def save(self, folder: str | Path) -> None:
        """Write the processor's files into the folder of a model."""


def made_to_fit(
    make: Callable[..., T],
    folder: Path,
    shapes: dict[str, list[int]],
    weights: Callable[[T], dict[str, Tensor]],
    /,
    *own: object,
    **arguments: Any,
) -> T:
    """`made_from_config`, after a check that the result has the tensors of `folder`; the check allocates no memory for them.

    Args:
        shapes: of the saved tensors, by name.
        weights: the tensors that must be among them.

    Raises:
        UserError: also where the arguments ask for other tensors than those.
    """
    need_call(make, folder / CONFIG, *own, **arguments)
    for name, value in _whole_numbers(arguments):
        if abs(value) > LARGEST_SIZE:
            raise UserError(f"{folder / CONFIG}: {name} is {shown(value)}, which is not a size of a model")
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
    """Makes tensors on the meta device, which take no memory, and stops when there are far more than were saved."""

    def __init__(self, n_tensors: int) -> None:
        super().__init__()
        self.left = MAX_CALLS * (1 + n_tensors)

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.left -= 1
        if self.left < 0:  # layers without end would fill the memory with modules, if not with numbers
            raise ValueError(f"it has far more tensors than {WEIGHTS}")
        # A random start on the meta device changes nothing, but makes torch import its compiler: two seconds a process.
        if function in RANDOM_STARTS:
            return args[0] if args else kwargs["tensor"]
        with torch.device("meta"):
            return function(*args, **(kwargs or {}))


def _whole_numbers(value: object, name: str = "") -> Iterator[tuple[str, int]]:
    """All integers in a JSON object, each with the name of the field that it is in."""
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
    processor: Processor,
    *,
    half: bool = False,
) -> None:
    """Write config.json, model.safetensors (in fp16, if `half`) and the processor's files, whole or not at all."""
    with written_folder(Path(folder), keep={"training", "README.md", "metrics.json"}) as target:
        write_model(target, config, {name: t.half() if half else t for name, t in weights.items()})
        processor.save(target)


def load_matching(
    module: nn.Module, tensors: dict[str, Tensor], expected: dict[str, Tensor], source: str
) -> None:
    """Load `tensors` into `module`, which owns exactly the names and shapes of `expected`.

    Raises:
        UserError: a tensor is missing, unknown or of another shape; the message names it and `source`.
    """
    _need_shapes({name: list(tensor.shape) for name, tensor in tensors.items()}, expected, source)
    if unknown := tensors.keys() - expected.keys():
        raise UserError(f"{source} has an unknown tensor {min(unknown)!r}: weights and {CONFIG} do not fit")
    # A shared parameter is listed once in `expected`, so names of its second home may be missing: not strict.
    found = module.load_state_dict(
        {name: tensor.to(expected[name].dtype) for name, tensor in tensors.items()}, strict=False
    )
    assert not found.unexpected_keys, f"{source}: expected names that the module does not have"


def _need_shapes(shapes: dict[str, list[int]], expected: dict[str, Tensor], source: str) -> None:
    """Raise UserError if an expected tensor is missing in `shapes` or has another shape."""
    if missing := expected.keys() - shapes.keys():
        raise UserError(f"{source} lacks tensor {min(missing)!r}: weights and {CONFIG} do not fit")
    for name, tensor in expected.items():
        if list(tensor.shape) != shapes[name]:
            raise UserError(
                f"{source}: tensor {name!r} is {shapes[name]}, {CONFIG} wants {list(tensor.shape)}"
            )


def encoder_part(tensors: dict[str, T]) -> dict[str, T]:
    """The encoder's tensors among those of a saved encoder, language model or task model, by their names in the encoder."""
    prefix = "encoder."
    own = {name.removeprefix(prefix): x for name, x in tensors.items() if name.startswith(prefix)}
    return own or tensors
