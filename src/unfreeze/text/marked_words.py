"""A word-level tokenizer whose ids give the text back, spaces included: "▁" stands for white space before a word.

It is the vocabulary of what a translator writes in words: unlike `WordTokenizer` it keeps capitals and has no marks, and unlike
`CasedTokenizer` it knows that no space precedes the comma of "Hund,".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import ClassVar

from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from unfreeze.progress import SILENT, Progress
from unfreeze.text.rules import Token, place_chunks
from unfreeze.text.tokenizer_training import (
    SPACE,
    SUBWORD_SPECIAL_TOKENS,
    count_corpus,
    count_marked_words,
    frequent_words,
    marked_words,
)
from unfreeze.text.tokenizers import TextTokenizer


class MarkedWordTokenizer(TextTokenizer):
    """One id per word as it is written, with a mark for the space before it."""

    is_word_level = True
    needed_tokens: ClassVar[tuple[str, ...]] = SUBWORD_SPECIAL_TOKENS

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids, without special tokens other than xxunk."""
        hidden = self.special_ids - {self.unknown_id}
        return joined(self.token(number) for number in ids if number not in hidden)

    def _chunk_tokens(self, chunk: str) -> list[Token]:
        tokens, end = [], -1  # the "▁" of the first word is not in the text
        for index, word in enumerate(marked_words(chunk)):
            start, end = end, end + len(word)
            tokens.append(Token(word, index, max(start, 0), end))
        return tokens

    def _encode_chunks(self, chunks: Sequence[str]) -> list[int]:
        return list(chain.from_iterable(map(self._ids_of_chunk.__getitem__, chunks)))

    def _place(self, chunks: Sequence[tuple[str, int]]) -> Iterable[Token]:
        return chain.from_iterable(place_chunks(chunks, self._chunk_tokens))

    def _model(self) -> Tokenizer:
        model = Tokenizer(models.WordLevel(self._ids, unk_token=self.token(self.unknown_id)))
        model.pre_tokenizer = pre_tokenizers.Metaspace(replacement=SPACE, prepend_scheme="always")
        model.decoder = decoders.Metaspace(replacement=SPACE, prepend_scheme="always")
        return model

    def _state(self) -> list[str]:
        return self._tokens


def joined(tokens: Iterable[str]) -> str:
    """The text of tokens in which "▁" stands for a space."""
    return "".join(tokens).replace(SPACE, " ").strip()


def train_marked_words(
    documents: Iterable[str], *, size: int, min_count: int = 1, progress: Progress = SILENT
) -> MarkedWordTokenizer:
    """Learn a vocabulary of the most frequent words of the documents.

    Args:
        size: maximum number of entries, including the special tokens.
        min_count: rarer words are unknown.

    Raises:
        UserError: there is no document with a word in it, or no word is left.
    """
    corpus = count_corpus(count_marked_words, documents, 1, progress)
    words = frequent_words(corpus.words, SUBWORD_SPECIAL_TOKENS, size, min_count)
    counts = {word: corpus.words[word] for word in words}
    known = dict.fromkeys(SUBWORD_SPECIAL_TOKENS, 0) | counts
    return MarkedWordTokenizer(list(known), list(known.values()))
