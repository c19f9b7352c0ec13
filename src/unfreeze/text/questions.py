"""Questions with their contexts and answers: SQuAD's format, versions 1.1 and 2.0.

    {"data": [{"title": ..., "paragraphs": [{"context": ..., "qas": [
        {"id": ..., "question": ..., "answers": [{"text": ..., "answer_start": ...}], "is_impossible": false}]}]}]}

An answer stands in its context. Where `answer_start` is wrong it is mended: to the only place of the text, or, where there
are several, to the nearest, which is said.
"""

from __future__ import annotations

import logging
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from unfreeze.checked import parse_json
from unfreeze.errors import UserError
from unfreeze.text.lines import existing_file, read_lines
from unfreeze.text.words import without_surrogates

logger = logging.getLogger(__name__)


class Answer(NamedTuple):
    """A piece of a context."""

    text: str
    start: int
    """Character at which it begins."""
    sure: bool = True
    """Whether the text has no other place in the context."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question about a context; without answers it has none there."""

    id: str
    question: str
    context: str
    answers: tuple[Answer, ...]
    title: str = ""


@dataclass(frozen=True)
class QuestionSet:
    """Questions in their order."""

    questions: list[Question]
    source: str

    def __len__(self) -> int:
        return len(self.questions)

    def sure(self) -> QuestionSet:
        """Those whose first answer has one place only."""
        kept = [each for each in self.questions if each.answers and each.answers[0].sure]
        return replace(self, questions=kept)

    def sample(self, count: int, seed: int) -> QuestionSet:
        """So many, fixed by the seed, in the order of the file; smaller samples are parts of larger ones.

        Raises:
            UserError: there are not so many.
        """
        if count > len(self):
            raise UserError(f"{self.source} holds {len(self)} questions, not {count}")
        order = list(range(len(self)))
        random.Random(seed).shuffle(order)
        return replace(self, questions=[self.questions[number] for number in sorted(order[:count])])


def read_questions(path: str | Path, encoding: str = "utf-8", *, answers: bool = True) -> QuestionSet:
    """Read a file in SQuAD's format.

    Args:
        answers: read them too; else only what is asked.

    Raises:
        UserError: it is not in that format, a question is empty, or an answer is not in its context; with the question's id.
    """
    file = existing_file(Path(path))
    text = "".join(read_lines(file, encoding))
    if not text.strip():
        raise UserError(f"{path} is empty: it needs questions in SQuAD's format")
    data = parse_json(text, path, "a file in SQuAD's format is needed")
    mended: list[str] = []
    guessed: list[str] = []
    found = _questions(_part(data, "data", list, str(path)), str(path), mended, guessed, answers)
    questions = list(found)
    if not questions:
        raise UserError(f"{path} holds no question")
    if mended:
        logger.warning("%s: %d wrong answer_starts are mended (first: %s)", path, len(mended), mended[0])
    if guessed:
        logger.warning(
            "%s: %d wrong answer_starts have several places; the nearest is taken (first: %s)",
            path,
            len(guessed),
            guessed[0],
        )
    return QuestionSet(questions, str(path))


def _part(value: Any, name: str, kind: type, place: str) -> Any:
    """`value[name]`, which has to be of that kind.

    Raises:
        UserError: it is not, or is missing.
    """
    if not isinstance(value, dict):
        raise UserError(f"{place} is not in SQuAD's format: an object with {name!r} should be there")
    if name not in value:
        raise UserError(f"{place} is not in SQuAD's format (data, paragraphs, qas): {name!r} is missing")
    found = value[name]
    if not isinstance(found, kind):
        wanted = {list: "a list", str: "a text", int: "a whole number"}[kind]
        raise UserError(f"{place} is not in SQuAD's format: {name!r} is not {wanted}")
    return found


def _questions(
    articles: list[Any], source: str, mended: list[str], guessed: list[str], known: bool
) -> Iterator[Question]:
    for number, article in enumerate(articles, 1):
        place = f"{source}: article {number}"
        title = article.get("title") if isinstance(article, dict) else None
        for paragraph in _part(article, "paragraphs", list, place):
            context = without_surrogates(_part(paragraph, "context", str, place))
            for each in _part(paragraph, "qas", list, place):
                yield _question(each, context, str(title or ""), source, mended, guessed, known)


def _question(
    each: Any, context: str, title: str, source: str, mended: list[str], guessed: list[str], known: bool
) -> Question:
    if not isinstance(each, dict) or "id" not in each:
        raise UserError(f"{source} is not in SQuAD's format: a question of article {title!r} has no 'id'")
    number = str(each["id"])
    place = f"{source}: question {number}"
    question = _part(each, "question", str, place)
    if not question.strip():
        raise UserError(f"{place} is empty")
    given = _part(each, "answers", list, place) if known and not each.get("is_impossible") else []
    answers = [_answer(one, context, place, number, mended, guessed) for one in given]
    return Question(number, without_surrogates(question), context, tuple(answers), title)


def _answer(
    given: Any, context: str, place: str, number: str, mended: list[str], guessed: list[str]
) -> Answer:
    text, start = (
        without_surrogates(_part(given, "text", str, place)),
        _part(given, "answer_start", int, place),
    )
    if not text.strip():
        raise UserError(f"{place} has an empty answer")
    places = [match.start() for match in re.finditer(re.escape(text), context)]
    if not places:
        raise UserError(f"{place}: its answer {text!r} is not in its context")
    if context[start : start + len(text)] != text or start < 0:
        (mended if len(places) == 1 else guessed).append(number)
        start = min(places, key=lambda each: abs(each - start))
    return Answer(text, start, len(places) == 1)


def asked(question: str, context: str, number: str = "") -> Question:
    """A question without known answers.

    Raises:
        UserError: it is empty.
    """
    if not question.strip():
        raise UserError("the question is empty")
    return Question(number, question, context, ())


def mismatched(questions: Sequence[Question], seed: int) -> list[Question]:
    """Each question with the context of another article, so that there is no answer."""
    order = list(range(len(questions)))
    random.Random(seed).shuffle(order)
    found = []
    for each, number in zip(questions, order, strict=True):
        steps = (questions[(number + step) % len(questions)] for step in range(len(questions)))
        other = next((one for one in steps if one.title != each.title), None)
        if other is not None:
            found.append(replace(each, context=other.context, answers=()))
    return found
