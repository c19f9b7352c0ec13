"""Which texts to label next: those that a classifier is unsure of, and that differ from each other.

Texts are read as a stream. Only the most uncertain ones are kept with their features, `KEPT` for each text to suggest, so that memory
does not grow with the file; from these, `choose` takes texts that differ. `experiments/suggested_labels.py` compares
the strategies with random texts (docs/results.md): gains are small, and mostly within the noise:

| strategy | from the kept texts | source |
|---|---|---|
| margin | the most uncertain ones | Scheffer et al. 2001 |
| clusters | the one nearest to the center of each cluster of k-means, weighted by uncertainty | Zhdanov 2019 |
| badge | k-means++ on the gradients of the last layer | Ash et al. 2020 |

Legend: N candidates, K labels, P features, n texts to suggest.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from unfreeze.display import counted
from unfreeze.errors import UserError, setting
from unfreeze.progress import SILENT, Progress
from unfreeze.tasks.classifier import Classifier
from unfreeze.text.text_inputs import TextInput, has_empty_text, single_texts

Strategy = Literal["margin", "clusters", "badge"]
DEFAULT: Strategy = "clusters"
KEPT = 3
"""Candidates that are kept for each text to suggest."""

Rows = NDArray[np.float64]


@dataclass(frozen=True)
class Suggestion:
    """A text to label next."""

    input: TextInput
    label: str
    """The most probable label."""
    score: float
    """Its probability."""
    runner_up: str
    """The label that is the next probable; where labels are independent, the one whose probability is nearest to 1/2."""
    margin: float
    """Difference of both probabilities; where labels are independent, twice the distance of the probability from 1/2."""
    stands_for: int
    """Number of other uncertain texts to which no other suggestion is nearer."""
    doubt: float | None = None
    """Where labels are independent, the probability of `runner_up`."""

    @property
    def why(self) -> str:
        """The reason in words."""
        others = f"; like {counted(self.stands_for, 'other uncertain text')}" if self.stands_for else ""
        if self.doubt is not None:
            return f"{self.runner_up} with a probability of {self.doubt:.2f}{others}"
        return f"{self.label} or {self.runner_up}, margin {self.margin:.3f}{others}"


@dataclass(frozen=True)
class Suggestions:
    """The texts to label next, and how many were read."""

    found: list[Suggestion]
    """The most uncertain first."""
    n_read: int
    n_excluded: int
    """Texts that are labeled already."""
    n_unknown: int
    """Texts without a known word, on which the classifier has no opinion."""


def margins(probabilities: NDArray[Any], multi_label: bool = False) -> Rows:
    """How sure a classifier is, from 0 (undecided) to 1.

    Args:
        probabilities: (N, K).
        multi_label: labels are independent: the least sure of them counts.

    Returns:
        (N,) differences of the two largest probabilities; multi-label, twice the smallest distance from 1/2.
    """
    exact = probabilities.astype(np.float64)
    if multi_label:
        nearest: Rows = 2 * np.abs(exact - 0.5).min(1)
        return nearest
    two = np.partition(exact, -2, axis=1)[:, -2:]
    difference: Rows = two[:, 1] - two[:, 0]
    return difference


def choose(
    probabilities: NDArray[Any],
    features: NDArray[Any],
    count: int,
    *,
    strategy: Strategy = DEFAULT,
    multi_label: bool = False,
    seed: int = 0,
) -> NDArray[np.int64]:
    """The candidates to label next.

    Args:
        probabilities: (N, K) of the candidates.
        features: (N, P), in which distances are measured after each was divided by its standard deviation.
        count: n.
        seed: of k-means.

    Returns:
        Up to n different numbers of candidates, the most uncertain first.
    """
    sure = margins(probabilities, multi_label)
    order = np.argsort(sure, kind="stable")
    if len(order) <= count or strategy == "margin":
        return order[:count]
    x = _standardized(features)
    if strategy == "badge":
        chosen = _badge(probabilities.astype(np.float64), x, count, multi_label, seed)
    else:
        chosen = _nearest_to_centers(x, 1 - sure, count, seed)
    return chosen[np.argsort(sure[chosen], kind="stable")]


def _standardized(features: NDArray[Any]) -> Rows:
    x = features.astype(np.float64)
    x -= x.mean(0)
    spread = x.std(0)
    scaled: Rows = x / np.where(spread > 0, spread, 1.0)
    return scaled


def _nearest_to_centers(x: Rows, weights: Rows, count: int, seed: int) -> NDArray[np.int64]:
    """One candidate for each cluster of a weighted k-means (Zhdanov 2019, algorithm 1)."""
    from sklearn.cluster import KMeans

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fewer different points than clusters
        found = KMeans(count, n_init=1, random_state=seed).fit(x, sample_weight=weights + 1e-6)
    distances = squared_distances(x, found.cluster_centers_)  # (N, n)
    chosen: list[int] = []
    for center in np.argsort(distances.min(0), kind="stable"):
        nearest = distances[:, center].copy()
        nearest[chosen] = np.inf  # clusters of few points may share their nearest one
        chosen.append(int(nearest.argmin()))
    return np.array(chosen)


def _badge(probabilities: Rows, x: Rows, count: int, multi_label: bool, seed: int) -> NDArray[np.int64]:
    """k-means++ on the gradients of the loss by the weights of the last layer, for the predicted label (Ash et al. 2020).

    The gradient of a candidate is the outer product of the error (K,) and the features (P,), so that inner products of gradients are
    products of inner products, and no gradient is built.
    """
    predicted = (
        (probabilities >= 0.5) if multi_label else np.eye(probabilities.shape[1])[probabilities.argmax(1)]
    )
    error = probabilities - predicted
    norms = (error**2).sum(1) * (x**2).sum(1)
    random = np.random.default_rng(seed)
    chosen = [int(norms.argmax())]
    nearest = np.full(len(x), np.inf)
    while len(chosen) < count:
        last = chosen[-1]
        inner = (error @ error[last]) * (x @ x[last])
        nearest = np.minimum(nearest, np.maximum(norms + norms[last] - 2 * inner, 0))
        nearest[chosen] = 0
        if not nearest.sum() > 0:  # all that is left coincides with chosen ones
            rest = np.setdiff1d(np.arange(len(x)), chosen)
            return np.array([*chosen, *rest[: count - len(chosen)]])
        chosen.append(int(random.choice(len(x), p=nearest / nearest.sum())))
    return np.array(chosen)


def squared_distances(x: Rows, y: Rows) -> Rows:
    """Squared Euclidean distances: (N, P), (M, P) -> (N, M)."""
    found: Rows = np.maximum((x**2).sum(1)[:, None] + (y**2).sum(1) - 2 * x @ y.T, 0)
    return found


def text_key(one: TextInput) -> tuple[str, ...]:
    """What duplicates have in common: the text without differences of case and white space."""
    return tuple(" ".join(text.split()).casefold() for text in single_texts([one]))


def suggest(
    classifier: Classifier,
    texts: Iterable[TextInput],
    count: int = 50,
    *,
    exclude: Collection[TextInput] = (),
    strategy: Strategy = DEFAULT,
    seed: int = 0,
    progress: Progress = SILENT,
) -> Suggestions:
    """The texts to label next for a fitted classifier.

    Duplicates (also in other case or white space) count once; empty texts and those without a known word are left out.

    Args:
        texts: unlabeled texts, read once.
        count: number of texts to suggest.
        exclude: texts that are labeled already.

    Raises:
        UserError: the count is not positive, something else than texts, or none that can be suggested.
    """
    if count < 1:
        raise UserError(f"{setting('count')} must be at least 1, not {count}")
    labeled = set(map(text_key, exclude))
    kept: list[TextInput] = []
    shares: NDArray[Any] = np.zeros((0, len(classifier.label_names)), dtype=np.float32)
    features: NDArray[Any] = np.zeros((0, classifier.network.n_features), dtype=np.float32)
    n_read = n_excluded = n_unknown = 0
    with progress.bar("suggest", unit="text") as bar:
        for read, own, found, known in classifier.described_stream(texts):
            n_read += len(read)
            bar.advance(len(read))
            keys = list(map(text_key, read))
            is_labeled = np.array([key in labeled for key in keys])
            n_excluded += int(is_labeled.sum())
            usable = known & np.array([not has_empty_text(each) for each in read])
            n_unknown += int((~usable & ~is_labeled).sum())
            rows = np.flatnonzero(usable & ~is_labeled)
            kept += [read[row] for row in rows.tolist()]
            shares = np.concatenate([shares, found[rows]])
            features = np.concatenate([features, own[rows]])
            # Of duplicates, which capitals may make differ a little, the most uncertain one is kept.
            order = np.argsort(margins(shares, classifier.multi_label), kind="stable")
            first = {text_key(kept[row]): row for row in order[::-1]}
            best = [row for row in order if first[text_key(kept[row])] == row][: KEPT * count]
            kept, shares, features = [kept[row] for row in best], shares[best], features[best]
    if not kept:
        raise UserError(
            f"none of the {counted(n_read, 'text')} can be suggested: {n_excluded:,} are labeled already, "
            f"{n_unknown:,} are empty or have no known word"
        )
    chosen = choose(shares, features, count, strategy=strategy, multi_label=classifier.multi_label, seed=seed)
    x = _standardized(features)
    others = np.setdiff1d(np.arange(len(kept)), chosen)
    nearest = squared_distances(x[others], x[chosen]).argmin(1)
    stands_for = np.bincount(nearest, minlength=len(chosen))
    return Suggestions(
        [
            _suggestion(classifier, kept[row], shares[row], int(size))
            for row, size in zip(chosen, stands_for, strict=True)
        ],
        n_read,
        n_excluded,
        n_unknown,
    )


def _suggestion(classifier: Classifier, one: TextInput, shares: NDArray[Any], stands_for: int) -> Suggestion:
    names, best = classifier.label_names, int(shares.argmax())
    if classifier.multi_label:
        other = int(np.abs(shares - 0.5).argmin())
    else:
        other = int(np.argsort(-shares, kind="stable")[1])
    margin = float(margins(shares[None], classifier.multi_label)[0])
    doubt = float(shares[other]) if classifier.multi_label else None
    return Suggestion(one, names[best], float(shares[best]), names[other], margin, stands_for, doubt)
