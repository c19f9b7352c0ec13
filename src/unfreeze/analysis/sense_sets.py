"""How well vectors tell senses apart: WiC and CoarseWSD-20, per layer.

WiC (Pilehvar and Camacho-Collados 2019): do two occurrences of a word have the same sense? CoarseWSD-20 (Loureiro et al. 2021): which of its senses
does an occurrence have?

Legend: N occurrences, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unfreeze.analysis.geometry import Vectors, unit
from unfreeze.analysis.senses import Floats, vectors_at
from unfreeze.datasets.lines import existing_file, read_lines
from unfreeze.encoders.text_encoder import TextEncoder
from unfreeze.errors import UserError

QUANTILES = 201
"""Thresholds that are tried: so many quantiles of the cosines of the training pairs."""
PAIR_PENALTY = 0.01
"""C of the logistic regression on pairs, whose features are many beside the 5,428 training pairs of WiC."""


@dataclass(frozen=True)
class SensePairs:
    """Pairs of occurrences of a word."""

    sentences: tuple[list[list[str]], list[list[str]]]
    """The first and the second sentence of each pair, split into words."""
    places: tuple[list[int], list[int]]
    same: NDArray[np.bool_]
    """Whether both have the same sense."""


@dataclass(frozen=True)
class SensedOccurrences:
    """Occurrences of a word with their senses."""

    sentences: list[list[str]]
    places: list[int]
    senses: list[str]

    def first(self, count: int | None) -> SensedOccurrences:
        """The first so many; None are all."""
        return SensedOccurrences(self.sentences[:count], self.places[:count], self.senses[:count])


def read_wic(folder: Path) -> SensePairs:
    """A part of WiC: NAME/NAME.data.txt and NAME.gold.txt.

    Raises:
        UserError: a file is missing or malformed.
    """
    rows, gold = (_lines(folder / f"{folder.name}.{kind}.txt") for kind in ("data", "gold"))
    if len(rows) != len(gold):
        raise UserError(f"{folder}: {len(rows)} pairs and {len(gold)} answers")
    first: list[list[str]] = []
    second: list[list[str]] = []
    places: tuple[list[int], list[int]] = ([], [])
    for number, row in enumerate(rows, start=1):
        parts = row.split("\t")
        numbers = parts[2].split("-") if len(parts) == 5 else []
        if len(numbers) != 2 or not all(each.isdigit() for each in numbers):
            raise UserError(f"{folder}, line {number}: not a word, its class, its places, and two sentences")
        for own, sentence, place, at in zip((first, second), parts[3:], numbers, places, strict=True):
            own.append(sentence.split())
            at.append(int(place))
            if int(place) >= len(own[-1]):
                raise UserError(f"{folder}, line {number}: the sentence has no word {place}")
    return SensePairs((first, second), places, np.array([each.strip() == "T" for each in gold]))


def read_coarse(folder: Path, part: str) -> SensedOccurrences:
    """A part (train or test) of one word of CoarseWSD-20.

    Raises:
        UserError: a file is missing or malformed.
    """
    rows, gold = (_lines(folder / f"{part}.{kind}.txt") for kind in ("data", "gold"))
    if len(rows) != len(gold):
        raise UserError(f"{folder}: {len(rows)} sentences and {len(gold)} senses in {part}")
    places, sentences = [], []
    for number, row in enumerate(rows, start=1):
        place, _, text = row.partition("\t")
        sentences.append(text.split())
        if not place.isdigit() or int(place) >= len(sentences[-1]):
            raise UserError(
                f"{folder / part}.data.txt, line {number}: not the place of a word and its sentence"
            )
        places.append(int(place))
    return SensedOccurrences(sentences, places, [each.strip() for each in gold])


def _lines(path: Path) -> list[str]:
    return [line for line in read_lines(existing_file(path)) if line.strip()]


def cosines(a: Vectors, b: Vectors) -> NDArray[np.float64]:
    """The cosine of each row of one array (N, D) and the same row of the other; 0 where a vector is 0."""
    found: NDArray[np.float64] = np.einsum("nd,nd->n", unit(a), unit(b))
    return found


def best_threshold(values: NDArray[np.float64], same: NDArray[np.bool_]) -> float:
    """The quantile of the cosines of training pairs (N,) above which most pairs are rightly called the same."""
    bounds = np.quantile(values, np.linspace(0, 1, QUANTILES))
    return float(max(bounds, key=lambda bound: np.mean((values > bound) == same)))


def nearest_accuracy(known: Floats, senses: Sequence[str], asked: Floats, wanted: Sequence[str]) -> float:
    """How often the training occurrence with the largest cosine has the same sense; the first one among equals."""
    nearest = (unit(asked) @ unit(known).T).argmax(1)
    return float(np.mean([senses[number] == sense for number, sense in zip(nearest, wanted, strict=True)]))


def probe_accuracy(known: Floats, senses: Sequence[str], asked: Floats, wanted: Sequence[str]) -> float:
    """The accuracy of logistic regression on standardized vectors: how well a linear classifier tells the senses apart."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if len(set(senses)) == 1:
        return float(np.mean([sense == senses[0] for sense in wanted]))
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    return float(probe.fit(known, senses).score(asked, wanted))


def agreement(labels: Sequence[int], senses: Sequence[str]) -> tuple[float, float]:
    """V-measure and adjusted Rand index of clusters and true senses."""
    from sklearn.metrics import adjusted_rand_score, v_measure_score

    return float(v_measure_score(senses, labels)), float(adjusted_rand_score(senses, labels))


# Pairs of occurrences

VectorPairs = tuple[Vectors, Vectors]
"""The vectors (N, D) of the first and of the second occurrence of N pairs."""


def pair_vectors(encoder: TextEncoder, pairs: SensePairs) -> list[VectorPairs]:
    """For each layer the vectors of both occurrences of each pair."""
    first, second = (
        vectors_at(encoder, sentences, places)
        for sentences, places in zip(pairs.sentences, pairs.places, strict=True)
    )
    return list(zip(first, second, strict=True))


def threshold_answers(known: VectorPairs, same: NDArray[np.bool_], asked: VectorPairs) -> NDArray[np.bool_]:
    """Whether the cosine of each pair that is asked for is above the best threshold of the known pairs."""
    found: NDArray[np.bool_] = cosines(*asked) > best_threshold(cosines(*known), same)
    return found


def probe_answers(known: VectorPairs, same: NDArray[np.bool_], asked: VectorPairs) -> NDArray[np.bool_]:
    """What logistic regression says of the absolute difference and the product of both vectors of a pair, at length 1 and standardized.

    Unlike a threshold on the cosine, it may give each direction of the space its own weight. Both features do not depend on the order.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    def features(pair: VectorPairs) -> Vectors:
        a, b = (unit(each) for each in pair)
        return np.concatenate([np.abs(a - b), a * b], axis=1)

    probe = make_pipeline(StandardScaler(), LogisticRegression(C=PAIR_PENALTY, max_iter=1000))
    found: NDArray[np.bool_] = probe.fit(features(known), same).predict(features(asked))
    return found
