"""The senses of a word without labels: its occurrences in a text, clustered by their context.

An occurrence is described by its own vector, or by those of the other words of its sentence. The first is close for occurrences in the same
grammatical position, whatever the sense; the second tells senses apart better (docs/results.md). The vectors, at length 1 and minus their
mean, are reduced to their first principal components and clustered by k-means. The number of senses is the one with the largest mean
silhouette (Rousseeuw 1987), if that is larger than of any of some clouds without clusters: normal distributions with the same covariance.
Otherwise, the occurrences are one sense as far as these vectors tell.

Legend: N occurrences, D width, K senses, C components.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unfreeze.analysis.geometry import Numbers, Vectors, unit
from unfreeze.datasets.batches import token_bounded_batches
from unfreeze.display import counted
from unfreeze.encoders.base import evaluating
from unfreeze.encoders.features import BATCH_WORDS, words_of
from unfreeze.encoders.text_encoder import TextEncoder
from unfreeze.errors import UserError
from unfreeze.progress import SILENT, Progress
from unfreeze.text.rules import normalized

COMPONENTS = 20
"""Principal components that are clustered; the others are mostly noise, in which all distances are alike."""
SMOOTHING = 0.1
"""The a of the weights of context words. As in Arora, Liang and Ma (2017), common words count less; 0.1 is better than 0.01 on CoarseWSD-20."""
SMALLEST = 3
"""Smallest number of occurrences of a sense: one or two are sentences that are unlike all others, such as very short ones."""
NULL_CLOUDS = 19
"""Clouds without clusters. Vectors of a normal distribution have a larger silhouette than all of them in about 1 of 20 cases; those of a skewed
one, which has no clusters either, in many more."""
Floats = NDArray[np.float32]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Occurrences:
    """Where a word occurs, at most once a sentence."""

    word: str
    sentences: list[list[str]]
    """Split into words."""
    places: list[int]
    """Which word of each sentence it is."""
    n_found: int
    """Sentences with the word in the whole text; of many, only some are kept."""

    def __len__(self) -> int:
        return len(self.places)


def find_occurrences(
    encoder: TextEncoder, sentences: Iterable[str], word: str, *, most: int = 1000, seed: int = 0
) -> Occurrences:
    """The sentences of a text that have a word, ignoring case; of more than `most` different ones a random sample.

    Args:
        encoder: its tokenizer splits the sentences.
        sentences: of any number; they are streamed.

    Raises:
        UserError: it is no single word, or it occurs in no sentence, or in one.
    """
    if not word.strip():
        raise UserError("the word is empty: name the word whose occurrences are compared")
    wanted, choose = normalized(word.strip()), random.Random(seed)
    kept: list[tuple[list[str], int]] = []
    seen: set[str] = set()
    for text in sentences:
        if wanted not in normalized(text) or text in seen:
            continue
        pieces = encoder.tokenizer.encode(text)
        words = words_of(pieces.words, pieces.offsets, text)
        place = next((n for n, each in enumerate(words) if normalized(each) == wanted), None)
        if place is None:
            continue
        seen.add(text)
        if len(kept) < most:
            kept.append((words, place))
        elif (slot := choose.randrange(len(seen))) < most:  # each sentence stays with the same probability
            kept[slot] = words, place
    if len(seen) < 2:
        own = encoder.tokenizer.encode(word)
        if not seen and len(parts := words_of(own.words, own.offsets, word)) > 1:
            raise UserError(
                f"{word!r} is {len(parts)} words for this encoder ({', '.join(parts)}): name one word"
            )
        found = "in no sentence" if not seen else "in only one sentence"
        raise UserError(f"{word!r} occurs {found} of the corpus: its occurrences cannot be compared")
    return Occurrences(word, [words for words, _ in kept], [place for _, place in kept], len(seen))


def vectors_at(
    encoder: TextEncoder,
    sentences: Sequence[Sequence[str]],
    places: Sequence[int],
    progress: Progress = SILENT,
) -> list[Floats]:
    """The vectors of one word of each of N sentences, for each layer (N, D_l).

    Args:
        sentences: split into words.
        places: the number of the word in each sentence.
    """
    found = [np.zeros((len(sentences), width), np.float32) for width in encoder.widths]
    for numbers, layers in _encoded(encoder, sentences, progress):
        rows, columns = torch.arange(len(numbers)), torch.tensor([places[number] for number in numbers])
        for own, layer in zip(found, layers, strict=True):
            own[numbers] = layer[rows, columns].float().cpu().numpy()
    return found


def context_vectors(
    encoder: TextEncoder,
    sentences: Sequence[Sequence[str]],
    places: Sequence[int],
    progress: Progress = SILENT,
) -> list[Floats]:
    """The context of one word of each of N sentences, for each layer (N, D_l): the weighted sum of its other words at length 1.

    This is a context vector as of Schuetze (1998, "Automatic word sense discrimination"). A word's weight is a / (a + p), where p is the share
    of the sentences that have it; words without a letter, and the word itself at other places, have none. A sentence without any other word
    gets zeros.

    Args:
        sentences: split into words.
        places: the number of the word in each sentence.
    """
    forms = [[normalized(word) for word in words] for words in sentences]
    shares = Counter(form for own in forms for form in set(own))
    weights = [
        [
            0.0
            if form == own[place] or not any(map(str.isalpha, form))
            else SMOOTHING / (SMOOTHING + shares[form] / len(forms))
            for form in own
        ]
        for own, place in zip(forms, places, strict=True)
    ]
    found = [np.zeros((len(sentences), width), np.float32) for width in encoder.widths]
    for numbers, layers in _encoded(encoder, sentences, progress):
        for own, layer in zip(found, layers, strict=True):
            for row, number in enumerate(numbers):
                words = layer[row, : len(weights[number])].float().cpu().numpy()
                own[number] = weights[number] @ unit(words)
    return found


def _encoded(
    encoder: TextEncoder, sentences: Sequence[Sequence[str]], progress: Progress
) -> Iterator[tuple[list[int], list[Tensor]]]:
    """The numbers of the sentences of each batch, and the vectors of their words in each layer."""
    with (
        evaluating(encoder),
        torch.no_grad(),
        progress.bar("encode", len(sentences), "sentence") as bar,
    ):
        for numbers in token_bounded_batches([1 + len(each) for each in sentences], BATCH_WORDS):
            yield (
                numbers,
                encoder.word_layers(encoder.prepare_words([list(sentences[n]) for n in numbers]))[0],
            )
            bar.advance(len(numbers))


@dataclass(frozen=True)
class Senses:
    """The clusters of a word's occurrences, the largest first."""

    labels: Labels
    """The sense of each occurrence, (N,), from 0 to K - 1."""
    typical: list[list[int]]
    """For each sense its occurrences, those nearest to its mean first."""
    silhouettes: dict[int, float]
    """The mean silhouette for each number of senses that was tried."""
    null: float
    """The largest mean silhouette of the clouds without clusters, for the best of these numbers."""
    asked: bool = False
    """Whether the number of senses was given."""

    @property
    def n_senses(self) -> int:
        """K."""
        return len(self.typical)

    @property
    def reason(self) -> str:
        """How the number of senses was chosen."""
        if self.asked and not self.silhouettes:
            return f"{counted(self.n_senses, 'sense')}, as asked for"
        if not self.silhouettes:
            return f"one sense: all vectors are equal, or no clusters have {SMALLEST} occurrences each"
        best = max(self.silhouettes, key=lambda number: self.silhouettes[number])
        compared = (
            f"{self.silhouettes[best]:.3f}, and at most {self.null:.3f} in random clouds without clusters"
        )
        if self.n_senses == 1:
            return f"one sense: clusters are no clearer than in a cloud without any (mean silhouette of {best} clusters {compared})"
        if self.asked:
            return f"{best} senses, as asked for (mean silhouette {compared})"
        return f"{best} senses have the largest mean silhouette ({compared})"


def cluster_senses(
    vectors: Vectors, *, senses: int | None = None, most_senses: int = 8, seed: int = 0
) -> Senses:
    """Cluster the occurrences of a word.

    Args:
        vectors: (N, D).
        senses: their number, if it is known.
        most_senses: largest number that is tried otherwise; numbers with a cluster of less than three occurrences are passed over.

    Raises:
        UserError: there are fewer different vectors than senses.
    """
    from sklearn.metrics import silhouette_score

    points = _reduced(vectors)
    n_different = len(np.unique(points.round(9), axis=0))
    if senses is not None and n_different < senses:
        raise UserError(
            f"{len(points)} occurrences with {n_different} different vectors do not have {senses} senses"
        )
    tried = range(2, 1 + min(most_senses, n_different - 1)) if senses is None else [senses]
    found: dict[int, tuple[float, Labels]] = {}
    for number in tried:
        labels = _k_means(points, number, seed)
        if not 1 < number < len(points):
            return _ordered(points, labels, {}, 0.0, asked=True)
        if senses is not None or np.bincount(labels).min() >= SMALLEST:
            found[number] = float(silhouette_score(points, labels)), labels
    if not found:
        return _ordered(points, np.zeros(len(points), np.int64), {}, 0.0)
    best = max(found, key=lambda number: found[number][0])
    generator = np.random.default_rng(seed)
    spread = points.std(0)  # principal components are not correlated
    null = -1.0
    for _ in range(NULL_CLOUDS):
        cloud = generator.normal(size=points.shape) * spread
        null = max(null, float(silhouette_score(cloud, _k_means(cloud, best, seed))))
    score, labels = found[best]
    if senses is None and score <= null:
        labels = np.zeros(len(points), np.int64)
    scores = {number: each for number, (each, _) in found.items()}
    return _ordered(points, labels, scores, null, asked=senses is not None)


def _reduced(vectors: Vectors) -> Numbers:
    """The vectors at length 1, minus their mean, along their first principal components: (N, C)."""
    x = unit(vectors)
    x = x - x.mean(0)
    left, values, _ = np.linalg.svd(x, full_matrices=False)
    components: Numbers = (left * values)[:, :COMPONENTS]
    return components


def _k_means(points: Numbers, number: int, seed: int) -> Labels:
    from sklearn.cluster import KMeans

    labels = KMeans(number, n_init=10, random_state=seed).fit_predict(points)
    return np.asarray(labels, np.int64)


def _ordered(
    points: Numbers, labels: Labels, silhouettes: dict[int, float], null: float, *, asked: bool = False
) -> Senses:
    """Number the clusters from the largest to the smallest, and sort the occurrences of each by their distance to its mean."""
    sizes = np.bincount(labels)
    order = np.argsort(-sizes, kind="stable")
    ranks = np.empty(len(order), np.int64)
    ranks[order] = np.arange(len(order))
    typical = []
    for old in order:
        own = np.flatnonzero(labels == old)
        distances = np.linalg.norm(points[own] - points[own].mean(0), axis=1)
        typical.append([int(each) for each in own[np.argsort(distances, kind="stable")]])
    return Senses(ranks[labels], typical, silhouettes, null, asked)
