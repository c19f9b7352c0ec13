"""Claim: vectors in context from a translator improve a task over word vectors alone, and more so with more translations (CoVe).

The same biattentive classification network reads word vectors of Wikipedia alone, or [vectors; CoVe] with the CoVe of a translator
that was trained on captions (Multi30k), on everyday sentences (Tatoeba), or on both, all for the same time; with one that reads
forward only; and with an untrained one, whose states know the context but not what matters of it. SST-2, TREC-6, SICK's entailment
(pairs of sentences), and IMDb with 1,000 labels. Prints the mean accuracy over seeds.

Every translator knows all words of the vector file, so that the forms differ in the states alone and not in the words that have a
vector; the share of the test texts' words without one is printed for each form.

    python -m experiments.cove_tasks --data DATA --vectors VECTORS --runs RUNS [--set sst2 trec sick imdb] [--minutes M] [--seeds N]

Translators and results are stored in RUNS: what is there is not computed again. The table is in docs/results.md.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from experiments.elmo_sentiment import cache_layers, chance
from experiments.results import Results, part_of, with_model
from experiments.translation import TASKS, settings_of
from unfreeze.datasets.dataset import ExampleSet
from unfreeze.encoders.cove import CoVe
from unfreeze.encoders.text_encoder import TextEncoder
from unfreeze.encoders.vector_source import open_vectors
from unfreeze.pretraining.translation.recipe import pretrain_cove
from unfreeze.progress import Progress
from unfreeze.tasks.settings import ClassifierSettings
from unfreeze.tasks.text_classifier import fit_classifier
from unfreeze.text.examples import example_set, read_examples
from unfreeze.text.text_inputs import single_texts
from unfreeze.training.loop import seed_everything

SIZE = 300
"""Hidden size of each direction, as in the paper."""
TRANSLATORS = {
    "multi30k": "captions",
    "tatoeba": "everyday sentences",
    "both": "both",
    "forward": "captions, forward only",
}
UNTRAINED = "untrained"


@dataclass(frozen=True)
class Parts:
    """Training, validation and test examples."""

    train: ExampleSet
    dev: ExampleSet
    test: ExampleSet


def sst2(data: Path) -> Parts:
    """Sentences of films' reviews, positive or negative."""
    return Parts(
        *(read_examples(data / "sentences" / f"stsa.binary.{part}") for part in ("train", "dev", "test"))
    )


def trec(data: Path) -> Parts:
    """Questions by what they ask for; a tenth of the training questions selects the epoch."""
    labeled = read_examples(data / "sentences" / "TREC.train", encoding="latin-1")
    dev = labeled.sample(len(labeled) // 10, 0)
    chosen = {id(example) for example in dev.examples}
    train = labeled.subset(example for example in labeled.examples if id(example) not in chosen)
    return Parts(train, dev, read_examples(data / "sentences" / "TREC.test", encoding="latin-1"))


def sick(data: Path) -> Parts:
    """Pairs of sentences: does the first one entail the second, contradict it, or neither?"""

    def part(name: str) -> ExampleSet:
        lines = (data / "sick" / name).read_text(encoding="utf-8").splitlines()
        rows = [line.split("\t") for line in lines[1:]]
        return example_set([(row[1], row[2]) for row in rows], [row[4].strip() for row in rows], name)

    return Parts(*map(part, ("SICK_train.txt", "SICK_trial.txt", "SICK_test_annotated.txt")))


def imdb(data: Path) -> Parts:
    """Reviews of films: 1,000 to learn from, 200 of them to select the epoch, and 2,000 of the test reviews."""
    labeled = read_examples(data / "imdb" / "train.jsonl").sample(1000, 0)
    test = read_examples(data / "imdb" / "test.jsonl").sample(2000, 0)
    return Parts(labeled.subset(labeled.examples[200:]), labeled.subset(labeled.examples[:200]), test)


SETS: dict[str, Callable[[Path], Parts]] = {"sst2": sst2, "trec": trec, "sick": sick, "imdb": imdb}


def translators(arguments: argparse.Namespace) -> dict[str, Path]:
    """The folders of the translators, trained now unless they are there, and that of an untrained encoder."""
    found = {}
    for name in TRANSLATORS:
        task, found[name] = TASKS[name](arguments.data), arguments.runs / f"cove-{name}"
        settings = replace(settings_of(name, arguments.minutes), hidden_size=SIZE)
        pretrain_cove(
            task.train,
            settings,
            output=found[name],
            validation=task.validation,
            word_vectors=arguments.vectors,
            progress=Progress(),
        )
    found[UNTRAINED] = arguments.runs / f"cove-{UNTRAINED}"
    if not found[UNTRAINED].exists():
        trained = CoVe.from_pretrained(found["multi30k"])
        seed_everything(0)
        random = CoVe(trained.tokenizer, **trained.arguments())
        random.words.load_state_dict(trained.words.state_dict())
        random.save_pretrained(found[UNTRAINED])
    return found


def forms(folders: dict[str, Path], hidden_size: int, epochs: int) -> dict[str, ClassifierSettings]:
    """What the network reads, and the settings for it."""
    base = ClassifierSettings(body="bcn", transfer="frozen", hidden_size=hidden_size, epochs=epochs)
    # Layer 0 are the vectors as the translator reads them, so that only the layer differs.
    found = {"vectors": replace(base, encoder=str(folders["multi30k"]), layers=0)}
    for name, what in {UNTRAINED: UNTRAINED, **TRANSLATORS}.items():
        found[f"[vectors; CoVe], {what}"] = replace(base, encoder=str(folders[name]))
    return found


def measured(parts: Parts, settings: ClassifierSettings) -> dict[str, Any]:
    """Accuracy on the test examples, and the share of their words that the encoder has no vector for."""
    classifier, _ = fit_classifier(parts.train, settings, validation=parts.dev)
    cache_layers(classifier, settings, parts.test)
    unknown = unknown_share(classifier.network.encoder, parts.test)
    return {"accuracy": round(classifier.evaluate(parts.test).accuracy, 5), "unknown": round(unknown, 5)}


def unknown_share(encoder: TextEncoder, examples: ExampleSet) -> float:
    """The share of the words that are unknown to the encoder."""
    ids = list(chain.from_iterable(encoder.piece_ids(single_texts(examples.inputs()))))
    return ids.count(encoder.tokenizer.unknown_id) / len(ids)


def main() -> None:
    """Fit and evaluate each form, and print a line for it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with the data sets")
    parser.add_argument("--vectors", required=True, help="folder or file of word vectors")
    parser.add_argument("--runs", type=Path, required=True, help="folder for translators and results")
    parser.add_argument("--set", nargs="+", choices=list(SETS), default=list(SETS))
    parser.add_argument(
        "--minutes", type=float, default=20.0, help="training of each translator (default: 20)"
    )
    parser.add_argument(
        "--hidden",
        type=int,
        default=100,
        help="hidden size of the classification network (default: 100; paper: 300)",
    )
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=2)
    arguments = parser.parse_args()
    n_vectors = open_vectors(arguments.vectors).size
    print(f"word vectors of width {n_vectors}; translators of {arguments.minutes:g} minutes each", flush=True)
    folders, results = translators(arguments), Results(arguments.runs / "results.jsonl")
    for name in arguments.set:
        parts = SETS[name](arguments.data)
        counts = f"{len(parts.train):,} to learn from, {len(parts.test):,} to measure on"
        print(f"{name}: {counts}; the most frequent class has {100 * chance(parts.test):.1f} %", flush=True)
        for form, settings in forms(folders, arguments.hidden, arguments.epochs).items():
            rows = [
                results.measure(
                    part_of(name, arguments, "set", "seeds"),
                    with_model(form, str(settings.encoder)),
                    len(parts.train),
                    seed,
                    partial(measured, parts, replace(settings, seed=seed)),
                )
                for seed in range(arguments.seeds)
            ]
            each = [100 * row["accuracy"] for row in rows]
            print(
                f"  {form}: {statistics.mean(each):.1f} % ({', '.join(f'{one:.1f}' for one in each)}); "
                f"{100 * rows[0]['unknown']:.2f} % of the words are unknown",
                flush=True,
            )


if __name__ == "__main__":
    main()
