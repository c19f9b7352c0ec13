"""The columns of CoNLL's files: which lines are words, which are comments, and which column is what.

A line that begins with # may be a comment or a word. It is a word if it has the same number of columns as other words and a
known tag, or a span if the other tags are spans. Otherwise it is a comment if it precedes a sentence, or if it has no tab and
all words have tabs. Comments that could be words are counted, with a warning. In CoNLL-U (ten columns) words are FORM and tags
UPOS unless other columns are given, also with a warning, and ranges (1-2) and empty nodes (1.1) are not words.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from unfreeze.checked import shown, whole_number
from unfreeze.datasets.lines import read_lines
from unfreeze.errors import Notice, UserError, setting
from unfreeze.text.tag_schemes import looks_like_spans

logger = logging.getLogger(__name__)

COLUMN_FILES = (".conll", ".conllu", ".iob", ".iob2", ".bio")
"""Suffixes of files in columns."""
SKIPPED = "-DOCSTART-"

Comments = Literal["auto", "skip", "words"]
"""How lines that begin with # are read: as comments, as words, or depending on the other lines."""

_KEY_AND_VALUE = re.compile(r"#\s?\S+\s=(\s|$)")
_FORM_AND_UPOS = (1, 3)
"""CoNLL-U's columns of words and of parts of speech."""
_ID_OF_CONLLU = re.compile(r"\d+([-.]\d+)?")
_NO_WORD_OF_CONLLU = re.compile(r"\d+[-.]\d+")


def open_columns(
    path: Path, token_column: int | str | None, tag_column: int | str | None, encoding: str
) -> tuple[list[str], int, int]:
    """The lines of a file and the numbers of the columns of words and tags (in CoNLL-U FORM and UPOS by default)."""
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
    """Whether all words have ten columns separated by tabs, of which the first is an id."""
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
class ColumnSentence:
    """The words of a sentence: line numbers, lines, and their columns."""

    numbers: list[int]
    lines: list[str]
    columns: list[list[str]]


@dataclass(frozen=True)
class _Shape:
    """The common properties of the lines that cannot be comments."""

    width: int
    """Columns of a word."""
    tabs: bool
    """Whether tabs are between them."""
    tags: frozenset[str]
    is_conllu: bool


def column_sentences(
    lines: Sequence[str], path: str | Path, wanted: Sequence[int], comments: Comments
) -> Iterator[ColumnSentence]:
    """Yield the words of each sentence.

    Args:
        wanted: numbers of the columns of tokens and, optionally, tags, which all words must have. The tag (or the last
            column) helps to distinguish words from comments.

    Raises:
        UserError: a word does not have these columns, or another number of columns than the first.
    """
    tag = wanted[1] if len(wanted) > 1 else -1
    shape = _shape(lines, tag, comments)
    words, checked = ColumnSentence([], [], []), False
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
                for line_number, found in zip(words.numbers, words.columns, strict=True):
                    if len(found) != shape.width:
                        raise UserError(
                            f"{path}:{line_number}: {len(found)} columns, but other words have {shape.width}"
                        )
                yield words
                words = ColumnSentence([], [], [])
        elif not (shape.is_conllu and _NO_WORD_OF_CONLLU.fullmatch(columns[0])):
            words.numbers.append(number)
            words.lines.append(line)
            words.columns.append(columns)
    if doubtful:
        logger.warning(
            Notice(
                f"{path}: lines that begin with # are read as comments ({len(doubtful)}, the first is line {doubtful[0]}); "
                f"{setting('comments', 'words')} reads them as words"
            )
        )
    if hashes:
        logger.warning(
            Notice(
                f"{path}: sentences begin with the word # ({len(hashes)}, the first in line {hashes[0]}); "
                f"{setting('comments', 'skip')} reads such lines as comments"
            )
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
    """The shape of the lines that do not begin with #, or of the first line if all do."""
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
    """Whether a line that begins with # is a comment; `inside` a sentence in columns separated by spaces it is a word."""
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
    # A word has a known tag, or a span if those are spans. A word that lacks a column is refused later.
    found, known = columns[tag] if whole else columns[-1], shape.tags
    return bool(known) and found not in known and not looks_like_spans({found, *known})


def _check_numbers(wanted: Sequence[int], width: int, place: str) -> None:
    """Raise UserError if words do not have all wanted columns."""
    if width < len(wanted):
        raise UserError(f"{place}: one column: every word needs a tag")
    for column in wanted:
        if not -width <= column < width:
            raise UserError(f"{place}: there is no column {shown(column)} of {width}")
    if len({column % width for column in wanted}) < len(wanted):
        raise UserError(f"{place}: words and tags are both in column {wanted[0] % width}: name two")


def tokens_of(words: ColumnSentence, column: int) -> tuple[str, ...]:
    """The words of a sentence, without white space; none is empty."""
    tokens = [columns[column] for columns in words.columns]
    if " ".join(tokens).split() == tokens:  # nearly always
        return tuple(tokens)
    return tuple(map(joined, tokens))


def tags_of(words: ColumnSentence, column: int, path: str | Path) -> tuple[str, ...]:
    """The tags of a sentence; raises UserError, with the line, for an empty one."""
    tags = tuple([columns[column] for columns in words.columns])
    if "" in tags:
        raise UserError(f"{path}:{words.numbers[tags.index('')]}: the tag is empty")
    return tags


def joined(token: str) -> str:
    """A token with its white space replaced, because white space separates words elsewhere."""
    return "_".join(token.split()) or "_"
