"""Pre-training ELMo's biLM, from files to a saved folder, and continuing it on a target's text.

The token stores have ids for every word of the text (or the million most frequent ones), so that words outside the output
vocabulary are still read by their characters; the model's vocabulary is the beginning of that of the stores.
"""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from unfreeze.encoders.base import Encoder
from unfreeze.encoders.elmo import Elmo
from unfreeze.errors import UserError, setting
from unfreeze.language_models.bilm import BiLanguageModel
from unfreeze.pretraining.bilm_objective import BilmObjective
from unfreeze.pretraining.elmo_settings import AdaptElmoSettings, ElmoSettings
from unfreeze.pretraining.unlabeled import Corpus, RunOptions, train_language_model
from unfreeze.pretraining.vocabulary_transfer import transfer_output_words
from unfreeze.progress import Progress
from unfreeze.text.cased_words import CasedTokenizer, train_cased_tokenizer
from unfreeze.text.token_store import TokenStore
from unfreeze.text.tokenizer_files import load_tokenizer
from unfreeze.text.tokenizers import COUNTS, TOKENIZER, TextTokenizer
from unfreeze.text.words import word_texts
from unfreeze.training.memory_check import within_memory
from unfreeze.training.processes import together

if TYPE_CHECKING:
    from accelerate import Accelerator

MAX_WORDS = 1 << 20
"""Number of distinct words that are read by their characters in training; rarer ones share one id."""


def pretrain_elmo(
    corpus: Corpus, settings: ElmoSettings, **options: Unpack[RunOptions]
) -> tuple[BiLanguageModel | Encoder, dict[str, Any]]:
    """Train a biLM on unlabeled text. Call it again after an interruption to resume.

    Args:
        options: `output` (required), `without_output`, `precision`, `overwrite`, `command` and `progress`, as in `RunOptions`.

    Returns:
        The model (without its output layer, its encoder), and its held-out metrics as in metrics.json.

    Raises:
        UserError: the corpus or the output cannot be used.
        Interrupted: Ctrl-C, after a checkpoint.
    """

    def identity() -> dict[str, Any]:
        return {"stage": "pretrain elmo", **corpus.identity(), **asdict(settings)}

    @within_memory(settings)
    def make_model(tokenizer: TextTokenizer) -> BiLanguageModel:
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

    return train_language_model(
        BiLanguageModel,
        corpus,
        settings,
        identity=identity,
        make_tokenizer=lambda progress: _all_words(corpus, progress),
        make_model=make_model,
        make_objective=partial(_objective, settings),
        title="ELMo",
        load=_load_words,
        **options,
    )


def adapt_elmo(
    source: str | Path, corpus: Corpus, settings: AdaptElmoSettings, **options: Unpack[RunOptions]
) -> tuple[BiLanguageModel | Encoder, dict[str, Any]]:
    """Continue training on the target's text, whose words the output takes over. Call it again after an interruption to resume.

    Args:
        source: folder or name of a biLM with its output layer.

    Other arguments, Returns, Raises:
        As in `pretrain_elmo`.
    """
    with together():
        before = BiLanguageModel.from_pretrained(source)

    def identity() -> dict[str, Any]:
        return {"stage": "adapt elmo", "source": str(source), **corpus.identity(), **asdict(settings)}

    def make_tokenizer(progress: Progress) -> TextTokenizer:
        words = _all_words(corpus, progress)
        return words if settings.new_vocabulary else before.tokenizer.with_words(words.vocabulary)

    def make_model(tokenizer: TextTokenizer) -> BiLanguageModel:
        if not settings.new_vocabulary:
            return before
        size = settings.vocabulary_size or len(before.tokenizer)
        return transfer_output_words(before, _vocabulary(tokenizer, size, settings.min_count))

    return train_language_model(
        BiLanguageModel,
        corpus,
        settings,
        identity=identity,
        make_tokenizer=make_tokenizer,
        make_model=make_model,
        make_objective=partial(_objective, settings),
        title=f"ELMo, adapted from {source}",
        load=_load_words if settings.new_vocabulary else load_tokenizer,
        **options,
    )


def _all_words(corpus: Corpus, progress: Progress) -> CasedTokenizer:
    """All words of the corpus and of the held-out text; the latter are read by their characters but not counted."""
    counted = train_cased_tokenizer(corpus.training_documents(), size=MAX_WORDS, progress=progress)
    return counted.with_words(word for text in corpus.held_out_documents() for word in word_texts(text))


def _load_words(folder: Path) -> TextTokenizer:
    """The words of a run that was begun before, whose counts choose the output vocabulary."""
    words = load_tokenizer(folder)
    if not isinstance(words, CasedTokenizer) or words.counts is None:
        raise UserError(f"{folder / COUNTS} is missing or does not belong to {TOKENIZER}")
    return words


def _vocabulary(words: TextTokenizer, size: int, min_count: int) -> CasedTokenizer:
    """The words of the output layer: the `size` most frequent words that occur `min_count` times."""
    counts = words.counts
    assert isinstance(words, CasedTokenizer) and counts is not None
    special = len(words.special_ids)
    n_frequent = special + sum(count >= min_count for count in counts[special:])
    if n_frequent == special:
        raise UserError(
            f"no word of the corpus occurs {min_count} times: give more text or lower {setting('min_count')}"
        )
    return words.first(min(size, n_frequent))


def _objective(
    settings: ElmoSettings | AdaptElmoSettings,
    model: BiLanguageModel,
    words: TextTokenizer,
    store: TokenStore,
    held_out: TokenStore | None,
    accelerator: Accelerator,
) -> BilmObjective:
    assert isinstance(words, CasedTokenizer)
    return BilmObjective(
        model,
        words,
        store,
        held_out,
        batch_size=settings.batch_size,
        bptt=settings.bptt,
        seed=settings.loop.seed,
        rank=accelerator.process_index,
        world_size=accelerator.num_processes,
    )
