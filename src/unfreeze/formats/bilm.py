"""Read and write the published format of ELMo, options.json and weights.hdf5, of bilm-tf and AllenNLP.

TensorFlow orders gates as input, candidate, forget, output, and adds 1 to the bias of the forget gate at run time. Here, gates
are in torch's order (input, forget, candidate, output), and the bias includes the 1. TensorFlow's weights are (in, out), those
here (out, in).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unfreeze.checked import read_json_file
from unfreeze.encoders.directions import module_name
from unfreeze.encoders.elmo import DIRECTIONS, Elmo
from unfreeze.errors import UserError, import_extra, setting
from unfreeze.folders import CONFIG, write_json, written_file
from unfreeze.text.cased_words import CASED_SPECIAL_TOKENS, CasedTokenizer
from unfreeze.text.characters import N_SYMBOLS

FORGET_BIAS = 1.0
LONGEST = 1 << 12
"""Largest accepted number of symbols per word; published models have 50."""
SYMBOLS = (N_SYMBOLS - 1, N_SYMBOLS)
"""The number of characters in options.json, without and with the mask."""
BILM_SPECIAL_TOKENS = {"<S>", "</S>", "<UNK>"}
"""Entries of the vocabularies of bilm-tf that are not words."""


def is_bilm(source: Path) -> bool:
    """Whether a path is a published ELMo: its options.json, or the folder of its files."""
    if source.is_dir() and not (source / CONFIG).exists():
        return bool(list(source.glob("*options*.json")))
    return source.suffix == ".json"


def find_bilm(source: Path, weights: Path | None = None) -> tuple[Path, Path]:
    """The options and the weights of a published ELMo.

    Args:
        source: the options, or the folder of both files.
        weights: the weights; None if they are the only ones in the folder.

    Raises:
        UserError: there are none, or several to choose from.
    """
    folder = source if source.is_dir() else source.parent
    options = sorted(folder.glob("*options*.json")) if source.is_dir() else [source]
    found = [weights] if weights else sorted(folder.glob("*weights*.hdf5"))
    for files, what, how in (
        (options, "options", "name the file"),
        (found, "weights", f"name them with {setting('weights')}"),
    ):
        if len(files) != 1:
            names = ", ".join(path.name for path in files) or "none"
            raise UserError(f"{folder} has {len(files)} files of ELMo's {what} ({names}): {how}")
    return options[0], found[0]


def read_bilm(options: str | Path, weights: str | Path, vocabulary: Sequence[str] = ()) -> Elmo:
    """Read a published model of any size.

    Args:
        vocabulary: words of the output layer, or of a model that reads word ids; not needed for published encoders.

    Raises:
        UserError: a file is missing, damaged or incomplete, or the sizes in the files differ.
    """
    sizes = _read_options(Path(options))
    words = [
        word for word in vocabulary if word not in BILM_SPECIAL_TOKENS and word not in CASED_SPECIAL_TOKENS
    ]
    tokenizer = CasedTokenizer([*CASED_SPECIAL_TOKENS, *dict.fromkeys(words)])
    with torch.device("meta"):  # shapes only, so that a model that does not fit the file takes no memory
        model = Elmo(tokenizer, **sizes, dropout=0.1)
    with _hdf5(Path(weights)) as arrays:
        tensors = dict(_tensors(arrays, model, str(weights)))
    expected = model.weights()
    for name, tensor in tensors.items():
        if tensor.shape != expected[name].shape:
            raise UserError(
                f"{weights} does not fit {options}: {name} is {list(tensor.shape)} in the file, "
                f"and {list(expected[name].shape)} by the options"
            )
    encoder = Elmo(tokenizer, **sizes, dropout=0.1)
    encoder.load_weights(tensors, str(weights))
    return encoder.eval()


def _read_options(path: Path) -> dict[str, Any]:
    """Convert options.json to arguments of `Elmo`."""
    if not path.exists():
        raise UserError(f"{path} is missing: ELMo needs options.json next to its weights")
    options = read_json_file(path)
    try:
        lstm, characters = options["lstm"], options["char_cnn"]
        symbols = characters["n_characters"]
        sizes = {
            "size": _integer(lstm["projection_dim"]),
            "cells": _integer(lstm["dim"]),
            "n_layers": _integer(lstm["n_layers"]),
            "cell_clip": _positive_number(lstm.get("cell_clip")),
            "projection_clip": _positive_number(lstm.get("proj_clip")),
            "skip_connections": bool(lstm.get("use_skip_connections", False)),
            "spelling": {
                "embedding": _integer(characters["embedding"]["dim"]),
                "filters": [[_integer(width), _integer(count)] for width, count in characters["filters"]],
                "n_highway": _integer(characters.get("n_highway", 0), least=0),
                "longest": _integer(characters["max_characters_per_token"], most=LONGEST),
                "activation": characters.get("activation", "relu"),
            },
        }
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise UserError(f"{path} is not ELMo's options.json: {reason}") from error
    if symbols not in SYMBOLS:
        raise UserError(f"{path} has {symbols} characters: ELMo's are 261, or 262 with the mask")
    return sizes


def _integer(value: object, least: int = 1, most: int = 1 << 20) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise ValueError(f"{value!r} is not an integer from {least} to {most}")
    return value


def _positive_number(value: object) -> float | None:
    if value is None:
        return None
    if not isinstance(value, int | float) or isinstance(value, bool) or not value > 0:
        raise ValueError(f"{value!r} is not a number above 0")
    return float(value)


@contextmanager
def _hdf5(path: Path) -> Iterator[Any]:
    """The arrays of an HDF5 file by name, as long as it is open."""
    h5py = import_extra("h5py", "formats")
    if not path.is_file():
        raise UserError(f"{path} is missing: ELMo's weights are an HDF5 file")
    try:
        with h5py.File(path, "r") as file:
            found: dict[str, Any] = {}
            # Links are not followed, because they can lead to other files.
            file.visititems(lambda name, item: found.update({name: item} if _is_numbers(item) else {}))
            yield found
    except (OSError, RuntimeError) as error:  # what h5py raises for a damaged file
        raise UserError(f"{path} cannot be read ({error}): the file is truncated or not HDF5") from error


def _is_numbers(item: Any) -> bool:
    return getattr(getattr(item, "dtype", None), "kind", "") in "fiu" and hasattr(item, "shape")


def _tensors(arrays: dict[str, Any], encoder: Elmo, source: str) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of the encoder under our names; further layers in the file are an error."""
    left = {name for name in arrays if name.startswith(("CNN", "RNN"))}

    def get(name: str) -> NDArray[np.float32]:
        if name not in arrays:
            raise UserError(
                f"{source} lacks {name!r}: it is damaged, or its options are those of another model"
            )
        left.discard(name)
        with np.errstate(over="ignore"):  # values outside of float32 are reported below
            found: NDArray[np.float32] = np.asarray(arrays[name][...], dtype=np.float32)
        if not np.isfinite(found).all():
            raise UserError(f"{source}: {name!r} holds NaN or infinity")
        return found

    assert encoder.char_cnn is not None
    symbols = get("char_embed")
    yield "words.symbols", torch.from_numpy(np.concatenate([np.zeros_like(symbols[:1]), symbols]))
    kinds = range(len(encoder.char_cnn.filters))
    for number in kinds:
        yield f"words.filters.{number}", torch.from_numpy(get(f"CNN/W_cnn_{number}")[0])
    yield "words.bias", torch.from_numpy(np.concatenate([get(f"CNN/b_cnn_{number}") for number in kinds]))
    for number in range(encoder.char_cnn.n_highway):
        for name in ("carry", "transform"):
            place = f"words.highways.{number}.{name}"
            yield f"{place}.weight", torch.from_numpy(get(f"CNN_high_{number}/W_{name}").T)
            yield f"{place}.bias", torch.from_numpy(get(f"CNN_high_{number}/b_{name}"))
    yield "words.projection.weight", torch.from_numpy(get("CNN_proj/W_proj").T)
    yield "words.projection.bias", torch.from_numpy(get("CNN_proj/b_proj"))
    for direction, name in enumerate(DIRECTIONS):
        for number in range(encoder.n_layers):
            cell, place = _cell(direction, number), f"stacks.{module_name(name)}.{number}"
            weight, bias = _swap_gates(get(f"{cell}/W_0").T), _swap_gates(get(f"{cell}/B"))
            bias[len(bias) // 4 : len(bias) // 2] += FORGET_BIAS
            yield f"{place}.weight_input", torch.from_numpy(weight[:, : encoder.size].copy())
            yield f"{place}.weight_state", torch.from_numpy(weight[:, encoder.size :].copy())
            yield f"{place}.bias", torch.from_numpy(bias)
            yield f"{place}.projection", torch.from_numpy(get(f"{cell}/W_P_0").T)
    if left:
        raise UserError(
            f"{source} holds {min(left)!r}, which the options do not have: they are those of another model"
        )


def _cell(direction: int, layer: int) -> str:
    return f"RNN_{direction}/RNN/MultiRNNCell/Cell{layer}/LSTMCell"


def _swap_gates(blocks: NDArray[np.float32]) -> NDArray[np.float32]:
    """Swap the second and third quarter of the rows, which converts between the two orders of gates."""
    i, second, third, o = np.split(blocks, 4)
    return np.concatenate([i, third, second, o])


def write_bilm(encoder: Elmo, folder: str | Path) -> tuple[Path, Path]:
    """Write `options.json` and `weights.hdf5` into `folder`, as AllenNLP and bilm-tf read them.

    Returns:
        The two files.

    Raises:
        UserError: the encoder reads word ids, which the format does not support, or the files cannot be written.
    """
    if encoder.char_cnn is None:
        raise UserError("this ELMo reads word ids: the published format is for models that read characters")
    h5py = import_extra("h5py", "formats")
    folder = Path(folder)
    options, weights = folder / "options.json", folder / "weights.hdf5"
    with written_file(weights) as temporary, h5py.File(temporary, "w") as file:
        for name, array in _arrays(encoder):
            file.create_dataset(name, data=array, dtype="float32")
    arguments, sizes = encoder.arguments(), encoder.char_cnn
    lstm = {
        "dim": arguments["cells"],
        "projection_dim": encoder.size,
        "n_layers": encoder.n_layers,
        "cell_clip": arguments["cell_clip"],
        "proj_clip": arguments["projection_clip"],
        "use_skip_connections": encoder.skip_connections,
    }
    char_cnn = {
        "embedding": {"dim": sizes.embedding},
        "filters": [list(each) for each in sizes.filters],
        "n_highway": sizes.n_highway,
        "n_characters": N_SYMBOLS,
        "max_characters_per_token": sizes.longest,
        "activation": sizes.activation,
    }
    write_json(options, {"lstm": lstm, "char_cnn": char_cnn})
    return options, weights


def _arrays(encoder: Elmo) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Yield the arrays of the published format by name; the inverse of `_tensors`."""
    assert encoder.char_cnn is not None
    tensors = {name: tensor.detach().cpu().float().numpy() for name, tensor in encoder.weights().items()}
    yield "char_embed", tensors["words.symbols"][1:]
    bounds = np.cumsum([count for _, count in encoder.char_cnn.filters])[:-1]
    for number, bias in enumerate(np.split(tensors["words.bias"], bounds)):
        yield f"CNN/W_cnn_{number}", tensors[f"words.filters.{number}"][None]
        yield f"CNN/b_cnn_{number}", bias
    for number in range(encoder.char_cnn.n_highway):
        for name in ("carry", "transform"):
            place = f"words.highways.{number}.{name}"
            yield f"CNN_high_{number}/W_{name}", tensors[f"{place}.weight"].T
            yield f"CNN_high_{number}/b_{name}", tensors[f"{place}.bias"]
    yield "CNN_proj/W_proj", tensors["words.projection.weight"].T
    yield "CNN_proj/b_proj", tensors["words.projection.bias"]
    for direction, name in enumerate(DIRECTIONS):
        for number in range(encoder.n_layers):
            cell, place = _cell(direction, number), f"stacks.{module_name(name)}.{number}"
            both = [tensors[f"{place}.weight_input"], tensors[f"{place}.weight_state"]]
            bias = tensors[f"{place}.bias"].copy()
            bias[len(bias) // 4 : len(bias) // 2] -= FORGET_BIAS
            yield f"{cell}/W_0", _swap_gates(np.concatenate(both, axis=1)).T
            yield f"{cell}/B", _swap_gates(bias)
            yield f"{cell}/W_P_0", tensors[f"{place}.projection"].T
