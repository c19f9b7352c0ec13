"""Typical noise in user-written text: missing capitals and apostrophes, typos, words in capitals, exclamation marks."""

from __future__ import annotations

import re
from collections.abc import Callable

_LOWER = 0.04
_NO_APOSTROPHES = 0.05
_TYPING_ERROR = 0.08
_SHOUTED_WORD = 0.05
_ALL_CAPITALS = 0.005
_EXCLAMATION = 0.08
_WORD = re.compile(r"[a-z]{5,}")


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
