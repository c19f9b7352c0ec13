"""How long `unfreeze fit classifier` takes by default: the whole command, in a process of its own, with 100 reviews and no unlabeled text.

    python -m benchmarks.auto_speed [--data DATA] [--labels N...] [--rounds N] [--threads N]

The reviews are those of IMDb. The time is that of the wall clock, from the start of Python to its end, with everything that it imports.
"""

from __future__ import annotations

import argparse
import csv
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.report import Row, machine, machine_line, table
from unfreeze.datasets.dataset import ExampleSet
from unfreeze.text.examples import read_examples

GOAL = 20
"""Seconds with 100 reviews on two cores."""


def write_reviews(examples: ExampleSet, path: Path) -> None:
    """A table of texts and labels."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        writer.writerows([each.input, each.labels[0]] for each in examples.examples)


def seconds_of(train: Path, threads: int) -> float:
    """The time of one command."""
    with tempfile.TemporaryDirectory() as folder:
        line = ["fit", "classifier", "--train", str(train), "--output", f"{folder}/model", "--quiet"]
        start = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "unfreeze", *line],
            check=True,
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
            stdout=subprocess.DEVNULL,
        )
        return time.perf_counter() - start


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print a table."""
    home = os.environ.get("UNFREEZE_DATA", str(Path.home() / ".cache" / "unfreeze" / "data"))
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.auto_speed",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, default=Path(home), help="folder with imdb/train.jsonl")
    parser.add_argument("--labels", type=int, nargs="+", default=[100], help="numbers of reviews")
    parser.add_argument("--rounds", type=int, default=3, help="commands for each number (default: 3)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="threads of torch")
    options = parser.parse_args(arguments)
    print(machine_line(machine()), flush=True)
    reviews, rows = read_examples(options.data / "imdb" / "train.jsonl"), []
    with tempfile.TemporaryDirectory() as folder:
        for count in options.labels:
            train = Path(folder) / f"{count}.csv"
            write_reviews(reviews.sample(count, 0), train)
            found = [seconds_of(train, options.threads) for _ in range(options.rounds)]
            goal = f"< {GOAL}" if count == 100 else "-"
            what = f"fit classifier with {count:,} reviews, seconds (median of {len(found)})"
            rows.append(Row(what=what, ours=statistics.median(found), goal=goal))
    print(table(rows))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
