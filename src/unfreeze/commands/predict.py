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
from unfreeze.commands.inputs import ANSWERER, TAGGER, given_texts, need_new, need_task_model
from unfreeze.commands.predict_answers import predict_answers
from unfreeze.commands.predict_tags import predict_tags
from unfreeze.errors import UserError
from unfreeze.folders import written_file
from unfreeze.text.display import counted

if TYPE_CHECKING:
    from unfreeze.tasks.text_classifier import TextClassifier

TABLES = {".csv": ",", ".tsv": "\t"}
LINES = (".jsonl", ".ndjson")

Row = dict[str, Any]
"""What is said of a text; "labels" and "probabilities" hold lists and mappings."""


@dataclass(kw_only=True)
class Predict:
    """Label texts with a classifier, the words of texts with a tagger, or answer questions about a text.

    Texts are read and answered as a stream, in their order; what is said of one does not depend on the others. What a
    tagger finds is written as JSON lines, as CoNLL's columns, or as a colored page; answers as JSON lines or a page.

    Example:
        unfreeze predict my-classifier "A stunning story with a lot of twists."
        unfreeze predict my-classifier --file reviews.csv --text-column review --output labels.csv
        unfreeze predict my-tagger --file letters.txt --output names.html
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

    probabilities: bool = False
    """The probability of every label of a classifier."""

    text_column: str | None = None
    """Name or number of the text's column in a table."""

    encoding: str = "utf-8"
    """Of text files."""

    precision: Literal["auto", "fp32", "bf16"] = "fp32"
    """Number format; bf16 is faster where the processor has it, auto tries."""

    overwrite: bool = False
    """Replace a file that is there."""


def run(arguments: Predict, console: Console) -> None:
    """Print a result a text, or write them to a file."""
    need_new(arguments.output, overwrite=arguments.overwrite)
    kind = need_task_model(arguments.model, "predict")
    if kind == ANSWERER:
        return predict_answers(arguments, console)
    if arguments.top != 1:
        raise UserError("--top is for answerers: it is how many answers a question gets")
    if arguments.context is not None:
        raise UserError("--context is for answerers: it is the text that questions are about")
    texts = given_texts(
        arguments.texts, arguments.file, encoding=arguments.encoding, text_column=arguments.text_column
    )
    if kind == TAGGER:
        return predict_tags(arguments, texts, console)
    if arguments.output is not None and arguments.output.suffix.lower() not in (*TABLES, *LINES):
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
        count = write_rows(rows, temporary, arguments.output.suffix.lower(), console)
    console.result(
        {"output": str(arguments.output), "texts": count}, f"{counted(count, 'text')}: {arguments.output}"
    )


def predicted_rows(
    classifier: TextClassifier, texts: Iterable[str], *, with_probabilities: bool
) -> Iterator[Row]:
    """What is said of each text."""
    for text, found, known in classifier.predict_stream(texts):
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


def write_rows(rows: Iterable[Row], path: Path, suffix: str, console: Console) -> int:
    """Write rows in the format of `suffix`; returns their number."""
    count = 0
    with (
        path.open("w", encoding="utf-8", errors="replace", newline="") as file,
        console.progress.bar("predict", unit="text") as bar,
    ):
        write = _line_writer(file) if suffix in LINES else _table_writer(file, TABLES[suffix])
        for row in rows:
            write(row)
            bar.advance()
            count += 1
    return count


def _line_writer(file: TextIO) -> Callable[[Row], None]:
    return lambda row: print(json.dumps(row, ensure_ascii=False), file=file)


def _table_writer(file: TextIO, delimiter: str) -> Callable[[Row], None]:
    table = csv.writer(file, delimiter=delimiter)
    is_first = True

    def write(row: Row) -> None:
        nonlocal is_first
        flat = flattened(row)
        if is_first:
            table.writerow(flat)
            is_first = False
        table.writerow(flat.values())

    return write


def flattened(row: Row) -> dict[str, str | float]:
    """A row as a table has it: several labels joined by "|", "unknown" for a text without a known word, a column for every
    label's probability."""
    chosen = _chosen(row)
    flat: dict[str, str | float] = {"text": row["text"], "label": "|".join(chosen)}
    if "score" in row:
        flat["score"] = row["score"]
    flat["unknown"] = "true" if "unknown" in row else ""
    return flat | {f"p({label})": share for label, share in row.get("probabilities", {}).items()}
