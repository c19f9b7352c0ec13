"""Claim: adding ELMo's frozen layers to word vectors improves on word vectors, and a learned mix is better than the last layer.

The same biLSTM is trained on word vectors of Wikipedia (frozen), on ELMo's layers alone (the last one; the mix of all; the
mix with an L2 penalty on its weights), and on both concatenated, as in the paper (Peters et al. 2018). SST-5: all 8,544
sentences. IMDb: 1,000 reviews, of which 200 select the epoch, and a part of the test reviews. Prints the mean accuracy over
seeds, the learned weights of the layers from bottom to top, and gamma.

    python -m experiments.elmo_sentiment --data DATA --elmo ELMO --vectors VECTORS --runs RUNS [--set sst5 imdb] [--seeds N]

Results are stored in RUNS, and an existing result is not computed again.

2026-11-25, an ELMo of 70 minutes, --seeds 2, one shared core: SST-5 41.3 % with word vectors, ELMo alone 35.9, 39.3 and 38.1,
both 41.6, 43.5 and 43.1: the mix is better than the last layer, and adds a little to word vectors (42.9 over six runs). IMDb
73.4, ELMo alone 64.7, 67.8 and 67.3, both 66.4, 73.3 and 72.9 (docs/results.md).
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from experiments.results import Results, part_of
from unfreeze.datasets.dataset import ExampleSet
from unfreeze.registry import weights_digest
from unfreeze.tasks.settings import ClassifierSettings
from unfreeze.tasks.text_classifier import TextClassifier, fit_classifier
from unfreeze.text.examples import read_examples
from unfreeze.training.precision import choose_precision


@dataclass(frozen=True)
class Parts:
    """Training, validation and test examples."""

    train: ExampleSet
    dev: ExampleSet
    test: ExampleSet


def main() -> None:
    """Fit and evaluate each variant, and print a line for it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with sentences/ and imdb/")
    parser.add_argument("--elmo", required=True, help="folder of an ELMo model")
    parser.add_argument("--vectors", required=True, help="folder or file of word vectors")
    parser.add_argument("--runs", type=Path, required=True, help="folder for results")
    parser.add_argument("--set", nargs="+", choices=["sst5", "imdb"], default=["sst5", "imdb"])
    parser.add_argument("--labels", type=int, default=1000, help="training reviews of IMDb (default: 1,000)")
    parser.add_argument("--test", type=int, default=5000, help="test reviews of IMDb (default: 5,000)")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=1)
    arguments = parser.parse_args()
    results = Results(arguments.runs / "results.jsonl")
    for name in arguments.set:
        parts = sst5(arguments.data) if name == "sst5" else imdb(arguments)
        print(
            f"{name}: {len(parts.train):,} texts to learn from, {len(parts.dev):,} to choose the epoch, "
            f"{len(parts.test):,} to measure on; the most frequent class "
            f"has {100 * chance(parts.test):.1f} %",
            flush=True,
        )
        for form, settings in forms(arguments):
            rows = [
                results.measure(
                    part_of(name, arguments, "set", "seeds"),
                    form,
                    len(parts.train),
                    seed,
                    partial(measured, parts, replace(settings, seed=seed)),
                )
                for seed in range(arguments.seeds)
            ]
            print(said(form, rows), flush=True)


def forms(arguments: argparse.Namespace) -> Iterator[tuple[str, ClassifierSettings]]:
    """Arguments for the input of the biLSTM."""
    base = ClassifierSettings(
        encoder=arguments.elmo, body="bilstm", transfer="frozen", epochs=arguments.epochs
    )
    yield "word vectors", replace(base, encoder=arguments.vectors)
    for words, beside in {"": None, "word vectors and ": arguments.vectors}.items():
        with_words = replace(base, word_vectors=beside)
        yield f"{words}ELMo, last layer", replace(with_words, layers=-1)
        yield f"{words}ELMo, mix", with_words
        yield f"{words}ELMo, mix with L2 of .001", replace(with_words, mix_l2=0.001)


def measured(parts: Parts, settings: ClassifierSettings) -> dict[str, Any]:
    """Accuracy on the test texts, and the weights of the layers."""
    classifier, _ = fit_classifier(parts.train, settings, validation=parts.dev)
    cache_layers(classifier, settings, parts.test)
    accuracy = classifier.evaluate(parts.test).accuracy
    shares = [round(each, 2) for each in classifier.layer_weights.get("input", [])]
    return {"accuracy": round(accuracy, 5), "layers and gamma": shares}


def said(form: str, rows: list[dict[str, Any]]) -> str:
    """Format a variant: the mean over seeds, each seed, and the weights of the last one."""
    found = [100 * row["accuracy"] for row in rows]
    each = f" ({', '.join(f'{one:.1f}' for one in found)})" if len(found) > 1 else ""
    weights = " ".join(f"{one:.2f}" for one in rows[-1]["layers and gamma"])
    shown = f"; layers and gamma {weights}" if weights else ""
    seconds = sum(row["seconds"] for row in rows)
    return f"  {form}: {statistics.mean(found):.1f} %{each} in {seconds:.0f} s{shown}"


def cache_layers(classifier: TextClassifier, settings: ClassifierSettings, test: ExampleSet) -> None:
    """Compute the layers of the test texts once for all variants."""
    assert settings.encoder is not None
    weights = weights_digest(settings.encoder)
    half = choose_precision("auto", torch.device("cpu")) == "bf16"
    classifier.network.body.cache_layers(test.inputs(), weights, precision="bf16" if half else "fp32")


def chance(examples: ExampleSet) -> float:
    """Accuracy of the most frequent class."""
    labels = [example.labels for example in examples.examples]
    return max(labels.count(label) for label in set(labels)) / len(labels)


def sst5(data: Path) -> Parts:
    """All of SST-5, sentences only."""
    return Parts(
        *(read_examples(data / "sentences" / f"stsa.fine.{part}") for part in ("train", "dev", "test"))
    )


def imdb(arguments: argparse.Namespace) -> Parts:
    """Samples of reviews; a fifth of the training reviews is used for validation."""
    labeled = read_examples(arguments.data / "imdb" / "train.jsonl").sample(arguments.labels, 0)
    n_train = len(labeled) - len(labeled) // 5
    train = labeled.sample(n_train, 0)
    chosen = {example.input for example in train.examples}
    dev = replace(labeled, examples=[example for example in labeled.examples if example.input not in chosen])
    test = read_examples(arguments.data / "imdb" / "test.jsonl").sample(arguments.test, 0)
    return Parts(train, dev, test)


if __name__ == "__main__":
    main()
