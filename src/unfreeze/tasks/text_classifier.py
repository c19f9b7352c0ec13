"""`TextClassifier`: one label or several for each text; and `fit_classifier`, the recipe that trains it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Self, Unpack

import numpy as np
import torch
from numpy.typing import NDArray

from unfreeze.datasets.dataset import ExampleSet
from unfreeze.datasets.labels import as_read, classes_of, label_column, label_name, labels_of
from unfreeze.errors import UserError
from unfreeze.folders import CONFIG, read_config
from unfreeze.progress import SILENT, Progress
from unfreeze.registry import HubOptions, find_model
from unfreeze.runs import Run
from unfreeze.tasks.base import Estimator, held_out_pair
from unfreeze.tasks.classification import (
    check_examples,
    checked_weights,
    label_shares,
    make_objective,
    make_targets,
    solve_heads,
)
from unfreeze.tasks.classifier_network import (
    BODIES,
    KIND,
    ClassifierConfig,
    ClassifierNetwork,
    make_network,
    saved_network,
)
from unfreeze.tasks.metrics import THRESHOLD, Prediction, Report, make_report
from unfreeze.tasks.plans import ClassifierPlan, card_facts, plan, run_identity
from unfreeze.tasks.settings import ClassifierSettings
from unfreeze.tasks.task_encoders import save_task_model
from unfreeze.text.examples import example_set
from unfreeze.text.text_inputs import TextInput, is_pair, text_inputs
from unfreeze.training.loop import metrics_of, seed_everything
from unfreeze.training.precision import Precision, prediction_format
from unfreeze.training.processes import make_accelerator, together

BUFFER = 2048
"""Texts of a stream that are classified together, sorted by length."""
SNIPPET = """
from unfreeze import TextClassifier

classifier = TextClassifier.from_pretrained(".")  # this folder
print(classifier(["A stunning story with a lot of twists."]))
"""
PAIRS_SNIPPET = SNIPPET.replace(
    '"A stunning story with a lot of twists."', '("A man sleeps.", "A man is awake.")'
)


class TextClassifier(Estimator, ClassifierSettings):
    """A classifier of texts.

    The settings are those of `unfreeze.tasks.settings.ClassifierSettings`. By default the language model that ships with
    unfreeze is fine-tuned with the task; `transfer="frozen"` trains in seconds.

    Example:
        >>> texts = ["a wonderful story", "a terrible story", "wonderful acting", "terrible acting"]
        >>> classifier = TextClassifier(transfer="frozen", pooling="vectors")
        >>> classifier = classifier.fit(texts, ["pos", "neg", "pos", "neg"])
        >>> classifier.predict(["a wonderful film"])
        array(['pos'], dtype='<U3')
        >>> classifier("a terrible film")[0]["label"]
        'neg'
    """

    network_: ClassifierNetwork
    label_names_: tuple[str, ...]
    """The classes as text, in the order of the columns of `predict_proba`."""
    classes_: NDArray[Any]
    """The classes as y has them, in the same order: (K,)."""
    prior_: NDArray[np.float32] | None
    """Fraction of the training texts that have each label, the prediction for texts without a known word: (K,)."""
    arguments_: dict[str, Any]
    """Arguments of the network, as in config.json."""
    _estimator_type = "classifier"

    @classmethod
    def of_network(
        cls,
        network: ClassifierNetwork,
        label_names: Sequence[str],
        arguments: dict[str, Any],
        prior: Sequence[float] | None = None,
        settings: ClassifierSettings | None = None,
    ) -> Self:
        """A fitted classifier of a network.

        Args:
            label_names: K names in the order of the logits.
            arguments: arguments of the network, for config.json.
            prior: fraction of the training texts that have each label; None leaves texts without a known word to the network.
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
        """Whether a text may have any number of labels."""
        return self.network_.multi_label

    @property
    def reads_pairs(self) -> bool:
        """Whether it was fitted on pairs of texts."""
        return self.network_.body.reads_pairs

    @property
    def layer_weights(self) -> dict[str, list[float]]:
        """The weight of each layer of the encoder by the place of the mix, and gamma at the end; empty without a mix."""
        return self.network_.body.mix_shares()

    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, validation: tuple[Any, Any] | None = None
    ) -> Self:
        """Train on labeled texts.

        Args:
            X: n texts: a list, an array of NumPy, a pandas Series or a data frame of one column; with `body="bcn"` also pairs
                of texts: tuples, an array (n, 2) or a data frame of two columns.
            y: the label of each, a string or a number; or for each a list of labels, of which a text may have several, or an
                indicator matrix (n, K) of 0 and 1, one column for each label.
            sample_weight: n factors on the losses of the texts, of which only the ratios matter; None weights them equally.
            validation: X and y to measure on after each epoch; the best epoch is kept.

        Raises:
            UserError: a setting cannot work, texts, labels and weights do not fit together, one of them is missing or of
                another type (the message has its position, from 0), or all texts are of one class.
        """
        settings = ClassifierSettings(**self._checked_settings())
        labels, columns = label_column(y)
        pairs = None if settings.body and BODIES[settings.body].may_read_pairs else False
        train_set = example_set(text_inputs(X, pairs), labels)
        classes = classes_of(labels) if columns is None else columns
        # In the order of the classes of other estimators, which differs from that of labels in files: "10" before "9".
        train_set = replace(train_set, label_names=tuple(map(label_name, classes)))
        held_out = None
        if validation is not None:
            texts, wanted = held_out_pair(validation)
            inputs, source = text_inputs(texts, pairs), "the validation texts"
            held_out = example_set(inputs, label_column(wanted)[0], source)
        fitted, self.metrics_ = fit_classifier(
            train_set, settings, validation=held_out, sample_weight=sample_weight
        )
        fitted.classes_ = np.array(classes)
        return self._take_fitted(fitted)

    # Prediction

    def predict(self, X: Any) -> NDArray[Any]:
        """The label of each text: (n,); with several labels a text an indicator matrix (n, K) of 0 and 1.

        Raises:
            UserError: one text instead of several, or something else than text among them.
        """
        shares = self.predict_proba(X)
        if self.multi_label:
            return (shares >= THRESHOLD).astype(np.int64)
        found: NDArray[Any] = self.classes_[shares.argmax(1)]
        return found

    def predict_proba(self, X: Any) -> NDArray[np.float32]:
        """(n, K) probabilities, columns in the order of `classes_`; a text's row does not depend on the others.

        A text without any known word gets the labels' shares of the training texts, where the model has them.

        Raises:
            UserError: one text instead of several, or something else than text among them.
        """
        return self._probabilities(text_inputs(X, self.reads_pairs))[0]

    def predict_log_proba(self, X: Any) -> NDArray[np.float32]:
        """The natural logarithm of `predict_proba`: (n, K)."""
        with np.errstate(divide="ignore"):  # a probability of 0 becomes -inf
            found: NDArray[np.float32] = np.log(self.predict_proba(X))
        return found

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Accuracy: the share of texts whose label (all labels, if a text may have several) is right.

        Args:
            sample_weight: n weights of the texts in this share; None weights them equally.

        Raises:
            UserError: there are no texts, or not as many labels or weights as texts.
        """
        right = self._is_right(X, y)
        weights = None if sample_weight is None else checked_weights(sample_weight, len(right))
        return float(np.average(right, weights=weights))

    def _is_right(self, X: Any, y: Any) -> NDArray[np.bool_]:
        """Whether the predicted label of each text is the one in `y`: (n,)."""
        (labels, columns), shares = label_column(y), self.predict_proba(X)
        if not len(shares) or len(shares) != len(labels):
            raise UserError(f"{len(shares)} texts and {len(labels)} labels: there must be one for each text")
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

    def __call__(self, texts: Any) -> list[Prediction]:
        """The label of each text and its probability: {"label", "score"}; {"labels": [...]} if a text may have several.

        A text without any known word has "unknown": True too.

        Args:
            texts: one text or several; for a classifier of pairs one tuple (text, text) or several.

        Raises:
            UserError: something else than text.
        """
        if isinstance(texts, str) or (self.reads_pairs and is_pair(texts)):
            texts = [texts]
        inputs = text_inputs(texts, self.reads_pairs)
        return [self.prediction(row, known) for row, known in zip(*self._probabilities(inputs), strict=True)]

    @torch.no_grad()
    def _probabilities(self, texts: Sequence[TextInput]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """(N, K) probabilities, and (N,) whether a text has a known word."""
        network = self.network_
        if not len(texts):
            return np.zeros((0, len(self.label_names_)), dtype=np.float32), np.zeros(0, dtype=np.bool_)
        device = next(network.parameters()).device
        inputs = network.body.inputs(texts)
        known = network.body.have_known_words(inputs)
        with prediction_format(self.precision, device):
            found = network.read_all(inputs)
        features = {name: x.to(device) for name, x in found.items()}
        result: NDArray[np.float32] = network.probabilities(features).cpu().numpy()
        if self.prior_ is not None:
            result[~known] = self.prior_
        return result, known

    def prediction(self, probabilities: NDArray[np.float32], known: bool | np.bool_ = True) -> Prediction:
        """A prediction from a row of probabilities; `known` tells whether the text has a known word."""
        remark = {} if known else {"unknown": True}
        if not self.multi_label:
            best = int(probabilities.argmax())
            return {"label": self.label_names_[best], "score": float(probabilities[best]), **remark}
        chosen = [k for k in np.argsort(-probabilities) if probabilities[k] >= THRESHOLD]
        labels = [{"label": self.label_names_[k], "score": float(probabilities[k])} for k in chosen]
        return {"labels": labels, **remark}

    def predict_stream(self, texts: Iterable[Any]) -> Iterator[tuple[TextInput, NDArray[np.float32]]]:
        """Each text and its probabilities, in order, in memory that does not grow with the stream.

        Raises:
            UserError: something else than text among them.
        """
        for text, probabilities, _ in self.predict_stream_known(texts):
            yield text, probabilities

    def predict_stream_known(
        self, texts: Iterable[Any]
    ) -> Iterator[tuple[TextInput, NDArray[np.float32], np.bool_]]:
        """The same, and whether each text has a known word."""
        remaining, n_read = iter(texts), 0
        while buffer := list(islice(remaining, BUFFER)):
            inputs = text_inputs(buffer, self.reads_pairs, first=n_read)
            n_read += len(buffer)
            yield from zip(inputs, *self._probabilities(inputs), strict=True)

    # Evaluation

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
            examples: such as `unfreeze.text.examples.read_examples` reads from a file.
            n_worst: number of wrong predictions in the report.
            unknown_labels: what to do about labels that are not in the training data: raise an error, or count their texts
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
        with progress.bar("evaluate", total=len(examples), unit="text") as bar:
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
        )

    # Saving

    def save_pretrained(self, folder: str | Path) -> None:
        """Write config.json, model.safetensors and the tokenizer into `folder`, whole or not at all."""
        config = {
            "kind": KIND,
            "labels": list(self.label_names_),
            "multi_label": self.multi_label,
            "settings": self.arguments_,
            **({} if self.prior_ is None else {"prior": self.prior_.tolist()}),
            **({} if self.classes_.dtype.kind in "UO" else {"classes": self.classes_.tolist()}),
            "estimator": self._checked_settings(),
        }
        network = self.network_
        save_task_model(folder, config, network.own_tensors(), network.encoder, network.body.vectors)

    @classmethod
    def from_pretrained(cls, name_or_dir: str | Path, **hub: Unpack[HubOptions]) -> Self:
        """Load a classifier with the settings that it was fitted with; `hub` as for `Encoder.from_pretrained`.

        Raises:
            UserError: there is none of that name, or its folder is damaged, of another kind or newer.
        """
        folder = find_model(name_or_dir, **hub)
        config = read_config(folder, {KIND}, ClassifierConfig)
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


def fit_classifier(
    train_set: ExampleSet,
    settings: ClassifierSettings,
    *,
    validation: ExampleSet | None = None,
    sample_weight: Any = None,
    output: str | Path | None = None,
    precision: Precision = "auto",
    overwrite: bool = False,
    command: str = "",
    progress: Progress = SILENT,
) -> tuple[TextClassifier, dict[str, Any]]:
    """Fit a classifier. With an output, call it again after a kill to resume.

    Args:
        validation: examples to measure on after each epoch.
        sample_weight: weights of the training examples in the loss and in the prior; None weights them equally.
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
        chosen = plan(ClassifierPlan, settings)
        check_examples(train_set, validation, chosen)
        weights = None if sample_weight is None else checked_weights(sample_weight, len(train_set))
        loop = chosen.loop(chosen.epochs_for(len(train_set)), measures=validation is not None)

    def identity() -> dict[str, Any]:
        return {
            **run_identity("fit classifier", settings, chosen, train_set, validation),
            "sample_weight": None if weights is None else sha256(weights.tobytes()).hexdigest(),
        }

    with Run(output, identity, precision=precision, overwrite=overwrite, progress=progress) as run:
        if run.done:
            return TextClassifier.from_pretrained(run.output), run.metrics
        with together():
            seed_everything(chosen.seed)
            network, arguments = make_network(train_set, chosen)
        # A linear head on a frozen encoder is a logistic regression, which is solved instead of trained.
        solved = chosen.solves_linear_head and network.is_logistic_regression
        accelerator = make_accelerator("fp32") if solved else run.accelerator
        network.to(accelerator.device)
        with together():
            objective = make_objective(network, train_set, chosen, accelerator, validation, progress, weights)
        if solved:
            records = [solve_heads(network, objective, chosen.seed)]
        else:
            records = run.train(objective, chosen.policy(), loop, "classifier")
        network.eval()
        network.body.release_cache()
        prior = label_shares(train_set, weights)
        classifier = TextClassifier.of_network(network, train_set.label_names, arguments, prior, settings)
        of_data = {"examples": len(train_set), "labels": ", ".join(train_set.label_names[:20])}
        classifier.metrics_ = run.finish(
            classifier.save_pretrained,
            metrics_of(records, loop, without=("score",)),
            title="Text classifier",
            facts=card_facts(settings, chosen, network, command, train_set, **of_data),
            snippet=PAIRS_SNIPPET if classifier.reads_pairs else SNIPPET,
        )
        return classifier, classifier.metrics_
