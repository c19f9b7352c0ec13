"""Precision, recall and F1 of spans, by type and over all: seqeval's strict ones.

A span counts where its type and both ends are right. Micro: over all spans of all types. Spans without a type are named "_".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from unfreeze.text.tag_schemes import UNTYPED, Span

ALL = "all"


@dataclass(frozen=True)
class SpanFigures:
    """Of one type, or of all."""

    name: str
    precision: float
    recall: float
    f1: float
    true: int
    """Spans that are there."""
    predicted: int
    """Spans that were said to be."""


def span_figures(true: Sequence[Iterable[Span]], predicted: Sequence[Iterable[Span]]) -> list[SpanFigures]:
    """Of each type in order, then of all together: sentence by sentence, (N,) and (N,)."""
    wanted, said, right = Counter[str](), Counter[str](), Counter[str]()
    for gold, found in zip(true, predicted, strict=True):
        gold_set, found_set = set(gold), set(found)
        for counter, spans in ((wanted, gold_set), (said, found_set), (right, gold_set & found_set)):
            counter.update(span.kind or UNTYPED for span in spans)
    names = sorted(wanted | said)
    every = [_figures(name, right[name], wanted[name], said[name]) for name in names]
    return [*every, _figures(ALL, right.total(), wanted.total(), said.total())]


def _figures(name: str, right: int, wanted: int, said: int) -> SpanFigures:
    precision = right / said if said else 0.0
    recall = right / wanted if wanted else 0.0
    f1 = 2 * right / (wanted + said) if wanted + said else 0.0
    return SpanFigures(name, precision, recall, f1, wanted, said)
