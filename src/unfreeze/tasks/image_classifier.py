"""`ImageClassifier`: one label or several for each image; and `fit_image_classifier`, the recipe that trains it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unfreeze.analysis.image_features import class_evidence
from unfreeze.datasets.dataset import ExampleSet, LabeledExample
from unfreeze.encoders.base import evaluating
from unfreeze.errors import UserError, column_of
from unfreeze.progress import SILENT, Progress
from unfreeze.runs import Run
from unfreeze.tasks.classification import (
    ClassificationObjective,
    check_examples,
    checked_weights,
    label_shares,
    make_targets,
    solve_heads,
)
from unfreeze.tasks.classifier import Classifier
from unfreeze.tasks.classifier_network import ClassifierNetwork
from unfreeze.tasks.image_inputs import PooledMaps, augmentation_of, make_encoder, read_once
from unfreeze.tasks.metrics import ImageReport, Prediction
from unfreeze.tasks.plans import ImageClassifierPlan, card_facts, plan, run_identity
from unfreeze.tasks.settings import ImageClassifierSettings
from unfreeze.training.loop import metrics_of, seed_everything
from unfreeze.training.memory_check import planned_within_memory
from unfreeze.training.objective import Loss
from unfreeze.training.precision import Precision
from unfreeze.training.processes import make_accelerator, together
from unfreeze.vision.images import ImageFile, is_image_input, need_image
from unfreeze.vision.random_views import RandomViews
from unfreeze.vision.transforms import ImageTransform

if TYPE_CHECKING:
    from accelerate import Accelerator

KIND = "image_classifier"
SNIPPET = """
from unfreeze import ImageClassifier

classifier = ImageClassifier.from_pretrained(".")  # this folder
print(classifier(["photo.jpg"]))
"""


class ImageClassifier(Classifier, ImageClassifierSettings):
    """A classifier of images: files, arrays (H, W, 3) of 8 bits, or images of Pillow.

    The settings are those of `unfreeze.tasks.settings.ImageClassifierSettings`. Without an encoder, a residual network is trained
    from scratch; `encoder="my-convnet"` fine-tunes one, and with `transfer="frozen"` it only computes features, once.

    Example:
        >>> import numpy as np
        >>> stripes = np.zeros((8, 16, 16, 3), dtype=np.uint8)
        >>> stripes[:4, ::2], stripes[4:, :, ::2] = 255, 255
        >>> labels = ["horizontal"] * 4 + ["vertical"] * 4
        >>> classifier = ImageClassifier(image_size=16, width=4, depths=(1, 1), crop_area=1.0, epochs=40)
        >>> classifier.fit(stripes, labels).predict(stripes[3:5])
        array(['horizontal', 'vertical'], dtype='<U10')
    """

    network_: ClassifierNetwork
    kind, noun, report_kind, buffer = KIND, "image", ImageReport, 128
    used_by = "predict or evaluate"

    def _read(self, X: Any) -> Sequence[Any]:
        return image_inputs(X)

    def row(self, example: LabeledExample) -> dict[str, Any]:
        named = isinstance(example.input, (str, Path, ImageFile))
        return {"image": str(example.input) if named else f"{self.noun} {example.number}"}

    def _fit(
        self, train_set: ExampleSet, validation: ExampleSet | None, sample_weight: Any
    ) -> tuple[Self, dict[str, Any]]:
        settings = ImageClassifierSettings(**self._checked_settings())
        fitted, metrics = fit_image_classifier(
            train_set, settings, validation=validation, sample_weight=sample_weight
        )
        return cast(Self, fitted), metrics

    def __call__(self, images: Any) -> list[Prediction]:
        """The label of each image and its probability: {"label", "score"}; {"labels": [...]} if an image may have several.

        Args:
            images: one image or several.

        Raises:
            UserError: an image cannot be read.
        """
        if is_image_input(images):
            images = [images]
        return [self.prediction(row) for row in self.predict_proba(images)]

    def evidence(
        self, X: Any, labels: Sequence[str] | None = None
    ) -> tuple[NDArray[np.float32], tuple[str, ...]]:
        """Where in each image the evidence for a class lies, by Grad-CAM (`unfreeze.analysis.image_features.class_evidence`).

        Args:
            X: n images.
            labels: the class of each image, one of `label_names`; None takes the most probable one.

        Returns:
            (n, H, W) of at least 0: the top feature map's places in the square that the network sees; and the n classes.

        Raises:
            UserError: an image cannot be read, or a class is unknown.
        """
        images, network = self._read(X), self.network_
        body, wanted = network.body, None
        assert isinstance(body, PooledMaps)
        if labels is not None:
            if unknown := [each for each in labels if each not in self.label_names]:
                known = ", ".join(self.label_names[:20])
                raise UserError(f"there is no class {unknown[0]!r}; the classes are: {known}")
            wanted = [self.label_names.index(each) for each in labels]
        maps, chosen = [], list[int]()
        with evaluating(network):
            for start in range(0, len(images), self.buffer):
                part = slice(start, start + self.buffer)
                with torch.no_grad():
                    top = body.encoder.maps(body.encoder.prepare(images[part]))[-1]
                found, classes = class_evidence(
                    top,
                    lambda top: network.logits(body.pooled(top))[0],
                    None if wanted is None else wanted[part],
                )
                maps.append(found)
                chosen += classes
        return np.concatenate(maps), tuple(self.label_names[each] for each in chosen)

    def _probabilities(self, given: Sequence[Any]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """In parts, because decoded images take much memory."""
        parts = [
            super(ImageClassifier, self)._probabilities(given[start : start + self.buffer])
            for start in range(0, max(1, len(given)), self.buffer)
        ]
        rows, known = zip(*parts, strict=True)
        return np.concatenate(rows), np.concatenate(known)


def image_inputs(X: Any) -> list[Any]:
    """The images in `X`: a list of files, arrays or images of Pillow; an array (n, H, W, 3); a column of names of files.

    Raises:
        UserError: one image instead of several, or something else than images among them.
    """
    if is_image_input(X):
        raise UserError("one image was given where several are expected: put it into a list")
    found = list(X) if isinstance(X, np.ndarray) else column_of(X, "images")
    for number, each in enumerate(found):
        need_image(each, f"images[{number}]")
    return list(found)


@planned_within_memory
def make_network(
    train_set: ExampleSet, plan: ImageClassifierPlan
) -> tuple[ClassifierNetwork, dict[str, Any]]:
    """A network to train on the examples, and its arguments, which config.json keeps under "settings".

    Raises:
        UserError: the encoder cannot be read.
    """
    head = plan.head or PooledMaps.usual_head
    body = PooledMaps(make_encoder(plan))
    network = ClassifierNetwork(
        body, len(train_set.label_names), multi_label=train_set.multi_label, head=head
    )
    return network, {"network": body.network, "head": head}


class ImageObjective(ClassificationObjective):
    """The objective of a classifier of images whose encoder is trained: a random view of each image in each epoch.

    Args:
        views: of the training images.
        options: arguments of `ClassificationObjective`.
    """

    def __init__(
        self, network: ClassifierNetwork, views: RandomViews, targets: Tensor, **options: Any
    ) -> None:
        super().__init__(network, views.images, targets, **options)
        self.views = views

    def batches(self, epoch: int, start: int) -> Iterator[tuple[int, list[int]]]:
        """The epoch, which determines the views, and the indices of the images of this process, batch by batch."""
        for numbers in super().batches(epoch, start):
            yield epoch, numbers

    def loss(self, batch: tuple[int, list[int]]) -> Loss:
        """Cross-entropy of this process's part of a batch; without images it only takes part in the sums of the batch norms."""
        epoch, numbers = batch
        body = self.network.body
        assert isinstance(body, PooledMaps)
        pixels, _ = self.views.squares(
            [(number, epoch + 1) for number in numbers]
        )  # draw 0 is the plain view
        top = body.encoder.maps(body.encoder.batch_of(pixels))[-1]
        return self.loss_of(body.pooled(top), numbers)


def make_objective(
    network: ClassifierNetwork,
    train_set: ExampleSet,
    plan: ImageClassifierPlan,
    accelerator: Accelerator,
    validation: ExampleSet | None = None,
    sample_weight: NDArray[np.float32] | None = None,
    progress: Progress = SILENT,
) -> ClassificationObjective:
    """Read the images, or compute their features where the encoder is frozen, for training.

    Raises:
        UserError: an image cannot be read, or a validation example has a label that the training set lacks.
    """
    names, multi_label = train_set.label_names, train_set.multi_label
    transform = network.encoder.processor
    assert isinstance(transform, ImageTransform)
    augmentation = None if plan.has_fixed_features else augmentation_of(plan)
    held_out = None
    if validation is not None:
        targets = make_targets(validation, names, multi_label)
        held_out = read_once(validation.inputs(), transform, progress=progress), targets
    images = read_once(train_set.inputs(), transform, augmentation, progress)
    targets = make_targets(train_set, names, multi_label)
    options: dict[str, Any] = {
        "sample_weight": None if sample_weight is None else torch.from_numpy(sample_weight),
        "batch_size": plan.batch_size,
        "validation": held_out,
        "seed": plan.seed,
        "rank": accelerator.process_index,
        "world_size": accelerator.num_processes,
    }
    if plan.has_fixed_features:
        return ClassificationObjective(network, images, targets, frozen=True, progress=progress, **options)
    views = RandomViews(images, images.sizes, transform, augmentation, seed=plan.seed)
    return ImageObjective(network, views, targets, **options)


def fit_image_classifier(
    train_set: ExampleSet,
    settings: ImageClassifierSettings,
    *,
    validation: ExampleSet | None = None,
    sample_weight: Any = None,
    output: str | Path | None = None,
    precision: Precision = "auto",
    overwrite: bool = False,
    command: str = "",
    progress: Progress = SILENT,
    title: str = "Image classifier",
) -> tuple[ImageClassifier, dict[str, Any]]:
    """Fit a classifier of images. With an output, call it again after a kill to resume.

    Args:
        title: of the model card.

    Other arguments, Returns, Raises:
        As in `fit_classifier`.
    """
    with together():
        chosen = plan(ImageClassifierPlan, settings)
        check_examples(train_set, validation)
        weights = None if sample_weight is None else checked_weights(sample_weight, len(train_set))
        loop = chosen.loop(chosen.epochs_for(len(train_set)), measures=validation is not None)

    def identity() -> dict[str, Any]:
        return {
            **run_identity("fit image classifier", settings, chosen, train_set, validation),
            "sample_weight": None if weights is None else sha256(weights.tobytes()).hexdigest(),
        }

    with Run(output, identity, precision=precision, overwrite=overwrite, progress=progress) as run:
        if run.done:
            return ImageClassifier.from_pretrained(run.output), run.metrics
        with together():
            seed_everything(chosen.seed)
            network, arguments = make_network(train_set, chosen)
        # A linear head on a frozen encoder is a logistic regression, which is solved instead of trained.
        solved = chosen.solves_linear_head and network.is_logistic_regression
        accelerator = make_accelerator("fp32") if solved else run.accelerator
        network.to(accelerator.device)
        with together():
            objective = make_objective(network, train_set, chosen, accelerator, validation, weights, progress)
        if solved:
            records = [solve_heads(network, objective, chosen.seed)]
        else:
            records = run.train(objective, chosen.policy(), loop, "image classifier")
        classifier = ImageClassifier.of_network(
            network.eval(),
            train_set.label_names,
            arguments,
            label_shares(train_set, weights),
            settings,
        )
        of_data = {"examples": len(train_set), "labels": ", ".join(train_set.label_names[:20])}
        classifier.metrics_ = run.finish(
            classifier.save_pretrained,
            metrics_of(records, loop, without=("score",)),
            title=title,
            facts=card_facts(settings, chosen, network, command, train_set, **of_data),
            snippet=SNIPPET,
        )
        return classifier, classifier.metrics_
