"""Sentences that are split into words, with tags or without: CoNLL's columns, and JSON lines of tokens and tags.

U.N. NNP I-NP I-ORG          a word a line, its columns between spaces or tabs, an empty line after a sentence;
official NN I-NP O           lines that begin with -DOCSTART- are passed over, and so are comments

{"tokens": ["U.N.", "official"], "tags": ["I-ORG", "O"]}      or "ner_tags", "pos_tags", "labels"

A line that begins with # may be a comment or a word. It is a word where its columns are as many as those of other words
and its tag is one of theirs, or a span as theirs are; otherwise it is a comment if it stands before a sentence, or has no
tab where all words have tabs. Comments that could be words are counted and said. In CoNLL-U's ten columns words are FORM and
tags UPOS where no other columns are named, which is said, and ranges (1-2) and empty nodes (1.1) are no words.
"""

from __future__ import annotations

import logging
import random
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from unfreeze.checked import parse_json, shown, whole_number
from unfreeze.errors import UserError
from unfreeze.text.display import counted
from unfreeze.text.lines import existing_file, plain_suffix, read_lines
from unfreeze.text.tag_schemes import (
    OUTSIDE,
    IllegalTag,
    Scheme,
    check_scheme,
    convert_tags,
    detect_scheme,
    has_type,
    joined_tag,
    looks_like_spans,
    split_tag,
)
from unfreeze.text.words import without_surrogates

logger = logging.getLogger(__name__)

JSON_LINES = (".jsonl", ".ndjson", ".json")
COLUMN_FILES = (".conll", ".conllu", ".iob", ".iob2", ".bio")
"""Names that only files of columns have."""
TAG_KEYS = ("tags", "ner_tags", "pos_tags", "labels")
SKIPPED = "-DOCSTART-"

Comments = Literal["auto", "skip", "words"]
"""What lines that begin with # are: comments, words, or what the other lines suggest."""

_KEY_AND_VALUE = re.compile(r"#\s?\S+\s=(\s|$)")
_FORM_AND_UPOS = (1, 3)
"""CoNLL-U's columns of words and of parts of speech."""
_ID_OF_CONLLU = re.compile(r"\d+([-.]\d+)?")
_NO_WORD_OF_CONLLU = re.compile(r"\d+[-.]\d+")


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


@dataclass(frozen=True, slots=True)
class SplitSentence:
    """Words without a look at their tags."""

    tokens: tuple[str, ...]
    lines: tuple[str, ...]
    """The line of each word as it stands in the file, without its end; of JSON the word alone."""


def tagged_set(
    tokens: Sequence[Sequence[str]],
    tags: Sequence[Sequence[str]],
    source: str = "the given sentences",
    *,
    scheme: Scheme | None = None,
) -> TaggedSet:
    """Sentences that are in memory.

    Args:
        scheme: of the tags; found out by default.

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
    return _in_one_scheme(rows, source, lambda sentence, _: f"sentence {rows[sentence].line}", scheme)


def read_tagged(
    path: str | Path,
    *,
    token_column: int | str | None = None,
    tag_column: int | str | None = None,
    encoding: str = "utf-8",
    comments: Comments = "auto",
    scheme: Scheme | None = None,
) -> TaggedSet:
    """Read JSON lines (.jsonl, .ndjson, .json), or columns under any other name.

    Args:
        token_column: number from 0 (-1 is the last), or key of the JSON; the first by default, in CoNLL-U FORM.
        tag_column: the same; the last by default, in CoNLL-U UPOS.
        comments: what lines of columns are that begin with #.
        scheme: of the tags; found out by default.

    Raises:
        UserError: with the line, where columns are missing or tags are in no scheme; or the file holds no sentence.
    """
    file = existing_file(Path(path))
    places: list[list[int]] = []
    if plain_suffix(file) in JSON_LINES:
        rows = list(_json_rows(file, token_column, tag_column, encoding))
        places = [[row.line] * len(row.tokens) for row in rows]
    else:
        lines, token, tag = _open_columns(file, token_column, tag_column, encoding)
        rows = []
        for words in _column_sentences(lines, path, (token, tag), comments):
            tokens, tags = _tokens(words, token), _tags(words, tag, path)
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
    """Read the words of the same files, whether they have tags or not.

    Raises:
        UserError: with the line, where a column is missing; or the file holds no sentence.
    """
    file = existing_file(Path(path))
    if plain_suffix(file) in JSON_LINES:
        found = [SplitSentence(tokens, tokens) for _, _, tokens in _json_tokens(file, token_column, encoding)]
    else:
        lines, token, _ = _open_columns(file, token_column, -1, encoding)
        found = []
        for words in _column_sentences(lines, path, (token,), comments):
            found.append(SplitSentence(_tokens(words, token), tuple(words.lines)))
    if not found:
        raise UserError(f"{path} holds no sentence: a word a line, or JSON lines of tokens")
    return found


def _in_one_scheme(
    rows: list[TaggedSentence], source: str, place: Callable[[int, int], str], wanted: Scheme | None
) -> TaggedSet:
    """The sentences in the scheme that is wanted or found; `place` names a word of a sentence."""
    tags = [row.tags for row in rows]
    try:
        if wanted is not None:
            check_scheme(tags, wanted)
        scheme = wanted or detect_scheme(tags)
    except IllegalTag as error:
        word = error.place[1] + 1
        raise UserError(
            f"{place(*error.place)}: {error.reason} (word {word} of its sentence): tags are in "
            "IOB1, BIO or BIOES throughout; fit tagger and find-rate read others as plain ones by --scheme plain"
        ) from None
    if wanted is None:
        _say_what_was_guessed(tags, scheme, source, place)
    if scheme == "bioes":  # BIOUL has other letters
        rows = [replace(row, tags=tuple(joined_tag(*split_tag(tag)) for tag in row.tags)) for row in rows]
    return TaggedSet(rows, scheme, source)


def _say_what_was_guessed(
    tags: Sequence[Sequence[str]], scheme: Scheme, source: str, place: Callable[[int, int], str]
) -> None:
    counts = Counter(tag for own in tags for tag in own if tag != OUTSIDE)
    spans = [tag for tag in counts if has_type(tag)]
    if scheme == "plain" and spans:
        sentence, word, odd = next(
            (sentence, word, tag)
            for sentence, own in enumerate(tags)
            for word, tag in enumerate(own)
            if tag != OUTSIDE and not has_type(tag)
        )
        n_spans = sum(counts[tag] for tag in spans)
        logger.warning(
            "%s: some tags are spans (%d, such as %s) and others are not (%d, such as %s, %s): all are read as plain tags, which have no F1; "
            "fit tagger --scheme bio refuses such tags",
            source, n_spans, spans[0], counts.total() - n_spans, odd, place(sentence, word),
        )  # fmt: skip
    elif scheme != "plain" and counts and not spans:
        logger.warning(
            "%s: its tags (%s) name no type: they are read as spans of one type; fit tagger --scheme plain reads them as plain tags",
            source,
            ", ".join(sorted(counts)),
        )


def _open_columns(
    path: Path, token_column: int | str | None, tag_column: int | str | None, encoding: str
) -> tuple[list[str], int, int]:
    """The lines of a file, and which columns are words and tags; in CoNLL-U they are FORM and UPOS by default."""
    lines = [line.rstrip("\n") for line in read_lines(path, encoding)]  # a pipe cannot be read twice
    defaults = _FORM_AND_UPOS if _is_conllu(lines) else (0, -1)
    token, tag = _number(token_column, defaults[0]), _number(tag_column, defaults[1])
    if tag_column is None and defaults == _FORM_AND_UPOS:
        logger.warning(
            "%s is CoNLL-U: words are column %d and tags column %d, from 0; name others by their columns' options",
            path,
            token,
            tag,
        )
    return lines, token, tag


def _is_conllu(lines: Sequence[str]) -> bool:
    """Whether all words have ten columns between tabs, the first an id."""
    found = False
    for line, columns in _full_lines(lines):
        if not line.startswith("#"):
            found = "\t" in line and len(columns) == 10 and _ID_OF_CONLLU.fullmatch(columns[0]) is not None
            if not found:
                break
    return found


def _number(column: int | str | None, default: int) -> int:
    if column is None:
        return default
    number = whole_number(str(column))
    if number is None:
        raise UserError(f"columns have numbers, from 0 on (-1 is the last), not {shown(column)}")
    return number


@dataclass(frozen=True, slots=True)
class _Sentence:
    """The lines of a sentence's words: their numbers, what they are and their columns."""

    numbers: list[int]
    lines: list[str]
    columns: list[list[str]]


@dataclass(frozen=True)
class _Shape:
    """How the lines of a file look that cannot be comments."""

    width: int
    """Columns of a word."""
    tabs: bool
    """Whether tabs are between them."""
    tags: frozenset[str]
    is_conllu: bool


def _column_sentences(
    lines: Sequence[str], path: str | Path, wanted: Sequence[int], comments: Comments
) -> Iterator[_Sentence]:
    """The words of each sentence, which have the columns that are wanted, of the token and perhaps the tag.

    The tag, else the last column, helps to tell comments from words.
    """
    tag = wanted[1] if len(wanted) > 1 else -1
    shape = _shape(lines, tag, comments)
    words, checked = _Sentence([], [], []), False
    doubtful: list[int] = []
    hashes: list[int] = []
    for number, line in enumerate([*lines, ""], 1):
        columns = _columns(line)
        comment = line[:1] == "#" and _is_comment(line, columns, shape, tag, bool(words.lines), comments)
        if comment and comments == "auto" and (len(columns) == shape.width or columns[0] != "#"):
            doubtful.append(number)
        elif comments == "auto" and columns[:1] == ["#"] and not comment and not words.lines:
            hashes.append(number)
        if comment or not any(columns) or columns[0].startswith(SKIPPED):
            if words.lines:
                if not checked:
                    _check_numbers(wanted, shape.width, f"{path}:{words.numbers[0]}")
                    checked = True
                _check_columns(words, shape.width, path)
                yield words
                words = _Sentence([], [], [])
        elif not (shape.is_conllu and _NO_WORD_OF_CONLLU.fullmatch(columns[0])):
            words.numbers.append(number)
            words.lines.append(line)
            words.columns.append(columns)
    if doubtful:
        logger.warning(
            "%s: lines that begin with # are read as comments (%d, the first is line %d); --comments words reads them as words",
            path,
            len(doubtful),
            doubtful[0],
        )
    if hashes:
        logger.warning(
            "%s: sentences begin with the word # (%d, the first in line %d); --comments skip reads such lines as comments",
            path,
            len(hashes),
            hashes[0],
        )


def _columns(line: str) -> list[str]:
    if "\t" in line:
        return [column.strip() for column in line.split("\t")]
    columns = line.split()
    if " ".join(columns) == line:  # nearly always; else there may be other white space, within columns
        return columns
    return [column.strip() for column in re.split(" +", line.strip(" "))]


def _full_lines(lines: Iterable[str]) -> Iterator[tuple[str, list[str]]]:
    """Lines of words, or comments, with their columns."""
    for line in lines:
        columns = _columns(line)
        if any(columns) and not columns[0].startswith(SKIPPED):
            yield line, columns


def _shape(lines: Sequence[str], tag: int, comments: Comments) -> _Shape:
    """By the lines that do not begin with #; where all do, by the first one."""
    first = next((row for row in _full_lines(lines) if not row[0].startswith("#")), None)
    if first is None:
        others = (columns for line, columns in _full_lines(lines) if not _KEY_AND_VALUE.match(line))
        return _Shape(len(next(others, [])), False, frozenset(), False)
    width, tabs = len(first[1]), "\t" in first[0]
    tags: frozenset[str] = frozenset()
    if comments == "auto" and -width <= tag < width and any(line.startswith("#") for line in lines):
        words = (columns for line, columns in _full_lines(lines) if not line.startswith("#"))
        tags = frozenset(columns[tag] for columns in words if len(columns) == width)
    return _Shape(width, tabs, tags, _is_conllu(lines))


def _is_comment(
    line: str, columns: Sequence[str], shape: _Shape, tag: int, inside: bool, comments: Comments
) -> bool:
    """Whether a line that begins with # is a comment; `inside` a sentence, in columns between spaces, none is guessed."""
    if comments != "auto":
        return comments == "skip"
    if (shape.tabs and "\t" in line) or (inside and not shape.tabs):
        return False
    if _KEY_AND_VALUE.match(line):  # # sent_id = 1
        return True
    whole = len(columns) == shape.width
    if not whole and (columns[0] == "#" or len(columns) == 1):
        return True
    if shape.width == 1 or not -shape.width <= tag < shape.width:
        return not whole
    # A word that lacks a column is a mistake, and is refused as one.
    return not _may_be_tag(columns[tag] if whole else columns[-1], shape.tags)


def _may_be_tag(tag: str, known: frozenset[str]) -> bool:
    """Whether it is a known tag, or a span as the known ones are."""
    return not known or tag in known or looks_like_spans({tag, *known})


def _check_numbers(wanted: Sequence[int], width: int, place: str) -> None:
    """Raise the UserError for words without the columns of their token and, where two are wanted, their tag."""
    if width < len(wanted):
        raise UserError(f"{place}: one column: every word needs a tag beside it")
    for column in wanted:
        if not -width <= column < width:
            raise UserError(f"{place}: there is no column {shown(column)} of {width}")
    if len({column % width for column in wanted}) < len(wanted):
        raise UserError(f"{place}: words and tags are both in column {wanted[0] % width}: name two")


def _check_columns(words: _Sentence, width: int, path: str | Path) -> None:
    for number, columns in zip(words.numbers, words.columns, strict=True):
        if len(columns) != width:
            raise UserError(
                f"{path}:{number}: {len(columns)} columns, where others have {width}: every word needs as many"
            )


def _tokens(words: _Sentence, column: int) -> tuple[str, ...]:
    tokens = [columns[column] for columns in words.columns]
    if " ".join(tokens).split() == tokens:  # nearly always
        return tuple(tokens)
    return tuple(map(_joined, tokens))


def _tags(words: _Sentence, column: int, path: str | Path) -> tuple[str, ...]:
    tags = tuple([columns[column] for columns in words.columns])
    if "" in tags:
        raise UserError(f"{path}:{words.numbers[tags.index('')]}: the tag is empty")
    return tags


def _joined(token: str) -> str:
    """A token without spaces within, which would be the end of a word elsewhere."""
    return "_".join(token.split()) or "_"


def _json_rows(
    path: Path, token_key: int | str | None, tag_key: int | str | None, encoding: str
) -> Iterator[TaggedSentence]:
    keys = [str(tag_key)] if tag_key is not None else list(TAG_KEYS)
    for number, row, tokens in _json_tokens(path, token_key, encoding):
        tags = _strings(row, keys, f"{path}:{number}")
        _need_pairs(tokens, tags, f"{path}:{number}")
        if tokens:
            yield TaggedSentence(tokens, tuple(tags), number)


def _json_tokens(
    path: Path, key: int | str | None, encoding: str
) -> Iterator[tuple[int, Any, tuple[str, ...]]]:
    """Number, object and tokens of each line."""
    keys = ["tokens" if key is None else str(key)]
    for number, line in enumerate(read_lines(path, encoding), 1):
        if not line.strip():
            continue
        row = parse_json(line, path, "every line must hold one object with tokens", line=number)
        tokens = _strings(row, keys, f"{path}:{number}")
        yield number, row, tuple(_joined(token) for token in tokens)


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
        raise UserError(f"{sentences.source} holds {counted(len(sentences), 'sentence')}, not {count}")
    order = list(range(len(sentences)))
    random.Random(seed).shuffle(order)
    return replace(sentences, sentences=[sentences.sentences[number] for number in order[:count]])
