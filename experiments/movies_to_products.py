"""Claim: what was learned from movie reviews serves for product reviews, by more than the labels that products have.

The lecture's first question: a model that tells good films from bad ones meets trimmers and cameras. Here a classifier of
IMDb's movie reviews, made from scratch (`--movies` names a folder, or it is fitted first), is moved to Amazon's
electronics (Blitzer et al. 2007), as it is and with 100 and 1,000 labels of theirs; against starting anew with the same
labels, and TF-IDF. `--movies` also takes one that began as a language model; `--encoder` adds that language model
itself. 1,000 of the 2,000 product reviews are the test, always the same.

The lecture's second answer is a vector for each word, learned from text without labels: `--vectors` adds such vectors of the
task's own texts and of Wikipedia, averaged or under a biLSTM, frozen or fine-tuned, and says how many of the task's words each
vocabulary lacks.

    python -m experiments.movies_to_products --data DATA --runs RUNS [--vectors]

2026-11-25, two cores of an AMD EPYC with AVX512-BF16, 18 minutes: as it is 74.0 %; with 100 labels (5 samples) from scratch 60.0,
moved 76.2, TF-IDF 71.9; with 1,000 labels 78.3, 81.1, 82.9. Vectors of the task's texts, averaged: 72.1 and 78.6; of Wikipedia:
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
from unfreeze.tasks.fit_classifier import fit_classifier
from unfreeze.tasks.fit_settings import FitSettings
from unfreeze.tasks.text_classifier import TextClassifier
from unfreeze.text.examples import read_examples

TEST, TEST_SEED = 1_000, 777
SEEDS = {100: 5, 1_000: 1}
ANEW = FitSettings(encoder="none")


def electronics(data: Path) -> tuple[ExampleSet, ExampleSet]:
    """1,000 reviews to learn from and the fixed 1,000 test reviews."""
    everything = read_examples(data / "amazon-reviews" / "electronics.jsonl")
    test = everything.sample(TEST, TEST_SEED)
    taken = {id(example) for example in test.examples}
    rest = [example for example in everything.examples if id(example) not in taken]
    return replace(everything, examples=rest), test


def movie_classifier(places: Places, folder: Path) -> Path:
    """A biLSTM from scratch on the 20,000 movie reviews that are not held out."""
    settings = FitSettings(encoder="none", epochs=5)
    fit_classifier(places.pool, settings, validation=places.tuning, output=folder)
    return folder


def unknown_share(classifier: TextClassifier, examples: ExampleSet) -> float:
    """Share of the words that the classifier's vocabulary lacks."""
    unknown = classifier.tokenizer.unknown_id
    ids = [
        i for row in classifier.inputs([example.input for example in examples.examples]) for i in row.tolist()
    ]
    return sum(i == unknown for i in ids) / len(ids)


def task_vectors(texts: ExampleSet, runs: Path) -> Path:
    """Skip-gram vectors of the product reviews themselves, whose labels are not looked at."""
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


def vector_methods(places: Places, train: ExampleSet, test: ExampleSet) -> dict[str, FitSettings]:
    """Word vectors in all the ways in which they can be moved; prints what their vocabularies lack."""
    own, wiki = str(task_vectors(train, places.runs)), str(wikipedia_vectors(places))
    for name, place in (("the task's texts", own), ("Wikipedia", wiki)):
        known = Encoder.from_pretrained(place).tokenizer
        words = Counter(word for text in test.examples for word in known.encode_ids([text.input])[0])
        n_unknown, total = words[known.unknown_id], sum(words.values())
        print(
            f"vectors of {name}: {len(known):,} words; they lack {100 * n_unknown / total:.2f} % of the test's words"
        )
    return {
        "vectors of the task's texts, averaged": FitSettings(encoder=own),
        "vectors of Wikipedia, averaged": FitSettings(encoder=wiki),
        "the same, fine-tuned": FitSettings(encoder=wiki, transfer="fine-tune", gradual=False),
        "vectors of Wikipedia under a biLSTM, frozen": FitSettings(
            encoder=wiki, body="bilstm", transfer="frozen"
        ),
        "the same, fine-tuned, new words from scratch": FitSettings(encoder=wiki, body="bilstm"),
    }


def compare(train: ExampleSet, test: ExampleSet, results: Results, methods: dict[str, FitSettings]) -> None:
    """Every method with every sample, and TF-IDF."""

    def fitted(settings: FitSettings, count: int, seed: int) -> dict[str, Any]:
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
    """Prints how the movie classifier does as it is, then the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with imdb/ and amazon-reviews/")
    parser.add_argument("--runs", type=Path, required=True, help="folder for models and results")
    parser.add_argument("--movies", type=Path, help="a classifier of movie reviews; fitted here by default")
    parser.add_argument("--encoder", type=Path, help="a language model, to be fine-tuned beside the others")
    parser.add_argument("--vectors", action="store_true", help="word vectors beside the others")
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
        f"{movies.name}, encoder and head moved": FitSettings(encoder=str(movies), gradual=False),
    }
    if arguments.encoder is not None:
        methods[f"{arguments.encoder.name}, fine-tuned"] = FitSettings(encoder=str(arguments.encoder))
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
