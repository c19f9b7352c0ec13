"""Claim: with ELMo a tagger needs a fraction of the labels (Peters et al. 2018 for semantic roles: 1 % as good as 10 % without).

Named entities of CoNLL-2003: the same biLSTM and CRF with a character CNN is trained on 1, 10 and 100 percent of the sentences,
with word vectors learned from the task, with vectors of Wikipedia, with a unidirectional language model, and with ELMo (the
last layer; the mix; the mix and Wikipedia's vectors). Encoders are frozen, validation sentences select the epoch, and F1
is on eng.testb.

    python -m experiments.elmo_tagging --data DATA --vectors VECTORS --runs RUNS [--elmo ELMO] [--lm LM] [--cove COVE] [--shares 1 10 100] [--seeds 3]

Results are stored in RUNS, and an existing result is not computed again.

2026-11-25, an ELMo of 70 minutes of Wikipedia, an hour of one shared core; F1 at 1 (three seeds), 10 and 100 percent: vectors learned
from the task 44.7, 69.1, 84.5; Wikipedia's 65.5, 80.7, 88.0; a language model 69.6, 81.4, 86.0; ELMo's last layer 69.4, 80.4, 85.0; its
mix 70.3, 80.8, 86.2; the mix and Wikipedia's vectors 73.0, 83.0, 88.6: 140 sentences are worth 18 times as many (docs/results.md).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from experiments.results import Results, part_of, table, with_model
from unfreeze.analysis.curves import Curve, plot_curves
from unfreeze.tasks.sequence_tagger import fit_tagger
from unfreeze.tasks.settings import TaggerSettings
from unfreeze.text.tagged import TaggedSet, read_tagged


def main() -> None:
    """Fit and evaluate each variant, and print a line for it and a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with conll2003/")
    parser.add_argument("--elmo", help="folder of an ELMo model (default: the lines with ELMo are left out)")
    parser.add_argument("--vectors", required=True, help="folder or file of word vectors")
    parser.add_argument("--runs", type=Path, required=True, help="folder for results and the plot")
    parser.add_argument("--lm", help="language model trained by `unfreeze pretrain lm`")
    parser.add_argument("--cove", help="translator trained by `unfreeze pretrain cove`")
    parser.add_argument(
        "--shares", type=float, nargs="+", default=[1, 10, 100], help="percentages of the training sentences"
    )
    parser.add_argument(
        "--seeds", type=int, default=3, help="number of seeds at 1 percent (default: 3); one otherwise"
    )
    parser.add_argument("--validation", type=int, default=1000, help="validation sentences (default: 1,000)")
    parser.add_argument(
        "--updates", type=int, help="maximum number of updates per fit (default: that of `fit tagger`)"
    )
    arguments = parser.parse_args()
    folder = arguments.data / "conll2003"
    train, dev, test = (read_tagged(folder / name) for name in ("eng.train", "eng.testa", "eng.testb"))
    dev = dev.sample(arguments.validation, 0)
    print(f"{len(dev):,} sentences choose the epoch, {len(test):,} are measured on", flush=True)
    results = Results(arguments.runs / "results.jsonl")
    part = part_of("tagging", arguments, "shares", "seeds", "cove")
    for share in arguments.shares:
        count = round(len(train) * share / 100)
        for name, settings in forms(arguments):
            for seed in range(arguments.seeds if share <= 1 else 1):
                own = replace(settings, seed=seed, epochs=epochs(arguments.updates, settings, count))
                results.measure(part, name, count, seed, partial(measured, train, dev, test, count, own))
    curves = results.curves(part, "f1")
    print(table(curves))
    plain, *others = curves
    for curve in others:
        print(saved(plain, curve))
    plot_curves(curves, arguments.runs / "elmo-tagging.png", title="Named entities in CoNLL-2003", what="F1")


def epochs(updates: int | None, settings: TaggerSettings, count: int) -> int | None:
    """Number of epochs for a number of updates; None for the default of the tagger."""
    return None if updates is None else max(1, round(updates * settings.batch_size / count))


def saved(plain: Curve, curve: Curve) -> str:
    """How many sentences the plain tagger needs for the F1 that this one reaches with the fewest."""
    count = curve.counts[0]
    needed = plain.labels_for(curve.mean(count))
    times = (
        f"more than {plain.counts[-1]:,}" if needed is None else f"{needed:,.0f}: {needed / count:.1f} times"
    )
    if plain.mean(count) >= curve.mean(count):
        times = "no more"
    return (
        f"{curve.name} with {count:,} sentences: F1 {100 * curve.mean(count):.1f}; {plain.name} need {times}"
    )


def forms(arguments: argparse.Namespace) -> Iterator[tuple[str, TaggerSettings]]:
    """Arguments for the input of the biLSTM."""
    yield "the task's own vectors", TaggerSettings(encoder="none")
    yield "Wikipedia's vectors", TaggerSettings(encoder=arguments.vectors)
    if arguments.lm is not None:
        yield "a language model of one direction", TaggerSettings(encoder=arguments.lm)
    if arguments.cove is not None:
        form = with_model("CoVe's vectors and top layer", arguments.cove)
        yield form, TaggerSettings(encoder=arguments.cove)
    if arguments.elmo is None:
        return
    yield "ELMo, last layer", TaggerSettings(encoder=arguments.elmo, layers=-1)
    yield "ELMo, mix", TaggerSettings(encoder=arguments.elmo)
    yield (
        "ELMo, mix, and Wikipedia's vectors",
        TaggerSettings(encoder=arguments.elmo, word_vectors=arguments.vectors),
    )


def measured(
    train: TaggedSet, dev: TaggedSet, test: TaggedSet, count: int, settings: TaggerSettings
) -> dict[str, Any]:
    """F1 on the test sentences after training on a sample, and the weights of the layers."""
    tagger, _ = fit_tagger(train.sample(count, settings.seed), settings, validation=dev)
    tagger.precision = "auto"
    f1 = tagger.evaluate(test).f1
    assert f1 is not None
    return {"f1": round(f1, 5), "layers and gamma": rounded(tagger.layer_weights.get("input", []))}


def rounded(weights: list[float]) -> list[float]:
    """To show."""
    return [round(each, 2) for each in weights]


if __name__ == "__main__":
    main()
