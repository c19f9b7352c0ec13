"""The network of every classifier: encoder -> body -> heads -> logits; made for a task, or loaded.

The body (bodies.py) turns inputs into one vector of features for each head. There are several heads if the directions of the
encoder are classified separately. The keyword arguments of the functions in `NETWORKS` are in config.json under "settings".

Legend: B batch, P features of a head, K labels, V words, E width of static vectors, H of each direction of a biLSTM.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from unfreeze.datasets.batches import token_bounded_batches
from unfreeze.datasets.dataset import ExampleSet
from unfreeze.encoders.base import Encoder, evaluating
from unfreeze.encoders.directions import module_name
from unfreeze.encoders.image_encoder import ImageEncoder
from unfreeze.encoders.saving import load_matching
from unfreeze.encoders.streaming import Streaming
from unfreeze.encoders.text_encoder import TextEncoder
from unfreeze.encoders.vector_source import open_vectors
from unfreeze.encoders.word_vectors import WordVectors
from unfreeze.errors import UserError, setting
from unfreeze.folders import WEIGHTS, load_tensors, read_config
from unfreeze.progress import SILENT, Progress
from unfreeze.registry import find_model
from unfreeze.tasks.bcn import BcnOnLayers
from unfreeze.tasks.bodies import BiLstmOnLayers, Body, PooledLayers, PooledStream
from unfreeze.tasks.classifying import KIND, ClassifierConfig, ClassifyingNetwork
from unfreeze.tasks.explanations import Contributions, Method, explain_text
from unfreeze.tasks.heads import HEADS, LinearHead
from unfreeze.tasks.image_inputs import PooledMaps
from unfreeze.tasks.plans import ClassifierPlan, need_no_layer_options
from unfreeze.tasks.settings import Head, Layers, MixAt, Pooling
from unfreeze.tasks.task_encoders import (
    encoder_of_vectors,
    random_encoder,
    save_task_model,
    static_vectors,
    task_words,
    weighted_vectors,
)
from unfreeze.tasks.word_inputs import INPUT_DROPOUT, WordInputs
from unfreeze.training.memory_check import planned_within_memory
from unfreeze.transfer.policies import LayerGroups

logger = logging.getLogger(__name__)

BATCH_TOKENS = 16_384
"""Size of a batch of `read_all`, padding included."""
SAVED_NAMES = {
    "body.encoder.": "encoder.",
    "body.word_vectors": "word_vectors",
    "body.words.": "words.",
    "body.bcn.": "bcn.",
    "body.lstm.": "body.",
}
"""How the names of tensors begin here -> how they begin in saved models and checkpoints, which are older than the bodies."""


class ClassifierNetwork(ClassifyingNetwork):
    """Encoder -> body -> heads -> logits.

    Args:
        body: computes the features; it holds the encoder.
        n_labels: K.
        multi_label: labels are independent of each other (sigmoid), otherwise exclusive (softmax).
        head: kind of every head.
        head_dropout: dropout of the features; None for the head's own.
    """

    def __init__(
        self,
        body: Body,
        n_labels: int,
        *,
        multi_label: bool = False,
        head: Head = "two-layer",
        head_dropout: float | None = None,
    ) -> None:
        super().__init__()
        self.body, self.multi_label = body, multi_label
        options = {} if head_dropout is None else {"input_dropout": head_dropout}
        self.heads = nn.ModuleDict(
            {
                module_name(name): HEADS[head](width, n_labels, **options)
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
        """A batch of inputs in the form that `body.inputs` gives -> the features of each head, (B, P)."""
        features: dict[str, Tensor] = self.body(inputs)
        return features

    @torch.no_grad()
    def read_all(self, inputs: Sequence[Any], progress: Progress = SILENT) -> dict[str, Tensor]:
        """The same for any number of inputs, in evaluation mode: (N, P) for each head, on the CPU."""
        found: dict[str, Tensor] = {}
        with evaluating(self), progress.bar("features", total=len(inputs), unit=self.body.noun) as bar:
            for numbers in token_bounded_batches([self.body.length(each) for each in inputs], BATCH_TOKENS):
                for name, x in self.read([inputs[n] for n in numbers]).items():
                    if name not in found:
                        found[name] = torch.zeros(len(inputs), x.shape[1])
                    found[name][numbers] = x.float().cpu()
                bar.advance(len(numbers))
        return found

    def layer_groups(self) -> LayerGroups:
        """The layer groups of the encoder, if it is trained, and then the parameters that are new to the task."""
        *groups, new = self.body.layer_groups()
        return [*groups, [*new, *self.heads.parameters()]]

    def logits(self, features: dict[str, Tensor]) -> list[Tensor]:
        """(B, K) for every head."""
        return [self.heads[module_name(name)](x) for name, x in features.items()]

    def loss(
        self, features: dict[str, Tensor], targets: Tensor, sample_weight: Tensor | None = None
    ) -> Tensor:
        """Cross-entropy, summed over the batch and averaged over heads.

        Args:
            targets: (B,) ids, or multi-label (B, K) of 0 and 1.
            sample_weight: (B,) factors on the losses of the examples.
        """
        compute = F.binary_cross_entropy_with_logits if self.multi_label else F.cross_entropy
        reduction = "sum" if sample_weight is None else "none"
        losses = [compute(logits.float(), targets, reduction=reduction) for logits in self.logits(features)]
        if sample_weight is not None:
            losses = [(x.reshape(len(targets), -1).sum(1) * sample_weight).sum() for x in losses]
        return torch.stack(losses).mean()

    def probabilities(self, features: dict[str, Tensor]) -> Tensor:
        """(B, K), averaged over heads (Howard & Ruder 2018, section 4.1)."""
        each = [
            torch.sigmoid(logits.float()) if self.multi_label else F.softmax(logits.float(), dim=1)
            for logits in self.logits(features)
        ]
        return torch.stack(each).mean(0)

    @property
    def n_features(self) -> int:
        """P of all heads side by side."""
        return sum(self.body.widths.values())

    @torch.no_grad()
    def describe(self, given: Sequence[Any]) -> tuple[Tensor, Tensor, NDArray[np.bool_]]:
        """N raw inputs -> (N, P) features of all heads, (N, K) probabilities, and (N,) whether a text has a known word."""
        device = next(self.parameters()).device
        inputs = self.body.inputs(given)
        features = self.read_all(inputs)
        # The head is computed in fp32 whatever the encoder is.
        with torch.autocast(device.type, enabled=False):
            probabilities = self.probabilities({name: x.to(device) for name, x in features.items()})
        return torch.cat(list(features.values()), dim=1), probabilities, self.body.have_known_words(inputs)

    @property
    def reads_pairs(self) -> bool:
        """Whether an input is a pair of texts."""
        return self.body.reads_pairs

    def mix_shares(self) -> dict[str, list[float]]:
        """The weight of each layer, by the place of the mix."""
        return self.body.mix_shares()

    def save(self, folder: str | Path, config: dict[str, Any]) -> None:
        """Write config.json, model.safetensors and what the encoder needs into `folder`, whole or not at all."""
        save_task_model(folder, config, self.own_tensors(), self.encoder, self.body.vectors)

    def evidence(self, features: dict[str, Tensor]) -> Tensor:
        """(B, K): each logit minus the mean of the others, the logit itself if labels are independent; averaged over heads."""
        logits = torch.stack([each.float() for each in self.logits(features)]).mean(0)
        if self.multi_label:
            return logits
        others = (logits.sum(1, keepdim=True) - logits) / (logits.shape[1] - 1)
        return logits - others

    def explain(self, text: str, target: int, method: Method | None = None) -> Contributions:
        """The contributions of the words of a text to the evidence for label number `target`; see `explain_text`."""
        return explain_text(self, text, target, method)

    def own_tensors(self) -> dict[str, Tensor]:
        """The tensors besides those of the encoder and of word vectors saved as an encoder, by their saved names."""
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


def pooled_network(
    encoder: Encoder,
    n_labels: int,
    *,
    multi_label: bool = False,
    pooling: Pooling = "top",
    head: Head = "two-layer",
    head_dropout: float | None = None,
    word_vectors: int = 0,
) -> ClassifierNetwork:
    """Concat pooling of an encoder's layers, in bounded memory if it is `Streaming`.

    Args:
        n_labels: K.
        multi_label: labels are independent of each other (sigmoid), otherwise exclusive (softmax).
        pooling: what is pooled; with `vectors` only the static vectors, if there are any.
        head_dropout: dropout of the pooled features; None for the head's own.
        word_vectors: E of static vectors whose mean is concatenated to the pooled states; 0 for none. They are not trained.

    Raises:
        UserError: there are static vectors, and the encoder is not `Streaming`.
    """
    body: Body
    if isinstance(encoder, Streaming) and isinstance(encoder, TextEncoder):
        body = PooledStream(encoder, pooling=pooling, word_vectors=word_vectors)
    elif word_vectors:
        raise UserError(
            f"{setting('word_vectors')} cannot join the pooled layers of the encoder {encoder.kind}: "
            f"use {setting('body', 'bilstm')}"
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
    layers: Layers | None = None,
    mix_at: MixAt = "input",
    mix_l2: float = 0.0,
    layer_norm: bool = False,
    input_dropout: float = INPUT_DROPOUT,
    characters: int = 0,
) -> ClassifierNetwork:
    """A biLSTM on a mix of an encoder's layers, with concat pooling of its states.

    Args:
        n_labels: K.
        multi_label: labels are independent of each other (sigmoid), otherwise exclusive (softmax).
        hidden_size: H.
        vectors: static word vectors that are concatenated to the mix at the input; they are not trained.
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


def bcn_network(
    encoder: TextEncoder,
    n_labels: int,
    *,
    pairs: bool = False,
    multi_label: bool = False,
    head: Head = "maxout",
    hidden_size: int = 128,
    vectors: WordVectors | None = None,
    frozen: bool = True,
    layers: Layers | None = None,
    mix_l2: float = 0.0,
    layer_norm: bool = False,
    input_dropout: float = INPUT_DROPOUT,
    characters: int = 0,
) -> ClassifierNetwork:
    """The biattentive classification network of bcn.py; arguments other than `pairs` are those of `layered_network`.

    Args:
        pairs: inputs are pairs of texts.
    """
    words = WordInputs(
        encoder,
        vectors=vectors,
        frozen=frozen,
        layers=layers,
        mix_l2=mix_l2,
        layer_norm=layer_norm,
        input_dropout=input_dropout,
        characters=characters,
    )
    body = BcnOnLayers(words, hidden_size, pairs=pairs)
    return ClassifierNetwork(body, n_labels, multi_label=multi_label, head=head)


def image_network(
    encoder: ImageEncoder, n_labels: int, *, multi_label: bool = False, head: Head = "linear"
) -> ClassifierNetwork:
    """The mean of the top feature map of an encoder of images; arguments as in `pooled_network`."""
    return ClassifierNetwork(PooledMaps(encoder), n_labels, multi_label=multi_label, head=head)


NETWORKS: dict[str, Callable[..., ClassifierNetwork]] = {
    PooledLayers.network: pooled_network,
    BiLstmOnLayers.network: layered_network,
    BcnOnLayers.network: bcn_network,
    PooledMaps.network: image_network,
}
"""Network by its name in config.json; without a name it is pooled."""
BODIES: dict[str, type[Body]] = {"pooling": PooledLayers, "bilstm": BiLstmOnLayers, "bcn": BcnOnLayers}
"""By the setting; from scratch, and with word vectors, a biLSTM is the encoder, whose states are pooled."""


# A new network


@planned_within_memory
def make_network(examples: ExampleSet, plan: ClassifierPlan) -> tuple[ClassifierNetwork, dict[str, Any]]:
    """A network to train on the examples, and its arguments, which config.json keeps under "settings".

    If the encoder comes from a classifier of the same labels, training starts from the heads of that classifier.

    Raises:
        UserError: the encoder or the word vectors cannot be read, or settings exclude each other.
    """
    n_labels, multi_label = len(examples.label_names), examples.multi_label
    vectors: Any = None
    if plan.stands_on_layers:
        kind = BODIES[plan.chosen_body]
        body: dict[str, Any] = {
            "head": plan.head or kind.usual_head,
            "hidden_size": plan.hidden_size,
            "mix_l2": plan.mix_l2,
            "layer_norm": plan.layer_norm,
            "frozen": plan.mode == "frozen",
        }
        are_pairs = isinstance(examples.examples[0].input, tuple)
        body |= {"pairs": are_pairs} if kind.may_read_pairs else {"mix_at": plan.mix_at}
        is_static = plan.word_vectors is not None or plan.starts_from_vectors
        words = task_words(examples, plan) if is_static else []
        if plan.word_vectors is not None:
            vectors = static_vectors(plan.word_vectors, words, plan.vocabulary_size)
        if plan.starts_from_vectors:
            encoder: TextEncoder = static_vectors(plan.encoder, words, plan.vocabulary_size)
        else:
            encoder = TextEncoder.from_pretrained(plan.encoder)
        body["layers"] = encoder.usual_layers if plan.layers is None else plan.layers
        make = NETWORKS[kind.network]
        network = make(encoder, n_labels, multi_label=multi_label, vectors=vectors, **body)
        return network, {"network": kind.network, "word_vectors": vectors is not None, **body}

    need_no_layer_options(plan)
    if plan.starts_from_vectors:
        encoder = encoder_of_vectors(examples, plan)
    elif plan.mode == "scratch":
        encoder = random_encoder(examples, plan)
    else:
        encoder = TextEncoder.from_pretrained(plan.encoder)
    earlier = _earlier_settings(examples, plan)
    body = {
        "pooling": plan.pooling or _usual_pooling(encoder),
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
        # Static word vectors are always taken over; heads only if they read the same features.
        folder, with_heads = find_model(plan.encoder), body == earlier
        wanted = ("heads.",) * with_heads + ("word_vectors",) * (plan.word_vectors is None)
        tensors = {n: t for n, t in load_tensors(folder / WEIGHTS).items() if n.startswith(wanted)}
        own = network.own_tensors()
        load_matching(network, tensors, {name: own[name] for name in tensors}, str(folder))
        start = f"those of {folder}, which has the same labels" if with_heads else "random weights"
        logger.info("the head starts from %s", start)
    return network, body


def _usual_pooling(encoder: TextEncoder) -> Pooling:
    if isinstance(encoder, WordVectors):
        return "vectors"
    return "top+vectors" if encoder.usual_layers == "bottom+top" else "top"


def _earlier_settings(examples: ExampleSet, plan: ClassifierPlan) -> dict[str, Any]:
    """The arguments of the network that the encoder comes from, if it is a pooled classifier of the same labels; else none."""
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
