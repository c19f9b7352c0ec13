"""Tagged sentences: CoNLL's columns, and JSON lines of tokens and tags.

U.N. NNP I-NP I-ORG          a word a line, its columns between spaces or tabs, an empty line after a sentence;
official NN I-NP O           lines that begin with -DOCSTART- are passed over, and
                             comments: # without a tab among tabs, or before a sentence with another number of columns

{"tokens": ["U.N.", "official"], "tags": ["I-ORG", "O"]}      or "ner_tags", "pos_tags", "labels"
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from unfreeze.checked import parse_json, shown, whole_number
from unfreeze.errors import UserError
from unfreeze.text.lines import existing_file, plain_suffix, read_lines
from unfreeze.text.tag_schemes import IllegalTag, Scheme, convert_tags, detect_scheme, split_tag
from unfreeze.text.words import without_surrogates

JSON_LINES = (".jsonl", ".ndjson", ".json")
TAG_KEYS = ("tags", "ner_tags", "pos_tags", "labels")
SKIPPED = "-DOCSTART-"


@dataclass(frozen=True, slots=True)
class TaggedSentence:
    """Words and a tag for each."""

    tokens: tuple[str, ...]
    tags: tuple[str, ...]
    line: int = 0
    """Where it stands in its file: of its first word, or of its JSON."""


@dataclass(frozen=True)
class TaggedSet:
    """Sentences in one scheme."""

    sentences: list[TaggedSentence]
    scheme: Scheme
    source: str

    def __len__(self) -> int:
        return len(self.sentences)

    @property
    def n_words(self) -> int:
        """Of all sentences."""
        return sum(len(sentence.tokens) for sentence in self.sentences)

    def tag_names(self) -> list[str]:
        """All tags, O first, then by name."""
        names = {tag for sentence in self.sentences for tag in sentence.tags}
        return sorted(names, key=lambda name: (name != "O", name.partition("-")[2], name))

    def in_scheme(self, scheme: Scheme) -> TaggedSet:
        """The same in another scheme; plain tags stay."""
        if scheme == self.scheme or self.scheme == "plain":
            return self
        converted = [
            replace(each, tags=tuple(convert_tags(each.tags, self.scheme, scheme))) for each in self.sentences
        ]
        return TaggedSet(converted, scheme, self.source)

    def first(self, count: int) -> TaggedSet:
        """The first sentences."""
        return replace(self, sentences=self.sentences[:count])


def tagged_set(
    tokens: Sequence[Sequence[str]], tags: Sequence[Sequence[str]], source: str = "the given sentences"
) -> TaggedSet:
    """Sentences that are in memory.

    Raises:
        UserError: not a tag for each word, or tags that are in no scheme.
    """
    if len(tokens) != len(tags):
        raise UserError(f"{len(tokens)} sentences and {len(tags)} lists of tags: there must be one for each")
    rows = []
    for number, (words, own) in enumerate(zip(tokens, tags, strict=True), 1):
        if (
            isinstance(words, str)
            or isinstance(own, str)
            or not all(isinstance(each, str) for each in (*words, *own))
        ):
            raise UserError(f"sentence {number}: words and tags are lists of strings")
        _need_pairs(words, own, f"sentence {number}")
        if len(words):
            rows.append(TaggedSentence(tuple(map(_joined, words)), tuple(own), number))
    return _in_one_scheme(rows, source, "sentence ", lines=False)


def read_tagged(
    path: str | Path,
    *,
    token_column: int | str | None = None,
    tag_column: int | str | None = None,
    encoding: str = "utf-8",
) -> TaggedSet:
    """Read JSON lines (.jsonl, .ndjson, .json), or columns under any other name.

    Args:
        token_column: number from 0 (-1 is the last), or key of the JSON; the first by default.
        tag_column: the same; the last by default.

    Raises:
        UserError: with the line, where columns are missing or tags are in no scheme; or the file holds no sentence.
    """
    file = existing_file(Path(path))
    if plain_suffix(file) in JSON_LINES:
        rows = list(_json_rows(file, token_column, tag_column, encoding))
    else:
        columns = (_number(token_column, 0), _number(tag_column, -1))
        rows = list(_column_rows(file, *columns, encoding))
    if not rows:
        raise UserError(
            f"{path} holds no sentence: a word a line with its tag, or JSON lines of tokens and tags"
        )
    return _in_one_scheme(rows, str(path), f"{path}:", lines=True)


def _in_one_scheme(rows: list[TaggedSentence], source: str, prefix: str, *, lines: bool) -> TaggedSet:
    try:
        scheme = detect_scheme([row.tags for row in rows])
        if scheme == "bioes":  # BIOUL has other letters
            rows = [
                replace(row, tags=tuple("-".join(filter(None, split_tag(tag))) for tag in row.tags))
                for row in rows
            ]
    except IllegalTag as error:
        sentence, word = error.place
        row = rows[sentence]
        inside = word if lines and plain_suffix(Path(source)) not in JSON_LINES else 0
        raise UserError(
            f"{prefix}{row.line + inside}: {error.reason} (word {word + 1} of its sentence): tags are in "
            "IOB1, BIO or BIOES throughout"
        ) from None
    return TaggedSet(rows, scheme, source)


def _number(column: int | str | None, default: int) -> int:
    if column is None:
        return default
    number = whole_number(str(column))
    if number is None:
        raise UserError(f"columns have numbers, from 0 on (-1 is the last), not {shown(column)}")
    return number


def _column_rows(path: Path, token: int, tag: int, encoding: str) -> Iterator[TaggedSentence]:
    width, tabs = _shape(path, encoding)
    words: list[tuple[str, str]] = []
    first = 0
    for number, line in enumerate(read_lines(path, encoding), 1):
        columns = _columns(line)
        strange = "\t" not in line if tabs else not words and len(columns) != width
        comment = line.startswith("#") and strange
        if not any(columns) or columns[0].startswith(SKIPPED) or comment:
            if words:
                yield _sentence(words, first)
            words = []
            continue
        _check_columns(columns, width, (token, tag), f"{path}:{number}")
        if not words:
            first = number
        words.append((columns[token], columns[tag]))
    if words:
        yield _sentence(words, first)


def _columns(line: str) -> list[str]:
    found = line.rstrip("\n").split("\t") if "\t" in line else re.split(" +", line.strip(" \n"))
    return [column.strip() for column in found]


def _shape(path: Path, encoding: str) -> tuple[int, bool]:
    """How many columns a word has, by the first line that cannot be a comment, and whether tabs are between them."""
    width = 0
    for line in read_lines(path, encoding):
        columns = _columns(line)
        if not any(columns) or columns[0].startswith(SKIPPED):
            continue
        if not line.startswith("#"):
            return len(columns), "\t" in line
        width = width or len(columns)
    return width, False


def _check_columns(columns: Sequence[str], width: int, wanted: tuple[int, int], place: str) -> None:
    if len(columns) != width:
        raise UserError(
            f"{place}: {len(columns)} columns, where others have {width}: every word needs as many"
        )
    if width < 2:
        raise UserError(f"{place}: one column: every word needs a tag beside it")
    for column in wanted:
        if not -width <= column < width:
            raise UserError(f"{place}: there is no column {shown(column)} of {width}")
    token, tag = (column % width for column in wanted)
    if token == tag:
        raise UserError(f"{place}: words and tags are both in column {token}: name two")
    if not columns[tag]:
        raise UserError(f"{place}: the tag is empty")


def _sentence(words: list[tuple[str, str]], line: int) -> TaggedSentence:
    tokens, tags = zip(*words, strict=True)
    return TaggedSentence(tuple(_joined(token) for token in tokens), tags, line)


def _joined(token: str) -> str:
    """A token without spaces within, which would be the end of a word elsewhere."""
    return "_".join(token.split()) or "_"


def _json_rows(
    path: Path, token_key: int | str | None, tag_key: int | str | None, encoding: str
) -> Iterator[TaggedSentence]:
    for number, line in enumerate(read_lines(path, encoding), 1):
        if not line.strip():
            continue
        row = parse_json(line, path, "every line must hold one object with tokens and tags", line=number)
        keys = [str(tag_key)] if tag_key is not None else list(TAG_KEYS)
        tokens = _strings(row, ["tokens" if token_key is None else str(token_key)], f"{path}:{number}")
        tags = _strings(row, keys, f"{path}:{number}")
        _need_pairs(tokens, tags, f"{path}:{number}")
        if tokens:
            yield TaggedSentence(tuple(_joined(token) for token in tokens), tuple(tags), number)


def _strings(row: Any, keys: Iterable[str], place: str) -> list[str]:
    for key in keys:
        if isinstance(row, dict) and key in row:
            found = row[key]
            if isinstance(found, list) and all(isinstance(each, str) for each in found):
                return [without_surrogates(each) for each in found]
            numbers = isinstance(found, list) and bool(found) and all(isinstance(each, int) for each in found)
            hint = " but of numbers: write the tags' names" if numbers else ""
            raise UserError(f"{place}: {key!r} is no list of strings{hint}")
    raise UserError(f"{place}: there is no {' or '.join(map(repr, keys))}")


def _need_pairs(tokens: Sequence[str], tags: Sequence[str], place: str) -> None:
    if len(tokens) != len(tags):
        raise UserError(f"{place}: {len(tokens)} tokens and {len(tags)} tags: every token has one")


def sample_tagged(sentences: TaggedSet, count: int, seed: int) -> TaggedSet:
    """So many of the sentences, fixed by the seed; a smaller sample is a part of a larger one.

    Raises:
        UserError: there are not so many.
    """
    if count > len(sentences):
        raise UserError(f"{sentences.source} holds {len(sentences)} sentences, not {count}")
    order = list(range(len(sentences)))
    random.Random(seed).shuffle(order)
    return replace(sentences, sentences=[sentences.sentences[number] for number in order[:count]])
