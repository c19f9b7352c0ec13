"""Unlabeled text to learn from, the part of it that is held out, and the run of a language model that is trained on it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Required, TypedDict, TypeVar

from unfreeze.datasets.lines import codec_name
from unfreeze.encoders.base import Encoder
from unfreeze.errors import UserError
from unfreeze.folders import read_config
from unfreeze.language_models.on_encoder import EncoderLanguageModel
from unfreeze.pretraining.elmo_settings import AdaptElmoSettings, ElmoSettings
from unfreeze.pretraining.settings import TrainingSettings
from unfreeze.progress import SILENT, Progress
from unfreeze.runs import Run
from unfreeze.text.corpus import find_files, stream_documents
from unfreeze.text.store_builder import DocumentTokenizer
from unfreeze.text.token_store import TokenStore
from unfreeze.text.tokenizer_files import load_tokenizer
from unfreeze.text.tokenizers import TextTokenizer
from unfreeze.training.cards import ENCODER_SNIPPET, LANGUAGE_MODEL_SNIPPET
from unfreeze.training.loop import seed_everything
from unfreeze.training.objective import Objective
from unfreeze.training.precision import Precision
from unfreeze.training.processes import together

if TYPE_CHECKING:
    from accelerate import Accelerator

Model = TypeVar("Model", bound=EncoderLanguageModel)

HELD_OUT_EVERY = 100
"""Without validation files, one of this many documents is held out."""
HELD_OUT_CHARACTERS = 1_500_000
"""Maximum size of the held-out text; more would only take time."""


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """Unlabeled text, and how to read it."""

    paths: Sequence[str | Path]
    """Files, folders, globs, hub ids."""
    validation: Sequence[str | Path] = ()
    """Held-out text; without it one document in a hundred is held out."""
    encoding: str = "utf-8"
    """Encoding of plain text files."""
    text_column: str | None = None
    """Column of the text in tables and JSON lines (default: found by its name)."""
    header: bool | None = None
    """Whether the first line of a CSV or TSV file names its columns (default: detected)."""

    def __post_init__(self) -> None:
        codec_name(self.encoding)  # a mistake here is reported before the identity of the run is compared

    def identity(self) -> dict[str, Any]:
        """What identifies this corpus: names and sizes of its files, and how they are read."""
        return {
            "corpus": [_identity(path) for path in self.paths],
            "validation": [_identity(path) for path in self.validation],
            "text_column": self.text_column,
            **({} if self.header is None else {"header": self.header}),
        }

    def documents(self) -> Iterator[str]:
        """All documents of `paths`, including those that are held out."""
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
        """Rows of the model card that describe the text."""
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


def make_once(
    run: Run, make: Callable[[], TextTokenizer], load: Callable[[Path], TextTokenizer] = load_tokenizer
) -> TextTokenizer:
    """The tokenizer of a run, made at its first start."""
    return run.once("tokenizer.json", lambda folder: make().save(folder), load)


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
    run: Run,
    corpus: Corpus,
    make_tokenizer: Callable[[], TextTokenizer],
    load: Callable[[Path], TextTokenizer] = load_tokenizer,
) -> tuple[TextTokenizer, TokenStore, TokenStore | None]:
    """The tokenizer of a language model's run, the ids to learn from and those held out, if any.

    Args:
        load: reads the tokenizer; if it raises UserError, the tokenizer is made again.

    Raises:
        UserError: the corpus has no text to learn from.
    """
    tokenizer = make_once(run, make_tokenizer, load)
    store = encode_once(run, "tokens", tokenizer, corpus.training_documents)
    if store is None:
        raise UserError("the corpus holds no text to learn from")
    return tokenizer, store, encode_once(run, "held-out", tokenizer, corpus.held_out_documents)


class RunOptions(TypedDict, total=False):
    """Keyword arguments of all recipes of language models."""

    output: Required[str | Path]
    """Folder to write the model to."""
    without_output: bool
    """Save, and return, only the encoder."""
    precision: Precision
    """Number format of the training; "auto" (the default) is bf16 where the processor is fast in it."""
    overwrite: bool
    """Replace a model of another run, once this one is complete."""
    command: str
    """How the recipe was called, for the model card."""
    progress: Progress
    """Reports the progress of long work."""


def has_output_layer(folder: Path) -> bool:
    """Whether a saved folder holds a language model, not just its encoder."""
    return read_config(folder).get("output") is not None


def train_language_model(
    kind: type[Model],
    corpus: Corpus,
    settings: TrainingSettings | ElmoSettings | AdaptElmoSettings,
    *,
    identity: Callable[[], dict[str, Any]],
    make_tokenizer: Callable[[Progress], TextTokenizer],
    make_model: Callable[[TextTokenizer], Model],
    make_objective: Callable[[Model, TextTokenizer, TokenStore, TokenStore | None, Accelerator], Objective],
    title: str,
    load: Callable[[Path], TextTokenizer] = load_tokenizer,
    output: str | Path,
    without_output: bool = False,
    precision: Precision = "auto",
    overwrite: bool = False,
    command: str = "",
    progress: Progress = SILENT,
) -> tuple[Model | Encoder, dict[str, Any]]:
    """Train a language model on a corpus and save it, or resume the run; the recipes differ in what they pass.

    Args:
        kind: class of the model.
        identity: as in `Run`.
        make_tokenizer: makes the tokenizer of the token store, at the first start of the run.
        make_model: makes the model from that tokenizer; all random numbers are seeded before.
        make_objective: takes the model, the tokenizer, the token ids to learn from and those held out.
        title: title of the model card.
        load: as in `prepare_text`.
        output, without_output, precision, overwrite, command, progress: as in `RunOptions`.

    Returns:
        The model (or its encoder), and its held-out metrics as in metrics.json.
    """
    with Run(
        output,
        identity,
        precision=precision,
        overwrite=overwrite,
        has_output_layer=None if without_output else has_output_layer,
        progress=progress,
    ) as run:
        if run.done:
            saved = Encoder if without_output else kind
            return saved.from_pretrained(run.output), run.metrics
        accelerator = run.accelerator
        tokenizer, store, held_out = prepare_text(run, corpus, lambda: make_tokenizer(progress), load)
        with together():
            seed_everything(settings.loop.seed)
            model = make_model(tokenizer)
            objective = make_objective(model, tokenizer, store, held_out, accelerator)
        records = run.train(objective, settings.policy, settings.loop, "language model")
        metrics = {name: value for name, value in records[-1].items() if name not in ("score", "epoch")}
        metrics |= {"training_tokens": store.n_tokens, "vocabulary": len(model.tokenizer)}
        n_parameters = sum(parameter.numel() for parameter in model.parameters())
        run.finish(
            partial(model.save_pretrained, without_output=without_output),
            metrics,
            title=title,
            facts={**corpus.facts, "command": command, "parameters": n_parameters},
            snippet=ENCODER_SNIPPET if without_output else LANGUAGE_MODEL_SNIPPET,
        )
        return model.encoder if without_output else model, metrics
