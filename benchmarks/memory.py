"""Peak memory of `unfreeze pretrain lm` and `unfreeze embed` on a text and on one ten times as large.

    benchmarks/.peers/bin/python -m benchmarks --data DATA --only memory elmo-memory

`pretrain lm` runs as a user would start it, on one file of enwiki-2015 (25 MB) and on ten, with the tiny preset and the same
few seconds of training. The peak memory is the largest resident set size of any of its processes (the command or a worker), as
reported by the operating system.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from benchmarks.report import Row
from benchmarks.texts import Texts
from unfreeze.text.corpus import stream_documents
from unfreeze.text.words import split_sentences, word_texts

MINUTES = 0.1
"""Seconds of training."""
TIMES = 10
N_SENTENCES = 100_000
GOAL = 1.05


class Failed(Exception):
    """The command failed; the message is the end of its output."""


def run(texts: Texts, threads: int, say: Callable[[str], None]) -> list[Row]:
    """Measure both corpora."""
    files = texts.wikipedia()[:-1]
    peaks = []
    for corpus in (files[:1], files[:TIMES]):
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            command = ["pretrain", "lm", "--corpus", *map(str, corpus), "--preset", "tiny"]
            command += ["--minutes", str(MINUTES), "--output", f"{folder}/lm"]
            peaks.append(peak_megabytes(command, threads))
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


def run_embedding(texts: Texts, threads: int, say: Callable[[str], None]) -> list[Row]:
    """`unfreeze embed` of all layers on 10,000 and 100,000 sentences of Wikipedia, with a small ELMo with random weights."""
    from benchmarks.elmo_speed import Sides

    sides = Sides(texts, "small", texts.folder / "elmo")
    model = texts.folder / "elmo" / "model"
    sides.encoder.save_pretrained(model)
    peaks = []
    for count in (N_SENTENCES // TIMES, N_SENTENCES):
        sentences = texts.folder / "elmo" / f"{count}.txt"
        lines = islice(wikipedia_sentences(texts), count)
        sentences.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        output = sentences.with_suffix(".npz")
        start = time.perf_counter()
        command = ["embed", str(model), str(sentences), "--output", str(output), "--half", "--tokenized"]
        peaks.append(peak_megabytes(command, threads))
        size = output.stat().st_size / 1e6
        output.unlink()
        say(
            f"{count:,} sentences: at most {peaks[-1]:,.0f} MB, {time.perf_counter() - start:.0f} s, {size:,.0f} MB written"
        )
    small, large = peaks
    return [
        Row(
            what=f"embed, peak MB: {N_SENTENCES:,} sentences, and {N_SENTENCES // TIMES:,}",
            ours=large,
            theirs=small,
            ratio=large / small,
            goal=f"<= {GOAL}",
        )
    ]


def wikipedia_sentences(texts: Texts) -> Iterator[str]:
    """Write one tokenized sentence per line."""
    for text in stream_documents(texts.wikipedia()):
        for start, end in split_sentences(text):
            words = " ".join(word_texts(text[start:end]))
            if words:
                yield words


def peak_megabytes(arguments: Sequence[str], threads: int) -> float:
    """Run `unfreeze` with the given arguments and return its peak memory.

    Raises:
        Failed: the command failed.
    """
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "unfreeze", *arguments],
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        )
        # Not `getrusage`, which returns the maximum over all children of this process so far.
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            log.seek(0)
            raise Failed(log.read().decode(errors="replace")[-2000:])
    return usage.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)
