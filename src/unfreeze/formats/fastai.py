"""Convert ULMFiT models of fastai (`.pth` and vocabulary): language models, encoders and classifiers.

No code in the files is executed. Weights are read by `torch.load(weights_only=True)`, and a pickled vocabulary by an unpickler
that refuses the names of all classes and functions, so that it can contain only lists, strings and numbers (fastai pickles plain
lists).

fastai's AWD-LSTM has the gates of `torch.nn.LSTM` in the same order, so weights are copied. Its AWD-QRNN (fastai 1 with
`qrnn=True`, fastai 2 until 2.3) has our gates in our order, and its first layer reads x_t and then x_(t-1) like ours. But its
forget gate is the share of the new value, c_t = f z_t + (1 - f) c_(t-1), and ours that of the old one: since
1 - sigmoid(a) = sigmoid(-a), the weights and biases of this gate change sign. The zoneout of the training is not in the file;
it is applied only in training, so predictions do not depend on it.

Documents are read differently: fastai's classifier pools over the last 1,440 tokens by default (`max_len`), ours over all. Logits
agree to 1e-5 if both read the same tokens (benchmarks/fastai_parity.py).

Shapes: V vocabulary, E embedding width, H hidden width of a layer, K labels.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Literal, NamedTuple, NoReturn

import torch
from torch import Tensor

from unfreeze.checked import read_json_file
from unfreeze.encoders.awd_lstm import AwdLstm
from unfreeze.encoders.layers.cell_settings import CellKind
from unfreeze.errors import UserError, setting
from unfreeze.formats import torch_files
from unfreeze.language_models.awd_lstm import AwdLstmLanguageModel
from unfreeze.tasks.classifier_network import pooled_network
from unfreeze.tasks.heads import HEAD_WIDTH
from unfreeze.tasks.text_classifier import TextClassifier
from unfreeze.text.tokenizers import WordTokenizer

Kind = Literal["language model", "classifier", "encoder"]

_PREFIXES: dict[Kind, str] = {"classifier": "0.module.", "language model": "0.", "encoder": ""}
"""Kind of file -> prefix of the names of its encoder's tensors."""


class _Names(NamedTuple):
    """Names of the tensors of a kind of layer in fastai."""

    module: str
    """Path of the module within `rnns.N.`."""
    parts: tuple[str, ...]
    """Names of the parts in our layers."""
    suffix: str
    """Suffix of the name of a part."""

    def of(self, number: int, part: str) -> list[str]:
        """Possible names of a part, best first: the matrix before weight dropout ("raw"), then the one after it."""
        path, name = f"rnns.{number}.{self.module}", f"{part}{self.suffix}"
        return [f"{path}{name}_raw", f"{path}module.{name}_raw", f"{path}module.{name}", f"{path}{name}"]


_CELLS: dict[CellKind, _Names] = {
    "lstm": _Names("", ("weight_ih", "weight_hh", "bias_ih", "bias_hh"), "_l0"),
    "qrnn": _Names("layers.0.linear.", ("weight", "bias"), ""),
}
_LAYER = re.compile(r"rnns\.(\d+)\.")
_HEAD = re.compile(r"1\.layers\.(\d+)\.(\d+)\.(\w+)")
_SUBWORD_MARK = "▁"


@dataclass(frozen=True)
class Converted:
    """Kind and sizes of a converted model."""

    kind: Kind
    cell: CellKind
    vocabulary_size: int
    embedding_size: int
    hidden_size: int
    n_layers: int
    labels: tuple[str, ...]


def convert_fastai(
    weights: str | Path,
    vocabulary: str | Path,
    output: str | Path,
    *,
    labels: Sequence[str] = (),
    direction: Literal["forward", "backward"] = "forward",
) -> Converted:
    """Convert a fastai AWD-LSTM or AWD-QRNN to a saved model, atomically.

    The windows of QRNNs are inferred from the weights, and zoneout is 0, as in all models that fastai itself creates.

    Args:
        weights: file written by `learn.save(name, with_opt=False)` or `learn.save_encoder(name)`; of fastai 1 only language
            models and encoders.
        vocabulary: `dls.vocab`, pickled, as JSON or as text with one token per line; of a classifier also the pair of
            tokens and labels.
        labels: labels of a classifier in the order of its outputs, unless `vocabulary` contains them.
        direction: reading direction of the model.

    Raises:
        UserError: a file cannot be read, contains another kind of model, or the files do not match.
    """
    state = read_state(Path(weights))
    tokens, file_labels = read_vocabulary(Path(vocabulary))
    kind = _kind_of(state, weights)
    prefix = _PREFIXES[kind]
    encoder_state = {
        name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)
    }
    encoder = _make_encoder(encoder_state, tokens, direction, (str(weights), str(vocabulary)))
    chosen = tuple(labels) or file_labels
    if kind == "classifier":
        if direction == "backward":
            raise UserError(
                f"{weights}: fastai's backward classifier reads the begin symbol last, ours first: "
                "convert its language model and fit a classifier on that"
            )
        _make_classifier(encoder, state, chosen, str(weights)).save_pretrained(output)
    elif kind == "language model":
        _make_language_model(encoder, state, str(weights)).save_pretrained(output)
    else:
        encoder.save_pretrained(output)
    sizes = encoder.arguments()
    return Converted(
        kind,
        encoder.cell,
        len(tokens),
        sizes["embedding_size"],
        sizes["hidden_size"],
        sizes["n_layers"],
        chosen if kind == "classifier" else (),
    )


# Files


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a `.pth` by name, in fp32, without the state of the optimizer.

    Raises:
        UserError: the file is missing or damaged, or holds more than tensors.
    """
    advice = "save it again in fastai with learn.save(NAME, with_opt=False)"
    state = torch_files.read_state(path, origin="fastai's learn.save", advice=advice)
    return {name: tensor.float() for name, tensor in state.items()}


def read_vocabulary(path: Path) -> tuple[list[str], tuple[str, ...]]:
    """The tokens in the order of their ids, and the labels if the file has both, like `dls.vocab` of a classifier.

    Raises:
        UserError: the file is missing, damaged, or no vocabulary.
    """
    if not path.is_file():
        raise UserError(f"{path} is not a file: the vocabulary is fastai's dls.vocab, as .pkl, .json or .txt")
    try:
        if path.suffix == ".pkl":
            found = _read_pickle(path)
        elif path.suffix == ".json":
            found = read_json_file(path, "write fastai's dls.vocab as JSON")
        else:
            found = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} cannot be read as {path.suffix or 'text'}: {error}") from error
    pair = isinstance(found, list) and len(found) == 2 and all(isinstance(part, list) for part in found)
    tokens, labels = found if pair else (found, [])
    if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
        raise UserError(
            f"{path} is not a list of strings: write fastai's dls.vocab as JSON, or one token per line"
        )
    if sum(token.startswith(_SUBWORD_MARK) for token in tokens) > len(tokens) // 10:
        raise UserError(
            f"{path} holds subwords (sentencepiece): unfreeze reads fastai's vocabularies of words"
        )
    return tokens, tuple(map(str, labels))


def _read_pickle(path: Path) -> Any:
    with path.open("rb") as file:
        try:
            return _PlainUnpickler(file).load()
        except UserError as error:
            raise UserError(f"{path} {error}") from error
        except Exception as error:  # noqa: BLE001  (a damaged pickle raises anything at all)
            raise UserError(
                f"{path} is not a pickle, or is damaged: write fastai's dls.vocab as JSON"
            ) from error


class _PlainUnpickler(pickle.Unpickler):
    """Unpickles only lists, dictionaries, strings and numbers; all names that would be imported are refused."""

    def find_class(self, module: str, name: str) -> NoReturn:
        raise UserError(
            f"names {module}.{name}, but only plain lists are read from a pickle: "
            "write it as JSON, json.dump(list(dls.vocab), open('vocabulary.json', 'w'))"
        )


# What is in a file


def _kind_of(state: Mapping[str, Tensor], source: str | Path) -> Kind:
    for kind, prefix in _PREFIXES.items():
        if f"{prefix}encoder.weight" in state:
            return kind
    examples = ", ".join(list(state)[:3])
    raise UserError(
        f"{source} has no tensor 0.encoder.weight: it is not an AWD-LSTM or AWD-QRNN of fastai (its first tensors are {examples})"
    )


def _read_layers(state: Mapping[str, Tensor], source: str) -> tuple[CellKind, list[dict[str, Tensor]]]:
    """Return the kind of the layers, and the tensors of each layer by the names of our parts.

    Raises:
        UserError: there are no layers, they are of different kinds, or a tensor is missing or unexpected.
    """
    numbers = sorted({int(match[1]) for name in state if (match := _LAYER.match(name))})
    unknown = {name for name in state if _LAYER.match(name)}
    layers: dict[CellKind, dict[int, dict[str, Tensor]]] = {}
    for cell, names in _CELLS.items():
        for number, part in product(numbers, names.parts):
            candidates = names.of(number, part)
            unknown.difference_update(candidates)
            if present := [state[name] for name in candidates if name in state]:
                layers.setdefault(cell, {}).setdefault(number, {})[part] = present[0]
    if unknown:
        raise UserError(f"{source}: tensor {min(unknown)!r} is of a bidirectional or other unsupported layer")
    if not layers:
        examples = " nor ".join(names.of(0, names.parts[0])[0] for names in _CELLS.values())
        raise UserError(f"{source} has neither {examples}: it is not an AWD-LSTM or AWD-QRNN of fastai")
    if len(layers) > 1:
        raise UserError(f"{source} has layers of LSTMs and of QRNNs: only stacks of one kind are supported")
    ((cell, found),) = layers.items()
    for number, part in product(range(len(found)), _CELLS[cell].parts):
        if part not in found.get(number, {}):
            name = _CELLS[cell].of(number, part)[-1]
            raise UserError(f"{source} lacks the tensor {name}: the file is incomplete")
    return cell, [found[number] for number in range(len(found))]


def _qrnn_windows(layers: Sequence[Mapping[str, Tensor]], width: int, source: str) -> list[int]:
    """The number of inputs that a step of each layer reads, inferred from the shape of its weight; `width` is E.

    Raises:
        UserError: the weights are not those of a QRNN of fastai.
    """
    if layers[-1]["weight"].shape[:1] == (2 * width,):
        raise UserError(
            f"{source}: its QRNNs have no output gate (output_gate=False), which is not supported"
        )
    windows = []
    for number, layer in enumerate(layers):
        shape, bias = list(layer["weight"].shape), list(layer["bias"].shape)
        if len(shape) != 2 or shape[0] % 3 or bias != shape[:1] or shape[1] not in (width, 2 * width):
            raise UserError(
                f"{source}: {_CELLS['qrnn'].of(number, 'weight')[-1]} is {shape} and its bias {bias}: "
                f"3 gates over 1 or 2 inputs of {width} numbers are read"
            )
        windows.append(shape[1] // width)
        width = shape[0] // 3
    return windows


def _make_encoder(
    state: Mapping[str, Tensor],
    tokens: Sequence[str],
    direction: Literal["forward", "backward"],
    sources: tuple[str, str],
) -> AwdLstm:
    weights, vocabulary = sources
    cell, layers = _read_layers(state, weights)
    embedding = state["encoder.weight"]
    if len(embedding) != len(tokens):
        raise UserError(
            f"{vocabulary} has {len(tokens):,} tokens, {weights} has {len(embedding):,} embeddings: they do not belong together"
        )
    windows: Sequence[int] = (2,)  # the default, which LSTMs need
    if cell == "qrnn":
        windows = _qrnn_windows(layers, embedding.shape[1], weights)
        for layer in layers:
            for part, tensor in layer.items():
                z, f, o = tensor.chunk(3)  # (H, ...) each
                layer[part] = torch.cat(
                    [z, -f, o]
                )  # sigmoid(-a) = 1 - sigmoid(a): our f is the share of the old value
    encoder = AwdLstm(
        WordTokenizer.from_vocabulary(tokens),
        embedding_size=embedding.shape[1],
        hidden_size=layers[0]["weight_hh"].shape[1] if cell == "lstm" else len(layers[0]["bias"]) // 3,
        n_layers=len(layers),
        direction=direction,
        cell=cell,
        windows=windows,
    )
    prefix = f"stacks.{direction}s."
    tensors = {f"{prefix}embedding.weight": embedding}
    for number, layer in enumerate(layers):
        tensors |= {f"{prefix}{cell}s.{number}.{part}": tensor for part, tensor in layer.items()}
    encoder.load_weights(tensors, weights)
    return encoder


def _make_language_model(encoder: AwdLstm, state: Mapping[str, Tensor], source: str) -> AwdLstmLanguageModel:
    model = AwdLstmLanguageModel(encoder)
    name = encoder.directions[0]
    weight, bias = state.get("1.decoder.weight"), state.get("1.decoder.bias")
    embedding = encoder.stack(name).embedding.weight
    if weight is not None and not torch.equal(weight, embedding):
        raise UserError(f"{source}: output layers that are not tied (tie_weights=False) are not supported")
    if bias is not None:
        if bias.shape != (len(embedding),):
            raise UserError(
                f"{source}: tensor '1.decoder.bias' is {list(bias.shape)}, the embedding has {len(embedding)} rows"
            )
        with torch.no_grad():
            model.output(name).bias.copy_(bias)
    return model


def _make_classifier(
    encoder: AwdLstm, state: Mapping[str, Tensor], labels: Sequence[str], source: str
) -> TextClassifier:
    head = _head_weights(state, source)
    n_labels = len(head["linear_1.weight"])
    if len(labels) != n_labels:
        given = f"{len(labels)} are given" if labels else "none is given"
        raise UserError(f"{source} has {n_labels} labels, {given}: name them in order by {setting('labels')}")
    settings = {"pooling": "top", "head": "two-layer"}
    network = pooled_network(encoder, n_labels, pooling="top", head="two-layer")
    module = network.heads["forwards"]
    for name, tensor in module.state_dict().items():
        if name not in head or head[name].shape != tensor.shape:
            shape = list(head[name].shape) if name in head else "missing"
            raise UserError(f"{source}: {name} of the head is {shape}, not {list(tensor.shape)}")
    module.load_state_dict(head)
    return TextClassifier.of_network(network.eval(), labels, settings)


def _head_weights(state: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """fastai's blocks 1.layers.B.I (a batch norm, a dropout unless its p is 0, a linear layer) under our names."""
    if "1.layers.0.weight" in state:
        raise UserError(f"{source} is a classifier of fastai 1, whose head differs: convert its encoder")
    found: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if match := _HEAD.fullmatch(name):
            is_linear = match[3] == "weight" and tensor.dim() == 2
            found[f"{'linear' if is_linear else 'norm'}_{match[1]}.{match[3]}"] = tensor
    n_layers = sum(name.startswith("linear_") for name in found)
    if n_layers != 2:
        raise UserError(f"{source}: the head has {n_layers} layers, not 2 (with {HEAD_WIDTH} units between)")
    return found
