"""Unlabeled text to learn from, and the part of it that is held out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unfreeze.text.corpus import find_files, stream_documents

HELD_OUT_EVERY = 100
"""Without validation files, one document in so many is held out."""
HELD_OUT_CHARACTERS = 1_500_000
"""As much held-out text is measured at most: more would only cost time."""


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """Unlabeled text, and how to read it."""

    paths: Sequence[str | Path]
    """Files, folders, globs, hub ids."""
    validation: Sequence[str | Path] = ()
    """Held-out text; without it one document in a hundred is held out."""
    encoding: str = "utf-8"
    """Of plain text files."""
    text_column: str | None = None
    """Of tables and JSON lines; found by its name by default."""
    header: bool | None = None
    """Whether the first line of a CSV or TSV names its columns; told from it by default."""

    def identity(self) -> dict[str, Any]:
        """What tells this corpus from another: names and sizes of its files."""
        return {
            "corpus": [_identity(path) for path in self.paths],
            "validation": [_identity(path) for path in self.validation],
            "text_column": self.text_column,
            **({} if self.header is None else {"header": self.header}),
        }

    def documents(self) -> Iterator[str]:
        """All documents."""
        return self._stream(self.paths)

    def training_documents(self) -> Iterator[str]:
        """All documents but those held out."""
        documents = self._stream(self.paths)
        if self.validation:
            return documents
        return (
            text for number, text in enumerate(documents) if number % HELD_OUT_EVERY != HELD_OUT_EVERY // 2
        )

    def held_out_documents(self) -> Iterator[str]:
        """The first held-out documents, up to a size that is quick to measure."""
        if self.validation:
            documents: Iterable[str] = self._stream(self.validation)
        else:
            numbered = enumerate(self._stream(self.paths))
            documents = (text for number, text in numbered if number % HELD_OUT_EVERY == HELD_OUT_EVERY // 2)
        size = 0
        for text in documents:
            size += len(text)
            if size > HELD_OUT_CHARACTERS and size > len(text):
                return
            yield text

    def _stream(self, paths: Sequence[str | Path]) -> Iterator[str]:
        return stream_documents(
            paths, encoding=self.encoding, text_column=self.text_column, header=self.header
        )


def _identity(path: str | Path) -> list[Any]:
    if str(path).startswith("hf:"):
        return [str(path)]
    return [[file.name, file.stat().st_size] for file in find_files([path])]
