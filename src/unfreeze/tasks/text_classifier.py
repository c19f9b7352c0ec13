"""`TextClassifier`: one label or several for each text; and `fit_classifier`, the recipe that trains it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from glob import glob
from hashlib import sha256
from pathlib import Path
from typing import Any, Self, cast

import numpy as np
from numpy.typing import NDArray

from unfreeze.datasets.dataset import ExampleSet, LabeledExample
from unfreeze.errors import UserError, setting
from unfreeze.pretraining.unlabeled import Corpus
from unfreeze.progress import SILENT, Progress
from unfreeze.runs import Run
from unfreeze.tasks.auto import choose
from unfreeze.tasks.auto_settings import OF_AUTO, uses_auto
from unfreeze.tasks.candidates import released_digests
from unfreeze.tasks.classification import (
    check_examples,
    check_kinds,
    checked_weights,
    label_shares,
    make_objective,
    solve_heads,
)
from unfreeze.tasks.classifier import Classifier
from unfreeze.tasks.classifier_network import BODIES, make_network
from unfreeze.tasks.classifying import KIND
from unfreeze.tasks.explanations import Explanation, Method
from unfreeze.tasks.metrics import Prediction
from unfreeze.tasks.plans import (
    AUTO,
    ClassifierPlan,
    card_facts,
    plan,
    run_identity,
)
from unfreeze.tasks.settings import ClassifierSettings, plain_settings
from unfreeze.text.examples import example_set
from unfreeze.text.text_inputs import TextInput, as_row, is_pair, single_texts, text_inputs
from unfreeze.training.loop import metrics_of, seed_everything
from unfreeze.training.precision import Precision
from unfreeze.training.processes import make_accelerator, together

logger = logging.getLogger(__name__)
SNIPPET = """
from unfreeze import TextClassifier

classifier = TextClassifier.from_pretrained(".")  # this folder
print(classifier(["A stunning story with a lot of twists."]))
"""
PAIRS_SNIPPET = SNIPPET.replace(
    '"A stunning story with a lot of twists."', '("A man sleeps.", "A man is awake.")'
)


class TextClassifier(Classifier, ClassifierSettings):
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

    kind, noun = KIND, "text"

    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, validation: tuple[Any, Any] | None = None
    ) -> Self:
        """Train on labeled texts.

        Args:
            X: n texts: a list, an array of NumPy, a pandas Series or a data frame of one column; with `body="bcn"` also pairs
                of texts: tuples, an array (n, 2) or a data frame of two columns.
            y, sample_weight, validation: as for any `Classifier`.

        Raises:
            UserError: a setting cannot work, texts, labels and weights do not fit together, one of them is missing or of
                another type (the message has its position, from 0), or all texts are of one class.
        """
        return super().fit(X, y, sample_weight, validation)

    def refitted(self, examples: ExampleSet) -> Self:
        """Another classifier with the same settings, fitted on these examples; without unlabeled text that is no longer there."""
        missing = [path for path in self.unlabeled or () if not path.startswith("hf:") and not glob(path)]
        if not missing:
            return super().refitted(examples)
        logger.warning("%s is not there: classifiers are fitted without the unlabeled text", missing[0])
        return type(self)(**{**self.get_params(), "unlabeled": None, "unlabeled_column": None}).refitted(
            examples
        )

    def _examples(self, X: Any, labels: Sequence[Any], source: str) -> ExampleSet:
        pairs = None if self.body and BODIES[self.body].may_read_pairs else False
        return example_set(text_inputs(X, pairs), labels, source)

    def _read(self, X: Any) -> Sequence[TextInput]:
        return text_inputs(X, self.reads_pairs)

    def _read_more(self, inputs: Sequence[Any], first: int) -> Sequence[TextInput]:
        return text_inputs(inputs, self.reads_pairs, first=first)

    def row(self, example: LabeledExample) -> dict[str, Any]:
        return as_row(example.input)

    def _fit(
        self, train_set: ExampleSet, validation: ExampleSet | None, sample_weight: Any
    ) -> tuple[Self, dict[str, Any]]:
        settings = ClassifierSettings(**self._checked_settings())
        fitted, metrics = fit_classifier(
            train_set, settings, validation=validation, sample_weight=sample_weight
        )
        return cast(Self, fitted), metrics

    @property
    def reads_pairs(self) -> bool:
        """Whether it was fitted on pairs of texts."""
        return self.network_.reads_pairs

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

    def explain(
        self, texts: Any, *, labels: Sequence[Any] | None = None, method: Method | None = None
    ) -> list[Explanation]:
        """The words that decided: what each word of each text adds to the evidence for a label.

        What is explained is the answer of the network, also for a text without a known word, for which `predict` gives the shares of
        the labels instead.

        Args:
            texts: one text or several.
            labels: the label to explain for each text; None for the most probable one.
            method: "exact", "occlusion" or "gradients"; None for exact contributions where there are any (a linear head on averaged
                vectors), otherwise occlusion. See `unfreeze.tasks.explanations`.

        Raises:
            UserError: the classifier reads pairs, the method is not supported, or a label is unknown or missing.
        """
        if self.reads_pairs:
            raise UserError("single texts can be explained, not pairs of texts")
        inputs = self._read([texts] if isinstance(texts, str) else texts)
        known = self.classes_.tolist()
        if labels is None:
            targets = self._probabilities(inputs)[0].argmax(1).tolist()
        elif isinstance(labels, str) or len(labels) != len(inputs):
            raise UserError(f"labels has to be a list with one label for each of the {len(inputs)} texts")
        else:
            for label in labels:
                if label not in known:
                    raise UserError(f"the label {label!r} is not one of {', '.join(self.label_names_[:20])}")
            targets = [known.index(label) for label in labels]
        return [
            self.explanation(text, target, method)
            for text, target in zip(single_texts(inputs), targets, strict=True)
        ]

    def explanation(self, text: str, target: int, method: Method | None = None) -> Explanation:
        """The explanation of one text and the label number `target`; see `explain`."""
        found = self.network_.explain(text, target, method)
        return Explanation(self.label_names_[target], found.method, found.evidence, found.bias, found.words)

    def predict_stream(self, texts: Iterable[Any]) -> Iterator[tuple[TextInput, NDArray[np.float32]]]:
        """Each text and its probabilities, in order, in memory that does not grow with the stream.

        Raises:
            UserError: something else than text among them.
        """
        for text, probabilities, _ in self.predict_stream_known(texts):
            yield text, probabilities


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
    if takes_auto(train_set, settings, sample_weight):
        return _fit_auto(
            train_set,
            settings,
            validation,
            output=output,
            overwrite=overwrite,
            command=command,
            progress=progress,
        )
    with together():
        chosen = plan(ClassifierPlan, settings)
        check_examples(train_set, validation)
        check_kinds(train_set, validation, chosen)
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


def takes_auto(train_set: ExampleSet, settings: ClassifierSettings, sample_weight: Any = None) -> bool:
    """Whether an ensemble is fitted, which reads single texts of equal weights.

    Raises:
        UserError: it is asked for by name, and the examples do not suit it.
    """
    if not uses_auto(settings):
        return False
    what = "sample weights" if sample_weight is not None else None
    if train_set.examples and isinstance(train_set.examples[0].input, tuple):
        what = "pairs of texts"
    if what is not None and settings.encoder == AUTO:
        raise UserError(f"{setting('encoder', AUTO)} does not take {what}: name an encoder")
    return what is None


def _fit_auto(
    train_set: ExampleSet,
    settings: ClassifierSettings,
    validation: ExampleSet | None,
    *,
    output: str | Path | None,
    overwrite: bool,
    command: str,
    progress: Progress,
) -> tuple[TextClassifier, dict[str, Any]]:
    """Fit the ensemble of `tasks.auto`; arguments as of `fit_classifier`."""
    with together():
        check_examples(train_set, validation)
        corpus = None if settings.unlabeled is None else Corpus(paths=settings.unlabeled)

    def identity() -> dict[str, Any]:
        values = {**plain_settings(settings), "encoder": AUTO}
        return {
            "stage": "fit classifier",
            "train": [train_set.source, train_set.digest()],
            "validation": None if validation is None else [validation.source, validation.digest()],
            **{name: values[name] for name in OF_AUTO.split()},
            "unlabeled": None if corpus is None else corpus.identity()["corpus"],
            "weights": released_digests(),
        }

    with Run(output, identity, overwrite=overwrite, progress=progress) as run:
        if run.done:
            return TextClassifier.from_pretrained(run.output), run.metrics
        seed_everything(settings.seed)
        choice = choose(train_set, settings, progress)
        network = choice.network
        arguments = {"network": network.network, "members": [member.name for member in network.members]}
        classifier = TextClassifier.of_network(
            network, train_set.label_names, arguments, label_shares(train_set), settings
        )
        metrics = choice.metrics()
        if validation is not None:
            metrics["accuracy"] = classifier.evaluate(validation, progress=progress).accuracy
        classifier.metrics_ = run.finish(
            classifier.save_pretrained,
            metrics,
            title="Text classifier",
            facts={
                "data": Path(train_set.source).name,
                "examples": len(train_set),
                "labels": ", ".join(train_set.label_names[:20]),
                "members": ", ".join(arguments["members"]),
                "command": command,
                "parameters": sum(parameter.numel() for parameter in network.parameters()),
            },
            snippet=SNIPPET,
        )
        return classifier, classifier.metrics_
