"""Read labeled texts that are not in tables: lines that begin with labels, and a folder of files per class."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from itertools import count as count_from
from pathlib import Path
from typing import Literal

from unfreeze.datasets.labels import FASTTEXT
from unfreeze.datasets.lines import is_hidden, plain_suffix, read_lines, warn_of_ignored_files
from unfreeze.errors import Notice, UserError, setting
from unfreeze.text.text_inputs import TextInput

logger = logging.getLogger(__name__)

LabelSeparator = Literal["auto", "tab", "space"]
"""What separates the label from the text in a line."""

UNLABELED = ("unsup", "unsupervised", "unlabeled", "unlabelled")
"""Names of folders that are probably not classes, as in IMDb's reviews."""
_FASTTEXT_LABEL = re.compile(rf"(?<!\S){FASTTEXT}\S+\s*")


@dataclass(frozen=True)
class LabeledRows:
    """The number, text (or pair of texts) and raw label of each example, and how messages name it."""

    rows: Iterable[tuple[int, TextInput, object]]
    place: Callable[[int], str]
    advice_if_ids: str = ""
    """If the labels are guessed: the reason, and what to do if the guess is wrong."""
    is_table: bool = False
    header_is_doubtful: bool = False
    """Whether the first row of a table may be its header."""


def read_class_folders(folder: Path, encoding: str) -> Iterator[tuple[int, str, object]]:
    """Read folder/CLASS/*.txt, classes and files in sorted order; hidden ones are left out.

    Raises:
        UserError: there is no folder of a class, one is empty, or the folder is one level too high.
    """
    classes = sorted(item for item in folder.iterdir() if item.is_dir() and not is_hidden(item.name))
    if not classes:
        raise UserError(f"{folder}: it has no folder per class (CLASS/*.txt); to read a single file, name it")
    numbers = count_from(1)
    left_out: list[Path] = []
    for class_folder in classes:
        items = sorted(class_folder.iterdir())
        files = [item for item in items if _is_example(item)]
        left_out += [item for item in items if not _is_example(item)]
        folders = [item.name for item in items if item.is_dir() and any(map(_is_example, item.iterdir()))]
        if len(folders) > 1:
            raise UserError(
                f"{class_folder} holds folders of texts ({', '.join(folders[:5])}), so {folder} is not a folder of classes: "
                "name the folder whose folders are the classes"
            )
        if not files:
            raise UserError(f"{class_folder}: this folder of a class holds no .txt file")
        if class_folder.name in UNLABELED:
            logger.warning("%s is read as a class; if its texts have no label, move it", class_folder)
        for file in files:
            yield next(numbers), "".join(read_lines(file, encoding)).rstrip("\n"), class_folder.name
    warn_of_ignored_files(folder, left_out)


def _is_example(item: Path) -> bool:
    return plain_suffix(item) == ".txt" and item.is_file() and not is_hidden(item.name)


def read_labeled_lines(path: Path, encoding: str, separator: LabelSeparator) -> LabeledRows:
    """Read lines of a label and a text, or fastText's lines, where each `__label__NAME` is a label.

    Raises:
        UserError: it is ambiguous where labels end.
    """
    lines = [(number, line) for number, line in enumerate(read_lines(path, encoding), 1) if line.strip()]
    if separator == "auto" and any(FASTTEXT in line and _FASTTEXT_LABEL.search(line) for _, line in lines):
        return LabeledRows(_split_fasttext(lines), lambda number: f"{path}:{number}")
    advice = ""
    if separator == "auto":
        separator = _label_separator(lines, path)
        advice = (
            f"each line is read as a label and a text; add {setting('label_separator', separator)} if that is right, "
            "or give the file as a table (.csv, .tsv, .jsonl)"
        )
    return LabeledRows(_split_lines(lines, separator), lambda number: f"{path}:{number}", advice)


def _split_fasttext(lines: Iterable[tuple[int, str]]) -> Iterator[tuple[int, str, object]]:
    for number, line in lines:
        names = sorted({label.rstrip() for label in _FASTTEXT_LABEL.findall(line)})
        yield number, _FASTTEXT_LABEL.sub("", line).strip(), names if len(names) > 1 else "".join(names)


def without_labels(lines: Iterator[str], path: str | Path) -> Iterator[str]:
    """Yield the texts of lines; if the first begins with a fastText label, labels are removed from all, with a warning."""
    first = next(lines, None)
    if first is None:
        return
    lines = chain([first], lines)
    if not first.startswith(FASTTEXT):
        yield from lines
        return
    logger.warning("%s: its lines begin with labels (%s), which are left out", path, first.split()[0])
    for line in lines:
        yield _FASTTEXT_LABEL.sub("", line)


def _split_lines(
    lines: Iterable[tuple[int, str]], separator: LabelSeparator
) -> Iterator[tuple[int, str, object]]:
    for number, line in lines:
        label, *rest = line.split("\t", 1) if separator == "tab" else line.split(maxsplit=1)
        yield number, "".join(rest).strip(), label


def _label_separator(lines: Sequence[tuple[int, str]], path: Path) -> LabelSeparator:
    """Tab if all lines of more than one word have one, otherwise space.

    Raises:
        UserError: some lines have no tab, and another has several words before it, which may or may not be a label.
    """
    without = next((number for number, line in lines if "\t" not in line and len(line.split()) > 1), None)
    spaced = next(
        (
            (number, label)
            for number, line in lines
            if "\t" in line and len((label := line.partition("\t")[0].strip()).split()) > 1
        ),
        None,
    )
    if spaced is None:
        return "space" if without is not None else "tab"
    number, label = spaced
    if without is not None:
        raise UserError(
            f"{path}:{number}: there is a tab after {label[:40]!r} and none in line {without}: "
            f"{setting('label_separator')} tab or space says where labels end"
        )
    logger.warning(
        Notice(
            f"{path}: labels end at the tab, such as {label[:40]!r} (line {number}); {setting('label_separator', 'space')} ends "
            "them at the first space"
        )
    )
    return "tab"
