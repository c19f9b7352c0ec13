"""The unlabeled text of a ladder without its test texts, and the models that are made from it once."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from unfreeze.folders import written_file
from unfreeze.ladder.cells import Rung
from unfreeze.ladder.results import key_of
from unfreeze.ladder.settings import LadderSettings
from unfreeze.pretraining.lm import adapt_lm
from unfreeze.pretraining.settings import AdaptSettings
from unfreeze.pretraining.unlabeled import Corpus
from unfreeze.pretraining.word2vec.recipe import pretrain_word2vec
from unfreeze.progress import Progress
from unfreeze.registry import weights_digest
from unfreeze.tasks.candidates import WIDE_VECTORS

CHARACTERS = 5.5
"""Characters of a word and the space after it, on average."""
MODELS = "models"
"""Folder of the models in that of the ladder."""
VECTOR_SECONDS, ADAPTED_SECONDS = 1e-5, 3e-4
"""Estimated seconds of one core for a word in an epoch of word2vec, and of adapting the language model."""
ADAPTED_SHARE = 0.25
"""Largest share of the time that adapting may take; otherwise the language model is fine-tuned as it is."""


@dataclass(kw_only=True)
class MadeModel:
    """A model that several rungs start from."""

    name: str
    folder: Path
    seconds: float
    """Estimated."""
    facts: dict[str, Any]
    """What determines it."""
    run: Callable[[Path], dict[str, Any]]
    """Makes it, or finds it made; returns its metrics."""

    def identity(self) -> dict[str, Any]:
        """What determines it, as JSON values."""
        return {"name": self.name, **self.facts}

    def make(self) -> float:
        """Make it, or find it made; returns the seconds that it took when it was made."""
        start = time.monotonic()
        metrics = self.run(self.folder)
        # Metrics are rounded, and of a small text 0.
        return float(metrics.get("seconds") or time.monotonic() - start)


class RungOnModel(Rung):
    """A rung that may start from a model that the ladder makes."""

    settings: Any
    """Settings of the task; the encoder of a `made` model is filled in by `prepare`."""
    made: MadeModel | None

    def preparations(self) -> dict[str, float]:
        return {} if self.made is None else {self.made.name: self.made.seconds}

    def prepare(self) -> float:
        if self.made is None:
            return 0.0
        seconds = self.made.make()
        self.settings = replace(self.settings, encoder=self.made.folder)
        return seconds


class UnlabeledText:
    """The documents of the settings' unlabeled text that are no test texts.

    The documents are read once to compare and count them. If test texts are among them, the others are written to a file.

    Args:
        test: the test texts.
        folder: of the ladder.

    Raises:
        UserError: the text cannot be read, or there is none.
    """

    def __init__(
        self, settings: LadderSettings, test: Collection[str], folder: Path, progress: Progress
    ) -> None:
        self.settings, self.folder, self.progress = settings, folder, progress
        corpus = Corpus(paths=settings.unlabeled)
        known = {_plain(text) for text in test}
        self.n_left_out = n_characters = 0
        for text in corpus.documents():
            if _plain(text) in known:
                self.n_left_out += 1
            else:
                n_characters += len(text)
        self.n_words = n_characters / CHARACTERS
        self.corpus = self._without(corpus, known) if self.n_left_out else corpus

    def _without(self, corpus: Corpus, known: set[str]) -> Corpus:
        name = f"unlabeled-{key_of(corpus.identity(), sorted(known))}.jsonl"
        path = self.folder / MODELS / name
        if not path.is_file():
            with written_file(path) as temporary, temporary.open("w", encoding="utf-8") as file:
                for text in corpus.documents():
                    if _plain(text) not in known:
                        file.write(json.dumps({"text": text}) + "\n")
        return Corpus(paths=[path])

    def word_vectors(self, ladder: LadderSettings) -> MadeModel:
        """Word vectors of this text."""
        epochs = ladder.epochs or WIDE_VECTORS.training.epochs
        settings = replace(
            WIDE_VECTORS, training=replace(WIDE_VECTORS.training, epochs=epochs, seed=ladder.seed)
        )
        facts = {"settings": repr(settings), "workers": ladder.workers, **self.corpus.identity()}

        def run(folder: Path) -> dict[str, Any]:
            options: Any = {"output": folder, "workers": ladder.workers, "progress": self.progress}
            return pretrain_word2vec(self.corpus, settings, without_output=True, **options)[1]

        seconds = VECTOR_SECONDS * self.n_words * epochs / min(4, ladder.workers)
        return self._model("word vectors", facts, seconds, run)

    def adapted(self, source: str, ladder: LadderSettings) -> MadeModel | None:
        """A language model adapted to this text; None if that would take too much of the time."""
        usual = AdaptSettings()
        epochs = ladder.epochs or usual.training.loop.epochs or 1
        seconds = ADAPTED_SECONDS * self.n_words * epochs
        if seconds > ADAPTED_SHARE * 60 * ladder.minutes:
            return None
        loop = replace(usual.training.loop, epochs=epochs, seed=ladder.seed)
        settings = replace(usual, training=replace(usual.training, loop=loop))
        facts = {
            "settings": repr(settings),
            "source": weights_digest(source),
            **self.corpus.identity(),
        }

        def run(folder: Path) -> dict[str, Any]:
            options: Any = {"output": folder, "progress": self.progress}
            return adapt_lm(source, self.corpus, settings, without_output=True, **options)[1]

        return self._model("adapted language model", facts, seconds, run)

    def _model(self, name: str, facts: dict[str, Any], seconds: float, run: Any) -> MadeModel:
        folder = self.folder / MODELS / f"{name.replace(' ', '-')}-{key_of(facts)[:8]}"
        return MadeModel(name=name, folder=folder, seconds=seconds, facts=facts, run=run)


def _plain(text: str) -> str:
    """A text with single spaces: what differs by white space only is the same text."""
    return " ".join(text.split())
