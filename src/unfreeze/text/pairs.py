"""Texts and their translations: from tables, from two files with a line each, or from lists in memory.

A pair whose one side is empty, or that has far more words than usual, teaches nothing and costs much: it is skipped, counted and
reported.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import ClassVar, NamedTuple

from unfreeze.datasets.dataset import Dataset
from unfreeze.datasets.lines import existing_file, read_lines
from unfreeze.datasets.tables import is_hub, is_table, open_table
from unfreeze.display import counted
from unfreeze.errors import Notice, UserError, column_of, need_texts, setting
from unfreeze.text.columns import read_text
from unfreeze.text.words import without_surrogates

logger = logging.getLogger(__name__)

MOST_WORDS = 100
"""Words, separated by spaces, of the longest side of a pair."""
COLUMN_NAME = re.compile(r"[a-z]{2,3}(?:[-_][A-Za-z]{2,4})?|source|target|text|translation", re.IGNORECASE)
"""What looks like the name of a column rather than a text: the code of a language, or one of some usual names."""


class Pair(NamedTuple):
    """A text and its translation."""

    source: str
    target: str


@dataclass(frozen=True)
class PairSet(Dataset[Pair]):
    """Pairs in the order of their files."""

    noun: ClassVar[str] = "pair"

    @property
    def sources(self) -> list[str]:
        """The texts to translate."""
        return [pair.source for pair in self.examples]

    @property
    def targets(self) -> list[str]:
        """Their translations."""
        return [pair.target for pair in self.examples]

    def digest(self) -> str:
        """16 hex digits that identify the pairs."""
        found = hashlib.blake2b()
        for pair in self.examples:
            for side in pair:
                found.update(side.encode("utf-8", "surrogatepass") + b"\0")
        return found.hexdigest()[:16]


def read_pairs(
    paths: Sequence[str | Path],
    *,
    source_column: str | None = None,
    target_column: str | None = None,
    header: bool | None = None,
    encoding: str = "utf-8",
    max_words: int = MOST_WORDS,
) -> PairSet:
    """Read pairs from files.

    Args:
        paths: tables with a column for each side (TSV, CSV, JSON lines, Parquet, hf:owner/name; or text with a tab in its
            first line), or two files without tabs, whose lines belong together; or several of these, one after the other.
        source_column, target_column: name or number (from 1) of the columns of tables; not needed if there are two.
        header: whether the first row of a table names its columns; None: detected. Text with tabs has a header if columns are
            given by name.
        max_words: pairs with more words on a side are skipped.

    Raises:
        UserError: a file cannot be read, two files have different numbers of lines, the columns are unclear or given without
            a table, or no pair is left.
    """
    if not paths:
        raise UserError("no pairs were given: name a table of two columns, or two files with a text per line")
    files = [str(path) if is_hub(path) else existing_file(Path(path)) for path in paths]
    columns = source_column, target_column
    options = {"source_column": source_column, "target_column": target_column, "header": header}
    ignored = [name for name, value in options.items() if value is not None]
    found: list[Pair] = []
    waiting: Path | None = None
    for file in files:
        if isinstance(file, str) or is_table(file) or "\t" in next(iter(read_lines(file, encoding)), ""):
            found += _rows(file, columns, header, encoding)
            ignored = []
        elif waiting is None:
            waiting = file
        elif waiting == file:
            raise UserError(f"{file} is given for both sides: name the file of the translations as well")
        else:
            found += _lines(waiting, file, encoding)
            waiting = None
    if waiting is not None:
        raise UserError(
            f"{waiting} has no tab in its first line: give a table of two columns, or a second file with the translation of "
            "each line"
        )
    source = ", ".join(file if isinstance(file, str) else file.name for file in files)
    if ignored and found:
        raise UserError(
            f"{setting(ignored[0])} is for tables, and the lines of {source} are pairs as they are: leave it out"
        )
    return PairSet(_usable(found, source, max_words), source)


def pairs_in_memory(sources: object, targets: object, *, max_words: int = MOST_WORDS) -> PairSet:
    """Pairs of two columns of texts: lists, arrays, Series.

    Raises:
        UserError: they have different lengths, something else than text is among them, or no pair is left.
    """
    both = column_of(sources), column_of(targets)
    for side in both:
        need_texts(side, "texts")
    if len(both[0]) != len(both[1]):
        raise UserError(
            f"{len(both[0])} texts and {len(both[1])} translations: there must be one for each text"
        )
    return PairSet(_usable(map(Pair, *both), "the pairs", max_words), "the pairs")


def _rows(
    path: str | Path, columns: tuple[str | None, str | None], header: bool | None, encoding: str
) -> Iterator[Pair]:
    if isinstance(path, Path) and not is_table(path):
        yield from _tab_separated(path, columns, header, encoding)
        return
    asked = [name for name in columns if name is not None]
    table = open_table(path, encoding=encoding, columns_asked=asked, header=header)
    names = [table.columns[place] for place in _columns(table.columns, columns, path)]
    if header is None and not table.has_header:
        _warn_of_header(path, table.first_line)
    for number, values in table.rows(names):
        one, other = (
            read_text(table, number, [name], [value]) for name, value in zip(names, values, strict=True)
        )
        yield Pair(one, other)


def _tab_separated(
    path: Path, columns: tuple[str | None, str | None], header: bool | None, encoding: str
) -> Iterator[Pair]:
    """The rows of a text file with tabs, without quotes."""
    detect = header is None
    if header is None:
        header = any(name is not None and not name.isdecimal() for name in columns)
    places: tuple[int, ...] = ()
    for number, line in enumerate(read_lines(path, encoding), 1):
        cells = line.rstrip("\n").split("\t")
        if not places:
            width = len(cells)
            numbers = [str(place) for place in range(1, width + 1)]
            places = _columns([cell.strip() for cell in cells] if header else numbers, columns, path)
            if header:
                continue
            if detect:
                _warn_of_header(path, cells)
        if not line.strip():
            continue
        if len(cells) != width:
            raise UserError(
                f"{path}:{number} has {counted(len(cells), 'column')}, the first line has {width}"
            )
        yield Pair(*(cells[place] for place in places))


def _warn_of_header(path: str | Path, cells: Sequence[str]) -> None:
    """Warn if the first line of a file, which is read as a pair, looks like the names of its columns."""
    if all(COLUMN_NAME.fullmatch(cell.strip()) for cell in cells):
        text = " and ".join(repr(cell.strip()) for cell in cells)
        logger.warning(
            Notice(
                f"{path}: the first line, {text}, is read as a pair; if it names the columns, give {setting('header')}"
            )
        )


def _columns(
    names: Sequence[str], wanted: tuple[str | None, str | None], path: str | Path
) -> tuple[int, ...]:
    """The places of the two columns.

    Raises:
        UserError: there is no such column, or it is not clear which are meant.
    """
    if wanted == (None, None) and len(names) == 2:
        if wrong := [name for name in names if not (name.isdecimal() or COLUMN_NAME.fullmatch(name))]:
            raise UserError(
                f"{path}: column {wrong[0]!r} is not named as one of texts or their translations usually is; if both columns are "
                f"pairs, add {setting('source_column', names[0])} and {setting('target_column', names[1])}"
            )
        logger.info("%s: column %s is read as the texts, column %s as their translations", path, *names)
        return 0, 1
    if None in wanted:
        raise UserError(
            f"{path} has {counted(len(names), 'column')} ({', '.join(map(repr, names[:8]))}): name two of them by "
            f"{setting('source_column')} and {setting('target_column')}, by name or by number from 1"
        )
    places = []
    for name in wanted:
        assert name is not None
        if name in names:
            places.append(names.index(name))
        elif name.isdecimal() and 1 <= int(name) <= len(names):
            places.append(int(name) - 1)
        else:
            raise UserError(f"{path} has no column {name!r}: it has {', '.join(map(repr, names[:8]))}")
    if places[0] == places[1]:
        raise UserError(f"{path}: both sides are in column {wanted[0]!r}; name two different columns")
    return tuple(places)


def _lines(source: Path, target: Path, encoding: str) -> Iterator[Pair]:
    """The lines of two files that belong together."""
    sides = [read_lines(path, encoding) for path in (source, target)]
    for number, (one, other) in enumerate(zip_longest(*sides)):
        if one is None or other is None:
            shorter, longer = (source, target) if one is None else (target, source)
            more = number + 1 + sum(1 for _ in (sides[1] if one is None else sides[0]))
            raise UserError(
                f"{shorter} has {counted(number, 'line')} and {longer} has {more:,}: every line needs its translation in the same line"
            )
        yield Pair(one.rstrip("\n"), other.rstrip("\n"))


def _usable(pairs: Iterable[Pair], source: str, max_words: int) -> list[Pair]:
    """The pairs that are neither empty on one side nor far too long; reports how many are not."""
    kept: list[Pair] = []
    empty = long = 0
    for one, other in pairs:
        pair = Pair(without_surrogates(one).strip(), without_surrogates(other).strip())
        if not all(pair):
            empty += 1
        elif max(len(side.split()) for side in pair) > max_words:
            long += 1
        else:
            kept.append(pair)
    if not kept:
        advice = f"; {setting('max_words')} is {max_words}" if long else ""
        raise UserError(
            f"{source}: no pair is left ({empty:,} with an empty side, {long:,} too long{advice})"
        )
    if empty:
        logger.warning("%s: %s with an empty side: skipped", source, counted(empty, "pair"))
    if long:
        logger.warning(
            Notice(
                f"{source}: {counted(long, 'pair')} with more than {max_words} words on a side: skipped; {setting('max_words')} changes this"
            )
        )
    return kept
