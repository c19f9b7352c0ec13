"""What classifiers of texts and of images have in common: an estimator around a `ClassifyingNetwork`.

Legend: K labels.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, Unpack

import numpy as np
import torch
from numpy.typing import NDArray

from unfreeze.datasets.dataset import ExampleSet, LabeledExample, labeled_set
from unfreeze.datasets.labels import as_read, classes_of, label_column, label_name, labels_of
from unfreeze.errors import UserError
from unfreeze.folders import CONFIG, read_config
from unfreeze.progress import SILENT, Progress
from unfreeze.registry import HubOptions, find_model
from unfreeze.tasks.base import Estimator, held_out_pair
from unfreeze.tasks.classification import checked_weights, make_targets
from unfreeze.tasks.classifying import ClassifierConfig, ClassifyingNetwork
from unfreeze.tasks.metrics import THRESHOLD, Prediction, Report, make_report
from unfreeze.tasks.saved_classifiers import saved_network
from unfreeze.tasks.settings import TaskSettings
from unfreeze.training.precision import prediction_format


class Classifier(Estimator):
    """One label or several for each input."""

    kind: ClassVar[str]
    """The kind in config.json."""
    noun: ClassVar[str]
    """What messages call an input."""
    report_kind: ClassVar[type[Report]] = Report
    """What `evaluate` returns."""
    buffer: ClassVar[int] = 2048
    """Inputs of a stream that are classified together, sorted by length."""
    network_: ClassifyingNetwork
    label_names_: tuple[str, ...]
    """The classes as text, in the order of the columns of `predict_proba`."""
    classes_: NDArray[Any]
    """The classes as y has them, in the same order: (K,)."""
    prior_: NDArray[np.float32] | None
    """Fraction of the training inputs that have each label, the prediction for texts without a known word: (K,)."""
    arguments_: dict[str, Any]
    """Arguments of the network, as in config.json."""
    _estimator_type = "classifier"

    @classmethod
    def of_network(
        cls,
        network: ClassifyingNetwork,
        label_names: Sequence[str],
        arguments: dict[str, Any],
        prior: Sequence[float] | None = None,
        settings: TaskSettings | None = None,
    ) -> Self:
        """A fitted classifier of a network.

        Args:
            label_names: K names in the order of the logits.
            arguments: arguments of the network, for config.json.
            prior: fraction of the training inputs that have each label; None leaves texts without a known word to the network.
            settings: settings of the estimator; None for the defaults.
        """
        classifier = cls.with_settings(settings)
        classifier.network_, classifier.arguments_ = network, arguments
        classifier.label_names_, classifier.classes_ = tuple(label_names), np.array(label_names)
        classifier.prior_ = None if prior is None else np.asarray(prior, dtype=np.float32)
        return classifier

    @property
    def label_names(self) -> tuple[str, ...]:
        """The classes as text, in the order of the columns of `predict_proba`."""
        return self.label_names_

    @property
    def multi_label(self) -> bool:
        """Whether an input may have any number of labels."""
        return self.network_.multi_label

    @property
    def layer_weights(self) -> dict[str, list[float]]:
        """The weight of each layer of the encoder by the place of the mix, and gamma at the end; empty without a mix."""
        return self.network_.mix_shares()

    @abstractmethod
    def _read(self, X: Any) -> Sequence[Any]:
        """The inputs in `X`, checked.

        Raises:
            UserError: one input instead of several, or something else than inputs among them.
        """

    @abstractmethod
    def _fit(
        self, train_set: ExampleSet, validation: ExampleSet | None, sample_weight: Any
    ) -> tuple[Self, dict[str, Any]]:
        """Train another classifier with these settings."""

    def refitted(self, examples: ExampleSet) -> Self:
        """Another classifier with the same settings, fitted on these examples."""
        settings = type(self)(**self.get_params())
        fitted, metrics = settings._fit(examples, None, None)
        fitted.metrics_ = metrics
        return fitted

    def _examples(self, X: Any, labels: Sequence[Any], source: str) -> ExampleSet:
        """Inputs and labels that are in memory."""
        return labeled_set(self._read(X), labels, source, noun=self.noun)

    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, validation: tuple[Any, Any] | None = None
    ) -> Self:
        """Train on labeled inputs.

        Args:
            X: n inputs, in any container.
            y: the label of each, a string or a number; or for each a list of labels, of which an input may have several, or an
                indicator matrix (n, K) of 0 and 1, one column for each label.
            sample_weight: n factors on the losses of the inputs, of which only the ratios matter; None weights them equally.
            validation: X and y to measure on after each epoch; the best epoch is kept.

        Raises:
            UserError: a setting cannot work, inputs, labels and weights do not fit together, one of them is missing or of
                another type (the message has its position, from 0), or all inputs are of one class.
        """
        self._checked_settings()
        labels, columns = label_column(y)
        train_set = self._examples(X, labels, f"the given {self.noun}s")
        classes = classes_of(labels) if columns is None else columns
        # In the order of the classes of other estimators, which differs from that of labels in files: "10" before "9".
        train_set = replace(train_set, label_names=tuple(map(label_name, classes)))
        held_out = None
        if validation is not None:
            inputs, wanted = held_out_pair(validation)
            held_out = self._examples(inputs, label_column(wanted)[0], f"the validation {self.noun}s")
        fitted, self.metrics_ = self._fit(train_set, held_out, sample_weight)
        fitted.classes_ = np.array(classes)
        return self._take_fitted(fitted)

    # Prediction

    def predict(self, X: Any) -> NDArray[Any]:
        """The label of each input: (n,); with several labels an input an indicator matrix (n, K) of 0 and 1.

        Raises:
            UserError: one input instead of several, or something else than inputs among them.
        """
        shares = self.predict_proba(X)
        if self.multi_label:
            return (shares >= THRESHOLD).astype(np.int64)
        found: NDArray[Any] = self.classes_[shares.argmax(1)]
        return found

    def predict_proba(self, X: Any) -> NDArray[np.float32]:
        """(n, K) probabilities, columns in the order of `classes_`; an input's row does not depend on the others.

        A text without any known word gets the labels' shares of the training inputs, where the model has them.

        Raises:
            UserError: one input instead of several, or something else than inputs among them.
        """
        return self._probabilities(self._read(X))[0]

    def predict_log_proba(self, X: Any) -> NDArray[np.float32]:
        """The natural logarithm of `predict_proba`: (n, K)."""
        with np.errstate(divide="ignore"):  # a probability of 0 becomes -inf
            found: NDArray[np.float32] = np.log(self.predict_proba(X))
        return found

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Accuracy: the share of inputs whose label (all labels, if an input may have several) is right.

        Args:
            sample_weight: n weights of the inputs in this share; None weights them equally.

        Raises:
            UserError: there are no inputs, or not as many labels or weights as inputs.
        """
        right = self._is_right(X, y)
        weights = None if sample_weight is None else checked_weights(sample_weight, len(right))
        return float(np.average(right, weights=weights))

    def _is_right(self, X: Any, y: Any) -> NDArray[np.bool_]:
        """Whether the predicted label of each input is the one in `y`: (n,)."""
        (labels, columns), shares = label_column(y), self.predict_proba(X)
        if not len(shares) or len(shares) != len(labels):
            raise UserError(
                f"{len(shares)} {self.noun}s and {len(labels)} labels: there must be one for each {self.noun}"
            )
        names = np.array(self.label_names_)
        if not self.multi_label:
            best = shares.argmax(1)
            if self.classes_.dtype.kind in "UO":
                # Fitted from a file, a classifier has strings as classes even where they are digits.
                return np.asarray(names[best] == np.array([label_name(each) for each in labels]))
            return np.asarray(self.classes_[best] == np.array(labels))
        if columns is not None and len(columns) == len(names):
            # The columns are the labels in order, whatever they are called.
            names = np.array([label_name(each) for each in columns])
        found = [set(names[row >= THRESHOLD]) for row in shares]
        wanted = [set(labels_of(as_read(each), multi_label=True) or ()) for each in labels]
        return np.array([one == own for one, own in zip(wanted, found, strict=True)])

    def _probabilities(self, given: Sequence[Any]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """(N, K) probabilities, and (N,) whether a text has a known word."""
        return self._described(given)[1:]

    @torch.no_grad()
    def _described(
        self, given: Sequence[Any]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
        """(N, P) features, (N, K) probabilities, and (N,) whether a text has a known word."""
        network = self.network_
        if not len(given):
            nothing = np.zeros((0, network.n_features), dtype=np.float32)
            return nothing, np.zeros((0, len(self.label_names_)), np.float32), np.zeros(0, np.bool_)
        with prediction_format(self.precision, next(network.parameters()).device):
            features, probabilities, known = network.describe(given)
        result: NDArray[np.float32] = probabilities.float().cpu().numpy()
        if self.prior_ is not None:
            result[~known] = self.prior_
        return features.float().cpu().numpy(), result, known

    def prediction(self, probabilities: NDArray[np.float32], known: bool | np.bool_ = True) -> Prediction:
        """A prediction from a row of probabilities; `known` tells whether the text has a known word."""
        remark = {} if known else {"unknown": True}
        if not self.multi_label:
            best = int(probabilities.argmax())
            return {"label": self.label_names_[best], "score": float(probabilities[best]), **remark}
        chosen = [k for k in np.argsort(-probabilities) if probabilities[k] >= THRESHOLD]
        labels = [{"label": self.label_names_[k], "score": float(probabilities[k])} for k in chosen]
        return {"labels": labels, **remark}

    def predict_stream_known(
        self, inputs: Iterable[Any]
    ) -> Iterator[tuple[Any, NDArray[np.float32], np.bool_]]:
        """Each input, its probabilities, and whether it has a known word, in order; memory does not grow with the stream.

        Raises:
            UserError: something else than inputs among them.
        """
        for read, _, shares, known in self.described_stream(inputs):
            yield from zip(read, shares, known, strict=True)

    def described_stream(
        self, inputs: Iterable[Any]
    ) -> Iterator[tuple[Sequence[Any], NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]]:
        """Up to `buffer` inputs at a time, with their features (n, P), probabilities (n, K), and whether they have a known word.

        Raises:
            UserError: something else than inputs among them.
        """
        remaining, n_read = iter(inputs), 0
        while buffer := list(islice(remaining, self.buffer)):
            read = self._read_more(buffer, n_read)
            n_read += len(buffer)
            yield read, *self._described(read)

    def _read_more(self, inputs: Sequence[Any], first: int) -> Sequence[Any]:
        """A part of a stream, checked; `first` is the position of its beginning, for messages."""
        return self._read(inputs)

    # Evaluation

    def evaluate(
        self,
        examples: ExampleSet,
        *,
        n_worst: int = 10,
        unknown_labels: Literal["error", "wrong"] = "error",
        progress: Progress = SILENT,
    ) -> Report:
        """Measure on labeled inputs.

        Args:
            examples: such as `read_examples` and `read_images` read from files.
            n_worst: number of wrong predictions in the report.
            unknown_labels: what to do about labels that are not in the training data: raise an error, or count their inputs
                as wrong predictions.

        Raises:
            UserError: there is no example, or one has a label that is not in the training data.
        """
        if not len(examples):
            raise UserError(f"{examples.source} holds no example to evaluate on")
        names = self.label_names_
        if unknown_labels == "wrong":
            used = {label for example in examples.examples for label in example.labels}
            names += tuple(name for name in examples.label_names if name in used and name not in names)
        targets = make_targets(examples, names, self.multi_label).numpy()
        rows, are_known = [], []
        with progress.bar("evaluate", total=len(examples), unit=self.noun) as bar:
            for _, row, known in self.predict_stream_known(examples.inputs()):
                rows.append(row)
                are_known.append(known)
                bar.advance()
        return make_report(
            examples,
            targets,
            np.stack(rows),
            np.array(are_known),
            names,
            prediction=self.prediction,
            multi_label=self.multi_label,
            n_worst=n_worst,
            row=self.row,
            kind=self.report_kind,
        )

    @abstractmethod
    def row(self, example: LabeledExample) -> dict[str, Any]:
        """An example as reports show it."""

    # Saving

    def save_pretrained(self, folder: str | Path) -> None:
        """Write config.json, model.safetensors and what the encoder needs into `folder`, whole or not at all."""
        config = {
            "kind": self.kind,
            "labels": list(self.label_names_),
            "multi_label": self.multi_label,
            "settings": self.arguments_,
            **({} if self.prior_ is None else {"prior": self.prior_.tolist()}),
            **({} if self.classes_.dtype.kind in "UO" else {"classes": self.classes_.tolist()}),
            "estimator": self._checked_settings(),
        }
        self.network_.save(folder, config)

    @classmethod
    def from_pretrained(cls, name_or_dir: str | Path, **hub: Unpack[HubOptions]) -> Self:
        """Load a classifier with the settings that it was fitted with; `hub` as for `Encoder.from_pretrained`.

        Raises:
            UserError: there is none of that name, or its folder is damaged, of another kind or newer.
        """
        folder = find_model(name_or_dir, **hub)
        config = read_config(folder, {cls.kind}, ClassifierConfig)
        labels, prior, classes = config["labels"], config.get("prior"), config.get("classes")
        if len(set(labels)) < len(labels):
            twice = next(label for label in labels if labels.count(label) > 1)
            raise UserError(f"{folder / CONFIG}: labels has {twice!r} twice: the file is damaged")
        if prior is not None and (len(prior) != len(labels) or not all(0 <= share <= 1 for share in prior)):
            raise UserError(
                f"{folder / CONFIG}: prior has not one share, from 0 to 1, for each label: the file is damaged"
            )
        if classes is not None and [str(each) for each in classes] != labels:
            raise UserError(f"{folder / CONFIG}: classes are not the labels: the file is damaged")
        settings = cls._saved_settings(config, folder)
        classifier = cls.of_network(
            saved_network(config, folder), labels, config["settings"], prior, settings
        )
        if classes is not None:
            classifier.classes_ = np.array(classes)
        return classifier
