"""What verbs do with their options: those that were given, those that every long run has, and the options of text to learn from."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from unfreeze.commands.console import Console
from unfreeze.commands.inputs import need_positive
from unfreeze.errors import UserError
from unfreeze.text.display import counted

if TYPE_CHECKING:
    from unfreeze.pretraining.unlabeled import Corpus


def given(arguments: object, *names: str, **renamed: str) -> dict[str, Any]:
    """The options that were given, under the names that the settings have for them."""
    pairs = {**{name: name for name in names}, **renamed}
    found = {own: getattr(arguments, option) for own, option in pairs.items()}
    return {name: value for name, value in found.items() if value is not None}


def need_own_options(arguments: Any, kind: str, own: Mapping[str, str]) -> None:
    """Raise the UserError that names an option which was given although only other kinds of models or tasks have it.

    Args:
        kind: that of the model or task, as a key of `own`.
        own: the options that not all kinds have, as names of fields between spaces, for each kind as people call it.
    """
    for field in fields(arguments):
        users = [other for other, names in own.items() if field.name in names.split()]
        value = getattr(arguments, field.name)
        if users and kind not in users and value != field.default:
            option = ("--no-" if value is False else "--") + field.name.replace("_", "-")
            *others, last = users
            and_ = f"{', '.join(others)} and " if others else ""
            raise UserError(f"{option} is for {and_}{last}, not for {kind}")


def command_line() -> str:
    """How the user called us, for the model card."""
    return shlex.join(["unfreeze", *sys.argv[1:]])


def quoted(path: Path) -> str:
    """A path as the shell takes it, for commands that users are told to try."""
    return shlex.quote(str(path))


def described_length(epochs: int | None, minutes: float | None) -> str:
    """ "1 epoch", "2 minutes", as far as a run is bounded by one of them."""
    if epochs is not None:
        return counted(epochs, "epoch")
    return "" if minutes is None else counted(minutes, "minute")


def run_options(arguments: object, console: Console) -> dict[str, Any]:
    """What every long run is told besides its data and settings: those of these options that the verb has."""
    names = ("precision", "without_output", "overwrite")
    found = {name: getattr(arguments, name) for name in names if hasattr(arguments, name)}
    return {**found, "command": command_line(), "progress": console.progress}


@dataclass(kw_only=True)
class ReadsText:
    """Options of a verb that reads texts from files: tables, or plain text."""

    text_column: str | None = None
    """Name or number (from 1) of the text's column in a table; several, separated by commas, are joined."""

    header: bool | None = None
    """Whether the first line of a CSV or TSV names its columns; by default told from the names themselves, and columns that
    are all given by number mean that it does not."""

    encoding: str = "utf-8"
    """Of text files."""

    @property
    def reading(self) -> dict[str, Any]:
        """How to read the files, as keywords of what reads them."""
        return given(self, "text_column", "header", "encoding")


@dataclass(kw_only=True)
class ReadsExamples(ReadsText):
    """The same, of a verb that reads labeled texts."""

    label_column: str | None = None
    """Name or number (from 1) of the label's column in a table."""

    skip_unlabeled: bool = False
    """Leave out texts without a label, and say how many."""

    label_separator: Literal["auto", "tab", "space"] = "auto"
    """What ends the label of a line of a label and a text: the tab where all lines have one, otherwise white space."""

    @property
    def reading_examples(self) -> dict[str, Any]:
        """How to read labeled texts, as keywords of `read_examples`."""
        return {**self.reading, **given(self, "label_column", "skip_unlabeled", "label_separator")}


@dataclass(kw_only=True)
class LearnsFromText(ReadsText):
    """Options of a verb that learns from unlabeled text."""

    corpus: tuple[str, ...]
    """Text to learn from: files, folders, globs, hf:owner/name."""

    output: Path
    """Folder of the model to be."""

    overwrite: bool = False
    """Replace a model of another run once this one is complete."""

    @property
    def text(self) -> Corpus:
        """The text that the command line names."""
        from unfreeze.pretraining.unlabeled import Corpus

        return Corpus(paths=self.corpus, **self.reading)


@dataclass(kw_only=True)
class HoldsOutText(LearnsFromText):
    """The same, of a verb that measures on text."""

    validation: tuple[str, ...] = ()
    """Held-out text; without it one document in a hundred is held out."""

    @property
    def text(self) -> Corpus:
        """The text that the command line names, to learn from and held out."""
        return replace(super().text, validation=self.validation)


@dataclass(kw_only=True)
class TrainsOnText(HoldsOutText):
    """The same, of a verb that trains a language model in the training loop."""

    minutes: float | None = None
    """Bound the training by time and fit the schedule to it."""

    epochs: int | None = None
    """Passes over the text (1 without --minutes)."""

    vocabulary_size: int | None = None
    """Entries of the vocabulary at most."""

    min_count: int | None = None
    """Words that occur less often are unknown."""

    batch_size: int | None = None
    """Streams that are read side by side."""

    bptt: int | None = None
    """Tokens of each stream in a step, about."""

    rate: float | None = None
    """Largest learning rate."""

    validate_minutes: float | None = None
    """Measure held-out perplexity this often."""

    checkpoint_minutes: float | None = None
    """Save this often where the training stands (3): so much a kill or a power cut may cost."""

    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Number format; auto tries which is faster here."""

    seed: int = 0
    """The same seed gives the same model."""

    without_output: bool = False
    """Save the encoder alone: score, fill, generate and adapt will not work."""

    def __post_init__(self) -> None:
        need_positive(self, "epochs", "minutes", "rate", "batch_size", "bptt", "validate_minutes")
        need_positive(self, "vocabulary_size", "min_count")
