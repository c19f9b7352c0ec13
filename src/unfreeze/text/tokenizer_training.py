"""Counting a corpus and choosing a vocabulary, for tokenizers.py.

Workers count batches of documents; the counts are merged in the order of the corpus, ties in frequency are
broken by the word itself, and so the vocabulary is the same whatever the number of workers. Memory is
bounded: as word2vec's does, the merged table drops its rarest words whenever it holds more than
`MOST_DISTINCT` (then counts of rare words are lower bounds).
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate, chain, islice
from typing import NamedTuple

from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from unfreeze.errors import UserError
from unfreeze.memory import release_free_memory
from unfreeze.progress import Progress
from unfreeze.text.rules import BEGIN, PAD, SPECIAL_TOKENS, UNKNOWN, Run, chunk_tokens, fold_runs
from unfreeze.text.words import ChunkCache, chunk_words, split_chunks, without_surrogates
from unfreeze.text.workers import batches_of_texts, ordered_results

SPACE = "▁"
FOLLOWER = "\uf8ff"  # private use: in no text that anybody means
SUBWORD_SPECIAL_TOKENS = (UNKNOWN, PAD, BEGIN)
COVERAGE = 0.9995  # of the characters, as in SentencePiece
TRAINING_WORDS = 5_000_000
TRAINING_DISTINCT = 500_000
TRAINING_LENGTH = 40  # characters; 5 MB without a space would take minutes and teach nothing
BATCH_CHARACTERS = 4_000_000
MOST_DISTINCT = 10_000_000


class CorpusCounts(NamedTuple):
    """How often each word occurs, their sum with those that were dropped, and the number of documents."""

    words: Counter[str]
    n_words: int
    n_documents: int


def learn_words(
    documents: Iterable[str], size: int, min_count: int, workers: int | None, progress: Progress
) -> tuple[list[str], list[int]]:
    """`train_words` of what `count_words` finds in the documents, and the memory for the rest given back.

    Python frees memory by the block: a few words that are kept would hold all blocks of the millions that are not,
    for as long as the model trains. So what is kept is written down, everything else dropped, and then read again.
    """
    corpus = count_corpus(count_words, documents, workers, progress)
    chosen, n_words = json.dumps(train_words(corpus, size, min_count)), corpus.n_words
    del corpus
    _texts_of_chunk.clear()
    release_free_memory(n_words)
    words, counts = json.loads(chosen)
    return words, counts


def train_words(corpus: CorpusCounts, size: int, min_count: int) -> tuple[list[str], list[int]]:
    """The special tokens and the most frequent words, and how often the corpus encoded with them has each."""
    if size <= len(SPECIAL_TOKENS):
        raise UserError(f"a vocabulary of {size} has no room for words: take more than {len(SPECIAL_TOKENS)}")
    counts = corpus.words
    words = frequent_words(counts, SPECIAL_TOKENS, size, min_count)
    known = {token: counts[token] for token in (*SPECIAL_TOKENS, *words)}
    known[UNKNOWN] = 0
    known[UNKNOWN] = corpus.n_words - sum(known.values())
    known[BEGIN] = corpus.n_documents
    return list(known), list(known.values())


def frequent_words(
    counts: Counter[str], special_tokens: Sequence[str], size: int, min_count: int
) -> list[str]:
    """The words that occur at least `min_count` times, most frequent first, as many as fit beside the special tokens.

    Raises:
        UserError: no word is left.
    """
    words = [word for word, n in counts.items() if n >= min_count and word not in special_tokens]
    words.sort(key=lambda word: (-counts[word], word))
    words = words[: max(0, size - len(special_tokens))]
    if not words:
        raise UserError(f"no word of the corpus occurs {min_count} times: give more text or lower min_count")
    return words


def count_corpus(
    count: Callable[[list[str]], Counter[str]],
    documents: Iterable[str],
    workers: int | None,
    progress: Progress,
) -> CorpusCounts:
    """What `count` (`count_words` or `count_marked_words`) finds in all documents.

    Raises:
        UserError: there is no document with a word in it.
    """
    merged: Counter[str] = Counter()
    n_words = n_documents = floor = 0
    with progress.bar("counting words", unit="word") as bar:
        batches = batches_of_texts(documents, BATCH_CHARACTERS)
        for counts, n_counted in ordered_results(_count_batch, count, batches, workers=workers):
            merged.update(counts)
            n_words += counts.total()
            n_documents += n_counted
            while len(merged) > MOST_DISTINCT:
                floor += 1
                merged = Counter({word: n for word, n in merged.items() if n > floor})
            bar.advance(counts.total())
    if not n_words:
        raise UserError("the corpus has no document with a word in it: there is no vocabulary to learn")
    return CorpusCounts(merged, n_words, n_documents)


def _count_batch(
    count: Callable[[list[str]], Counter[str]], documents: list[str]
) -> tuple[Counter[str], int]:
    return count(documents), len(documents)


def count_words(documents: list[str]) -> Counter[str]:
    """How often each token of ULMFiT's rules occurs in the documents, xxbos left out."""
    counts: Counter[str] = Counter()
    for text in documents:
        counts.update(fold_runs(split_chunks(text), _texts_of_chunk.__getitem__, _begin_run))
    return counts


def _texts(chunk: str) -> tuple[str, ...]:
    return tuple(token.text for token in chunk_tokens(chunk))


def _begin_run(run: Run) -> tuple[str, str]:
    return run.beginning


_texts_of_chunk = ChunkCache(_texts)


def marked_words(chunk: str) -> list[str]:
    """The words of a chunk as a subword model sees them: the first has white space before it."""
    words = [without_surrogates(word).replace(SPACE, "_") for word in chunk_words(chunk)]
    return [SPACE + words[0], *words[1:]]


def count_marked_words(documents: list[str]) -> Counter[str]:
    """How often each of `marked_words` occurs in the documents."""
    counts: Counter[str] = Counter()
    for chunk, n in Counter(chain.from_iterable(map(split_chunks, documents))).items():
        for word in marked_words(chunk):
            counts[word] += n
    return counts


def train_unigram(counts: Counter[str], size: int) -> list[tuple[str, float]]:
    """The special tokens of a subword vocabulary and its pieces, likely ones first, with log-probabilities."""
    words = _training_words(counts, size)
    if not words:
        raise UserError("no word is left to learn subwords from: give more text or a larger vocabulary_size")
    model = Tokenizer(models.Unigram())
    model.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.UnigramTrainer(
        vocab_size=size + 1,
        special_tokens=list(SUBWORD_SPECIAL_TOKENS),
        unk_token=UNKNOWN,
        show_progress=False,
    )
    # The trainer only considers what at least two different characters follow in the list of distinct words,
    # and so no whole word that begins no other ("▁they"). A follower is added to the frequent ones and thrown
    # away at the end: 11 % fewer pieces on held-out reviews.
    followed = (word + FOLLOWER for word in islice(words, size // 2))
    model.train_from_iterator(chain(followed, (" ".join([word] * n) for word, n in words.items())), trainer)
    scores: dict[str, float] = dict(json.loads(model.to_str())["model"]["vocab"])
    for token in (*SUBWORD_SPECIAL_TOKENS, FOLLOWER):
        del scores[token]
    return [(token, 0.0) for token in SUBWORD_SPECIAL_TOKENS] + _reproducible(scores)


def _reproducible(scores: dict[str, float]) -> list[tuple[str, float]]:
    """The pieces in an order and with scores that are the same each time.

    The trainer adds floats in the order of a hash table, and the characters that it has to add at the end get
    1e-4 more each, in that order too: scores are rounded, and those of such characters made the lowest one.
    """
    lowest = min(scores.values())
    added = lowest + 1e-4 * sum(len(piece) == 1 for piece in scores)
    rounded = {
        piece: round(lowest if len(piece) == 1 and score <= added else score, 3)
        for piece, score in scores.items()
    }
    return sorted(rounded.items(), key=lambda item: (-item[1], item[0]))


def _training_words(counts: Counter[str], size: int) -> dict[str, int]:
    """What the trainer reads: the most frequent words, counts scaled down to `TRAINING_WORDS`.

    A word with a rare character is left out (that character becomes xxunk): those that make up 0.05 % of all
    characters, and whatever would take more than half of the vocabulary. So are words that are none (addresses,
    encoded files), where there are others.
    """
    characters: Counter[str] = Counter()
    for word, n in counts.items():
        for character in word:
            characters[character] += n
    by_count = sorted(characters, key=lambda character: (-characters[character], character))
    totals = list(accumulate(characters[character] for character in by_count))
    needed = bisect_left(totals, COVERAGE * totals[-1]) + 1
    kept = set(by_count[: min(needed, max(1, size // 2))])
    covered = [word for word in counts if kept.issuperset(word)]
    short = [word for word in covered if len(word) <= TRAINING_LENGTH] or covered
    order = sorted(short, key=lambda word: (-counts[word], word))[:TRAINING_DISTINCT]
    scale = min(1.0, TRAINING_WORDS / max(1, sum(counts[word] for word in order)))
    return {word: max(1, round(counts[word] * scale)) for word in order}
