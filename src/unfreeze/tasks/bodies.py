"""The encoder that a classifier is made of: a pre-trained one, one from scratch, or a body that stands on word vectors."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from unfreeze.datasets.dataset import ExampleSet
from unfreeze.encoders.awd_lstm import AwdLstm, StackedEncoder
from unfreeze.encoders.base import Encoder
from unfreeze.encoders.layers.recurrent import CLASSIFIER_DROPOUTS
from unfreeze.encoders.lstm import SCRATCH_DROPOUTS, LstmEncoder
from unfreeze.encoders.word_vectors import WordVectors, read_encoder
from unfreeze.errors import UserError
from unfreeze.tasks.fit_settings import FitSettings
from unfreeze.text.tokenizers import TextTokenizer, train_tokenizer
from unfreeze.vectors.table import VectorTable

logger = logging.getLogger(__name__)

FREQUENCY_WEIGHT = 1e-3
SPREAD = 0.5
"""Standard deviation of the numbers of vectors under a biLSTM; GloVe's have .4, random embeddings 1."""


def make_encoder(examples: ExampleSet, settings: FitSettings) -> StackedEncoder | WordVectors:
    """The encoder that the settings ask for.

    Raises:
        UserError: it cannot be read, or is of a kind that the classifier cannot stand on.
    """
    if settings.mode == "scratch":
        return _scratch_encoder(examples, settings)
    if settings.starts_from_vectors:
        return _on_vectors(examples, settings)
    found = Encoder.from_pretrained(settings.chosen_encoder)
    if not isinstance(found, (StackedEncoder, WordVectors)):
        raise UserError(
            f"{settings.chosen_encoder} is a {found.kind} encoder: the classifier reads LSTM encoders and word vectors only"
        )
    return found


def _scratch_encoder(examples: ExampleSet, settings: FitSettings) -> StackedEncoder | WordVectors:
    tokenizer = _task_words(examples, settings)
    sizes: dict[str, Any] = {"embedding_size": settings.embedding_size, "hidden_size": settings.hidden_size}
    scale = 1.0 if settings.dropout_scale is None else settings.dropout_scale
    if settings.architecture == "awd-lstm":
        return AwdLstm(tokenizer, **sizes, dropouts=CLASSIFIER_DROPOUTS.times(scale))
    return LstmEncoder(tokenizer, **sizes, dropouts=SCRATCH_DROPOUTS.times(scale))


def _task_words(examples: ExampleSet, settings: FitSettings) -> TextTokenizer:
    return train_tokenizer(
        (example.input for example in examples.examples),
        kind="word",
        vocabulary_size=settings.vocabulary_size,
        min_count=settings.min_count if len(examples) > 50 else 1,
        workers=1 if len(examples) < 2000 else None,
    )


def _on_vectors(examples: ExampleSet, settings: FitSettings) -> StackedEncoder | WordVectors:
    """Word vectors, with the task's words if these are wanted, and a biLSTM on them if that is."""
    vectors, words = read_encoder(settings.chosen_encoder), _words(examples, settings)
    unknown = [word for word in words if vectors.tokenizer.id(word) is None]
    logger.info("%d of the task's %d words have no vector", len(unknown), len(words))
    adds = settings.mode == "fine-tune" or vectors.ngrams is not None
    if settings.chosen_body == "bilstm":
        vectors = vectors.first_words(settings.vocabulary_size, besides=words)
    if adds if settings.new_words is None else settings.new_words:
        vectors = vectors.with_words(words, seed=settings.seed)
    with torch.no_grad():
        if settings.chosen_body == "bilstm":
            return _bilstm_on(vectors, settings)
        if settings.mode == "frozen":
            vectors.embedding.copy_(_weighted(vectors.embedding, vectors.tokenizer))
    return vectors


def _words(examples: ExampleSet, settings: FitSettings) -> list[str]:
    """The task's own."""
    task = _task_words(examples, settings)
    return [word for number, word in enumerate(task.vocabulary) if number not in task.special_ids]


@torch.no_grad()
def vectors_beside(examples: ExampleSet, settings: FitSettings) -> WordVectors:
    """The word vectors that stand beside a mix of layers: the frequent words' and the task's, as long as suits a biLSTM."""
    assert settings.word_vectors is not None
    words = _words(examples, settings)
    vectors = read_encoder(settings.word_vectors)
    need_some(vectors, words, settings.word_vectors)
    vectors = vectors.first_words(settings.vocabulary_size, besides=words)
    scale = SPREAD / vectors.table_spread().clamp_min(1e-8)
    for table in (vectors.embedding, vectors.buckets):
        table.mul_(scale)
    return vectors


def need_some(vectors: WordVectors, words: Sequence[str], source: str) -> None:
    """Say how many of a task's words have a vector; raises UserError where none has one."""
    known = sum(vectors.vector(word) is not None for word in words)
    if words and not known:
        raise UserError(
            f"{source} has a vector for none of the task's {len(words)} words: are they of its language?"
        )
    logger.info("%d of the task's %d words have no vector", len(words) - known, len(words))


def _bilstm_on(vectors: WordVectors, settings: FitSettings) -> LstmEncoder:
    """A biLSTM with random weights over the vectors, as one encoder.

    Vectors come with lengths that differ from run to run, and a biLSTM is deaf to short ones: all are multiplied by one
    number that gives them the spread at which its other defaults work.
    """
    scale = 1.0 if settings.dropout_scale is None else settings.dropout_scale
    encoder = LstmEncoder(
        vectors.tokenizer,
        embedding_size=vectors.size,
        hidden_size=settings.hidden_size,
        dropouts=SCRATCH_DROPOUTS.times(scale),
    )
    spread = vectors.table_spread().clamp_min(1e-8)
    encoder.stack("forward").embedding.weight.copy_(vectors.embedding * (SPREAD / spread))
    return encoder


def weighted_vectors(vectors: VectorTable, tokenizer: TextTokenizer) -> Tensor:
    """Unit vectors for a vocabulary, frequent words weighted down by a / (a + p(w)) (Arora, Liang & Ma 2017): (V, E).

    Words without a vector and special tokens are zero, so that a mean over a document passes them over.
    """
    matrix, found = vectors.matrix_for(tokenizer.vocabulary)
    rows = torch.from_numpy(matrix).float()
    rows[torch.from_numpy(~found)] = 0.0
    rows[list(tokenizer.special_ids)] = 0.0
    return _weighted(rows, tokenizer)


def _weighted(rows: Tensor, tokenizer: TextTokenizer) -> Tensor:
    rows = rows / rows.norm(dim=1, keepdim=True).clamp_min(1e-8)
    counts = torch.tensor(tokenizer.counts or [0] * len(tokenizer), dtype=torch.float32)
    share = counts / counts.sum().clamp_min(1.0)
    return rows * (FREQUENCY_WEIGHT / (FREQUENCY_WEIGHT + share))[:, None]
