"""`unfreeze fit answerer`: answers that stand in a text, from questions in SQuAD's format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from unfreeze.commands.console import Console, layer_weights_line
from unfreeze.commands.fit_on_words import FitOnWords
from unfreeze.commands.options import described_length, quoted, run_options
from unfreeze.text.display import counted

if TYPE_CHECKING:
    from unfreeze.tasks.settings import AnswererSettings
    from unfreeze.text.questions import QuestionSet


@dataclass(kw_only=True)
class FitAnswerer(FitOnWords):
    """Train an answerer on questions whose answers stand in a text (SQuAD's format).

    A reader with attention between the question and the text (BiDAF); each word is read by an encoder's layers, word
    vectors and its characters, in any mix. Run the same command again after an interruption and it goes on.

    Example:
        unfreeze fit answerer --train train-v1.1.json --validation dev-v1.1.json --encoder my-elmo --output answerer
        unfreeze fit answerer --train train-v1.1.json --encoder my-elmo --mix-at both --labels 10000 --output few
    """

    sure: bool = False
    """Learn only from questions whose answer has one place in its text."""

    mend_starts: bool = True
    """Move an answer whose answer_start is wrong to its nearest place, which is said; otherwise refuse it."""


def run(arguments: FitAnswerer, console: Console) -> None:
    """Read, say what will be done, fit, and say how good it is and what to do next."""
    from unfreeze.tasks.plans import AnswererPlan, plan
    from unfreeze.tasks.question_answerer import fit_answerer
    from unfreeze.training.processes import together

    settings = make_settings(arguments)
    with together():
        train_set, validation = read_sets(arguments)
        chosen = plan(AnswererPlan, settings)
    epochs = chosen.epochs_for(len(train_set))
    length = described_length(epochs, settings.minutes)
    console.note(f"{counted(len(train_set), 'question')}; {chosen.mode} from {chosen.encoder}, {length}")
    answerer, metrics = fit_answerer(
        train_set,
        settings,
        validation=validation,
        output=arguments.output,
        **run_options(arguments, console),
    )
    weights: dict[str, Any] = {"layer_weights": answerer.layer_weights} if answerer.layer_weights else {}
    if answerer.layer_weights:
        console.note(layer_weights_line(answerer.layer_weights))
    values = {
        "output": str(arguments.output),
        "questions": len(train_set),
        "transfer": chosen.mode,
        "encoder": chosen.encoder,
        "epochs": epochs,
    }
    said = f"fitted on {train_set.source}"
    if validation is not None:
        said = f"exact match {metrics['exact_match']:.4f}, F1 {metrics['f1']:.4f} on {validation.source}"
    console.result({**values, **weights, **metrics}, said)
    console.note(
        f'the answerer is in {arguments.output}: try `unfreeze predict {quoted(arguments.output)} "a question" '
        f'--context "a text"` or `unfreeze evaluate {quoted(arguments.output)} FILE`'
    )


def make_settings(arguments: FitAnswerer) -> AnswererSettings:
    """The default settings with what the command line changes."""
    from unfreeze.tasks.settings import AnswererSettings

    return AnswererSettings(**arguments.options())


def read_sets(arguments: FitAnswerer) -> tuple[QuestionSet, QuestionSet | None]:
    """The questions to learn from, sampled if so asked, and those to measure on."""
    from unfreeze.text.questions import read_questions

    mend = arguments.mend_starts
    train_set = read_questions(arguments.train, arguments.encoding, mend_starts=mend)
    if arguments.sure:
        train_set = train_set.sure()
    if arguments.labels is not None:
        train_set = train_set.sample(arguments.labels, arguments.seed)
    if arguments.validation is None:
        return train_set, None
    return train_set, read_questions(arguments.validation, arguments.encoding, mend_starts=mend)
