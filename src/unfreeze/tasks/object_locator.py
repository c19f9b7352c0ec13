"""`ObjectLocator`: one box in each image, or several of several classes; and `fit_locator`, the recipe that trains it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Self, Unpack

import numpy as np

from unfreeze.encoders.saving import load_matching, made_to_fit
from unfreeze.errors import UserError
from unfreeze.folders import CONFIG, WEIGHTS, Config, EncoderConfig, load_tensors, read_config
from unfreeze.progress import SILENT, Progress
from unfreeze.registry import HubOptions, encoder_class, find_model
from unfreeze.runs import Run
from unfreeze.tasks.average_precision import Located
from unfreeze.tasks.base import Estimator, held_out_pair
from unfreeze.tasks.image_classifier import image_inputs
from unfreeze.tasks.located_images import (
    LocatedImages,
    box_count,
    box_set,
    boxes_to_learn,
    need_known_labels,
    with_largest_box,
)
from unfreeze.tasks.locating import FEATURE_BATCH, locate, make_network, make_objective
from unfreeze.tasks.locator_network import LocatorNetwork
from unfreeze.tasks.locator_report import LocatorReport, make_report, mean_box_of, usual_label_of
from unfreeze.tasks.plans import LocatorPlan, card_facts, plan, run_identity
from unfreeze.tasks.settings import LocatorSettings
from unfreeze.tasks.task_encoders import save_task_model, split_encoder
from unfreeze.training.loop import metrics_of, seed_everything
from unfreeze.training.precision import Precision, prediction_format
from unfreeze.training.processes import together
from unfreeze.vision.annotations import BoxSet
from unfreeze.vision.images import is_image_input, load_image

logger = logging.getLogger(__name__)

KIND = "object_locator"
LEAST_SCORE, OVERLAP, MAX_BOXES = 0.3, 0.6, 100
"""What `predict` shows of several boxes: those of a higher score, no two of a label with a larger IoU, and so many."""
MEASURED_SCORE = 0.05
"""Average precision counts boxes of a higher score than this."""
SNIPPET = """
from unfreeze import ObjectLocator

locator = ObjectLocator.from_pretrained(".")  # this folder
print(locator("photo.jpg"))
"""


@dataclass(frozen=True, kw_only=True)
class LocatorConfig(Config):
    """The config.json of a locator."""

    labels: list[str]
    settings: dict[str, Any]
    """Arguments of the network, whose signature has their types."""
    mean_box: list[float]
    """The mean box of the training images, left, top, right and bottom as fractions of the image."""
    usual_label: int
    """Number of the most frequent label of the training images."""
    encoder: EncoderConfig = field()  # without the default of other kinds
    estimator: dict[str, Any] | None = None
    """The settings of the estimator."""


class ObjectLocator(Estimator, LocatorSettings):
    """A locator of objects in images: of the one object in each image, or of several with their labels.

    The settings are those of `unfreeze.tasks.settings.LocatorSettings`. Boxes are left, top, right and bottom in pixels of the
    upright image; right and bottom are edges, so width = right - left. If every training image has exactly one box, the locator
    predicts one box for each image, otherwise any number.

    Example:
        >>> import numpy as np
        >>> images = np.zeros((8, 32, 32, 3), dtype=np.uint8)
        >>> boxes = np.array([[4 + x, 6, 16 + x, 22] for x in range(8)])
        >>> for image, (left, top, right, bottom) in zip(images, boxes):
        ...     image[top:bottom, left:right] = 255
        >>> locator = ObjectLocator(image_size=32, width=4, depths=(1, 1), crop_area=1.0, flip=False, epochs=30)
        >>> locator = locator.fit(images, boxes)
        >>> locator.predict(images).shape
        (8, 4)
        >>> locator.score(images, boxes) > 0.6
        True
    """

    used_by = "predict or evaluate"
    network_: LocatorNetwork
    label_names_: tuple[str, ...]
    """The labels of the boxes."""
    mean_box_: list[float]
    """The mean box of the training images, left, top, right and bottom as fractions of the image."""
    usual_label_: int
    """Number of the most frequent label of the training images."""
    arguments_: dict[str, Any]
    """Arguments of the network, as in config.json."""

    @classmethod
    def of_network(
        cls,
        network: LocatorNetwork,
        label_names: Sequence[str],
        arguments: dict[str, Any],
        mean_box: Sequence[float],
        usual_label: int = 0,
        settings: LocatorSettings | None = None,
    ) -> Self:
        """A fitted locator of a network; arguments are the attributes of these names, and the settings or None for the defaults."""
        locator = cls.with_settings(settings)
        locator.network_, locator.arguments_ = network, arguments
        locator.label_names_, locator.mean_box_ = tuple(label_names), list(mean_box)
        locator.usual_label_ = usual_label
        return locator

    @property
    def label_names(self) -> tuple[str, ...]:
        """The labels of the boxes."""
        return self.label_names_

    @property
    def finds_one(self) -> bool:
        """Whether exactly one box is predicted for each image."""
        return self.network_.boxes == "one"

    def fit(self, X: Any, y: Any, validation: tuple[Any, Any] | None = None) -> Self:
        """Train on images with boxes.

        Args:
            X: n images: names of files, arrays (H, W, 3) of 8 bits, or images of Pillow.
            y: for each a box (4,), an array (N, 4) of boxes, or a dictionary of "boxes" (N, 4) and their N "labels".
            validation: X and y to measure on after each epoch; the best epoch is kept.

        Raises:
            UserError: a setting cannot work, images and boxes do not fit together, an image cannot be read, or a box has no area
                within its image.
        """
        settings = LocatorSettings(**self._checked_settings())
        held_out = None
        if validation is not None:
            held_out = box_set(*held_out_pair(validation), "the validation images")
        fitted, self.metrics_ = fit_locator(box_set(X, y), settings, validation=held_out)
        return self._take_fitted(fitted)

    # Prediction

    def predict(self, X: Any) -> Any:
        """The boxes in each of n images: an array (n, 4) if the locator finds one box in each.

        Otherwise a list of n dictionaries of "boxes" (M, 4), their "labels" and their "scores", from the highest score to the
        lowest; `fit` and `score` take such a list as y.

        Raises:
            UserError: one image instead of several, or an image that cannot be read.
        """
        found = [each for _, each in self.predict_stream(image_inputs(X))]
        if self.finds_one:
            return np.concatenate([*(each.boxes for each in found), np.zeros((0, 4))])
        return [{"boxes": each.boxes, "labels": self._names(each), "scores": each.scores} for each in found]

    def _names(self, found: Located) -> list[str]:
        return [self.label_names_[label] for label in found.labels]

    def predict_stream(
        self, images: Iterable[Any], *, least_score: float = LEAST_SCORE
    ) -> Iterator[tuple[Any, Located]]:
        """Each image and the boxes in it, in order, in memory that does not grow with the stream.

        Args:
            least_score: where there may be several boxes, those of a higher score are found.
        """
        network, remaining = self.network_, iter(images)
        while part := list(islice(remaining, FEATURE_BATCH)):
            loaded = [load_image(each, at_least=network.encoder.processor.at_least) for each in part]
            with prediction_format(self.precision, network.encoder.device):
                found = locate(network, loaded, least_score=least_score, overlap=OVERLAP, max_boxes=MAX_BOXES)
            yield from zip(part, found, strict=True)

    def __call__(self, images: Any, *, least_score: float = LEAST_SCORE) -> Any:
        """The boxes in an image, as transformers' pipeline for object detection gives them.

        Args:
            images: one image or several.
            least_score: where there may be several boxes, those of a higher score are found.

        Returns:
            For an image a list of {"label", "score", "box": {"xmin", "ymin", "xmax", "ymax"}}, from the highest score to the lowest;
            for several images a list of such lists. A locator of one box and one label has no "score".

        Raises:
            UserError: an image cannot be read.
        """
        is_single = is_image_input(images)
        given = [images] if is_single else image_inputs(images)
        found = [self.prediction(each) for _, each in self.predict_stream(given, least_score=least_score)]
        return found[0] if is_single else found

    def prediction(self, found: Located) -> list[dict[str, Any]]:
        """The boxes in an image as `__call__` gives them."""
        assert found.scores is not None
        sides = ("xmin", "ymin", "xmax", "ymax")
        # The score of one box in each image is that of its label: with a single label, it would be 1 for any box.
        has_scores = not self.finds_one or len(self.label_names_) > 1
        return [
            {
                "label": name,
                **({"score": float(score)} if has_scores else {}),
                "box": dict(zip(sides, box, strict=True)),
            }
            for name, score, box in zip(
                self._names(found), found.scores, found.boxes.round(1).tolist(), strict=True
            )
        ]

    # Evaluation

    def score(self, X: Any, y: Any) -> float:
        """The mean IoU, if the locator finds one box in each image; otherwise average precision as COCO defines it.

        Raises:
            UserError: images and boxes do not fit together, or an image cannot be read.
        """
        return self.evaluate(box_set(X, y)).score

    def evaluate(
        self, examples: BoxSet, *, unknown_labels: str = "error", progress: Progress = SILENT
    ) -> LocatorReport:
        """Measure on images with boxes, such as `read_boxes` reads from a file.

        Args:
            unknown_labels: "error" raises an error for boxes whose label is not in the training data, "wrong" counts them as not
                found.

        Raises:
            UserError: there is no image, one cannot be read, or a label is not in the training data.
        """
        if self.finds_one:
            examples = with_largest_box(examples)
        if not len(examples):
            raise UserError(f"{examples.source} holds no image to evaluate on")
        names = self.label_names_
        if unknown_labels == "wrong":
            used = {label for example in examples.examples for label in example.labels}
            names += tuple(name for name in examples.label_names if name in used and name not in names)
        else:
            need_known_labels(examples, names)
        true, found, sizes = [], [], []
        with progress.bar("evaluate", total=len(examples), unit="image") as bar:
            for start in range(0, len(examples), FEATURE_BATCH):
                part = examples.subset(examples.examples[start : start + FEATURE_BATCH])
                data = LocatedImages.of(part, names, self.network_.encoder.processor)
                stream = self.predict_stream(data.images, least_score=MEASURED_SCORE)
                found += [each for _, each in stream]
                true += data.true
                sizes += data.sizes
                bar.advance(len(part))
        return make_report(
            true,
            found,
            sizes,
            names,
            is_one=self.finds_one,
            mean_box=self.mean_box_,
            usual_label=self.usual_label_,
        )

    # Saving

    def save_pretrained(self, folder: str | Path) -> None:
        """Write config.json, model.safetensors and preprocessor_config.json into `folder`, whole or not at all."""
        config = {
            "kind": KIND,
            "labels": list(self.label_names_),
            "settings": self.arguments_,
            "mean_box": self.mean_box_,
            "usual_label": self.usual_label_,
            "estimator": self._checked_settings(),
        }
        save_task_model(folder, config, self.network_.own_tensors(), self.network_.encoder, None)

    @classmethod
    def from_pretrained(cls, name_or_dir: str | Path, **hub: Unpack[HubOptions]) -> Self:
        """Load a locator with the settings that it was fitted with; `hub` as for `Encoder.from_pretrained`.

        Raises:
            UserError: there is none of that name, or its folder is damaged, of another kind or newer.
        """
        folder = find_model(name_or_dir, **hub)
        config = read_config(folder, {KIND}, LocatorConfig)
        labels, mean_box, usual = config["labels"], config["mean_box"], config["usual_label"]
        if len(set(labels)) < max(1, len(labels)) or len(mean_box) != 4 or not 0 <= usual < len(labels):
            raise UserError(
                f"{folder / CONFIG}: labels, mean_box and usual_label do not fit: the file is damaged"
            )
        settings = cls._saved_settings(config, folder)
        encoder = encoder_class(config["encoder"]["kind"], folder).from_config(config["encoder"], folder)
        own, of_encoder = split_encoder(load_tensors(folder / WEIGHTS))
        network = made_to_fit(
            LocatorNetwork,
            folder,
            {name: list(tensor.shape) for name, tensor in own.items()},
            LocatorNetwork.own_tensors,
            encoder,
            len(labels),
            **config["settings"],
        )
        encoder.load_weights(of_encoder, str(folder))
        load_matching(network, own, network.own_tensors(), str(folder))
        return cls.of_network(network.eval(), labels, config["settings"], mean_box, usual, settings)


# The recipe


def fit_locator(
    train_set: BoxSet,
    settings: LocatorSettings,
    *,
    validation: BoxSet | None = None,
    output: str | Path | None = None,
    precision: Precision = "auto",
    overwrite: bool = False,
    command: str = "",
    progress: Progress = SILENT,
) -> tuple[ObjectLocator, dict[str, Any]]:
    """Fit a locator. With an output, call it again after a kill to resume.

    Args:
        validation: images to measure on after each epoch.
        output: folder to save the locator in; None keeps it in memory.
        precision: number format of the training; "auto" is bf16 where the processor is fast in it.
        overwrite: replace a model of another run, once this one is complete.
        command: how this was called, for the model card.

    Returns:
        The locator, and its metrics as in metrics.json.

    Raises:
        UserError: the images cannot be learned from, or the encoder or the output cannot be used.
        Interrupted: Ctrl-C, after a checkpoint.
    """
    with together():
        chosen = plan(LocatorPlan, settings)
        used, held_out = boxes_to_learn(settings, train_set), validation
        names = used.label_names
        if held_out is not None:
            held_out = with_largest_box(held_out) if box_count(settings, used) == "one" else held_out
            if not len(held_out):
                raise UserError(f"{held_out.source}: there is no image to measure on")
            need_known_labels(held_out, names)
        epochs = chosen.epochs_for(len(used))
        loop = chosen.loop(epochs, measures=held_out is not None)

    def identity() -> dict[str, Any]:
        return run_identity("fit locator", settings, chosen, train_set, validation)

    with Run(output, identity, precision=precision, overwrite=overwrite, progress=progress) as run:
        if run.done:
            return ObjectLocator.from_pretrained(run.output), run.metrics
        with together():
            seed_everything(chosen.seed)
            network, arguments = make_network(used, chosen)
        network.to(run.accelerator.device)
        with together():
            objective = make_objective(
                network, used, chosen, run.accelerator, held_out, epochs=epochs, progress=progress
            )
        records = run.train(objective, chosen.policy(), loop, "locator")
        metrics, baseline = metrics_of(records, loop), objective.baseline_score
        if held_out is not None and baseline is not None and metrics["score"] <= baseline:
            logger.warning(
                "on %s, the locator is no better than the mean box of the training images", held_out.source
            )
        data = objective.train.data
        mean_box, usual = mean_box_of(data.true, data.sizes), usual_label_of(data.true)
        locator = ObjectLocator.of_network(network.eval(), names, arguments, mean_box, usual, settings)
        of_data = {
            "images": len(used),
            "boxes": sum(len(each.boxes) for each in used.examples),
            "labels": ", ".join(names[:20]),
        }
        locator.metrics_ = run.finish(
            locator.save_pretrained,
            {name: value for name, value in metrics.items() if name != "score"},
            title="Object locator",
            facts=card_facts(settings, chosen, network, command, train_set, **of_data),
            snippet=SNIPPET,
        )
        return locator, locator.metrics_
