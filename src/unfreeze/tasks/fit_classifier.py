"""Stage 3: a classifier from labeled texts, on a pre-trained encoder or from scratch."""

from __future__ import annotations

import logging
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from unfreeze.datasets.dataset import ExampleSet
from unfreeze.encoders.directions import module_name
from unfreeze.encoders.saving import load_matching
from unfreeze.encoders.text_encoder import TextEncoder
from unfreeze.encoders.vector_source import open_vectors
from unfreeze.encoders.word_vectors import WordVectors
from unfreeze.errors import UserError
from unfreeze.folders import WEIGHTS, load_tensors, read_config
from unfreeze.progress import SILENT, Progress
from unfreeze.registry import find_model, weights_digest
from unfreeze.tasks.bodies import make_encoder, vectors_beside, weighted_vectors
from unfreeze.tasks.classification import ClassificationObjective, ClassifierNetwork
from unfreeze.tasks.fit_run import FitTask, Records, fit_task
from unfreeze.tasks.fit_settings import RATES, FitSettings, default_epochs
from unfreeze.tasks.heads import LinearHead
from unfreeze.tasks.layered import LayeredNetwork
from unfreeze.tasks.logistic_regression import solve_head
from unfreeze.tasks.text_classifier import (
    KIND,
    ClassifierConfig,
    TextClassifier,
    label_shares,
    make_targets,
)
from unfreeze.training.precision import Precision
from unfreeze.training.processes import together
from unfreeze.transfer.policies import TransferPolicy

logger = logging.getLogger(__name__)

SNIPPET = """
from unfreeze.tasks.text_classifier import TextClassifier

classifier = TextClassifier.from_pretrained(".")  # this folder
print(classifier.predict(["A stunning story with a lot of twists."]))
"""


def fit_classifier(
    train_set: ExampleSet,
    settings: FitSettings,
    *,
    validation: ExampleSet | None = None,
    output: str | Path | None = None,
    precision: Precision = "auto",
    overwrite: bool = False,
    command: str = "",
    progress: Progress = SILENT,
) -> TextClassifier:
    """Fit, and save into `output` if there is one. Run again after a kill, it goes on.

    Raises:
        UserError: the examples cannot be learned from, or the encoder or the output cannot be used.
        Interrupted: Ctrl-C, after a checkpoint.
    """
    with together():
        _check(train_set)
        epochs = _epochs(len(train_set), settings)
        task = FitTask(
            name="classifier",
            title="Text classifier",
            snippet=SNIPPET,
            settings=settings,
            identity=lambda: _identity(train_set, settings, validation),
            load=TextClassifier.from_pretrained,
            make=lambda: make_classifier(train_set, settings),
            make_objective=lambda classifier, accelerator: make_objective(
                classifier, train_set, settings, accelerator, validation, progress
            ),
            policy=make_policy(settings),
            loop=settings.loop(epochs, measures=validation is not None),
            solve=lambda classifier, objective: _solved(classifier, objective, settings),
            after=_put_away,
            facts=lambda classifier: {
                "data": Path(train_set.source).name,
                "examples": len(train_set),
                "labels": ", ".join(classifier.label_names[:20]),
                "transfer": settings.mode,
            },
        )
    return fit_task(
        task, output=output, precision=precision, overwrite=overwrite, command=command, progress=progress
    )


def _identity(train_set: ExampleSet, settings: FitSettings, validation: ExampleSet | None) -> dict[str, Any]:
    """What tells this run from another: the settings, and what is in the files that they name."""
    scratch = settings.mode == "scratch"
    return {
        "train": [train_set.source, train_set.digest()],
        "validation": None if validation is None else [validation.source, validation.digest()],
        **asdict(settings),
        "encoder_weights": None if scratch else weights_digest(settings.chosen_encoder),
    }


def _check(examples: ExampleSet) -> None:
    if not len(examples):
        raise UserError(f"{examples.source} holds no examples")
    found = {label for example in examples.examples for label in example.labels}
    if examples.multi_label:
        if not found:
            raise UserError(f"{examples.source}: no example has a label")
    elif len(found) < 2:
        raise UserError(
            f"{examples.source}: all {len(examples)} examples are of one class ({', '.join(found)}); two are needed"
        )


def make_classifier(examples: ExampleSet, settings: FitSettings) -> TextClassifier:
    """A classifier that is ready to be trained: encoder, and a head that is new or another classifier's."""
    names = examples.label_names
    if settings.stands_on_layers:
        return _on_layers(examples, settings)
    settings.need_no_layer_options()
    encoder = make_encoder(examples, settings)
    earlier = _body_for_same_labels(examples, settings)
    body: dict[str, Any] = {
        "pooling": settings.pooling or ("vectors" if isinstance(encoder, WordVectors) else "top"),
        "head": settings.head or ("linear" if settings.has_fixed_features else "two-layer"),
        **{name: value for name, value in earlier.items() if getattr(settings, name) is None},
    }
    vectors = None
    if settings.word_vectors is not None:
        vectors = weighted_vectors(open_vectors(settings.word_vectors), encoder.tokenizer)
        body["word_vectors"] = vectors.shape[1]
    network = ClassifierNetwork(encoder, len(names), multi_label=examples.multi_label, **body)
    if vectors is not None:
        network.word_vectors.copy_(vectors)
    if settings.chosen_body == "bilstm":
        network.body_groups = len(encoder.layer_groups()) - 1
    if earlier:
        _take_over(network, settings, with_heads=body == earlier)
    return TextClassifier(network, names, body, label_shares(examples))


def _on_layers(examples: ExampleSet, settings: FitSettings) -> TextClassifier:
    """A biLSTM on a mix of the layers of a contextual encoder."""
    body: dict[str, Any] = {
        "head": settings.head or "two-layer",
        "hidden_size": settings.hidden_size,
        "layers": "mix" if settings.layers is None else settings.layers,
        "mix_at": settings.mix_at,
        "mix_l2": settings.mix_l2,
        "layer_norm": settings.layer_norm,
        "frozen": settings.mode == "frozen",
    }
    names = examples.label_names
    vectors = None if settings.word_vectors is None else vectors_beside(examples, settings)
    network = LayeredNetwork(
        TextEncoder.from_pretrained(settings.chosen_encoder),
        len(names),
        multi_label=examples.multi_label,
        vectors=vectors,
        **body,
    )
    kept = {"network": "layered", "word_vectors": vectors is not None, **body}
    return TextClassifier(network, names, kept, label_shares(examples))


def _body_for_same_labels(examples: ExampleSet, settings: FitSettings) -> dict[str, Any]:
    """What the network was made with, where the encoder comes from a classifier of the same labels; else nothing."""
    if settings.mode == "scratch":
        return {}
    place = find_model(settings.chosen_encoder)
    if place.is_file():
        return {}
    if read_config(place)["kind"] != KIND:
        return {}
    config = read_config(place, {KIND}, ClassifierConfig)
    if (config["labels"], config["multi_label"]) != (list(examples.label_names), examples.multi_label):
        return {}
    body: dict[str, Any] = config["settings"]
    return body


def _take_over(network: ClassifierNetwork, settings: FitSettings, *, with_heads: bool) -> None:
    """Start from another classifier's static word vectors, and from its heads where these are made alike."""
    folder = find_model(settings.chosen_encoder)
    wanted = ("heads.",) * with_heads + ("word_vectors",) * (settings.word_vectors is None)
    tensors = {n: t for n, t in load_tensors(folder / WEIGHTS).items() if n.startswith(wanted)}
    own = network.own_tensors()
    load_matching(network, tensors, {name: own[name] for name in tensors}, str(folder))
    logger.info(
        "the head %s", f"starts from {folder}, which has the same labels" if with_heads else "starts anew"
    )


def _solved(
    classifier: TextClassifier, objective: ClassificationObjective, settings: FitSettings
) -> Records | None:
    """Linear heads on what never moves are solved, and every process finds the same solution; else None."""
    network, start = classifier.network, time.monotonic()
    linear = not network.multi_label and all(isinstance(head, LinearHead) for head in network.heads.values())
    if not (settings.solves_linear_head and linear):
        return None
    assert objective.features is not None
    record: dict[str, Any] = {"step": 0, "epoch": 0}
    for name, features in objective.features.items():
        head = network.heads[module_name(name)]
        assert isinstance(head, LinearHead)
        record["strength"] = solve_head(head, features, objective.targets, seed=settings.seed).strength
    network.eval()
    with torch.no_grad():
        figures = objective.validate()
    return [record | {"seconds": round(time.monotonic() - start, 1)} | figures]


def _put_away(classifier: TextClassifier) -> None:
    """Of the texts learned from, layers are kept in 16 bits: a fitted model treats all texts alike."""
    if isinstance(classifier.network, LayeredNetwork):
        classifier.network.words.kept.clear()


def make_objective(
    classifier: TextClassifier,
    train_set: ExampleSet,
    settings: FitSettings,
    accelerator: Accelerator,
    validation: ExampleSet | None = None,
    progress: Progress = SILENT,
) -> ClassificationObjective:
    """What the loop trains: this process's part of the examples, with the dropouts of the transfer."""
    network = classifier.network
    if settings.pace != "scratch":
        assert isinstance(network, ClassifierNetwork)
        network.encoder.set_dropout_scale(0.5 if settings.dropout_scale is None else settings.dropout_scale)
    network.to(accelerator.device)
    if isinstance(network, LayeredNetwork) and network.frozen:
        texts = [*train_set.inputs(), *([] if validation is None else validation.inputs())]
        weights = weights_digest(settings.chosen_encoder)
        precision: Precision = "bf16" if accelerator.mixed_precision == "bf16" else "fp32"
        network.words.keep_layers(texts, weights, precision=precision, progress=progress)
    held_out = None
    if validation is not None:
        texts = classifier.inputs([example.input for example in validation.examples])
        held_out = texts, classifier.targets(validation)
    return ClassificationObjective(
        network,
        classifier.inputs([example.input for example in train_set.examples]),
        make_targets(train_set, classifier.label_names, classifier.multi_label),
        batch_size=settings.batch_size,
        frozen=settings.has_fixed_features,
        validation=held_out,
        seed=settings.seed,
        rank=accelerator.process_index,
        world_size=accelerator.num_processes,
    )


def make_policy(settings: FitSettings) -> TransferPolicy:
    """How the encoder and the head move."""
    return TransferPolicy(
        mode=settings.mode,
        learning_rate=RATES[settings.pace] if settings.rate is None else settings.rate,
        discriminative=settings.discriminative,
        gradual=settings.gradual,
        schedule=settings.schedule,
    )


def _epochs(n_examples: int, settings: FitSettings) -> int | None:
    """None where time bounds the run."""
    if settings.minutes is not None:
        return None
    return default_epochs(n_examples, settings) if settings.epochs is None else settings.epochs


__all__ = ["FitSettings", "fit_classifier", "make_classifier", "make_objective", "make_policy"]
