"""Pre-training ELMo's biLM, from files to a saved folder, and continuing it on a target's text.

The token stores number every word of the text (or the million most frequent), so that words outside of the output
vocabulary are still read by their characters; the model's own vocabulary is the beginning of theirs.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from unfreeze.encoders.base import Encoder
from unfreeze.encoders.elmo import Elmo
from unfreeze.errors import UserError, setting
from unfreeze.language_models.bilm import BiLanguageModel
from unfreeze.pretraining.bilm_objective import BilmObjective
from unfreeze.pretraining.elmo_settings import AdaptElmoSettings, ElmoSettings
from unfreeze.pretraining.unlabeled import Corpus, finish_language_model, prepare_text
from unfreeze.pretraining.vocabulary_transfer import transfer_output_words
from unfreeze.progress import SILENT, Progress
from unfreeze.runs import Run
from unfreeze.text.cased_words import CasedTokenizer, train_cased_tokenizer
from unfreeze.text.token_store import TokenStore
from unfreeze.text.tokenizers import TextTokenizer
from unfreeze.text.words import word_texts
from unfreeze.training.loop import seed_everything
from unfreeze.training.precision import Precision
from unfreeze.training.processes import together

MOST_WORDS = 1 << 20
"""Different words that are read by their characters in training; rarer ones share one id."""


def pretrain_elmo(
    corpus: Corpus,
    settings: ElmoSettings,
    *,
    output: str | Path,
    without_output: bool = False,
    precision: Precision = "auto",
    overwrite: bool = False,
    command: str = "",
    progress: Progress = SILENT,
) -> tuple[BiLanguageModel | Encoder, dict[str, Any]]:
    """A biLM from unlabeled text. Call it again after a kill to resume.

    Args:
        output: folder to write the model to.
        without_output: save, and return, the encoder alone.
        precision: number format of the training; "auto" is bf16 where the processor is fast in it.
        overwrite: replace a model of another run, once this one is complete.
        command: how this was called, for the model card.

    Returns:
        The model, and its held-out metrics as in metrics.json.

    Raises:
        UserError: the corpus or the output cannot be used.
        Interrupted: Ctrl-C, after a checkpoint.
    """

    def identity() -> dict[str, Any]:
        return {"stage": "pretrain elmo", **corpus.identity(), **asdict(settings)}

    def make_tokenizer() -> TextTokenizer:
        return _all_words(corpus, progress)

    with Run(output, identity, precision=precision, overwrite=overwrite, progress=progress) as run:
        if run.done:
            load = Encoder.from_pretrained if without_output else BiLanguageModel.from_pretrained
            return load(run.output), run.metrics
        accelerator = run.accelerator
        words, store, held_out = prepare_text(run, corpus, make_tokenizer)
        assert isinstance(words, CasedTokenizer)
        with together():
            seed_everything(settings.loop.seed)
            encoder = Elmo(
                _vocabulary(words, settings.vocabulary_size, settings.min_count),
                size=settings.projection_size,
                cells=settings.hidden_size,
                n_layers=settings.n_layers,
                spelling=settings.char_cnn,
                skip_connections=settings.skip_connections,
                dropout=settings.dropout,
            )
            model = BiLanguageModel(encoder, settings.softmax, settings.n_samples)
            objective = _objective(model, words, store, held_out, settings, accelerator)
        records = run.train(objective, settings.policy, settings.loop, "language model")
        metrics = finish_language_model(run, model, records, corpus, store, "ELMo", without_output, command)
        return model.encoder if without_output else model, metrics


def adapt_elmo(
    source: str | Path,
    corpus: Corpus,
    settings: AdaptElmoSettings,
    *,
    output: str | Path,
    without_output: bool = False,
    precision: Precision = "auto",
    overwrite: bool = False,
    command: str = "",
    progress: Progress = SILENT,
) -> tuple[BiLanguageModel | Encoder, dict[str, Any]]:
    """Continue training on the target's text, whose words the output takes over. Call it again after a kill to resume.

    Args:
        source: folder or name of a biLM with its output layer.

    Returns, Raises:
        as `pretrain_elmo`.
    """
    with together():
        before = BiLanguageModel.from_pretrained(source)

    def identity() -> dict[str, Any]:
        return {"stage": "adapt elmo", "source": str(source), **corpus.identity(), **asdict(settings)}

    def make_tokenizer() -> TextTokenizer:
        words = _all_words(corpus, progress)
        return words if settings.new_vocabulary else before.tokenizer.with_words(words.vocabulary)

    with Run(output, identity, precision=precision, overwrite=overwrite, progress=progress) as run:
        if run.done:
            load = Encoder.from_pretrained if without_output else BiLanguageModel.from_pretrained
            return load(run.output), run.metrics
        accelerator = run.accelerator
        words, store, held_out = prepare_text(run, corpus, make_tokenizer)
        assert isinstance(words, CasedTokenizer)
        with together():
            seed_everything(settings.loop.seed)
            model = before
            if settings.new_vocabulary:
                size = settings.vocabulary_size or len(before.tokenizer)
                model = transfer_output_words(before, _vocabulary(words, size, settings.min_count))
            objective = _objective(model, words, store, held_out, settings, accelerator)
        records = run.train(objective, settings.policy, settings.loop, "language model")
        title = f"ELMo, adapted from {source}"
        metrics = finish_language_model(run, model, records, corpus, store, title, without_output, command)
        return model.encoder if without_output else model, metrics


def _all_words(corpus: Corpus, progress: Progress) -> CasedTokenizer:
    """Every word of the corpus, and those of the held-out text, which are read by their characters but never counted."""
    counted = train_cased_tokenizer(corpus.training_documents(), size=MOST_WORDS, progress=progress)
    return counted.with_words(word for text in corpus.held_out_documents() for word in word_texts(text))


def _vocabulary(words: CasedTokenizer, size: int, min_count: int) -> CasedTokenizer:
    """The words of the output: the most frequent of all words, as far as they are frequent enough."""
    counts = words.counts
    assert counts is not None
    special = len(words.special_ids)
    n_frequent = special + sum(count >= min_count for count in counts[special:])
    if n_frequent == special:
        raise UserError(
            f"no word of the corpus occurs {min_count} times: give more text or lower {setting('min_count')}"
        )
    return words.first(min(size, n_frequent))


def _objective(
    model: BiLanguageModel,
    words: CasedTokenizer,
    store: TokenStore,
    held_out: TokenStore | None,
    settings: ElmoSettings | AdaptElmoSettings,
    accelerator: Accelerator,
) -> BilmObjective:
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
