"""Read questions with their contexts and answers in SQuAD's format, versions 1.1 and 2.0.

    {"data": [{"title": ..., "paragraphs": [{"context": ..., "qas": [
        {"id": ..., "question": ..., "answers": [{"text": ..., "answer_start": ...}], "is_impossible": false}]}]}]}

An answer is a span of its context. A wrong `answer_start` is corrected with a warning: to the only occurrence of the answer or,
if there are several, to the nearest. Two equally near ones are refused.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from unfreeze.checked import need_type, parse_json
from unfreeze.datasets.dataset import Dataset
from unfreeze.datasets.lines import existing_file, read_lines
from unfreeze.errors import Notice, UserError, setting
from unfreeze.text.words import without_surrogates

logger = logging.getLogger(__name__)


class Answer(NamedTuple):
    """A span of a context."""

    text: str
    start: int
    """Index of its first character."""
    sure: bool = True
    """Whether the text occurs only once in the context."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question about a context, with its answers, if the context has any."""

    id: str
    question: str
    context: str
    answers: tuple[Answer, ...]
    title: str = ""
    is_impossible: bool = False
    """Whether the file marks it as having no answer."""


class QuestionSet(Dataset[Question]):
    """Questions, each with its context and its answers."""

    noun = "question"
    sorted_samples = True

    def digest(self) -> str:
        """16 hexadecimal digits that identify ids, questions, contexts and answers."""
        found = hashlib.blake2b()
        for each in self.examples:
            for part in (
                each.id,
                each.question,
                each.context,
                *(f"{a.start} {a.text}" for a in each.answers),
            ):
                found.update(part.encode("utf-8", "surrogatepass") + b"\0")
        return found.hexdigest()[:16]

    def sure(self) -> QuestionSet:
        """The questions whose first answer occurs once in its context.

        Raises:
            UserError: there is none.
        """
        found = self.subset(each for each in self.examples if each.answers and each.answers[0].sure)
        if not len(found):
            raise UserError(f"{self.source}: no question has an answer that occurs only once in its context")
        return found

    def need_answers(self) -> None:
        """Raise UserError if nothing can be measured: no question has an answer or is marked as having none."""
        if not any(each.answers or each.is_impossible for each in self.examples):
            raise UserError(
                f"{self.source}: none of its questions ({len(self):,}) has an answer to compare with; one that has none in "
                "its context is marked by is_impossible"
            )


@dataclass(frozen=True)
class _Reading:
    """Settings and warnings of reading one file."""

    source: str
    answers: bool
    correct: bool
    corrected: list[str] = field(default_factory=list)
    """Ids of questions with a wrong answer_start whose answer occurs once."""
    guessed: list[str] = field(default_factory=list)
    """Ids of questions with a wrong answer_start whose answer occurs several times."""


def read_questions(
    path: str | Path, encoding: str = "utf-8", *, answers: bool = True, mend_starts: bool = True
) -> QuestionSet:
    """Read a file in SQuAD's format.

    Args:
        answers: read the answers, too.
        mend_starts: correct a wrong answer_start to the nearest occurrence, with a warning; else refuse it.

    Raises:
        UserError: the file is not in that format, a question is empty, or an answer is not in its context or occurs
            equally near in two occurrences; the message has the id of the question.
    """
    file = existing_file(Path(path))
    text = "".join(read_lines(file, encoding))
    if not text.strip():
        raise UserError(f"{path} is empty: it needs questions in SQuAD's format")
    data = parse_json(text, path, "a file in SQuAD's format is needed")
    reading = _Reading(str(path), answers, mend_starts)
    questions = list(_questions(_part(data, "data", list, str(path)), reading))
    if not questions:
        raise UserError(f"{path} holds no question")
    for numbers, what in (
        (reading.corrected, "are corrected"),
        (reading.guessed, "belong to answers that occur several times; the nearest occurrence is used"),
    ):
        if numbers:
            logger.warning(
                Notice(
                    f"{path}: {len(numbers)} wrong answer_starts {what} (first: {numbers[0]}); "
                    f"{setting('mend_starts', False)} refuses them"
                )
            )
    return QuestionSet(questions, str(path))


def _part(value: Any, name: str, kind: type, place: str) -> Any:
    """Return `value[name]`.

    Raises:
        UserError: it is missing, or of another type.
    """
    if not isinstance(value, dict):
        raise UserError(f"{place} is not in SQuAD's format: an object with {name!r} should be there")
    if name not in value:
        raise UserError(f"{place} is not in SQuAD's format (data, paragraphs, qas): {name!r} is missing")
    need_type(value[name], kind, f"{place} is not in SQuAD's format: {name!r}")
    return value[name]


def _questions(articles: list[Any], reading: _Reading) -> Iterator[Question]:
    for number, article in enumerate(articles, 1):
        place = f"{reading.source}: article {number}"
        title = article.get("title") if isinstance(article, dict) else None
        for paragraph in _part(article, "paragraphs", list, place):
            context = without_surrogates(_part(paragraph, "context", str, place))
            for each in _part(paragraph, "qas", list, place):
                yield _question(each, context, str(title or ""), reading)


def _question(each: Any, context: str, title: str, reading: _Reading) -> Question:
    source = reading.source
    if not isinstance(each, dict) or "id" not in each:
        raise UserError(f"{source} is not in SQuAD's format: a question of article {title!r} has no 'id'")
    if isinstance(each["id"], bool) or not isinstance(each["id"], (str, int)):
        raise UserError(
            f"{source} is not in SQuAD's format: the 'id' of a question of article {title!r} is neither text nor a number"
        )
    number = str(each["id"])
    place = f"{source}: question {number}"
    question = _part(each, "question", str, place)
    if not question.strip():
        raise UserError(f"{place} is empty")
    impossible = each.get("is_impossible") is not None and _part(each, "is_impossible", bool, place)
    given = _part(each, "answers", list, place) if reading.answers and not impossible else []
    answers = tuple(_answer(one, context, place, number, reading) for one in given)
    return Question(number, without_surrogates(question), context, answers, title, impossible)


def _answer(given: Any, context: str, place: str, number: str, reading: _Reading) -> Answer:
    text, start = (
        without_surrogates(_part(given, "text", str, place)),
        _part(given, "answer_start", int, place),
    )
    if not text.strip():
        raise UserError(f"{place} has an empty answer")
    occurrences = _places(text, context)
    if not occurrences:
        raise UserError(f"{place}: its answer {text!r} is not in its context")
    if start not in occurrences:
        if not reading.correct:
            raise UserError(f"{place}: its answer {text!r} is not at its answer_start {start}")
        (reading.corrected if len(occurrences) == 1 else reading.guessed).append(number)
        near, *others = sorted(occurrences, key=lambda each: abs(each - start))
        if others and abs(others[0] - start) == abs(near - start):
            raise UserError(
                f"{place}: its answer {text!r} is not at its answer_start {start}, and occurs equally near at {near} "
                f"and at {others[0]}"
            )
        start = near
    return Answer(text, start, len(occurrences) == 1)


def _places(text: str, context: str) -> list[int]:
    """Return where the text occurs, including overlapping occurrences."""
    occurrences = []
    start = context.find(text)
    while start >= 0:
        occurrences.append(start)
        start = context.find(text, start + 1)
    return occurrences


def as_question(question: str, context: str, number: str = "", place: str = "the question") -> Question:
    """A question without answers, for prediction.

    Args:
        place: what messages call the question.

    Raises:
        UserError: it is empty.
    """
    if not question.strip():
        raise UserError(f"{place} is empty: write what is asked about the context")
    return Question(number, question, context, ())
