"""`TextClassifier`: fit on labeled texts, predict, evaluate, save; as scikit-learn's users expect it.

from unfreeze.tasks.text_classifier import TextClassifier

classifier = TextClassifier.fit(texts, labels, encoder="wiki-small")
classifier.predict(["A stunning story with a lot of twists"])  # [{"label": "pos", "score": 0.98}]
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unfreeze.checked import need_call, need_type
from unfreeze.encoders.awd_lstm import StackedEncoder
from unfreeze.encoders.base import load_matching, made_to_fit
from unfreeze.encoders.loading import encoder_class, find_model
from unfreeze.encoders.word_vectors import WordVectors
from unfreeze.errors import UserError, need_several
from unfreeze.folders import (
    CONFIG,
    WEIGHTS,
    Config,
    EncoderConfig,
    load_tensors,
    read_config,
    write_model,
    written_folder,
)
from unfreeze.progress import SILENT, Progress
from unfreeze.tasks.classification import ClassifierNetwork, Network, all_features
from unfreeze.tasks.heads import HEADS
from unfreeze.tasks.layered import LayeredNetwork
from unfreeze.tasks.metrics import (
    ClassFigures,
    class_figures,
    confusion_matrix,
    macro_f1,
    multi_label_figures,
)
from unfreeze.tasks.pooling import Pooling
from unfreeze.tasks.word_inputs import WordInputs
from unfreeze.text.examples import ExampleSet, TextExample
from unfreeze.text.tokenizers import TextTokenizer
from unfreeze.training.precision import Precision, choose_precision, prediction_format

KIND = "text_classifier"
VECTORS = "word_vectors"
"""Folder of the static vectors within that of a classifier."""
BUFFER = 2048
"""Texts that are sorted by length together while a stream is predicted."""
THRESHOLD = 0.5
"""Probability from which a label is given, where a text may have many."""


@dataclass(frozen=True, kw_only=True)
class ClassifierConfig(Config):
    """What config.json says of a classifier."""

    labels: list[str]
    multi_label: bool
    settings: dict[str, Any]
    """Arguments of the network, which knows their types."""
    encoder: EncoderConfig = field()  # without the default of other kinds


Prediction = dict[str, Any]
"""{"label", "score"}; with many labels a list of these under "labels"."""


@dataclass(frozen=True)
class Report:
    """How a classifier did on labeled texts."""

    accuracy: float
    """Share of texts whose label (all labels, with many) is right."""
    macro_f1: float
    """Mean F1 over classes."""
    loss: float
    """Mean cross-entropy in nats."""
    n_examples: int
    """Texts measured."""
    classes: list[ClassFigures]
    """By class."""
    confusion: list[list[int]]
    """Rows: true; columns: predicted. Empty with many labels."""
    worst: list[dict[str, Any]]
    """The most confident errors: text, label, predicted, score."""

    def figures(self) -> dict[str, float]:
        """As metrics.json has them."""
        return {
            "accuracy": self.accuracy,
            "macro_f1": self.macro_f1,
            "loss": self.loss,
            "n_examples": self.n_examples,
        }

    def as_dict(self) -> dict[str, Any]:
        """All of it as JSON values."""
        return asdict(self)


class TextClassifier:
    """A fitted classifier.

    Args:
        network: encoder, pooling and heads.
        label_names: K names in the order of the logits.
        settings: what the network was made with (pooling, head), for saving.
    """

    def __init__(self, network: Network, label_names: Sequence[str], settings: dict[str, Any]) -> None:
        self.network = network
        self.label_names = tuple(label_names)
        self.settings = settings
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
        return self.network.encoder.tokenizer

    @property
    def multi_label(self) -> bool:
        """Whether a text may have any number of labels."""
        return self.network.multi_label

    @property
    def layer_weights(self) -> dict[str, list[float]]:
        """How much each layer of the encoder counts, by the place of the mix, and gamma at the end; where there is a mix."""
        return self.network.mix_shares()

    @classmethod
    def fit(
        cls, texts: Sequence[str], labels: Sequence[str | Sequence[str]], **settings: Any
    ) -> TextClassifier:
        """Fit a classifier in memory.

        Args:
            texts: N texts.
            labels: a label, or a list of labels, for each.
            settings: of `unfreeze.tasks.fitting.FitSettings`, for example encoder, transfer, epochs, seed.

        Raises:
            UserError: the texts and labels do not fit together, or hold one class only.
        """
        from unfreeze.tasks.fitting import FitSettings, fit_classifier

        return fit_classifier(example_set(texts, labels), FitSettings(**settings))

    # Prediction

    def inputs(self, texts: Sequence[str]) -> list[Any]:
        """What the network keeps of texts."""
        return self.network.inputs(texts)

    @torch.no_grad()
    def predict_proba(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(N, K) probabilities, columns in the order of `label_names`; a text's row does not depend on the others.

        Raises:
            UserError: one text instead of several.
        """
        need_several(texts, "texts")
        if not len(texts):
            return np.zeros((0, len(self.label_names)), dtype=np.float32)
        self.network.eval()
        device = next(self.network.parameters()).device
        with prediction_format(self.precision, device):
            found = all_features(self.network, self.inputs(texts))
        features = {name: x.to(device) for name, x in found.items()}
        result: NDArray[np.float32] = self.network.probabilities(features).cpu().numpy()
        return result

    def predict(self, texts: Sequence[str]) -> list[Prediction]:
        """The label of each text and its probability, shaped like transformers' pipeline.

        Raises:
            UserError: one text instead of several.
        """
        return [self.prediction(row) for row in self.predict_proba(texts)]

    def prediction(self, probabilities: NDArray[np.float32]) -> Prediction:
        """One row of probabilities in words."""
        if not self.multi_label:
            best = int(probabilities.argmax())
            return {"label": self.label_names[best], "score": float(probabilities[best])}
        chosen = [k for k in np.argsort(-probabilities) if probabilities[k] >= THRESHOLD]
        return {"labels": [{"label": self.label_names[k], "score": float(probabilities[k])} for k in chosen]}

    def predict_stream(self, texts: Iterable[str]) -> Iterator[tuple[str, NDArray[np.float32]]]:
        """Each text and its probabilities, in order, in memory that does not grow with the stream."""
        remaining = iter(texts)
        while buffer := list(islice(remaining, BUFFER)):
            yield from zip(buffer, self.predict_proba(buffer), strict=True)

    # Evaluation

    def targets(self, examples: ExampleSet) -> Tensor:
        """(N,) label numbers, or (N, K) of 0 and 1 with many labels.

        Raises:
            UserError: a label that the classifier does not know.
        """
        return make_targets(examples, self.label_names, self.multi_label)

    def evaluate(self, examples: ExampleSet, *, n_worst: int = 10, progress: Progress = SILENT) -> Report:
        """Measure on labeled texts.

        Raises:
            UserError: there is no example, or one has a label that training lacked.
        """
        if not len(examples):
            raise UserError(f"{examples.source} holds no example to evaluate on")
        targets = self.targets(examples).numpy()
        rows = []
        with progress.bar("evaluate", total=len(examples), unit="text") as bar:
            for _, row in self.predict_stream(example.text for example in examples.examples):
                rows.append(row)
                bar.advance()
        return self._report(examples, targets, np.stack(rows), n_worst)

    def _report(
        self, examples: ExampleSet, targets: NDArray[Any], found: NDArray[np.float32], n_worst: int
    ) -> Report:
        safe = np.clip(found, 1e-12, 1.0).astype(np.float64)
        if self.multi_label:
            predicted, true = found >= THRESHOLD, targets > 0.5
            right = (predicted == true).all(1)
            loss = -np.where(true, np.log(safe), np.log(np.clip(1.0 - found, 1e-12, 1.0))).sum(1).mean()
            classes, confusion = multi_label_figures(true, predicted, self.label_names), []
        else:
            best = found.argmax(1)
            right = best == targets
            loss = -np.log(safe[np.arange(len(targets)), targets]).mean()
            matrix = confusion_matrix(targets.tolist(), best.tolist(), len(self.label_names))
            classes, confusion = class_figures(matrix, self.label_names), matrix.tolist()
        return Report(
            float(right.mean()),
            macro_f1(classes),
            float(loss),
            len(examples),
            classes,
            confusion,
            self._worst(examples, found, right, n_worst),
        )

    def _worst(
        self, examples: ExampleSet, found: NDArray[np.float32], right: NDArray[np.bool_], count: int
    ) -> list[dict[str, Any]]:
        wrong = np.flatnonzero(~right)
        order = wrong[np.argsort(-found[wrong].max(1), kind="stable")][:count]
        return [
            {
                "text": examples.examples[n].text,
                "label": "|".join(examples.examples[n].labels),
                "predicted": self.prediction(found[n]),
            }
            for n in order
        ]

    # Saving

    def save_pretrained(self, folder: str | Path) -> None:
        """Write config.json, model.safetensors and tokenizer.json into `folder`, whole or not at all."""
        encoder = self.network.encoder
        tensors = {f"encoder.{name}": tensor for name, tensor in encoder.weights().items()}
        tensors |= self.network.own_tensors()
        with written_folder(Path(folder), keep={"training", "README.md", "metrics.json"}) as target:
            config = {
                "kind": KIND,
                "labels": list(self.label_names),
                "multi_label": self.multi_label,
                "settings": self.settings,
                "encoder": encoder.config(),
            }
            write_model(target, config, tensors)
            self.tokenizer.save(target)
            if isinstance(self.network, LayeredNetwork) and self.network.vectors is not None:
                self.network.vectors.save_pretrained(target / VECTORS)

    @classmethod
    def from_pretrained(cls, name_or_dir: str | Path, **hub: Any) -> TextClassifier:
        """Load a classifier; `hub` as for `Encoder.from_pretrained`.

        Raises:
            UserError: there is none of that name, or its folder is damaged, of another kind or newer.
        """
        folder = find_model(name_or_dir, **hub)
        config = read_config(folder, {KIND}, ClassifierConfig)
        _need_known(config, folder)
        encoder = encoder_class(config["encoder"]["kind"], folder).from_config(config["encoder"], folder)
        body = dict(config["settings"])
        make = network_class(str(body.pop("network", "pooled")), folder)
        with_vectors = body.pop("word_vectors", False) if make is LayeredNetwork else False
        need_type(with_vectors, bool, f"{folder / CONFIG}: settings.word_vectors")
        if with_vectors:
            body["vectors"] = WordVectors.from_pretrained(folder / VECTORS)
        if make is ClassifierNetwork and not isinstance(encoder, StackedEncoder):
            raise UserError(f"{folder / CONFIG}: a pooled network does not fit the encoder {encoder.kind}")
        if make is LayeredNetwork:
            of_words = {name: value for name, value in body.items() if name not in LAYERED_ARGUMENTS}
            need_call(WordInputs, folder / CONFIG, encoder, **of_words)
        own, of_encoder = split_encoder(load_tensors(folder / WEIGHTS))
        network = made_to_fit(
            make,
            folder,
            {name: list(tensor.shape) for name, tensor in own.items()},
            lambda network: network.own_tensors(),
            encoder,
            len(config["labels"]),
            **{**body, "multi_label": config["multi_label"]},
        )
        encoder.load_weights(of_encoder, str(folder))
        load_matching(network, own, network.own_tensors(), str(folder))
        network.eval()
        return cls(network, config["labels"], config["settings"])


LAYERED_ARGUMENTS = ("multi_label", "head", "hidden_size", "frozen")
"""Of a layered network; its others are those of `WordInputs`."""


def split_encoder(tensors: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """A task model's own tensors, and those of its encoder under the encoder's names."""
    prefix = "encoder."
    own = {name: tensor for name, tensor in tensors.items() if not name.startswith(prefix)}
    return own, {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}


def network_class(name: str, folder: Path) -> type[Network]:
    """The class of the network that a classifier in `folder` names.

    Raises:
        UserError: this version knows none of that name.
    """
    if name == "layered":
        return LayeredNetwork
    if name != "pooled":
        raise UserError(f"{folder / CONFIG} asks for a {name} network: upgrade with pip install -U unfreeze")
    return ClassifierNetwork


def _need_known(config: dict[str, Any], folder: Path) -> None:
    """Raise the UserError for a network that is made in a way which this version does not know, or has a label twice."""
    settings, labels = config["settings"], config["labels"]
    if len(set(labels)) < len(labels):
        twice = next(label for label in labels if labels.count(label) > 1)
        raise UserError(f"{folder / CONFIG}: labels has {twice!r} twice: the file is damaged")
    for name, known in (("pooling", get_args(Pooling)), ("head", tuple(HEADS))):
        if settings.get(name, known[0]) not in known:
            raise UserError(
                f"{folder / CONFIG} asks for the {name} {settings[name]!r}, known are {', '.join(known)}: "
                "upgrade with pip install -U unfreeze"
            )


def make_targets(examples: ExampleSet, label_names: Sequence[str], multi_label: bool) -> Tensor:
    """(N,) label numbers, or (N, K) of 0 and 1 with many labels.

    Raises:
        UserError: a label that `label_names` lacks.
    """
    number_of = {name: number for number, name in enumerate(label_names)}
    rows: list[list[int]] = []
    for position, example in enumerate(examples.examples, 1):
        for label in example.labels:
            if label not in number_of:
                known = ", ".join(label_names[:10])
                raise UserError(
                    f"{examples.source}: example {position} has the label {label!r}, which training lacked (it had {known})"
                )
        rows.append([number_of[label] for label in example.labels])
    if not multi_label:
        return torch.tensor([row[0] for row in rows], dtype=torch.long)
    targets = torch.zeros(len(rows), len(label_names))
    for position, row in enumerate(rows):
        targets[position, row] = 1.0
    return targets


def example_set(
    texts: Sequence[str], labels: Sequence[str | Sequence[str]], source: str = "the given texts"
) -> ExampleSet:
    """Texts and labels that are in memory, as examples.

    Raises:
        UserError: not as many labels as texts.
    """
    if len(texts) != len(labels):
        raise UserError(
            f"{len(texts)} texts and {len(labels)} labels: there must be one (list of) label(s) a text"
        )
    multi_label = any(not _is_single(label) for label in labels)
    rows = [(str(label),) if _is_single(label) else tuple(map(str, label)) for label in labels]
    names = tuple(sorted({name for row in rows for name in row}))
    examples = [TextExample(text, row) for text, row in zip(texts, rows, strict=True)]
    return ExampleSet(examples, names, multi_label, source)


def _is_single(label: object) -> bool:
    """Whether it is a label, perhaps a number as scikit-learn's users have them, and no list of labels."""
    return isinstance(label, str) or not isinstance(label, Iterable)
