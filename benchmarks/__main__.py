"""Run all benchmarks: prints each measurement, then a table of ratios. Times are never asserted.

    make bench                                   (first installs the peers in benchmarks/.peers)
    benchmarks/.peers/bin/python -m benchmarks --data DATA [--only NAME...] [--rounds N] [--minutes M] [--threads N]

Takes about forty minutes with two threads. DATA is a folder with enwiki-2015/*.txt, imdb/test.jsonl and wordsim/ (default:
UNFREEZE_DATA); benchmarks whose data is missing are skipped and listed at the end. The exit status is 1 if converted fastai
models give other logits, if word vectors exchanged with gensim are not bitwise equal, or if AllenNLP's ELMo or a QRNN with
torch operations gives other results. The last column has the ratios of our QRNN to our LSTM.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

# Memory comes first, because a process inherits the peak of its parent, and this one grows. flair comes before AllenNLP,
# which replaces modules of transformers.
NAMES = (
    "memory",
    "parity",
    "vectors",
    "word2vec",
    "training-small",
    "training-paper",
    "perplexity",
    "prediction",
    "qrnn-layer",
    "crf",
    "tagging",
    "elmo-memory",
    "elmo-loop",
    "elmo-embedding",
    "elmo-training",
)
GROUPS = {
    "training": ("training-small", "training-paper"),
    "elmo": ("elmo-memory", "elmo-loop", "elmo-embedding", "elmo-training"),
}


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Command-line options."""
    home = os.environ.get("UNFREEZE_DATA", str(Path.home() / ".cache" / "unfreeze" / "data"))
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path(home), help="folder with the data sets")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each speed comparison (default: 5)")
    parser.add_argument(
        "--minutes",
        type=float,
        default=2.5,
        help="minutes that each side trains in the comparison of perplexities",
    )
    parser.add_argument("--threads", type=int, help="threads of torch (default: chosen by torch)")
    parser.add_argument("--only", nargs="+", choices=[*NAMES, *GROUPS], metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    options = parser.parse_args(arguments)
    if options.rounds < 1 or options.minutes <= 0 or (options.threads or 1) < 1:
        parser.error("--rounds and --threads are at least 1, --minutes is more than 0")
    asked = options.only or NAMES
    options.names = [name for name in NAMES if any(name in GROUPS.get(one, (one,)) for one in asked)]
    return options


def main() -> int:
    """Run the benchmarks and print the results."""
    options = parse()
    try:
        import fastai  # noqa: F401
    except ImportError:
        sys.exit(
            "fastai is not here: run benchmarks/setup, then benchmarks/.peers/bin/python -m benchmarks (make bench does both)"
        )
    warnings.filterwarnings("ignore", module="fastai|fastcore|fastprogress|torch")
    logging.getLogger("unfreeze").setLevel(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        return run(options, Path(folder))


def run(options: argparse.Namespace, folder: Path) -> int:
    """Run the selected benchmarks in the order of `NAMES`."""
    import torch

    from benchmarks import report
    from benchmarks.texts import NoData, Texts

    if options.threads:
        torch.set_num_threads(options.threads)
    facts, texts = report.machine(), Texts(options.data, folder)
    print(report.machine_line(facts), file=sys.stderr if options.json else sys.stdout, flush=True)
    rows: list[report.Row] = []
    skipped: dict[str, str] = {}
    started = time.monotonic()
    for name in options.names:
        say = _speaker(name, started, to_stderr=options.json)
        try:
            rows += measure(name, options, texts, say)
        except NoData as error:
            skipped[name] = str(error)
    if options.json:
        print(json.dumps(report.as_json(facts, rows, skipped)))
    else:
        print(
            "\n".join(["", report.table(rows), *(f"{name} skipped: {why}" for name, why in skipped.items())])
        )
    return int(any(row.failed for row in rows))


def measure(name: str, options: argparse.Namespace, texts: object, say: Callable[[str], None]) -> list:
    """Run one benchmark and return its rows."""
    import torch

    from benchmarks import (
        elmo_speed,
        fastai_parity,
        memory,
        prediction_speed,
        qrnn_layer,
        tagging_speed,
        time_to_perplexity,
        training_speed,
        vector_formats,
        word2vec_speed,
    )

    if name == "parity":
        return fastai_parity.run(say)
    if name == "vectors":
        return vector_formats.run(options.rounds, say)
    if name == "word2vec":
        return word2vec_speed.run(texts, options.rounds, torch.get_num_threads(), say)
    if name == "perplexity":
        return time_to_perplexity.run(texts, options.minutes, say)
    if name == "prediction":
        return prediction_speed.run(texts, options.rounds, say)
    if name == "qrnn-layer":
        return qrnn_layer.run(options.rounds, say)
    if name == "memory":
        return memory.run(texts, torch.get_num_threads(), say)
    if name in ("crf", "tagging"):
        return tagging_speed.run(name, texts, options.rounds, say)
    if name == "elmo-memory":
        return memory.run_embedding(texts, torch.get_num_threads(), say)
    if name.startswith("elmo"):
        return elmo_speed.run(name, texts, options.rounds, say)
    return training_speed.run(name, texts, options.rounds, say)


def _speaker(name: str, started: float, to_stderr: bool) -> Callable[[str], None]:
    """Print a line with the elapsed time and the name of a benchmark."""

    def say(text: str) -> None:
        passed = time.strftime("%M:%S", time.gmtime(time.monotonic() - started))
        print(f"[{passed}] {name}: {text}", file=sys.stderr if to_stderr else sys.stdout, flush=True)

    return say


if __name__ == "__main__":
    sys.exit(main())
