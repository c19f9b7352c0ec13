"""Tensors in files of `torch.save`, of which no code is executed."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from unfreeze.errors import UserError


def read_state(path: Path, *, origin: str, advice: str) -> dict[str, Tensor]:
    """The tensors of a `.pth` by name, floating-point ones in fp32.

    The state of an optimizer beside them ({"model": ..., "opt": ...}) is left out.

    Args:
        origin: for messages, what writes such a file.
        advice: for messages, how to write it again.

    Raises:
        UserError: the file is missing or damaged, or holds more than tensors.
    """
    if not path.is_file():
        raise UserError(f"{path} is not a file: the weights are a file NAME.pth of {origin}")
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(f"{path} holds more than tensors, or is damaged: {advice}") from error
    except (OSError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise UserError(f"{path} is not a file of torch.save, or it is truncated") from error
    if isinstance(loaded, Mapping) and isinstance(loaded.get("model"), Mapping):
        loaded = loaded["model"]
    if not isinstance(loaded, Mapping) or not all(isinstance(tensor, Tensor) for tensor in loaded.values()):
        raise UserError(f"{path} is not a dictionary of tensors: {advice}")
    return {
        str(name): tensor.float() if tensor.is_floating_point() else tensor for name, tensor in loaded.items()
    }
