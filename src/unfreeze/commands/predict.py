"""`unfreeze predict`: labels for texts, tags of their words, or answers to questions, in their order, streamed."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TextIO

from tyro.conf import Positional

from unfreeze.commands.console import Console
from unfreeze.commands.inputs import ANSWERER, TAGGER, TASK_MODELS, given_texts, need_new, need_task_model
from unfreeze.commands.options import ReadsText, need_own_options
from unfreeze.commands.predict_answers import predict_answers
from unfreeze.commands.predict_tags import predict_split, predict_tags, reads_split
from unfreeze.datasets.labels import join_labels
from unfreeze.errors import UserError
from unfreeze.folders import written_file
from unfreeze.text.display import counted

if TYPE_CHECKING:
    from unfreeze.tasks.text_classifier import TextClassifier

OWN_OPTIONS = {
    "classifiers": "text_column header probabilities escape_formulas",
    "taggers of raw text": "text_column header",
    "taggers of split words": "text_column tokenized comments",
    "answerers": "context top",
}
TABLES = {".csv": ",", ".tsv": "\t"}
LINES = (".jsonl", ".ndjson")
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
"""What begins a cell that spreadsheets run."""

Row = dict[str, Any]
"""What is said of a text; "labels" and "probabilities" hold lists and mappings."""


@dataclass(kw_only=True)
class Predict(ReadsText):
    """Label texts with a classifier, the words of texts with a tagger, or answer questions about a text.

    Texts are read and answered as a stream, in their order; what is said of one does not depend on the others. What a
    tagger finds is written as JSON lines, as CoNLL's columns, or as a colored page; answers as JSON lines or a page.
    A tagger reads raw text, or sentences that are split into words already: each of their words is then shown with its tag,
    in a last column behind those of the file.

    Example:
        unfreeze predict my-classifier "A stunning story with a lot of twists."
        unfreeze predict my-classifier --file reviews.csv --text-column review --output labels.csv
        unfreeze predict my-tagger --file letters.txt --output names.html
        unfreeze predict my-tagger --file eng.testb --tokenized --output tagged.conll
        unfreeze predict my-answerer "Who is chasing?" --context "A mouse chases a cat."
    """

    model: Positional[str]
    """Classifier, tagger or answerer: a folder, a released name, or owner/name on the hub."""

    texts: Positional[tuple[str, ...]] = ()
    """Texts to label, or questions; - reads lines of standard input."""

    context: str | None = None
    """An answerer: the text that the questions are about."""

    top: int = 1
    """An answerer: answers to each question at most."""

    file: Path | None = None
    """Texts to label: a table's column, or the lines of a text file; for an answerer a file in SQuAD's format."""

    output: Path | None = None
    """Write .csv, .tsv or .jsonl (a tagger: .jsonl, .conll or .html; an answerer: .jsonl or .html) instead of printing; the
    file appears when it is complete."""

    tokenized: bool = False
    """A tagger: the texts are split already. --file is CoNLL's columns, or JSON lines of tokens (.jsonl, .ndjson, .json); other
    texts have their words between spaces. A file named .conll, .conllu, .iob, .iob2 or .bio always is."""

    comments: Literal["auto", "skip", "words"] = "auto"
    """What lines of such columns are that begin with #: comments (skip), words, or what the other lines suggest."""

    probabilities: bool = False
    """The probability of every label of a classifier."""

    text_column: str | None = None
    """Name or number (from 1) of the text's column in a table; several, separated by commas, are joined. In a file that is
    split already the column of the words, from 0, or their key."""

    escape_formulas: bool = False
    """In .csv and .tsv put an apostrophe before texts and labels that a spreadsheet would run as formulas."""

    precision: Literal["auto", "fp32", "bf16"] = "fp32"
    """Number format; bf16 is faster where the processor has it, auto tries."""

    overwrite: bool = False
    """Replace a file that is there."""


def run(arguments: Predict, console: Console) -> None:
    """Print a result a text, or write them to a file."""
    need_new(arguments.output, overwrite=arguments.overwrite)
    kind = need_task_model(arguments.model, "predict")
    suffix = "" if arguments.output is None else arguments.output.suffix.lower()
    if arguments.escape_formulas and suffix not in TABLES:
        raise UserError("--escape-formulas is for tables: it goes with --output and a name in .csv or .tsv")
    is_split = kind == TAGGER and reads_split(arguments)
    of_tagger = "taggers of split words" if is_split else "taggers of raw text"
    need_own_options(arguments, of_tagger if kind == TAGGER else f"{TASK_MODELS[kind]}s", OWN_OPTIONS)
    if kind == ANSWERER:
        return predict_answers(arguments, console)
    if is_split:
        return predict_split(arguments, console)
    texts = given_texts(arguments.texts, arguments.file, **arguments.reading)
    if kind == TAGGER:
        return predict_tags(arguments, texts, console)
    if arguments.output is not None and suffix not in (*TABLES, *LINES):
        raise UserError(f"--output {arguments.output}: the name has to end in .csv, .tsv or .jsonl")
    from unfreeze.tasks.text_classifier import TextClassifier

    classifier = TextClassifier.from_pretrained(arguments.model)
    classifier.precision = arguments.precision
    rows = predicted_rows(classifier, texts, with_probabilities=arguments.probabilities)
    if arguments.output is None:
        for row in rows:
            console.result(row, readable(row))
        return
    with written_file(arguments.output) as temporary:
        count = write_rows(rows, temporary, suffix, console, escape_formulas=arguments.escape_formulas)
    console.result(
        {"output": str(arguments.output), "texts": count}, f"{counted(count, 'text')}: {arguments.output}"
    )


def predicted_rows(
    classifier: TextClassifier, texts: Iterable[str], *, with_probabilities: bool
) -> Iterator[Row]:
    """What is said of each text."""
    for text, found, known in classifier.predict_stream_known(texts):
        row: Row = {"text": text, **classifier.prediction(found, known)}
        if with_probabilities:
            row["probabilities"] = dict(zip(classifier.label_names, found.tolist(), strict=True))
        yield row


def readable(row: Row) -> str:
    """One line for people: the label or labels with their probabilities, a tab, the text."""
    chosen = row.get("probabilities") or _chosen(row)
    said = ", ".join(f"{label} {share:.3f}" for label, share in chosen.items()) or "-"
    if "probabilities" in row:
        said = f"{'|'.join(_chosen(row)) or '-'} ({said})"
    if "unknown" in row:
        said += ", no known word"
    return f"{said}\t{' '.join(row['text'].split())}"


def _chosen(row: Row) -> dict[str, float]:
    found = row.get("labels", [row])
    return {each["label"]: each["score"] for each in found}


def write_rows(
    rows: Iterable[Row], path: Path, suffix: str, console: Console, *, escape_formulas: bool = False
) -> int:
    """Write rows in the format of `suffix`, as `read_examples` reads them; returns their number."""
    count = 0
    with (
        path.open("w", encoding="utf-8", errors="replace", newline="") as file,
        console.progress.bar("predict", unit="text") as bar,
    ):
        write = (
            _line_writer(file) if suffix in LINES else _table_writer(file, TABLES[suffix], escape_formulas)
        )
        for row in rows:
            write(row)
            bar.advance()
            count += 1
    return count


def _line_writer(file: TextIO) -> Callable[[Row], None]:
    return lambda row: print(json.dumps(row, ensure_ascii=False), file=file)


def _table_writer(file: TextIO, delimiter: str, escape_formulas: bool) -> Callable[[Row], None]:
    table = csv.writer(file, delimiter=delimiter)
    is_first = True

    def write(row: Row) -> None:
        nonlocal is_first
        flat = flattened(row)
        flat["text"] = _cell_text(row["text"], delimiter)
        if is_first:
            table.writerow(flat)
            is_first = False
        cells = flat.values()
        table.writerow(map(_without_formula, cells) if escape_formulas else cells)

    return write


def _cell_text(text: str, delimiter: str) -> str:
    """A text as a table can hold it: no NUL, and in a TSV no tab where line ends could make a row of its beginning."""
    text = text.replace("\0", "\ufffd")
    has_line_end = "\n" in text or "\r" in text
    return text.replace("\t", " ") if delimiter == "\t" and has_line_end else text


def _without_formula(cell: str | float) -> str | float:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA_STARTS) else cell


def flattened(row: Row) -> dict[str, str | float]:
    """A row as a table has it: several labels joined, "unknown" for a text without a known word, a column for every label's
    probability."""
    label = join_labels(list(_chosen(row))) if "labels" in row else row["label"]
    flat: dict[str, str | float] = {"text": row["text"], "label": label}
    if "score" in row:
        flat["score"] = row["score"]
    flat["unknown"] = "true" if "unknown" in row else ""
    return flat | {f"p({label})": share for label, share in row.get("probabilities", {}).items()}
