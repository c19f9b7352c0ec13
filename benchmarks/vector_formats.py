"""gensim reads the word vectors that we write and we those that gensim writes, to the bit; how fast each loads them.

    benchmarks/.peers/bin/python -m benchmarks --only vectors

Exchange: words of several scripts and numbers of all sizes, as word2vec binary and text (text is compared as float32:
both write as many digits as it takes). Speed: the same file, made here, in the page cache, ours before gensim in each
round; MB/s of the file. "Mapped" is `open_word_vectors` the second time, with a dictionary of the words on either side.
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
    """What differs, which must be nothing, and rates."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = [exchange(folder, suffix, say) for suffix in (".bin", ".txt")]
        for suffix, n_words in N_WORDS.items():
            path = folder / f"large{suffix}"
            write_word_vectors(path, made_up(n_words))
            rows += loading(path, rounds, say)
    return rows


def made_up(n_words: int) -> VectorTable:
    """Vectors as trained ones look, and some numbers that are as small and as large as float32 has them."""
    random = np.random.default_rng(0)
    matrix = random.normal(size=(n_words, SIZE)).astype(np.float32)
    matrix[:: max(1, n_words // 100), :4] = [1e-45, 3.4e38, -0.0, 1 / 3]
    return VectorTable([f"{'word wörd слово 日本'.split()[n % 4]}_{n}" for n in range(n_words)], matrix)


def exchange(folder: Path, suffix: str, say: Callable[[str], None]) -> Row:
    """How many vectors or words differ after the way to gensim and back."""
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
    """MB/s of one file, read and mapped."""
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
    """As gensim's users do."""
    return KeyedVectors.load_word2vec_format(str(path), binary=path.suffix == ".bin")
