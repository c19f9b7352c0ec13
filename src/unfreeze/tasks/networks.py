"""The network of a text classifier: made as the settings ask for it, or as the config.json of a saved one says.

    encoder (pre-trained, from scratch, or word vectors) -> body -> heads

The keyword arguments of `pooled_network` and `layered_network` are what config.json keeps under "settings".

Legend: V words, E width of static vectors, K labels, H of each direction of a biLSTM.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from unfreeze.checked import need_type
from unfreeze.datasets.dataset import ExampleSet
from unfreeze.encoders.awd_lstm import AwdLstm
from unfreeze.encoders.base import Encoder
from unfreeze.encoders.layers.recurrent import CLASSIFIER_DROPOUTS
from unfreeze.encoders.lstm import SCRATCH_DROPOUTS, LstmEncoder
from unfreeze.encoders.saving import load_matching, made_to_fit
from unfreeze.encoders.streaming import Streaming
from unfreeze.encoders.text_encoder import TextEncoder
from unfreeze.encoders.vector_source import open_vectors
from unfreeze.encoders.word_vectors import WordVectors, read_encoder
from unfreeze.errors import UserError
from unfreeze.folders import CONFIG, WEIGHTS, Config, EncoderConfig, load_tensors, read_config
from unfreeze.registry import encoder_class, find_model
from unfreeze.tasks.bodies import BiLstmOnLayers, Body, PooledLayers, PooledStream
from unfreeze.tasks.classification import ClassifierNetwork
from unfreeze.tasks.heads import HEADS
from unfreeze.tasks.plans import ClassifierPlan, need_no_layer_options
from unfreeze.tasks.settings import Head, MixAt, Pooling
from unfreeze.tasks.word_inputs import INPUT_DROPOUT, WordInputs
from unfreeze.tasks.word_task import SPREAD, VECTORS, split_encoder, static_vectors
from unfreeze.text.tokenizers import TextTokenizer, train_tokenizer
from unfreeze.vectors.table import VectorTable

logger = logging.getLogger(__name__)

KIND = "text_classifier"
FREQUENCY_WEIGHT = 1e-3


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
            words = _task_words(examples, plan)
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


def make_encoder(examples: ExampleSet, plan: ClassifierPlan) -> TextEncoder:
    """The encoder under a pooled body: a pre-trained one, one from scratch, or word vectors, perhaps with a biLSTM on them.

    Raises:
        UserError: it cannot be read.
    """
    if plan.starts_from_vectors:
        return _from_vectors(examples, plan)
    if plan.mode != "scratch":
        return TextEncoder.from_pretrained(plan.encoder)
    tokenizer = _task_tokenizer(examples, plan)
    scale = 1.0 if plan.dropout_scale is None else plan.dropout_scale
    make, dropouts = (
        (AwdLstm, CLASSIFIER_DROPOUTS) if plan.architecture == "awd-lstm" else (LstmEncoder, SCRATCH_DROPOUTS)
    )
    return make(
        tokenizer,
        embedding_size=plan.embedding_size,
        hidden_size=plan.hidden_size,
        dropouts=dropouts.times(scale),
    )


@torch.no_grad()
def _from_vectors(examples: ExampleSet, plan: ClassifierPlan) -> TextEncoder:
    vectors, words = read_encoder(plan.encoder), _task_words(examples, plan)
    unknown = [word for word in words if vectors.tokenizer.id(word) is None]
    logger.info("%d of the task's %d words have no vector", len(unknown), len(words))
    on_bilstm = plan.chosen_body == "bilstm"
    if on_bilstm:
        vectors = vectors.first_words(plan.vocabulary_size, besides=words)
    # By default words are added that can learn, or that get a vector of their n-grams.
    add_words = plan.new_words
    if add_words is None:
        add_words = plan.mode == "fine-tune" or vectors.ngrams is not None
    if add_words:
        vectors = vectors.with_words(words, seed=plan.seed)
    if on_bilstm:
        scale = 1.0 if plan.dropout_scale is None else plan.dropout_scale
        encoder = LstmEncoder(
            vectors.tokenizer,
            embedding_size=vectors.size,
            hidden_size=plan.hidden_size,
            dropouts=SCRATCH_DROPOUTS.times(scale),
        )
        # The norms of vectors differ between trainings, and a biLSTM trains poorly on vectors of small norm.
        spread = vectors.table_spread().clamp_min(1e-8)
        encoder.stack("forward").embedding.weight.copy_(vectors.embedding * (SPREAD / spread))
        return encoder
    if plan.mode == "frozen":
        vectors.embedding.copy_(_weighted(vectors.embedding, vectors.tokenizer))
    return vectors


def _task_tokenizer(examples: ExampleSet, plan: ClassifierPlan) -> TextTokenizer:
    return train_tokenizer(
        (example.input for example in examples.examples),
        kind="word",
        vocabulary_size=plan.vocabulary_size,
        min_count=plan.min_count if len(examples) > 50 else 1,
        workers=1 if len(examples) < 2000 else None,
    )


def _task_words(examples: ExampleSet, plan: ClassifierPlan) -> list[str]:
    """The words of the examples, without special tokens."""
    found = _task_tokenizer(examples, plan)
    return [word for number, word in enumerate(found.vocabulary) if number not in found.special_ids]


def weighted_vectors(vectors: VectorTable, tokenizer: TextTokenizer) -> Tensor:
    """Unit vectors for a vocabulary, frequent words weighted down by a / (a + p(w)) (Arora, Liang & Ma 2017): (V, E).

    Words without a vector and special tokens are zero, so that a mean over a document passes them over.
    """
    matrix, found = vectors.matrix_for(tokenizer.vocabulary)
    rows = torch.from_numpy(matrix).float()
    rows[torch.from_numpy(~found)] = 0.0
    rows[list(tokenizer.special_ids)] = 0.0
    return _weighted(rows, tokenizer)


def _weighted(rows: Tensor, tokenizer: TextTokenizer) -> Tensor:
    rows = rows / rows.norm(dim=1, keepdim=True).clamp_min(1e-8)
    counts = torch.tensor(tokenizer.counts or [0] * len(tokenizer), dtype=torch.float32)
    share = counts / counts.sum().clamp_min(1.0)
    return rows * (FREQUENCY_WEIGHT / (FREQUENCY_WEIGHT + share))[:, None]


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
