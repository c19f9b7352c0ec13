"""Exchange of word-vector files with gensim, bitwise, and the speed of loading them.

    benchmarks/.peers/bin/python -m benchmarks --only vectors

Exchange: words in several scripts and numbers of all magnitudes, in word2vec's binary and text formats (text is compared as
float32, as both write enough digits). Speed: MB/s for a generated file in the page cache, ours before gensim in each round.
"Mapped" is a second call of `open_word_vectors`. Both sides build a dictionary of the words.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from gensim.models import KeyedVectors

from benchmarks.report import Row
from benchmarks.turns import median_ratio
from unfreeze.vectors.cache import open_word_vectors
from unfreeze.vectors.reading import read_word_vectors
from unfreeze.vectors.table import VectorTable
from unfreeze.vectors.writing import write_word_vectors

SIZE = 300
N_WORDS = {".bin": 100_000, ".txt": 10_000}
N_EXCHANGED = 5_000


def run(rounds: int, say: Callable[[str], None]) -> list[Row]:
    """Number of differences, which must be zero, and speeds."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = [exchange(folder, suffix, say) for suffix in (".bin", ".txt")]
        for suffix, n_words in N_WORDS.items():
            path = folder / f"large{suffix}"
            write_word_vectors(path, made_up(n_words))
            rows += loading(path, rounds, say)
    return rows


def made_up(n_words: int) -> VectorTable:
    """Vectors similar to trained ones, and some of the smallest and largest numbers of float32."""
    random = np.random.default_rng(0)
    matrix = random.normal(size=(n_words, SIZE)).astype(np.float32)
    matrix[:: max(1, n_words // 100), :4] = [1e-45, 3.4e38, -0.0, 1 / 3]
    return VectorTable([f"{'word wörd слово 日本'.split()[n % 4]}_{n}" for n in range(n_words)], matrix)


def exchange(folder: Path, suffix: str, say: Callable[[str], None]) -> Row:
    """Number of vectors or words that differ after conversion to gensim and back."""
    ours, theirs, vectors = folder / f"ours{suffix}", folder / f"theirs{suffix}", made_up(N_EXCHANGED)
    write_word_vectors(ours, vectors)
    there = gensim_load(ours)
    there.save_word2vec_format(str(theirs), binary=suffix == ".bin", sort_attr="nothing")
    back = read_word_vectors(theirs)
    wrong = 0
    for words, matrix in ((there.index_to_key, there.vectors), (back.words, back.matrix)):
        same_bits = (matrix.view(np.int32) == vectors.matrix.view(np.int32)).all(axis=1)
        wrong += sum(
            not (a == b and same) for a, b, same in zip(words, vectors.words, same_bits, strict=True)
        )
    say(f"{suffix}: {wrong} of {2 * len(vectors):,} words or vectors differ")
    return Row(
        what=f"word vectors {suffix}, to gensim and back: how many differ",
        ratio=float(wrong),
        goal="0",
        failed=wrong > 0,
    )


def loading(path: Path, rounds: int, say: Callable[[str], None]) -> list[Row]:
    """Speed of reading and mapping a file in MB/s."""
    megabytes = path.stat().st_size / 1e6
    cache = path.parent / "cache"
    open_word_vectors(path, cache)
    readers: dict[str, Callable[[], Any]] = {
        "read": lambda: read_word_vectors(path).index,
        "mapped": lambda: open_word_vectors(path, cache).index,
        "gensim": lambda: gensim_load(path),
    }
    rates: dict[str, list[float]] = {name: [] for name in readers}
    for _ in range(rounds):
        for name, reader in readers.items():
            started = time.perf_counter()
            reader()
            rates[name].append(megabytes / (time.perf_counter() - started))
    medians = {name: statistics.median(some) for name, some in rates.items()}
    say(f"{path.suffix}: " + ", ".join(f"{name} {rate:,.0f} MB/s" for name, rate in medians.items()))
    return [
        Row(
            what=f"load word vectors {path.suffix}, {megabytes:.0f} MB: {name}, MB/s",
            ours=medians[name],
            theirs=medians["gensim"],
            ratio=median_ratio(rates[name], rates["gensim"]),
        )
        for name in ("read", "mapped")
    ]


def gensim_load(path: Path) -> KeyedVectors:
    """Load with gensim."""
    return KeyedVectors.load_word2vec_format(str(path), binary=path.suffix == ".bin")
