"""Claim: n-gram models predict text worse than an LSTM, and higher orders help less and less.

Bigram, trigram and 5-gram models (interpolated modified Kneser-Ney) and the LSTM language model of `experiments.ulmfit_imdb`
are trained on the same 11 files of enwiki-2015 with the same 30,000 words, and evaluated on the same tokens, the
beginning of the held-out last file.

    python -m experiments.ngrams_against_lstm --data DATA --runs RUNS

2026-11-25, two cores of an AMD EPYC, 4 minutes: perplexity 148.96, 98.03, 86.15 and 52.60 (docs/results.md).
"""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path
from typing import Any

from experiments.imdb import Places
from unfreeze.pretraining.ngram import pretrain_ngram
from unfreeze.pretraining.settings import NgramSettings
from unfreeze.pretraining.unlabeled import Corpus
from unfreeze.progress import Progress

NAMES = {2: "bigram", 3: "trigram", 5: "5-gram"}
VOCABULARY = 30_000


def line(name: str, figures: dict[str, Any]) -> str:
    """Format a row of the table."""
    return f"| {name} | {figures['perplexity']:.2f} | {figures['bits_per_byte']:.3f} |"


def main() -> None:
    """Count n-grams where this is not done yet, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with enwiki-2015/")
    parser.add_argument("--runs", type=Path, required=True, help="folder for models and results")
    parser.add_argument("--lstm", type=Path, help="folder of the language model (default: RUNS/wiki-lm)")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    places = Places(arguments.data, arguments.runs)
    corpus = Corpus(paths=places.wikipedia, validation=[places.held_out_wikipedia])
    lines = ["| model | perplexity | bits per byte |", "|---|---:|---:|"]
    for order, name in NAMES.items():
        settings = NgramSettings(order=order, vocabulary_size=VOCABULARY)
        output = places.runs / f"ngram-{order}"
        _, metrics = pretrain_ngram(corpus, settings, output=output, progress=Progress())
        lines.append(line(name, metrics))
    lstm = arguments.lstm or places.runs / "wiki-lm"
    lines.append(line("LSTM", json.loads((lstm / "metrics.json").read_text(encoding="utf-8"))))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
