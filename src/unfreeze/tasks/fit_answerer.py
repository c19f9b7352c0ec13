"""An answerer from questions with their contexts, on any encoder or from scratch."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from unfreeze.errors import UserError
from unfreeze.progress import SILENT, Progress
from unfreeze.runs import Run
from unfreeze.tasks.answer_windows import windows_of
from unfreeze.tasks.answering import AnsweringObjective, ReaderNetwork
from unfreeze.tasks.plans import AnswererPlan, card_facts, plan
from unfreeze.tasks.question_answerer import QuestionAnswerer
from unfreeze.tasks.word_task import cache_layers, make_words, run_identity
from unfreeze.tasks.word_task_settings import AnswererSettings
from unfreeze.text.questions import QuestionSet
from unfreeze.text.rules import normalized
from unfreeze.training.loop import metrics_of, seed_everything
from unfreeze.training.precision import Precision
from unfreeze.training.processes import together

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
        loop = settings.loop(chosen.epochs_for(len(train_set)), measures=validation is not None)

    def identity() -> dict[str, Any]:
        sets = {"train": train_set, "validation": validation}
        files = {name: each and [each.source, each.digest()] for name, each in sets.items()}
        return {"stage": "fit answerer", **files, **run_identity(settings, chosen)}

    with Run(output, identity, precision=precision, overwrite=overwrite, progress=progress) as run:
        if run.done:
            return QuestionAnswerer.from_pretrained(run.output), run.metrics
        accelerator = run.accelerator
        with together():
            seed_everything(settings.seed)
            answerer = make_answerer(train_set, chosen)
        answerer.network.to(accelerator.device)
        with together():
            objective = make_objective(answerer, train_set, chosen, accelerator, validation, progress)
        records = run.train(objective, chosen.policy(), loop, "answerer")
        # The layers of the training texts are kept in 16 bits: a fitted model treats all texts alike.
        answerer.network.words.cached.clear()
        metrics = metrics_of(records, loop, without=("score", "loss"))
        facts = {
            "data": Path(train_set.source).name,
            "questions": len(train_set),
            "transfer": chosen.mode,
            **card_facts(settings, chosen.encoder, answerer.network, command),
        }
        run.finish(answerer.save_pretrained, metrics, title="Answerer", facts=facts, snippet=SNIPPET)
        return answerer, metrics


def make_objective(
    answerer: QuestionAnswerer,
    train_set: QuestionSet,
    plan: AnswererPlan,
    accelerator: Accelerator,
    validation: QuestionSet | None,
    progress: Progress,
) -> AnsweringObjective:
    """What the loop trains; a frozen encoder's layers of all these texts are computed once."""
    sets = [each for each in (train_set, validation) if each is not None]
    every = [window for each in sets for window in windows_of(each.examples)]
    texts = [text for window in every for text in (window.context, window.question)]
    cache_layers(answerer.network.words, texts, plan, accelerator, progress)
    return AnsweringObjective(
        answerer.network,
        train_set,
        validation,
        batch_size=plan.batch_size,
        seed=plan.seed,
        rank=accelerator.process_index,
        world_size=accelerator.num_processes,
    )


def make_answerer(train_set: QuestionSet, plan: AnswererPlan) -> QuestionAnswerer:
    """An answerer that is ready to be trained."""
    counts: Counter[str] = Counter()
    for text in dict.fromkeys(
        text for window in windows_of(train_set.examples) for text in (window.context, window.question)
    ):
        counts.update(map(normalized, text.split(" ")))
    words = make_words(counts, len(train_set), plan)
    body = {name: getattr(plan, name) for name in ("hidden_size", "dropout")}
    return QuestionAnswerer(ReaderNetwork(words, **body), {"inputs": plan.inputs(), "body": body})
