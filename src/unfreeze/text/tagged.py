"""Sentences that are split into words, with or without tags: columns as in CoNLL, and JSON lines of tokens and tags.

U.N. NNP I-NP I-ORG          one word per line, columns separated by spaces or tabs, an empty line after a sentence;
official NN I-NP O           lines that begin with -DOCSTART- and comments are skipped

{"tokens": ["U.N.", "official"], "tags": ["I-ORG", "O"]}      or "ner_tags", "pos_tags", "labels"

How words are distinguished from comments in columns is described in tag_columns.py.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from unfreeze.checked import parse_json
from unfreeze.datasets.dataset import Dataset
from unfreeze.datasets.lines import existing_file, plain_suffix, read_lines
from unfreeze.errors import Notice, UserError, need_several, setting
from unfreeze.text.tag_columns import (
    Comments,
    column_sentences,
    joined,
    open_columns,
    tags_of,
    tokens_of,
)
from unfreeze.text.tag_schemes import (
    OUTSIDE,
    IllegalTag,
    Scheme,
    check_scheme,
    convert_tags,
    detect_scheme,
    has_type,
    joined_tag,
    split_tag,
)
from unfreeze.text.words import without_surrogates

logger = logging.getLogger(__name__)

JSON_LINES = (".jsonl", ".ndjson", ".json")
TAG_KEYS = ("tags", "ner_tags", "pos_tags", "labels")


@dataclass(frozen=True, slots=True)
class TaggedSentence:
    """A sentence that is split into words, with a tag for each word."""

    tokens: tuple[str, ...]
    tags: tuple[str, ...]
    number: int = 0
    """Position in the source: the line of the first word or of the JSON, or a count from 1."""


@dataclass(frozen=True)
class TaggedSet(Dataset[TaggedSentence]):
    """Sentences whose tags are in one scheme."""

    scheme: Scheme
    noun: ClassVar[str] = "sentence"

    @property
    def n_words(self) -> int:
        """Number of words in all sentences."""
        return sum(len(sentence.tokens) for sentence in self.examples)

    def tag_names(self) -> list[str]:
        """All tags: O first, the others sorted by type."""
        names = {tag for sentence in self.examples for tag in sentence.tags}
        return sorted(names, key=lambda name: (name != "O", name.partition("-")[2], name))

    def in_scheme(self, scheme: Scheme) -> TaggedSet:
        """The same spans in another scheme; plain tags stay as they are."""
        if scheme == self.scheme or self.scheme == "plain":
            return self
        converted = [
            replace(each, tags=tuple(convert_tags(each.tags, self.scheme, scheme))) for each in self.examples
        ]
        return replace(self, examples=converted, scheme=scheme)

    def digest(self) -> str:
        """16 hexadecimal digits that identify words, tags and the scheme."""
        rows: list[Any] = [[each.tokens, each.tags] for each in self.examples]
        # Earlier versions always detected the scheme, and read tags without a type as plain. The digest of such a set does
        # not include the scheme, so that its runs can be resumed.
        tags = set(self.tag_names()) - {OUTSIDE}
        detected: Scheme | None = "plain"
        if not tags or any(map(has_type, tags)):
            try:
                detected = detect_scheme([each.tags for each in self.examples])
            except IllegalTag:
                detected = None
        if self.scheme != detected:
            rows = [self.scheme, *rows]
        return hashlib.blake2b(json.dumps(rows).encode("utf-8", "surrogatepass")).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class SplitSentence:
    """A sentence that is split into words and has no tags."""

    tokens: tuple[str, ...]
    lines: tuple[str, ...]
    """The line of each word in the file, without the line break; in JSON the word itself."""


def tagged_set(
    tokens: Sequence[Sequence[str]],
    tags: Sequence[Sequence[str]],
    source: str = "the given sentences",
    *,
    scheme: Scheme | None = None,
) -> TaggedSet:
    """Make a data set of sentences and tags in memory.

    Args:
        scheme: of the tags (default: detected).

    Raises:
        UserError: there is not one tag per word, or the tags are not in any scheme.
    """
    need_several(tokens, "sentences")
    need_several(tags, "lists of tags")
    tokens, tags = list(tokens), list(tags)
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
            rows.append(TaggedSentence(tuple(map(joined, words)), tuple(own), number))
    return _in_one_scheme(rows, source, lambda sentence, _: f"sentence {rows[sentence].number}", scheme)


def read_tagged(
    path: str | Path,
    *,
    token_column: int | str | None = None,
    tag_column: int | str | None = None,
    encoding: str = "utf-8",
    comments: Comments = "auto",
    scheme: Scheme | None = None,
) -> TaggedSet:
    """Read JSON lines (.jsonl, .ndjson, .json), or columns if the file has another suffix.

    Args:
        token_column: number from 0 (-1 is the last), or key of the JSON (default: the first, in CoNLL-U FORM).
        tag_column: likewise (default: the last, in CoNLL-U UPOS).
        comments: how lines of columns that begin with # are read.
        scheme: of the tags (default: detected).

    Raises:
        UserError: columns are missing or tags are not in any scheme (with the line), or the file contains no sentence.
    """
    file = existing_file(Path(path))
    rows: list[TaggedSentence] = []
    places: list[list[int]] = []  # the line of each word
    if plain_suffix(file) in JSON_LINES:
        keys = TAG_KEYS if tag_column is None else [str(tag_column)]
        for number, row, tokens in _json_tokens(file, token_column, encoding):
            own = _strings(row, keys, f"{path}:{number}")
            _need_pairs(tokens, own, f"{path}:{number}")
            if tokens:
                rows.append(TaggedSentence(tokens, tuple(own), number))
                places.append([number] * len(tokens))
    else:
        lines, token, tag = open_columns(file, token_column, tag_column, encoding)
        for words in column_sentences(lines, path, (token, tag), comments):
            tokens, tags = tokens_of(words, token), tags_of(words, tag, path)
            rows.append(TaggedSentence(tokens, tags, words.numbers[0]))
            places.append(words.numbers)
    if not rows:
        raise UserError(
            f"{path} holds no sentence: a word a line with its tag, or JSON lines of tokens and tags"
        )
    return _in_one_scheme(rows, str(path), lambda sentence, word: f"{path}:{places[sentence][word]}", scheme)


def read_split(
    path: str | Path,
    *,
    token_column: int | str | None = None,
    encoding: str = "utf-8",
    comments: Comments = "auto",
) -> list[SplitSentence]:
    """Read the words of such files, with or without tags.

    Raises:
        UserError: a column is missing (with the line), or the file contains no sentence.
    """
    file = existing_file(Path(path))
    if plain_suffix(file) in JSON_LINES:
        found = [SplitSentence(tokens, tokens) for _, _, tokens in _json_tokens(file, token_column, encoding)]
    else:
        lines, token, _ = open_columns(file, token_column, -1, encoding)
        found = []
        for words in column_sentences(lines, path, (token,), comments):
            found.append(SplitSentence(tokens_of(words, token), tuple(words.lines)))
    if not found:
        raise UserError(f"{path} holds no sentence: a word a line, or JSON lines of tokens")
    return found


def _in_one_scheme(
    rows: list[TaggedSentence], source: str, place: Callable[[int, int], str], wanted: Scheme | None
) -> TaggedSet:
    """Check or detect the scheme, with a warning about a doubtful guess; `place` names a word of a sentence for messages."""
    tags = [row.tags for row in rows]
    try:
        if wanted is not None:
            check_scheme(tags, wanted)
        scheme = wanted or detect_scheme(tags)
    except IllegalTag as error:
        word = error.place[1] + 1
        raise UserError(
            f"{place(*error.place)}: {error.reason} (word {word} of its sentence): tags are in "
            f"IOB1, BIO or BIOES throughout; a fit reads others as plain ones by {setting('scheme', 'plain')}"
        ) from None
    counts = Counter(tag for own in tags for tag in own if tag != OUTSIDE)
    spans = [tag for tag in counts if has_type(tag)]
    if wanted is None and scheme == "plain" and spans:
        sentence, word, odd = next(
            (sentence, word, tag)
            for sentence, own in enumerate(tags)
            for word, tag in enumerate(own)
            if tag != OUTSIDE and not has_type(tag)
        )
        n_spans = sum(counts[tag] for tag in spans)
        logger.warning(
            Notice(
                f"{source}: some tags are spans ({n_spans}, such as {spans[0]}) and others are not ({counts.total() - n_spans}, such "
                f"as {odd}, {place(sentence, word)}): all are read as plain tags, which have no F1; a fit with "
                f"{setting('scheme', 'bio')} refuses such tags"
            )
        )
    elif wanted is None and scheme != "plain" and counts and not spans:
        logger.warning(
            Notice(
                f"{source}: its tags ({', '.join(sorted(counts))}) name no type: they are read as spans of one type; a fit with "
                f"{setting('scheme', 'plain')} reads them as plain tags"
            )
        )
    if scheme == "bioes":  # BIOUL has other letters
        rows = [replace(row, tags=tuple(joined_tag(*split_tag(tag)) for tag in row.tags)) for row in rows]
    return TaggedSet(rows, source, scheme)


def _json_tokens(
    path: Path, key: int | str | None, encoding: str
) -> Iterator[tuple[int, Any, tuple[str, ...]]]:
    """The number, the object and the tokens of each line."""
    keys = ["tokens" if key is None else str(key)]
    for number, line in enumerate(read_lines(path, encoding), 1):
        if not line.strip():
            continue
        row = parse_json(line, path, "every line must hold one object with tokens", line=number)
        tokens = _strings(row, keys, f"{path}:{number}")
        yield number, row, tuple(joined(token) for token in tokens)


def _strings(row: Any, keys: Iterable[str], place: str) -> list[str]:
    for key in keys:
        if isinstance(row, dict) and key in row:
            found = row[key]
            if isinstance(found, list) and all(isinstance(each, str) for each in found):
                return [without_surrogates(each) for each in found]
            numbers = isinstance(found, list) and bool(found) and all(isinstance(each, int) for each in found)
            hint = " but of numbers: write the tags' names" if numbers else ""
            raise UserError(f"{place}: {key!r} is not a list of strings{hint}")
    raise UserError(f"{place}: there is no {' or '.join(map(repr, keys))}")


def _need_pairs(tokens: Sequence[str], tags: Sequence[str], place: str) -> None:
    if len(tokens) != len(tags):
        raise UserError(f"{place}: {len(tokens)} tokens and {len(tags)} tags: every token has one")
