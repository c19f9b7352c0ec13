"""`unfreeze find-rate`: a learning rate range test for adapt and fit (Smith 2017, https://arxiv.org/abs/1506.01186)."""

from __future__ import annotations

import logging
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tyro.conf import Positional

from unfreeze.checked import need_positive, need_seed
from unfreeze.commands.console import Console
from unfreeze.commands.images import IMAGE_OPTIONS, IMAGE_SETTINGS, TextsOrImages, read_annotated
from unfreeze.commands.options import (
    PlotOptions,
    ReadsTaskData,
    changed,
    given,
    need_own_options,
)
from unfreeze.datasets.tables import is_table
from unfreeze.errors import Notice, UserError, setting
from unfreeze.tasks.settings import Body, BoxCount, ImageOptions
from unfreeze.text.tag_schemes import Scheme
from unfreeze.transfer.policies import Mode

if TYPE_CHECKING:
    from accelerate import Accelerator

    from unfreeze.progress import Progress
    from unfreeze.training.loop_settings import LoopSettings
    from unfreeze.training.objective import Objective
    from unfreeze.transfer.policies import TransferPolicy

logger = logging.getLogger(__name__)

SAMPLE_CHARACTERS = 2_000_000
"""Characters of a corpus that are read: enough for more than a hundred updates."""
OWN_OPTIONS = {
    "--corpus": "text_column header",
    "--task classifier": "examples text_column pair_column label_column header skip_unlabeled label_separator multi_label body encoder transfer "
    + IMAGE_OPTIONS,
    "--task tagger": "text_column label_column comments scheme encoder transfer",
    "--task answerer": "mend_starts encoder transfer",
    "--task locator": f"label_column header images image_column skip_damaged boxes encoder transfer {IMAGE_SETTINGS}",
}
OWN_OPTIONS_OF_CLASSIFIERS = {
    "texts": "text_column pair_column label_separator body",
    "images": IMAGE_OPTIONS,
}


@dataclass(kw_only=True)
class FindRate(ReadsTaskData, TextsOrImages, PlotOptions):
    """Learning rate range test: raise the learning rate at each update until the loss diverges, and see where it falls fastest.

    With --corpus it is for `unfreeze adapt MODEL`, with --train for `unfreeze fit`. No model is saved.

    Example:
        unfreeze find-rate my-lm --corpus reviews.txt --plot adapt-rate.png
        unfreeze find-rate --train reviews.csv --encoder my-reviews-lm --plot fit-rate.png
        unfreeze find-rate --train cats-and-dogs/ --encoder my-convnet
        unfreeze find-rate --task tagger --train eng.train --encoder my-elmo
        unfreeze find-rate --task locator --train boxes.csv --images photos/ --encoder my-convnet
    """

    model: Positional[str | None] = None
    """Language model to adapt: a folder, a released name, or owner/name on the hub."""

    corpus: tuple[str, ...] = ()
    """For adapt: text to learn from (files, folders, globs, or hf:owner/name)."""

    train: str | None = None
    """For fit: labeled texts or images, tagged sentences, questions in SQuAD's format, or images with boxes."""

    task: Literal["classifier", "tagger", "answerer", "locator"] = "classifier"
    """For fit: the task."""

    encoder: str | None = None
    """For fit: encoder, language model or task model to start from; none trains from scratch (default: wiki-small; on images none)."""

    transfer: Mode | None = None
    """For fit: transfer mode (default: chosen by the task and the encoder)."""

    body: Body | None = None
    """Classifier: network on the encoder (default: chosen by the encoder); pairs of texts need bcn."""

    multi_label: bool = False
    """Classifier: an example may have several labels."""

    scheme: Scheme | None = None
    """Tagger: scheme of the tags; plain tags are names of their own (default: detected from the tags)."""

    boxes: BoxCount | None = None
    """Locator: boxes in an image (default: one if each training image has exactly one, otherwise several)."""

    image_options: ImageOptions = field(default_factory=ImageOptions)
    """Options of a classifier of images or a locator."""

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
        f"a tenth of the learning rate at the smallest loss is {curve.tenth_of_minimum:.1e})",
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
    from unfreeze.tasks import (
        answering,
        classification,
        classifier_network,
        image_classifier,
        locating,
        plans,
        tagging,
    )
    from unfreeze.tasks.located_images import boxes_to_learn
    from unfreeze.tasks.settings import (
        AnswererSettings,
        ClassifierSettings,
        ImageClassifierSettings,
        LocatorSettings,
        TaggerSettings,
    )
    from unfreeze.text.examples import read_examples
    from unfreeze.text.questions import read_questions
    from unfreeze.vision.boxes import box_columns
    from unfreeze.vision.labeled_images import open_image_table

    assert arguments.train is not None
    chosen: plans.Plan
    objective: Objective
    settings = given(arguments, "encoder", "transfer", "batch_size", "seed")
    is_images = arguments.task == "classifier" and arguments.are_images(arguments.train)
    multi_label = arguments.multi_label or None
    if arguments.task == "classifier":
        need_own_options(arguments, "images" if is_images else "texts", OWN_OPTIONS_OF_CLASSIFIERS)
    if is_images:
        if is_table(arguments.train):
            table = open_image_table(arguments.train, arguments.header, arguments.encoding, ())
            if box_columns([column.lower() for column in table.columns]):
                found = f"{arguments.train} has boxes, which a classifier does not read"
                logger.info(Notice(f"{found}; {setting('task', 'locator')} is for boxes"))
        images = arguments.read_images(arguments.train, multi_label=multi_label, progress=progress)
        own = ImageClassifierSettings(**settings, **asdict(arguments.image_options))
        chosen = of_images = plans.plan(plans.ImageClassifierPlan, own)
        classification.check_examples(images, None)
        classifier, _ = image_classifier.make_network(images, of_images)
        objective = image_classifier.make_objective(classifier, images, of_images, accelerator)
    elif arguments.task == "classifier":
        reading = {**arguments.reading_examples, **given(arguments, "pair_column")}
        examples = read_examples(arguments.train, **reading, multi_label=multi_label)
        of_texts = plans.plan(plans.ClassifierPlan, ClassifierSettings(**settings, body=arguments.body))
        chosen = of_texts
        classification.check_examples(examples, None)
        classification.check_kinds(examples, None, of_texts)
        classifier, _ = classifier_network.make_network(examples, of_texts)
        objective = classification.make_objective(classifier, examples, of_texts, accelerator)
    elif arguments.task == "tagger":
        sentences = arguments.read_tagged(arguments.train, arguments.scheme)
        chosen = of_words = plans.plan(plans.TaggerPlan, TaggerSettings(**settings))
        tagger, _ = tagging.make_network(sentences, of_words)
        objective = tagging.make_objective(tagger, sentences, of_words, accelerator, progress=progress)
    elif arguments.task == "locator":
        located = LocatorSettings(**settings, **given(arguments, "boxes"), **asdict(arguments.image_options))
        chosen = of_boxes = plans.plan(plans.LocatorPlan, located)
        boxes = boxes_to_learn(of_boxes, read_annotated(arguments, arguments.train, progress=progress))
        locator, _ = locating.make_network(boxes, of_boxes)
        # Without a number of epochs, the loss of one box is the same in all of them: half of each part.
        objective = locating.make_objective(locator, boxes, of_boxes, accelerator, progress=progress)
    else:
        questions = read_questions(arguments.train, arguments.encoding, mend_starts=arguments.mend_starts)
        chosen = of_questions = plans.plan(plans.AnswererPlan, AnswererSettings(**settings))
        reader, _ = answering.make_network(questions, of_questions)
        objective = answering.make_objective(reader, questions, of_questions, accelerator, progress=progress)
    return objective, chosen.policy(), chosen.loop(1, measures=False)
