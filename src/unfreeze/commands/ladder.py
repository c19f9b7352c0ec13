"""`unfreeze ladder`: every kind of transfer on one task, for rising numbers of labels."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from unfreeze.commands.console import Console
from unfreeze.commands.fit import said_duplicates
from unfreeze.commands.inputs import need_one_process
from unfreeze.commands.options import ReadsExamples
from unfreeze.display import counted, duration
from unfreeze.ladder.settings import LadderSettings


@dataclass(kw_only=True)
class Ladder(ReadsExamples):
    """Compare every kind of transfer on your own task, for rising numbers of labels.

    From the largest class and TF-IDF over averaged word vectors to a fine-tuned language model: each is fitted on nested samples of the
    training texts and measured on the test texts. DIR gets the table (ladder.csv, table.json), learning curves, and report.html, a page
    with everything. Rerun the command to resume an interrupted run, or to add rungs, labels or time.

    Example:
        unfreeze ladder --train reviews.csv --test more-reviews.csv --output my-ladder
        unfreeze ladder --train reviews.csv --test more-reviews.csv --unlabeled texts.txt --labels 100 300 1000 --minutes 30 --output my-ladder
    """

    train: str
    """Labeled texts to learn from: a file, a folder, or hf:owner/name."""

    test: str
    """Labeled texts to measure on. They are never learned from."""

    output: Path
    """Folder to write to."""

    overwrite: bool = False
    """Replace the results of other data in that folder."""

    settings: LadderSettings = field(default_factory=LadderSettings)
    """What is compared."""


def run(arguments: Ladder, console: Console) -> None:
    """Read the texts, measure, and print the table."""
    need_one_process("ladder")
    from unfreeze.ladder.ladder import run_ladder
    from unfreeze.text.examples import read_examples

    train = read_examples(arguments.train, **arguments.reading_examples)
    test = read_examples(arguments.test, **arguments.reading_examples, known_labels=train.label_names)
    said_duplicates(train, test, "text", console)
    output = arguments.output
    table = run_ladder(
        train,
        test,
        arguments.settings,
        output=output,
        overwrite=arguments.overwrite,
        progress=console.progress,
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
