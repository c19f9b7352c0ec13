"""The network of every text classifier: encoder -> body -> heads -> logits; made for a task, or as config.json says.

The body (bodies.py) turns inputs into one vector of features a head. There are several heads where the directions of the
encoder are classifiers of their own, whose probabilities are averaged (Howard & Ruder 2018, section 4.1). The keyword
arguments of `pooled_network` and `layered_network` are what config.json keeps under "settings".

Legend: B batch, P features of a head, K labels, V words, E width of static vectors, H of each direction of a biLSTM.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, distributed, nn

from unfreeze.checked import need_type
from unfreeze.datasets.dataset import ExampleSet
from unfreeze.encoders.base import Encoder
from unfreeze.encoders.directions import module_name
from unfreeze.encoders.saving import load_matching, made_to_fit
from unfreeze.encoders.streaming import Streaming
from unfreeze.encoders.text_encoder import TextEncoder
from unfreeze.encoders.vector_source import open_vectors
from unfreeze.encoders.word_vectors import WordVectors
from unfreeze.errors import UserError
from unfreeze.folders import CONFIG, WEIGHTS, Config, EncoderConfig, load_tensors, read_config
from unfreeze.registry import encoder_class, find_model
from unfreeze.tasks.bodies import BiLstmOnLayers, Body, PooledLayers, PooledStream
from unfreeze.tasks.plans import ClassifierPlan, need_no_layer_options
from unfreeze.tasks.settings import Head, MixAt, Pooling
from unfreeze.tasks.task_encoders import (
    VECTORS,
    make_encoder,
    split_encoder,
    static_vectors,
    task_words,
    weighted_vectors,
)
from unfreeze.tasks.word_inputs import INPUT_DROPOUT, WordInputs
from unfreeze.transfer.policies import LayerGroups

HEAD_WIDTH = 50
HEAD_DROPOUT = 0.1


class _SumOverProcesses(torch.autograd.Function):
    """The sum of a tensor over processes; gradients are summed too, since every process uses the sum."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        result = x.clone()
        distributed.all_reduce(result)
        return result

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        grad = grad.clone()
        distributed.all_reduce(grad)
        return grad


def _summed(x: Tensor) -> Tensor:
    """The sum over processes, if there are several."""
    if not (distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1):
        return x
    result: Tensor = _SumOverProcesses.apply(x)  # type: ignore[no-untyped-call]
    return result


class BatchNorm(nn.BatchNorm1d):
    """Batch normalization over the batch of all processes; a single example, which has no variance, uses running statistics.

    `torch.nn.SyncBatchNorm` does not work on a CPU. Statistics are computed in float64: in float32 a feature that is the
    same in all documents, such as a maximum at the begin symbol, gets rounding errors (1e-4), which Adam would amplify to
    full steps.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(B, D) -> (B, D); B may be 0 in one of many processes."""
        if not self.training:
            return super().forward(x)
        exact = x if x.device.type == "mps" else x.double()  # MPS has no float64
        count = _summed(exact.new_tensor([float(len(x))]))
        if count == 1:
            return F.batch_norm(
                x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps
            )
        mean = _summed(exact.sum(0)) / count
        variance = _summed((exact - mean).square().sum(0)) / count
        self._track(mean.detach(), (variance * count / (count - 1)).detach())
        normalized = ((exact - mean) * (variance + self.eps).rsqrt()).to(x.dtype)
        return torch.addcmul(self.bias, normalized, self.weight) if self.affine else normalized

    def _track(self, mean: Tensor, variance: Tensor) -> None:
        assert self.running_mean is not None and self.running_var is not None and self.momentum is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked += 1
        # A plain mean over the first batches: torch's moving average would still be near its start (0 and 1).
        share = max(self.momentum, 1.0 / int(self.num_batches_tracked))
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_(variance.to(self.running_var.dtype), share)


class TwoLayerHead(nn.Module):
    """Batch norm, dropout, linear 50, ReLU; batch norm, dropout, linear (Howard & Ruder 2018, section 3.3).

    The linear layers have no bias of their own: the batch norm before them has one.

    Args:
        input_size: of the pooled document.
        n_labels: K.
        input_dropout: before the first linear layer (the paper's .4).
    """

    def __init__(self, input_size: int, n_labels: int, input_dropout: float = 0.4) -> None:
        super().__init__()
        self.norm_0, self.norm_1 = BatchNorm(input_size), BatchNorm(HEAD_WIDTH)
        self.linear_0 = nn.Linear(input_size, HEAD_WIDTH, bias=False)
        self.linear_1 = nn.Linear(HEAD_WIDTH, n_labels, bias=False)
        self.dropout_0, self.dropout_1 = nn.Dropout(input_dropout), nn.Dropout(HEAD_DROPOUT)

    def forward(self, x: Tensor) -> Tensor:
        """(B, input) -> (B, K) logits."""
        hidden = F.relu(self.linear_0(self.dropout_0(self.norm_0(x))))
        logits: Tensor = self.linear_1(self.dropout_1(self.norm_1(hidden)))
        return logits


class LinearHead(nn.Module):
    """Batch norm without gains, dropout, linear: logistic regression on standardized features."""

    def __init__(self, input_size: int, n_labels: int, input_dropout: float = 0.4) -> None:
        super().__init__()
        self.norm = BatchNorm(input_size, affine=False)
        self.dropout = nn.Dropout(input_dropout)
        self.linear = nn.Linear(input_size, n_labels)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, input) -> (B, K) logits."""
        logits: Tensor = self.linear(self.dropout(self.norm(x)))
        return logits


HEADS: dict[str, type[TwoLayerHead] | type[LinearHead]] = {"two-layer": TwoLayerHead, "linear": LinearHead}
SAVED_NAMES = {
    "body.encoder.": "encoder.",
    "body.word_vectors": "word_vectors",
    "body.words.": "words.",
    "body.lstm.": "body.",
}
"""Beginnings of the names of tensors here -> in saved models and checkpoints, which are older than the bodies."""


class ClassifierNetwork(nn.Module):
    """Encoder -> body -> heads -> logits.

    Args:
        body: makes the features, and holds the encoder.
        n_labels: K.
        multi_label: labels are independent of each other (sigmoid), else exclusive (softmax).
        head: what each head is.
        head_dropout: of the features.
    """

    def __init__(
        self,
        body: Body,
        n_labels: int,
        *,
        multi_label: bool = False,
        head: Head = "two-layer",
        head_dropout: float = 0.4,
    ) -> None:
        super().__init__()
        self.body, self.multi_label = body, multi_label
        self.heads = nn.ModuleDict(
            {
                module_name(name): HEADS[head](width, n_labels, head_dropout)
                for name, width in body.widths.items()
            }
        )
        self.register_state_dict_post_hook(_to_saved_names)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_pre_hook(_from_saved_names)  # type: ignore[no-untyped-call]

    @property
    def encoder(self) -> Encoder:
        """The encoder of the body."""
        return self.body.encoder

    @property
    def is_logistic_regression(self) -> bool:
        """Whether nothing but linear heads of exclusive labels trains, if the encoder is frozen."""
        return not self.multi_label and all(isinstance(head, LinearHead) for head in self.heads.values())

    def read(self, inputs: Sequence[Any]) -> dict[str, Tensor]:
        """Some of the body's `inputs` -> the features of each head, (B, P)."""
        features: dict[str, Tensor] = self.body(inputs)
        return features

    def layer_groups(self) -> LayerGroups:
        """The groups of the encoder, if it learns, and then what is new to the task."""
        *groups, new = self.body.layer_groups()
        return [*groups, [*new, *self.heads.parameters()]]

    def logits(self, features: dict[str, Tensor]) -> list[Tensor]:
        """(B, K) of every head."""
        return [self.heads[module_name(name)](x) for name, x in features.items()]

    def loss(self, features: dict[str, Tensor], targets: Tensor) -> Tensor:
        """Summed over the batch, averaged over heads; targets are (B,) ids, or (B, K) of 0 and 1 with many labels."""
        losses = []
        for logits in self.logits(features):
            if self.multi_label:
                losses.append(F.binary_cross_entropy_with_logits(logits.float(), targets, reduction="sum"))
            else:
                losses.append(F.cross_entropy(logits.float(), targets, reduction="sum"))
        return torch.stack(losses).mean()

    def probabilities(self, features: dict[str, Tensor]) -> Tensor:
        """(B, K), averaged over heads."""
        each = [
            torch.sigmoid(logits.float()) if self.multi_label else F.softmax(logits.float(), dim=1)
            for logits in self.logits(features)
        ]
        return torch.stack(each).mean(0)

    def own_tensors(self) -> dict[str, Tensor]:
        """What is saved besides the encoder and the word vectors that are an encoder, by their saved names."""
        others = ("encoder.", "words.encoder.", "words.vectors.")
        return {
            name: tensor
            for name, tensor in self.state_dict().items()
            if not name.startswith(others) and (name != "word_vectors" or tensor.numel())
        }


def _to_saved_names(module: nn.Module, tensors: dict[str, Any], prefix: str, _: Any) -> None:
    _rename(tensors, prefix, SAVED_NAMES)


def _from_saved_names(module: nn.Module, tensors: dict[str, Any], prefix: str, *_: Any) -> None:
    _rename(tensors, prefix, {saved: own for own, saved in SAVED_NAMES.items()})


def _rename(tensors: dict[str, Any], prefix: str, names: dict[str, str]) -> None:
    """Rename in place, in the same order, each tensor whose name begins with `prefix` and one of `names`."""
    renamed = {}
    for name in list(tensors):
        found = next((start for start in names if name.startswith(prefix + start)), None)
        new = name if found is None else prefix + names[found] + name[len(prefix + found) :]
        renamed[new] = tensors.pop(name)
    tensors.update(renamed)


logger = logging.getLogger(__name__)
KIND = "text_classifier"


def pooled_network(
    encoder: Encoder,
    n_labels: int,
    *,
    multi_label: bool = False,
    pooling: Pooling = "top",
    head: Head = "two-layer",
    head_dropout: float = 0.4,
    word_vectors: int = 0,
) -> ClassifierNetwork:
    """Concat pooling of an encoder's layers, in bounded memory if it is `Streaming`.

    Args:
        n_labels: K.
        multi_label: labels are independent of each other (sigmoid), else exclusive (softmax).
        pooling: which layers the heads see; `vectors` is the static vectors alone if there are any.
        head_dropout: of the pooled features.
        word_vectors: E of static vectors whose mean joins the pooled states; 0 is none. They never learn.
    """
    body: Body
    if isinstance(encoder, Streaming) and isinstance(encoder, TextEncoder):
        body = PooledStream(encoder, pooling=pooling, word_vectors=word_vectors)
    elif word_vectors:
        raise UserError(
            f"word_vectors cannot join the pooled layers of the encoder {encoder.kind}: use body bilstm"
        )
    else:
        body = PooledLayers(encoder, pooling=pooling)
    return ClassifierNetwork(body, n_labels, multi_label=multi_label, head=head, head_dropout=head_dropout)


def layered_network(
    encoder: TextEncoder,
    n_labels: int,
    *,
    multi_label: bool = False,
    head: Head = "two-layer",
    hidden_size: int = 128,
    vectors: WordVectors | None = None,
    frozen: bool = True,
    layers: Literal["mix"] | int = "mix",
    mix_at: MixAt = "input",
    mix_l2: float = 0.0,
    layer_norm: bool = False,
    input_dropout: float = INPUT_DROPOUT,
    characters: int = 0,
) -> ClassifierNetwork:
    """A biLSTM on a mix of an encoder's layers, with concat pooling of its states.

    Args:
        n_labels: K.
        multi_label: labels are independent of each other (sigmoid), else exclusive (softmax).
        hidden_size: H.
        vectors: static word vectors that join the mix at the input; they never learn.
        frozen, layers, mix_at, mix_l2, layer_norm, input_dropout, characters: as for `WordInputs`.
    """
    words = WordInputs(
        encoder,
        vectors=vectors,
        frozen=frozen,
        layers=layers,
        mix_at=mix_at,
        mix_l2=mix_l2,
        layer_norm=layer_norm,
        input_dropout=input_dropout,
        characters=characters,
    )
    return ClassifierNetwork(BiLstmOnLayers(words, hidden_size), n_labels, multi_label=multi_label, head=head)


NETWORKS: dict[str, Callable[..., ClassifierNetwork]] = {"pooled": pooled_network, "layered": layered_network}
"""Name in config.json -> what makes the network; without a name it is pooled."""


# A new network


def make_network(examples: ExampleSet, plan: ClassifierPlan) -> tuple[ClassifierNetwork, dict[str, Any]]:
    """A network that is ready to be trained on the examples, and what config.json is to say under "settings".

    Where the encoder comes from a classifier of the same labels, its head is the start if it is made alike.

    Raises:
        UserError: the encoder or the word vectors cannot be read, or options do not go together.
    """
    n_labels, multi_label = len(examples.label_names), examples.multi_label
    vectors: Any = None
    if plan.stands_on_layers:
        body: dict[str, Any] = {
            "head": plan.head or "two-layer",
            "hidden_size": plan.hidden_size,
            "layers": "mix" if plan.layers is None else plan.layers,
            "mix_at": plan.mix_at,
            "mix_l2": plan.mix_l2,
            "layer_norm": plan.layer_norm,
            "frozen": plan.mode == "frozen",
        }
        if plan.word_vectors is not None:
            words = task_words(examples, plan)
            vectors = static_vectors(plan.word_vectors, words, plan.vocabulary_size)
        encoder = TextEncoder.from_pretrained(plan.encoder)
        network = layered_network(encoder, n_labels, multi_label=multi_label, vectors=vectors, **body)
        return network, {"network": "layered", "word_vectors": vectors is not None, **body}

    need_no_layer_options(plan)
    encoder = make_encoder(examples, plan)
    earlier = _earlier_settings(examples, plan)
    body = {
        "pooling": plan.pooling or ("vectors" if isinstance(encoder, WordVectors) else "top"),
        "head": plan.head or ("linear" if plan.has_fixed_features else "two-layer"),
        **{name: value for name, value in earlier.items() if getattr(plan, name) is None},
    }
    if plan.word_vectors is not None:
        vectors = weighted_vectors(open_vectors(plan.word_vectors), encoder.tokenizer)
        body["word_vectors"] = vectors.shape[1]
    network = pooled_network(encoder, n_labels, multi_label=multi_label, **body)
    if isinstance(network.body, PooledStream):
        if vectors is not None:
            network.body.word_vectors.copy_(vectors)
        if plan.chosen_body == "bilstm":
            network.body.n_new_groups = len(encoder.layer_groups()) - 1
    if earlier:
        # Static word vectors always continue; heads only if they see the same features.
        folder, with_heads = find_model(plan.encoder), body == earlier
        wanted = ("heads.",) * with_heads + ("word_vectors",) * (plan.word_vectors is None)
        tensors = {n: t for n, t in load_tensors(folder / WEIGHTS).items() if n.startswith(wanted)}
        own = network.own_tensors()
        load_matching(network, tensors, {name: own[name] for name in tensors}, str(folder))
        start = f"starts from {folder}, which has the same labels" if with_heads else "starts anew"
        logger.info("the head %s", start)
    return network, body


def _earlier_settings(examples: ExampleSet, plan: ClassifierPlan) -> dict[str, Any]:
    """What the network was made with if the encoder comes from a pooled classifier of the same labels; else nothing."""
    if plan.mode == "scratch":
        return {}
    place = find_model(plan.encoder)
    if place.is_file() or read_config(place)["kind"] != KIND:
        return {}
    config = read_config(place, {KIND}, ClassifierConfig)
    if (config["labels"], config["multi_label"]) != (list(examples.label_names), examples.multi_label):
        return {}
    found: dict[str, Any] = config["settings"]
    return {} if "network" in found else found


# A saved network


@dataclass(frozen=True, kw_only=True)
class ClassifierConfig(Config):
    """What config.json says of a classifier."""

    labels: list[str]
    multi_label: bool
    settings: dict[str, Any]
    """Arguments of the network, which knows their types."""
    encoder: EncoderConfig = field()  # without the default of other kinds
    prior: list[float] | None = None
    """Share of the training texts that have each label; models of earlier versions lack it."""
    classes: list[bool] | list[int] | list[float] | None = None
    """The labels as they were given to `fit`, if they were no strings."""


def saved_network(config: dict[str, Any], folder: Path) -> ClassifierNetwork:
    """The network of the classifier in `folder`, in evaluation mode.

    Raises:
        UserError: its settings are unknown to this version, or weights and config.json do not fit.
    """
    body = dict(config["settings"])
    name = str(body.pop("network", "pooled"))
    if name not in NETWORKS:
        raise UserError(f"{folder / CONFIG} asks for a {name} network: upgrade with pip install -U unfreeze")
    for setting, known in (("pooling", get_args(Pooling)), ("head", tuple(HEADS))):
        if body.get(setting, known[0]) not in known:
            raise UserError(
                f"{folder / CONFIG} asks for the {setting} {body[setting]!r}, known are {', '.join(known)}: "
                "upgrade with pip install -U unfreeze"
            )
    if name == "layered":  # word vectors are an encoder in a folder of their own
        with_vectors = body.pop("word_vectors", False)
        need_type(with_vectors, bool, f"{folder / CONFIG}: plan.word_vectors")
        body["vectors"] = WordVectors.from_pretrained(folder / VECTORS) if with_vectors else None
    encoder = encoder_class(config["encoder"]["kind"], folder).from_config(config["encoder"], folder)
    own, of_encoder = split_encoder(load_tensors(folder / WEIGHTS))
    network = made_to_fit(
        NETWORKS[name],
        folder,
        {name: list(tensor.shape) for name, tensor in own.items()},
        ClassifierNetwork.own_tensors,
        encoder,
        len(config["labels"]),
        **{**body, "multi_label": config["multi_label"]},
    )
    encoder.load_weights(of_encoder, str(folder))
    load_matching(network, own, network.own_tensors(), str(folder))
    return network.eval()
