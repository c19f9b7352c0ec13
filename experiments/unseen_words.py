"""Claim: a model of characters has vectors for words that its text lacked, and tags names with such words better.

From some files of Wikipedia, all sentences with one of 300 words of similarity sets are dropped, so that these words are unseen. Skip-gram
vectors with and without character n-grams are trained on the rest, and on all sentences for comparison. Then three questions:

1. Misspellings of frequent words (one swapped, dropped, doubled or replaced letter; none occurs in the text): the rank of the word
   by cosine among 20,000 frequent words, the mean reciprocal rank and the share of words that are first or among the first ten.
2. Pairs with an unseen word: Spearman's correlation with human judgments, and that of vectors which saw the word.
3. Named entities of CoNLL-2003 with few labeled sentences: F1 of spans whose words all occur in these sentences, and of the others,
   split by whether the plain vectors have all of their words. Only the vectors differ; both are of words in lower case. A tagger that
   learns characters itself is a line of its own.

N-grams in common, without any training, are the baseline of the first two. With --elmo, ELMo's character convolution (layer 0, which does not
depend on the sentence) is measured too. It has read other text, unless it was trained on RUNS/.../without.txt: the words that its vocabulary has
are counted. Words are compared in lower case, which is a handicap for ELMo with names. Intervals hold 95 % of the bootstrap samples, of words in 1
and 2, of test sentences and seeds in 3.

    python -m experiments.unseen_words --data DATA --runs RUNS [--elmo ELMO] [--files 2] [--seeds 2]

Models and results of taggers are stored in RUNS; rerun the command to resume.

2026-11-29, without ELMo, 10 minutes of one core of a Xeon: misspelled words are first for 41.9 % by vectors of n-grams and for 57.5 % by n-grams in
common; correlation .266 unseen and .373 seen; F1 of names without a plain vector 63.4 with n-grams and 58.7 without (docs/results.md).
"""

from __future__ import annotations

import argparse
import json
import string
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.feature_extraction.text import HashingVectorizer

from experiments.imdb import Places
from experiments.results import Results, part_of
from experiments.unseen_names import DRAWS, VOCABULARY, measured, print_names, taggers
from unfreeze.analysis.geometry import Estimate, Numbers, drawn_means, unit
from unfreeze.analysis.similarity import spearman
from unfreeze.analysis.word_sets import PairSet, read_pairs
from unfreeze.display import aligned
from unfreeze.encoders.elmo import Elmo
from unfreeze.encoders.word_vectors import WordVectors
from unfreeze.errors import UserError
from unfreeze.folders import written_file
from unfreeze.pretraining.unlabeled import Corpus
from unfreeze.pretraining.word2vec.recipe import pretrain_word2vec
from unfreeze.pretraining.word2vec.settings import VectorSettings
from unfreeze.progress import Progress
from unfreeze.text.corpus import stream_documents
from unfreeze.text.rules import normalized
from unfreeze.text.tagged import read_tagged
from unfreeze.text.words import split_sentences, word_texts

SETS = (
    "EN-MEN-TR-3k",
    "EN-MTurk-771",
    "EN-RW-STANFORD",
    "EN-SIMLEX-999",
    "EN-SimVerb-3500",
    "EN-WS-353-ALL",
)
"""Similarity sets that do not contain each other."""
COUNTS = 20, 200
"""Occurrences of the words that are removed: enough to learn from, and too few to remove much of the text."""
CANDIDATES = 20_000
"""Frequent words among which neighbors are searched."""
FREQUENT, SHORTEST, N_MISSPELLED = 5_000, 5, 1_000
"""Misspelled are words of at least five letters, among the most frequent ones."""
KINDS = ("swap", "drop", "double", "replace")
NGRAMS = 3, 6
N_SHOWN, N_NEIGHBORS = 3, 5
Reader = Callable[[Sequence[str]], Any]
"""Words -> a dense or sparse matrix (N, D) with rows of length 1."""


@dataclass(frozen=True)
class Chosen:
    """The words of the experiment."""

    unseen: list[str]
    """Words whose sentences are dropped."""
    common: list[str]
    """The candidates, by falling frequency."""
    misspelled: list[tuple[str, str, str]]
    """A misspelling, its word, and the kind of edit."""
    sentences: tuple[int, int]
    """How many sentences were dropped, and how many there were."""


def prepare(files: Sequence[Path], sets: Sequence[PairSet], place: Path, n_words: int) -> Chosen:
    """Choose words and write without.txt, the text without the unseen ones; what exists in `place` is kept."""
    path = place / "words.json"
    if not path.exists():
        counts: Counter[str] = Counter()
        for text in stream_documents(files):
            counts.update(word_texts(text))
        unseen, common, misspelled = choose(folded(counts), sets, n_words)
        sentences = write_without(files, set(unseen), place / "without.txt")
        with written_file(path) as temporary:
            temporary.write_text(json.dumps(asdict(Chosen(unseen, common, misspelled, sentences))))
    return Chosen(**json.loads(path.read_text()))


def folded(counts: Mapping[str, int]) -> Counter[str]:
    """Occurrences of normalized words."""
    found: Counter[str] = Counter()
    for word, count in counts.items():
        found[normalized(word)] += count
    return found


def choose(
    counts: Counter[str], sets: Sequence[PairSet], n_words: int
) -> tuple[list[str], list[str], list[tuple[str, str, str]]]:
    """The unseen words, the candidates and the misspellings, by a fixed seed.

    Args:
        counts: occurrences of each word in the text.
    """
    random, (least, most) = Random(0), COUNTS
    in_sets = {normalized(word) for each in sets for pair in each.pairs for word in pair}
    rare = sorted(word for word in in_sets if word.isalpha() and least <= counts[word] <= most)
    unseen = random.sample(rare, min(n_words, len(rare)))
    by_frequency = [word for word, _ in counts.most_common() if word.isascii() and word.isalpha()]
    common = [word for word in by_frequency if word not in set(unseen)][:CANDIDATES]
    long = [word for word in common[:FREQUENT] if len(word) >= SHORTEST and len(set(word)) > 1]
    misspelled = []
    for number, word in enumerate(random.sample(long, min(N_MISSPELLED, len(long)))):
        kind = KINDS[number % len(KINDS)]
        wrong = misspelling(word, kind, random)
        if wrong not in counts:  # others are words of the text
            misspelled.append((wrong, word, kind))
    return unseen, common, misspelled


def misspelling(word: str, kind: str, random: Random) -> str:
    """A word with one edit at a random place; a swap needs two different letters."""
    at = random.randrange(len(word))
    if kind == "swap":
        at = random.choice([n for n in range(len(word) - 1) if word[n] != word[n + 1]])
        return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    other = random.choice([letter for letter in string.ascii_lowercase if letter != word[at]])
    return word[:at] + {"drop": "", "double": 2 * word[at], "replace": other}[kind] + word[at + 1 :]


def write_without(files: Sequence[Path], unseen: Collection[str], output: Path) -> tuple[int, int]:
    """Write a document per line, without the sentences that have an unseen word; how many those are, and how many there were."""
    removed, n_dropped, n_sentences = set(unseen), 0, 0
    with written_file(output) as temporary, temporary.open("w", encoding="utf-8") as file:
        for text in stream_documents(files):
            sentences = [text[start:end] for start, end in split_sentences(text)]
            kept = [each for each in sentences if removed.isdisjoint(map(normalized, word_texts(each)))]
            n_sentences, n_dropped = n_sentences + len(sentences), n_dropped + len(sentences) - len(kept)
            if kept:
                file.write(" ".join(" ".join(kept).split()) + "\n")
    return n_dropped, n_sentences


def train(paths: Sequence[Path], output: Path, ngrams: tuple[int, int] | None) -> WordVectors:
    """Skip-gram vectors of 100 dimensions, with one worker, so that they are always the same."""
    settings = VectorSettings(ngrams=ngrams, vocabulary_size=VOCABULARY)
    corpus = Corpus(paths=paths)
    return pretrain_word2vec(
        corpus, settings, output=output, workers=1, without_output=True, progress=Progress()
    )[0]


# Vectors of single words


def read_spelling(words: Sequence[str]) -> Any:
    """Counts of character n-grams, the borders included: a sparse matrix (N, buckets)."""
    counter = HashingVectorizer(analyzer="char_wb", ngram_range=NGRAMS, alternate_sign=False)
    return counter.transform(words)


def read_vectors(vectors: WordVectors, words: Sequence[str]) -> Numbers:
    """Vectors of words, composed of n-grams where they are unseen: (N, D)."""
    return unit(vectors[words])


@torch.no_grad()
def read_characters(elmo: Elmo, words: Sequence[str]) -> Numbers:
    """Half of ELMo's layer 0, which holds the same vector twice: (N, P)."""
    parts = [elmo.token_vectors(elmo.spell(words[at : at + 512])) for at in range(0, len(words), 512)]
    return unit(torch.cat(parts).float().numpy())


def cosines(reader: Reader, queries: Sequence[str], candidates: Sequence[str]) -> Numbers:
    """(Q, V)."""
    found = reader(queries) @ reader(candidates).T
    return np.asarray(found.toarray() if issparse(found) else found, np.float64)


def similarities_of(reader: Reader, first: Sequence[str], second: Sequence[str]) -> Numbers:
    """The cosine (N,) of each word of `first` with that of `second`."""
    a, b = reader(first), reader(second)
    return np.asarray((a.multiply(b) if issparse(a) else a * b).sum(1), np.float64).ravel()


def open_elmo(name: str) -> Elmo:
    """An ELMo that reads characters."""
    elmo = Elmo.from_pretrained(name)
    if elmo.char_cnn is None:
        raise UserError(
            f"{name} reads words by their ids, so it has no vector for unseen ones: use a model with characters"
        )
    return elmo


def nearest(scores: Numbers, words: Sequence[str]) -> str:
    """The words with the highest scores (V,), to print."""
    best = np.argsort(-scores, kind="stable")[:N_NEIGHBORS]
    return ", ".join(f"{words[row]} {scores[row]:.2f}" for row in best)


def show_neighbors(title: str, word: str, readers: Mapping[str, Reader], common: Sequence[str]) -> None:
    """Print the nearest candidates by every reader."""
    print(title)
    for name, reader in readers.items():
        print(f"  {name}: {nearest(cosines(reader, [word], common)[0], common)}")


# 1. Misspellings


def ranks_of(scores: Numbers, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """The rank (Q,) from 1 of the candidate in each of `rows` (Q,) by scores (Q, V); of equal scores it is the last."""
    own = scores[np.arange(len(rows)), rows]
    return np.asarray((scores >= own[:, None]).sum(1))


def misspelling_rows(chosen: Chosen, readers: Mapping[str, Reader]) -> Iterator[dict[str, object]]:
    """A line of the table for each reader."""
    row_of = {word: row for row, word in enumerate(chosen.common)}
    rows = np.array([row_of[word] for _, word, _ in chosen.misspelled])
    kinds = np.array([kind for _, _, kind in chosen.misspelled])
    for name, reader in readers.items():
        ranks = ranks_of(cosines(reader, [wrong for wrong, *_ in chosen.misspelled], chosen.common), rows)
        line: dict[str, object] = {"vectors": name}
        for title, values in {"MRR": 1 / ranks, "first": ranks == 1, "first ten": ranks <= 10}.items():
            draws = drawn_means(values, DRAWS, np.random.default_rng(0))
            line[title] = str(Estimate.of(float(np.mean(values)), draws))
        yield line | {kind: f"{np.mean(1 / ranks[kinds == kind]):.3f}" for kind in KINDS}


# 2. Similarity


@dataclass(frozen=True)
class UnseenPairs:
    """The pairs of all sets that have an unseen word."""

    pairs: list[tuple[str, str]]
    scores: Numbers
    """(N,)"""
    sets: NDArray[np.int64]
    """(N,) the number of each pair's set."""
    unseen: NDArray[np.int64]
    """(N,) the number of the first unseen word of each pair; the bootstrap draws these words."""


def unseen_pairs(sets: Sequence[PairSet], unseen: Sequence[str], known: Collection[str]) -> UnseenPairs:
    """Pairs with an unseen word whose other word is unseen too, or known to the plain vectors."""
    numbers = {word: number for number, word in enumerate(unseen)}
    found = []
    for index, each in enumerate(sets):
        for pair, score in zip(each.pairs, each.scores, strict=True):
            a, b = map(normalized, pair)
            lacking = [word for word in (a, b) if word in numbers]
            if lacking and all(word in numbers or word in known for word in (a, b)):
                found.append(((a, b), score, index, numbers[lacking[0]]))
    pairs, scores, of_set, first = map(list, zip(*found, strict=True)) if found else ([], [], [], [])
    return UnseenPairs(pairs, np.array(scores), np.array(of_set, np.int64), np.array(first, np.int64))


def correlations(pairs: UnseenPairs, similarities: Numbers, times: NDArray[np.int64]) -> Numbers:
    """Spearman's correlation in each set, and their mean weighted by the number of pairs, with pairs repeated (N,) times.

    Returns: (sets + 1,).
    """
    rows = np.repeat(np.arange(len(pairs.pairs)), times)
    found, sizes = [], []
    for index in range(int(pairs.sets.max()) + 1):
        own = rows[pairs.sets[rows] == index]
        value = spearman(pairs.scores[own], similarities[own])
        found.append(value)
        sizes.append(0 if np.isnan(value) else len(own))
    mean = np.average(np.nan_to_num(found), weights=sizes) if any(sizes) else np.nan
    return np.array([*found, mean])


def drawn_correlations(pairs: UnseenPairs, similarities: Numbers) -> Numbers:
    """The mean correlations (R,) when unseen words are drawn with replacement, each with its pairs; the same draws for all methods."""
    random, words = np.random.default_rng(0), np.unique(pairs.unseen)
    place = np.searchsorted(words, pairs.unseen)
    drawn = random.multinomial(len(words), np.full(len(words), 1 / len(words)), DRAWS)
    return np.array([correlations(pairs, similarities, times[place])[-1] for times in drawn])


def print_similarity(pairs: UnseenPairs, sets: Sequence[PairSet], readers: Mapping[str, Reader]) -> None:
    """Print the correlations of every reader, and the differences between vectors of n-grams and the others."""
    once = np.ones(len(pairs.pairs), np.int64)
    first, second = ([pair[side] for pair in pairs.pairs] for side in (0, 1))
    values, draws, lines = {}, {}, []
    for name, reader in readers.items():
        similarities = similarities_of(reader, first, second)
        found = correlations(pairs, similarities, once)
        draws[name] = drawn_correlations(pairs, similarities)
        values[name] = float(found[-1])
        line: dict[str, object] = {"vectors": name}
        for index, value in enumerate(found[:-1]):
            title = f"{sets[index].name.removeprefix('EN-')} ({(pairs.sets == index).sum()})"
            line[title] = None if np.isnan(value) else f"{value:.3f}"
        lines.append(line | {f"mean ({len(once)})": str(Estimate.of(values[name], draws[name]))})
    print(aligned(lines))
    ours = "n-grams, unseen"
    for name in readers:
        if name != ours:
            difference = Estimate.of(values[ours] - values[name], draws[ours] - draws[name])
            print(f"{ours}, minus {name}: {difference}")


def main(given: Sequence[str] | None = None) -> None:
    """Train the vectors and the taggers, and print all tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", type=Path, required=True, help="folder with enwiki-2015/, wordsim/ and conll2003/"
    )
    parser.add_argument("--runs", type=Path, required=True, help="folder for models and results")
    parser.add_argument("--elmo", help="folder of an ELMo model (default: the lines with ELMo are left out)")
    parser.add_argument("--files", type=int, default=2, help="files of Wikipedia (default: 2)")
    parser.add_argument("--words", type=int, default=300, help="words to remove (default: 300)")
    parser.add_argument("--labels", type=int, default=500, help="labeled sentences (default: 500)")
    parser.add_argument("--seeds", type=int, default=2, help="samples of labeled sentences (default: 2)")
    parser.add_argument("--epochs", type=int, help="epochs of a tagger (default: those of `fit tagger`)")
    arguments = parser.parse_args(given)
    elmo = None if arguments.elmo is None else open_elmo(arguments.elmo)
    files = Places(arguments.data, arguments.runs).wikipedia[: arguments.files]
    sets = [read_pairs(arguments.data / "wordsim" / f"{name}.txt") for name in SETS]
    place = arguments.runs / f"{len(files)}-files-{arguments.words}-words"
    chosen = prepare(files, sets, place, arguments.words)
    dropped, n_sentences = chosen.sentences
    print(
        f"{len(chosen.unseen)} words are removed, with {dropped:,} of {n_sentences:,} sentences", flush=True
    )
    rest = [place / "without.txt"]
    plain, ngrams = train(rest, place / "plain", None), train(rest, place / "ngrams", NGRAMS)
    known = set(plain.index_to_key)
    assert known.isdisjoint(chosen.unseen), "no sentence with a removed word is left"
    # The plain vectors that were trained on the rest are not among them: they have no vector for what is unseen.
    readers: dict[str, Reader] = {
        "n-grams in common": read_spelling,
        "n-grams, unseen": partial(read_vectors, ngrams),
    }
    if elmo is not None:
        readers["ELMo's characters"] = partial(read_characters, elmo)
        read, misread = (
            sum(
                any(elmo.tokenizer.id(form) is not None for form in (word, word.capitalize()))
                for word in words
            )
            for words in (chosen.unseen, [wrong for wrong, *_ in chosen.misspelled])
        )
        print(
            f"ELMo's vocabulary has {read} of the removed words and {misread} of the misspellings (in lower case or capitalized)"
        )

    print(
        f"\n1. {len(chosen.misspelled)} misspellings, {len(chosen.common):,} words (plain vectors: no vector for a misspelling)"
    )
    print(aligned(list(misspelling_rows(chosen, readers))))
    for wrong, word, _ in chosen.misspelled[:N_SHOWN]:
        show_neighbors(f"{wrong} ({word}), which plain vectors lack:", wrong, readers, chosen.common)

    print("\n2. Spearman's correlation on pairs with an unseen word (plain vectors: no vector for it)")
    seen = {
        "n-grams, seen": partial(read_vectors, train(files, place / "ngrams-seen", NGRAMS)),
        "plain vectors, seen": partial(read_vectors, train(files, place / "plain-seen", None)),
    }
    print_similarity(unseen_pairs(sets, chosen.unseen, known), sets, readers | seen)
    for word in chosen.unseen[:N_SHOWN]:
        show_neighbors(f"{word}, which plain vectors lack:", word, readers | seen, chosen.common)

    print(f"\n3. Names, {arguments.labels} labeled sentences, {arguments.seeds} samples of them", flush=True)
    train_set, test = (
        read_tagged(arguments.data / "conll2003" / name) for name in ("eng.train", "eng.testb")
    )
    results = Results(arguments.runs / "results.jsonl")
    part = part_of("tagging", arguments, "seeds", "elmo")
    found = {}
    for name, settings in taggers(place / "plain", place / "ngrams", arguments.elmo):
        rows = []
        for seed in range(arguments.seeds):
            settings.seed, settings.epochs = seed, arguments.epochs
            sample = train_set.sample(arguments.labels, seed)
            run = partial(measured, sample, test, settings, known)
            rows.append(results.measure(part, name, arguments.labels, seed, run)["spans"])
        found[name] = np.array(rows)
    print_names(found)


if __name__ == "__main__":
    main()
