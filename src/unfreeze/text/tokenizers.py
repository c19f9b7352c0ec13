"""Text to ids and back: a word-level tokenizer with ULMFiT's special tokens, and a subword (Unigram) one.

A text is encoded chunk by chunk (a chunk is the text between white space), and the ids of a chunk that was seen before cost
one look-up. One core encodes 0.9 (new chunks) to 2.2 million words per second at word level, and 0.8 to 3.2 with subwords.
`encode`, which also returns the word and the offsets of each piece, and `encode_ids` give the same ids.

A tokenizer is saved as `tokenizer.json`, which `tokenizers.Tokenizer.from_file` reads. That format does not allow further
keys, so the counts of the training corpus are in `counts.json`. At word level the file encodes the tokens that our rules make
of a text (joined by spaces); with subwords it encodes raw text, but without our word splitter.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar, Literal

from tokenizers import Token as TokenizersToken
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from unfreeze.errors import UserError
from unfreeze.folders import written_file
from unfreeze.progress import SILENT, Progress
from unfreeze.text.rules import (
    BEGIN,
    FOREIGN_SPECIAL_TOKENS,
    PAD,
    SPECIAL_TOKENS,
    UNKNOWN,
    Run,
    Token,
    chunk_tokens,
    fold_placed,
    fold_runs,
    join_tokens,
    place_chunks,
)
from unfreeze.text.tokenizer_training import (
    SPACE,
    SUBWORD_SPECIAL_TOKENS,
    count_corpus,
    count_marked_words,
    learn_words,
    marked_words,
    train_unigram,
)
from unfreeze.text.words import ChunkCache, chunk_words, find_chunks, split_chunks

TOKENIZER = "tokenizer.json"
COUNTS = "counts.json"


@dataclass(frozen=True, slots=True)
class Pieces:
    """An encoded text; the three lists have the same length."""

    ids: list[int]
    words: list[int]
    """For each piece the index of its word in `split_words(text)`; -1 if it belongs to no word (xxbos, xxmaj).

    Every word has a piece, except in a run folded by xxwrep, whose only piece has the index of the first word.
    """
    offsets: list[tuple[int, int]]
    """For each piece its start and end in the raw text, in characters; a mark has those of the word that it marks."""


class TextTokenizer(ABC):
    """Base class of the tokenizers, which are made by `train_tokenizer`, `load_tokenizer` and `WordTokenizer.from_vocabulary`."""

    is_word_level: ClassVar[bool]
    needed_tokens: ClassVar[tuple[str, ...]]

    def __init__(self, tokens: Sequence[str], counts: Sequence[int] | None = None) -> None:
        self._tokens = list(tokens)
        self._ids = {token: number for number, token in enumerate(self._tokens)}
        self._counts = None if counts is None else list(counts)
        missing = [token for token in self.needed_tokens if token not in self._ids]
        if missing:
            needed = " ".join(self.needed_tokens)
            raise UserError(f"the vocabulary lacks the special token {missing[0]}: it must contain {needed}")
        if counts is not None and len(counts) != len(tokens):
            raise UserError(f"the vocabulary has {len(tokens):,} tokens, but {len(counts):,} counts")
        self.unknown_id = self._ids[UNKNOWN]
        self.pad_id = self._ids[PAD]
        self.bos_id = self._ids[BEGIN]
        special = SPECIAL_TOKENS + FOREIGN_SPECIAL_TOKENS
        self.special_ids = frozenset(self._ids[token] for token in special if token in self._ids)
        self._ids_of_chunk = ChunkCache(self._encode_chunk)
        # Tokens with their places are larger than ids, and most texts consist of few frequent chunks.
        self._tokens_of_chunk = ChunkCache(self._chunk_tokens, most=20_000)
        self._unknown_of_chunk = ChunkCache(self._count_unknown)

    @abstractmethod
    def _chunk_tokens(self, chunk: str) -> list[Token]:
        """The tokens of a chunk, known or not."""

    @abstractmethod
    def _encode_chunks(self, chunks: Sequence[str]) -> list[int]:
        """The ids of a text's chunks, without xxbos."""

    @abstractmethod
    def _place(self, chunks: Sequence[tuple[str, int]]) -> Iterable[Token]:
        """The tokens of a text's (chunk, place), without xxbos."""

    @abstractmethod
    def _model(self) -> Tokenizer:
        """The tokenizer of the library `tokenizers` that is saved."""

    @abstractmethod
    def decode(self, ids: Iterable[int]) -> str:
        """Readable text, with capitals and white space, and without special tokens except xxunk."""

    def __len__(self) -> int:
        return len(self._tokens)

    @property
    def word_ids(self) -> list[int]:
        """The ids of all tokens that are not special, in ascending order."""
        return [number for number in range(len(self)) if number not in self.special_ids]

    @property
    def vocabulary(self) -> list[str]:
        """The tokens in the order of their ids."""
        return list(self._tokens)

    @property
    def counts(self) -> list[int] | None:
        """How often each id occurs in the encoded training corpus; None if unknown."""
        return None if self._counts is None else list(self._counts)

    def token(self, number: int) -> str:
        """The token of an id."""
        return self._tokens[number]

    def id(self, token: str) -> int | None:
        """The id of a token; None if it is not in the vocabulary."""
        return self._ids.get(token)

    def encode(self, text: str) -> Pieces:
        """Ids, words and offsets of a text; the first piece is xxbos, at (0, 0)."""
        return self._pieces(self._place(list(find_chunks(text))))

    def encode_words(self, words: Sequence[str]) -> Pieces:
        """Ids, words and offsets of a sentence that is split into words; offsets are those in `" ".join(words)`.

        Every word has at least one piece (xxunk if it is only white space); runs are not folded.
        """
        tokens: list[Token] = []
        start = 0
        for index, word in enumerate(words):
            placed = chain.from_iterable(place_chunks(list(find_chunks(word)), self._chunk_tokens))
            own = [
                Token(t.text, index if t.word >= 0 else -1, t.start + start, t.end + start) for t in placed
            ]
            tokens += own or [Token(UNKNOWN, index, start, start + len(word))]
            start += len(word) + 1
        return self._pieces(tokens)

    def encode_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text, the same as `encode(text).ids`, many times faster."""
        return [[self.bos_id, *self._encode_chunks(split_chunks(text))] for text in texts]

    def encode_with_unknown_bytes(self, texts: Sequence[str]) -> list[tuple[list[int], int]]:
        """For each text its ids and the UTF-8 bytes of its words that became xxunk, in whole or in part."""
        encoded = []
        for text in texts:
            chunks = split_chunks(text)
            unknown = sum(map(self._unknown_of_chunk.__getitem__, chunks))
            encoded.append(([self.bos_id, *self._encode_chunks(chunks)], unknown))
        return encoded

    def save(self, folder: str | Path) -> None:
        """Write tokenizer.json, and counts.json if counts are known, into `folder`.

        tokenizer.json is written last, so that its presence means that both are complete.
        """
        folder = Path(folder)
        if self._counts is None:
            (folder / COUNTS).unlink(missing_ok=True)
        else:
            with written_file(folder / COUNTS) as path:
                path.write_text(json.dumps(self._counts) + "\n", encoding="utf-8")
        with written_file(folder / TOKENIZER) as path:
            path.write_text(self._model().to_str(pretty=True), encoding="utf-8")

    def fingerprint(self) -> str:
        """A hash that is equal for tokenizers that give the same ids, on any machine and version of Python."""
        return hashlib.sha256(json.dumps([type(self).__name__, self._state()]).encode()).hexdigest()[:16]

    @abstractmethod
    def _state(self) -> Sequence[str] | Sequence[tuple[str, float]]:
        """The first argument of the constructor."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle without the caches of chunks."""
        return type(self), (self._state(), self._counts)

    def _encode_chunk(self, chunk: str) -> tuple[int, ...]:
        return tuple(self._ids.get(token.text, self.unknown_id) for token in self._chunk_tokens(chunk))

    def _count_unknown(self, chunk: str) -> int:
        """UTF-8 bytes of the chunk's words that have an unknown piece (or an unknown number after xxrep)."""
        unknown = set()
        pending = False  # marks precede the piece of their word
        for token in self._chunk_tokens(chunk):
            pending |= self._ids.get(token.text, self.unknown_id) == self.unknown_id
            if token.word >= 0 and pending:
                unknown.add(token.word)
                pending = False
        words = chunk_words(chunk)
        return sum(len(words[number].encode("utf-8", "surrogatepass")) for number in unknown)

    def _pieces(self, tokens: Iterable[Token]) -> Pieces:
        pieces = Pieces([self.bos_id], [-1], [(0, 0)])
        for text, word, start, end in tokens:
            pieces.ids.append(self._ids.get(text, self.unknown_id))
            pieces.words.append(word)
            pieces.offsets.append((start, end))
        return pieces


class WordTokenizer(TextTokenizer):
    """One id per word, in lower case, with ULMFiT's marks for capitals and repetitions (rules.py)."""

    is_word_level = True
    needed_tokens: ClassVar[tuple[str, ...]] = SPECIAL_TOKENS

    def __init__(self, tokens: Sequence[str], counts: Sequence[int] | None = None) -> None:
        # fastai's vocabularies, known by xxfld, never saw the mark before a single letter ("I").
        self._mark_letters = FOREIGN_SPECIAL_TOKENS[1] not in tokens
        super().__init__(tokens, counts)

    @classmethod
    def from_vocabulary(cls, vocabulary: Sequence[str], counts: Sequence[int] | None = None) -> WordTokenizer:
        """A tokenizer with an imported vocabulary: token i has id i, wherever the special tokens are.

        Repeated tokens (fastai pads with xxfake) keep their ids under new names, which do not occur in text.

        Raises:
            UserError: a special token is missing.
        """
        seen: set[str] = set()
        tokens = []
        for number, token in enumerate(vocabulary):
            tokens.append(f"{token} {number}" if token in seen or not token else token)
            seen.add(token)
        return cls(tokens, counts)

    def decode(self, ids: Iterable[int]) -> str:
        return join_tokens([self._tokens[number] for number in ids])

    def _chunk_tokens(self, chunk: str) -> list[Token]:
        return chunk_tokens(chunk, self._mark_letters)

    def _encode_chunks(self, chunks: Sequence[str]) -> list[int]:
        return fold_runs(chunks, self._ids_of_chunk.__getitem__, self._begin_run)

    def _begin_run(self, run: Run) -> list[int]:
        return [self._ids.get(token, self.unknown_id) for token in run.beginning]

    def _place(self, chunks: Sequence[tuple[str, int]]) -> Iterable[Token]:
        placed = place_chunks(chunks, self._tokens_of_chunk.__getitem__)
        fold_placed([chunk for chunk, _ in chunks], placed)
        return chain.from_iterable(placed)

    def _model(self) -> Tokenizer:
        model = Tokenizer(models.WordLevel(self._ids, unk_token=UNKNOWN))
        model.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        return model

    def _state(self) -> list[str]:
        return self._tokens


class SubwordTokenizer(TextTokenizer):
    """Pieces of words from a Unigram model, with capitals; "▁" marks white space before a word."""

    is_word_level = False
    needed_tokens = SUBWORD_SPECIAL_TOKENS

    def __init__(self, scored: Sequence[tuple[str, float]], counts: Sequence[int] | None = None) -> None:
        super().__init__([token for token, _ in scored], counts)
        self._scored = [(token, score) for token, score in scored]
        self._unigram = models.Unigram(self._scored, self.unknown_id, False)

    def decode(self, ids: Iterable[int]) -> str:
        hidden = self.special_ids - {self.unknown_id}
        text = "".join(self._tokens[number] for number in ids if number not in hidden)
        return text.replace(SPACE, " ").strip()

    def _chunk_tokens(self, chunk: str) -> list[Token]:
        tokens = []
        end = -1  # the "▁" of the first word is not in the text
        for index, word in enumerate(marked_words(chunk)):
            for piece in self._unigram.tokenize(word):
                start, end = end, end + len(piece.value)
                tokens.append(Token(self._known_text(piece), index, max(start, 0), end))
        return tokens

    def _known_text(self, piece: TokenizersToken) -> str:
        """The piece; xxunk if the text contains a special token literally."""
        return UNKNOWN if piece.id in self.special_ids else piece.value

    def count_pieces(self, words: Counter[str]) -> Counter[str]:
        """How often each piece occurs in counted `marked_words`."""
        counts: Counter[str] = Counter()
        for word, n in words.items():
            for piece in self._unigram.tokenize(word):
                counts[self._known_text(piece)] += n
        return counts

    def _encode_chunks(self, chunks: Sequence[str]) -> list[int]:
        return list(chain.from_iterable(map(self._ids_of_chunk.__getitem__, chunks)))

    def _place(self, chunks: Sequence[tuple[str, int]]) -> Iterable[Token]:
        return chain.from_iterable(place_chunks(chunks, self._tokens_of_chunk.__getitem__))

    def _model(self) -> Tokenizer:
        model = Tokenizer(self._unigram)
        model.pre_tokenizer = pre_tokenizers.Metaspace(replacement=SPACE, prepend_scheme="always")
        model.decoder = decoders.Metaspace(replacement=SPACE, prepend_scheme="always")
        return model

    def _state(self) -> list[tuple[str, float]]:
        return self._scored


def train_tokenizer(
    documents: Iterable[str],
    *,
    kind: Literal["word", "subword"] = "word",
    vocabulary_size: int | None = None,
    min_count: int = 3,
    workers: int | None = None,
    progress: Progress = SILENT,
) -> TextTokenizer:
    """Learn a vocabulary from documents, in bounded memory; it does not depend on the number of workers.

    Args:
        kind: "word", or "subword" (a Unigram model).
        vocabulary_size: maximum number of tokens, including the special ones (default: 60,000 words or 16,000 subwords).
        min_count: rarer words are left out (word level only).
        workers: number of processes that count (default: one per core).

    Raises:
        UserError: there is no document, or no word is left.
    """
    if kind == "word":
        size = 60_000 if vocabulary_size is None else vocabulary_size
        return WordTokenizer(*learn_words(documents, size, min_count, workers, progress))
    corpus = count_corpus(count_marked_words, documents, workers, progress)
    scored = train_unigram(corpus.words, 16_000 if vocabulary_size is None else vocabulary_size)
    pieces = SubwordTokenizer(scored).count_pieces(corpus.words)
    pieces[BEGIN] = corpus.n_documents
    return SubwordTokenizer(scored, [pieces[token] for token, _ in scored])
