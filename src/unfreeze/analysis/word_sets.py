"""Readers of benchmark sets for word vectors: word pairs with human similarity scores, and analogy questions.

A file of pairs has two words and a score per line, separated by tabs, commas, semicolons or whitespace. A header,
lines that begin with #, and further columns before the score (such as the part of speech in SimLex-999) or after it
(scores of individual judges) are skipped. A file of analogies is in word2vec's format: ": section" lines, and
four words per question.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from unfreeze.datasets.lines import existing_file, is_hidden, plain_suffix, read_lines, warn_of_ignored_files
from unfreeze.errors import UserError

SUFFIXES = (".txt", ".csv", ".tsv", ".tab")
"""Only files with these suffixes are read from a folder."""

Question: TypeAlias = tuple[str, str, str, str]
"""a, b, c, d: a is to b as c is to d."""


@dataclass(frozen=True)
class PairSet:
    """Word pairs with human similarity scores."""

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
    """Read the sets in a file, or in all files of a folder in the order of their names.

    Raises:
        UserError: there are no sets, or a file is malformed; the message names the line.
    """
    path = Path(path)
    files = [path]
    if path.is_dir():
        inside = sorted(file for file in path.iterdir() if file.is_file())
        files = [file for file in inside if plain_suffix(file) in SUFFIXES and not is_hidden(file.name)]
        warn_of_ignored_files(path, [file for file in inside if file not in files])
    pairs, sections = [], []
    for file in files:
        if next(_lines(file, encoding), (0, ""))[1].startswith(":"):
            sections += read_analogies(file, encoding)
        else:
            pairs.append(read_pairs(file, encoding))
    if not files:
        raise UserError(f"{path} contains no files of word pairs or analogies ({', '.join(SUFFIXES)})")
    return pairs, sections


def read_pairs(path: Path, encoding: str = "utf-8") -> PairSet:
    """Read a file of word pairs.

    Raises:
        UserError: the file has no pairs, or a line is malformed; the message names the line.
    """
    is_compressed = plain_suffix(path) != path.suffix.lower()
    found = PairSet(Path(path.stem).stem if is_compressed else path.stem, [], [])
    separator: str | None = None
    column = 0
    for index, (number, line) in enumerate(_lines(path, encoding)):
        if index == 0:
            separator = next((mark for mark in "\t,;" if mark in line), None)
        fields = [field.strip() for field in line.split(separator)]
        if not column:
            column = next((n for n, field in enumerate(fields) if n >= 2 and _is_number(field)), 0)
        last_number = _as_float(fields[-1])
        if not column and index == 0 and (last_number is None or math.isfinite(last_number)):
            continue  # a header; a score of NaN or infinity is an error
        if not column or len(fields) <= column or not _is_pair(fields[0], fields[1], fields[column]):
            raise UserError(f"{path}:{number}: expected two words and a score, got {line.strip()[:80]!r}")
        found.pairs.append((fields[0], fields[1]))
        found.scores.append(float(fields[column]))
    if not found.pairs:
        raise UserError(f"{path} contains no word pairs: expected two words and a score per line")
    return found


def read_analogies(path: Path, encoding: str = "utf-8") -> list[AnalogySection]:
    """Read a file of analogy questions.

    Raises:
        UserError: the file has no questions, or a line is malformed; the message names the line.
    """
    sections: list[AnalogySection] = []
    for number, line in _lines(path, encoding):
        words = line.split()
        if line.startswith(":"):
            sections.append(AnalogySection(line[1:].strip(), []))
        elif not sections or len(words) != 4:
            raise UserError(
                f"{path}:{number}: expected four words after a line ': section', got {line.strip()[:80]!r}"
            )
        else:
            sections[-1].questions.append((words[0], words[1], words[2], words[3]))
    if not any(section.questions for section in sections):
        raise UserError(f"{path} contains no analogies: expected ': section' lines and four words per line")
    return sections


def _lines(path: Path, encoding: str) -> Iterator[tuple[int, str]]:
    """Number and text of each line that is neither empty nor a comment."""
    for number, line in enumerate(read_lines(existing_file(path), encoding), start=1):
        if line.strip() and not line.startswith("#"):
            yield number, line


def _is_pair(a: str, b: str, score: str) -> bool:
    # The second field of a file of word vectors is a number: reject such a file.
    return bool(a) and bool(b) and not _is_number(b) and _is_number(score)


def _is_number(field: str) -> bool:
    number = _as_float(field)
    return number is not None and math.isfinite(number)


def _as_float(field: str) -> float | None:
    try:
        return float(field)
    except ValueError:
        return None
