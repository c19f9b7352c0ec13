"""Do suggested labels help more than random ones? 50 random labels, then 100 more: suggested by `unfreeze suggest`, or random.

    python -m experiments.suggested_labels DATA [--sets imdb amazon trec] [--seeds 8] [--pool 5000]

DATA has the folders imdb, amazon-reviews and sentences. The classifier is `encoder=wiki-small transfer=frozen pooling=vectors`: a logistic
regression on averaged word vectors, whose C is chosen on the labels that it has. A row for each way to choose: mean accuracy on the
test texts over the seeds, and the difference to random labels with its 95 % interval over seeds and test texts (`intervals.py`). A seed
gives all ways the same first 50 labels. Random labels are drawn once; "random again" is another draw, whose difference shows the noise.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unfreeze import TextClassifier
from unfreeze.analysis.intervals import paired_difference
from unfreeze.tasks.heads import fit_regression
from unfreeze.tasks.suggestions import choose, margins
from unfreeze.text.examples import read_examples

FIRST, MORE = 50, 100
Labeled = tuple[list[str], list[str]]
Choice = Callable[[NDArray[np.float64], NDArray[np.float64], int], NDArray[np.int64]]


def read_set(data: Path, name: str, pool: int) -> tuple[Labeled, Labeled]:
    """Texts and labels of the pool, and of the test texts (at most 2,000)."""
    if name == "trec":
        sets = [
            read_examples(data / "sentences" / f"TREC.{part}.all", encoding="latin-1")
            for part in ("train", "test")
        ]
        both = [([e.input for e in each.examples], [e.labels[0] for e in each.examples]) for each in sets]
    else:
        files = (
            [data / "imdb" / f"{part}.jsonl" for part in ("train", "test")]
            if name == "imdb"
            else [data / "amazon-reviews" / f"{kind}.jsonl" for kind in ("books", "dvd", "electronics")]
        )
        both = []
        for file in files:
            rows = [json.loads(line) for line in file.open(encoding="utf-8")]
            both.append(([row["text"] for row in rows], [str(row["label"]) for row in rows]))
        if name == "amazon":  # no split is given: every third review of a random order is a test review
            texts, labels = [t for each in both for t in each[0]], [y for each in both for y in each[1]]
            order = np.random.default_rng(1).permutation(len(texts)).tolist()
            parts = [order[len(order) // 3 :], order[: len(order) // 3]]
            both = [([texts[n] for n in part], [labels[n] for n in part]) for part in parts]
    random = np.random.default_rng(0)
    found = []
    for (texts, labels), most in zip(both, (pool, 2000), strict=True):
        chosen = random.permutation(len(texts))[:most]
        found.append(([texts[n] for n in chosen], [labels[n] for n in chosen]))
    return found[0], found[1]


def features_of(texts: Sequence[str]) -> NDArray[np.float64]:
    """(N, P): what the classifier of this experiment standardizes and reads."""
    some = TextClassifier(encoder="wiki-small", transfer="frozen", pooling="vectors").fit(["a", "b"], [0, 1])
    found = some.network_.read_all(some.network_.body.inputs(list(texts)))
    return np.concatenate([x.double().numpy() for x in found.values()], axis=1)


def fitted(
    x: NDArray[np.float64], y: NDArray[np.int64], n_labels: int, seed: int
) -> Callable[..., NDArray[np.float64]]:
    """A function from features to probabilities."""
    center, scale = x.mean(0), x.std(0) + 1e-5
    solution = fit_regression((x - center) / scale, y, n_labels, seed=seed)

    def probabilities(features: NDArray[np.float64]) -> NDArray[np.float64]:
        logits = (features - center) / scale @ solution.weight.T + solution.bias
        shares = np.exp(logits - logits.max(1, keepdims=True))
        return shares / shares.sum(1, keepdims=True)

    return probabilities


def kept(name: str, share: int) -> Choice:
    """A strategy on the most uncertain texts, `share` for each text to choose, as `suggest` keeps `KEPT`."""

    def choice(shares: NDArray[np.float64], x: NDArray[np.float64], seed: int) -> NDArray[np.int64]:
        best = np.argsort(margins(shares), kind="stable")[: share * MORE]
        return best[choose(shares[best], x[best], MORE, strategy=name, seed=seed)]  # type: ignore[arg-type]

    return choice


def typical(shares: NDArray[np.float64], x: NDArray[np.float64], seed: int) -> NDArray[np.int64]:
    """Clusters of the whole pool without regard to the classifier, as for a cold start."""
    return choose(np.full_like(shares, 1 / shares.shape[1]), x, MORE, strategy="clusters", seed=seed)


WAYS: dict[str, Choice] = {
    "random again": lambda shares, x, seed: np.random.default_rng(1000 + seed).permutation(len(x))[:MORE],
    "margin": kept("margin", 1),
    "clusters of 10 x": kept("clusters", 10),
    "clusters of 3 x": kept("clusters", 3),
    "badge of 10 x": kept("badge", 10),
    "badge of all": kept("badge", 1_000_000),
    "clusters, no uncertainty": typical,
}


def run(data: Path, name: str, seeds: int, pool: int) -> None:
    """Measure all ways on one data set, and print a row for each."""
    (texts, labels), (test_texts, test_labels) = read_set(data, name, pool)
    names = sorted(set(labels))
    y, wanted = (np.array([names.index(each) for each in own]) for own in (labels, test_labels))
    x, test = features_of(texts), features_of(test_texts)
    right: dict[str, list[NDArray[np.float64]]] = {way: [] for way in ("first 50", "random", *WAYS)}
    for seed in range(seeds):
        order = np.random.default_rng(seed).permutation(len(x))
        first, rest = order[:FIRST], order[FIRST:]
        model = fitted(x[first], y[first], len(names), seed)
        right["first 50"].append((model(test).argmax(1) == wanted).astype(float))
        shares = model(x[rest])
        chosen = {
            "random": np.arange(MORE),
            **{way: make(shares, x[rest], seed) for way, make in WAYS.items()},
        }
        for way, numbers in chosen.items():
            own = np.concatenate([first, rest[numbers]])
            found = fitted(x[own], y[own], len(names), seed)(test).argmax(1)
            right[way].append((found == wanted).astype(float))
    print(f"\n{name}: pool {len(x):,}, test {len(test):,}, {seeds} seeds")
    for way, scores in right.items():
        difference = "" if way == "random" else str(paired_difference(scores, right["random"]))
        print(f"{way:26} {100 * np.mean(scores):5.1f}  {difference}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument(
        "--sets", nargs="+", default=["imdb", "amazon", "trec"], choices=["imdb", "amazon", "trec"]
    )
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--pool", type=int, default=5000)
    arguments = parser.parse_args()
    for each in arguments.sets:
        run(arguments.data, each, arguments.seeds, arguments.pool)
