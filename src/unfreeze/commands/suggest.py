"""`unfreeze suggest`: which texts of a file to label next."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from unfreeze.checked import need_positive, need_seed
from unfreeze.commands.console import Console
from unfreeze.commands.inputs import CLASSIFIER, need_kind, need_new, need_table_name, reads_pairs
from unfreeze.commands.options import PredictionOptions, ReadsText
from unfreeze.datasets.lines import standard_lines
from unfreeze.display import counted
from unfreeze.errors import UserError

COLUMNS = ("text", "label", "predicted", "score", "why")
TEXT_WIDTH = 70
"""Characters of a text that are printed."""


@dataclass(kw_only=True)
class Suggest(ReadsText, PredictionOptions):
    """Suggest the texts to label next: those that a classifier of texts is unsure of, and that differ from each other.

    The file is read once, in memory that does not grow with it. Duplicates are suggested once. Texts that are labeled already are left out with
    --exclude. The table that --output writes has an empty column `label` to fill in, and is then read by `fit classifier --train`.

    Example:
        unfreeze suggest my-classifier --file unlabeled.txt --exclude labeled.csv --output to-label.csv
        unfreeze suggest my-classifier --file reviews.csv --text-column review --top 20
    """

    model: Positional[str]
    """Classifier of texts: a folder, or owner/name on the hub."""

    file: Path
    """File of unlabeled texts: the column of a table, or the lines of a text file; - for standard input."""

    top: int = 50
    """Number of texts to suggest."""

    exclude: tuple[str, ...] = ()
    """Files of texts that are labeled already, such as the training set: tables, lines of texts, or folders per class."""

    output: Path | None = None
    """Table to write instead of printing (.csv or .tsv), with the columns text, label (empty), predicted, score and why."""

    strategy: Literal["auto", "margin", "clusters", "badge"] = "auto"
    """Which of the uncertain texts: the most uncertain ones (margin), one for each cluster of them (clusters), or a sample of
    k-means++ on gradients (badge); auto is clusters."""

    escape_formulas: bool = False
    """Put an apostrophe before texts in the table that a spreadsheet would run as formulas."""

    seed: int = 0
    """Seed of all random numbers: the same seed gives the same suggestions."""

    def __post_init__(self) -> None:
        need_positive(self, "top")
        need_seed(self.seed)


def run(arguments: Suggest, console: Console) -> None:
    """Print the suggestions, or write the table."""
    output = arguments.output
    need_new(output, overwrite=arguments.overwrite)
    need_table_name(output)
    if arguments.escape_formulas and output is None:
        raise UserError("--escape-formulas is for tables: add --output with a name that ends in .csv or .tsv")
    need_kind(
        arguments.model, CLASSIFIER, "suggest", "a classifier of texts: `unfreeze fit classifier` makes one"
    )
    if reads_pairs(arguments.model):
        raise UserError(f"{arguments.model} is a classifier of pairs of texts: suggest reads single texts")
    texts = _texts(arguments.file, arguments)
    labeled = [text for path in arguments.exclude for text in _labeled(path, arguments)]
    from unfreeze.tasks.prediction_files import write_table
    from unfreeze.tasks.suggestions import DEFAULT, suggest
    from unfreeze.tasks.text_classifier import TextClassifier

    classifier = TextClassifier.from_pretrained(arguments.model)
    classifier.precision = arguments.precision
    suggested = suggest(
        classifier,
        texts,
        arguments.top,
        exclude=labeled,
        strategy=DEFAULT if arguments.strategy == "auto" else arguments.strategy,
        seed=arguments.seed,
        progress=console.progress,
    )
    rows = [
        {"text": each.input, "label": "", "predicted": each.label, "score": each.score, "why": each.why}
        for each in suggested.found
    ]
    left_out = (
        f"{suggested.n_excluded:,} labeled already, {suggested.n_unknown:,} empty or without a known word"
    )
    console.note(f"{counted(suggested.n_read, 'text')} read; left out: {left_out}")
    if output is not None:
        write_table(output, rows, COLUMNS, escape_formulas=arguments.escape_formulas)
        values = {"output": str(output), "texts": len(rows)}
        console.result(values, f"{counted(len(rows), 'text')}: {output}; fill in the column label")
        return
    for row in rows:
        del row["label"]
        row["text"] = row["text"] if console.json else _short(str(row["text"]))
    console.table(rows)


def _short(text: str) -> str:
    from unfreeze.display import cut

    return cut(" ".join(text.split()), TEXT_WIDTH)


def _texts(path: Path, arguments: Suggest) -> Iterator[str]:
    from unfreeze.text.examples import stream_texts

    if str(path) == "-":
        return (line.rstrip("\r\n") for line in standard_lines(arguments.encoding))
    return stream_texts(path, **arguments.reading)


def _labeled(path: str, arguments: Suggest) -> Iterator[str]:
    """The texts of a labeled file; its text column is looked for by its usual names, unless it is the one that was given."""
    from unfreeze.text.examples import read_examples, stream_texts

    if Path(path).is_dir():
        yield from read_examples(path, encoding=arguments.encoding).inputs()
        return
    yield from stream_texts(path, **arguments.reading)
    # Lines of a label and a text are read as texts above; without their labels they are what fit classifier reads.
    with suppress(UserError):
        yield from read_examples(path, encoding=arguments.encoding).inputs()
