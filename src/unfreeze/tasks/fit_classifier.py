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
from unfreeze.errors import UserError
from unfreeze.progress import SILENT, Progress
from unfreeze.registry import weights_digest
from unfreeze.runs import Run
from unfreeze.tasks.classification import ClassificationObjective, ClassifierNetwork
from unfreeze.tasks.fit_settings import FitSettings
from unfreeze.tasks.heads import LinearHead
from unfreeze.tasks.logistic_regression import solve_head
from unfreeze.tasks.networks import make_network
from unfreeze.tasks.plans import ClassifierPlan, card_facts, plan
from unfreeze.tasks.text_classifier import TextClassifier, label_shares, make_targets
from unfreeze.training.loop import metrics_of, seed_everything
from unfreeze.training.precision import Precision
from unfreeze.training.processes import make_accelerator, together

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
) -> tuple[TextClassifier, dict[str, Any]]:
    """Fit a classifier. With an output, call it again after a kill to resume.

    Args:
        validation: examples to measure on after each epoch.
        output: folder to save the classifier in; None keeps it in memory.
        precision: number format of the training; "auto" is bf16 where the processor is fast in it.
        overwrite: replace a model of another run, once this one is complete.
        command: how this was called, for the model card.

    Returns:
        The classifier, and its metrics as in metrics.json.

    Raises:
        UserError: the examples cannot be learned from, or the encoder or the output cannot be used.
        Interrupted: Ctrl-C, after a checkpoint.
    """
    with together():
        _check(train_set)
        chosen = plan(ClassifierPlan, settings)
        loop = settings.loop(chosen.epochs_for(len(train_set)), measures=validation is not None)

    def identity() -> dict[str, Any]:
        return {"stage": "fit classifier", **_identity(train_set, settings, chosen, validation)}

    with Run(output, identity, precision=precision, overwrite=overwrite, progress=progress) as run:
        if run.done:
            return TextClassifier.from_pretrained(run.output), run.metrics
        with together():
            seed_everything(settings.seed)
            classifier = make_classifier(train_set, chosen)
        network = classifier.network
        # A linear head on a frozen encoder is a logistic regression, which is solved instead of trained.
        solved = chosen.solves_linear_head and is_logistic_regression(network)
        accelerator = make_accelerator("fp32") if solved else run.accelerator
        network.to(accelerator.device)
        with together():
            objective = make_objective(classifier, train_set, chosen, accelerator, validation, progress)
        if solved:
            records = [_solve(network, objective, chosen)]
        else:
            records = run.train(objective, chosen.policy(), loop, "classifier")
        # The layers of the training texts are kept in 16 bits: a fitted model treats all texts alike.
        network.body.release_cache()
        metrics = metrics_of(records, loop, without=("score",))
        facts = {
            "data": Path(train_set.source).name,
            "examples": len(train_set),
            "labels": ", ".join(classifier.label_names[:20]),
            "transfer": chosen.mode,
            **card_facts(settings, chosen.encoder, network, command),
        }
        run.finish(classifier.save_pretrained, metrics, title="Text classifier", facts=facts, snippet=SNIPPET)
        return classifier, metrics


def _identity(
    train_set: ExampleSet, settings: FitSettings, chosen: ClassifierPlan, validation: ExampleSet | None
) -> dict[str, Any]:
    """What tells this run from another: the settings, and what is in the files that they name."""
    scratch = chosen.mode == "scratch"
    return {
        "train": [train_set.source, train_set.digest()],
        "validation": None if validation is None else [validation.source, validation.digest()],
        **asdict(settings),
        "encoder_weights": None if scratch else weights_digest(chosen.encoder),
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


def make_classifier(examples: ExampleSet, plan: ClassifierPlan) -> TextClassifier:
    """A classifier that is ready to be trained: encoder, and a head that is new or another classifier's."""
    network, saved = make_network(examples, plan)
    return TextClassifier(network, examples.label_names, saved, label_shares(examples))


def is_logistic_regression(network: ClassifierNetwork) -> bool:
    """Whether nothing but linear heads of single labels learns, once the encoder is frozen."""
    return not network.multi_label and all(isinstance(head, LinearHead) for head in network.heads.values())


def _solve(
    network: ClassifierNetwork, objective: ClassificationObjective, plan: ClassifierPlan
) -> dict[str, Any]:
    """Give the heads their best weights, the same in every process; returns the record of the run."""
    start = time.monotonic()
    assert objective.features is not None
    record: dict[str, Any] = {"step": 0, "epoch": 0}
    for name, features in objective.features.items():
        head = network.heads[module_name(name)]
        assert isinstance(head, LinearHead)
        record["C"] = solve_head(head, features, objective.targets, seed=plan.seed).C
    network.eval()
    with torch.no_grad():
        measured = objective.validate()
    return record | {"seconds": round(time.monotonic() - start, 1)} | measured


def make_objective(
    classifier: TextClassifier,
    train_set: ExampleSet,
    plan: ClassifierPlan,
    accelerator: Accelerator,
    validation: ExampleSet | None = None,
    progress: Progress = SILENT,
) -> ClassificationObjective:
    """What the loop trains: this process's part of the examples, with the dropouts of the transfer."""
    network = classifier.network
    if plan.pace != "scratch":
        network.encoder.set_dropout_scale(0.5 if plan.dropout_scale is None else plan.dropout_scale)
    network.to(accelerator.device)
    if plan.stands_on_layers and plan.mode == "frozen":
        texts = [*train_set.inputs(), *([] if validation is None else validation.inputs())]
        weights = weights_digest(plan.encoder)
        precision: Precision = "bf16" if accelerator.mixed_precision == "bf16" else "fp32"
        network.body.cache_layers(texts, weights, precision=precision, progress=progress)
    held_out = None
    if validation is not None:
        texts = classifier.inputs([example.input for example in validation.examples])
        held_out = texts, classifier.targets(validation)
    return ClassificationObjective(
        network,
        classifier.inputs([example.input for example in train_set.examples]),
        make_targets(train_set, classifier.label_names, classifier.multi_label),
        batch_size=plan.batch_size,
        frozen=plan.has_fixed_features,
        validation=held_out,
        seed=plan.seed,
        rank=accelerator.process_index,
        world_size=accelerator.num_processes,
    )
