"""`TextClassifier`: fit on labeled texts, predict, evaluate, save; as scikit-learn's users expect it.

from unfreeze.tasks.text_classifier import TextClassifier

classifier = TextClassifier.fit(texts, labels, encoder="wiki-small")
classifier.predict(["A stunning story with a lot of twists"])  # [{"label": "pos", "score": 0.98}]
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unfreeze.datasets.dataset import ExampleSet
from unfreeze.encoders.text_encoder import TextEncoder
from unfreeze.errors import UnknownLabel, UserError, need_texts
from unfreeze.folders import CONFIG, read_config
from unfreeze.progress import SILENT, Progress
from unfreeze.registry import find_model
from unfreeze.tasks.classification import ClassifierNetwork, all_features
from unfreeze.tasks.classifier_report import THRESHOLD, Prediction, Report, make_report
from unfreeze.tasks.networks import KIND, ClassifierConfig, saved_network
from unfreeze.tasks.word_task import save_task_model
from unfreeze.text.examples import example_set
from unfreeze.text.tokenizers import TextTokenizer
from unfreeze.training.precision import Precision, choose_precision, prediction_format

BUFFER = 2048
"""Texts that are sorted by length together while a stream is predicted."""


class TextClassifier:
    """A fitted classifier.

    Args:
        network: encoder, pooling and heads.
        label_names: K names in the order of the logits.
        settings: what the network was made with (pooling, head), for saving.
        prior: share of the training texts that have each label: the probabilities of a text without a known word. Without
            it such a text gets what the network makes of nothing.
    """

    def __init__(
        self,
        network: ClassifierNetwork,
        label_names: Sequence[str],
        settings: dict[str, Any],
        prior: Sequence[float] | None = None,
    ) -> None:
        self.network = network
        self.label_names = tuple(label_names)
        self.settings = settings
        self.prior = None if prior is None else np.asarray(prior, dtype=np.float32)
        self._precision: Precision = "fp32"

    @property
    def precision(self) -> Precision:
        """What predictions are computed in: fp32, or bf16, which is several times faster where the processor has it.

        Set to "auto" it tries at once which is faster here.
        """
        return self._precision

    @precision.setter
    def precision(self, wanted: Precision) -> None:
        chosen = choose_precision(wanted, next(self.network.parameters()).device)
        self._precision = "bf16" if chosen == "bf16" else "fp32"

    @property
    def tokenizer(self) -> TextTokenizer:
        """The encoder's."""
        assert isinstance(self.network.encoder, TextEncoder)
        return self.network.encoder.tokenizer

    @property
    def multi_label(self) -> bool:
        """Whether a text may have any number of labels."""
        return self.network.multi_label

    @property
    def layer_weights(self) -> dict[str, list[float]]:
        """How much each layer of the encoder counts, by the place of the mix, and gamma at the end; where there is a mix."""
        return self.network.body.mix_shares()

    @classmethod
    def fit(cls, texts: Sequence[str], labels: Sequence[Any], **settings: Any) -> TextClassifier:
        """Fit a classifier in memory.

        Args:
            texts: N texts.
            labels: a label, a string or a number, or a list of labels, for each.
            settings: of `unfreeze.tasks.fit_settings.FitSettings`, for example encoder, transfer, epochs, seed.

        Raises:
            UserError: the texts and labels do not fit together, hold one class only, or one of them is missing or of
                another type (the message has its position, from 0).
        """
        from unfreeze.tasks.fit_classifier import fit_classifier
        from unfreeze.tasks.fit_settings import FitSettings

        return fit_classifier(example_set(texts, labels), FitSettings(**settings))[0]

    # Prediction

    def inputs(self, texts: Sequence[str]) -> list[Any]:
        """What the network keeps of texts."""
        return self.network.body.inputs(texts)

    def predict_proba(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(N, K) probabilities, columns in the order of `label_names`; a text's row does not depend on the others.

        A text without any known word gets the labels' shares of the training texts, where the model has them.

        Raises:
            UserError: one text instead of several, or something else than text among them.
        """
        need_texts(texts, "texts")
        return self._probabilities(texts)[0]

    @torch.no_grad()
    def _probabilities(self, texts: Sequence[str]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """(N, K) probabilities, and (N,) whether a text has a known word."""
        if not len(texts):
            return np.zeros((0, len(self.label_names)), dtype=np.float32), np.zeros(0, dtype=np.bool_)
        self.network.eval()
        device = next(self.network.parameters()).device
        inputs = self.inputs(texts)
        known = self.network.body.have_known_words(inputs)
        with prediction_format(self.precision, device):
            found = all_features(self.network, inputs)
        features = {name: x.to(device) for name, x in found.items()}
        result: NDArray[np.float32] = self.network.probabilities(features).cpu().numpy()
        if self.prior is not None:
            result[~known] = self.prior
        return result, known

    def predict(self, texts: Sequence[str]) -> list[Prediction]:
        """The label of each text and its probability, shaped like transformers' pipeline.

        A text without any known word has "unknown": True besides.

        Raises:
            UserError: one text instead of several, or something else than text among them.
        """
        need_texts(texts, "texts")
        return [self.prediction(row, known) for row, known in zip(*self._probabilities(texts), strict=True)]

    def prediction(self, probabilities: NDArray[np.float32], known: bool | np.bool_ = True) -> Prediction:
        """One row of probabilities in words; `known` is whether the text has a known word."""
        remark = {} if known else {"unknown": True}
        if not self.multi_label:
            best = int(probabilities.argmax())
            return {"label": self.label_names[best], "score": float(probabilities[best]), **remark}
        chosen = [k for k in np.argsort(-probabilities) if probabilities[k] >= THRESHOLD]
        labels = [{"label": self.label_names[k], "score": float(probabilities[k])} for k in chosen]
        return {"labels": labels, **remark}

    def predict_stream(self, texts: Iterable[str]) -> Iterator[tuple[str, NDArray[np.float32]]]:
        """Each text and its probabilities, in order, in memory that does not grow with the stream.

        Raises:
            UserError: something else than text among them.
        """
        for text, probabilities, _ in self.predict_stream_known(texts):
            yield text, probabilities

    def predict_stream_known(
        self, texts: Iterable[str]
    ) -> Iterator[tuple[str, NDArray[np.float32], np.bool_]]:
        """The same, and whether each text has a known word."""
        remaining, n_read = iter(texts), 0
        while buffer := list(islice(remaining, BUFFER)):
            need_texts(buffer, "texts", first=n_read)
            n_read += len(buffer)
            yield from zip(buffer, *self._probabilities(buffer), strict=True)

    # Evaluation

    def targets(self, examples: ExampleSet) -> Tensor:
        """(N,) label numbers, or (N, K) of 0 and 1 with many labels.

        Raises:
            UserError: a label that the classifier does not know.
        """
        return make_targets(examples, self.label_names, self.multi_label)

    def evaluate(
        self,
        examples: ExampleSet,
        *,
        n_worst: int = 10,
        unknown_labels: Literal["error", "wrong"] = "error",
        progress: Progress = SILENT,
    ) -> Report:
        """Measure on labeled texts.

        Args:
            n_worst: errors in the report.
            unknown_labels: what a label that training lacked is: an error that is raised, or a class that is never
                predicted, so that each of its texts counts as an error.

        Raises:
            UserError: there is no example, or one has a label that training lacked.
        """
        if not len(examples):
            raise UserError(f"{examples.source} holds no example to evaluate on")
        names = self.label_names
        if unknown_labels == "wrong":
            used = {label for example in examples.examples for label in example.labels}
            names += tuple(name for name in examples.label_names if name in used and name not in names)
        targets = make_targets(examples, names, self.multi_label).numpy()
        rows, are_known = [], []
        with progress.bar("evaluate", total=len(examples), unit="text") as bar:
            for _, row, known in self.predict_stream_known(example.input for example in examples.examples):
                rows.append(row)
                are_known.append(known)
                bar.advance()
        return make_report(
            examples,
            targets,
            np.stack(rows),
            np.array(are_known),
            names,
            said=self.prediction,
            multi_label=self.multi_label,
            n_worst=n_worst,
        )

    # Saving

    def save_pretrained(self, folder: str | Path) -> None:
        """Write config.json, model.safetensors and tokenizer.json into `folder`, whole or not at all."""
        config = {
            "kind": KIND,
            "labels": list(self.label_names),
            "multi_label": self.multi_label,
            "settings": self.settings,
            **({} if self.prior is None else {"prior": self.prior.tolist()}),
        }
        network = self.network
        save_task_model(folder, config, network.own_tensors(), network.encoder, network.body.vectors)

    @classmethod
    def from_pretrained(cls, name_or_dir: str | Path, **hub: Any) -> TextClassifier:
        """Load a classifier; `hub` as for `Encoder.from_pretrained`.

        Raises:
            UserError: there is none of that name, or its folder is damaged, of another kind or newer.
        """
        folder = find_model(name_or_dir, **hub)
        config = read_config(folder, {KIND}, ClassifierConfig)
        labels = config["labels"]
        if len(set(labels)) < len(labels):
            twice = next(label for label in labels if labels.count(label) > 1)
            raise UserError(f"{folder / CONFIG}: labels has {twice!r} twice: the file is damaged")
        network = saved_network(config, folder)
        return cls(network, labels, config["settings"], _read_prior(config, folder))


def label_shares(examples: ExampleSet) -> list[float]:
    """The share of the examples that have each label, in the order of `label_names`."""
    counts = Counter(label for example in examples.examples for label in example.labels)
    return [counts[name] / len(examples) for name in examples.label_names]


def _read_prior(config: dict[str, Any], folder: Path) -> list[float] | None:
    """None where the model was saved before it was kept.

    Raises:
        UserError: it does not fit the labels.
    """
    prior: list[float] | None = config.get("prior")
    if prior is not None and (
        len(prior) != len(config["labels"]) or not all(0 <= share <= 1 for share in prior)
    ):
        raise UserError(
            f"{folder / CONFIG}: prior has not one share, from 0 to 1, for each label: the file is damaged"
        )
    return prior


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
