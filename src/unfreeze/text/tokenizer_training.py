"""Counting a corpus and choosing a vocabulary, for tokenizers.py.

Workers count batches of documents. The counts are merged in the order of the corpus, and words of equal frequency are sorted by
the word itself, so the vocabulary does not depend on the number of workers. Memory is bounded: as in word2vec, the merged
table drops its rarest words whenever it has more than `MAX_DISTINCT` (the counts of rare words are then lower bounds).
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate, chain, islice
from typing import NamedTuple

from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from unfreeze.errors import UserError, setting
from unfreeze.memory import release_free_memory
from unfreeze.progress import Progress
from unfreeze.text.rules import BEGIN, PAD, SPECIAL_TOKENS, UNKNOWN, Run, chunk_tokens, fold_runs
from unfreeze.text.words import ChunkCache, chunk_words, split_chunks, without_surrogates
from unfreeze.text.workers import batches_of_texts, ordered_results

SPACE = "▁"
FOLLOWER = "\uf8ff"  # from the private use area, which does not occur in text
SUBWORD_SPECIAL_TOKENS = (UNKNOWN, PAD, BEGIN)
COVERAGE = 0.9995  # of the characters, as in SentencePiece
TRAINING_WORDS = 5_000_000
TRAINING_DISTINCT = 500_000
TRAINING_LENGTH = 40  # characters; longer words (5 MB without a space) take minutes and are not useful
BATCH_CHARACTERS = 4_000_000
MAX_DISTINCT = 10_000_000


class CorpusCounts(NamedTuple):
    """The count of each word, the sum of all counts (with those of dropped words), and the number of documents."""

    words: Counter[str]
    n_words: int
    n_documents: int


def learn_words(
    documents: Iterable[str], size: int, min_count: int, workers: int | None, progress: Progress
) -> tuple[list[str], list[int]]:
    """Count the words of the documents, choose the vocabulary with `train_words`, and release the memory of the counts.

    Python frees memory by the block, so the few chosen words would keep the blocks of millions of others alive for as long
    as the model trains. They are therefore serialized, everything else is dropped, and they are parsed again.
    """
    corpus = count_corpus(count_words, documents, workers, progress)
    chosen, n_words = json.dumps(train_words(corpus, size, min_count)), corpus.n_words
    del corpus
    _texts_of_chunk.clear()
    release_free_memory(n_words)
    words, counts = json.loads(chosen)
    return words, counts


def train_words(corpus: CorpusCounts, size: int, min_count: int) -> tuple[list[str], list[int]]:
    """The special tokens and the most frequent words, and the count of each in the encoded corpus.

    Raises:
        UserError: `size` has no room for words, or no word occurs `min_count` times.
    """
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
    """The words that occur at least `min_count` times, most frequent first, as many as fit in addition to the special tokens.

    Raises:
        UserError: no word is left.
    """
    words = [word for word, n in counts.items() if n >= min_count and word not in special_tokens]
    words.sort(key=lambda word: (-counts[word], word))
    words = words[: max(0, size - len(special_tokens))]
    if not words:
        raise UserError(
            f"no word of the corpus occurs {min_count} times: give more text or lower {setting('min_count')}"
        )
    return words


def count_corpus(
    count: Callable[[list[str]], Counter[str]],
    documents: Iterable[str],
    workers: int | None,
    progress: Progress,
) -> CorpusCounts:
    """The counts of all documents by `count`, which is `count_words`, `count_marked_words` or `count_cased_words`.

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
            while len(merged) > MAX_DISTINCT:
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
    """The count of each token of ULMFiT's rules in the documents, without xxbos."""
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
    """The words of a chunk as a subword model sees them; the first one follows white space, which is written "▁"."""
    words = [without_surrogates(word).replace(SPACE, "_") for word in chunk_words(chunk)]
    return [SPACE + words[0], *words[1:]]


def count_marked_words(documents: list[str]) -> Counter[str]:
    """The count of each of the `marked_words` in the documents."""
    counts: Counter[str] = Counter()
    for chunk, n in Counter(chain.from_iterable(map(split_chunks, documents))).items():
        for word in marked_words(chunk):
            counts[word] += n
    return counts


def train_unigram(counts: Counter[str], size: int) -> list[tuple[str, float]]:
    """The special tokens and the pieces of a subword vocabulary with log-probabilities, likely pieces first.

    Raises:
        UserError: there is no word to learn from.
    """
    words = _training_words(counts, size)
    if not words:
        raise UserError(
            f"no word is left to learn subwords from: give more text or a larger {setting('vocabulary_size')}"
        )
    model = Tokenizer(models.Unigram())
    model.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.UnigramTrainer(
        vocab_size=size + 1,
        special_tokens=list(SUBWORD_SPECIAL_TOKENS),
        unk_token=UNKNOWN,
        show_progress=False,
    )
    # The trainer considers only strings that are followed by at least two different characters in the list of distinct
    # words, so no whole word that is not the beginning of another ("▁they"). Frequent words are therefore repeated with a
    # follower, which is removed at the end: 11 % fewer pieces on held-out reviews.
    followed = (word + FOLLOWER for word in islice(words, size // 2))
    model.train_from_iterator(chain(followed, (" ".join([word] * n) for word, n in words.items())), trainer)
    scores: dict[str, float] = dict(json.loads(model.to_str())["model"]["vocab"])
    for token in (*SUBWORD_SPECIAL_TOKENS, FOLLOWER):
        del scores[token]
    return [(token, 0.0) for token in SUBWORD_SPECIAL_TOKENS] + _reproducible(scores)


def _reproducible(scores: dict[str, float]) -> list[tuple[str, float]]:
    """The pieces with scores and in an order that do not vary between runs.

    The trainer adds floats in the order of a hash table. Characters that it has to add at the end get scores in steps of
    1e-4, also in that order. Scores are therefore rounded, and those of such characters set to the lowest one.
    """
    lowest = min(scores.values())
    added = lowest + 1e-4 * sum(len(piece) == 1 for piece in scores)
    rounded = {
        piece: round(lowest if len(piece) == 1 and score <= added else score, 3)
        for piece, score in scores.items()
    }
    return sorted(rounded.items(), key=lambda item: (-item[1], item[0]))


def _training_words(counts: Counter[str], size: int) -> dict[str, int]:
    """The input of the trainer: the most frequent words, with counts scaled down to `TRAINING_WORDS`.

    Words with rare characters (the rarest 0.05 %, and those that would take more than half of the vocabulary) are left
    out, and these characters become xxunk. So are very long words, such as addresses and encoded files, if there are others.
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
