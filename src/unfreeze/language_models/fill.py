"""Words for a gap, by the text on its left, the text on its right, and both together.

    p(w | left, right) is proportional to p(w | left) p(w | right) / p(w)

where the two sides are taken as independent given the word, and p(w) comes from the vocabulary's counts. Candidates are
the whole words of the vocabulary (in a subword vocabulary, words of a single piece); every distribution is normalized over
them.

A vocabulary with marks of capitals writes a capitalized word as xxmaj and the word in lower case, so candidates are in
lower case. Forward, p(w | left) sums over the ways to write w (as it is, after xxmaj, after xxup): a gap at the beginning of
a sentence needs no rule of its own. Backward, a word is read before its mark, and p(w | right) is that sum already.

Legend: V vocabulary, C candidates.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

import numpy as np
from numpy.typing import NDArray

from unfreeze.errors import UserError
from unfreeze.language_models.base import Fills, Reader
from unfreeze.text.rules import CAPITALIZED, UPPERCASE, composed, normalized
from unfreeze.text.tokenizer_training import SPACE
from unfreeze.text.tokenizers import TextTokenizer

GAP = re.compile(r"_{3,}")
STAND_IN = "¤"
"""Fills the gap while the text is encoded; it is always a word of its own, whatever is next to it."""


@dataclass(frozen=True, slots=True)
class GapWord:
    """A candidate for the gap and its probabilities."""

    word: str
    """In lower case where the vocabulary has marks of capitals."""
    rank: int
    """Among all candidates, from 1, by the last of the probabilities."""
    probabilities: dict[str, float]
    """"forward", "backward" and "both", as far as the model has them."""


@dataclass(frozen=True)
class Gap:
    """The distribution over the words that could fill a gap."""

    candidates: dict[str, int]
    """The C words that could fill it, each with its place in the arrays."""
    probabilities: dict[str, NDArray[np.float64]]
    """(C,) each, summing to 1: "forward", "backward" and "both", as far as the model has them."""

    @classmethod
    def of_scores(cls, candidates: dict[str, int], scores: dict[str, NDArray[np.float64]]) -> Gap:
        """From log-probabilities up to a constant, (C,) each."""
        return cls(candidates, {name: _normalized(values) for name, values in scores.items()})

    def words(self, top: int, candidates: Sequence[str] | None = None) -> list[GapWord]:
        """The `top` most probable words, or the given candidates, most probable first.

        Raises:
            UserError: the vocabulary has no such candidate (as a single piece).
        """
        ranking = np.argsort(-self._ranked_by, kind="stable").tolist()
        wanted = None if candidates is None else {self._place(word) for word in candidates}
        places = ranking[:top] if wanted is None else [place for place in ranking if place in wanted]
        words = list(self.candidates)
        return [
            GapWord(
                words[place],
                self._rank(place),
                {name: float(shares[place]) for name, shares in self.probabilities.items()},
            )
            for place in places
        ]

    @property
    def _ranked_by(self) -> NDArray[np.float64]:
        return list(self.probabilities.values())[-1]

    def _rank(self, place: int) -> int:
        return 1 + int((self._ranked_by > self._ranked_by[place]).sum())

    def _place(self, word: str) -> int:
        for form in (word, composed(word), normalized(word)):
            if form in self.candidates:
                return self.candidates[form]
        raise UserError(f"{word!r} cannot be ranked: it is not a single entry of the model's vocabulary")


def fill_gap(
    model: Fills, text: str, *, top: int = 10, candidates: Sequence[str] | None = None
) -> list[GapWord]:
    """Rank the words that may fill the gap of a text, most probable first.

    Args:
        text: with one gap, ___.
        top: number of words to return.
        candidates: return these words instead; their probabilities remain those among all words.

    Raises:
        UserError: the text has no gap or several, or a candidate is not in the vocabulary.
    """
    return read_gap(model, text).words(top, candidates)


def read_gap(model: Fills, text: str) -> Gap:
    """The distribution over the words for the one gap ___ in a text; raises as `fill_gap`."""
    left, right = split_at_gap(text)
    # Both sides are encoded in one text: by itself the right side would begin with a word that white space precedes.
    readable = model.readable(left + STAND_IN + right)
    inside = {n for n, (start, end) in enumerate(readable.offsets) if start <= len(left) < end}
    words = whole_words(model.tokenizer, after_space=not left or left[-1].isspace())
    ids = np.array(list(words.values()), dtype=np.int64)
    scores: dict[str, NDArray[np.float64]] = {}
    for name in model.directions:
        order = model.reading_order(name, len(readable.ids))
        reader = model.reader(name, readable)
        reader.read([readable.ids[n] for n in takewhile(lambda n: n not in inside, order)])
        scores[name] = _word_scores(reader, model.tokenizer, with_marks=name == "forward")[ids]
    if len(scores) == 2:
        scores["both"] = scores["forward"] + scores["backward"] - unigram_scores(model.tokenizer, ids)
    return Gap.of_scores({word: place for place, word in enumerate(words)}, scores)


def split_at_gap(text: str) -> tuple[str, str]:
    """The text on the left and on the right of the one gap.

    Raises:
        UserError: there is none, or there are several.
    """
    sides = GAP.split(text)
    if len(sides) != 2:
        found = "no gap" if len(sides) == 1 else f"{len(sides) - 1} gaps"
        raise UserError(f"{text[:80]!r} has {found}: write ___ once, where the word is missing")
    return sides[0], sides[1]


def whole_words(tokenizer: TextTokenizer, *, after_space: bool) -> dict[str, int]:
    """The words that a gap can hold, and their ids; no special tokens and no punctuation.

    Args:
        after_space: whether white space precedes the gap; it matters to subword vocabularies only.
    """
    words: dict[str, int] = {}
    for number, entry in enumerate(tokenizer.vocabulary):
        word = entry if tokenizer.is_word_level else entry.removeprefix(SPACE)
        fits = tokenizer.is_word_level or entry.startswith(SPACE) == after_space
        if fits and number not in tokenizer.special_ids and any(map(str.isalnum, word)):
            words[word] = number
    return words


def _word_scores(reader: Reader, tokenizer: TextTokenizer, *, with_marks: bool) -> NDArray[np.float64]:
    """log p of each entry of the vocabulary to be the next word, (V,).

    Args:
        with_marks: add up the ways to write a word: as it is, or after a mark of capitals.
    """
    scores: NDArray[np.float64] = reader.log_probabilities().numpy()
    total = scores
    # Subwords keep their capitals, and so does a word-level vocabulary that needs no marks.
    if with_marks and tokenizer.is_word_level and CAPITALIZED in tokenizer.needed_tokens:
        for mark in map(tokenizer.id, (CAPITALIZED, UPPERCASE)):
            assert mark is not None
            branch = copy.copy(reader)
            branch.read([mark])
            total = np.logaddexp(total, scores[mark] + branch.log_probabilities().numpy())
    return total


def unigram_scores(tokenizer: TextTokenizer, ids: NDArray[np.int64]) -> NDArray[np.float64]:
    """log p(w) up to a constant, (C,); by Zipf's law where a frequency-sorted vocabulary came without counts."""
    shares = 1.0 / np.arange(1.0, len(tokenizer) + 1.0)
    if tokenizer.counts is not None:
        shares = np.maximum(np.asarray(tokenizer.counts, dtype=np.float64), 1.0)
    scores: NDArray[np.float64] = np.log(shares[ids])
    return scores


def _normalized(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    shares = np.exp(scores - scores.max())
    result: NDArray[np.float64] = shares / shares.sum()
    return result
