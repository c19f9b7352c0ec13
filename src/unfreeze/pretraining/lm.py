"""The first two stages of ULMFiT, from files to a saved folder: `pretrain` on any text, `adapt` on the target's.

What both have in common with the other trainings stands in stage.py.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from unfreeze.encoders.awd_lstm import AwdLstm
from unfreeze.encoders.layers.output import default_cutoffs
from unfreeze.encoders.layers.recurrent import Dropouts
from unfreeze.encoders.vector_source import open_vectors
from unfreeze.errors import UserError
from unfreeze.language_models.awd_lstm import AwdLstmLanguageModel, start_from_vectors
from unfreeze.pretraining.lm_objective import LanguageModelObjective
from unfreeze.pretraining.settings import AdaptSettings, PretrainSettings, TrainingSettings
from unfreeze.pretraining.stage import Recipe, Stage
from unfreeze.pretraining.unlabeled import Corpus
from unfreeze.pretraining.vocabulary_transfer import transfer_vocabulary
from unfreeze.progress import SILENT, Progress
from unfreeze.text.token_store import TokenStore
from unfreeze.text.tokenizers import TextTokenizer, train_tokenizer
from unfreeze.training.precision import Precision
from unfreeze.training.processes import together

logger = logging.getLogger(__name__)

SNIPPET = """
from unfreeze.language_models.awd_lstm import AwdLstmLanguageModel

model = AwdLstmLanguageModel.from_pretrained(".")  # this folder
layers, mask = model.encoder.layers(model.encoder.prepare(["he sat on the bank of the river"]))
print([tuple(layer.shape) for layer in layers])
"""


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
            **_identity(settings),
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
        model = AwdLstmLanguageModel(
            encoder, default_cutoffs(len(tokenizer)) if settings.output_softmax == "adaptive" else ()
        )
        if word_vectors is not None:
            _start(model, word_vectors, settings.embedding_size)
        return model

    recipe = Recipe(
        make_tokenizer, make_model, _objective_maker(settings.training), "Language model", SNIPPET
    )
    training = settings.training
    stage = Stage(corpus, Path(output), asked, training.policy, training.loop, precision, overwrite, progress)
    return stage.run(recipe, command=command, without_output=without_output)


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
        before = AwdLstmLanguageModel.from_pretrained(source)
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

    def make_model(tokenizer: TextTokenizer) -> AwdLstmLanguageModel:
        return transfer_vocabulary(before, tokenizer) if takes_words else before

    title = f"Language model, adapted from {source}"
    recipe = Recipe(make_tokenizer, make_model, _objective_maker(settings.training), title, SNIPPET)
    training = settings.training
    stage = Stage(corpus, Path(output), asked, training.policy, training.loop, precision, overwrite, progress)
    return stage.run(recipe, command=command, without_output=without_output)


def _identity(settings: PretrainSettings) -> dict[str, Any]:
    """What tells these settings from others; those of QRNNs only where there are any, for runs from before know none."""
    found = {**asdict(settings), "softmax": settings.output_softmax}
    if settings.cell == "lstm":
        del found["cell"], found["windows"], found["zoneout"]
    return found


def _start(model: AwdLstmLanguageModel, word_vectors: str | Path, width: int) -> None:
    vectors = open_vectors(word_vectors)
    if vectors.matrix.shape[1] != width:
        raise UserError(
            f"{word_vectors} has vectors of {vectors.matrix.shape[1]} numbers, the embedding has {width}: "
            f"take --embedding-size {vectors.matrix.shape[1]}"
        )
    matrix, found = vectors.matrix_for(model.tokenizer.vocabulary)
    logger.info("%d of %d words start from %s", int(found.sum()), len(found), word_vectors)
    start_from_vectors(model, torch.from_numpy(matrix))


def _objective_maker(
    training: TrainingSettings,
) -> Callable[[AwdLstmLanguageModel, TokenStore, TokenStore | None, Accelerator], LanguageModelObjective]:
    return lambda model, store, held_out, accelerator: make_objective(
        model, store, held_out, training, accelerator
    )


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
