"""How a text classifier learns: by gradients in the training loop, or solved as a logistic regression.

Legend: B batch, N examples, P features of a head, K labels.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from unfreeze.datasets.dataset import ExampleSet
from unfreeze.encoders.directions import module_name
from unfreeze.errors import UnknownLabel
from unfreeze.progress import SILENT, Progress
from unfreeze.registry import weights_digest
from unfreeze.tasks.classifier_network import ClassifierNetwork, LinearHead
from unfreeze.tasks.logistic_regression import solve_head
from unfreeze.tasks.plans import ClassifierPlan
from unfreeze.text.batches import token_bounded_batches
from unfreeze.training.objective import Loss, SeparateExamples
from unfreeze.training.precision import Precision


class ClassificationObjective(SeparateExamples):
    """What the loop trains when it trains a classifier.

    Args:
        network: trained in place.
        texts: the body's `inputs` of every training example.
        targets: (N,) of int64, or (N, K) of float32 with many labels.
        frozen: the encoder never moves: its features are computed once, without its dropouts.
        validation: texts and targets to be measured at each epoch's end.
    """

    def __init__(
        self,
        network: ClassifierNetwork,
        texts: Sequence[Any],
        targets: Tensor,
        *,
        batch_size: int = 32,
        frozen: bool = False,
        validation: tuple[Sequence[Any], Tensor] | None = None,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        lengths = [network.body.length(text) for text in texts]
        super().__init__(network, lengths, batch_size=batch_size, seed=seed, rank=rank, world_size=world_size)
        self.network = network
        self.texts, self.targets, self.validation = texts, targets, validation
        self.features: dict[str, Tensor] | None = None
        self.validation_features: dict[str, Tensor] | None = None
        if frozen:
            self.features = all_features(network, texts)
            if validation is not None:
                self.validation_features = all_features(network, validation[0])

    def loss(self, batch: list[int]) -> Loss:
        """Cross-entropy of this process's examples."""
        device = next(self.model.parameters()).device
        features = self._features(batch or [0], device)
        if not batch:  # more processes than examples: this one takes part in the batch norms, with none
            features = {name: x[:0] for name, x in features.items()}
        loss = self.network.loss(features, self.targets[batch].to(device))
        return Loss(loss, len(batch), self.network.body.penalty())

    def _features(self, numbers: list[int], device: torch.device) -> dict[str, Tensor]:
        if self.features is not None:
            return {name: x[numbers].to(device) for name, x in self.features.items()}
        return self.network.read([self.texts[n] for n in numbers])

    def validate(self) -> dict[str, float]:
        """Loss and accuracy (of all labels together, with many labels) on the validation texts."""
        if self.validation is None:
            return {}
        texts, targets = self.validation
        features = self.validation_features or all_features(self.network, texts)
        device = next(self.model.parameters()).device
        features = {name: x.to(device) for name, x in features.items()}
        targets = targets.to(device)
        loss = float(self.network.loss(features, targets)) / len(texts)
        found = self.network.probabilities(features)
        right = (
            ((found > 0.5) == (targets > 0.5)).all(1)
            if self.network.multi_label
            else found.argmax(1) == targets
        )
        accuracy = int(right.sum()) / len(texts)
        return {"loss": loss, "accuracy": accuracy, "score": accuracy}


@torch.no_grad()
def all_features(
    network: ClassifierNetwork, inputs: Sequence[Any], batch_tokens: int = 16_384
) -> dict[str, Tensor]:
    """Features of all the body's `inputs` in evaluation mode: (N, P) for each head, on the CPU."""
    was_training = network.training
    network.eval()
    found: dict[str, Tensor] = {}
    for numbers in token_bounded_batches([network.body.length(each) for each in inputs], batch_tokens):
        for name, x in network.read([inputs[n] for n in numbers]).items():
            if name not in found:
                found[name] = torch.zeros(len(inputs), x.shape[1])
            found[name][numbers] = x.float().cpu()
    network.train(was_training)
    return found


def make_objective(
    network: ClassifierNetwork,
    train_set: ExampleSet,
    plan: ClassifierPlan,
    accelerator: Accelerator,
    validation: ExampleSet | None = None,
    progress: Progress = SILENT,
) -> ClassificationObjective:
    """What the loop trains: this process's part of the examples, with the dropouts of the transfer.

    Raises:
        UserError: a validation example has a label that training lacks.
    """
    if plan.pace != "scratch":
        network.encoder.set_dropout_scale(0.5 if plan.dropout_scale is None else plan.dropout_scale)
    network.to(accelerator.device)
    if plan.stands_on_layers and plan.mode == "frozen":
        texts = [*train_set.inputs(), *([] if validation is None else validation.inputs())]
        weights = weights_digest(plan.encoder)
        precision: Precision = "bf16" if accelerator.mixed_precision == "bf16" else "fp32"
        network.body.cache_layers(texts, weights, precision=precision, progress=progress)
    names, multi_label = train_set.label_names, network.multi_label
    held_out = None
    if validation is not None:
        held_out = network.body.inputs(validation.inputs()), make_targets(validation, names, multi_label)
    return ClassificationObjective(
        network,
        network.body.inputs(train_set.inputs()),
        make_targets(train_set, names, multi_label),
        batch_size=plan.batch_size,
        frozen=plan.has_fixed_features,
        validation=held_out,
        seed=plan.seed,
        rank=accelerator.process_index,
        world_size=accelerator.num_processes,
    )


def solve_heads(network: ClassifierNetwork, objective: ClassificationObjective, seed: int) -> dict[str, Any]:
    """Give linear heads on fixed features their best weights, the same in every process; returns the training's record."""
    start = time.monotonic()
    assert objective.features is not None
    record: dict[str, Any] = {"step": 0, "epoch": 0}
    for name, features in objective.features.items():
        head = network.heads[module_name(name)]
        assert isinstance(head, LinearHead)
        record["C"] = solve_head(head, features, objective.targets, seed=seed).C
    network.eval()
    with torch.no_grad():
        measured = objective.validate()
    return record | {"seconds": round(time.monotonic() - start, 1)} | measured


def make_targets(examples: ExampleSet, label_names: Sequence[str], multi_label: bool) -> Tensor:
    """(N,) label numbers, or (N, K) of 0 and 1 with many labels.

    Raises:
        UserError: a label that `label_names` lacks.
    """
    number_of = {name: number for number, name in enumerate(label_names)}
    rows: list[list[int]] = []
    for example in examples.examples:
        for label in example.labels:
            if label not in number_of:
                known = ", ".join(label_names[:10])
                raise UnknownLabel(
                    f"{examples.place(example.number)} has the label {label!r}, which training lacked (it had {known})"
                )
        rows.append([number_of[label] for label in example.labels])
    if not multi_label:
        return torch.tensor([row[0] for row in rows], dtype=torch.long)
    targets = torch.zeros(len(rows), len(label_names))
    for position, row in enumerate(rows):
        targets[position, row] = 1.0
    return targets
