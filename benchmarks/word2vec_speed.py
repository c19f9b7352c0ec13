"""word2vec beside gensim: words a second on the same words, and what the vectors of either know.

    benchmarks/.peers/bin/python -m benchmarks --data DATA --only word2vec

17 million words of enwiki-2015, in lower case and without words that occur less than five times, go to both: to ours as a
token store, to gensim as a file of one document a line (its fastest way, `corpus_file`). Skip-gram, 100 numbers, window 5, 5
negatives, subsampling 1e-3, 5 epochs. Words are counted before subsampling. The first rows are rounds of one epoch over 2
million words, ours first; then each side trains all epochs, and the similarity sets and analogies are asked of the vectors.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.report import Row
from benchmarks.texts import NoData, Texts
from benchmarks.turns import median_ratio
from unfreeze.analysis.analogies import evaluate_analogies, totals
from unfreeze.analysis.similarity import evaluate_pairs
from unfreeze.analysis.word_sets import read_sets
from unfreeze.formats.word_vectors import VectorTable
from unfreeze.pretraining.token_blocks import count_tokens
from unfreeze.pretraining.word2vec import Word2VecSettings, train_matrices, train_word_vectors
from unfreeze.text.corpus import stream_documents
from unfreeze.text.token_store import TokenStore
from unfreeze.text.tokenizers import TextTokenizer, train_tokenizer

N_WORDS, N_ROUND = 17_000_000, 2_000_000
SETTINGS = {"size": 100, "window": 5, "negatives": 5, "subsample": 1e-3}
EPOCHS = 5
RESTRICT = 30_000
"""Analogies are asked among so many words."""
LONGEST_LINE = 10_000
"""Words: gensim cuts longer ones silently."""
SETS = ("EN-WS-353-ALL", "EN-SIMLEX-999", "EN-MEN-TR-3k")


@dataclass(frozen=True)
class Corpus:
    """The same words for both sides."""

    tokenizer: TextTokenizer
    store: TokenStore
    file: Path
    n_words: int


def run(texts: Texts, rounds: int, threads: int, say: Callable[[str], None]) -> list[Row]:
    """Speeds with one thread and with all, then quality."""
    whole = corpus(texts, N_WORDS, say)
    part = corpus(texts, N_ROUND, say)
    rows = [speed(part, count, rounds) for count in dict.fromkeys((1, threads))]
    tables, speeds = [], []
    for name, train in (("ours", ours), ("gensim", gensim)):
        start = time.perf_counter()
        tables.append(train(whole, threads, EPOCHS))
        speeds.append(EPOCHS * whole.n_words / (time.perf_counter() - start))
        say(f"{name}: {EPOCHS} epochs over {whole.n_words:,} words in {time.perf_counter() - start:.0f} s")
    what = f"word2vec, {whole.n_words:,} words, {EPOCHS} epochs, {threads} threads, words/s"
    rows.append(Row(what=what, ours=speeds[0], theirs=speeds[1], ratio=speeds[0] / speeds[1], goal=">= 8"))
    return rows + quality(texts, *tables)


def corpus(texts: Texts, n_words: int, say: Callable[[str], None]) -> Corpus:
    """The first documents of Wikipedia that hold so many words."""
    folder = texts.folder / f"word2vec-{n_words}"
    folder.mkdir(parents=True)
    files = texts.wikipedia()[:-1]
    documents = list(_beginning(stream_documents(files), n_words))
    tokenizer = train_tokenizer(documents, vocabulary_size=200_000, min_count=5)
    start = time.perf_counter()
    store = TokenStore.build(documents, tokenizer, folder / "tokens")
    seconds = time.perf_counter() - start
    words = np.array(tokenizer.vocabulary, dtype=object)
    special = np.zeros(len(tokenizer), bool)
    special[list(tokenizer.special_ids)] = True
    count, path = 0, folder / "words.txt"
    with path.open("w", encoding="utf-8") as file:
        for number in range(store.n_documents):
            ids = np.asarray(store.document(number))
            ids = ids[~special[ids]]
            count += len(ids)
            for begin in range(0, len(ids), LONGEST_LINE):
                file.write(" ".join(words[ids[begin : begin + LONGEST_LINE]]) + "\n")
    say(f"{count:,} words of {len(tokenizer):,}; our token store was built in {seconds:.1f} s, once")
    return Corpus(tokenizer, store, path, count)


def _beginning(documents: Iterator[str], n_words: int) -> Iterator[str]:
    taken = 0
    for text in documents:
        if taken >= n_words:
            return
        taken += len(text.split())
        yield text


def ours(data: Corpus, threads: int, epochs: int) -> VectorTable:
    """`train_word_vectors`."""
    return train_word_vectors(data.store, data.tokenizer, workers=threads, epochs=epochs, **SETTINGS)


def gensim(data: Corpus, threads: int, epochs: int) -> VectorTable:
    """`gensim.models.Word2Vec`, its vocabulary made beforehand."""
    return Prepared(data, threads, epochs).train()


class Prepared:
    """A gensim model that knows its vocabulary: what is measured is training alone, as on our side."""

    def __init__(self, data: Corpus, threads: int, epochs: int) -> None:
        from gensim.models import Word2Vec

        self.data, self.epochs = data, epochs
        self.model = Word2Vec(
            vector_size=SETTINGS["size"],
            window=SETTINGS["window"],
            negative=SETTINGS["negatives"],
            sample=SETTINGS["subsample"],
            sg=1,
            min_count=1,
            workers=threads,
            epochs=epochs,
        )
        self.model.build_vocab(corpus_file=str(data.file))

    def train(self) -> VectorTable:
        """All epochs."""
        model = self.model
        model.train(
            corpus_file=str(self.data.file),
            total_words=model.corpus_total_words,
            total_examples=model.corpus_count,
            epochs=self.epochs,
        )
        return VectorTable(list(model.wv.index_to_key), model.wv.vectors)


def speed(data: Corpus, threads: int, rounds: int) -> Row:
    """Words a second of an epoch, in turns; on both sides the vocabulary and its counts are there."""
    counts, special = count_tokens(data.store, len(data.tokenizer)), data.tokenizer.special_ids
    settings = Word2VecSettings(epochs=1, **SETTINGS)

    def epoch() -> None:
        train_matrices(data.store, counts, settings, skip_ids=special, workers=threads)

    epoch()  # compiles
    found: dict[str, list[float]] = {"ours": [], "gensim": []}
    for _ in range(rounds):
        start = time.perf_counter()
        epoch()
        found["ours"].append(data.n_words / (time.perf_counter() - start))
        peer = Prepared(data, threads, 1)
        start = time.perf_counter()
        peer.train()
        found["gensim"].append(data.n_words / (time.perf_counter() - start))
    return Row(
        what=f"word2vec, {data.n_words:,} words, 1 epoch, {threads} thread{'s' * (threads > 1)}, words/s",
        ours=statistics.median(found["ours"]),
        theirs=statistics.median(found["gensim"]),
        ratio=median_ratio(found["ours"], found["gensim"]),
        goal=">= 8" if threads == 2 else "-",
    )


def quality(texts: Texts, mine: VectorTable, theirs: VectorTable) -> list[Row]:
    """Spearman's correlation on the sets of `SETS`, and the analogies' accuracy.

    Raises:
        NoData: the sets are not there.
    """
    folder = texts.data / "wordsim"
    if not folder.is_dir():
        raise NoData(f"{folder} is not there: name the data's folder with --data")
    sets, sections = read_sets(str(folder))
    wanted = [one for one in sets if one.name in SETS]
    rows = []
    for a, b in zip(evaluate_pairs(mine, wanted), evaluate_pairs(theirs, wanted), strict=True):
        rows.append(
            Row(
                what=f"{a.name}, Spearman ({a.n_missing} of {a.n_pairs} pairs missing)",
                ours=a.spearman,
                theirs=b.spearman,
            )
        )
    both = [totals(evaluate_analogies(table, sections, restrict=RESTRICT)) for table in (mine, theirs)]
    for a, b in zip(*both, strict=True):
        rows.append(Row(what=f"analogies, {a.name}, accuracy", ours=a.accuracy, theirs=b.accuracy))
    return rows
