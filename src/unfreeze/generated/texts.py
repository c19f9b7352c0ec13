"""Labeled reviews of fictional films and products, and unlabeled text of the same domain.

The label of a review is the judgment of its writer, expressed by a common adjective, a rare one, an idiom, a negation ("not
at all boring"), or after a concession ("the acting was wooden, but the story carried me away"). Plots, circumstances and the
opinions of other people are neutral or misleading. The unlabeled text consists of articles, columns and letters on rivers,
banks, animals, computers, films and other things.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from random import Random
from typing import Literal

from unfreeze.generated.grammar import Grammar

Label = Literal["positive", "negative"]
_SYMBOL_SIGN: dict[Label, str] = {"positive": "+", "negative": "-"}

# Probabilities of the kinds of noise in user-written text.
_LOWER = 0.04
_NO_APOSTROPHES = 0.05
_TYPING_ERROR = 0.08
_SHOUTED_WORD = 0.05
_ALL_CAPITALS = 0.005
_EXCLAMATION = 0.08
_WORD = re.compile(r"[a-z]{5,}")


@dataclass(frozen=True, slots=True)
class Review:
    """A text and its sentiment."""

    text: str
    label: Label


def movie_reviews(count: int, seed: int) -> list[Review]:
    """Return `count` film reviews with balanced labels; a larger count with the same seed begins with the same ones."""
    return _reviews("film_review", count, seed)


def product_reviews(count: int, seed: int) -> list[Review]:
    """Return `count` reviews of devices and household goods, as `movie_reviews` does."""
    return _reviews("product_review", count, seed)


def _reviews(symbol: str, count: int, seed: int) -> list[Review]:
    grammar, random = generator_grammar(), Random(f"{symbol} {seed}").random
    reviews: list[Review] = []
    while len(reviews) < count:
        pair: list[Label] = ["positive", "negative"] if random() < 0.5 else ["negative", "positive"]
        for label in pair:
            text = grammar.expand(symbol + _SYMBOL_SIGN[label], random)
            reviews.append(Review(with_noise(text, random), label))
    return reviews[:count]


def plain_text(count: int, seed: int) -> list[str]:
    """Return `count` documents of about 8 to 20 sentences, each on one line, determined by the seed."""
    grammar, random = generator_grammar(), Random(f"plain {seed}").random
    return [grammar.expand("document", random) for _ in range(count)]


@cache
def generator_grammar() -> Grammar:
    """Read the grammar from the files in `vocabulary/`, in the order of their names."""
    folder = resources.files(__package__).joinpath("vocabulary")
    files = sorted(
        (file for file in folder.iterdir() if file.name.endswith(".txt")), key=lambda file: file.name
    )
    return Grammar({file.name: file.read_text(encoding="utf-8") for file in files})


def with_noise(text: str, random: Callable[[], float]) -> str:
    """Add noise at random; most texts stay unchanged."""
    if random() < _TYPING_ERROR:
        text = _on_one_word(text, random, lambda word: _mistyped(word, random))
    if random() < _SHOUTED_WORD:
        text = _on_one_word(text, random, str.upper)
    if random() < _EXCLAMATION and text.endswith("."):
        text = text[:-1] + "!" * (1 + int(random() * 3))
    if random() < _NO_APOSTROPHES:
        text = text.replace("'", "")
    draw = random()
    if draw < _ALL_CAPITALS:
        return text.upper()
    return text.lower() if draw < _ALL_CAPITALS + _LOWER else text


def _on_one_word(text: str, random: Callable[[], float], change: Callable[[str], str]) -> str:
    words = list(_WORD.finditer(text))
    if not words:
        return text
    word = words[int(random() * len(words))]
    return text[: word.start()] + change(word[0]) + text[word.end() :]


def _mistyped(word: str, random: Callable[[], float]) -> str:
    """Drop, double or swap a letter other than the first."""
    place = 1 + int(random() * (len(word) - 2))
    before, letter, following = word[:place], word[place], word[place + 1 :]
    kind = random()
    if kind < 1 / 3:
        return before + following
    if kind < 2 / 3:
        return before + letter + letter + following
    return before + following[0] + letter + following[1:]
