"""`unfreeze predict` with a tagger: what is found in each text, for people, as JSON lines, CoNLL's columns or a page."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unfreeze.commands.console import Console
from unfreeze.commands.inputs import given_texts
from unfreeze.errors import UserError
from unfreeze.folders import written_file
from unfreeze.text.display import counted
from unfreeze.text.lines import plain_suffix

if TYPE_CHECKING:
    from unfreeze.commands.predict import Predict
    from unfreeze.tasks.sequence_tagger import Entity, SequenceTagger, TaggedText
    from unfreeze.text.tagged import SplitSentence

FORMATS = (".jsonl", ".conll", ".html")


def predict_tags(arguments: Predict, texts: Iterable[str], console: Console) -> None:
    """Print what is found in raw texts, or write it to a file that appears when it is complete."""
    suffix = checked_suffix(arguments)
    tagger = load(arguments)
    if arguments.output is None:
        for text, entities in tagger.predict_stream(texts):
            console.result({"text": text, "entities": entities}, readable(text, entities))
        return
    found = ((tagged, its_words(tagged), columns(tagged)) for tagged in tagger.tag_stream(texts))
    write(arguments.output, found, suffix, tagger, arguments, console)


def predict_split(arguments: Predict, console: Console) -> None:
    """The same for sentences that are split already: a tag for each word, behind the columns that its file has."""
    suffix = checked_suffix(arguments)
    sentences = read_sentences(arguments)
    tagger = load(arguments)
    found = (
        (tagged, with_tokens(sentence, tagged), with_columns(sentence, tagged))
        for sentence, tagged in zip(
            sentences, tagger.tag_split_stream(each.tokens for each in sentences), strict=True
        )
    )
    if arguments.output is not None:
        return write(arguments.output, found, suffix, tagger, arguments, console)
    for tagged, values, text in found:
        console.result({"text": tagged.text, **values, "entities": tagged.entities}, text.removesuffix("\n"))


def checked_suffix(arguments: Predict) -> str:
    """That of --output, "" without it; raises UserError for a format that taggers do not write."""
    suffix = "" if arguments.output is None else arguments.output.suffix.lower()
    if arguments.output is not None and suffix not in FORMATS:
        raise UserError(
            f"--output {arguments.output}: of a tagger the name has to end in .jsonl, .conll or .html"
        )
    return suffix


def load(arguments: Predict) -> SequenceTagger:
    """The tagger in the number format that was asked for."""
    from unfreeze.tasks.sequence_tagger import SequenceTagger

    tagger = SequenceTagger.from_pretrained(arguments.model)
    tagger.precision = arguments.precision
    return tagger


def reads_split(arguments: Predict) -> bool:
    """Whether the words of sentences are given, by --tokenized or by the name of --file."""
    from unfreeze.text.tag_columns import COLUMN_FILES

    return arguments.tokenized or (
        arguments.file is not None and plain_suffix(arguments.file) in COLUMN_FILES
    )


def read_sentences(arguments: Predict) -> list[SplitSentence]:
    """The sentences of --file, or of texts with their words between spaces."""
    from unfreeze.text.tagged import SplitSentence, read_split

    if arguments.file is not None and not arguments.texts and str(arguments.file) != "-":
        return read_split(
            arguments.file,
            token_column=arguments.text_column,
            encoding=arguments.encoding,
            comments=arguments.comments,
        )
    texts = given_texts(arguments.texts, arguments.file, encoding=arguments.encoding)
    return [SplitSentence(words, words) for words in (tuple(text.split()) for text in texts)]


def its_words(tagged: TaggedText) -> dict[str, list[str]]:
    """Words and tags of a text that the tagger split, as our own reader of JSON lines takes them."""
    return {"tokens": [word.text for words, _ in tagged.sentences for word in words], "tags": tags_of(tagged)}


def with_tokens(sentence: SplitSentence, tagged: TaggedText) -> dict[str, list[str]]:
    """Words and tags as our own reader of JSON lines takes them."""
    return {"tokens": list(sentence.tokens), "tags": tags_of(tagged)}


def with_columns(sentence: SplitSentence, tagged: TaggedText) -> str:
    """The lines of the file with the tag in one column more, and an empty line."""
    lines = [
        f"{line}\t{tag}\n" if "\t" in line else f"{line.strip()} {tag}\n"
        for line, tag in zip(sentence.lines, tags_of(tagged), strict=True)
    ]
    return "".join([*lines, "\n"])


def tags_of(tagged: TaggedText) -> list[str]:
    """Of all its words."""
    return [tag for _, tags in tagged.sentences for tag in tags]


def readable(text: str, entities: list[Entity]) -> str:
    """A line for people: "PER Ekeus (0.98), LOC Baghdad (0.99)", a tab, the text; plain tags as word/TAG."""
    if entities and "entity" in entities[0]:
        return " ".join(f"{each['word']}/{each['entity']}" for each in entities)
    said = [
        f"{each['entity_group']} {' '.join(each['word'].split())} ({each['score']:.2f})" for each in entities
    ]
    return f"{', '.join(said) or '-'}\t{' '.join(text.split())}"


def write(
    output: Path,
    found: Iterable[tuple[TaggedText, dict[str, Any], str]],
    suffix: str,
    tagger: SequenceTagger,
    arguments: Predict,
    console: Console,
) -> None:
    """All texts in the format of `suffix`: `found` has what JSON lines say besides, and the columns, of each."""
    from unfreeze.analysis.tag_page import page_begin, page_end, page_text

    count = 0
    with (
        written_file(output) as temporary,
        temporary.open("w", encoding="utf-8", errors="replace") as file,
        console.progress.bar("predict", unit="text") as bar,
    ):
        if suffix == ".html":
            file.write(page_begin(Path(arguments.model).resolve().name, tagger.classes_))
        for each, values, text in found:
            if suffix == ".jsonl":
                row = {"text": each.text, **values, "entities": each.entities}
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
            elif suffix == ".html":
                file.write(page_text(each.text, each.entities, tagger.classes_))
            else:
                file.write(text)
            bar.advance()
            count += 1
        if suffix == ".html":
            file.write(page_end())
    console.result({"output": str(output), "texts": count}, f"{counted(count, 'text')}: {output}")


def columns(tagged: TaggedText) -> str:
    """A word and its tag a line, an empty line after each sentence."""
    lines = []
    for words, tags in tagged.sentences:
        # A NUL would make the file one of bytes.
        lines += [
            f"{word.text} {tag}\n".replace("\0", "\ufffd") for word, tag in zip(words, tags, strict=True)
        ]
        lines.append("\n")
    return "".join(lines)
