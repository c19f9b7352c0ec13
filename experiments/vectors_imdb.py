"""Claim: with few labels, the plain mean of word vectors of unlabeled reviews is better than a biLSTM on top of them.

Skip-gram vectors of the 50,000 unlabeled reviews of IMDb (window 30, subsampling 1e-4, 5 epochs) are used with 100 and 1,000
labels: logistic regression on their mean, and a biLSTM on top of frozen and fine-tuned vectors. Accuracy is on the 25,000
test reviews.

    python -m experiments.vectors_imdb --data DATA --runs RUNS

2026-11-25, two cores of an AMD EPYC with AVX512-BF16, 12 minutes: 100 labels (3 samples) 81.8 averaged, 73.4 under a frozen
biLSTM, 76.1 fine-tuned; 1,000 labels (1 sample) 87.4, 85.2, 86.4 (docs/results.md).
"""

from __future__ import annotations

import argparse
import logging
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from experiments.imdb import Places, fitted_accuracy
from experiments.results import Results, table
from unfreeze.analysis.curves import plot_curves
from unfreeze.pretraining.unlabeled import Corpus
from unfreeze.pretraining.word2vec.recipe import pretrain_word2vec
from unfreeze.pretraining.word2vec.settings import VectorSettings, Word2VecSettings
from unfreeze.progress import Progress
from unfreeze.tasks.settings import ClassifierSettings

SEEDS = {100: 3, 1_000: 1}
WIDE = VectorSettings(
    training=Word2VecSettings(size=200, window=30, subsample=1e-4, epochs=5),
    vocabulary_size=30_000,
    min_count=3,
)


def review_vectors(places: Places) -> Path:
    """Folder of the vectors."""
    output = places.runs / "imdb-word2vec"
    corpus = Corpus(paths=[places.unlabeled_reviews], text_column="text")
    pretrain_word2vec(corpus, WIDE, output=output, progress=Progress())
    return output


def main() -> None:
    """Train what is missing, print the table and plot it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with imdb/")
    parser.add_argument("--runs", type=Path, required=True, help="folder for models and results")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    places = Places(arguments.data, arguments.runs)
    results = Results(arguments.runs / "results.jsonl")
    vectors = str(review_vectors(places))
    methods = {
        "vectors, averaged": ClassifierSettings(encoder=vectors),
        "vectors under a biLSTM, frozen": ClassifierSettings(
            encoder=vectors, body="bilstm", transfer="frozen"
        ),
        "vectors under a biLSTM, fine-tuned": ClassifierSettings(encoder=vectors, body="bilstm"),
    }

    def run(settings: ClassifierSettings, count: int, seed: int) -> dict[str, Any]:
        return fitted_accuracy(places.sample(count, seed), places.test, replace(settings, seed=seed))

    for name, settings in methods.items():
        for count, seeds in SEEDS.items():
            for seed in range(seeds):
                results.measure("vectors", name, count, seed, partial(run, settings, count, seed))
    curves = results.curves("vectors")
    print(table(curves))
    plot_curves(curves, arguments.runs / "vectors-imdb.png", title="Static word vectors on IMDb")


if __name__ == "__main__":
    main()
