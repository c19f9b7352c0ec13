"""Labeled reviews of fictional films and products.

The label is the judgment of the reviewer, expressed by a common adjective, a rare one, an idiom, a negation ("not at all
boring"), or after a concession ("the acting was wooden, but the story carried me away"). Plots, circumstances and the
opinions of other people are neutral or misleading.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Literal

from unfreeze.generated.noise import with_noise
from unfreeze.generated.vocabulary_files import generator_grammar

Label = Literal["positive", "negative"]
_SYMBOL_SIGN: dict[Label, str] = {"positive": "+", "negative": "-"}


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
