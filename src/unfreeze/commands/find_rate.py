"""`unfreeze find-rate`: a learning-rate range test for adapt, and for fit."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import pstdev
from typing import TYPE_CHECKING, Literal

from tyro.conf import Positional

from unfreeze.commands.console import Console
from unfreeze.commands.inputs import need_picture, need_positive
from unfreeze.commands.options import ReadsExamples, given, need_own_options
from unfreeze.errors import UserError

if TYPE_CHECKING:
    from accelerate import Accelerator

    from unfreeze.language_models.awd_lstm import AwdLstmLanguageModel
    from unfreeze.training.loop_settings import LoopSettings
    from unfreeze.training.objective import Objective
    from unfreeze.transfer.policies import TransferPolicy
    from unfreeze.transfer.rate_finder import RateCurve

SAMPLE_CHARACTERS = 2_000_000
"""So much of a corpus is read: more than a hundred updates need."""
OF_FITS = ("encoder", "transfer", "batch_size", "seed")
"""Options that are settings of a fit."""
OWN_OPTIONS = {
    "--corpus": "text_column header",
    "--task classifier": "text_column label_column header skip_unlabeled label_separator multi_label encoder transfer",
    "--task tagger": "text_column label_column comments scheme encoder transfer",
    "--task answerer": "mend_starts encoder transfer",
}


@dataclass(kw_only=True)
class FindRate(ReadsExamples):
    """Look for a learning rate: raise it at each update until the loss explodes, and see where it fell fastest.

    With --corpus for `unfreeze adapt MODEL`, with --train for `unfreeze fit`. Nothing is saved but the plot.

    Example:
        unfreeze find-rate my-lm --corpus reviews.txt --plot adapt-rate.png
        unfreeze find-rate --train reviews.csv --encoder my-reviews-lm --plot fit-rate.png
        unfreeze find-rate --task tagger --train eng.train --encoder my-elmo
    """

    model: Positional[str | None] = None
    """Language model to be adapted: a folder, a released name, or owner/name on the hub."""

    corpus: tuple[str, ...] = ()
    """For adapt: the target's text."""

    train: str | None = None
    """For fit: labeled texts, tagged sentences, or questions in SQuAD's format."""

    task: Literal["classifier", "tagger", "answerer"] = "classifier"
    """For fit: what the examples are for."""

    encoder: str | None = None
    """For fit: encoder, language model or task model to start from; none is from scratch."""

    transfer: Literal["scratch", "frozen", "fine-tune"] | None = None
    """For fit: how the encoder moves."""

    text_column: str | None = None
    """Name or number (from 1) of the text's column; of a tagger's words, from 0, the first by default."""

    label_column: str | None = None
    """Name or number (from 1) of the label's column; of a tagger's tags, from 0, the last by default."""

    multi_label: bool = False
    """A text may have several labels."""

    scheme: Literal["iob1", "bio", "bioes", "plain"] | None = None
    """Of a tagger's tags; found out by default. plain reads tags such as B and I as names of their own."""

    comments: Literal["auto", "skip", "words"] = "auto"
    """What lines of tagged sentences are that begin with #: comments (skip), words, or what the other lines suggest."""

    mend_starts: bool = True
    """Questions: move an answer whose answer_start is wrong to its nearest place, which is said; otherwise refuse it."""

    batch_size: int | None = None
    """Streams or texts an update, as the run will have."""

    low: float = 1e-6
    """First rate."""

    high: float = 1.0
    """Last rate."""

    steps: int = 100
    """Updates from the first rate to the last."""

    plot: Path | None = None
    """Draw loss against rate into this file (.png, .svg or .pdf)."""

    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Number format; auto tries which is faster here."""

    seed: int = 0
    """The same seed gives the same curve."""

    overwrite: bool = False
    """Replace a picture that is there."""

    def __post_init__(self) -> None:
        need_positive(self, "batch_size", "low", "high", "steps")
        if bool(self.corpus) == (self.train is not None):
            raise UserError("find-rate needs MODEL --corpus PATH (for adapt) or --train FILE (for fit)")
        if self.corpus and self.model is None:
            raise UserError(
                "find-rate --corpus needs the language model that will be adapted: find-rate MODEL"
            )
        if self.task != "classifier" and self.corpus:
            raise UserError(f"--task {self.task} goes with --train, not with --corpus")
        need_own_options(self, "--corpus" if self.corpus else f"--task {self.task}", OWN_OPTIONS)
        if self.train is not None and self.model is not None:
            raise UserError(f"find-rate --train takes its encoder as --encoder {self.model}")


def run(arguments: FindRate, console: Console) -> None:
    """Test the rates, draw the curve, print the suggestion."""
    need_picture(arguments.plot, overwrite=arguments.overwrite)
    from unfreeze.training.loop import seed_everything
    from unfreeze.training.processes import make_accelerator

    seed_everything(arguments.seed)
    fits = {"classifier": _test_fit, "tagger": _test_tagger, "answerer": _test_answerer}
    test = _test_adapt if arguments.corpus else fits[arguments.task]
    curve = test(arguments, make_accelerator(arguments.precision), console)
    if is_noisy(curve):
        console.note(
            "the loss falls less than it jumps from update to update: look at --plot, or take more --steps"
        )
    console.result(
        {
            "suggestion": curve.suggestion,
            "tenth_of_minimum": curve.tenth_of_minimum,
            "rates": curve.learning_rates,
            "losses": curve.smoothed,
        },
        f"--learning-rate {curve.suggestion:.1e}  (the loss falls fastest there; "
        f"a tenth of the rate at its minimum is {curve.tenth_of_minimum:.1e})",
    )
    if arguments.plot is not None:
        curve.plot(arguments.plot)
        console.note(f"the curve is in {arguments.plot}")


def is_noisy(curve: RateCurve) -> bool:
    """Whether the smoothed loss falls by less than the losses stray from it, so that a slope says little.

    What comes before a tenth of the updates and after the minimum does not count.
    """
    lowest = curve.smoothed.index(min(curve.smoothed))
    counted = range(len(curve.learning_rates) // 10, lowest + 1)
    noise = pstdev(curve.losses[n] - curve.smoothed[n] for n in counted)
    return curve.smoothed[counted[0]] - curve.smoothed[lowest] < noise


def _test_adapt(arguments: FindRate, accelerator: Accelerator, console: Console) -> RateCurve:
    from unfreeze.pretraining.lm import make_objective
    from unfreeze.pretraining.settings import AdaptSettings
    from unfreeze.text.token_store import TokenStore

    settings = AdaptSettings()
    loop = replace(settings.training.loop, seed=arguments.seed)
    training = replace(settings.training, loop=loop, **given(arguments, "batch_size"))
    sample = _sample(arguments)
    model = _adapted_vocabulary(str(arguments.model), sample, settings.min_count)
    with tempfile.TemporaryDirectory() as folder:
        store = TokenStore.build(sample, model.tokenizer, Path(folder) / "tokens", progress=console.progress)
        objective = make_objective(model, store, None, training, accelerator)
        return _test(objective, training.policy, training.loop, arguments, accelerator, console)


def _sample(arguments: FindRate) -> list[str]:
    """The first documents of the corpus, as much text as the test can use."""
    from unfreeze.text.corpus import stream_documents

    documents: list[str] = []
    size = 0
    for text in stream_documents(arguments.corpus, **arguments.reading):
        documents.append(text)
        size += len(text)
        if size >= SAMPLE_CHARACTERS:
            break
    return documents


def _adapted_vocabulary(name: str, sample: list[str], min_count: int) -> AwdLstmLanguageModel:
    """The language model with the vocabulary that adapt would give it on this text."""
    from unfreeze.language_models.awd_lstm import AwdLstmLanguageModel
    from unfreeze.pretraining.vocabulary_transfer import transfer_vocabulary
    from unfreeze.text.tokenizers import train_tokenizer

    model = AwdLstmLanguageModel.from_pretrained(name)
    if not model.tokenizer.is_word_level:
        return model
    tokenizer = train_tokenizer(
        sample, kind="word", vocabulary_size=len(model.tokenizer), min_count=min_count, workers=1
    )
    return transfer_vocabulary(model, tokenizer)


def _test_fit(arguments: FindRate, accelerator: Accelerator, console: Console) -> RateCurve:
    from unfreeze.tasks.classification import make_objective
    from unfreeze.tasks.classifier_network import make_network
    from unfreeze.tasks.plans import ClassifierPlan, plan
    from unfreeze.tasks.settings import ClassifierSettings
    from unfreeze.text.examples import read_examples
    from unfreeze.training.loop_settings import LoopSettings

    assert arguments.train is not None
    examples = read_examples(
        arguments.train,
        **arguments.reading_examples,
        multi_label=arguments.multi_label or None,
    )
    chosen = plan(ClassifierPlan, ClassifierSettings(**given(arguments, *OF_FITS)))
    network, _ = make_network(examples, chosen)
    objective = make_objective(network, examples, chosen, accelerator)
    return _test(objective, chosen.policy(), LoopSettings(), arguments, accelerator, console)


def _test_tagger(arguments: FindRate, accelerator: Accelerator, console: Console) -> RateCurve:
    from unfreeze.tasks.plans import TaggerPlan, plan
    from unfreeze.tasks.settings import TaggerSettings
    from unfreeze.tasks.tagging import make_network, make_objective
    from unfreeze.text.tagged import read_tagged

    assert arguments.train is not None
    sentences = read_tagged(
        arguments.train,
        token_column=arguments.text_column,
        tag_column=arguments.label_column,
        encoding=arguments.encoding,
        comments=arguments.comments,
        scheme=arguments.scheme,
    )
    chosen = plan(TaggerPlan, TaggerSettings(**given(arguments, *OF_FITS)))
    network, _ = make_network(sentences, chosen)
    network.to(accelerator.device)
    objective = make_objective(network, sentences, chosen, accelerator, progress=console.progress)
    loop = chosen.loop(1, measures=False)
    return _test(objective, chosen.policy(), loop, arguments, accelerator, console)


def _test_answerer(arguments: FindRate, accelerator: Accelerator, console: Console) -> RateCurve:
    from unfreeze.tasks.answering import make_network, make_objective
    from unfreeze.tasks.plans import AnswererPlan, plan
    from unfreeze.tasks.settings import AnswererSettings
    from unfreeze.text.questions import read_questions

    assert arguments.train is not None
    questions = read_questions(arguments.train, arguments.encoding, mend_starts=arguments.mend_starts)
    chosen = plan(AnswererPlan, AnswererSettings(**given(arguments, *OF_FITS)))
    network, _ = make_network(questions, chosen)
    network.to(accelerator.device)
    objective = make_objective(network, questions, chosen, accelerator, progress=console.progress)
    loop = chosen.loop(1, measures=False)
    return _test(objective, chosen.policy(), loop, arguments, accelerator, console)


def _test(
    objective: Objective,
    policy: TransferPolicy,
    loop: LoopSettings,
    arguments: FindRate,
    accelerator: Accelerator,
    console: Console,
) -> RateCurve:
    from unfreeze.training.rate_test import rate_test

    return rate_test(
        objective,
        policy=policy,
        settings=replace(loop, seed=arguments.seed),
        low=arguments.low,
        high=arguments.high,
        steps=arguments.steps,
        accelerator=accelerator,
        progress=console.progress,
    )
