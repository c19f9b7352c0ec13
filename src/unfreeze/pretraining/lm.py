"""The first two stages of ULMFiT, from files to a saved folder: `pretrain` on any text, `adapt` on the target's."""

from __future__ import annotations

import logging
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import torch

from unfreeze.encoders.awd_lstm import AwdLstm
from unfreeze.encoders.base import Encoder
from unfreeze.encoders.layers.output import default_cutoffs
from unfreeze.encoders.layers.recurrent import Dropouts
from unfreeze.encoders.vector_source import need_vectors, open_vectors
from unfreeze.errors import UserError, setting
from unfreeze.language_models.awd_lstm import AwdLstmLanguageModel
from unfreeze.pretraining.lm_objective import LanguageModelObjective
from unfreeze.pretraining.settings import AdaptSettings, PretrainSettings, TrainingSettings
from unfreeze.pretraining.unlabeled import Corpus, RunOptions, train_language_model
from unfreeze.pretraining.vocabulary_transfer import transfer_vocabulary
from unfreeze.progress import Progress
from unfreeze.text.token_store import TokenStore
from unfreeze.text.tokenizers import TextTokenizer, train_tokenizer
from unfreeze.training.memory_check import within_memory
from unfreeze.training.processes import together

if TYPE_CHECKING:
    from accelerate import Accelerator

logger = logging.getLogger(__name__)


def pretrain_lm(
    corpus: Corpus,
    settings: PretrainSettings,
    *,
    word_vectors: str | Path | None = None,
    **options: Unpack[RunOptions],
) -> tuple[AwdLstmLanguageModel | Encoder, dict[str, Any]]:
    """Stage 1: train a language model on unlabeled text. Call it again after an interruption to resume.

    Args:
        word_vectors: a file or folder of vectors as wide as the embedding, to start the embedding from.
        options: `output` (required), `without_output`, `precision`, `overwrite`, `command` and `progress`, as in `RunOptions`.

    Returns:
        The model (without its output layer, its encoder), and its held-out metrics as in metrics.json.

    Raises:
        UserError: the corpus, the vectors or the output cannot be used.
        Interrupted: Ctrl-C, after a checkpoint.
    """

    def identity() -> dict[str, Any]:
        if word_vectors is not None:
            need_vectors(word_vectors)  # before the text is read
        return {
            "stage": "pretrain lm",
            **corpus.identity(),
            **asdict(settings),
            "softmax": settings.output_softmax,
            "word_vectors": str(word_vectors),
        }

    def make_tokenizer(progress: Progress) -> TextTokenizer:
        return train_tokenizer(
            corpus.training_documents(),
            kind=settings.tokenizer,
            vocabulary_size=settings.vocabulary_size,
            min_count=settings.min_count,
            progress=progress,
        )

    @within_memory(settings)
    def make_model(tokenizer: TextTokenizer) -> AwdLstmLanguageModel:
        encoder = AwdLstm(
            tokenizer,
            embedding_size=settings.embedding_size,
            hidden_size=settings.hidden_size,
            n_layers=settings.n_layers,
            direction=settings.direction,
            share_embedding=settings.share_embedding,
            cell=settings.cell,
            windows=settings.windows,
            zoneout=settings.zoneout,
        )
        cutoffs = default_cutoffs(len(tokenizer)) if settings.output_softmax == "adaptive" else ()
        model = AwdLstmLanguageModel(encoder, cutoffs)
        if word_vectors is not None:
            _start_from_vectors(model, word_vectors, settings.embedding_size)
        return model

    return train_language_model(
        AwdLstmLanguageModel,
        corpus,
        settings.training,
        identity=identity,
        make_tokenizer=make_tokenizer,
        make_model=make_model,
        make_objective=partial(make_objective, settings.training),
        title="Language model",
        **options,
    )


def adapt_lm(
    source: str | Path, corpus: Corpus, settings: AdaptSettings, **options: Unpack[RunOptions]
) -> tuple[AwdLstmLanguageModel | Encoder, dict[str, Any]]:
    """Stage 2: continue training on the target's text, with its vocabulary. Call it again after an interruption to resume.

    Args:
        source: folder or name of a language model with its output layer.

    Other arguments, Returns, Raises:
        As in `pretrain_lm`.
    """
    with together():
        before = AwdLstmLanguageModel.from_pretrained(source)
    takes_words = settings.new_vocabulary and before.tokenizer.is_word_level

    def identity() -> dict[str, Any]:
        return {"stage": "adapt", "source": str(source), **corpus.identity(), **asdict(settings)}

    def make_tokenizer(progress: Progress) -> TextTokenizer:
        if not takes_words:
            return before.tokenizer
        return train_tokenizer(
            corpus.training_documents(),
            kind="word",
            vocabulary_size=settings.vocabulary_size or len(before.tokenizer),
            min_count=settings.min_count,
            progress=progress,
        )

    return train_language_model(
        AwdLstmLanguageModel,
        corpus,
        settings.training,
        identity=identity,
        make_tokenizer=make_tokenizer,
        make_model=lambda tokenizer: transfer_vocabulary(before, tokenizer) if takes_words else before,
        make_objective=partial(make_objective, settings.training),
        title=f"Language model, adapted from {source}",
        **options,
    )


def _start_from_vectors(model: AwdLstmLanguageModel, word_vectors: str | Path, width: int) -> None:
    """Start the embedding, and with it the tied output layer, from word vectors.

    Norms of word vectors differ from run to run, and a tied softmax needs rows of a known, small scale: the whole matrix is
    divided by one number, which preserves the angles between words.
    """
    vectors = open_vectors(word_vectors)
    if vectors.matrix.shape[1] != width:
        raise UserError(
            f"{word_vectors} has vectors of {vectors.matrix.shape[1]} numbers, the embedding has {width}: "
            f"use {setting('embedding_size', vectors.matrix.shape[1])}"
        )
    matrix, found = vectors.matrix_for(model.tokenizer.vocabulary)
    logger.info("%d of %d words start from %s", int(found.sum()), len(found), word_vectors)
    rows = torch.from_numpy(matrix)  # (V, E)
    model.encoder.start_embedding(rows * (0.1 / rows.std().clamp_min(1e-8)), range(len(rows)))


def make_objective(
    training: TrainingSettings,
    model: AwdLstmLanguageModel,
    tokenizer: TextTokenizer,
    store: TokenStore,
    held_out: TokenStore | None,
    accelerator: Accelerator,
) -> LanguageModelObjective:
    """The objective of this process: its lanes of the store, with the dropouts of the settings."""
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
