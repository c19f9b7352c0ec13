"""Predictions as text: lines for people, JSON lines, tables, CoNLL's columns, and HTML pages.

JSON lines, tables and columns can be read again as labeled data.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from unfreeze.analysis.tag_page import page_begin, page_end, page_heading, page_text, page_words
from unfreeze.datasets.labels import join_labels
from unfreeze.folders import written_file
from unfreeze.progress import SILENT, Progress
from unfreeze.tasks.explanations import Explanation
from unfreeze.tasks.question_answerer import Answered
from unfreeze.tasks.sequence_tagger import TaggedText
from unfreeze.text.questions import Question

TABLES = {".csv": ",", ".tsv": "\t"}
"""The character between the columns of a table, by the suffix of its name."""
LINES = (".jsonl", ".ndjson")
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet runs a cell that begins with one of these."""

Row = dict[str, Any]
"""A prediction as a JSON object, with its text, and the second text of a pair, or with the name of an image."""
INPUTS_OF_ROW = ("text", "pair", "image")


def write_predictions(
    path: Path,
    found: Iterable[str],
    suffix: str,
    title: str,
    kinds: Sequence[str],
    progress: Progress = SILENT,
    unit: str = "text",
) -> int:
    """Write the text of each prediction to a file that appears when it is complete.

    Args:
        found: a text for each prediction, in the format of `suffix`.
        title: of an HTML page.
        kinds: types of entities, for the legend of an HTML page.
        unit: what is predicted, for the progress bar.

    Returns:
        Number of predictions.
    """
    count = 0
    with (
        written_file(path) as temporary,
        temporary.open("w", encoding="utf-8", errors="replace", newline="") as file,
        progress.bar("predict", unit=unit) as bar,
    ):
        file.write(page_begin(title, kinds) if suffix == ".html" else "")
        for text in found:
            file.write(text)
            bar.advance()
            count += 1
        file.write(page_end() if suffix == ".html" else "")
    return count


def json_line(row: Row) -> str:
    """A row of a JSON lines file."""
    return json.dumps(row, ensure_ascii=False) + "\n"


# Labels


def labels_line(row: Row) -> str:
    """The label or labels of an input with their probabilities, a tab, and the text on one line; of a pair both texts."""
    chosen = _chosen(row)
    shares = (
        ", ".join(f"{label} {share:.3f}" for label, share in row.get("probabilities", chosen).items()) or "-"
    )
    if "probabilities" in row:
        shares = f"{'|'.join(chosen) or '-'} ({shares})"
    unknown = ", no known word" if "unknown" in row else ""
    texts = "\t".join(" ".join(row[name].split()) for name in INPUTS_OF_ROW if name in row)
    return f"{shares}{unknown}\t{texts}"


STRONGEST = 10
"""Words of an explanation that are printed."""


def words_line(found: Explanation | None) -> str:
    """ "  for pos: wonderful +1.20, moving +0.80, dull -0.50 (exact)", the strongest words first."""
    if found is None:
        return "  no word decided"
    words = [f"{' '.join(each.word.split())} {each.contribution:+.2f}" for each in found.strongest(STRONGEST)]
    return f"  for {found.label}: {', '.join(words) or '-'} ({found.method})"


def words_on_page(row: Row, found: Explanation | None) -> str:
    """The label and its score above the text, whose words are colored by their contributions."""
    words = [] if found is None else [(each.start, each.end, each.contribution) for each in found.words]
    chosen = ", ".join(f"{label} {score:.3f}" for label, score in _chosen(row).items()) or "-"
    note = "no known word" if found is None else f"for {found.label}: green; against it: red ({found.method})"
    return page_heading(chosen, note) + page_words(row["text"], words)


def _chosen(row: Row) -> dict[str, float]:
    """The score of each label that the text was given."""
    return {each["label"]: each["score"] for each in row.get("labels", [row])}


def table_writer(delimiter: str, *, escape_formulas: bool = False) -> Callable[[Row], str]:
    """A function that turns each row into a line of a table; the first line follows the header.

    Args:
        escape_formulas: put an apostrophe before cells that a spreadsheet would run.
    """
    header_is_due = True

    def line(row: Row) -> str:
        nonlocal header_is_due
        flat = _flattened(row, delimiter)
        cells = [_safe(cell) if escape_formulas else cell for cell in flat.values()]
        written = io.StringIO()
        csv.writer(written, delimiter=delimiter).writerows([list(flat)] * header_is_due + [cells])
        header_is_due = False
        return written.getvalue()

    return line


def _safe(cell: str | float) -> str | float:
    """A cell that a spreadsheet does not run as a formula."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA_STARTS) else cell


def write_table(
    path: Path, rows: Iterable[Row], header: Sequence[str], *, escape_formulas: bool = False
) -> None:
    """Write rows with the keys of the header, of numbers and strings, as a table that appears when it is complete."""
    delimiter = TABLES[path.suffix.lower()]
    with (
        written_file(path) as temporary,
        temporary.open("w", encoding="utf-8", errors="replace", newline="") as file,
    ):
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerow(header)
        for row in rows:
            cells = [_cell(value, delimiter) for value in map(row.__getitem__, header)]
            writer.writerow([_safe(cell) if escape_formulas else cell for cell in cells])


def _cell(value: Any, delimiter: str) -> Any:
    """What a table can hold: no NUL; in a TSV, no tab in a text of several lines, which could look like the beginning of a row."""
    if not isinstance(value, str):
        return value
    text = value.replace("\0", "\ufffd")
    if delimiter == "\t" and ("\n" in text or "\r" in text):
        text = text.replace("\t", " ")
    return text


def _flattened(row: Row, delimiter: str) -> dict[str, str | float]:
    """The cells of a row: several labels are joined; each label's probability has a column."""
    flat: dict[str, str | float] = {
        name: _cell(row[name], delimiter) for name in INPUTS_OF_ROW if name in row
    }
    flat["label"] = join_labels(list(_chosen(row))) if "labels" in row else row["label"]
    if "score" in row:
        flat["score"] = row["score"]
    flat["unknown"] = "true" if "unknown" in row else ""
    return flat | {f"p({label})": share for label, share in row.get("probabilities", {}).items()}


# Tags


def entities_line(tagged: TaggedText) -> str:
    """ "PER Ekeus (0.98), LOC Baghdad (0.99)", a tab, and the text; plain tags as word/TAG."""
    entities = tagged.entities
    if entities and "entity" in entities[0]:
        return " ".join(f"{each['word']}/{each['entity']}" for each in entities)
    named = [
        f"{each['entity_group']} {' '.join(each['word'].split())} ({each['score']:.2f})" for each in entities
    ]
    return f"{', '.join(named) or '-'}\t{' '.join(tagged.text.split())}"


def words_and_tags(tagged: TaggedText) -> Row:
    """The words of a text and their tags, as the reader of tagged JSON lines takes them."""
    return {
        "tokens": [word.text for words, _ in tagged.sentences for word in words],
        "tags": [tag for _, tags in tagged.sentences for tag in tags],
    }


def tag_columns(tagged: TaggedText, lines: Sequence[str] | None = None) -> str:
    """A line for each word with its tag in the last column, and an empty line after each sentence.

    Args:
        lines: of a text of one sentence, the lines of the file that it came from; by default each line is the word.
    """
    written = []
    for words, tags in tagged.sentences:
        # A NUL would make the file a binary one.
        own = [word.text.replace("\0", "\ufffd") for word in words] if lines is None else lines
        for line, tag in zip(own, tags, strict=True):
            written.append(f"{line}\t{tag}\n" if "\t" in line else f"{line.strip()} {tag}\n")
        written.append("\n")
    return "".join(written)


# Answers


def answers_line(question: Question, found: Answered) -> str:
    """The answers with their scores, the score of no answer, a tab, and the question."""
    answers = [f"{' '.join(each['answer'].split())} ({each['score']:.2f})" for each in found["answers"]]
    return f"{', '.join(answers) or '-'}; no answer {found['no_answer']:.2f}\t{' '.join(question.question.split())}"


def answers_on_page(question: Question, found: Answered) -> str:
    """The question above its text, in which the best answer is highlighted if it is likelier than no answer."""
    best = [{**each, "entity_group": ""} for each in found["answers"][:1]]
    note = "".join(f"{each['score']:.2f}, " for each in best) + f"no answer {found['no_answer']:.2f}"
    likely = [each for each in best if each["score"] > found["no_answer"]]
    return page_heading(question.question, note) + page_text(question.context, likely, [""])
