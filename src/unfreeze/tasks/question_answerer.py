"""`QuestionAnswerer`: fit on questions with their contexts, answer, evaluate, save.

from unfreeze.tasks.question_answerer import QuestionAnswerer

answerer = QuestionAnswerer.from_pretrained("my-answerer")
answerer.predict([("Who is chasing?", "A mouse chases a cat.")])
# [{"answers": [{"answer": "A mouse", "score": 0.7, "start": 0, "end": 7}], "no_answer": 0.02}]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unfreeze.encoders.saving import load_matching
from unfreeze.errors import UserError, need_several, need_texts
from unfreeze.folders import Config, read_config
from unfreeze.progress import SILENT, Progress
from unfreeze.registry import find_model
from unfreeze.tasks.answering import Answers, ReaderNetwork, answer_figures, answer_texts, said
from unfreeze.tasks.word_task import WordTaskParts, load_words, made_on_words, save_task_model
from unfreeze.text.questions import QuestionSet, asked
from unfreeze.training.precision import Precision, choose_precision, prediction_format

KIND = "question_answerer"
BUFFER = 64
"""Questions that are answered together."""

Answered = dict[str, Any]
"""{"answers": [{"answer", "score", "start", "end"}, ...], best first, "no_answer": probability that it is not there}."""


@dataclass(frozen=True, kw_only=True)
class AnswererConfig(Config):
    """What config.json says of an answerer."""

    settings: WordTaskParts


class QuestionAnswerer:
    """A fitted answerer.

    Args:
        network: the reader.
        settings: what it was made with, for saving.
    """

    def __init__(self, network: ReaderNetwork, settings: dict[str, Any]) -> None:
        self.network, self.settings = network, settings
        self._precision: Precision = "fp32"

    @property
    def precision(self) -> Precision:
        """What answers are computed in: fp32 or bf16; "auto" tries at once which is faster here."""
        return self._precision

    @precision.setter
    def precision(self, wanted: Precision) -> None:
        chosen = choose_precision(wanted, next(self.network.parameters()).device)
        self._precision = "bf16" if chosen == "bf16" else "fp32"

    @property
    def layer_weights(self) -> dict[str, list[float]]:
        """How much each layer of the encoder counts, by the place of the mix, and gamma at the end; where there is a mix."""
        return self.network.words.mix_shares()

    @classmethod
    def fit(cls, questions: QuestionSet, **settings: Any) -> QuestionAnswerer:
        """Fit an answerer in memory.

        Args:
            settings: of `unfreeze.tasks.word_task_settings.AnswererSettings`.

        Raises:
            UserError: no question has an answer.
        """
        from unfreeze.tasks.fit_answerer import fit_answerer
        from unfreeze.tasks.word_task_settings import AnswererSettings

        return fit_answerer(questions, AnswererSettings(**settings))[0]

    def predict(self, pairs: Sequence[tuple[str, str]], *, count: int = 1) -> list[Answered]:
        """The best answers to each (question, context), with their places in the context.

        Args:
            count: answers to each question at most.

        Raises:
            UserError: a question is empty, one pair is given instead of several, or no answer is asked for.
        """
        for number, pair in enumerate(pairs):
            need_several(pair, "pairs of question and context")
            need_texts(pair, f"pairs[{number}]")
        if count < 1:
            raise UserError(f"{count} answers to each question: at least 1")
        questions = [
            asked(question, context, str(number)) for number, (question, context) in enumerate(pairs)
        ]
        return self.answer(QuestionSet(questions, "the given questions"), count=count)

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
                with prediction_format(self.precision, next(self.network.parameters()).device):
                    found += answer_texts(self.network, part, count)
                bar.advance(len(part))
        return found

    def evaluate(self, questions: QuestionSet, *, progress: Progress = SILENT) -> dict[str, float]:
        """exact_match and f1 as SQuAD defines them, and n_questions; questions without an answer are to get none.

        Where some questions have no answer, an answer that is less likely than none counts as silence, for all of them.

        Args:
            questions: such as `unfreeze.text.questions.read_questions` reads from a file.

        Raises:
            UserError: there is no question, or none has an answer or is said to have none.
        """
        if not len(questions):
            raise UserError(f"{questions.source} holds no question to evaluate on")
        questions.need_answers()
        answers = said(questions, self._answers(questions, 1, progress))
        return {**answer_figures(questions, answers), "n_questions": float(len(questions))}

    def save_pretrained(self, folder: str | Path) -> None:
        """Write config.json, model.safetensors and what the encoders need into `folder`, whole or not at all."""
        words = self.network.words
        config = {"kind": KIND, "settings": self.settings, "word_vectors": words.vectors is not None}
        save_task_model(folder, config, self.network.own_tensors(), words.encoder, words.vectors)

    @classmethod
    def from_pretrained(cls, name_or_dir: str | Path, **hub: Any) -> QuestionAnswerer:
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
        return cls(network.eval(), settings)


def _answered(answers: Answers) -> Answered:
    named = [{"answer": text, "score": score, "start": a, "end": b} for text, a, b, score in answers.spans]
    return {"answers": named, "no_answer": answers.nothing}
