"""Exact match and F1 of answers, as SQuAD defines them (Rajpurkar et al. 2016): words in lower case without articles and
punctuation; of several true answers the best counts."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = set(string.punctuation)


def normalized(answer: str) -> str:
    """What is compared."""
    plain = "".join(letter for letter in answer.lower() if letter not in _PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", plain).split())


def exact_match(predicted: str, true: Sequence[str]) -> float:
    """1 where it is one of the true answers, else 0; no true answer is matched by an empty one."""
    return max((float(normalized(predicted) == normalized(each)) for each in true or [""]), default=0.0)


def f1(predicted: str, true: Sequence[str]) -> float:
    """Of the words that are shared, the best over the true answers."""
    return max(_f1(normalized(predicted).split(), normalized(each).split()) for each in true or [""])


def _f1(predicted: list[str], true: list[str]) -> float:
    if not predicted or not true:
        return float(predicted == true)
    shared = (Counter(predicted) & Counter(true)).total()
    return 2 * shared / (len(predicted) + len(true))
