"""Unlabeled text to learn from, and the part of it that is held out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

from torch import nn

from unfreeze.errors import UserError
from unfreeze.runs import Run
from unfreeze.text.corpus import find_files, stream_documents
from unfreeze.text.store_builder import DocumentTokenizer
from unfreeze.text.token_store import TokenStore
from unfreeze.text.tokenizer_files import load_tokenizer
from unfreeze.text.tokenizers import TextTokenizer
from unfreeze.training.cards import ENCODER_SNIPPET, LANGUAGE_MODEL_SNIPPET

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

    @property
    def facts(self) -> dict[str, object]:
        """What a model card says of the text."""
        names = [", ".join(Path(str(path)).name for path in paths) for paths in (self.paths, self.validation)]
        return {"data": names[0], "held out": names[1] or f"one document in {HELD_OUT_EVERY}"}

    def _stream(self, paths: Sequence[str | Path]) -> Iterator[str]:
        return stream_documents(
            paths, encoding=self.encoding, text_column=self.text_column, header=self.header
        )


def _identity(path: str | Path) -> list[Any]:
    if str(path).startswith("hf:"):
        return [str(path)]
    return [[file.name, file.stat().st_size] for file in find_files([path])]


def make_once(run: Run, make: Callable[[], TextTokenizer]) -> TextTokenizer:
    """The tokenizer of a run, made at its first start."""
    return run.once("tokenizer.json", lambda folder: make().save(folder), load_tokenizer)


def encode_once(
    run: Run, name: str, tokenizer: DocumentTokenizer, documents: Callable[[], Iterator[str]]
) -> TokenStore | None:
    """The ids of the documents in the folder `name` of a run, encoded at its first start; None without documents."""

    def build(folder: Path) -> None:
        remaining = documents()
        if (first := next(remaining, None)) is not None:
            TokenStore.build(chain([first], remaining), tokenizer, folder / name, progress=run.progress)

    def load(folder: Path) -> TokenStore | None:
        return TokenStore.open(folder / name) if (folder / name).is_dir() else None

    return run.once(name, build, load)


def prepare_text(
    run: Run, corpus: Corpus, make_tokenizer: Callable[[], TextTokenizer]
) -> tuple[TextTokenizer, TokenStore, TokenStore | None]:
    """The tokenizer of a language model's run, the ids to learn from and those held out, if any.

    Raises:
        UserError: the corpus has no text to learn from.
    """
    tokenizer = make_once(run, make_tokenizer)
    store = encode_once(run, "tokens", tokenizer, corpus.training_documents)
    if store is None:
        raise UserError("the corpus holds no text to learn from")
    return tokenizer, store, encode_once(run, "held-out", tokenizer, corpus.held_out_documents)


class SavedLanguageModel(Protocol):
    """A module that saves itself with or without its output layer."""

    @property
    def tokenizer(self) -> TextTokenizer:
        """Whose length is the vocabulary's."""

    def parameters(self) -> Iterator[nn.Parameter]:
        """All weights."""

    def save_pretrained(self, folder: str | Path, *, without_output: bool = False) -> None:
        """Write the folder."""


def finish_language_model(
    run: Run,
    model: SavedLanguageModel,
    records: list[dict[str, Any]],
    corpus: Corpus,
    store: TokenStore,
    title: str,
    without_output: bool,
    command: str,
) -> dict[str, Any]:
    """Save a trained language model with its card; returns its metrics: those of the last record, and what it read."""
    metrics = {name: value for name, value in records[-1].items() if name not in ("score", "epoch")}
    metrics |= {"training_tokens": store.n_tokens, "vocabulary": len(model.tokenizer)}
    n_parameters = sum(parameter.numel() for parameter in model.parameters())
    return run.finish(
        partial(model.save_pretrained, without_output=without_output),
        metrics,
        title=title,
        facts={**corpus.facts, "command": command, "parameters": n_parameters},
        snippet=ENCODER_SNIPPET if without_output else LANGUAGE_MODEL_SNIPPET,
    )
