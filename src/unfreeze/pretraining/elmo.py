"""Pre-training ELMo's biLM, from files to a saved folder, and going on on a target's text.

The token stores name every word of the text (the million most frequent, where there are more), so that words outside of
the output vocabulary are read by their spelling too; the model's own vocabulary is the beginning of theirs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from unfreeze.encoders.elmo import Elmo
from unfreeze.encoders.layers.word_softmax import SoftmaxKind
from unfreeze.errors import UserError
from unfreeze.language_models.bilm import BiLanguageModel
from unfreeze.pretraining.bilm_objective import BilmObjective
from unfreeze.pretraining.stage import Recipe, Stage
from unfreeze.pretraining.unlabeled import Corpus
from unfreeze.pretraining.vocabulary_transfer import transfer_output_words
from unfreeze.progress import SILENT, Progress
from unfreeze.text.cased_words import CasedTokenizer, train_cased_tokenizer
from unfreeze.text.token_store import TokenStore
from unfreeze.text.tokenizers import TextTokenizer
from unfreeze.text.words import word_texts
from unfreeze.training.loop_settings import LoopSettings
from unfreeze.training.precision import Precision
from unfreeze.training.processes import together
from unfreeze.transfer.policies import TransferPolicy

MOST_SURFACES = 1 << 20
"""Different words that are read by their spelling in training; rarer ones share one."""

SNIPPET = """
from unfreeze.encoders.base import Encoder

encoder = Encoder.from_pretrained(".")  # this folder
layers, mask = encoder.word_layers(encoder.prepare(["he sat on the bank of the river"]))
print([tuple(layer.shape) for layer in layers])
"""


def _small_spelling() -> dict[str, Any]:
    filters = [[1, 16], [2, 32], [3, 64], [4, 128], [5, 128], [6, 144]]
    return {"embedding": 16, "filters": filters, "n_highway": 1}


@dataclass(frozen=True, kw_only=True)
class BilmSettings:
    """A biLM and how it learns."""

    policy: TransferPolicy
    """Rates and schedule."""
    loop: LoopSettings
    """How long, and with what optimizer."""
    batch_size: int = 128
    """Lanes over all processes, in each direction."""
    bptt: int = 20
    """Steps of a batch."""
    size: int = 512
    """P, of a word's vector and of each direction's states."""
    cells: int = 4096
    """H."""
    n_layers: int = 2
    """LSTM layers a direction."""
    spelling: dict[str, Any] | None = field(default_factory=dict)
    """Arguments of `CharCnnSettings`; None reads words by their ids."""
    skip_connections: bool = True
    """Layers above the first add their input to their output."""
    dropout: float = 0.1
    """Of what each layer and the output read."""
    softmax: SoftmaxKind = "sampled"
    """Output layer: sampled, adaptive or full."""
    n_samples: int = 8192
    """Words that a target is compared with in training, where the softmax is sampled."""
    vocabulary_size: int = 200_000
    """Entries of the output at most."""
    min_count: int = 3
    """Rarer words are unknown to the output."""


def _settings(rate: float, **changes: Any) -> BilmSettings:
    loop = LoopSettings(epochs=1)
    return BilmSettings(
        policy=TransferPolicy(mode="scratch", rate=rate, schedule="cosine"), loop=loop, **changes
    )


def tiny() -> BilmSettings:
    """Seconds on a CPU: for tests and to look around."""
    spelling = {"embedding": 8, "filters": [[1, 16], [2, 16], [3, 32]], "n_highway": 1}
    sizes = {"size": 32, "cells": 64, "n_layers": 2, "spelling": spelling, "vocabulary_size": 10_000}
    return _settings(1e-2, softmax="adaptive", batch_size=16, dropout=0.0, **sizes)


def small() -> BilmSettings:
    """Sizes at which an hour on two cores still learns."""
    sizes = {"size": 256, "cells": 768, "spelling": _small_spelling(), "vocabulary_size": 40_000}
    return _settings(3e-3, softmax="adaptive", batch_size=64, dropout=0.0, **sizes)


def paper() -> BilmSettings:
    """The published model's sizes and recipe; meant for GPUs."""
    loop = LoopSettings(epochs=10, optimizer="adagrad", clip=10.0)
    policy = TransferPolicy(mode="scratch", rate=0.2, schedule="constant")
    return BilmSettings(policy=policy, loop=loop, vocabulary_size=800_000)


PRESETS = {"tiny": tiny, "small": small, "paper": paper}


@dataclass(frozen=True, kw_only=True)
class AdaptBilmSettings:
    """Going on on the target's text."""

    policy: TransferPolicy = field(
        default_factory=lambda: TransferPolicy(mode="fine-tune", rate=1e-3, gradual=False, schedule="slanted")
    )
    """Rates and schedule."""
    loop: LoopSettings = field(default_factory=lambda: LoopSettings(epochs=1))
    """How long, and with what optimizer."""
    batch_size: int = 64
    """Lanes over all processes, in each direction."""
    bptt: int = 20
    """Steps of a batch."""
    new_vocabulary: bool = True
    """Take the target's words as the output's; else keep the model's."""
    vocabulary_size: int | None = None
    """At most; as many as the model has by default."""
    min_count: int = 3
    """Rarer words are unknown to the output."""


def pretrain_bilm(
    corpus: Corpus,
    output: str | Path,
    settings: BilmSettings,
    *,
    precision: Precision = "auto",
    without_output: bool = False,
    overwrite: bool = False,
    command: str = "",
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """A biLM from unlabeled text. Run again after a kill, it goes on.

    Args:
        without_output: save the encoder alone.
        overwrite: replace a model of another run, once this one is complete.
        command: how this was called, for the model card.

    Returns:
        The held-out figures, as in metrics.json.

    Raises:
        UserError: the corpus or the output cannot be used.
        Interrupted: Ctrl-C, after a checkpoint.
    """
    with together():
        asked = {"stage": "pretrain elmo", **corpus.identity(), **asdict(settings)}

    def make_tokenizer() -> TextTokenizer:
        return _surfaces(corpus, progress)

    def make_model(tokenizer: TextTokenizer) -> BiLanguageModel:
        assert isinstance(tokenizer, CasedTokenizer)
        encoder = Elmo(
            _vocabulary(tokenizer, settings.vocabulary_size, settings.min_count),
            size=settings.size,
            cells=settings.cells,
            n_layers=settings.n_layers,
            spelling=settings.spelling,
            skip_connections=settings.skip_connections,
            dropout=settings.dropout,
        )
        return BiLanguageModel(encoder, settings.softmax, settings.n_samples)

    stage = Stage(corpus, Path(output), asked, settings.policy, settings.loop, precision, overwrite, progress)
    make_objective = _objective_maker(stage.folder.folder, settings)
    recipe = Recipe(make_tokenizer, make_model, make_objective, "ELMo", SNIPPET)
    return stage.run(recipe, command=command, without_output=without_output)


def adapt_bilm(
    source: str | Path,
    corpus: Corpus,
    output: str | Path,
    settings: AdaptBilmSettings,
    *,
    precision: Precision = "auto",
    without_output: bool = False,
    overwrite: bool = False,
    command: str = "",
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Go on on the target's text, whose words the output takes over. Run again after a kill, it goes on.

    Args:
        source: folder or name of a biLM with its output layer.

    Returns, Raises:
        as `pretrain_bilm`.
    """
    with together():
        before = BiLanguageModel.from_pretrained(source)
        asked = {"stage": "adapt elmo", "source": str(source), **corpus.identity(), **asdict(settings)}

    def make_tokenizer() -> TextTokenizer:
        found = _surfaces(corpus, progress)
        return found if settings.new_vocabulary else before.tokenizer.with_words(found.vocabulary)

    def make_model(tokenizer: TextTokenizer) -> BiLanguageModel:
        if not settings.new_vocabulary:
            return before
        assert isinstance(tokenizer, CasedTokenizer)
        size = settings.vocabulary_size or len(before.tokenizer)
        return transfer_output_words(before, _vocabulary(tokenizer, size, settings.min_count))

    stage = Stage(corpus, Path(output), asked, settings.policy, settings.loop, precision, overwrite, progress)
    make_objective = _objective_maker(stage.folder.folder, settings)
    recipe = Recipe(make_tokenizer, make_model, make_objective, f"ELMo, adapted from {source}", SNIPPET)
    return stage.run(recipe, command=command, without_output=without_output)


def _surfaces(corpus: Corpus, progress: Progress) -> CasedTokenizer:
    """Every word of the corpus, and of the held-out text, which is read by its spelling but never counted."""
    counted = train_cased_tokenizer(corpus.training_documents(), size=MOST_SURFACES, progress=progress)
    return counted.with_words(word for text in corpus.held_out_documents() for word in word_texts(text))


def _vocabulary(surfaces: CasedTokenizer, size: int, min_count: int) -> CasedTokenizer:
    """The output's words: the first of all words, as far as they are frequent enough."""
    counts = surfaces.counts
    assert counts is not None
    special = len(surfaces.special_ids)
    n_frequent = special + sum(count >= min_count for count in counts[special:])
    if n_frequent == special:
        raise UserError(
            f"no word of the corpus occurs {min_count} times: give more text or lower --min-count"
        )
    return surfaces.first(min(size, n_frequent))


def _objective_maker(
    folder: Path, settings: BilmSettings | AdaptBilmSettings
) -> Callable[[BiLanguageModel, TokenStore, TokenStore | None, Accelerator], BilmObjective]:
    def make(
        model: BiLanguageModel, store: TokenStore, held_out: TokenStore | None, accelerator: Accelerator
    ) -> BilmObjective:
        tokenizer = TextTokenizer.load(folder)
        assert isinstance(tokenizer, CasedTokenizer)
        return BilmObjective(
            model,
            tokenizer,
            store,
            held_out,
            batch_size=settings.batch_size,
            bptt=settings.bptt,
            seed=settings.loop.seed,
            rank=accelerator.process_index,
            world_size=accelerator.num_processes,
        )

    return make
