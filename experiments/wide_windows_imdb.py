"""Claim: word vectors whose window spans most of a review carry sentiment: 100 labels are worth more than 1,000 from scratch.

Skip-gram vectors (200 dimensions, 30,000 words, 3 epochs) of the 50,000 unlabeled reviews of IMDb are normalized, weighted by
inverse frequency and averaged over a review, followed by logistic regression on 100 and 1,000 labels, for windows of 5, 10 and
30 words. C is selected on 5,000 held-out training reviews, and the last lines are for the 25,000 test reviews. For TF-IDF
and other methods with the same labels see experiments/ulmfit_imdb.py.

    python -m experiments.wide_windows_imdb --data DATA --runs RUNS
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from experiments.imdb import Places
from unfreeze.datasets.dataset import ExampleSet
from unfreeze.pretraining.word2vec.train import train_word_vectors
from unfreeze.tasks.pooling import mean_vectors
from unfreeze.tasks.task_encoders import weighted_vectors
from unfreeze.text.batches import pad_sequences
from unfreeze.text.corpus import stream_documents
from unfreeze.text.token_store import TokenStore
from unfreeze.text.tokenizers import TextTokenizer, train_tokenizer
from unfreeze.vectors.reading import read_word_vectors
from unfreeze.vectors.writing import write_word_vectors

VOCABULARY, SIZE, EPOCHS = 30_000, 200, 3
SEEDS = {100: 5, 1_000: 3}
STRENGTHS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)

Features = NDArray[np.float32]


def vectors_of(window: int, corpus: Path, runs: Path, tokenizer: TextTokenizer) -> Path:
    """Train skip-gram vectors on the unlabeled reviews, once."""
    place = runs / "imdb-vectors" / f"window-{window}.npz"
    if not place.is_file():
        store = TokenStore.build(stream_documents([corpus]), tokenizer, runs / "imdb-vectors" / "tokens")
        vectors = train_word_vectors(store, tokenizer, size=SIZE, window=window, epochs=EPOCHS)
        write_word_vectors(place, vectors)
    return place


def features(examples: ExampleSet, tokenizer: TextTokenizer, rows: torch.Tensor) -> Features:
    """Weighted mean vectors of texts (N, E)."""
    found = []
    for ids in tokenizer.encode_ids([example.input for example in examples.examples]):
        padded, lengths = pad_sequences([ids], tokenizer.pad_id)
        found.append(mean_vectors(padded, lengths, rows).numpy()[0])
    return np.stack(found)


def targets(examples: ExampleSet) -> NDArray[np.bool_]:
    """Whether each review is positive."""
    return np.array([example.labels == ("pos",) for example in examples.examples])


def regression(x: Features, y: NDArray[np.bool_], strength: float) -> LogisticRegression:
    """Logistic regression on standardized features."""
    return LogisticRegression(C=strength, max_iter=1000).fit(x, y)


def main() -> None:
    """Print a line for each window and number of labels."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with imdb/")
    parser.add_argument("--runs", type=Path, required=True, help="folder for models and results")
    parser.add_argument("--windows", type=int, nargs="+", default=[5, 10, 30])
    arguments = parser.parse_args()
    places = Places(arguments.data, arguments.runs)
    tokenizer = train_tokenizer(stream_documents([places.unlabeled_reviews]), vocabulary_size=VOCABULARY)
    for window in arguments.windows:
        place = vectors_of(window, places.unlabeled_reviews, arguments.runs, tokenizer)
        rows = weighted_vectors(read_word_vectors(place), tokenizer)
        pooled = {
            name: features(part, tokenizer, rows)
            for name, part in (("held", places.held_back), ("test", places.test))
        }
        for count, seeds in SEEDS.items():
            samples = [places.sample(count, seed) for seed in range(seeds)]
            found = [(features(sample, tokenizer, rows), targets(sample)) for sample in samples]
            scaled = [(StandardScaler().fit(x), y) for x, y in found]
            tried = {
                strength: [
                    regression(scaler.transform(x), y, strength).score(
                        scaler.transform(pooled["held"]), targets(places.held_back)
                    )
                    for (x, _), (scaler, y) in zip(found, scaled, strict=True)
                ]
                for strength in STRENGTHS
            }
            best = max(tried, key=lambda strength: float(np.mean(tried[strength])))
            scores = [
                regression(scaler.transform(x), y, best).score(
                    scaler.transform(pooled["test"]), targets(places.test)
                )
                for (x, _), (scaler, y) in zip(found, scaled, strict=True)
            ]
            print(
                f"window {window:3d}  labels {count:5d}  C {best:g}  test {100 * np.mean(scores):.1f} % "
                f"({len(scores)} seeds: {', '.join(f'{100 * score:.1f}' for score in scores)})",
                flush=True,
            )


if __name__ == "__main__":
    main()
