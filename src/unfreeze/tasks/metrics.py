"""Metrics of the tasks: of classes, of spans (as seqeval's in strict mode), and of answers (as SQuAD's).

Those of classes are written out rather than taken from scikit-learn, whose `metrics` take 1.4 s of one core to import, longer
than evaluating a small model; the tests compare with it, and with seqeval.
"""

from __future__ import annotations

import math
import re
import string
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from unfreeze.datasets.dataset import ExampleSet, LabeledExample
from unfreeze.display import aligned, counted
from unfreeze.text.tag_schemes import UNTYPED, Span

ALL = "all"
MAX_CLASSES_CROSSED = 12
"""Largest number of classes whose confusion matrix is printed."""
TEXT_WIDTH = 160
"""Characters of a wrongly labeled text that are printed."""
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = set(string.punctuation)


@dataclass(frozen=True)
class ClassMetrics:
    """One class against the rest."""

    label: str
    precision: float
    """Fraction of the predictions that are right; 0 if the class is never predicted."""
    recall: float
    """Fraction of the true examples that are found; 0 if there are none."""
    f1: float
    """Harmonic mean of precision and recall."""
    support: int
    """Number of true examples."""


def confusion_matrix(true: Sequence[int], predicted: Sequence[int], n_labels: int) -> NDArray[np.int64]:
    """(K, K) counts; rows are true labels, columns predicted ones."""
    matrix = np.zeros((n_labels, n_labels), dtype=np.int64)
    np.add.at(matrix, (np.asarray(true, dtype=np.int64), np.asarray(predicted, dtype=np.int64)), 1)
    return matrix


def class_metrics(
    right: NDArray[np.int64], predicted: NDArray[np.int64], true: NDArray[np.int64], names: Sequence[str]
) -> list[ClassMetrics]:
    """Metrics of each class from (K,) counts of right predictions, of all predictions and of true examples."""
    found = []
    counts = zip(right.tolist(), predicted.tolist(), true.tolist(), strict=True)
    for name, (n_right, n_predicted, n_true) in zip(names, counts, strict=True):
        precision = n_right / n_predicted if n_predicted else 0.0
        recall = n_right / n_true if n_true else 0.0
        f1 = 2 * precision * recall / (precision + recall) if n_right else 0.0
        found.append(ClassMetrics(name, precision, recall, f1, n_true))
    return found


@dataclass(frozen=True)
class SpanMetrics:
    """The spans of one type, or all spans. A span is right if its type and both ends are."""

    name: str
    """The type; "_" for spans without one, "all" for the micro-average over all types."""
    precision: float
    recall: float
    f1: float
    true: int
    """Number of true spans."""
    predicted: int
    """Number of predicted spans."""


def span_metrics(true: Sequence[Iterable[Span]], predicted: Sequence[Iterable[Span]]) -> list[SpanMetrics]:
    """Metrics of each type, sorted by name, then of all types together; (N,) and (N,) sentences."""
    n_true, n_predicted, n_right = Counter[str](), Counter[str](), Counter[str]()
    for gold, found in zip(true, predicted, strict=True):
        gold_set, found_set = set(gold), set(found)
        for counter, spans in (
            (n_true, gold_set),
            (n_predicted, found_set),
            (n_right, gold_set & found_set),
        ):
            counter.update(span.kind or UNTYPED for span in spans)
    names = sorted(n_true | n_predicted)
    every = [_span_metrics(name, n_right[name], n_true[name], n_predicted[name]) for name in names]
    return [*every, _span_metrics(ALL, n_right.total(), n_true.total(), n_predicted.total())]


def _span_metrics(name: str, right: int, true: int, predicted: int) -> SpanMetrics:
    precision = right / predicted if predicted else 0.0
    recall = right / true if true else 0.0
    f1 = 2 * right / (true + predicted) if true + predicted else 0.0
    return SpanMetrics(name, precision, recall, f1, true, predicted)


def normalized_answer(answer: str) -> str:
    """An answer in lower case, without articles and punctuation (Rajpurkar et al. 2016)."""
    plain = "".join(letter for letter in answer.lower() if letter not in _PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", plain).split())


def exact_match(predicted: str, true: Sequence[str]) -> float:
    """1 if the normalized answer equals a true one, else 0; without true answers the empty one is right."""
    wanted = normalized_answer(predicted)
    return float(any(wanted == normalized_answer(each) for each in true or [""]))


def answer_f1(predicted: str, true: Sequence[str]) -> float:
    """F1 over the words that two normalized answers share; the best over the true answers."""
    words = normalized_answer(predicted).split()
    best = 0.0
    for each in true or [""]:
        own = normalized_answer(each).split()
        if not words or not own:
            best = max(best, float(words == own))
        else:
            best = max(best, 2 * (Counter(words) & Counter(own)).total() / (len(words) + len(own)))
    return best


THRESHOLD = 0.5
"""Probability from which a label is given, where a text may have many."""
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
    """Mean cross-entropy in nats, of texts whose labels training had; NaN if there are none."""
    n_examples: int
    """Texts measured."""
    classes: list[ClassMetrics]
    """By class; those that are not in the training data come last."""
    confusion: list[list[int]]
    """Rows: true; columns: predicted; both in the order of `classes`. Empty with many labels."""
    worst: list[dict[str, Any]]
    """The most confident errors: text, label, predicted, score."""
    n_unknown_labels: int = 0
    """Texts with a label that is not in the training data; each counts as an error."""
    n_unknown_texts: int = 0
    """Texts without any known word."""
    unknown_names: tuple[str, ...] = ()
    """The labels that are not in the training data."""
    noun: ClassVar[str] = "text"
    """What an input is called."""

    @property
    def label_names(self) -> tuple[str, ...]:
        """The names of the classes, in their order."""
        return tuple(each.label for each in self.classes)

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON values."""
        return asdict(self)

    def __str__(self) -> str:
        """The metrics, a table of the classes, the confusion matrix unless it is large, and the worst errors."""
        measured = counted(self.n_examples, self.noun)
        if self.n_unknown_texts:
            measured += f", {self.n_unknown_texts:,} of them without any known word"
        parts = [
            f"accuracy {self.accuracy:.4f}, macro F1 {self.macro_f1:.4f}, loss {self.loss:.4f}, on {measured}",
            aligned([asdict(each) for each in self.classes]),
        ]
        names = self.label_names
        if self.confusion and len(names) <= MAX_CLASSES_CROSSED:
            rows = zip(names, self.confusion, strict=True)
            crossed = [
                {"true \\ predicted": name} | dict(zip(names, counts, strict=True)) for name, counts in rows
            ]
            parts.append(aligned(crossed))
        errors = []
        for error in self.worst:
            predicted = error["predicted"]
            chosen = predicted.get("labels", [predicted])
            shown = ", ".join(f"{each['label']} {each['score']:.3f}" for each in chosen) or "none"
            texts = [" ".join(error[key].split()) for key in ("text", "pair", "image") if key in error]
            text = " | ".join(
                each if len(each) <= TEXT_WIDTH else each[:TEXT_WIDTH].rstrip() + " ..." for each in texts
            )
            errors.append(f"  {error['label'] or 'none'}, predicted {shown}: {text}")
        if errors:
            parts.append("\n".join(["worst errors:", *errors]))
        if self.n_unknown_labels:
            parts.append(unknown_labels_line(self.n_unknown_labels, self.unknown_names, self.noun, "label"))
        return "\n\n".join(parts)


class ImageReport(Report):
    """How a classifier did on labeled images."""

    noun = "image"


@dataclass(frozen=True)
class TagReport:
    """Metrics of a tagger on tagged sentences."""

    accuracy: float
    """Fraction of words whose tag is right; the tags of spans are compared in BIO."""
    f1: float | None
    """Micro-averaged F1 of spans, which are right if both ends and the type are; None for plain tags."""
    spans: list[SpanMetrics]
    """Metrics of each type of span, then of all."""
    n_sentences: int
    n_words: int
    n_unknown_labels: int = 0
    """Number of words with a tag that is not in the training data; each counts as an error."""
    unknown_names: tuple[str, ...] = ()
    """The types of spans, or the plain tags, that are not in the training data."""

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON values."""
        return asdict(self)

    def __str__(self) -> str:
        """The metrics, and a table of the types of spans."""
        measured = f"{counted(self.n_words, 'word')} of {counted(self.n_sentences, 'sentence')}"
        text = f"accuracy {self.accuracy:.4f} on {measured}"
        if self.f1 is not None:
            text = f"F1 {self.f1:.4f}, {text}\n\n{aligned([asdict(each) for each in self.spans])}"
        if self.n_unknown_labels:
            text += f"\n\n{unknown_labels_line(self.n_unknown_labels, self.unknown_names, 'word', 'tag')}"
        return text


def unknown_labels_line(count: int, names: Sequence[str], noun: str, label: str) -> str:
    """ "2 words have a tag that is not in the training data (PLANET); they count as errors"."""
    shown = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
    have, counts = ("has", "it counts as an error") if count == 1 else ("have", "they count as errors")
    return f"{counted(count, noun)} {have} a {label} that is not in the training data ({shown}); {counts}"


def make_report(
    examples: ExampleSet,
    targets: NDArray[Any],
    found: NDArray[np.float32],
    known: NDArray[np.bool_],
    names: Sequence[str],
    *,
    prediction: Callable[[NDArray[np.float32], np.bool_], Prediction],
    multi_label: bool,
    n_worst: int,
    row: Callable[[LabeledExample], dict[str, Any]],
    kind: type[Report] = Report,
) -> Report:
    """Compare N inputs' labels with what was found.

    Args:
        targets: (N,) numbers of names, or (N, names) of 0 and 1 with many labels.
        found: (N, K) probabilities of the first K names, those of the classifier; the others are names that training
            lacked, whose probability is 0.
        known: (N,) whether a text has a known word.
        prediction: a row of `found` and of `known` as a prediction.
        n_worst: errors in the report.
        row: an example as it is shown among the errors.
        kind: class of the report.
    """
    n_known = found.shape[1]
    shares = np.pad(found, ((0, 0), (0, len(names) - n_known)))
    safe = np.clip(shares, 1e-12, 1.0).astype(np.float64)
    if multi_label:
        predicted, true = shares >= THRESHOLD, targets > 0.5
        right = (predicted == true).all(1)
        unknown = true[:, n_known:].any(1)
        losses = -np.where(true, np.log(safe), np.log(np.clip(1.0 - shares, 1e-12, 1.0))).sum(1)
        confusion: list[list[int]] = []
        classes = class_metrics((true & predicted).sum(0), predicted.sum(0), true.sum(0), names)
    else:
        best = found.argmax(1)
        right = best == targets
        unknown = targets >= n_known
        losses = -np.log(safe[np.arange(len(targets)), targets])
        matrix = confusion_matrix(targets.tolist(), best.tolist(), len(names))
        classes = class_metrics(matrix.diagonal(), matrix.sum(0), matrix.sum(1), names)
        confusion = matrix.tolist()
    wrong = np.flatnonzero(~right)
    worst = wrong[np.argsort(-found[wrong].max(1), kind="stable")][:n_worst]
    return kind(
        float(right.mean()),
        float(np.mean([each.f1 for each in classes])),
        float(losses[~unknown].mean()) if not unknown.all() else math.nan,
        len(examples),
        classes,
        confusion,
        [
            {
                **row(examples.examples[n]),
                "label": "|".join(examples.examples[n].labels),
                "predicted": prediction(found[n], known[n]),
            }
            for n in worst
        ],
        int(unknown.sum()),
        int((~known).sum()),
        tuple(names[n_known:]),
    )
