"""Compare two commits of this project: processor time of one command of each kind, measured alternately.

    python -m benchmarks.commits BEFORE AFTER [--data DATA] [--rounds 10] [--only NAME...]

BEFORE and AFTER are checkouts. Each row is a complete process of `unfreeze`, including its start, with one thread and a fixed
amount of work; its time is the user and system time reported by the operating system. Commands have only options that
both commits know. Prints the median of the paired ratios BEFORE / AFTER with a 95 % bootstrap interval: above 1 the newer
commit is faster.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np

TRAINED = {
    "lstm": "pretrain lm --corpus wiki.txt --preset tiny --cell lstm --epochs 1 --precision fp32",
    "qrnn": "pretrain lm --corpus wiki.txt --preset tiny --cell qrnn --epochs 2 --precision bf16",
    "elmo": "pretrain elmo --corpus small.txt --preset tiny --epochs 1 --precision fp32",
    "word2vec": "pretrain word2vec --corpus wiki.txt --epochs 6 --workers 1",
    "glove": "pretrain glove --corpus wiki.txt --epochs 20 --workers 1",
    "ngram": "pretrain ngram --corpus wiki.txt",
    "classifier": "fit classifier --train reviews.csv --labels 100 --epochs 1 --precision fp32",
    "tagger": "fit tagger --train tagged.conll --encoder none --epochs 4 --precision fp32",
}
"""Commands that create a model in the folder of their name."""
USED = {
    "predict": "predict classifier --file reviews.csv --text-column text",
    "tag": "predict tagger --file lines.txt",
    "embed": "embed elmo lines.txt --pool mean",
    "score": "score lstm --file lines.txt --no-tokens",
    "evaluate ngram": "evaluate ngram wiki.txt",
}
"""Commands that use one of these models."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Time every kind of command and print a table."""
    home = os.environ.get("UNFREEZE_DATA", str(Path.home() / ".cache" / "unfreeze" / "data"))
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.commits",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("before", type=Path, help="checkout of the earlier commit")
    parser.add_argument("after", type=Path, help="checkout of the later commit")
    parser.add_argument(
        "--data", type=Path, default=Path(home), help="folder with enwiki-2015, imdb, conll2003"
    )
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--only", nargs="+", choices=[*TRAINED, *USED])
    options = parser.parse_args(arguments)
    print(f"{'command':16}{'before, s':>11}{'after, s':>10}{'median ratio':>14}   95 % interval", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        sides = {"before": options.before.resolve(), "after": options.after.resolve()}
        for side in sides:
            write_inputs(Path(folder, side), options.data)
        for name, words in {**TRAINED, **USED}.items():
            is_timed = options.only is None or name in options.only
            if not is_timed and name in USED:
                continue
            seconds: dict[str, list[float]] = {side: [] for side in sides}
            for number in range(options.rounds + 1 if is_timed else 1):
                # Whichever goes first may find the machine in another state, so the order changes too.
                for side in sorted(sides, reverse=number % 2 == 0):
                    spent = run(words.split(), name, sides[side], Path(folder, side))
                    if number:  # the first round compiles kernels and fills the disk's cache
                        seconds[side].append(spent)
            if is_timed:
                print(row(name, seconds["before"], seconds["after"]), flush=True)
    return 0


def run(command: list[str], name: str, checkout: Path, folder: Path) -> float:
    """Processor seconds of one command, started in `folder`; a model that it makes replaces that of the round before."""
    if name in TRAINED:
        shutil.rmtree(folder / name, ignore_errors=True)
        command = [*command, "--output", name]
    elif name == "embed":
        (folder / "embedded.npz").unlink(missing_ok=True)
        command = [*command, "--output", "embedded.npz"]
    environment = {
        **os.environ,
        "PYTHONPATH": str(checkout / "src"),
        "OMP_NUM_THREADS": "1",
        "UNFREEZE_CACHE": str(folder / "cache"),
        "HF_HUB_OFFLINE": "1",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "unfreeze", *command, "--quiet", "--json"],
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{checkout}: {' '.join(command)} ended with status {process.returncode}")
    return usage.ru_utime + usage.ru_stime


def row(name: str, before: list[float], after: list[float]) -> str:
    """Format a line of the table."""
    ratios = np.array(before) / np.array(after)
    samples = np.random.default_rng(0).choice(ratios, (10_000, len(ratios)))
    low, high = np.percentile(np.median(samples, axis=1), [2.5, 97.5])
    medians = (statistics.median(before), statistics.median(after))
    return f"{name:16}{medians[0]:11.2f}{medians[1]:10.2f}{np.median(ratios):14.3f}   {low:.3f} to {high:.3f}"


def write_inputs(folder: Path, data: Path) -> None:
    """Write the inputs for both sides: 0.6 MB of Wikipedia, 200 reviews, 600 tagged sentences."""
    import csv

    folder.mkdir(parents=True)
    with (data / "enwiki-2015" / "wiki-00.txt").open(encoding="utf-8") as file:
        text = file.read(600_000)
    text = text[: text.rindex("\n") + 1]
    (folder / "wiki.txt").write_text(text, encoding="utf-8")
    (folder / "small.txt").write_text(text[:150_000], encoding="utf-8")
    lines = [line for line in text.splitlines() if len(line) > 40][:200]
    (folder / "lines.txt").write_text("\n".join(line[:400] for line in lines) + "\n", encoding="utf-8")
    with (data / "imdb" / "test.jsonl").open(encoding="utf-8") as file:
        reviews = [json.loads(line) for line in islice(file, 0, 25_000, 125)]
    with (folder / "reviews.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["text", "label"])
        table.writerows([review["text"], review["label"]] for review in reviews)
    with (data / "conll2003" / "eng.train").open(encoding="utf-8") as file:
        (folder / "tagged.conll").write_text("".join(islice(file, 9_000)), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
