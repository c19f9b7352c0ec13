"""`pretrain glove`: from text to a saved folder of GloVe's vectors."""

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
from unfreeze.pretraining.vector_stages import VectorStage, set_vectors
from unfreeze.pretraining.word2vec.train import Matrices
from unfreeze.progress import SILENT, Progress
from unfreeze.text.tokenizers import WordTokenizer


def pretrain_glove(
    corpus: Corpus,
    output: str | Path,
    settings: GloveSettings,
    *,
    workers: int | None = None,
    overwrite: bool = False,
    command: str = "",
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """GloVe's vectors from unlabeled text. Run again after a kill, it reads no text a second time.

    Returns:
        What metrics.json holds: vocabulary, tokens, seconds.

    Raises:
        UserError: the corpus or the output cannot be used.
    """
    asked = {"stage": "pretrain glove", **corpus.identity(), **asdict(settings)}
    stage = VectorStage(corpus, Path(output), asked, overwrite, progress)
    if (figures := stage.finished()) is not None:
        return figures
    tokenizer = stage.words(settings.vocabulary_size, settings.min_count)
    store = stage.store(tokenizer)
    counts = count_tokens(store, len(tokenizer))
    options = {
        name: value
        for name, value in asdict(settings).items()
        if name not in ("vocabulary_size", "min_count")
    }
    began = time.monotonic()
    vectors = train_glove(
        store,
        vocabulary_size=len(tokenizer),
        skip_ids=tokenizer.special_ids,
        folder=stage.folder.folder,
        workers=workers,
        progress=progress,
        **options,
    )
    encoder = WordVectors(WordTokenizer(tokenizer.vocabulary, counts.tolist()), size=settings.size)
    set_vectors(encoder, Matrices(vectors, vectors), None)
    return stage.save(
        encoder,
        {"tokens": store.n_tokens, "training_seconds": round(time.monotonic() - began, 1)},
        title="Word vectors (GloVe)",
        command=command,
        settings=asdict(settings),
    )
