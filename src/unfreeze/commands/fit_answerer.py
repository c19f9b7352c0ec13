"""`unfreeze fit answerer`: answers that are spans of a text, from questions in SQuAD's format."""

from __future__ import annotations

from dataclasses import dataclass, field

from unfreeze.commands.console import Console
from unfreeze.commands.fit import FitOptions, report_fit
from unfreeze.commands.options import ReadsQuestions, described_length, run_options
from unfreeze.display import counted
from unfreeze.tasks.settings import AnswererSettings


@dataclass(kw_only=True)
class FitAnswerer(FitOptions, ReadsQuestions):
    """Train a model that finds the answers to questions in a text, on questions in SQuAD's format.

    The model is BiDAF, with attention between the question and the text. It reads the layers of an encoder, word vectors
    and the characters of each word, in any combination. Rerun the command to resume an interrupted run.

    Example:
        unfreeze fit answerer --train train-v1.1.json --validation dev-v1.1.json --encoder my-elmo --output answerer
        unfreeze fit answerer --train train-v1.1.json --encoder my-elmo --mix-at both --labels 10000 --output few
    """

    sure: bool = False
    """Learn only from questions whose answer occurs once in the text."""

    settings: AnswererSettings = field(default_factory=AnswererSettings)
    """Options of the answerer."""


def run(arguments: FitAnswerer, console: Console) -> None:
    """Read the questions, say what will be done, fit, and report."""
    from unfreeze.tasks.plans import AnswererPlan, plan
    from unfreeze.tasks.question_answerer import fit_answerer
    from unfreeze.text.questions import read_questions
    from unfreeze.training.processes import together

    settings, validation = arguments.settings, None
    encoding, mend_starts = arguments.encoding, arguments.mend_starts
    with together():
        train_set = read_questions(arguments.train, encoding, mend_starts=mend_starts)
        if arguments.sure:
            train_set = train_set.sure()
        train_set = arguments.sampled(train_set, settings.seed)
        if arguments.validation is not None:
            validation = read_questions(arguments.validation, encoding, mend_starts=mend_starts)
        chosen = plan(AnswererPlan, settings)
    epochs = chosen.epochs_for(len(train_set))
    console.note(
        f"{counted(len(train_set), 'question')}; {chosen.mode} from {chosen.encoder}, "
        f"{described_length(epochs, settings.minutes)}"
    )
    answerer, metrics = fit_answerer(
        train_set, settings, validation=validation, **run_options(arguments, console)
    )
    measured = f"fitted on {train_set.source}"
    if validation is not None:
        measured = f"exact match {metrics['exact_match']:.4f}, F1 {metrics['f1']:.4f} on {validation.source}"
    result = {
        "questions": len(train_set),
        "transfer": chosen.mode,
        "encoder": chosen.encoder,
        "epochs": epochs,
    }
    example = '"a question" --context "a text"'
    report_fit(
        arguments, console, answerer, {**result, **metrics}, measured, name="answerer", example=example
    )
