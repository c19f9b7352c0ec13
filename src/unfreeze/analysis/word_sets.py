"""Published sets that word vectors are measured on: pairs of words that people scored, and analogy questions.

A file of pairs has two words and a score a line, separated by tabs, commas, semicolons or white space; a header, lines
that begin with #, other columns before the score (SimLex-999's part of speech) and behind it (single judges) are no
hindrance. A file of analogies is word2vec's: ": section" lines, and four words a question.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from unfreeze.errors import UserError
from unfreeze.text.lines import existing_file, is_hidden, plain_suffix, read_lines, say_left_out

SUFFIXES = (".txt", ".csv", ".tsv", ".tab")
"""What is read of a folder."""

Question: TypeAlias = tuple[str, str, str, str]
"""a, b, c, d: a is to b as c is to d."""


@dataclass(frozen=True)
class PairSet:
    """Pairs of words and what people said of them."""

    name: str
    pairs: list[tuple[str, str]]
    scores: list[float]
    """Higher is more similar."""


@dataclass(frozen=True)
class AnalogySection:
    """Analogy questions of one kind."""

    name: str
    questions: list[Question]


def read_sets(path: str | Path, encoding: str = "utf-8") -> tuple[list[PairSet], list[AnalogySection]]:
    """All sets of a folder, by name, or the one in a file.

    Raises:
        UserError: there is none, or a file is neither kind of set; the message names the line.
    """
    path = Path(path)
    files = [path]
    if path.is_dir():
        inside = sorted(file for file in path.iterdir() if file.is_file())
        files = [file for file in inside if plain_suffix(file) in SUFFIXES and not is_hidden(file.name)]
        say_left_out(path, [file for file in inside if file not in files])
    pairs, sections = [], []
    for file in files:
        if holds_analogies(file, encoding):
            sections += read_analogies(file, encoding)
        else:
            pairs.append(read_pairs(file, encoding))
    if not files:
        raise UserError(f"{path} holds no set of word pairs or analogies ({', '.join(SUFFIXES)})")
    return pairs, sections


def holds_analogies(path: Path, encoding: str = "utf-8") -> bool:
    """Whether a file begins with a section of analogies."""
    return next(_lines(path, encoding), (0, ""))[1].startswith(":")


def read_pairs(path: Path, encoding: str = "utf-8") -> PairSet:
    """Read a file of word pairs.

    Raises:
        UserError: there is no pair in it, or a line is none; the message names it.
    """
    is_packed = plain_suffix(path) != path.suffix.lower()
    found = PairSet(Path(path.stem).stem if is_packed else path.stem, [], [])
    separator: str | None = None
    column = 0
    for place, (number, line) in enumerate(_lines(path, encoding)):
        if not place:
            separator = next((mark for mark in "\t,;" if mark in line), None)
        fields = [field.strip() for field in line.split(separator)]
        if not column:
            column = next((n for n, field in enumerate(fields) if n >= 2 and _is_number(field)), 0)
        if not column and not place and not _is_nan_or_infinity(fields[-1]):  # a header
            continue
        if not column or len(fields) <= column or not _is_pair(fields[0], fields[1], fields[column]):
            raise UserError(
                f"{path}:{number}: {line.strip()[:80]!r} is no pair: expected two words and a score"
            )
        found.pairs.append((fields[0], fields[1]))
        found.scores.append(float(fields[column]))
    if not found.pairs:
        raise UserError(f"{path} holds no word pairs: expected two words and a score a line")
    return found


def read_analogies(path: Path, encoding: str = "utf-8") -> list[AnalogySection]:
    """Read a file of analogy questions.

    Raises:
        UserError: there is no question in it, or a line is none; the message names it.
    """
    sections: list[AnalogySection] = []
    for number, line in _lines(path, encoding):
        words = line.split()
        if line.startswith(":"):
            sections.append(AnalogySection(line[1:].strip(), []))
        elif not sections or len(words) != 4:
            raise UserError(
                f"{path}:{number}: {line.strip()[:80]!r} is no analogy: expected four words, below a line ': section'"
            )
        else:
            sections[-1].questions.append((words[0], words[1], words[2], words[3]))
    if not any(section.questions for section in sections):
        raise UserError(f"{path} holds no analogies: expected ': section' lines and four words a line")
    return sections


def _lines(path: Path, encoding: str) -> Iterator[tuple[int, str]]:
    """The number and text of the lines that are neither empty nor remarks."""
    for number, line in enumerate(read_lines(existing_file(path), encoding), start=1):
        if line.strip() and not line.startswith("#"):
            yield number, line


def _is_pair(a: str, b: str, score: str) -> bool:
    """A line of a file of vectors, whose second field is a number, is none."""
    return bool(a) and bool(b) and not _is_number(b) and _is_number(score)


def _is_number(field: str) -> bool:
    number = _as_float(field)
    return number is not None and math.isfinite(number)


def _is_nan_or_infinity(field: str) -> bool:
    """What no score is and no header has."""
    number = _as_float(field)
    return number is not None and not math.isfinite(number)


def _as_float(field: str) -> float | None:
    try:
        return float(field)
    except ValueError:
        return None
