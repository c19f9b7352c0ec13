"""The first two stages of ULMFiT, from files to a saved folder: `pretrain` on any text, `adapt` on the target's.

Both prepare the same way: a tokenizer, a token store and a held-out store in `training/` of the output, so that a run
that was killed goes on without reading the corpus again.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from unfreeze.encoders.awd_lstm import AwdLstm
from unfreeze.encoders.layers.output import default_cutoffs
from unfreeze.encoders.layers.recurrent import Dropouts
from unfreeze.encoders.vector_source import open_vectors
from unfreeze.errors import UserError
from unfreeze.pretraining.language_model import LanguageModel, start_from_vectors
from unfreeze.pretraining.lm_objective import LanguageModelObjective
from unfreeze.pretraining.settings import AdaptSettings, PretrainSettings, TrainingSettings
from unfreeze.pretraining.vocabulary_transfer import transfer_vocabulary
from unfreeze.progress import SILENT, Progress
from unfreeze.text.corpus import find_files, stream_documents
from unfreeze.text.token_store import TokenStore
from unfreeze.text.tokenizers import TextTokenizer, train_tokenizer
from unfreeze.training.cards import write_card
from unfreeze.training.checkpoints import RunFolder
from unfreeze.training.loop import seed_everything, train
from unfreeze.training.precision import Precision
from unfreeze.training.processes import make_accelerator, together

logger = logging.getLogger(__name__)

HELD_OUT_EVERY = 100
"""Without validation files, one document in so many is held out."""
HELD_OUT_CHARACTERS = 1_500_000
"""As much held-out text is measured at most: more would only cost time."""

SNIPPET = """
from unfreeze.pretraining.language_model import LanguageModel

model = LanguageModel.from_pretrained(".")  # this folder
layers, mask = model.encoder.layers(model.encoder.prepare_text(["he sat on the bank of the river"]))
print([tuple(layer.shape) for layer in layers])
"""


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

    def identity(self) -> dict[str, Any]:
        """What tells this corpus from another: names and sizes of its files."""
        return {
            "corpus": [_identity(path) for path in self.paths],
            "validation": [_identity(path) for path in self.validation],
            "text_column": self.text_column,
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
        return stream_documents(paths, encoding=self.encoding, text_column=self.text_column)


def _identity(path: str | Path) -> list[Any]:
    if str(path).startswith("hf:"):
        return [str(path)]
    return [[file.name, file.stat().st_size] for file in find_files([path])]


def pretrain_language_model(
    corpus: Corpus,
    output: str | Path,
    settings: PretrainSettings,
    *,
    word_vectors: str | Path | None = None,
    precision: Precision = "auto",
    without_output: bool = False,
    overwrite: bool = False,
    command: str = "",
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Stage 1: a language model from unlabeled text. Run again after a kill, it goes on.

    Args:
        word_vectors: a file of vectors as wide as the embedding, from which the embedding starts.
        without_output: save the encoder alone.
        overwrite: replace a model of another run, once this one is complete.
        command: how this was called, for the model card.

    Returns:
        The held-out figures, as in metrics.json.

    Raises:
        UserError: the corpus, the vectors or the output cannot be used.
        Interrupted: Ctrl-C, after a checkpoint.
    """
    with together():
        asked = {
            "stage": "pretrain lm",
            **corpus.identity(),
            **asdict(settings),
            "word_vectors": str(word_vectors),
        }

    def make_tokenizer() -> TextTokenizer:
        return train_tokenizer(
            corpus.training_documents(),
            kind=settings.tokenizer,
            vocabulary_size=settings.vocabulary_size,
            min_count=settings.min_count,
            progress=progress,
        )

    def make_model(tokenizer: TextTokenizer) -> LanguageModel:
        encoder = AwdLstm(
            tokenizer,
            embedding_size=settings.embedding_size,
            hidden_size=settings.hidden_size,
            n_layers=settings.n_layers,
            direction=settings.direction,
            share_embedding=settings.share_embedding,
        )
        model = LanguageModel(
            encoder, default_cutoffs(len(tokenizer)) if settings.softmax == "adaptive" else ()
        )
        if word_vectors is not None:
            _start(model, word_vectors, settings.embedding_size)
        return model

    stage = _Stage(corpus, Path(output), asked, settings.training, precision, overwrite, progress)
    return stage.run(
        make_tokenizer, make_model, title="Language model", command=command, without_output=without_output
    )


def adapt_language_model(
    source: str | Path,
    corpus: Corpus,
    output: str | Path,
    settings: AdaptSettings,
    *,
    precision: Precision = "auto",
    without_output: bool = False,
    overwrite: bool = False,
    command: str = "",
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Stage 2: go on on the target's text, with the target's vocabulary. Run again after a kill, it goes on.

    Args:
        source: folder or name of a language model with its output layer.

    Returns, Raises:
        as `pretrain_language_model`.
    """
    with together():
        before = LanguageModel.from_pretrained(source)
        asked = {"stage": "adapt", "source": str(source), **corpus.identity(), **asdict(settings)}
    takes_words = settings.new_vocabulary and before.tokenizer.is_word_level

    def make_tokenizer() -> TextTokenizer:
        if not takes_words:
            return before.tokenizer
        return train_tokenizer(
            corpus.training_documents(),
            kind="word",
            vocabulary_size=settings.vocabulary_size or len(before.tokenizer),
            min_count=settings.min_count,
            progress=progress,
        )

    def make_model(tokenizer: TextTokenizer) -> LanguageModel:
        return transfer_vocabulary(before, tokenizer) if takes_words else before

    stage = _Stage(corpus, Path(output), asked, settings.training, precision, overwrite, progress)
    title = f"Language model, adapted from {source}"
    return stage.run(make_tokenizer, make_model, title=title, command=command, without_output=without_output)


def _start(model: LanguageModel, word_vectors: str | Path, width: int) -> None:
    vectors = open_vectors(word_vectors)
    if vectors.matrix.shape[1] != width:
        raise UserError(
            f"{word_vectors} has vectors of {vectors.matrix.shape[1]} numbers, the embedding has {width}: "
            f"take --embedding-size {vectors.matrix.shape[1]}"
        )
    matrix, found = vectors.matrix_for(model.tokenizer.vocabulary)
    logger.info("%d of %d words start from %s", int(found.sum()), len(found), word_vectors)
    start_from_vectors(model, torch.from_numpy(matrix))


def make_objective(
    model: LanguageModel,
    store: TokenStore,
    held_out: TokenStore | None,
    training: TrainingSettings,
    accelerator: Accelerator,
) -> LanguageModelObjective:
    """What the loop trains: this process's lanes, with the dropouts of the settings."""
    model.encoder.set_dropouts(Dropouts().times(training.dropout_scale))
    return LanguageModelObjective(
        model,
        store,
        held_out,
        batch_size=training.batch_size,
        bptt=training.bptt,
        variable=training.variable_bptt,
        alpha=training.alpha,
        beta=training.beta,
        seed=training.loop.seed,
        rank=accelerator.process_index,
        world_size=accelerator.num_processes,
    )


def prepare(
    folder: Path, corpus: Corpus, make_tokenizer: Callable[[], TextTokenizer], progress: Progress
) -> tuple[TextTokenizer, TokenStore, TokenStore | None]:
    """The tokenizer and the ids of both kinds of documents, in a run's `folder`; what is there already is kept."""
    if not (folder / "tokenizer.json").is_file():
        make_tokenizer().save(folder)
    tokenizer = TextTokenizer.load(folder)
    store = _store(folder / "tokens", tokenizer, corpus.training_documents, progress)
    if store is None:
        raise UserError("the corpus holds no text to learn from")
    return tokenizer, store, _store(folder / "held-out", tokenizer, corpus.held_out_documents, progress)


def _store(
    place: Path, tokenizer: TextTokenizer, make: Callable[[], Iterator[str]], progress: Progress
) -> TokenStore | None:
    """The ids of the documents, built once; None where there is no document."""
    if place.is_dir():
        return TokenStore.open(place)
    documents = make()
    first = next(documents, None)
    if first is None:
        return None
    return TokenStore.build(chain([first], documents), tokenizer, place, progress=progress)


class _Stage:
    """What both stages do: prepare, train, measure, save."""

    def __init__(
        self,
        corpus: Corpus,
        output: Path,
        asked: dict[str, Any],
        training: TrainingSettings,
        precision: Precision,
        overwrite: bool,
        progress: Progress,
    ) -> None:
        self.corpus, self.output, self.training, self.progress = corpus, output, training, progress
        self.accelerator: Accelerator = make_accelerator(precision)
        with self.accelerator.main_process_first():
            # The other processes find the folder that the first one made.
            self.folder = RunFolder(output, asked, overwrite=overwrite and self.accelerator.is_main_process)

    def run(
        self,
        make_tokenizer: Callable[[], TextTokenizer],
        make_model: Callable[[TextTokenizer], LanguageModel],
        *,
        title: str,
        command: str,
        without_output: bool,
    ) -> dict[str, Any]:
        """All of it; returns the held-out figures."""
        if self.folder.done:
            logger.info("%s is complete already", self.output)
            figures: dict[str, Any] = json.loads((self.output / "metrics.json").read_text(encoding="utf-8"))
            return figures
        with self.accelerator.main_process_first():
            tokenizer, store, held_out = prepare(
                self.folder.folder, self.corpus, make_tokenizer, self.progress
            )
        with together():
            seed_everything(self.training.loop.seed)
            model = make_model(tokenizer)
            objective = make_objective(model, store, held_out, self.training, self.accelerator)
        records = train(
            objective,
            policy=self.training.policy,
            settings=self.training.loop,
            folder=self.folder,
            accelerator=self.accelerator,
            progress=self.progress,
            what="language model",
        )
        last = records[-1]
        metrics = {name: value for name, value in last.items() if name not in ("score", "epoch")}
        metrics |= {"training_tokens": store.n_tokens, "vocabulary": len(tokenizer)}
        with together():
            if self.accelerator.is_main_process:
                self._save(model, metrics, title, command, without_output)
        return metrics

    def _save(
        self, model: LanguageModel, metrics: dict[str, Any], title: str, command: str, without_output: bool
    ) -> None:
        model.save_pretrained(self.output, without_output=without_output)
        facts = {
            "data": ", ".join(Path(str(path)).name for path in self.corpus.paths),
            "held out": ", ".join(Path(str(path)).name for path in self.corpus.validation)
            or "one document in a hundred",
            "command": command,
            "parameters": sum(p.numel() for p in model.parameters()),
        }
        write_card(self.output, title=title, facts=facts, metrics=metrics, snippet=SNIPPET)
        self.folder.finish()
