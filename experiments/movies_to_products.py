"""Claim: a classifier of movie reviews transfers to product reviews, and is worth more than the few labels that products have.

A classifier of the movie reviews of IMDb, trained from scratch (given by `--movies`, or fitted first), is transferred to Amazon's
electronics (Blitzer et al. 2007): as it is, and with 100 and 1,000 product labels. It is compared with training from scratch on
the same labels, and with TF-IDF. `--movies` also accepts a classifier based on a language model, and `--encoder` adds that
language model itself. 1,000 of the 2,000 product reviews are the test set.

`--vectors` adds word vectors trained on the texts of the task and on Wikipedia, averaged or under a biLSTM, frozen or
fine-tuned, and prints how many words of the task are missing from each vocabulary.

    python -m experiments.movies_to_products --data DATA --runs RUNS [--vectors]

2026-11-25, two cores of an AMD EPYC with AVX512-BF16, 18 minutes: as it is 74.0 %; with 100 labels (5 samples) from scratch 60.0,
transferred 76.2, TF-IDF 71.9; with 1,000 labels 78.3, 81.1, 82.9. Vectors of the task's texts, averaged: 72.1 and 78.6; of Wikipedia:
68.0 and 72.8, fine-tuned 68.6 and 79.6, under a biLSTM 62.9 and 76.1, fine-tuned 64.1 and 80.0 (docs/results.md).
"""

from __future__ import annotations

import argparse
import json
import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from experiments.bank_has_one_vector import wikipedia_vectors
from experiments.imdb import Places, fitted_accuracy
from experiments.results import Results, table
from unfreeze.analysis.curves import STYLES, plot_curves
from unfreeze.datasets.dataset import ExampleSet
from unfreeze.encoders.base import Encoder
from unfreeze.pretraining.unlabeled import Corpus
from unfreeze.pretraining.word2vec.recipe import pretrain_word2vec
from unfreeze.pretraining.word2vec.settings import VectorSettings, Word2VecSettings
from unfreeze.progress import Progress
from unfreeze.tasks.baselines import tfidf_accuracy
from unfreeze.tasks.settings import ClassifierSettings
from unfreeze.tasks.text_classifier import TextClassifier, fit_classifier
from unfreeze.text.examples import read_examples

TEST, TEST_SEED = 1_000, 777
SEEDS = {100: 5, 1_000: 1}
ANEW = ClassifierSettings(encoder="none")


def electronics(data: Path) -> tuple[ExampleSet, ExampleSet]:
    """1,000 training reviews and the fixed 1,000 test reviews."""
    everything = read_examples(data / "amazon-reviews" / "electronics.jsonl")
    test = everything.sample(TEST, TEST_SEED)
    taken = {id(example) for example in test.examples}
    rest = [example for example in everything.examples if id(example) not in taken]
    return replace(everything, examples=rest), test


def movie_classifier(places: Places, folder: Path) -> Path:
    """Fit a biLSTM from scratch on the 20,000 movie reviews that are not held out."""
    settings = ClassifierSettings(encoder="none", epochs=5)
    fit_classifier(places.pool, settings, validation=places.tuning, output=folder)
    return folder


def unknown_share(classifier: TextClassifier, examples: ExampleSet) -> float:
    """Fraction of the words that are not in the vocabulary of a classifier."""
    unknown = classifier.network.encoder.tokenizer.unknown_id
    ids = [
        i
        for row in classifier.network.body.inputs([example.input for example in examples.examples])
        for i in row.tolist()
    ]
    return sum(i == unknown for i in ids) / len(ids)


def task_vectors(texts: ExampleSet, runs: Path) -> Path:
    """Train skip-gram vectors on the product reviews without their labels."""
    corpus, output = runs / "electronics-texts.jsonl", runs / "electronics-vectors"
    if not corpus.is_file():
        lines = (json.dumps({"text": example.input}) for example in texts.examples)
        corpus.write_text("\n".join(lines) + "\n", encoding="utf-8")
    training = Word2VecSettings(window=30, subsample=1e-4, epochs=20)
    settings = VectorSettings(training=training, min_count=2)
    pretrain_word2vec(
        Corpus(paths=[corpus], text_column="text"), settings, output=output, progress=Progress()
    )
    return output


def vector_methods(places: Places, train: ExampleSet, test: ExampleSet) -> dict[str, ClassifierSettings]:
    """Variants with word vectors; prints how many words are missing from their vocabularies."""
    own, wiki = str(task_vectors(train, places.runs)), str(wikipedia_vectors(places))
    for name, place in (("the task's texts", own), ("Wikipedia", wiki)):
        known = Encoder.from_pretrained(place).tokenizer
        words = Counter(word for text in test.examples for word in known.encode_ids([text.input])[0])
        n_unknown, total = words[known.unknown_id], sum(words.values())
        print(
            f"vectors of {name}: {len(known):,} words; they lack {100 * n_unknown / total:.2f} % of the test's words"
        )
    return {
        "vectors of the task's texts, averaged": ClassifierSettings(encoder=own),
        "vectors of Wikipedia, averaged": ClassifierSettings(encoder=wiki),
        "the same, fine-tuned": ClassifierSettings(encoder=wiki, transfer="fine-tune", gradual=False),
        "vectors of Wikipedia under a biLSTM, frozen": ClassifierSettings(
            encoder=wiki, body="bilstm", transfer="frozen"
        ),
        "the same, fine-tuned, new words from scratch": ClassifierSettings(encoder=wiki, body="bilstm"),
    }


def compare(
    train: ExampleSet, test: ExampleSet, results: Results, methods: dict[str, ClassifierSettings]
) -> None:
    """Evaluate each method on each sample, and TF-IDF."""

    def fitted(settings: ClassifierSettings, count: int, seed: int) -> dict[str, Any]:
        return fitted_accuracy(train.sample(count, seed), test, replace(settings, seed=seed))

    def tfidf(count: int, seed: int) -> dict[str, Any]:
        return {"accuracy": tfidf_accuracy(train.sample(count, seed), test)}

    runs: dict[str, Callable[..., dict[str, Any]]] = {"TF-IDF + logistic regression": tfidf}
    runs |= {name: partial(fitted, settings) for name, settings in methods.items()}
    for name, run in runs.items():
        for count, seeds in SEEDS.items():
            for seed in range(seeds):
                results.measure("products", name, count, seed, partial(run, count, seed))


def main() -> None:
    """Print the accuracy of the movie classifier as it is, then the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with imdb/ and amazon-reviews/")
    parser.add_argument("--runs", type=Path, required=True, help="folder for models and results")
    parser.add_argument("--movies", type=Path, help="classifier of movie reviews (default: fitted first)")
    parser.add_argument("--encoder", type=Path, help="also fine-tune this language model")
    parser.add_argument("--vectors", action="store_true", help="also evaluate word vectors")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    places = Places(arguments.data, arguments.runs)
    movies = arguments.movies or movie_classifier(places, arguments.runs / "movies-from-scratch")
    train, test = electronics(arguments.data)
    moved = TextClassifier.from_pretrained(movies)
    print(
        f"{movies.name}, as it is, on {len(test):,} product reviews: {100 * moved.evaluate(test).accuracy:.1f} % "
        f"({100 * unknown_share(moved, test):.1f} % of their words unknown to it)"
    )
    methods = {
        "from scratch": ANEW,
        f"{movies.name}, encoder and head moved": ClassifierSettings(encoder=str(movies), gradual=False),
    }
    if arguments.encoder is not None:
        methods[f"{arguments.encoder.name}, fine-tuned"] = ClassifierSettings(encoder=str(arguments.encoder))
    if arguments.vectors:
        methods |= vector_methods(places, train, test)
    results = Results(arguments.runs / "results.jsonl")
    compare(train, test, results, methods)
    curves = results.curves("products")
    print(table(curves))
    shown = sorted(curves, key=lambda curve: -curve.mean(curve.counts[0]))[: len(STYLES)]
    plot_curves(shown, arguments.runs / "products.png", title="From movie reviews to product reviews")


if __name__ == "__main__":
    main()
