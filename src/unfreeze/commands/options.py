"""Groups of options that several verbs share, each declared once, and what verbs do with their options.

A verb's dataclass inherits the groups that it has, and holds the settings of its recipe in the field `settings`
(`commands.arguments`).
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from tyro.conf import Positional

from unfreeze.checked import need_positive
from unfreeze.commands.console import Console
from unfreeze.commands.inputs import need_new
from unfreeze.datasets.lines import standard_lines
from unfreeze.display import counted
from unfreeze.errors import UserError, setting
from unfreeze.pictures import picture_format
from unfreeze.progress import Progress

if TYPE_CHECKING:
    from unfreeze.pretraining.unlabeled import Corpus
    from unfreeze.text.pairs import PairSet
    from unfreeze.text.tag_schemes import Scheme
    from unfreeze.text.tagged import TaggedSet


SettingsT = TypeVar("SettingsT")


def changed(settings: SettingsT, changes: Mapping[str, Any]) -> SettingsT:
    """A copy of a settings dataclass with other values of these fields, its own or those of the settings inside it."""
    new = {}
    for field in fields(settings):  # type: ignore[arg-type]
        value = getattr(settings, field.name)
        if field.name in changes:
            new[field.name] = changes[field.name]
        elif is_dataclass(value):
            new[field.name] = changed(value, changes)
    return replace(settings, **new)  # type: ignore[type-var]


def chosen_settings(start: SettingsT, given: Mapping[str, Any]) -> SettingsT:
    """A preset with the values given on the command line; a time limit there replaces the preset's epochs."""
    return changed(start, {"epochs": None, **given} if "minutes" in given else given)


def given(arguments: object, *names: str, **renamed: str) -> dict[str, Any]:
    """Keyword arguments from the options that are not None, under the names that the settings have for them."""
    pairs = {**{name: name for name in names}, **renamed}
    found = {own: getattr(arguments, option) for own, option in pairs.items()}
    return {name: value for name, value in found.items() if value is not None}


def need_own_options(arguments: Any, kind: str, own: Mapping[str, str]) -> None:
    """Raise UserError for an option that was given although only other kinds of models or tasks have it.

    Args:
        kind: the kind of the model or task, a key of `own`.
        own: for each kind, the options that not all kinds have, as names of fields separated by spaces.
    """
    for name, value, default in _options(arguments):
        users = [other for other, names in own.items() if name in names.split()]
        if users and kind not in users and value != default:
            option = setting(name, value if isinstance(value, bool) else None)
            *others, last = users
            and_ = f"{', '.join(others)} and " if others else ""
            raise UserError(f"{option} is for {and_}{last}, not for {kind}")


def _options(arguments: Any) -> Iterator[tuple[str, Any, Any]]:
    """The name, the value and the default of each option, those of settings in a field of their own included."""
    for field in fields(arguments):
        value = getattr(arguments, field.name)
        if is_dataclass(value):
            yield from _options(value)
        else:
            yield field.name, value, field.default


def command_line() -> str:
    """The command line as the user typed it, for the model card."""
    return shlex.join(["unfreeze", *sys.argv[1:]])


def quoted(path: Path) -> str:
    """Quote a path for the shell, in commands that are suggested to users."""
    return shlex.quote(str(path))


def described_length(epochs: int | None, minutes: float | None) -> str:
    """ "1 epoch" or "2 minutes", whichever bounds a run; "" if neither does."""
    if epochs is not None:
        return counted(epochs, "epoch")
    return "" if minutes is None else counted(minutes, "minute")


def run_options(arguments: object, console: Console) -> dict[str, Any]:
    """Keyword arguments of a recipe, other than data and settings, for which the verb has options."""
    names = ("output", "precision", "without_output", "overwrite")
    found = {name: getattr(arguments, name) for name in names if hasattr(arguments, name)}
    progress: Progress = console.progress
    if (folder := getattr(arguments, "tensorboard", None)) is not None:
        from unfreeze.commands.tensorboard import TensorBoardProgress

        progress = TensorBoardProgress(folder, progress)
    return {**found, "command": command_line(), "progress": progress}


@dataclass(kw_only=True)
class ReadsFile:
    """Options of a verb that reads files of a fixed format."""

    encoding: str = "utf-8"
    """Encoding of text files."""


@dataclass(kw_only=True)
class ReadsTables(ReadsFile):
    """Options of a verb that reads tables."""

    header: bool | None = None
    """Whether the first line of a CSV or TSV file names its columns (default: detected)."""


@dataclass(kw_only=True)
class ReadsText(ReadsTables):
    """Options of a verb that reads texts from files, plain text or tables."""

    text_column: str | None = None
    """Name or number (from 1) of the text column of a table; several, separated by commas, are joined."""

    @property
    def reading(self) -> dict[str, Any]:
        """These options as keyword arguments of the functions that read files."""
        return given(self, "text_column", "header", "encoding")


@dataclass(kw_only=True)
class TextArguments(ReadsText):
    """Arguments of a verb that applies a model to texts of the command line, of standard input, or of a file."""

    model: Positional[str]
    """Model: a folder, a released name, or owner/name on the hub."""

    texts: Positional[tuple[str, ...]] = ()
    """Texts; - reads lines from standard input."""

    file: Path | None = None
    """File of texts: the column of a table, or the lines of a text file."""

    def given_texts(self) -> Iterator[str]:
        """The texts, in order.

        Raises:
            UserError: immediately if there are no texts, or if they come from both places; later if they cannot be read.
        """
        if self.texts and self.file is not None:
            raise UserError("texts come from the command line or from --file, not from both")
        if self.file is not None and str(self.file) != "-":
            from unfreeze.text.examples import stream_texts

            return stream_texts(self.file, **self.reading)
        if not self.texts and self.file is None:
            raise UserError('no text was given: add "a text", - for standard input, or --file FILE')
        if self.texts.count("-") > 1:
            raise UserError("- means standard input, which can be read only once")
        return self._texts_and_lines()

    def _texts_and_lines(self) -> Iterator[str]:
        for text in self.texts or ["-"]:
            if text == "-":
                yield from (line.rstrip("\r\n") for line in standard_lines(self.encoding))
            else:
                yield text


@dataclass(kw_only=True)
class ReadsLabels(ReadsTables):
    """Options of a verb that reads labels from tables."""

    label_column: str | None = None
    """Name or number (from 1) of the label column of a table."""

    skip_unlabeled: bool = False
    """Skip examples without a label and report their number."""


@dataclass(kw_only=True)
class ReadsExamples(ReadsText, ReadsLabels):
    """Options of a verb that reads labeled texts from files."""

    label_separator: Literal["auto", "tab", "space"] = "auto"
    """Character after the label in files with a label and a text per line; auto is the tab if all lines have one."""

    @property
    def reading_examples(self) -> dict[str, Any]:
        """These options as keyword arguments of `read_examples`."""
        return {**self.reading, **given(self, "label_column", "skip_unlabeled", "label_separator")}


@dataclass(kw_only=True)
class PairColumnOptions:
    """Options of a verb that reads pairs of texts from tables."""

    pair_column: str | None = None
    """Name or number (from 1) of the column of the second text of each pair, for a classifier of pairs of texts."""


@dataclass(kw_only=True)
class ReadsTagged(ReadsFile):
    """Options of a verb that reads tagged sentences."""

    comments: Literal["auto", "skip", "words"] = "auto"
    """Tagged sentences: meaning of lines that begin with #: comments (skip), words, or what the other lines suggest (auto)."""


@dataclass(kw_only=True)
class ReadsQuestions(ReadsFile):
    """Options of a verb that reads questions with their answers."""

    mend_starts: bool = True
    """Questions: correct a wrong answer_start to the nearest occurrence of the answer, with a warning; otherwise refuse it."""


@dataclass(kw_only=True)
class ReadsTaskData(ReadsExamples, ReadsTagged, ReadsQuestions):
    """Options of a verb that reads the labeled data of any task."""

    text_column: str | None = None
    """Name or number (from 1) of the text column. Tagged sentences: number (from 0) of the column of the words (default: the
    first)."""

    label_column: str | None = None
    """Name or number (from 1) of the label column. Tagged sentences: number (from 0) of the column of the tags (default: the
    last)."""

    def read_tagged(self, path: str, scheme: Scheme | None) -> TaggedSet:
        """The tagged sentences of a file."""
        from unfreeze.text.tagged import read_tagged

        return read_tagged(
            path,
            token_column=self.text_column,
            tag_column=self.label_column,
            encoding=self.encoding,
            comments=self.comments,
            scheme=scheme,
        )


@dataclass(kw_only=True)
class ReadsPairs(ReadsTables):
    """Options of a verb that reads texts and their translations."""

    source_column: str | None = None
    """Name or number (from 1) of the column of the texts to translate, in a table of pairs."""

    target_column: str | None = None
    """Name or number (from 1) of the column of their translations."""

    def read_pairs(self, paths: Sequence[str], max_words: int) -> PairSet:
        """The pairs of some files."""
        from unfreeze.text.pairs import read_pairs

        columns = given(self, "source_column", "target_column", "header")
        return read_pairs(paths, **columns, encoding=self.encoding, max_words=max_words)


@dataclass(kw_only=True)
class PlotOptions:
    """Options of a verb that can draw its result."""

    plot: Path | None = None
    """File to draw a plot of the result into (.png, .svg or .pdf)."""

    overwrite: bool = False
    """Replace an existing file."""

    def need_picture(self) -> None:
        """Raise UserError, before any work, if no plot can be drawn there or a file exists already."""
        if self.plot is not None:
            picture_format(self.plot)
            need_new(self.plot, overwrite=self.overwrite, option="plot")


@dataclass(kw_only=True)
class CorpusOptions(ReadsText):
    """Options of a verb that learns from unlabeled text."""

    corpus: tuple[str, ...]
    """Text to learn from: files, folders, globs, or hf:owner/name."""

    @property
    def text(self) -> Corpus:
        """The text that the command line names."""
        from unfreeze.pretraining.unlabeled import Corpus

        return Corpus(paths=self.corpus, **self.reading)


@dataclass(kw_only=True)
class HeldOutOptions(CorpusOptions):
    """Options of a verb that learns from unlabeled text and is measured on text that it has not seen."""

    validation: tuple[str, ...] = ()
    """Held-out text (default: one document in a hundred of the corpus)."""

    @property
    def text(self) -> Corpus:
        """The text that the command line names, to learn from and held out."""
        return replace(super().text, validation=self.validation)


@dataclass(kw_only=True)
class PredictionOptions:
    """Options of a verb that computes with a model and may write a file."""

    precision: Literal["auto", "fp32", "bf16"] = "fp32"
    """Number format; auto is bf16 on processors that are fast in it."""

    overwrite: bool = False
    """Replace an existing file."""


@dataclass(kw_only=True)
class RunOptions:
    """Options of every verb that trains a model."""

    output: Path
    """Folder to write the model to."""

    overwrite: bool = False
    """Replace the model of another run in that folder, once this run is complete."""


@dataclass(kw_only=True)
class LoopRunOptions(RunOptions):
    """Options of a verb that trains a network."""

    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Number format; auto is bf16 on processors that are fast in it."""

    tensorboard: Path | None = None
    """Folder to write training curves to, for TensorBoard."""


@dataclass(kw_only=True)
class ThreadOptions(RunOptions):
    """Options of a verb that trains word vectors in threads."""

    workers: int | None = None
    """Word vectors: number of threads (default: one per core); with 1, a seed gives the same vectors."""

    def __post_init__(self) -> None:
        need_positive(self, "workers")
