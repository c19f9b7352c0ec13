"""`unfreeze find-rate`: a learning rate range test for adapt and fit (Smith 2017, https://arxiv.org/abs/1506.01186)."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tyro.conf import Positional

from unfreeze.checked import need_positive, need_seed
from unfreeze.commands.console import Console
from unfreeze.commands.options import (
    PairColumnOptions,
    PlotOptions,
    ReadsTaskData,
    changed,
    given,
    need_own_options,
)
from unfreeze.errors import UserError
from unfreeze.tasks.settings import Body
from unfreeze.text.tag_schemes import Scheme
from unfreeze.transfer.policies import Mode

if TYPE_CHECKING:
    from accelerate import Accelerator

    from unfreeze.progress import Progress
    from unfreeze.training.loop_settings import LoopSettings
    from unfreeze.training.objective import Objective
    from unfreeze.transfer.policies import TransferPolicy

SAMPLE_CHARACTERS = 2_000_000
"""Characters of a corpus that are read: enough for more than a hundred updates."""
OWN_OPTIONS = {
    "--corpus": "text_column header",
    "--task classifier": "text_column pair_column label_column header skip_unlabeled label_separator multi_label body encoder transfer",
    "--task tagger": "text_column label_column comments scheme encoder transfer",
    "--task answerer": "mend_starts encoder transfer",
}


@dataclass(kw_only=True)
class FindRate(ReadsTaskData, PairColumnOptions, PlotOptions):
    """Learning rate range test: raise the learning rate at each update until the loss diverges, and see where it falls fastest.

    With --corpus it is for `unfreeze adapt MODEL`, with --train for `unfreeze fit`. No model is saved.

    Example:
        unfreeze find-rate my-lm --corpus reviews.txt --plot adapt-rate.png
        unfreeze find-rate --train reviews.csv --encoder my-reviews-lm --plot fit-rate.png
        unfreeze find-rate --task tagger --train eng.train --encoder my-elmo
    """

    model: Positional[str | None] = None
    """Language model to adapt: a folder, a released name, or owner/name on the hub."""

    corpus: tuple[str, ...] = ()
    """For adapt: text to learn from (files, folders, globs, or hf:owner/name)."""

    train: str | None = None
    """For fit: labeled texts, tagged sentences, or questions in SQuAD's format."""

    task: Literal["classifier", "tagger", "answerer"] = "classifier"
    """For fit: the task."""

    encoder: str | None = None
    """For fit: encoder, language model or task model to start from; none trains from scratch (default: wiki-small)."""

    transfer: Mode | None = None
    """For fit: transfer mode (default: chosen by the task and the encoder)."""

    body: Body | None = None
    """Classifier: network on the encoder (default: chosen by the encoder); pairs of texts need bcn."""

    multi_label: bool = False
    """Classifier: a text may have several labels."""

    scheme: Scheme | None = None
    """Tagger: scheme of the tags; plain tags are names of their own (default: detected from the tags)."""

    batch_size: int | None = None
    """Streams of text or examples in a batch (default: that of the training)."""

    low: float = 1e-6
    """Lowest learning rate."""

    high: float = 1.0
    """Highest learning rate."""

    steps: int = 100
    """Number of updates."""

    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Number format; auto is bf16 on processors that are fast in it."""

    seed: int = 0
    """Seed of all random numbers: the same seed gives the same curve."""

    def __post_init__(self) -> None:
        need_positive(self, "batch_size", "low", "high", "steps")
        need_seed(self.seed)
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
    arguments.need_picture()
    from unfreeze.training.loop import seed_everything
    from unfreeze.training.processes import make_accelerator
    from unfreeze.training.rate_test import rate_test

    seed_everything(arguments.seed)
    accelerator = make_accelerator(arguments.precision)
    with tempfile.TemporaryDirectory() as folder:
        prepare = _prepare_adapt if arguments.corpus else _prepare_fit
        objective, policy, loop = prepare(arguments, accelerator, Path(folder), console.progress)
        curve = rate_test(
            objective,
            policy=policy,
            settings=loop,
            low=arguments.low,
            high=arguments.high,
            steps=arguments.steps,
            accelerator=accelerator,
            progress=console.progress,
        )
    if curve.is_noisy:
        console.note("the loss falls by less than its noise: look at --plot, or take more --steps")
    console.result(
        {
            "suggestion": curve.suggestion,
            "tenth_of_minimum": curve.tenth_of_minimum,
            "rates": curve.learning_rates,
            "losses": curve.smoothed,
        },
        f"--learning-rate {curve.suggestion:.1e}  (where the loss falls fastest; "
        f"a tenth of the learning rate at its minimum is {curve.tenth_of_minimum:.1e})",
    )
    if arguments.plot is not None:
        curve.plot(arguments.plot)
        console.note(f"the curve is in {arguments.plot}")


def _prepare_adapt(
    arguments: FindRate, accelerator: Accelerator, folder: Path, progress: Progress
) -> tuple[Objective, TransferPolicy, LoopSettings]:
    """The training of `adapt` on the first documents of the corpus, with the vocabulary that it would take from them."""
    from unfreeze.language_models.awd_lstm import AwdLstmLanguageModel
    from unfreeze.pretraining.lm import make_objective
    from unfreeze.pretraining.settings import AdaptSettings
    from unfreeze.pretraining.vocabulary_transfer import transfer_vocabulary
    from unfreeze.text.corpus import stream_documents
    from unfreeze.text.token_store import TokenStore
    from unfreeze.text.tokenizers import train_tokenizer

    settings = changed(AdaptSettings(), given(arguments, "batch_size", "seed"))
    sample: list[str] = []
    size = 0
    for text in stream_documents(arguments.corpus, **arguments.reading):
        sample.append(text)
        size += len(text)
        if size >= SAMPLE_CHARACTERS:
            break
    model = AwdLstmLanguageModel.from_pretrained(str(arguments.model))
    if model.tokenizer.is_word_level:
        tokenizer = train_tokenizer(
            sample,
            kind="word",
            vocabulary_size=len(model.tokenizer),
            min_count=settings.min_count,
            workers=1,
        )
        model = transfer_vocabulary(model, tokenizer)
    store = TokenStore.build(sample, model.tokenizer, folder / "tokens", progress=progress)
    training = settings.training
    objective = make_objective(training, model, model.tokenizer, store, None, accelerator)
    return objective, training.policy, training.loop


def _prepare_fit(
    arguments: FindRate, accelerator: Accelerator, folder: Path, progress: Progress
) -> tuple[Objective, TransferPolicy, LoopSettings]:
    """The training of `fit` on all examples."""
    from unfreeze.tasks import answering, classification, classifier_network, plans, tagging
    from unfreeze.tasks.settings import AnswererSettings, ClassifierSettings, TaggerSettings
    from unfreeze.text.examples import read_examples
    from unfreeze.text.questions import read_questions

    assert arguments.train is not None
    chosen: plans.ClassifierPlan | plans.TaggerPlan | plans.AnswererPlan
    objective: Objective
    settings = given(arguments, "encoder", "transfer", "batch_size", "seed")
    if arguments.task == "classifier":
        multi_label = arguments.multi_label or None
        reading = {**arguments.reading_examples, **given(arguments, "pair_column")}
        examples = read_examples(arguments.train, **reading, multi_label=multi_label)
        chosen = plans.plan(plans.ClassifierPlan, ClassifierSettings(**settings, body=arguments.body))
        classification.check_examples(examples, None)
        classification.check_kinds(examples, None, chosen)
        classifier, _ = classifier_network.make_network(examples, chosen)
        objective = classification.make_objective(classifier, examples, chosen, accelerator)
    elif arguments.task == "tagger":
        sentences = arguments.read_tagged(arguments.train, arguments.scheme)
        chosen = plans.plan(plans.TaggerPlan, TaggerSettings(**settings))
        tagger, _ = tagging.make_network(sentences, chosen)
        objective = tagging.make_objective(tagger, sentences, chosen, accelerator, progress=progress)
    else:
        questions = read_questions(arguments.train, arguments.encoding, mend_starts=arguments.mend_starts)
        chosen = plans.plan(plans.AnswererPlan, AnswererSettings(**settings))
        reader, _ = answering.make_network(questions, chosen)
        objective = answering.make_objective(reader, questions, chosen, accelerator, progress=progress)
    return objective, chosen.policy(), chosen.loop(1, measures=False)
