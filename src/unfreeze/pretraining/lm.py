"""The first two stages of ULMFiT, from files to a saved folder: `pretrain` on any text, `adapt` on the target's."""

from __future__ import annotations

import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from unfreeze.encoders.awd_lstm import AwdLstm
from unfreeze.encoders.base import Encoder
from unfreeze.encoders.layers.output import default_cutoffs
from unfreeze.encoders.layers.recurrent import Dropouts
from unfreeze.encoders.vector_source import open_vectors
from unfreeze.errors import UserError, setting
from unfreeze.language_models.awd_lstm import AwdLstmLanguageModel
from unfreeze.pretraining.lm_objective import LanguageModelObjective
from unfreeze.pretraining.settings import AdaptSettings, PretrainSettings, TrainingSettings
from unfreeze.pretraining.unlabeled import Corpus, finish_language_model, prepare_text
from unfreeze.pretraining.vocabulary_transfer import start_from_vectors, transfer_vocabulary
from unfreeze.progress import SILENT, Progress
from unfreeze.runs import Run
from unfreeze.text.token_store import TokenStore
from unfreeze.text.tokenizers import TextTokenizer, train_tokenizer
from unfreeze.training.loop import seed_everything
from unfreeze.training.precision import Precision
from unfreeze.training.processes import together

logger = logging.getLogger(__name__)


def pretrain_lm(
    corpus: Corpus,
    settings: PretrainSettings,
    *,
    output: str | Path,
    word_vectors: str | Path | None = None,
    without_output: bool = False,
    precision: Precision = "auto",
    overwrite: bool = False,
    command: str = "",
    progress: Progress = SILENT,
) -> tuple[AwdLstmLanguageModel | Encoder, dict[str, Any]]:
    """Stage 1: a language model from unlabeled text. Call it again after a kill to resume.

    Args:
        output: folder to write the model to.
        word_vectors: a file or folder of vectors as wide as the embedding, to start the embedding from.
        without_output: save, and return, the encoder alone.
        precision: number format of the training; "auto" is bf16 where the processor is fast in it.
        overwrite: replace a model of another run, once this one is complete.
        command: how this was called, for the model card.

    Returns:
        The model, and its held-out metrics as in metrics.json.

    Raises:
        UserError: the corpus, the vectors or the output cannot be used.
        Interrupted: Ctrl-C, after a checkpoint.
    """
    training = settings.training

    def identity() -> dict[str, Any]:
        return {
            "stage": "pretrain lm",
            **corpus.identity(),
            **asdict(settings),
            "softmax": settings.output_softmax,
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

    with Run(output, identity, precision=precision, overwrite=overwrite, progress=progress) as run:
        if run.done:
            load = Encoder.from_pretrained if without_output else AwdLstmLanguageModel.from_pretrained
            return load(run.output), run.metrics
        accelerator = run.accelerator
        tokenizer, store, held_out = prepare_text(run, corpus, make_tokenizer)
        with together():
            seed_everything(training.loop.seed)
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
                _start(model, word_vectors, settings.embedding_size)
            objective = make_objective(model, store, held_out, training, accelerator)
        records = run.train(objective, training.policy, training.loop, "language model")
        metrics = finish_language_model(
            run, model, records, corpus, store, "Language model", without_output, command
        )
        return model.encoder if without_output else model, metrics


def adapt_lm(
    source: str | Path,
    corpus: Corpus,
    settings: AdaptSettings,
    *,
    output: str | Path,
    without_output: bool = False,
    precision: Precision = "auto",
    overwrite: bool = False,
    command: str = "",
    progress: Progress = SILENT,
) -> tuple[AwdLstmLanguageModel | Encoder, dict[str, Any]]:
    """Stage 2: continue training on the target's text, with its vocabulary. Call it again after a kill to resume.

    Args:
        source: folder or name of a language model with its output layer.

    Returns, Raises:
        as `pretrain_lm`.
    """
    training = settings.training
    with together():
        before = AwdLstmLanguageModel.from_pretrained(source)
    takes_words = settings.new_vocabulary and before.tokenizer.is_word_level

    def identity() -> dict[str, Any]:
        return {"stage": "adapt", "source": str(source), **corpus.identity(), **asdict(settings)}

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

    with Run(output, identity, precision=precision, overwrite=overwrite, progress=progress) as run:
        if run.done:
            load = Encoder.from_pretrained if without_output else AwdLstmLanguageModel.from_pretrained
            return load(run.output), run.metrics
        accelerator = run.accelerator
        tokenizer, store, held_out = prepare_text(run, corpus, make_tokenizer)
        with together():
            seed_everything(training.loop.seed)
            model = transfer_vocabulary(before, tokenizer) if takes_words else before
            objective = make_objective(model, store, held_out, training, accelerator)
        records = run.train(objective, training.policy, training.loop, "language model")
        title = f"Language model, adapted from {source}"
        metrics = finish_language_model(run, model, records, corpus, store, title, without_output, command)
        return model.encoder if without_output else model, metrics


def _start(model: AwdLstmLanguageModel, word_vectors: str | Path, width: int) -> None:
    vectors = open_vectors(word_vectors)
    if vectors.matrix.shape[1] != width:
        raise UserError(
            f"{word_vectors} has vectors of {vectors.matrix.shape[1]} numbers, the embedding has {width}: "
            f"use {setting('embedding_size', vectors.matrix.shape[1])}"
        )
    matrix, found = vectors.matrix_for(model.tokenizer.vocabulary)
    logger.info("%d of %d words start from %s", int(found.sum()), len(found), word_vectors)
    start_from_vectors(model, torch.from_numpy(matrix))


def make_objective(
    model: AwdLstmLanguageModel,
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
