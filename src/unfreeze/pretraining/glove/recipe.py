"""`pretrain glove`: from text to a saved folder of GloVe vectors."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from unfreeze.encoders.word_vectors import WordVectors
from unfreeze.pretraining.glove.settings import GloveSettings
from unfreeze.pretraining.glove.train import train_glove
from unfreeze.pretraining.token_blocks import count_tokens
from unfreeze.pretraining.unlabeled import Corpus
from unfreeze.pretraining.word2vec.recipe import count_words, finish_vectors, need_memory, set_vectors
from unfreeze.pretraining.word2vec.train import Matrices
from unfreeze.progress import SILENT, Progress
from unfreeze.runs import Run
from unfreeze.text.tokenizers import WordTokenizer


def pretrain_glove(
    corpus: Corpus,
    settings: GloveSettings,
    *,
    output: str | Path,
    workers: int | None = None,
    overwrite: bool = False,
    command: str = "",
    progress: Progress = SILENT,
) -> tuple[WordVectors, dict[str, Any]]:
    """Train GloVe vectors on unlabeled text.

    After an interruption, another call reuses the tokenized text and trains from the beginning.

    Args:
        output: folder to write the vectors to.
        workers: threads; None is one per core. With 1, the same seed gives the same bits.
        overwrite: replace a model of another run, once this one is complete.
        command: the command line, for the model card.

    Returns:
        The vectors, and the content of metrics.json: vocabulary, tokens, seconds.

    Raises:
        UserError: the corpus or the output cannot be used.
    """
    began = time.monotonic()

    def identity() -> dict[str, Any]:
        return {"stage": "pretrain glove", **corpus.identity(), **asdict(settings)}

    with Run(output, identity, overwrite=overwrite, progress=progress) as run:
        if run.done:
            return WordVectors.from_pretrained(run.output), run.metrics
        tokenizer, store = count_words(run, corpus, settings.vocabulary_size, settings.min_count)
        # Two matrices and their sums of squares in training, then copies of the matrices.
        need_memory(6 * len(tokenizer), settings.size, len(tokenizer))
        counts = count_tokens(store, len(tokenizer))
        prepared = time.monotonic()
        vectors = train_glove(
            store,
            settings,
            vocabulary_size=len(tokenizer),
            skip_ids=tokenizer.special_ids,
            folder=run.folder,
            workers=workers,
            progress=progress,
        )
        encoder = WordVectors(WordTokenizer(tokenizer.vocabulary, counts.tolist()), size=settings.size)
        set_vectors(encoder, Matrices(vectors, vectors), None)
        metrics = {"tokens": store.n_tokens, "training_seconds": round(time.monotonic() - prepared, 1)}
        return encoder, finish_vectors(run, corpus, encoder, metrics, began, asdict(settings), command, {})
