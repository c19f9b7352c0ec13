"""ULMFiT's rules (fastai), which turn words into the tokens of a word-level vocabulary, and tokens back into text.

    Very   -> xxmaj very                VERY -> xxup very          McDonald -> mcdonald (this is lost)
    sooooo -> s xxrep 5 o   !!!! -> xxrep 4 !     a character four or more times in a row
    so so so good -> xxwrep 3 so good                 a word three or more times, white space between

The rules do not depend on the vocabulary. Unlike fastai's, they are applied to words that are already split, so that the word
and the offsets of each token are known, and a single capital letter is marked like any capitalized word ("I" -> xxmaj i)
unless the vocabulary is fastai's, which does not have that.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, compress, islice
from operator import eq
from typing import NamedTuple, TypeVar

from unfreeze.text.words import chunk_words, is_unspaced, without_surrogates

UNKNOWN, PAD, BEGIN = "xxunk", "xxpad", "xxbos"
REPEATED_CHARACTER, REPEATED_WORD = "xxrep", "xxwrep"
UPPERCASE, CAPITALIZED = "xxup", "xxmaj"
SPECIAL_TOKENS = (UNKNOWN, PAD, BEGIN, REPEATED_CHARACTER, REPEATED_WORD, UPPERCASE, CAPITALIZED)
END = "xxeos"
FOREIGN_SPECIAL_TOKENS = (END, "xxfld")  # in fastai's vocabularies and in those that frame sentences

T = TypeVar("T")

_RESERVED = frozenset(SPECIAL_TOKENS + FOREIGN_SPECIAL_TOKENS)
_REPEATED = re.compile(r"(\S)\1{3,}")


class Token(NamedTuple):
    """A token, the index of its word (-1 if it belongs to no word, such as xxmaj) and its offsets."""

    text: str
    word: int
    start: int
    end: int


class Run(NamedTuple):
    """A word repeated `length` times: `n_chunks` whole chunks from `first`, and possibly the beginning of the next chunk."""

    first: int
    n_chunks: int
    length: int

    @property
    def beginning(self) -> tuple[str, str]:
        """The two tokens before the word."""
        return REPEATED_WORD, str(self.length)


def chunk_tokens(chunk: str, mark_letters: bool = True) -> list[Token]:
    """The tokens of a chunk, with words and offsets from its beginning; every word has a token of its own."""
    tokens = []
    start = 0
    for index, word in enumerate(chunk_words(chunk)):
        done = 0
        for match in _REPEATED.finditer(word):
            tokens += _cased(
                word[done : match.start()], index, start + done, start + match.start(), mark_letters
            )
            place = (start + match.start(), start + match.end())
            tokens.append(Token(REPEATED_CHARACTER, -1, *place))
            tokens.append(Token(str(match.end() - match.start()), -1, *place))
            tokens += _cased(match.group(1), index, *place, mark_letters)
            done = match.end()
        tokens += _cased(word[done:], index, start + done, start + len(word), mark_letters)
        start += len(word)
    return tokens


def _cased(text: str, word: int, start: int, end: int, mark_letters: bool) -> list[Token]:
    """Zero to two tokens: `text` in lower case, preceded by xxmaj or xxup if it is capitalized or in upper case."""
    if not text:
        return []
    lower = normalized(text)
    token = Token(UNKNOWN if lower in _RESERVED else lower, word, start, end)
    if text.isupper() and sum(map(str.isupper, text)) > 1:
        return [Token(UPPERCASE, -1, start, end), token]
    if text[0].isupper() and text[1:] == text[1:].lower() and (mark_letters or len(text) > 1):
        return [Token(CAPITALIZED, -1, start, end), token]
    return [token]


def normalized(word: str) -> str:
    """The form of a word in a word-level vocabulary: lower case, `composed`.

    It is applied to the words of tables of word vectors and to the words that are looked up in them.
    """
    return composed(word.lower())


def composed(word: str) -> str:
    """Unify composed and decomposed accents, and straight and curly apostrophes within words."""
    if word.isascii():
        return word
    word = unicodedata.normalize("NFC", without_surrogates(word))
    return word.replace("’", "'") if len(word) > 1 else word


def find_runs(chunks: Sequence[str]) -> Iterator[Run]:
    """Find words that are repeated three or more times, separated by white space; costs almost nothing if there are none.

    Only words of letters and digits in the same case, without a character four times in a row. The last one may be followed
    by other characters ("no no no!").
    """
    end = 0
    for first in compress(range(len(chunks)), map(eq, chunks, islice(chunks, 1, None))):
        word = chunks[first]
        if first < end or not word[0].isalnum() or len(chunk_words(word)) > 1 or _REPEATED.search(word):
            continue
        end = first + 2
        while end < len(chunks) and chunks[end] == word:
            end += 1
        tail = end < len(chunks) and chunk_words(chunks[end])[0] == word
        if end - first + tail >= 3:
            yield Run(first, end - first, end - first + tail)


def fold_runs(
    chunks: Sequence[str], pieces_of: Callable[[str], Sequence[T]], beginning_of: Callable[[Run], Sequence[T]]
) -> list[T]:
    """The pieces of consecutive chunks; each run of a word is replaced by `beginning_of(run)` and one word."""
    pieces: list[T] = []
    done = 0
    for run in find_runs(chunks):
        pieces.extend(chain.from_iterable(map(pieces_of, chunks[done : run.first])))
        word = pieces_of(chunks[run.first])
        pieces += beginning_of(run)
        pieces += word
        done = run.first + run.n_chunks
        if run.length > run.n_chunks:
            pieces += pieces_of(chunks[done])[len(word) :]
            done += 1
    pieces.extend(chain.from_iterable(map(pieces_of, chunks[done:])))
    return pieces


def place_chunks(
    chunks: Sequence[tuple[str, int]], tokens_of: Callable[[str], Sequence[Token]]
) -> list[list[Token]]:
    """The tokens of each (chunk, start), with words and offsets from the beginning of the text."""
    placed = []
    n_words = 0
    for chunk, begin in chunks:
        placed.append(
            [
                Token(text, word if word < 0 else word + n_words, start + begin, end + begin)
                for text, word, start, end in tokens_of(chunk)
            ]
        )
        n_words += len(chunk_words(chunk))
    return placed


def fold_placed(chunks: Sequence[str], placed: list[list[Token]]) -> None:
    """Fold runs of a word in the result of `place_chunks`, in place.

    The remaining word has the index of the first word of the run and the offsets of the whole run.
    """
    for run in find_runs(chunks):
        word = placed[run.first]
        behind = run.first + run.n_chunks
        has_tail = run.length > run.n_chunks
        last = placed[behind][len(word) - 1] if has_tail else placed[behind - 1][-1]
        place = (word[0].start, last.end)
        if has_tail:
            placed[behind] = placed[behind][len(word) :]
        placed[run.first : behind] = [[]] * run.n_chunks
        beginning = [Token(text, -1, *place) for text in run.beginning]
        placed[run.first] = beginning + [Token(token.text, token.word, *place) for token in word]


_CLOSING = frozenset(
    [*",.;:!?…)]}%»”’、。，！？；：）」』", "''", "n't", "'s", "'re", "'ve", "'ll", "'d", "'m"]
)
_OPENING = frozenset([*"([{$£€#@«“‘（「『", "``"])
_JOINING = frozenset("-/_–")
_QUOTES = frozenset("\"'")
_PUNCTUATION = frozenset(".,;:!?")
MAX_REPEATS = 1000  # a model may generate any number after xxrep


def join_tokens(tokens: Sequence[str]) -> str:
    """Readable text of tokens, with marks applied and white space as in English.

    Other special tokens are left out, except xxunk.
    """
    text: list[str] = []
    left_open: set[str] = set()  # quotation marks that have not been closed
    glued = True  # the next unit follows without a space
    for unit, repeated in _units(tokens):
        closing = unit in left_open or unit in _CLOSING or _PUNCTUATION.issuperset(unit)
        if unit == "'" and not closing:  # of dogs' or 'this'
            closing = bool(text) and not glued and text[-1].endswith("s")
        opening = unit in _OPENING or (unit in _QUOTES and not closing)
        glued = glued or closing or unit in _JOINING or (repeated and unit.isalpha())
        # Scripts such as Han are written without spaces.
        if not glued and not (is_unspaced(text[-1][-1]) and is_unspaced(unit[0])):
            text.append(" ")
        text.append(unit)
        if unit in _QUOTES and (opening or unit in left_open):
            left_open ^= {unit}
        glued = opening or unit in _JOINING or (len(unit) > 1 and unit[-1] in "'’" and unit[-2].isalpha())
    return "".join(text)


def _units(tokens: Sequence[str]) -> Iterator[tuple[str, bool]]:
    """Words with the preceding marks applied, and whether a word is a repeated character."""
    cases: list[Callable[[str], str]] = []
    repeat, count = "", 1  # the last of several repetitions is applied
    position = 0
    while position < len(tokens):
        token = tokens[position]
        position += 1
        if token in (REPEATED_CHARACTER, REPEATED_WORD):
            if position < len(tokens) and tokens[position].isdecimal():
                repeat, count = token, min(int(tokens[position][:9]), MAX_REPEATS)
                position += 1
        elif token in _CASES:
            cases.append(_CASES[token])
        elif token not in _RESERVED or token == UNKNOWN:
            for case in cases:
                token = case(token)
            yield (
                (" " if repeat == REPEATED_WORD else "").join([token] * max(count, 1)),
                repeat == REPEATED_CHARACTER,
            )
            cases, repeat, count = [], "", 1


_CASES: dict[str, Callable[[str], str]] = {
    UPPERCASE: str.upper,
    CAPITALIZED: lambda word: word[:1].upper() + word[1:],
}
