"""word2vec compared with gensim and fastText's trainer: speed on the same words, and quality of the vectors.

    benchmarks/.peers/bin/python -m benchmarks --data DATA --only word2vec

Both sides get 17 million words of enwiki-2015, in lower case and without words that occur less than five times: ours as a
token store, gensim as a file with one document per line (its fastest input, `corpus_file`). Skip-gram with 100 dimensions,
window 5, 5 negative samples, subsampling 1e-3, 5 epochs. Words are counted before subsampling. The first rows are rounds of one
epoch over 2 million words, ours first. Then each side trains for all epochs, and the vectors are evaluated on similarity sets
and analogies: our word2vec, gensim, fastText (without n-grams, which is the same model; its time includes reading the words
once), and our GloVe with its default settings (window 10, 25 epochs).
"""

from __future__ import annotations

import importlib.util
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
from unfreeze.pretraining.glove.settings import GloveSettings
from unfreeze.pretraining.glove.train import train_glove_vectors
from unfreeze.pretraining.token_blocks import count_tokens
from unfreeze.pretraining.word2vec.settings import Word2VecSettings
from unfreeze.pretraining.word2vec.train import train_matrices, train_word_vectors
from unfreeze.text.corpus import stream_documents
from unfreeze.text.token_store import TokenStore
from unfreeze.text.tokenizers import TextTokenizer, train_tokenizer
from unfreeze.vectors.table import VectorTable

N_WORDS, N_ROUND = 17_000_000, 2_000_000
SETTINGS = {"size": 100, "window": 5, "negatives": 5, "subsample": 1e-3}
EPOCHS = 5
RESTRICT = 30_000
"""Number of words among which analogies are answered."""
LONGEST_LINE = 10_000
"""Maximum words per document, because gensim truncates longer ones without a warning."""
SETS = ("EN-WS-353-ALL", "EN-SIMLEX-999", "EN-MEN-TR-3k")


@dataclass(frozen=True)
class Corpus:
    """The same words for all sides."""

    tokenizer: TextTokenizer
    store: TokenStore
    file: Path
    n_words: int


Trainer = Callable[[Corpus, int, int], VectorTable]


@dataclass(frozen=True)
class Side:
    """Result of one trainer on all words."""

    name: str
    words_per_second: float
    knows: dict[str, float]
    """Results of `quality`."""


def run(texts: Texts, rounds: int, threads: int, say: Callable[[str], None]) -> list[Row]:
    """Measure the speed with one thread and with all, then the quality."""
    whole = corpus(texts, N_WORDS, say)
    part = corpus(texts, N_ROUND, say)
    rows = [speed(part, count, rounds) for count in dict.fromkeys((1, threads))]
    trainers = {"word2vec": ours, "gensim": gensim, "fastText": fasttext, "our GloVe": glove}
    if importlib.util.find_spec("fasttext") is None:
        say("fastText's trainer is not installed: benchmarks/setup says why")
        del trainers["fastText"]
    mine, *others = (train(name, trainer, whole, texts, threads, say) for name, trainer in trainers.items())
    what = f"word2vec, {whole.n_words:,} words, {EPOCHS} epochs, {threads} threads, words/s"
    for other in others:
        if other.name != "our GloVe":
            ratio = mine.words_per_second / other.words_per_second
            goal = ">= 8" if other.name == "gensim" else "-"
            figures = {"ours": mine.words_per_second, "theirs": other.words_per_second, "ratio": ratio}
            rows.append(Row(what=f"{what}, {other.name}", goal=goal, **figures))
        rows += [
            Row(what=f"{one}, {other.name}", ours=figure, theirs=other.knows[one])
            for one, figure in mine.knows.items()
        ]
    return rows


def train(
    name: str, trainer: Trainer, data: Corpus, texts: Texts, threads: int, say: Callable[[str], None]
) -> Side:
    """Train for all epochs on all words, then evaluate the vectors."""
    start = time.perf_counter()
    table = trainer(data, threads, EPOCHS)
    seconds = time.perf_counter() - start
    say(f"{name}: {data.n_words:,} words in {seconds:.0f} s")
    return Side(name, EPOCHS * data.n_words / seconds, quality(texts, table))


def corpus(texts: Texts, n_words: int, say: Callable[[str], None]) -> Corpus:
    """The first documents of Wikipedia with a given number of words."""
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
    """`gensim.models.Word2Vec`, with the vocabulary built beforehand."""
    return Prepared(data, threads, epochs).train()


def fasttext(data: Corpus, threads: int, epochs: int) -> VectorTable:
    """`fasttext.train_unsupervised` without character n-grams."""
    import fasttext as trainer

    model = trainer.train_unsupervised(
        str(data.file),
        model="skipgram",
        dim=SETTINGS["size"],
        ws=SETTINGS["window"],
        neg=SETTINGS["negatives"],
        t=SETTINGS["subsample"],
        lr=0.025,
        epoch=epochs,
        minCount=1,
        maxn=0,
        thread=threads,
        verbose=0,
    )
    words = [word for word in model.get_words() if word != "</s>"]
    return VectorTable(words, np.stack([model.get_word_vector(word) for word in words]))


def glove(data: Corpus, threads: int, epochs: int) -> VectorTable:
    """Our `train_glove_vectors`, with its own number of epochs over word pairs."""
    return train_glove_vectors(
        data.store, data.tokenizer, GloveSettings(size=SETTINGS["size"]), workers=threads
    )


class Prepared:
    """A gensim model with its vocabulary, so that only training is measured, as on our side."""

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
        """Train for all epochs."""
        model = self.model
        model.train(
            corpus_file=str(self.data.file),
            total_words=model.corpus_total_words,
            total_examples=model.corpus_count,
            epochs=self.epochs,
        )
        return VectorTable(list(model.wv.index_to_key), model.wv.vectors)


def speed(data: Corpus, threads: int, rounds: int) -> Row:
    """Words per second of an epoch, measured alternately; both sides have their vocabularies and counts already."""
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


def quality(texts: Texts, table: VectorTable) -> dict[str, float]:
    """Spearman's correlation on `SETS` and the accuracy on analogies, by their names in the table.

    Raises:
        NoData: the sets are missing.
    """
    folder = texts.data / "wordsim"
    if not folder.is_dir():
        raise NoData(f"{folder} is not there: name the data's folder with --data")
    sets, sections = read_sets(str(folder))
    pairs = evaluate_pairs(table, [one for one in sets if one.name in SETS])
    found = {f"{a.name}, Spearman ({a.n_missing} of {a.n_pairs} pairs missing)": a.spearman for a in pairs}
    analogies = totals(evaluate_analogies(table, sections, restrict=RESTRICT))
    return found | {f"analogies, {a.name}, accuracy": a.accuracy for a in analogies}
