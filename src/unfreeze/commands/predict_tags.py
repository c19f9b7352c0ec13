"""`unfreeze predict` with a tagger: what is found in each text, for people, as JSON lines, CoNLL's columns or a page."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from unfreeze.commands.console import Console
from unfreeze.errors import UserError
from unfreeze.folders import written_file
from unfreeze.text.display import counted

if TYPE_CHECKING:
    from unfreeze.commands.predict import Predict
    from unfreeze.tasks.sequence_tagger import Entity, SequenceTagger, TaggedText

FORMATS = (".jsonl", ".conll", ".html")


def predict_tags(arguments: Predict, texts: Iterable[str], console: Console) -> None:
    """Print what is found, or write it to a file that appears when it is complete."""
    suffix = "" if arguments.output is None else arguments.output.suffix.lower()
    if arguments.output is not None and suffix not in FORMATS:
        raise UserError(
            f"--output {arguments.output}: of a tagger the name has to end in .jsonl, .conll or .html"
        )
    if arguments.probabilities:
        raise UserError("--probabilities is for classifiers: a tagger gives every span a score")
    from unfreeze.tasks.sequence_tagger import SequenceTagger

    tagger = SequenceTagger.from_pretrained(arguments.model)
    tagger.precision = arguments.precision
    if arguments.output is None:
        for text, entities in tagger.predict_stream(texts):
            console.result({"text": text, "entities": entities}, readable(text, entities))
        return
    with (
        written_file(arguments.output) as temporary,
        temporary.open("w", encoding="utf-8", errors="replace") as file,
        console.progress.bar("predict", unit="text") as bar,
    ):
        count = write(tagger, texts, file, suffix, Path(arguments.model).resolve().name, bar.advance)
    console.result(
        {"output": str(arguments.output), "texts": count}, f"{counted(count, 'text')}: {arguments.output}"
    )


def readable(text: str, entities: list[Entity]) -> str:
    """A line for people: "PER Ekeus (0.98), LOC Baghdad (0.99)", a tab, the text; plain tags as word/TAG."""
    if entities and "entity" in entities[0]:
        return " ".join(f"{each['word']}/{each['entity']}" for each in entities)
    said = [
        f"{each['entity_group']} {' '.join(each['word'].split())} ({each['score']:.2f})" for each in entities
    ]
    return f"{', '.join(said) or '-'}\t{' '.join(text.split())}"


def write(
    tagger: SequenceTagger, texts: Iterable[str], file: TextIO, suffix: str, title: str, advance: Any
) -> int:
    """All texts in the format of `suffix`; returns their number."""
    from unfreeze.analysis.tag_page import page_begin, page_end, page_text

    count = 0
    if suffix == ".html":
        file.write(page_begin(title, tagger.kinds))
    for each in tagger.tag_stream(texts):
        if suffix == ".jsonl":
            row = {"text": each.text, "entities": each.entities}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
        elif suffix == ".html":
            file.write(page_text(each.text, each.entities, tagger.kinds))
        else:
            file.write(columns(each))
        advance(1)
        count += 1
    if suffix == ".html":
        file.write(page_end())
    return count


def columns(tagged: TaggedText) -> str:
    """A word and its tag a line, an empty line after each sentence."""
    lines = []
    for words, tags in tagged.sentences:
        lines += [f"{word.text} {tag}\n" for word, tag in zip(words, tags, strict=True)]
        lines.append("\n")
    return "".join(lines)
