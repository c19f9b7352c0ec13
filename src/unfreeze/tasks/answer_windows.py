"""Contexts of any length as windows of words, and which words an answer is.

Legend: W words of a window.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from unfreeze.text.questions import Question
from unfreeze.text.words import Word, split_words

LONGEST, STRIDE = 400, 200
"""Words of a window, and how far the next one begins behind it."""


@dataclass(frozen=True)
class Window:
    """Some words of a context with a question."""

    number: int
    """Of the question."""
    question: str
    """Its words, between single spaces."""
    context: str
    """The window's words, the same way."""
    words: Sequence[Word]
    """With their places in the whole context."""
    span: tuple[int, int] | None = None
    """First and last word of the answer within the window; None where it has none there."""
    owned: tuple[int, int] | None = None
    """Answers are looked for that begin from this word of the window on, before that one; None is everywhere. Of windows that
    overlap each owns its middle, so that every place is looked at once, in the window that shows most around it."""


def joined(words: Sequence[Word]) -> str:
    """Words between single spaces, as `WordInputs` reads them."""
    return " ".join(word.text for word in words)


def windows_of(
    questions: Sequence[Question], *, longest: int = LONGEST, stride: int = STRIDE
) -> list[Window]:
    """All windows of all questions; a context without words has none."""
    margin = (longest - stride) // 2
    found: list[Window] = []
    known: dict[str, tuple[list[Word], list[tuple[int, list[Word], str]]]] = {}
    for number, each in enumerate(questions):
        if each.context not in known:
            words = split_words(each.context)
            parts = [
                (start, words[start : start + longest]) for start in _starts(len(words), longest, stride)
            ]
            known[each.context] = words, [(start, own, joined(own)) for start, own in parts]
        words, cut = known[each.context]
        text = joined(split_words(each.question))
        if not text:
            continue
        whole = _span(words, each)
        for start, own, context in cut:
            owned = (margin if start else 0, len(own) if start == cut[-1][0] else margin + stride)
            found.append(Window(number, text, context, own, _within(whole, start, len(own)), owned))
    return found


def _starts(count: int, longest: int, stride: int) -> list[int]:
    if not count:
        return []
    return (
        [0, *(start for start in range(stride, count, stride) if start + longest - stride < count)]
        if count > longest
        else [0]
    )


def _span(words: Sequence[Word], question: Question) -> tuple[int, int] | None:
    """The words that the first answer touches."""
    if not question.answers:
        return None
    begin = question.answers[0].start
    end = begin + len(question.answers[0].text)
    touched = [number for number, word in enumerate(words) if word.start < end and word.end > begin]
    return (touched[0], touched[-1]) if touched else None


def _within(span: tuple[int, int] | None, start: int, count: int) -> tuple[int, int] | None:
    if span is None or span[0] < start or span[1] >= start + count:
        return None
    return span[0] - start, span[1] - start
