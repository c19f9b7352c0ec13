"""An answerer from questions with their contexts, on any encoder or from scratch."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from pathlib import Path

from unfreeze.errors import UserError
from unfreeze.progress import SILENT, Progress
from unfreeze.tasks.answer_windows import windows_of
from unfreeze.tasks.answering import AnsweringObjective, ReaderNetwork
from unfreeze.tasks.question_answerer import QuestionAnswerer
from unfreeze.tasks.word_task import finish_run, keep_layers, make_words, run_identity
from unfreeze.tasks.word_task_settings import AnswererSettings
from unfreeze.text.questions import QuestionSet
from unfreeze.training.checkpoints import RunFolder
from unfreeze.training.loop import seed_everything, train
from unfreeze.training.precision import Precision
from unfreeze.training.processes import make_accelerator, together

logger = logging.getLogger(__name__)

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
        if not any(each.answers for each in train_set.questions):
            raise UserError(f"{train_set.source}: no question has an answer")
        sets = {"train": train_set, "validation": validation}
        files = {name: each and [each.source, _digest(each)] for name, each in sets.items()}
        asked = {} if output is None else {"stage": "fit answerer", **files, **run_identity(settings)}
    accelerator = make_accelerator(precision)
    folder = None
    if output is not None:
        with accelerator.main_process_first():
            folder = RunFolder(Path(output), asked, overwrite=overwrite and accelerator.is_main_process)
        if folder.done:
            logger.info("%s is complete already", output)
            return QuestionAnswerer.from_pretrained(output)
    with together():
        seed_everything(settings.seed)
        answerer = make_answerer(train_set, settings)
    network = answerer.network
    network.to(accelerator.device)
    with together():
        every = [
            window for each in sets.values() if each is not None for window in windows_of(each.questions)
        ]
        texts = [text for window in every for text in (window.context, window.question)]
        keep_layers(network.words, texts, settings, accelerator, progress)
        objective = AnsweringObjective(
            network,
            train_set,
            validation,
            batch_size=settings.batch_size,
            seed=settings.seed,
            rank=accelerator.process_index,
            world_size=accelerator.num_processes,
        )
    records = train(
        objective,
        policy=settings.policy(),
        settings=settings.loop(answerer_epochs(settings), measures=validation is not None),
        folder=folder,
        accelerator=accelerator,
        progress=progress,
        what="answerer",
    )
    network.words.kept.clear()  # 16 bits of the texts learned from: a fitted model treats all texts alike
    with together():
        if folder is not None and accelerator.is_main_process:
            answerer.save_pretrained(folder.output)
            facts = {
                "data": Path(train_set.source).name,
                "questions": len(train_set),
                "parameters": sum(p.numel() for p in network.parameters()),
            }
            finish_run(
                folder, records, settings, title="Answerer", facts=facts, command=command, snippet=SNIPPET
            )
    return answerer


def answerer_epochs(settings: AnswererSettings) -> int | None:
    """Passes over the questions; None where time bounds the run."""
    return None if settings.minutes is not None else settings.epochs or EPOCHS


def make_answerer(train_set: QuestionSet, settings: AnswererSettings) -> QuestionAnswerer:
    """An answerer that is ready to be trained."""
    counts: Counter[str] = Counter()
    for text in dict.fromkeys(
        text for window in windows_of(train_set.questions) for text in (window.context, window.question)
    ):
        counts.update(text.lower().split(" "))
    words = make_words(counts, len(train_set), settings)
    body = {name: getattr(settings, name) for name in ("hidden_size", "dropout")}
    return QuestionAnswerer(ReaderNetwork(words, **body), {"inputs": settings.inputs(), "body": body})


def _digest(questions: QuestionSet) -> str:
    found = hashlib.blake2b()
    for each in questions.questions:
        for part in (each.id, each.question, each.context, *(f"{a.start} {a.text}" for a in each.answers)):
            found.update(part.encode("utf-8", "surrogatepass") + b"\0")
    return found.hexdigest()[:16]
