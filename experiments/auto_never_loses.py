"""Claim: the default of `fit classifier` (`encoder="auto"`) is at least as good as the best of its rungs and as TF-IDF, on every task.

Reviews of films with their unlabeled reviews (IMDb), of electronics, books and DVDs with the rest of their texts as unlabeled ones
(Amazon), sentences of reviews (SST-2), questions by what they ask for (TREC, 6 and 50 classes), news (AG), and generated reviews with
several labels a text. With 100, 500 and 1,000 labels: the ensemble, each of its rungs alone, TF-IDF with logistic regression as
`tasks.baselines` has it, and with `--slow` a fine-tuned language model (ULMFiT without adapting) and a biLSTM from scratch. The last
column is the difference of the ensemble from the best of all others in that row (chosen by its accuracy on the test texts, which favors
it), with its 95 % bootstrap interval over seeds and test texts.

    OMP_NUM_THREADS=1 python -m experiments.auto_never_loses --data DATA --runs RUNS [--set electronics trec-6] [--labels 100] [--seeds 10]

With 100 labels it is the best on five of the seven sets that were run; it is 0.2 points behind on the remarks with several labels and 0.6 on books,
where the claim does not hold: the interval reaches to -3.2.

Word vectors of unlabeled text are trained once for each set; results are stored in RUNS, and what is there is not computed again. The
table is in docs/results.md.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from experiments.results import Results
from unfreeze.analysis.intervals import paired_difference
from unfreeze.datasets.dataset import ExampleSet
from unfreeze.progress import Progress
from unfreeze.tasks.auto import choose
from unfreeze.tasks.baselines import fit_tfidf
from unfreeze.tasks.classification import make_targets
from unfreeze.tasks.classifier_network import ClassifierNetwork
from unfreeze.tasks.ensemble import Member
from unfreeze.tasks.settings import ClassifierSettings
from unfreeze.tasks.text_classifier import fit_classifier
from unfreeze.text.examples import example_set, read_examples

TEST, SEED = 1_000, 777
"""Texts to measure on, at most, and the seed of all splits."""
SEEDS = {100: 10, 500: 3, 1_000: 2}
AUTO, TFIDF = "auto", "TF-IDF baseline"
SLOW = {
    "ULMFiT": ClassifierSettings(encoder="wiki-small"),
    "from scratch": ClassifierSettings(encoder="none"),
}


@dataclass(frozen=True)
class Task:
    """Labeled texts to draw from, texts to measure on, and files of unlabeled text."""

    train: ExampleSet
    test: ExampleSet
    unlabeled: tuple[str, ...] | None = None


def imdb(data: Path, runs: Path) -> Task:
    """Reviews of films."""
    train, test = (read_examples(data / "imdb" / f"{part}.jsonl") for part in ("train", "test"))
    return Task(train, test.sample(TEST, SEED), (str(data / "imdb" / "unsupervised.jsonl"),))


def amazon(domain: str, data: Path, runs: Path) -> Task:
    """Reviews of products; the texts of all three kinds are unlabeled text, without those that are measured on."""
    labeled = read_examples(data / "amazon-reviews" / f"{domain}.jsonl")
    test = labeled.sample(TEST, SEED)
    taken = set(test.inputs())
    train = labeled.subset(each for each in labeled.examples if each.input not in taken)
    place = runs / f"unlabeled-{domain}.jsonl"
    if not place.is_file():
        texts = [
            text
            for path in sorted((data / "amazon-reviews").glob("*.jsonl"))
            for text in read_examples(path).inputs()
            if text not in taken
        ]
        place.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    return Task(train, test, (str(place),))


def sentences(train: str, test: str, coarse: bool, data: Path, runs: Path) -> Task:
    """Tokenized sentences with their labels, of which `coarse` keeps the part before the colon; no test labels that training lacks."""
    found = []
    for name in (train, test):
        read = read_examples(data / "sentences" / name, encoding="latin-1")
        labels = [each.labels[0].split(":")[0] if coarse else each.labels[0] for each in read.examples]
        found.append(example_set(read.inputs(), labels, read.source))
    known = set(found[0].label_names)
    return Task(found[0], found[1].subset(each for each in found[1].examples if each.labels[0] in known))


def ag_news(data: Path, runs: Path) -> Task:
    """News by their topic."""
    train, test = (read_examples(data / "ag-news" / f"{part}.csv") for part in ("train-10k", "test"))
    return Task(train, test.sample(TEST, SEED))


def several(data: Path, runs: Path) -> Task:
    """Generated remarks on several things at once: a label for each thing that is praised, and one for each that is not."""
    generator = random.Random(SEED)
    things = {
        "food": (("soup", "pasta", "bread"), ("tasty", "fresh", "spicy"), ("bland", "cold", "burnt")),
        "staff": (("waiter", "cook", "host"), ("friendly", "patient", "quick"), ("rude", "slow", "bored")),
        "place": (("room", "terrace", "view"), ("cozy", "bright", "calm"), ("noisy", "dirty", "cramped")),
    }
    texts, labels = [], []
    for _ in range(3_000):
        parts, own = [], []
        for thing in generator.sample(sorted(things), generator.randint(1, 3)):
            nouns, *words = things[thing]
            bad = generator.random() < 0.5
            word = generator.choice(words[bad != (generator.random() < 0.05)])
            parts.append(f"the {generator.choice(nouns)} was {word}")
            own.append(f"{thing}: {'bad' if bad else 'good'}")
        texts.append(" and ".join(parts))
        labels.append(own)
    everything = example_set(texts, labels, "generated remarks")
    return Task(everything.subset(everything.examples[TEST:]), everything.subset(everything.examples[:TEST]))


SETS: dict[str, Callable[[Path, Path], Task]] = {
    "imdb": imdb,
    **{domain: partial(amazon, domain) for domain in ("electronics", "books", "dvd")},
    "sst-2": partial(sentences, "stsa.binary.train", "stsa.binary.test", False),
    "trec-6": partial(sentences, "TREC.train", "TREC.test", True),
    "trec-50": partial(sentences, "TREC.train", "TREC.test", False),
    "ag": ag_news,
    "several": several,
}


class Measured:
    """Measures networks on the test texts of a task; the features of frozen encoders are computed once.

    Args:
        test: the texts.
    """

    def __init__(self, test: ExampleSet) -> None:
        self.test = test
        self.features: dict[str, Any] = {}

    @torch.no_grad()
    def probabilities(self, member: Member) -> Tensor:
        """(n, K)."""
        if not isinstance(member.network, ClassifierNetwork):
            return member.network.classify(self.test.inputs())[0]
        if member.name not in self.features:
            body = member.network.body
            self.features[member.name] = member.network.read_all(body.inputs(self.test.inputs()))
        return member.network.probabilities(self.features[member.name])

    def right(self, probabilities: NDArray[Any], label_names: Sequence[str]) -> str:
        """Whether the label of each test text is right, all labels where there may be several: a 0 or 1 for each."""
        if self.test.multi_label:
            targets = make_targets(self.test, label_names, multi_label=True).numpy()
            found = ((probabilities >= 0.5) == (targets > 0)).all(1)
        else:
            best = [label_names[number] for number in probabilities.argmax(1)]
            found = np.array(
                [(one,) == each.labels for one, each in zip(best, self.test.examples, strict=True)]
            )
        return "".join(str(int(each)) for each in found)


def of_auto(task: Task, measure: Measured, count: int, seed: int) -> dict[str, Any]:
    """The ensemble, its rungs, and the baseline of TF-IDF: for each, which test texts it gets right."""
    train = task.train.sample(count, seed)
    choice = choose(train, ClassifierSettings(unlabeled=task.unlabeled, seed=seed), Progress())
    names = train.label_names
    found = {each.member.name: measure.probabilities(each.member) for each in choice.fitted}
    right = {name: measure.right(own.numpy(), names) for name, own in found.items()}
    own = [found[member.name] for member in choice.network.members]
    right[AUTO] = measure.right(choice.network.combine(own).numpy(), names)
    if not train.multi_label:
        baseline = fit_tfidf(train)
        right[TFIDF] = measure.right(baseline.predict_proba(task.test.inputs()), baseline.label_names)
    facts = choice.metrics()
    return {
        "right": right,
        "accuracy": right[AUTO].count("1") / len(task.test),
        "cross_validated": facts["cross_validated_accuracy"],
        "calibration_error": facts["calibration_error"],
        "weights": {row["name"]: row["weight"] for row in facts["considered"][:-1]},
    }


def of_slow(
    settings: ClassifierSettings, name: str, task: Task, measure: Measured, count: int, seed: int
) -> dict[str, Any]:
    """A network that is trained."""
    train = task.train.sample(count, seed)
    classifier, _ = fit_classifier(train, replace(settings, seed=seed))
    right = measure.right(classifier.predict_proba(task.test.inputs()), classifier.label_names)
    return {"right": {name: right}, "accuracy": right.count("1") / len(task.test)}


def row_of(name: str, count: int, rows: Sequence[dict[str, Any]]) -> str:
    """A row of the table, from the results of all seeds: the accuracy of each method, and what the ensemble gains over the best."""
    scores = {
        method: np.array([list(map(int, row["right"][method])) for row in rows if method in row["right"]])
        for method in dict.fromkeys(method for row in rows for method in row["right"])
    }
    others = {method: own.mean() for method, own in scores.items() if method != AUTO}
    best = max(others, key=lambda method: others[method])
    n_seeds = len(scores[best])  # slow methods may have fewer
    gain = paired_difference(100 * scores[AUTO][:n_seeds], 100 * scores[best])
    each = ", ".join(f"{method} {100 * value:.1f}" for method, value in others.items())
    low, high = (f"{end:+.1f}" for end in (gain.low, gain.high))
    return (
        f"| {name} | {count:,} | {len(scores[AUTO])} | **{100 * scores[AUTO].mean():.1f}** | {best} {100 * others[best]:.1f} | "
        f"{gain.mean:+.1f} [{low}, {high}] | {each} |"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Compute what is missing, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with the data sets")
    parser.add_argument("--runs", type=Path, required=True, help="folder for results")
    parser.add_argument("--set", nargs="+", choices=list(SETS), default=list(SETS))
    parser.add_argument("--labels", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument(
        "--seeds", type=int, help="for each number of labels (default: 10 with 100, 3 with 500, 2 with 1,000)"
    )
    parser.add_argument("--slow", action="store_true", help="also train networks, with the first two seeds")
    options = parser.parse_args(arguments)
    options.runs.mkdir(parents=True, exist_ok=True)
    results = Results(options.runs / "results.jsonl")
    lines = [
        "| task | labels | seeds | auto | best of the others | auto - best | others |",
        "|---|---:|---:|---:|---|---:|---|",
    ]
    for name in options.set:
        task = SETS[name](options.data, options.runs)
        measure = Measured(task.test)
        for count in options.labels:
            if count > len(task.train):
                continue
            rows = []
            for seed in range(options.seeds or SEEDS.get(count, 2)):
                run = partial(of_auto, task, measure, count, seed)
                rows.append(results.measure(name, AUTO, count, seed, run))
                for slow, settings in SLOW.items() if options.slow and seed < 2 else ():
                    run = partial(of_slow, settings, slow, task, measure, count, seed)
                    rows.append(results.measure(name, slow, count, seed, run))
            lines.append(row_of(name, count, rows))
            print("\n".join(["", *lines]), flush=True)


if __name__ == "__main__":
    main()
