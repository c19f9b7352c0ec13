"""Metrics of the tasks: of classes, of spans (as seqeval's in strict mode), and of answers (as SQuAD's).

Those of classes are written out rather than taken from scikit-learn, whose `metrics` take 1.4 s of one core to import, longer
than evaluating a small model; the tests compare with it, and with seqeval.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unfreeze.text.tag_schemes import UNTYPED, Span

ALL = "all"
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
