"""`unfreeze predict` with an answerer: the best answers to each question, for people, as JSON lines or as a page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from unfreeze.commands.console import Console
from unfreeze.commands.inputs import given_texts, need_positive
from unfreeze.errors import UserError
from unfreeze.folders import written_file
from unfreeze.text.display import counted

if TYPE_CHECKING:
    from unfreeze.commands.predict import Predict
    from unfreeze.tasks.question_answerer import Answered
    from unfreeze.text.questions import Question, QuestionSet

FORMATS = (".jsonl", ".html")


def predict_answers(arguments: Predict, console: Console) -> None:
    """Print the answers, or write them to a file that appears when it is complete."""
    need_positive(arguments, "top")
    suffix = "" if arguments.output is None else arguments.output.suffix.lower()
    if arguments.output is not None and suffix not in FORMATS:
        raise UserError(f"--output {arguments.output}: of an answerer the name has to end in .jsonl or .html")
    from unfreeze.tasks.question_answerer import QuestionAnswerer

    questions = read(arguments)
    answerer = QuestionAnswerer.from_pretrained(arguments.model)
    answerer.precision = arguments.precision
    answered = answerer.answer(questions, count=arguments.top, progress=console.progress)
    pairs = list(zip(questions.examples, answered, strict=True))
    if arguments.output is None:
        for question, found in pairs:
            console.result(row(question, found), readable(question, found))
        return
    with written_file(arguments.output) as temporary:
        if suffix == ".jsonl":
            lines = [json.dumps(row(*pair), ensure_ascii=False) + "\n" for pair in pairs]
            temporary.write_text("".join(lines), encoding="utf-8", errors="replace")
        else:
            text = page(pairs, Path(arguments.model).resolve().name)
            temporary.write_text(text, encoding="utf-8", errors="replace")
    told = {"output": str(arguments.output), "questions": len(pairs)}
    console.result(told, f"{counted(len(pairs), 'question')}: {arguments.output}")


def read(arguments: Predict) -> QuestionSet:
    """Questions of the command line about --context, or of a file."""
    from unfreeze.text.questions import QuestionSet, asked, read_questions

    if arguments.file is not None:
        if arguments.texts or arguments.context is not None:
            raise UserError(
                "questions come from the command line with --context, or from --file, not from both"
            )
        return read_questions(arguments.file, arguments.encoding, answers=False)
    if arguments.context is None:
        raise UserError('an answerer needs a text: add --context "a text", or --file FILE in SQuAD\'s format')
    texts = given_texts(arguments.texts, None, encoding=arguments.encoding)
    questions = [asked(text, arguments.context, str(number)) for number, text in enumerate(texts)]
    return QuestionSet(questions, "the command line")


def row(question: Question, found: Answered) -> dict[str, object]:
    """A JSON line."""
    return {"id": question.id, "question": question.question, **found}


def readable(question: Question, found: Answered) -> str:
    """The answers with their scores, the score of none, a tab, the question."""
    said = [f"{' '.join(each['answer'].split())} ({each['score']:.2f})" for each in found["answers"]]
    return (
        f"{', '.join(said) or '-'}; no answer {found['no_answer']:.2f}\t{' '.join(question.question.split())}"
    )


def page(pairs: list[tuple[Question, Answered]], title: str) -> str:
    """Each question over its text, in which the best answer is colored if it is likelier than no answer."""
    from unfreeze.analysis.tag_page import page_begin, page_end, page_heading, page_text

    parts = [page_begin(title, [])]
    for question, found in pairs:
        best = [{**each, "entity_group": ""} for each in found["answers"][:1]]
        note = "".join(f"{each['score']:.2f}, " for each in best) + f"no answer {found['no_answer']:.2f}"
        parts.append(page_heading(question.question, note))
        best = [each for each in best if each["score"] > found["no_answer"]]
        parts.append(page_text(question.context, best, [""]))
    return "".join([*parts, page_end()])
