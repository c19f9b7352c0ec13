"""What all trainings of language models do from files to a saved folder: prepare, train, measure, save.

A tokenizer, a token store and a held-out store are kept in `training/` of the output, so that a run that was killed goes
on without reading the corpus again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from accelerate import Accelerator
from torch import nn

from unfreeze.errors import UserError
from unfreeze.folders import read_metrics
from unfreeze.pretraining.unlabeled import Corpus
from unfreeze.progress import Progress
from unfreeze.text.token_store import TokenStore
from unfreeze.text.tokenizer_files import load_tokenizer
from unfreeze.text.tokenizers import TextTokenizer
from unfreeze.training.cards import write_card
from unfreeze.training.checkpoints import RunFolder
from unfreeze.training.loop import seed_everything, train
from unfreeze.training.loop_settings import LoopSettings
from unfreeze.training.objective import Objective
from unfreeze.training.precision import Precision
from unfreeze.training.processes import make_accelerator, together
from unfreeze.transfer.policies import TransferPolicy

logger = logging.getLogger(__name__)


class SavedModel(Protocol):
    """What a stage makes."""

    @property
    def tokenizer(self) -> TextTokenizer:
        """Whose length is the vocabulary's."""

    def save_pretrained(self, folder: str | Path, *, without_output: bool = False) -> None:
        """Write the folder."""


Model = TypeVar("Model", bound=SavedModel)


@dataclass(frozen=True)
class Recipe(Generic[Model]):
    """How a stage makes its model and what it trains."""

    make_tokenizer: Callable[[], TextTokenizer]
    """Of the token stores."""
    make_model: Callable[[TextTokenizer], Model]
    """The model, before training."""
    make_objective: Callable[[Model, TokenStore, TokenStore | None, Accelerator], Objective]
    """What the loop trains, given the ids to learn from and those held out."""
    title: str
    """Of the model card."""
    snippet: str
    """Python that runs in the folder, for the model card."""


def prepare(
    folder: Path, corpus: Corpus, make_tokenizer: Callable[[], TextTokenizer], progress: Progress
) -> tuple[TextTokenizer, TokenStore, TokenStore | None]:
    """The tokenizer and the ids of both kinds of documents, in a run's `folder`; what is there already is kept."""
    if not (folder / "tokenizer.json").is_file():
        make_tokenizer().save(folder)
    tokenizer = load_tokenizer(folder)
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


class Stage:
    """A run from files to a saved folder.

    Args:
        asked: everything that makes this run what it is; the same again goes on.
    """

    def __init__(
        self,
        corpus: Corpus,
        output: Path,
        asked: dict[str, Any],
        policy: TransferPolicy,
        loop: LoopSettings,
        precision: Precision,
        overwrite: bool,
        progress: Progress,
    ) -> None:
        self.corpus, self.output, self.policy, self.loop, self.progress = (
            corpus,
            output,
            policy,
            loop,
            progress,
        )
        self.accelerator: Accelerator = make_accelerator(precision)
        with self.accelerator.main_process_first():
            # The other processes find the folder that the first one made.
            self.folder = RunFolder(output, asked, overwrite=overwrite and self.accelerator.is_main_process)

    def run(self, recipe: Recipe[Model], *, command: str, without_output: bool) -> dict[str, Any]:
        """All of it; returns the held-out figures."""
        if self.folder.done:
            logger.info("%s is complete already", self.output)
            figures = read_metrics(self.output)
            return figures
        with self.accelerator.main_process_first():
            tokenizer, store, held_out = prepare(
                self.folder.folder, self.corpus, recipe.make_tokenizer, self.progress
            )
        with together():
            seed_everything(self.loop.seed)
            model = recipe.make_model(tokenizer)
            objective = recipe.make_objective(model, store, held_out, self.accelerator)
        records = train(
            objective,
            policy=self.policy,
            settings=self.loop,
            folder=self.folder,
            accelerator=self.accelerator,
            progress=self.progress,
            what="language model",
        )
        last = records[-1]
        metrics = {name: value for name, value in last.items() if name not in ("score", "epoch")}
        metrics |= {"training_tokens": store.n_tokens, "vocabulary": len(model.tokenizer)}
        with together():
            if self.accelerator.is_main_process:
                model.save_pretrained(self.output, without_output=without_output)
                self._write_card(recipe, objective.model, metrics, command)
                self.folder.finish()
        return metrics

    def _write_card(
        self, recipe: Recipe[Model], network: nn.Module, metrics: dict[str, Any], command: str
    ) -> None:
        facts = {
            "data": ", ".join(Path(str(path)).name for path in self.corpus.paths),
            "held out": ", ".join(Path(str(path)).name for path in self.corpus.validation)
            or "one document in a hundred",
            "command": command,
            "parameters": sum(p.numel() for p in network.parameters()),
        }
        write_card(self.output, title=recipe.title, facts=facts, metrics=metrics, snippet=recipe.snippet)
