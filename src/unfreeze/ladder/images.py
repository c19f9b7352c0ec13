"""The rungs of a classifier of images: the largest class, from scratch, and the ConvNets that are given, frozen and fine-tuned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from unfreeze.datasets.dataset import ExampleSet
from unfreeze.ladder.cells import Measured, Rung
from unfreeze.ladder.settings import LadderSettings
from unfreeze.ladder.sizes import epochs_of, parameter_counts, saved_size
from unfreeze.ladder.texts import SCRATCH, Majority
from unfreeze.progress import Progress
from unfreeze.registry import weights_digest
from unfreeze.tasks.image_classifier import fit_image_classifier
from unfreeze.tasks.plans import (
    FEWEST_IMAGE_EPOCHS,
    IMAGE_UPDATES,
    MOST_IMAGE_EPOCHS,
    NO_ENCODER,
    ImageClassifierPlan,
    plan,
)
from unfreeze.tasks.settings import ImageClassifierSettings, plain_settings

READ = 0.03
"""Estimated seconds of one core for reading an image by a ConvNet; sizes differ widely."""
LEARNED = 3.0
"""How many times as long as reading learning from an image takes, in each epoch."""


class ImageData:
    """Labeled images to measure on."""

    def __init__(self, test: ExampleSet, progress: Progress) -> None:
        self.test, self.progress = test, progress
        self.inputs: list[Any] = test.inputs()

    def right(self, predicted: Sequence[str]) -> list[float]:
        """1 for each test image whose label was predicted, 0 for others."""
        return [
            float((name,) == each.labels) for name, each in zip(predicted, self.test.examples, strict=True)
        ]


class ImageRung(Rung):
    """An `ImageClassifier` with these settings, without the seed."""

    def __init__(self, name: str, about: str, data: ImageData, settings: ImageClassifierSettings) -> None:
        self.name, self.about, self.data, self.settings = name, about, data, settings
        self.plan = plan(ImageClassifierPlan, settings)

    def identity(self) -> dict[str, Any]:
        encoder = self.plan.encoder
        return {
            "settings": {**plain_settings(self.settings), "encoder": None, "seed": None},
            "weights": None if encoder == NO_ENCODER else weights_digest(encoder),
        }

    def seconds(self, count: int) -> float:
        mode = self.plan.mode
        usual = epochs_of(
            IMAGE_UPDATES[mode],
            self.settings.batch_size,
            FEWEST_IMAGE_EPOCHS[mode],
            MOST_IMAGE_EPOCHS[mode],
            count,
        )
        passes = 1.0 if mode == "frozen" else LEARNED * (self.settings.epochs or usual)
        return 0.5 + READ * (passes * count + len(self.data.inputs))

    def fit(self, sample: ExampleSet, seed: int) -> Measured:
        settings = replace(self.settings, seed=seed)
        classifier, _ = fit_image_classifier(sample, settings, progress=self.data.progress)
        classifier.precision = "auto"
        predicted = [str(label) for label in classifier.predict(self.data.inputs)]
        parameters, pretrained = parameter_counts(classifier.network_, scratch=self.plan.mode == "scratch")
        return Measured(
            numerators=self.data.right(predicted),
            parameters=parameters,
            pretrained=pretrained,
            size=saved_size(classifier.save_pretrained),
        )


def image_rungs(
    test: ExampleSet,
    settings: LadderSettings,
    progress: Progress,
    usual: ImageClassifierSettings | None = None,
) -> list[Rung]:
    """The rungs of images.

    Args:
        usual: settings of the ConvNet from scratch and of the images, besides the encoder and the transfer mode.
    """
    data, usual = ImageData(test, progress), usual or ImageClassifierSettings()
    usual = replace(usual, epochs=settings.epochs)
    rungs: list[Rung] = [
        Majority(data),
        ImageRung(
            SCRATCH,
            "A ConvNet with random weights learns from the sample alone.",
            data,
            replace(usual, encoder=NO_ENCODER, transfer=None),
        ),
    ]
    # What belongs to a ConvNet from scratch, or to training it, is not for a given one.
    plain = ImageClassifierSettings(image_size=usual.image_size, resize=usual.resize)
    for name in settings.encoder:
        short = Path(str(name)).name
        rungs += [
            ImageRung(
                f"{short}, frozen",
                f"Logistic regression on the mean of {short}'s top feature map.",
                data,
                replace(plain, encoder=name, transfer="frozen"),
            ),
            ImageRung(
                f"{short}, fine-tuned",
                f"{short} fine-tuned on the sample with gradual unfreezing.",
                data,
                replace(plain, encoder=name, transfer="fine-tune", epochs=settings.epochs),
            ),
        ]
    return rungs
