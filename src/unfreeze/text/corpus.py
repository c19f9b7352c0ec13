"""Unlabeled text: documents streamed from files, folders, globs, compressed files and hub data sets.

Memory is bounded by the longest document (and the first megabyte for `documents="auto"`), whatever the size of the
corpus; a line of plain text of more than 16 million characters is read as several documents, with a warning. One core
reads about 0.2 GB of plain text per second, or 0.1 GB of JSON lines.
"""

from __future__ import annotations

import glob
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Literal, get_args

from unfreeze.datasets.lines import (
    COMPRESSIONS,
    existing_file,
    is_hidden,
    plain_suffix,
    read_lines,
    warn_of_ignored_files,
)
from unfreeze.datasets.tables import TABLES, EmptyTable, is_hub, is_table
from unfreeze.errors import UserError, setting
from unfreeze.text.columns import table_texts

Documents = Literal["auto", "blank-line", "line", "file"]

_log = logging.getLogger(__name__)
_AUTO_CHARACTERS = 1_000_000
LONGEST_LINE = 1 << 24
"""Maximum number of characters of a line of plain text that become one document."""
_FOLDER_SUFFIXES = {"", ".txt", ".text", *TABLES}


def find_files(paths: Sequence[str | Path]) -> list[Path]:
    """Return the files of `paths`, which are files, folders and globs (also `**`); each is sorted, and every file occurs once.

    Folders are searched recursively for .txt, .text, .jsonl, .ndjson, .json, .csv, .tsv, .parquet and files without a
    suffix, plain or compressed; links to folders are followed. Hidden files and folders and files of other kinds are
    left out, with a warning. A file that is named or matched by a glob is read whatever its suffix.

    Raises:
        UserError: a path yields no file.
    """
    found = chain.from_iterable(_expand(Path(path)) for path in paths)
    once: dict[Path, Path] = {}
    for file in found:
        once.setdefault(file.resolve(), file)
    return list(once.values())


def stream_documents(
    paths: Sequence[str | Path] | str | Path,
    *,
    encoding: str = "utf-8",
    text_column: str | None = None,
    header: bool | None = None,
    documents: Documents = "auto",
) -> Iterator[str]:
    r"""Yield the documents of a corpus, without empty ones; lines within a document are separated by `\n`.

    In tables (CSV, TSV, JSON lines, Parquet, hub ids `hf:owner/name[@revision][:config][:split]`) each record is a
    document. Any other file is plain text.

    Args:
        header: whether the first line of a CSV or TSV names its columns (default: guessed).
        documents: what a document of plain text is: the text between blank lines, a line, or the whole file; `auto`
            means blank lines if there is one between two lines in the first 1,000,000 characters, otherwise lines.

    Raises:
        UserError: immediately if a path yields no file; while reading if text is not in `encoding`, a record is malformed or
            a column is missing; at the end if there was no document.
    """
    if documents not in get_args(Documents):
        raise UserError(f"documents={documents!r} is none of {', '.join(get_args(Documents))}")
    if isinstance(paths, (str, Path)):
        paths = [paths]
    if not paths:
        raise UserError(f"no text is given: {setting('corpus')} needs a file, a folder or hf:owner/name")
    files = find_files([path for path in paths if not is_hub(path)])
    sources: list[str | Path] = [*files, *(str(path) for path in paths if is_hub(path))]

    def stream() -> Iterator[str]:
        found_any = False
        for source in sources:
            found = False
            if is_table(source):
                texts = table_texts(source, text_column, header, encoding)
            else:
                texts = _plain_documents(Path(source), encoding, documents)
            with suppress(EmptyTable):
                for text in texts:
                    if text and not text.isspace():
                        found = True
                        yield text
            if not found and len(sources) > 1:
                _log.warning("%s holds no text", source)
            found_any |= found
        if not found_any:
            raise UserError(f"the corpus is empty: no text in {', '.join(map(str, sources[:5]))}")

    return stream()


def _plain_documents(path: Path, encoding: str, documents: Documents) -> Iterator[str]:
    if documents == "file":
        return iter([_whole(read_lines(path, encoding, longest=1 << 20))])
    lines = read_lines(path, encoding, longest=LONGEST_LINE, warning="is read as several documents")
    if documents == "auto":
        documents, lines = _recognize(lines)
    return (line.rstrip("\n") for line in lines) if documents == "line" else _blank_line_separated(lines)


def _recognize(lines: Iterator[str]) -> tuple[Documents, Iterator[str]]:
    """Choose between blank-line and line by the beginning of a file; also returns an iterator over all lines."""
    head: list[str] = []
    characters = 0
    for line in lines:
        head.append(line)
        characters += len(line)
        if characters >= _AUTO_CHARACTERS:
            break
    blank = "".join("\n" if line.isspace() else "x" for line in head).strip("\n")
    return ("blank-line" if "\n" in blank else "line"), chain(head, lines)


def _whole(lines: Iterable[str]) -> str:
    r"""All lines joined, without `\n` at the beginning and the end; takes no more memory than the text."""
    text, n_ends = "", 0
    for line in lines:
        content = line.removesuffix("\n")
        if content:
            text += "\n" * n_ends + content  # grows in place
            n_ends = 0
        n_ends += bool(text) and line.endswith("\n")
    return text


def _blank_line_separated(lines: Iterable[str]) -> Iterator[str]:
    document: list[str] = []
    for line in lines:
        is_blank = line.isspace()
        if not is_blank:
            document.append(line)
        if document and (is_blank or line[-1] != "\n"):  # a part of a long line is a document
            yield "".join(document).rstrip("\n")
            document = []
    yield "".join(document).rstrip("\n")


def _expand(path: Path) -> list[Path]:
    if path.is_dir():
        return _files_below(path)
    if path.exists() or not glob.has_magic(str(path)):
        return [existing_file(path)]
    matches = [Path(match) for match in sorted(glob.glob(str(path), recursive=True))]
    files = [match for match in matches if match.is_file()]
    files = files or list(chain.from_iterable(_files_below(match) for match in matches))
    if not files:
        raise UserError(f"no file matches {str(path)!r}")
    return files


def _files_below(folder: Path) -> list[Path]:
    files: list[Path] = []
    left_out: list[Path] = []
    seen = {folder.resolve()}  # a link may lead back to a folder above it
    above = set(folder.resolve().parents)
    upwards: list[str] = []
    for parent, folders, names in os.walk(folder, followlinks=True):
        below = {Path(parent, name).resolve(): name for name in sorted(folders) if not is_hidden(name)}
        higher = above.union(Path(parent).resolve().parents) - seen
        upwards += [str(Path(parent, name)) for place, name in below.items() if place in higher]
        folders[:] = [name for place, name in below.items() if place not in seen | higher]
        seen |= below.keys() - higher
        for file in (Path(parent, name) for name in sorted(names)):
            taken = not is_hidden(file.name) and plain_suffix(file) in _FOLDER_SUFFIXES
            (files if taken else left_out).append(file)
    if upwards:
        _log.warning("%s: links that lead upwards are not followed: %s", folder, ", ".join(upwards))
    if files:
        warn_of_ignored_files(folder, left_out)
    else:
        kinds = ", ".join(sorted(_FOLDER_SUFFIXES - {""}))
        raise UserError(f"{folder}: no file of a known kind ({kinds}, plain or {', '.join(COMPRESSIONS)})")
    return files
