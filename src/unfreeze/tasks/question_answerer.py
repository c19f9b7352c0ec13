"""`QuestionAnswerer`: answers to questions, found in a text; and `fit_answerer`, the recipe that trains it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from pathlib import Path
from typing import Any, Self, Unpack

import numpy as np
from numpy.typing import NDArray

from unfreeze.encoders.saving import load_matching
from unfreeze.errors import UserError, column_of, need_several, need_texts
from unfreeze.folders import Config, read_config
from unfreeze.progress import SILENT, Progress
from unfreeze.registry import HubOptions, find_model
from unfreeze.runs import Run
from unfreeze.tasks.answering import (
    Answers,
    ReaderNetwork,
    answer_metrics,
    answer_texts,
    best_answers,
    make_network,
    make_objective,
)
from unfreeze.tasks.base import Estimator, held_out_pair
from unfreeze.tasks.plans import AnswererPlan, card_facts, plan, run_identity
from unfreeze.tasks.settings import AnswererSettings
from unfreeze.tasks.task_encoders import (
    WordTaskParts,
    load_words,
    made_on_words,
    save_task_model,
)
from unfreeze.text.questions import Answer, Question, QuestionSet, as_question
from unfreeze.training.loop import metrics_of, seed_everything
from unfreeze.training.precision import Precision, prediction_format
from unfreeze.training.processes import together

KIND = "question_answerer"
BUFFER = 64
"""Number of questions that are answered together."""
SNIPPET = """
from unfreeze import QuestionAnswerer

answerer = QuestionAnswerer.from_pretrained(".")  # this folder
print(answerer([("Who is chasing?", "A mouse chases a cat.")], count=3))
"""

Answered = dict[str, Any]
"""{"answers": [{"answer", "score", "start", "end"}, ...], best first, "no_answer": probability that there is none}."""


@dataclass(frozen=True, kw_only=True)
class AnswererConfig(Config):
    """The config.json of an answerer."""

    settings: WordTaskParts
    estimator: dict[str, Any] | None = None
    """The settings of the estimator; models of earlier versions lack them."""


class QuestionAnswerer(Estimator, AnswererSettings):
    """A reader that finds the answers to questions in a text (BiDAF: attention between the question and the text).

    The settings are those of `unfreeze.tasks.settings.AnswererSettings`. By default the layers of the encoder that ships with
    unfreeze and a character CNN read the words.

    Example:
        >>> context = "The cat sleeps. The dog barks."
        >>> pairs = [("Who sleeps?", context), ("Who barks?", context)] * 8
        >>> answerer = QuestionAnswerer(encoder="none", characters=0, hidden_size=16, learning_rate=0.02, epochs=25)
        >>> answerer = answerer.set_params(input_dropout=0.0, dropout=0.0).fit(pairs, ["The cat", "The dog"] * 8)
        >>> answerer.predict([("Who barks?", context)])
        array(['The dog'], dtype=object)
        >>> answerer([("Who barks?", context)])[0]["answers"][0]["start"]
        16
    """

    network_: ReaderNetwork
    arguments_: dict[str, Any]
    """Arguments of the network, as in config.json."""

    @classmethod
    def of_network(
        cls, network: ReaderNetwork, arguments: dict[str, Any], settings: AnswererSettings | None = None
    ) -> Self:
        """A fitted answerer of a network.

        Args:
            arguments: arguments of the network, for config.json.
            settings: settings of the estimator; None for the defaults.
        """
        answerer = cls.with_settings(settings)
        answerer.network_, answerer.arguments_ = network, arguments
        return answerer

    @property
    def layer_weights(self) -> dict[str, list[float]]:
        """The weight of each layer of the encoder by the place of the mix, and gamma at the end; empty without a mix."""
        return self.network_.words.mix_shares()

    def fit(
        self,
        X: Sequence[tuple[str, str]],
        y: Sequence[str | tuple[str, int]],
        validation: tuple[Sequence[tuple[str, str]], Sequence[str | tuple[str, int]]] | None = None,
    ) -> Self:
        """Train on questions with their contexts.

        Args:
            X: pairs of question and context, dictionaries or records with these keys, or a data frame with these columns.
            y: the answer to each, as it occurs in its context: the text (its first occurrence is used), or the text and the
                character at which it begins. "" says that the answer is not in the context.
            validation: X and y to measure on after each epoch; the best epoch is kept.

        Raises:
            UserError: a setting cannot work, an answer is not in its context, or no question has an answer.
        """
        settings = AnswererSettings(**self._checked_settings())
        held_out = None if validation is None else _question_set(*held_out_pair(validation))
        fitted, self.metrics_ = fit_answerer(_question_set(X, y), settings, validation=held_out)
        return self._take_fitted(fitted)

    def predict(self, X: Sequence[tuple[str, str]]) -> NDArray[np.object_]:
        """The best answer to each (question, context): (n,) of str, "" if it is likelier that there is no answer.

        Raises:
            UserError: a question is empty, or one pair is given instead of several.
        """
        questions = _questions(X)
        found = [
            "" if not each.spans or each.margin <= 0.0 else each.spans[0][0]
            for each in self._answers(questions, 1, SILENT)
        ]
        return np.array(found, dtype=object)

    def score(self, X: Sequence[tuple[str, str]], y: Sequence[str | tuple[str, int]]) -> float:
        """Mean F1 of the words of the answers, as SQuAD defines it."""
        return self.evaluate(_question_set(X, y))["f1"]

    def __call__(self, pairs: Sequence[tuple[str, str]], *, count: int = 1) -> list[Answered]:
        """The best answers to each (question, context), with their places in the context.

        Args:
            count: largest number of answers to each question.

        Returns:
            Of each question {"answers": [{"answer", "score", "start", "end"}, ...], best first, "no_answer": probability that
            there is none}.

        Raises:
            UserError: a question is empty, one pair is given instead of several, or count is below 1.
        """
        if not isinstance(count, Integral) or count < 1:
            raise UserError(f"count is a number of answers, at least 1, not {count!r}")
        return self.answer(_questions(pairs), count=count)

    def answer(
        self, questions: QuestionSet, *, count: int = 1, progress: Progress = SILENT
    ) -> list[Answered]:
        """The same for questions of a file."""
        return [_answered(each) for each in self._answers(questions, count, progress)]

    def _answers(self, questions: QuestionSet, count: int, progress: Progress) -> list[Answers]:
        found: list[Answers] = []
        with progress.bar("answer", total=len(questions), unit="question") as bar:
            for start in range(0, len(questions), BUFFER):
                part = QuestionSet(questions.examples[start : start + BUFFER], questions.source)
                with prediction_format(self.precision, next(self.network_.parameters()).device):
                    found += answer_texts(self.network_, part, count)
                bar.advance(len(part))
        return found

    def best_answers(self, questions: QuestionSet, *, progress: Progress = SILENT) -> list[str]:
        """The best answer to each question, as `evaluate` measures it: "" only if some of the questions have no answer."""
        return best_answers(questions, self._answers(questions, 1, progress))

    def evaluate(self, questions: QuestionSet, *, progress: Progress = SILENT) -> dict[str, float]:
        """Exact match and F1 as SQuAD defines them, and n_questions. To questions without an answer, no answer is right.

        If some questions have no answer, an answer that is less likely than none counts as none.

        Args:
            questions: such as `unfreeze.text.questions.read_questions` reads from a file.

        Raises:
            UserError: there is no question, or none has an answer or is said to have none.
        """
        if not len(questions):
            raise UserError(f"{questions.source} holds no question to evaluate on")
        questions.need_answers()
        answers = self.best_answers(questions, progress=progress)
        return {**answer_metrics(questions, answers), "n_questions": float(len(questions))}

    def save_pretrained(self, folder: str | Path) -> None:
        """Write config.json, model.safetensors and what the encoders need into `folder`, whole or not at all."""
        words = self.network_.words
        config = {
            "kind": KIND,
            "settings": self.arguments_,
            "word_vectors": words.vectors is not None,
            "estimator": self._checked_settings(),
        }
        save_task_model(folder, config, self.network_.own_tensors(), words.encoder, words.vectors)

    @classmethod
    def from_pretrained(cls, name_or_dir: str | Path, **hub: Unpack[HubOptions]) -> Self:
        """Load an answerer; `hub` as for `Encoder.from_pretrained`.

        Raises:
            UserError: there is none of that name, or its folder is damaged, of another kind or newer.
        """
        folder = find_model(name_or_dir, **hub)
        config = read_config(folder, {KIND}, AnswererConfig)
        settings = config["settings"]
        words, own = load_words(folder, config, settings["inputs"])
        network = made_on_words(ReaderNetwork, folder, own, words, **settings["body"])
        load_matching(network, own, network.own_tensors(), str(folder))
        return cls.of_network(network.eval(), settings, cls._saved_settings(config, folder))


def _answered(answers: Answers) -> Answered:
    named = [{"answer": text, "score": score, "start": a, "end": b} for text, a, b, score in answers.spans]
    return {"answers": named, "no_answer": answers.nothing}


def _questions(pairs: Any) -> QuestionSet:
    """A set of questions in memory."""
    what, keys = "pairs of question and context", ["question", "context"]
    need_several(pairs, what)
    if hasattr(pairs, "columns"):
        if not {*keys} <= {*pairs.columns}:
            raise UserError(
                f"X has no columns question and context, but {', '.join(map(str, pairs.columns))}"
            )
        pairs = pairs[keys].to_numpy()
    questions = []
    for number, pair in enumerate(pairs):
        if isinstance(pair, Mapping) and {*keys} <= {*pair}:
            pair = [pair[key] for key in keys]
        need_several(pair, what)
        need_texts(pair, f"pairs[{number}]")
        if len(pair) != 2:
            raise UserError(f"pairs[{number}] has {len(pair)} texts: a question and its context are needed")
        question, context = pair
        questions.append(as_question(question, context, str(number), f"pairs[{number}][0]"))
    return QuestionSet(questions, "the given questions")


def _question_set(pairs: Sequence[tuple[str, str]], answers: Sequence[str | tuple[str, int]]) -> QuestionSet:
    """A set of questions in memory, with their answers."""
    answers, questions = column_of(answers, "answers"), _questions(pairs)
    if len(questions) != len(answers):
        raise UserError(f"{len(questions)} questions and {len(answers)} answers: there must be one for each")
    return questions.subset(
        _answered_question(each, given, f"answers[{number}]")
        for number, (each, given) in enumerate(zip(questions.examples, answers, strict=True))
    )


def _answered_question(question: Question, given: str | tuple[str, int], place: str) -> Question:
    pair = (given, None) if isinstance(given, str) else given
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        raise UserError(
            f'{place} is {given!r}, not a text or a pair of text and first character; "" says that there is no answer'
        )
    text, start = pair
    if not isinstance(text, str) or not isinstance(start, Integral | None):
        raise UserError(f"{place} is {given!r}, not a text and the number of its first character")
    if not text:
        return replace(question, is_impossible=True)
    if start is None:
        start = question.context.find(text)
    if start < 0 or not question.context.startswith(text, start):
        raise UserError(f"{place} is {text!r}, which its context does not have there")
    return replace(question, answers=(Answer(text, start, question.context.count(text) == 1),))


def fit_answerer(
    train_set: QuestionSet,
    settings: AnswererSettings,
    *,
    validation: QuestionSet | None = None,
    output: str | Path | None = None,
    precision: Precision = "auto",
    overwrite: bool = False,
    command: str = "",
    progress: Progress = SILENT,
) -> tuple[QuestionAnswerer, dict[str, Any]]:
    """Fit an answerer. With an output, call it again after a kill to resume.

    Args:
        validation: questions to measure on after each epoch.
        output: folder to save the answerer in; None keeps it in memory.
        precision: number format of the training; "auto" is bf16 where the processor is fast in it.
        overwrite: replace a model of another run, once this one is complete.
        command: how this was called, for the model card.

    Returns:
        The answerer, and its metrics as in metrics.json.

    Raises:
        UserError: no question has an answer, or the encoder or the output cannot be used.
        Interrupted: Ctrl-C, after a checkpoint.
    """
    with together():
        if not any(each.answers for each in train_set.examples):
            raise UserError(f"{train_set.source}: no question has an answer")
        if validation is not None:
            validation.need_answers()
        chosen = plan(AnswererPlan, settings)
        loop = chosen.loop(chosen.epochs_for(len(train_set)), measures=validation is not None)

    def identity() -> dict[str, Any]:
        return run_identity("fit answerer", settings, chosen, train_set, validation)

    with Run(output, identity, precision=precision, overwrite=overwrite, progress=progress) as run:
        if run.done:
            return QuestionAnswerer.from_pretrained(run.output), run.metrics
        accelerator = run.accelerator
        with together():
            seed_everything(chosen.seed)
            network, arguments = make_network(train_set, chosen)
            objective = make_objective(network, train_set, chosen, accelerator, validation, progress)
        records = run.train(objective, chosen.policy(), loop, "answerer")
        network.eval()
        # The cached layers of the training texts are rounded to 16 bits; a fitted model computes all texts in the same way.
        network.words.cached.clear()
        answerer = QuestionAnswerer.of_network(network, arguments, settings)
        answerer.metrics_ = run.finish(
            answerer.save_pretrained,
            metrics_of(records, loop, without=("score", "loss")),
            title="Answerer",
            facts=card_facts(settings, chosen, network, command, train_set, questions=len(train_set)),
            snippet=SNIPPET,
        )
        return answerer, answerer.metrics_
