"""Claim: question answering gains most from contextual vectors (Peters et al. 2018: SQuAD F1 81.1 to 85.8).

The same reader (BiDAF's attention, character CNN) is trained on 10,000 questions of SQuAD whose answer occurs once in the context:
with word vectors of Wikipedia, with ELMo's mix added at the input, and with the mix also added before the modeling layers.
The epoch is selected on questions on other articles, and exact match and F1 are on the first questions of the dev
file. "No answer" is how often a question has a lower no-answer score with its own context than with that of another
article (area under the curve).

    python -m experiments.elmo_answers --data DATA --vectors VECTORS --runs RUNS [--elmo ELMO] [--questions N] [--epochs N] [--forms words cove --cove COVE]

Results are stored in RUNS, and an existing result is not computed again.

2026-11-25, --epochs 5 --test 2000, one core: word vectors EM 30.4, F1 41.5, no answer 88.0 %; with ELMo at the input 33.4, 43.8, 90.0;
at input and output 33.1, 43.7, 91.5 (docs/results.md).
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from experiments.results import Results, part_of, with_model
from unfreeze.tasks.question_answerer import QuestionAnswerer, fit_answerer
from unfreeze.tasks.settings import AnswererSettings
from unfreeze.text.questions import Question, QuestionSet, read_questions

FORMS = ["words", "input", "both"]


def main(given: Sequence[str] | None = None) -> None:
    """Fit and evaluate each variant, and print a line for it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with squad/")
    parser.add_argument("--elmo", help="folder of an ELMo model, for the forms input and both")
    parser.add_argument("--vectors", required=True, help="folder or file of word vectors")
    parser.add_argument("--cove", help="translator trained by `unfreeze pretrain cove`, for the form cove")
    parser.add_argument("--runs", type=Path, required=True, help="folder for results")
    parser.add_argument("--questions", type=int, default=10_000)
    parser.add_argument("--test", type=int, default=3_000, help="number of test questions (default: 3,000)")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--forms", nargs="+", choices=[*FORMS, "cove"], default=FORMS)
    arguments = parser.parse_args(given)
    if "cove" in arguments.forms and arguments.cove is None:
        parser.error("--forms cove needs --cove, a translator trained by `unfreeze pretrain cove`")
    if arguments.elmo is None and {"input", "both"} & set(arguments.forms):
        parser.error("the forms input and both need --elmo, the folder of an ELMo model")
    folder = arguments.data / "squad"
    train = read_questions(folder / "train-v1.1.json").sure().sample(arguments.questions + 500, 0)
    titles = list(dict.fromkeys(each.title for each in train.examples))
    held = set(titles[: max(1, len(titles) // 40)])
    dev = replace(train, examples=[each for each in train.examples if each.title in held])
    own = [each for each in train.examples if each.title not in held][: arguments.questions]
    test = read_questions(folder / "dev-v1.1.json").sample(arguments.test, 0)
    print(
        f"{len(own):,} questions to learn from, {len(dev):,} choose the epoch, {len(test):,} are measured on",
        flush=True,
    )
    results = Results(arguments.runs / "results.jsonl")
    part = part_of("answers", arguments, "forms", "cove")
    learned = replace(train, examples=own)
    for form, settings in forms(arguments):
        method = with_model(form, arguments.cove) if form == "cove" else form
        row = results.measure(part, method, len(own), 0, partial(measured, learned, dev, test, settings))
        figures = ", ".join(f"{name} {100 * row[name]:.1f}" for name in ("exact_match", "f1", "no_answer"))
        weights = "; ".join(f"{place} {shares}" for place, shares in row["layers and gamma"].items())
        print(
            f"{form}: {figures} %, {row['seconds']:.0f} s{'; layers and gamma: ' * bool(weights)}{weights}",
            flush=True,
        )


def measured(
    train: QuestionSet, dev: QuestionSet, test: QuestionSet, settings: AnswererSettings
) -> dict[str, Any]:
    """Exact match, F1, the no-answer score, and the weights of the layers."""
    answerer, _ = fit_answerer(train, settings, validation=dev)
    answerer.precision = "auto"
    figures = {name: round(value, 5) for name, value in answerer.evaluate(test).items()}
    weights = {place: [round(each, 2) for each in shares] for place, shares in answerer.layer_weights.items()}
    return {**figures, "no_answer": round(no_answer(answerer, test), 5), "layers and gamma": weights}


def forms(arguments: argparse.Namespace) -> Iterator[tuple[str, AnswererSettings]]:
    """Arguments for the input of the reader."""
    base = AnswererSettings(encoder=arguments.vectors, epochs=arguments.epochs)
    with_elmo = replace(base, encoder=arguments.elmo, word_vectors=arguments.vectors)
    every = {
        "words": ("word vectors", base),
        "input": ("and ELMo at the input", with_elmo),
        "both": ("and ELMo at input and output", replace(with_elmo, mix_at="both")),
        "cove": ("CoVe's vectors and top layer", replace(base, encoder=arguments.cove)),
    }
    for name in arguments.forms:
        yield every[name]


def mismatched(questions: Sequence[Question], seed: int) -> list[Question]:
    """Each question with the context of another article, which does not answer it."""
    order = list(range(len(questions)))
    random.Random(seed).shuffle(order)
    found = []
    for each, number in zip(questions, order, strict=True):
        steps = (questions[(number + step) % len(questions)] for step in range(len(questions)))
        other = next((one for one in steps if one.title != each.title), None)
        if other is not None:
            found.append(replace(each, context=other.context, answers=()))
    return found


def no_answer(answerer: QuestionAnswerer, test: QuestionSet, count: int = 500) -> float:
    """Area under the curve of the no-answer score for matching and non-matching pairs of question and context."""
    own = replace(test, examples=test.examples[:count])
    other = replace(test, examples=mismatched(own.examples, 0))
    belongs, not_there = (
        np.array([each["no_answer"] for each in answerer.answer(questions)]) for questions in (own, other)
    )
    return float(
        np.mean(belongs[:, None] < not_there[None]) + 0.5 * np.mean(belongs[:, None] == not_there[None])
    )


if __name__ == "__main__":
    main()
