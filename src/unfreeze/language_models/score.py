"""Log-probability of a text and of each of its tokens, under each direction of a language model.

    log p(x_1..x_T) = sum_t log p(x_t | begin, x_1..x_(t-1)), and from the right log p(x_t | begin, x_T..x_(t+1))

The begin symbol is given, and the end of a text is not scored. Every text starts from a zero state.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from unfreeze.language_models.base import Scores


@dataclass(frozen=True, slots=True)
class TokenScore:
    """One token of a text."""

    token: str
    """The token as it is in the vocabulary."""
    start: int
    """Position of its first character in the text."""
    end: int
    """Where it ends."""
    log_probability: float
    """In nats, given all tokens before it in the reading direction."""


@dataclass(frozen=True)
class DirectionScore:
    """A text's score in one direction."""

    log_probability: float
    """Of the whole text, in nats."""
    perplexity: float
    """exp of the mean negative log-probability of a token; NaN for a text without tokens."""
    tokens: list[TokenScore]
    """In the order of the text, whatever the reading direction."""


@dataclass(frozen=True)
class TextScore:
    """The log-probabilities of a text in each direction."""

    text: str
    """The text as passed to `score_texts`."""
    directions: dict[str, DirectionScore]
    """By the model's directions: "forward", "backward" or both."""


def score_texts(model: Scores, texts: Sequence[str]) -> list[TextScore]:
    """The score of each text; no text affects another's."""
    scores = []
    for text, found in zip(texts, model.token_log_probabilities(texts), strict=True):
        directions = {}
        for name, values in found.log_probabilities.items():
            tokens = [
                TokenScore(model.tokenizer.token(token), start, end, value)
                for token, (start, end), value in zip(found.ids, found.offsets, values, strict=True)
            ]
            total = math.fsum(values)
            mean = total / len(values) if values else math.nan
            directions[name] = DirectionScore(total, math.exp(min(-mean, 700.0)), tokens)
        scores.append(TextScore(text, directions))
    return scores
