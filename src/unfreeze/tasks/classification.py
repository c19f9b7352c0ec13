"""The network of every classifier, encoder -> body -> heads, and how it learns.

What differs between classifiers is the body (bodies.py). A body has several heads where its encoder's directions are
classifiers of their own, whose probabilities are averaged (Howard & Ruder 2018, section 4.1).

Legend: B batch, P features of a head, K labels.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor, nn

from unfreeze.datasets.dataset import ExampleSet
from unfreeze.encoders.base import Encoder
from unfreeze.encoders.directions import module_name
from unfreeze.errors import UnknownLabel
from unfreeze.progress import SILENT, Progress
from unfreeze.registry import weights_digest
from unfreeze.tasks.bodies import Body
from unfreeze.tasks.heads import HEADS, LinearHead
from unfreeze.tasks.logistic_regression import solve_head
from unfreeze.tasks.objectives import SeparateExamples
from unfreeze.tasks.plans import ClassifierPlan
from unfreeze.tasks.settings import Head
from unfreeze.text.batches import token_bounded_batches
from unfreeze.training.objective import Loss
from unfreeze.training.precision import Precision
from unfreeze.transfer.policies import LayerGroups

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
