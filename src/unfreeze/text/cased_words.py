"""A word-level tokenizer that leaves words as they are written, and frames each sentence: xxbos ... xxeos.

The input of ELMo is the spelling of words, its output a vocabulary of whole words with capitals (Peters et al. 2018). The
tokenizer splits a text into sentences and words and knows the output vocabulary; a word outside of it still has its offsets,
from which an encoder gets its spelling.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import ClassVar

from tokenizers import Tokenizer, processors

from unfreeze.progress import SILENT, Progress
from unfreeze.text.rules import BEGIN, END, PAD, UNKNOWN, Token
from unfreeze.text.tokenizer_training import count_corpus, frequent_words
from unfreeze.text.tokenizers import Pieces, WordTokenizer
from unfreeze.text.words import split_chunks, split_sentences, split_words, without_surrogates, word_texts

CASED_SPECIAL_TOKENS = (UNKNOWN, PAD, BEGIN, END)
FRAME = f"{BEGIN} $A {END}"


class CasedTokenizer(WordTokenizer):
    """One id per word, with its capitals; sentences are framed by xxbos and xxeos."""

    needed_tokens: ClassVar[tuple[str, ...]] = CASED_SPECIAL_TOKENS

    def __init__(self, tokens: Sequence[str], counts: Sequence[int] | None = None) -> None:
        super().__init__(tokens, counts)
        self.eos_id = self._ids[END]

    def first(self, size: int) -> CasedTokenizer:
        """The tokenizer of the first `size` entries; the counts of the others are added to that of the unknown word."""
        counts = None if self._counts is None else self._counts[:size]
        if counts is not None and self._counts is not None:
            counts[self.unknown_id] += sum(self._counts[size:])
        return CasedTokenizer(self._tokens[:size], counts)

    def with_words(self, words: Iterable[str]) -> CasedTokenizer:
        """The tokenizer with further words at the end, with counts of 0."""
        new = sorted({word for word in words if word not in self._ids})
        counts = None if self._counts is None else [*self._counts, *[0] * len(new)]
        return CasedTokenizer([*self._tokens, *new], counts)

    def encode(self, text: str) -> Pieces:
        """Ids, words and offsets of a text with framed sentences; frames are at the beginnings and ends of sentences."""
        words = split_words(text)
        pieces, number = Pieces([], [], []), 0
        for start, end in split_sentences(text) or [(0, 0)]:
            _add(pieces, self.bos_id, -1, (start, start))
            while number < len(words) and words[number].start < end:
                word = words[number]
                _add(pieces, self._known(word.text), number, (word.start, word.end))
                number += 1
            _add(pieces, self.eos_id, -1, (end, end))
        return pieces

    def encode_words(self, words: Sequence[str]) -> Pieces:
        """Ids, words and offsets of a sentence that is split into words; offsets are those in `" ".join(words)`."""
        pieces, start = Pieces([self.bos_id], [-1], [(0, 0)]), 0
        for number, word in enumerate(words):
            _add(pieces, self._known(word), number, (start, start + len(word)))
            start += len(word) + 1
        _add(pieces, self.eos_id, -1, (max(0, start - 1), max(0, start - 1)))
        return pieces

    def encode_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text, as in `encode(text).ids`, but several times faster."""
        return [self._framed(text) for text in texts]

    def encode_with_unknown_bytes(self, texts: Sequence[str]) -> list[tuple[list[int], int]]:
        """The ids of each text, and the number of UTF-8 bytes of its unknown words."""
        return [
            (self._framed(text), sum(map(self._unknown_of_chunk.__getitem__, split_chunks(text))))
            for text in texts
        ]

    def _known(self, word: str) -> int:
        number = self._ids.get(word, self.unknown_id)
        return self.unknown_id if number in self.special_ids else number

    def _framed(self, text: str) -> list[int]:
        ids: list[int] = []
        for start, end in split_sentences(text) or [(0, 0)]:
            ids.append(self.bos_id)
            ids += map(self._known, word_texts(text[start:end]))
            ids.append(self.eos_id)
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        hidden = self.special_ids - {self.unknown_id}
        return " ".join(self._tokens[number] for number in ids if number not in hidden)

    def _chunk_tokens(self, chunk: str) -> list[Token]:
        return [
            Token(self._tokens[self._known(word)], number, start, end)
            for number, (word, start, end) in enumerate(split_words(chunk))
        ]

    def _model(self) -> Tokenizer:
        model = super()._model()
        frames = [(BEGIN, self.bos_id), (END, self.eos_id)]
        model.post_processor = processors.TemplateProcessing(single=FRAME, special_tokens=frames)
        return model


def _add(pieces: Pieces, number: int, word: int, span: tuple[int, int]) -> None:
    pieces.ids.append(number)
    pieces.words.append(word)
    pieces.offsets.append(span)


def count_cased_words(documents: list[str]) -> Counter[str]:
    """The count of each word in the documents, and of the sentences (as xxeos)."""
    counts: Counter[str] = Counter()
    for text in documents:
        text = without_surrogates(text)
        counts.update(word_texts(text))
        counts[END] += max(1, len(split_sentences(text)))
    return counts


def train_cased_tokenizer(
    documents: Iterable[str],
    *,
    size: int,
    min_count: int = 1,
    workers: int | None = None,
    progress: Progress = SILENT,
) -> CasedTokenizer:
    """Learn a vocabulary of the most frequent words of the documents, with their capitals, frequent words first.

    Args:
        size: maximum number of entries, including the special tokens.
        min_count: rarer words are unknown.

    Raises:
        UserError: there is no document with a word in it, or no word is left.
    """
    counts = count_corpus(count_cased_words, documents, workers, progress).words
    n_sentences = counts.pop(END)
    return cased_vocabulary(counts, n_sentences, size, min_count)


def cased_vocabulary(counts: Counter[str], n_sentences: int, size: int, min_count: int = 1) -> CasedTokenizer:
    """The tokenizer of the most frequent of counted words; arguments and errors as in `train_cased_tokenizer`."""
    words = frequent_words(counts, CASED_SPECIAL_TOKENS, size, min_count)
    unknown = counts.total() - sum(counts[word] for word in words)
    known = dict(zip(CASED_SPECIAL_TOKENS, (unknown, 0, n_sentences, n_sentences), strict=True))
    known |= {word: counts[word] for word in words}
    return CasedTokenizer(list(known), list(known.values()))
