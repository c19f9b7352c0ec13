"""The rungs of a classifier of texts, from the largest class to the fine-tuned language model.

No choice looks at a test text: TF-IDF chooses its C, and a solved head its own, by cross-validation on the sample. Documents of the
unlabeled text that equal a test text are left out of vocabularies and adaptation (`unlabeled.py`); those that only contain one are not found.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unfreeze.datasets.dataset import ExampleSet
from unfreeze.errors import UserError
from unfreeze.ladder.cells import Measured, Rung
from unfreeze.ladder.settings import LadderSettings
from unfreeze.ladder.sizes import epochs_of, parameter_counts, saved_size, tfidf_size
from unfreeze.ladder.unlabeled import CHARACTERS, MadeModel, RungOnModel, UnlabeledText
from unfreeze.progress import Progress
from unfreeze.registry import weights_digest
from unfreeze.tasks.baselines import fit_tfidf
from unfreeze.tasks.candidates import considered, released_digests
from unfreeze.tasks.classifier_network import ClassifierNetwork
from unfreeze.tasks.ensemble import EnsembleNetwork
from unfreeze.tasks.plans import (
    AUTO,
    DEFAULT_ENCODER,
    FEWEST_EPOCHS,
    MAX_EPOCHS,
    NO_ENCODER,
    UPDATES,
    ClassifierPlan,
    plan,
)
from unfreeze.tasks.rungs import Task
from unfreeze.tasks.settings import ClassifierSettings, plain_settings
from unfreeze.tasks.text_classifier import TextClassifier, fit_classifier
from unfreeze.tasks.tfidf import TfidfNetwork
from unfreeze.training.precision import prediction_format

SCRATCH, TFIDF = "from scratch", "TF-IDF"
"""The rungs that others are compared with."""
READ = {"scratch": 1.5e-5, "vectors": 4e-6, "states": 1.2e-4}
"""Estimated seconds of one core for reading a word: by a biLSTM, by a table of vectors, by a language model."""
LEARNED = {"scratch": 3.0, "states": 3.0}
"""How many times as long as reading learning from a word takes, in each epoch."""
SOLVED = 1.5e-3
"""Estimated seconds for each example of a solved head."""
AUTO_SHARE = 0.1
"""Part of the time that is the budget of each `auto`."""
COUNTED = 2e-5
"""Estimated seconds of TF-IDF for a word to learn from; it is counted once in each fold."""


class TextData:
    """Labeled texts to learn from and to measure on.

    Raises:
        UserError: texts are pairs, or have several labels.
    """

    def __init__(self, train: ExampleSet, test: ExampleSet, progress: Progress) -> None:
        for examples in (train, test):
            if any(isinstance(each.input, tuple) for each in examples.examples):
                raise UserError(f"{examples.source} holds pairs of texts; the ladder reads single texts")
        self.train, self.test, self.progress = train, test, progress
        self.inputs: list[str] = test.inputs()
        self.train_words = sum(map(len, train.inputs())) / CHARACTERS / len(train)
        """Words of a text, on average."""
        self.test_words = sum(map(len, self.inputs)) / CHARACTERS

    def right(self, predicted: Sequence[str]) -> list[float]:
        """1 for each test text whose label was predicted, 0 for others."""
        return [
            float((name,) == each.labels) for name, each in zip(predicted, self.test.examples, strict=True)
        ]


class Majority(Rung):
    """The most frequent label of the sample for every text."""

    name = "largest class"
    about = "Every text gets the most frequent label of the sample; nothing is read."

    def __init__(self, data: Any) -> None:
        self.data = data

    def identity(self) -> dict[str, Any]:
        return {}

    def seconds(self, count: int) -> float:
        return 0.0

    def fit(self, sample: Any, seed: int) -> Measured:
        counts = Counter(each.labels[0] for each in sample.examples)
        best = max(sorted(counts), key=counts.__getitem__)
        right = self.data.right([best] * len(self.data.inputs))
        return Measured(numerators=right, parameters=1, pretrained=0, size=len(best.encode()))


class Tfidf(Rung):
    """Logistic regression on TF-IDF of words and pairs of words."""

    name = TFIDF
    about = "Logistic regression on TF-IDF of words and pairs of words of the sample; no pre-training."

    def __init__(self, data: TextData) -> None:
        self.data = data

    def identity(self) -> dict[str, Any]:
        return {}

    def seconds(self, count: int) -> float:
        return 0.2 + COUNTED * (count * self.data.train_words + self.data.test_words / 5)

    def fit(self, sample: ExampleSet, seed: int) -> Measured:
        fitted = fit_tfidf(sample, seed=seed)
        weights = fitted.regression.coef_.size + fitted.regression.intercept_.size
        parameters, size = tfidf_size(fitted.vectorizer.vocabulary_, weights)
        right = self.data.right(fitted.predict(self.data.inputs))
        return Measured(numerators=right, parameters=parameters, pretrained=0, size=size)


class ClassifierRung(RungOnModel):
    """A `TextClassifier` with these settings.

    Args:
        settings: without the seed; the encoder of a `made` model is filled in.
        reads: what reads the words, for the estimate: a key of `READ`.
        made: the model that it starts from, if the ladder makes it.
    """

    def __init__(
        self,
        name: str,
        about: str,
        data: TextData,
        settings: ClassifierSettings,
        reads: str,
        *,
        made: MadeModel | None = None,
    ) -> None:
        self.name, self.about, self.data, self.made = name, about, data, made
        self.settings: ClassifierSettings = settings
        self.reads = reads
        self._features: tuple[dict[str, Tensor], NDArray[np.bool_]] | None = None

    @property
    def is_fixed(self) -> bool:
        """Whether the features do not depend on the sample: those of the test texts are computed once."""
        return self.settings.transfer == "frozen" and self.settings.body in (None, "pooling")

    def identity(self) -> dict[str, Any]:
        settings = {**plain_settings(self.settings), "encoder": None, "seed": None}
        if self.made is not None:
            return {"settings": settings, "made": self.made.identity()}
        encoder = self.settings.encoder
        return {
            "settings": settings,
            "weights": None if encoder in (None, NO_ENCODER) else weights_digest(str(encoder)),
        }

    def seconds(self, count: int) -> float:
        read = READ[self.reads] * self.data.train_words * count
        if self.is_fixed:
            return 0.5 + read + SOLVED * count
        pace = "scratch" if self.reads != "states" or self.settings.body == "bilstm" else "fine-tune"
        usual = epochs_of(
            UPDATES[pace], self.settings.batch_size, FEWEST_EPOCHS[pace], MAX_EPOCHS[pace], count
        )
        epochs = self.settings.epochs or usual
        measuring = READ[self.reads] * self.data.test_words
        return 1.0 + epochs * LEARNED.get(self.reads, 3.0) * read + measuring

    def preparations(self) -> dict[str, float]:
        found = super().preparations()
        if self.is_fixed:
            found[f"test texts of {self.name}"] = READ[self.reads] * self.data.test_words
        return found

    def fit(self, sample: ExampleSet, seed: int) -> Measured:
        settings = replace(self.settings, seed=seed)
        classifier, _ = fit_classifier(sample, settings, progress=self.data.progress)
        classifier.precision = "auto"
        if self.is_fixed:
            names, predicted = classifier.label_names, self._of_features(classifier)
            right = self.data.right([names[best] for best in predicted.argmax(1)])
        else:
            right = self.data.right([str(label) for label in classifier.predict(self.data.inputs)])
        is_new = plan(ClassifierPlan, settings).mode == "scratch"
        parameters, pretrained = parameter_counts(
            classifier.network_,
            scratch=is_new,
            first_layer=self.reads == "scratch" and not is_new,
        )
        return Measured(
            numerators=right,
            parameters=parameters,
            pretrained=pretrained,
            size=saved_size(classifier.save_pretrained),
        )

    @torch.no_grad()
    def _of_features(self, classifier: TextClassifier) -> NDArray[np.float32]:
        """As `predict_proba` of the test texts, whose features are computed at the first call only."""
        network = classifier.network_
        assert isinstance(network, ClassifierNetwork)
        device = next(network.parameters()).device
        if self._features is None:
            inputs = network.body.inputs(self.data.inputs)
            with prediction_format(classifier.precision, device):
                found = network.read_all(inputs, self.data.progress)
            self._features = found, network.body.have_known_words(inputs)
        features, known = self._features
        shares: NDArray[np.float32] = (
            network.probabilities({name: x.to(device) for name, x in features.items()}).cpu().numpy()
        )
        if classifier.prior_ is not None:
            shares[~known] = classifier.prior_
        return shares


class AutoRung(Rung):
    """What `fit classifier` does by default.

    Args:
        unlabeled: files of unlabeled text, without the test texts.
    """

    name = "auto"
    about = "The default of fit classifier: TF-IDF, word vectors and states of language models, weighed by cross-validation."

    def __init__(self, data: TextData, unlabeled: UnlabeledText | None, minutes: float) -> None:
        self.data = data
        self.corpus = None if unlabeled is None else unlabeled.corpus
        paths = None if self.corpus is None else tuple(map(str, self.corpus.paths))
        self.settings = ClassifierSettings(encoder=AUTO, unlabeled=paths, minutes=minutes)

    def identity(self) -> dict[str, Any]:
        corpus = None if self.corpus is None else self.corpus.identity()
        return {"minutes": self.settings.minutes, "weights": released_digests(), "corpus": corpus}

    def seconds(self, count: int) -> float:
        sample = self.data.train.sample(count, 0)
        rungs, _ = considered(Task.of(sample, 0), self.settings, self.data.progress)
        own = sum(rung.seconds - rung.once for rung in rungs)
        return own + READ["states"] * self.data.test_words

    def preparations(self) -> dict[str, float]:
        task = Task.of(self.data.train, 0)
        rungs, _ = considered(task, self.settings, self.data.progress)
        return {f"{rung.name} for auto": rung.once for rung in rungs if rung.once}

    def fit(self, sample: ExampleSet, seed: int) -> Measured:
        classifier, _ = fit_classifier(sample, replace(self.settings, seed=seed), progress=self.data.progress)
        classifier.precision = "auto"
        network = classifier.network_
        assert isinstance(network, EnsembleNetwork)
        counts = [
            parameter_counts(member.network, scratch=isinstance(member.network, TfidfNetwork))
            for member in network.members
        ]
        return Measured(
            numerators=self.data.right([str(label) for label in classifier.predict(self.data.inputs)]),
            parameters=sum(total for total, _ in counts),
            pretrained=sum(pretrained for _, pretrained in counts),
            size=saved_size(classifier.save_pretrained),
        )


def text_rungs(data: TextData, settings: LadderSettings, unlabeled: UnlabeledText | None) -> list[Rung]:
    """The rungs from the bottom to the top, with those of the encoders that the settings name."""
    trained: dict[str, Any] = {"epochs": settings.epochs}
    frozen = ClassifierSettings(transfer="frozen")

    def rung(name: str, about: str, own: ClassifierSettings, reads: str, made: Any = None) -> Rung:
        return ClassifierRung(name, about, data, own, reads, made=made)

    rungs: list[Rung] = [
        Majority(data),
        Tfidf(data),
        rung(
            SCRATCH,
            "A biLSTM with random weights learns from the sample alone.",
            ClassifierSettings(encoder=NO_ENCODER, **trained),
            "scratch",
        ),
        rung(
            "released word vectors, averaged",
            f"Logistic regression on the mean word vector of {DEFAULT_ENCODER}; the vectors are frozen.",
            replace(frozen, encoder=DEFAULT_ENCODER, pooling="vectors"),
            "vectors",
        ),
    ]
    if unlabeled is not None:
        vectors = unlabeled.word_vectors(settings)
        rungs += [
            rung(
                "own word vectors, averaged",
                "Skip-gram vectors of the unlabeled text (window 30); logistic regression on their mean.",
                frozen,
                "vectors",
                vectors,
            ),
            rung(
                "own word vectors under a biLSTM",
                "The same vectors as the first layer of a new biLSTM, all trained on the sample.",
                ClassifierSettings(body="bilstm", **trained),
                "scratch",
                vectors,
            ),
        ]
    rungs.append(
        rung(
            "language model, frozen",
            f"Logistic regression on the pooled states of {DEFAULT_ENCODER}.",
            replace(frozen, encoder=DEFAULT_ENCODER),
            "states",
        )
    )
    adapted = None if unlabeled is None else unlabeled.adapted(DEFAULT_ENCODER, settings)
    rungs.append(
        rung(
            "language model, fine-tuned" if adapted is None else "language model, adapted and fine-tuned",
            f"ULMFiT: {DEFAULT_ENCODER}{'' if adapted is None else ', adapted to the unlabeled text and then'} fine-tuned on the "
            "sample with gradual unfreezing.",
            ClassifierSettings(encoder=DEFAULT_ENCODER if adapted is None else None, **trained),
            "states",
            adapted,
        )
    )
    rungs.append(AutoRung(data, unlabeled, AUTO_SHARE * settings.minutes))
    for name in settings.encoder:
        chosen = plan(ClassifierPlan, ClassifierSettings(encoder=name))
        own = ClassifierSettings(encoder=name, transfer=chosen.mode, body=chosen.chosen_body)
        solved = plan(ClassifierPlan, own).solves_linear_head
        rungs.append(
            rung(
                Path(str(name)).name or str(name),
                f"The encoder {Path(str(name)).name}, {chosen.mode}.",
                own if solved else replace(own, **trained),
                "vectors" if chosen.starts_from_vectors else "states",
            )
        )
    return rungs
