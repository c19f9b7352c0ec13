"""Pre-training ELMo's biLM, from files to a saved folder, and going on on a target's text.

The token stores name every word of the text (the million most frequent, where there are more), so that words outside of
the output vocabulary are read by their spelling too; the model's own vocabulary is the beginning of theirs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from unfreeze.encoders.elmo import Elmo
from unfreeze.errors import UserError
from unfreeze.language_models.bilm import BiLanguageModel
from unfreeze.pretraining.bilm_objective import BilmObjective
from unfreeze.pretraining.elmo_settings import AdaptElmoSettings, ElmoSettings
from unfreeze.pretraining.stage import Recipe, Stage
from unfreeze.pretraining.unlabeled import Corpus
from unfreeze.pretraining.vocabulary_transfer import transfer_output_words
from unfreeze.progress import SILENT, Progress
from unfreeze.text.cased_words import CasedTokenizer, train_cased_tokenizer
from unfreeze.text.token_store import TokenStore
from unfreeze.text.tokenizer_files import load_tokenizer
from unfreeze.text.tokenizers import TextTokenizer
from unfreeze.text.words import word_texts
from unfreeze.training.precision import Precision
from unfreeze.training.processes import together

MOST_SURFACES = 1 << 20
"""Different words that are read by their spelling in training; rarer ones share one."""

SNIPPET = """
from unfreeze.encoders.base import Encoder

encoder = Encoder.from_pretrained(".")  # this folder
layers, mask = encoder.word_layers(encoder.prepare(["he sat on the bank of the river"]))
print([tuple(layer.shape) for layer in layers])
"""


def pretrain_bilm(
    corpus: Corpus,
    output: str | Path,
    settings: ElmoSettings,
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
            size=settings.projection_size,
            cells=settings.hidden_size,
            n_layers=settings.n_layers,
            spelling=settings.char_cnn,
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
    settings: AdaptElmoSettings,
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
    folder: Path, settings: ElmoSettings | AdaptElmoSettings
) -> Callable[[BiLanguageModel, TokenStore, TokenStore | None, Accelerator], BilmObjective]:
    def make(
        model: BiLanguageModel, store: TokenStore, held_out: TokenStore | None, accelerator: Accelerator
    ) -> BilmObjective:
        tokenizer = load_tokenizer(folder)
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
