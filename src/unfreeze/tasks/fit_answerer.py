"""An answerer from questions with their contexts, on any encoder or from scratch."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from accelerate import Accelerator

from unfreeze.errors import UserError
from unfreeze.progress import SILENT, Progress
from unfreeze.tasks.answer_windows import windows_of
from unfreeze.tasks.answering import AnsweringObjective, ReaderNetwork
from unfreeze.tasks.fit_run import FitTask, fit_task
from unfreeze.tasks.question_answerer import QuestionAnswerer
from unfreeze.tasks.word_task import cache_layers, make_words, run_identity
from unfreeze.tasks.word_task_settings import AnswererSettings
from unfreeze.text.questions import QuestionSet
from unfreeze.text.rules import normalized
from unfreeze.training.precision import Precision
from unfreeze.training.processes import together

EPOCHS = 8
SNIPPET = """
from unfreeze.tasks.question_answerer import QuestionAnswerer

answerer = QuestionAnswerer.from_pretrained(".")  # this folder
print(answerer.predict([("Who is chasing?", "A mouse chases a cat.")], count=3))
"""


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
) -> QuestionAnswerer:
    """Fit, and save into `output` if there is one. Run again after a kill, it goes on.

    Raises:
        UserError: no question has an answer, or the encoder or the output cannot be used.
        Interrupted: Ctrl-C, after a checkpoint.
    """
    with together():
        if not any(each.answers for each in train_set.examples):
            raise UserError(f"{train_set.source}: no question has an answer")
        if validation is not None:
            validation.need_answers()
        sets = {"train": train_set, "validation": validation}
        files = {name: each and [each.source, each.digest()] for name, each in sets.items()}
        task = FitTask(
            name="answerer",
            title="Answerer",
            snippet=SNIPPET,
            settings=settings,
            identity=lambda: {**files, **run_identity(settings)},
            load=QuestionAnswerer.from_pretrained,
            make=lambda: make_answerer(train_set, settings),
            make_objective=lambda answerer, accelerator: make_objective(
                answerer, train_set, settings, accelerator, validation, progress
            ),
            policy=settings.policy(),
            loop=settings.loop(answerer_epochs(settings), measures=validation is not None),
            after=lambda answerer: answerer.network.words.cached.clear(),  # 16 bits of the texts learned from
            facts=lambda answerer: {
                "data": Path(train_set.source).name,
                "questions": len(train_set),
                "transfer": settings.mode,
            },
            unsaid=("score", "loss"),
        )
    return fit_task(
        task, output=output, precision=precision, overwrite=overwrite, command=command, progress=progress
    )


def make_objective(
    answerer: QuestionAnswerer,
    train_set: QuestionSet,
    settings: AnswererSettings,
    accelerator: Accelerator,
    validation: QuestionSet | None,
    progress: Progress,
) -> AnsweringObjective:
    """What the loop trains; a frozen encoder's layers of all these texts are computed once."""
    sets = [each for each in (train_set, validation) if each is not None]
    every = [window for each in sets for window in windows_of(each.examples)]
    texts = [text for window in every for text in (window.context, window.question)]
    cache_layers(answerer.network.words, texts, settings, accelerator, progress)
    return AnsweringObjective(
        answerer.network,
        train_set,
        validation,
        batch_size=settings.batch_size,
        seed=settings.seed,
        rank=accelerator.process_index,
        world_size=accelerator.num_processes,
    )


def answerer_epochs(settings: AnswererSettings) -> int | None:
    """Passes over the questions; None where time bounds the run."""
    if settings.minutes is not None:
        return None
    return EPOCHS if settings.epochs is None else settings.epochs


def make_answerer(train_set: QuestionSet, settings: AnswererSettings) -> QuestionAnswerer:
    """An answerer that is ready to be trained."""
    counts: Counter[str] = Counter()
    for text in dict.fromkeys(
        text for window in windows_of(train_set.examples) for text in (window.context, window.question)
    ):
        counts.update(map(normalized, text.split(" ")))
    words = make_words(counts, len(train_set), settings)
    body = {name: getattr(settings, name) for name in ("hidden_size", "dropout")}
    return QuestionAnswerer(ReaderNetwork(words, **body), {"inputs": settings.inputs(), "body": body})
