"""Training of a classifier: by gradient descent in the training loop, or solved as a logistic regression.

Legend: B batch, N examples, P features of a head, K labels.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unfreeze.datasets.dataset import ExampleSet
from unfreeze.encoders.directions import module_name
from unfreeze.errors import UnknownLabel, UserError, column_of, setting
from unfreeze.progress import SILENT, Progress
from unfreeze.registry import weights_digest
from unfreeze.tasks.classifier_network import BODIES, ClassifierNetwork
from unfreeze.tasks.heads import LinearHead, solve_head
from unfreeze.tasks.plans import ClassifierPlan
from unfreeze.text.text_inputs import need_equal_kinds
from unfreeze.training.objective import Loss, SeparateExamples
from unfreeze.training.precision import Precision

if TYPE_CHECKING:
    from accelerate import Accelerator


class ClassificationObjective(SeparateExamples):
    """The objective of a classifier for the training loop.

    Args:
        network: trained in place.
        inputs: the training examples in the form that `network.body.inputs` gives.
        targets: (N,) of int64, or multi-label (N, K) of float32.
        sample_weight: (N,) weights of the training examples; None for equal ones.
        frozen: only the heads are trained: the features are computed once, without dropout in the encoder.
        validation: inputs and targets to evaluate after each epoch.
    """

    def __init__(
        self,
        network: ClassifierNetwork,
        inputs: Sequence[Any],
        targets: Tensor,
        *,
        sample_weight: Tensor | None = None,
        batch_size: int = 32,
        frozen: bool = False,
        validation: tuple[Sequence[Any], Tensor] | None = None,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        progress: Progress = SILENT,
    ) -> None:
        lengths = [network.body.length(one) for one in inputs]
        super().__init__(network, lengths, batch_size=batch_size, seed=seed, rank=rank, world_size=world_size)
        self.network = network
        self.inputs, self.targets, self.validation = inputs, targets, validation
        self.sample_weight = sample_weight
        self.features: dict[str, Tensor] | None = None
        self.validation_features: dict[str, Tensor] | None = None
        if frozen:
            self.features = network.read_all(inputs, progress)
            if validation is not None:
                self.validation_features = network.read_all(validation[0], progress)

    def loss(self, batch: Any) -> Loss:
        """Cross-entropy of this process's part of a batch."""
        device = next(self.model.parameters()).device
        features = self._features(batch or [0], device)
        if not batch:  # more processes than examples: this one only takes part in the sums of the batch norms
            features = {name: x[:0] for name, x in features.items()}
        return self.loss_of(features, batch)

    def loss_of(self, features: dict[str, Tensor], batch: list[int]) -> Loss:
        """Cross-entropy of a batch, of which the features are known."""
        device = next(self.model.parameters()).device
        weights = None if self.sample_weight is None else self.sample_weight[batch].to(device)
        loss = self.network.loss(features, self.targets[batch].to(device), weights)
        return Loss(loss, len(batch), self.network.body.penalty())

    def _features(self, numbers: list[int], device: torch.device) -> dict[str, Tensor]:
        if self.features is not None:
            return {name: x[numbers].to(device) for name, x in self.features.items()}
        return self.network.read([self.inputs[n] for n in numbers])

    def validate(self) -> dict[str, float]:
        """Loss and accuracy on the validation inputs; a multi-label one is right if all its labels are."""
        if self.validation is None:
            return {}
        inputs, targets = self.validation
        features = self.validation_features or self.network.read_all(inputs)
        device = next(self.model.parameters()).device
        features = {name: x.to(device) for name, x in features.items()}
        targets = targets.to(device)
        loss = float(self.network.loss(features, targets)) / len(inputs)
        found = self.network.probabilities(features)
        right = (
            ((found > 0.5) == (targets > 0.5)).all(1)
            if self.network.multi_label
            else found.argmax(1) == targets
        )
        accuracy = int(right.sum()) / len(inputs)
        return {"loss": loss, "accuracy": accuracy, "score": accuracy}


def make_objective(
    network: ClassifierNetwork,
    train_set: ExampleSet,
    plan: ClassifierPlan,
    accelerator: Accelerator,
    validation: ExampleSet | None = None,
    progress: Progress = SILENT,
    sample_weight: NDArray[np.float32] | None = None,
) -> ClassificationObjective:
    """Prepare the network (dropouts, device, cached layers) and the examples for training.

    Raises:
        UserError: a validation example has a label that the training set lacks.
    """
    if plan.pace != "scratch":
        network.encoder.set_dropout_scale(0.5 if plan.dropout_scale is None else plan.dropout_scale)
    network.to(accelerator.device)
    if plan.stands_on_layers and plan.mode == "frozen" and not plan.starts_from_vectors:
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
        sample_weight=None if sample_weight is None else torch.from_numpy(sample_weight),
        batch_size=plan.batch_size,
        frozen=plan.has_fixed_features,
        validation=held_out,
        seed=plan.seed,
        rank=accelerator.process_index,
        world_size=accelerator.num_processes,
        progress=progress,
    )


def solve_heads(network: ClassifierNetwork, objective: ClassificationObjective, seed: int) -> dict[str, Any]:
    """Solve linear heads on fixed features, with the same result in every process; returns the record of the training."""
    start = time.monotonic()
    assert objective.features is not None
    record: dict[str, Any] = {"step": 0, "epoch": 0}
    for name, features in objective.features.items():
        head = network.heads[module_name(name)]
        assert isinstance(head, LinearHead)
        solution = solve_head(head, features, objective.targets, objective.sample_weight, seed=seed)
        record["C"] = solution.C
        if solution.cross_validated is not None and len(objective.features) == 1:
            record["cross_validated_accuracy"] = round(solution.cross_validated, 6)
    network.eval()
    with torch.no_grad():
        measured = objective.validate()
    return record | {"seconds": round(time.monotonic() - start, 1)} | measured


def check_examples(train_set: ExampleSet, validation: ExampleSet | None) -> None:
    """Raise UserError if no classifier can be fitted to these examples."""
    if not len(train_set):
        raise UserError(f"{train_set.source}: there is no example to learn from")
    found = {label for example in train_set.examples for label in example.labels}
    if train_set.multi_label:
        if not found:
            raise UserError(f"{train_set.source}: no example has a label")
    elif len(found) < 2:
        raise UserError(
            f"{train_set.source}: all {len(train_set)} examples are of one class ({', '.join(found)}); two are needed"
        )
    if validation is not None and not len(validation):
        raise UserError(f"{validation.source}: there is no example to measure on")


def check_kinds(train_set: ExampleSet, validation: ExampleSet | None, plan: ClassifierPlan) -> None:
    """Raise UserError if the training and validation texts are not all pairs or all single, or the body cannot read them."""
    if validation is not None:
        need_equal_kinds(train_set.inputs(), validation.inputs(), f"the examples of {validation.source}")
    if isinstance(train_set.examples[0].input, tuple) and not BODIES[plan.chosen_body].may_read_pairs:
        raise UserError(
            f"{train_set.source} has pairs of texts, which {setting('body', 'bcn')} reads and "
            f"{setting('body', plan.chosen_body)} does not"
        )


def checked_weights(given: Any, n: int) -> NDArray[np.float32]:
    """The weights of n examples, scaled to a mean of 1, so that only their ratios matter: (n,).

    Raises:
        UserError: there are not n, one is no number or negative, or all are 0.
    """
    column = column_of(given, "sample weights")
    try:
        found = np.asarray(column, dtype=np.float64)
    except (TypeError, ValueError):
        raise UserError(
            "sample_weight is one number for each example; held-out examples are given as validation=(X, y)"
        ) from None
    if found.shape != (n,):
        raise UserError(
            f"{n} examples and sample weights of shape {found.shape}: there must be one for each example"
        )
    bad = np.flatnonzero(~(np.isfinite(found) & (found >= 0)))
    if len(bad):
        raise UserError(f"sample_weight[{bad[0]}] is {found[bad[0]]}: weights are at least 0")
    if not found.any():
        raise UserError("all sample weights are 0: there is nothing to learn from")
    scaled: NDArray[np.float32] = (found / found.mean()).astype(np.float32)
    return scaled


def label_shares(examples: ExampleSet, sample_weight: NDArray[np.float32] | None = None) -> list[float]:
    """The fraction of the examples, or of their weight, that has each label: K from 0 to 1."""
    weights = [1.0] * len(examples) if sample_weight is None else sample_weight.tolist()
    found = dict.fromkeys(examples.label_names, 0.0)
    for example, weight in zip(examples.examples, weights, strict=True):
        for label in example.labels:
            found[label] += weight
    total = sum(weights)
    return [weight / total for weight in found.values()]


def make_targets(examples: ExampleSet, label_names: Sequence[str], multi_label: bool) -> Tensor:
    """Label indices (N,), or multi-label indicators (N, K).

    Raises:
        UnknownLabel: `label_names` lacks a label.
    """
    number_of = {name: number for number, name in enumerate(label_names)}
    rows: list[list[int]] = []
    for example in examples.examples:
        for label in example.labels:
            if label not in number_of:
                known = ", ".join(label_names[:10])
                raise UnknownLabel(
                    f"{examples.place(example.number)} has the label {label!r}, which is not in the training data (it had {known})"
                )
        rows.append([number_of[label] for label in example.labels])
    if not multi_label:
        return torch.tensor([row[0] for row in rows], dtype=torch.long)
    targets = torch.zeros(len(rows), len(label_names))
    for position, row in enumerate(rows):
        targets[position, row] = 1.0
    return targets
