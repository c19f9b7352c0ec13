"""`unfreeze ladder`: every kind of transfer on one task, for rising numbers of labels."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from unfreeze.commands.console import Console
from unfreeze.commands.images import IMAGE_OPTIONS, TextsOrImages, image_settings
from unfreeze.commands.inputs import need_one_process
from unfreeze.commands.options import ReadsTaskData, need_own_options
from unfreeze.display import counted, duration
from unfreeze.errors import UserError
from unfreeze.ladder.settings import LadderSettings
from unfreeze.tasks.settings import ClassifierSettings, ImageOptions

OWN_OPTIONS = {"images": IMAGE_OPTIONS, "texts": "unlabeled text_column label_separator"}


@dataclass(kw_only=True)
class Ladder(ReadsTaskData, TextsOrImages):
    """Compare every kind of transfer on your own task, for rising numbers of labels.

    From the largest class and TF-IDF over averaged word vectors to a fine-tuned language model: each is fitted on nested samples of the
    training data and measured on the test data, for classifiers of texts and images, taggers and answerers. DIR gets the table (ladder.csv,
    table.json), learning curves, and report.html, a page with everything. Rerun the command to resume an interrupted run, or to add
    encoders, labels or time.

    Example:
        unfreeze ladder --train reviews.csv --test more-reviews.csv --output my-ladder
        unfreeze ladder --train reviews.csv --test more-reviews.csv --unlabeled texts.txt --labels 100 300 1000 --minutes 30 --output my-ladder
        unfreeze ladder --task tagger --train train.conll --test test.conll --encoder my-elmo --output names
        unfreeze ladder --train cats-and-dogs/ --test more-cats-and-dogs/ --encoder my-convnet --output pets
    """

    train: str
    """Labeled data to learn from: a file, a folder, or hf:owner/name."""

    test: str
    """Labeled data to measure on, of the same kind. It is never learned from."""

    task: Literal["classifier", "tagger", "answerer"] = "classifier"
    """What is fitted."""

    output: Path
    """Folder to write to."""

    overwrite: bool = False
    """Replace the results of other data in that folder."""

    settings: LadderSettings = field(default_factory=LadderSettings)
    """What is compared."""

    image_options: ImageOptions = field(default_factory=ImageOptions)
    """Options of the ConvNet from scratch."""


def run(arguments: Ladder, console: Console) -> None:
    """Read the texts, measure, and print the table."""
    need_one_process("ladder")
    if arguments.pair_column is not None:
        raise UserError("--pair-column is for pairs of texts, which the ladder does not compare yet")
    from unfreeze.ladder.ladder import run_ladder
    from unfreeze.text.examples import read_examples
    from unfreeze.text.questions import read_questions

    images = None
    train: Any
    test: Any
    if arguments.task == "tagger":
        train = arguments.read_tagged(arguments.train, None)
        test = arguments.read_tagged(arguments.test, None)
    elif arguments.task == "answerer":
        reading: dict[str, Any] = {"encoding": arguments.encoding, "mend_starts": arguments.mend_starts}
        train = read_questions(arguments.train, **reading)
        test = read_questions(arguments.test, **reading)
    else:
        is_images = arguments.are_images(arguments.train)
        need_own_options(arguments, "images" if is_images else "texts", OWN_OPTIONS)
        if is_images:
            images = image_settings(ClassifierSettings(), arguments.image_options)
            train = arguments.read_images(arguments.train, progress=console.progress)
            test = arguments.read_images(
                arguments.test, known_labels=train.label_names, progress=console.progress
            )
        else:
            train = read_examples(arguments.train, **arguments.reading_examples)
            test = read_examples(arguments.test, **arguments.reading_examples, known_labels=train.label_names)
    output = arguments.output
    table = run_ladder(
        train,
        test,
        arguments.settings,
        images=images,
        output=output,
        overwrite=arguments.overwrite,
        progress=console.progress,
    )
    are = "is" if table.duplicates == 1 else "are"
    console.note(
        f"measured on {counted(table.n_test, test.noun)} of {test.source}; {table.duplicates} of them {are} in the training data, too"
    )
    if table.left_out_documents:
        console.note(
            f"{counted(table.left_out_documents, 'document')} of the unlabeled text equal a test text and are left out"
        )
    for name, seconds in table.prepared.items():
        console.note(f"{name}: prepared once, in {duration(seconds)}")
    for name, counts in table.left_out.items():
        labels = ", ".join(f"{count:,}" for count in counts)
        console.note(f"{name}: no time for {labels} labels, or not for all samples; --minutes gives more")
    console.result({"output": str(output), **table.as_dict()}, str(table))
    console.note(f"tables, pictures and report are in {output}: open {output / 'report.html'}")
