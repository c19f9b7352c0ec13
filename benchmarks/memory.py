"""Peak memory of `unfreeze pretrain lm` on a corpus and on one ten times as large.

    benchmarks/.peers/bin/python -m benchmarks --data DATA --only memory

The command runs as a user would start it, once on one file of enwiki-2015 (25 MB) and once on ten, with the tiny preset
and the same few seconds of training. What counts is the largest resident set of any of its processes (the command or a
worker), as the system reports it when the command has ended.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.report import Row
from benchmarks.texts import Texts

MINUTES = 0.1
"""Of training."""
TIMES = 10
GOAL = 1.05


class Failed(Exception):
    """The command did; the message is its last output."""


def run(texts: Texts, threads: int, say: Callable[[str], None]) -> list[Row]:
    """Both corpora, one after the other."""
    files = texts.wikipedia()[:-1]
    peaks = []
    for corpus in (files[:1], files[:TIMES]):
        start = time.perf_counter()
        peaks.append(peak_megabytes(corpus, threads))
        size = sum(path.stat().st_size for path in corpus) / 1e6
        say(f"{size:,.0f} MB of text: at most {peaks[-1]:,.0f} MB, {time.perf_counter() - start:.0f} s")
    small, large = peaks
    return [
        Row(
            what=f"pretrain lm, peak MB: {TIMES} times the text, and the text",
            ours=large,
            theirs=small,
            ratio=large / small,
            goal=f"<= {GOAL}",
        )
    ]


def peak_megabytes(corpus: Sequence[Path], threads: int) -> float:
    """Run the command on `corpus`.

    Raises:
        Failed: with what it said.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command = [sys.executable, "-m", "unfreeze", "pretrain", "lm", "--corpus", *map(str, corpus)]
        command += ["--preset", "tiny", "--minutes", str(MINUTES), "--output", str(folder / "lm")]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                command,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "OMP_NUM_THREADS": str(threads)},
            )
            # Not `getrusage`, whose figure is the largest of all children that this process ever had.
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise Failed((folder / "log").read_text(encoding="utf-8", errors="replace")[-2000:])
        return usage.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)
