"""What `unfreeze contextuality` costs beside embedding the same sentences alone: time, and peak memory.

    python -m benchmarks.contextuality_speed [--data DATA] [--sentences N...] [--encoder NAME] [--rounds N] [--threads N] [--only memory time]

The sentences are the first different ones of Wikipedia, or generated ones where DATA has none. Time: `contextuality` with its figures and
intervals beside the encoder alone on the same batches (tokenized, all layers computed and copied to NumPy, nothing kept), in turns in one
process, in fp32. Memory: the whole verb, with its pictures and page, in a process of its own for each number of sentences; the peak is
the largest resident set size that the operating system reports.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from benchmarks.memory import peak_megabytes, wikipedia_sentences
from benchmarks.report import Row, machine, machine_line, table
from benchmarks.texts import NoData, Texts
from benchmarks.turns import median_ratio, rates_in_turns
from unfreeze.analysis.contextuality import contextuality
from unfreeze.analysis.contextuality_settings import ContextualitySettings
from unfreeze.datasets.batches import token_bounded_batches
from unfreeze.encoders.base import evaluating
from unfreeze.encoders.features import BATCH_WORDS, words_of
from unfreeze.encoders.text_encoder import TextEncoder
from unfreeze.encoders.word_vectors import open_encoder

TIME_GOAL, MEMORY_GOAL = 1.25, 1.1


def sentences(texts: Texts) -> Iterator[str]:
    """Different sentences: those of Wikipedia, or generated ones."""
    try:
        texts.wikipedia()
        source = wikipedia_sentences(texts)
    except NoData:
        source = generated_sentences()
    seen: set[int] = set()
    for text in source:
        if hash(text) not in seen:
            seen.add(hash(text))
            yield text


def generated_sentences() -> Iterator[str]:
    """Sentences without end, of 5 to 35 made-up words whose frequencies follow Zipf's law."""
    random = np.random.default_rng(0)
    syllables = [a + b for a in "bdfgklmnprstvz" for b in "aeiou"]
    while True:
        numbers = random.zipf(1.2, size=random.integers(5, 36)) % 100_000
        words = (
            "".join(syllables[n // len(syllables) ** p % len(syllables)] for p in range(3))
            for n in numbers.tolist()
        )
        yield " ".join(words) + "."


@torch.no_grad()
def embed_alone(encoder: TextEncoder, texts: Sequence[str], batches: Sequence[Sequence[int]]) -> None:
    """All layers of all words, as arrays that are thrown away."""
    with evaluating(encoder):
        for numbers in batches:
            layers, _ = encoder.word_layers(encoder.prepare([texts[number] for number in numbers]))
            for layer in layers:
                layer.float().cpu().numpy()


def same_batches(encoder: TextEncoder, texts: Sequence[str]) -> list[list[int]]:
    """The batches that `contextuality` makes."""
    pieces = map(encoder.tokenizer.encode, texts)
    lengths = [len(words_of(own.words, own.offsets, text)) for own, text in zip(pieces, texts, strict=True)]
    return list(token_bounded_batches(lengths, BATCH_WORDS))


def time_row(encoder: TextEncoder, name: str, texts: Sequence[str], rounds: int) -> Row:
    """Sentences a second with and without the measures, and the ratio of their times."""
    batches = same_batches(encoder, texts)
    calls = {
        "measures": lambda: contextuality(encoder, texts, ContextualitySettings()).figures(),
        "embed": lambda: embed_alone(encoder, texts, batches),
    }
    rates = rates_in_turns(calls, len(texts), rounds)
    return Row(
        what=f"{name}, {len(texts):,} sentences/s: contextuality, and embedding alone (ratio of the times)",
        ours=statistics.median(rates["measures"]),
        theirs=statistics.median(rates["embed"]),
        ratio=median_ratio(rates["embed"], rates["measures"]),
        goal=f"<= {TIME_GOAL}",
    )


def memory_row(name: str, corpora: dict[int, Path], threads: int) -> Row:
    """Peak memory of the verb on the most and on the fewest sentences."""
    peaks = []
    for count, corpus in corpora.items():
        with tempfile.TemporaryDirectory() as folder:
            # Each line is one sentence, but the verb may split some of them.
            command = ["contextuality", name, "--corpus", str(corpus), "--sentences", str(count), "--quiet"]
            peaks.append(peak_megabytes([*command, "--output", f"{folder}/found"], threads))
        print(f"{count:,} sentences: at most {peaks[-1]:,.0f} MB", flush=True)
    fewest, most = min(corpora), max(corpora)
    return Row(
        what=f"{name}, peak MB of contextuality: {most:,} sentences, and {fewest:,}",
        ours=peaks[-1],
        theirs=peaks[0],
        ratio=peaks[-1] / peaks[0],
        goal=f"<= {MEMORY_GOAL}",
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure memory, then time, and print a table."""
    home = os.environ.get("UNFREEZE_DATA", str(Path.home() / ".cache" / "unfreeze" / "data"))
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.contextuality_speed",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, default=Path(home), help="folder with enwiki-2015/*.txt")
    parser.add_argument("--sentences", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--encoder", default="wiki-small", help="a contextual encoder (default: wiki-small)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each comparison (default: 3)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="threads of torch")
    parser.add_argument("--only", nargs="+", choices=["memory", "time"], default=["memory", "time"])
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    print(machine_line(machine()), flush=True)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        corpora = {count: folder / f"{count}.txt" for count in sorted(options.sentences)}
        for count, path in corpora.items():
            with path.open("w", encoding="utf-8") as file:
                file.writelines(f"{text}\n" for text in islice(sentences(Texts(options.data, folder)), count))
        # Memory comes first, because a process inherits the peak of its parent, and this one grows.
        if "memory" in options.only:
            rows.append(memory_row(options.encoder, corpora, options.threads))
        if "time" in options.only:
            encoder = open_encoder(options.encoder)
            for path in corpora.values():
                texts = path.read_text(encoding="utf-8").splitlines()
                rows.append(time_row(encoder, options.encoder, texts, options.rounds))
    print(table(rows))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
