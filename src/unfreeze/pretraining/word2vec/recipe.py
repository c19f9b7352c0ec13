"""From text to a saved folder of word vectors: `pretrain word2vec`, and `adapt` for more text.

The folder also contains the output matrix, so that `adapt` can continue the training.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Required, TypedDict, Unpack

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unfreeze.checked import need_call
from unfreeze.encoders.word_vectors import WordVectors, read_encoder
from unfreeze.errors import UserError, setting
from unfreeze.folders import (
    CONFIG,
    WEIGHTS,
    load_tensors,
    read_config,
    tensor_shapes,
    write_model,
    written_folder,
)
from unfreeze.identities import RENAMED
from unfreeze.memory import memory_of_machine
from unfreeze.pretraining.token_blocks import count_tokens
from unfreeze.pretraining.unlabeled import Corpus, encode_once, make_once
from unfreeze.pretraining.word2vec.phrases import PhraseTokenizer, VocabularyTokenizer, learn_phrases
from unfreeze.pretraining.word2vec.settings import VectorSettings, Word2VecSettings
from unfreeze.pretraining.word2vec.tables import bag_table
from unfreeze.pretraining.word2vec.train import Bags, Matrices, train_matrices
from unfreeze.progress import SILENT, Progress
from unfreeze.registry import find_model
from unfreeze.runs import Run
from unfreeze.text.character_ngrams import ngram_buckets
from unfreeze.text.rules import SPECIAL_TOKENS
from unfreeze.text.store_builder import DocumentTokenizer
from unfreeze.text.token_store import TokenStore
from unfreeze.text.tokenizers import TextTokenizer, WordTokenizer, train_tokenizer
from unfreeze.training.cards import VECTORS_SNIPPET

logger = logging.getLogger(__name__)

OUTPUTS, OWN_ROWS = "outputs.weight", "outputs.own"
"""Names of the tensors that only `adapt` needs: the output matrix, and with n-grams the rows of the words themselves."""


class VectorOptions(TypedDict, total=False):
    """Keyword arguments of the two recipes."""

    output: Required[str | Path]
    """Folder to write the vectors to."""
    minutes: float | None
    """Time limit, as in `train_matrices`."""
    workers: int | None
    """Threads; None is one per core. With one, the same seed gives the same vectors (if `minutes` is None)."""
    checkpoint_minutes: float
    """Minutes between checkpoints (default: 3)."""
    without_output: bool
    """Save only the vectors, so that `adapt` will not work."""
    overwrite: bool
    """Replace a model of another run, once this one is complete."""
    command: str
    """The command line, for the model card."""
    progress: Progress
    """Where progress is reported."""


def pretrain_word2vec(
    corpus: Corpus, settings: VectorSettings, **options: Unpack[VectorOptions]
) -> tuple[WordVectors, dict[str, Any]]:
    """Train word vectors on unlabeled text. Call it again after an interruption to resume.

    Args:
        options: those of `VectorOptions`, of which `output` is required.

    Returns:
        The vectors, and the content of metrics.json: vocabulary, tokens, the last loss, words/s.

    Raises:
        UserError: the corpus or the output cannot be used.
        Interrupted: Ctrl-C, after a checkpoint.
    """

    def identity() -> dict[str, Any]:
        return {"stage": "pretrain word2vec", **corpus.identity(), **asdict(settings)}

    def prepare(run: Run) -> tuple[WordVectors, TokenStore, NDArray[np.int64], None]:
        tokenizer, store = count_words(run, corpus, settings.vocabulary_size, settings.min_count)
        words, store, counts = _with_phrases(run, corpus, tokenizer, store, settings)
        size, buckets = settings.training.size, settings.buckets
        # The vectors are in memory twice, because they are copied for saving; the output matrix once.
        n_buckets = buckets if settings.ngrams else 0
        need_memory(3 * len(words) + 2 * n_buckets, size, len(words), n_buckets)
        return WordVectors(words, size=size, ngrams=settings.ngrams, buckets=buckets), store, counts, None

    return _train_vectors(corpus, settings.training, identity, prepare, **options)


def count_words(
    run: Run, corpus: Corpus, vocabulary_size: int, min_count: int
) -> tuple[TextTokenizer, TokenStore]:
    """Return the vocabulary of the corpus and the ids of its documents, which are made only when the run first starts."""
    tokenizer = make_once(
        run,
        lambda: train_tokenizer(
            corpus.documents(),
            vocabulary_size=vocabulary_size,
            min_count=min_count,
            progress=run.progress,
        ),
    )
    return tokenizer, _encoded(run, corpus, tokenizer)


def _encoded(run: Run, corpus: Corpus, tokenizer: DocumentTokenizer, name: str = "tokens") -> TokenStore:
    store = encode_once(run, name, tokenizer, corpus.documents)
    if store is None:
        raise UserError("the corpus holds no text to learn from")
    return store


def finish_vectors(
    run: Run,
    corpus: Corpus,
    encoder: WordVectors,
    metrics: dict[str, Any],
    began: float,
    trained: dict[str, Any],
    command: str,
    extra_tensors: dict[str, Tensor],
) -> dict[str, Any]:
    """Save the vectors with their card; returns `metrics` with the size of the vocabulary and the seconds of the run.

    Args:
        began: `time.monotonic()` at the beginning.
        trained: settings of the training run, for config.json and the card.
        extra_tensors: tensors to save in addition to the vectors.
    """

    def save(output: Path) -> None:
        with written_folder(output, keep={"training", "README.md", "metrics.json"}) as target:
            config = {**encoder.config(), "trained": trained}
            write_model(target, config, {**encoder.weights(), **extra_tensors})
            encoder.tokenizer.save(target)

    metrics = {"vocabulary": len(encoder.tokenizer) - len(SPECIAL_TOKENS), **metrics}
    metrics["seconds"] = round(time.monotonic() - began, 1)
    facts = {"data": corpus.facts["data"], "command": command, "settings": json.dumps(trained)}
    method = trained.get("architecture", "GloVe").replace("cbow", "CBOW")
    return run.finish(save, metrics, title=f"Word vectors ({method})", facts=facts, snippet=VECTORS_SNIPPET)


def need_memory(rows: int, size: int, n_words: int, n_buckets: int = 0) -> None:
    """Raise UserError if so many rows of `size` numbers, for words and buckets of n-grams, do not fit into memory."""
    needed, memory = 4 * size * rows, memory_of_machine()
    if needed > memory:
        of = f"{n_words:,} words" + (f" and {n_buckets:,} buckets of n-grams" if n_buckets else "")
        raise UserError(
            f"{setting('size', size)} is too large for this machine: with it, the vectors of {of} need "
            f"{needed / 1e9:,.0f} GB of memory, and there are {memory / 1e9:,.0f} GB"
        )


def adapt_word_vectors(
    source: str | Path,
    corpus: Corpus,
    *,
    epochs: int | None = None,
    learning_rate: float | None = None,
    min_count: int | None = None,
    seed: int = 0,
    **options: Unpack[VectorOptions],
) -> tuple[WordVectors, dict[str, Any]]:
    """Continue training word2vec vectors on other text, whose new words are added. Call it again to resume.

    Args:
        source: folder of vectors that were saved with their output matrix.
        epochs, learning_rate, min_count: by default those of the earlier training run.
        options: those of `VectorOptions`, of which `output` is required.

    Raises:
        UserError: training of `source` cannot be continued; otherwise as `pretrain_word2vec`.
    """
    place = find_model(source)
    before = read_encoder(place)
    tensors = load_tensors(place / WEIGHTS)
    trained = read_config(place).get("trained")
    if OUTPUTS not in tensors or not isinstance(trained, dict):
        raise UserError(
            f"{source} has no output matrix, so training cannot continue: train it by pretrain word2vec, "
            f"without {setting('without_output', True)}"
        )
    given = {"epochs": epochs, "learning_rate": learning_rate, "seed": seed}
    changes = {name: value for name, value in given.items() if value is not None}
    trained = {RENAMED[""].get(name, name): value for name, value in trained.items()}
    need_call(Word2VecSettings, f"{place / CONFIG}: trained", **trained)
    training = Word2VecSettings(**{**trained, **changes})
    settings = VectorSettings(training=training, ngrams=before.ngrams, buckets=max(1, len(before.buckets)))
    settings = replace(settings, min_count=settings.min_count if min_count is None else min_count)

    def identity() -> dict[str, Any]:
        return {"stage": "adapt", "source": str(source), **corpus.identity(), **asdict(settings)}

    def prepare(run: Run) -> tuple[WordVectors, TokenStore, NDArray[np.int64], Matrices]:
        old = before.tokenizer

        def make_tokenizer() -> TextTokenizer:
            """The old vocabulary, followed by the words of the corpus that it lacks."""
            found = train_tokenizer(corpus.documents(), min_count=settings.min_count, progress=run.progress)
            return WordTokenizer(
                [*old.vocabulary, *(word for word in found.vocabulary if old.id(word) is None)]
            )

        tokenizer = make_once(run, make_tokenizer)
        store = _encoded(run, corpus, tokenizer)
        counts = count_tokens(store, len(tokenizer))
        old_counts = old.counts or [0] * len(old)
        both = counts + np.pad(np.array(old_counts, np.int64), (0, len(counts) - len(old_counts)))
        words = WordTokenizer(tokenizer.vocabulary, both.tolist())
        logger.info("%d new words", len(words) - len(old))
        start = _start_from(before, tensors, len(words), training)
        return WordVectors(words, **before.arguments()), store, counts, start

    return _train_vectors(corpus, training, identity, prepare, **options)


def _start_from(
    encoder: WordVectors, tensors: dict[str, Tensor], vocabulary_size: int, settings: Word2VecSettings
) -> Matrices:
    """Return the matrices of an earlier training run, with new words initialized as usual.

    The inner nodes of a Huffman tree are initialized again, because their meaning changes with the counts.
    """
    n_old, n_rows = len(encoder.tokenizer), vocabulary_size + len(encoder.buckets)
    start = Matrices.start(n_rows, vocabulary_size, encoder.size, settings.seed)
    start.inputs[:n_old] = tensors.get(OWN_ROWS, encoder.embedding.detach()).numpy()
    start.inputs[vocabulary_size:] = encoder.buckets.numpy()
    if not settings.hierarchical:
        start.outputs[:n_old] = tensors[OUTPUTS].numpy()
    return start


def _with_phrases(
    run: Run, corpus: Corpus, tokenizer: TextTokenizer, store: TokenStore, settings: VectorSettings
) -> tuple[WordTokenizer, TokenStore, NDArray[np.int64]]:
    """Return the vocabulary with phrases, the token store of its ids, and the number of occurrences of each id."""
    current: VocabularyTokenizer = tokenizer
    counts = count_tokens(store, len(current))
    for number in range(settings.phrases):
        pairs = learn_phrases(
            store,
            counts,
            current.special_ids,
            min_count=settings.min_count,
            threshold=settings.phrase_threshold,
        )
        logger.info("%d phrases in pass %d", len(pairs), number + 1)
        if not pairs:
            break
        current = PhraseTokenizer(current, pairs)
        store = _encoded(run, corpus, current, f"phrases-{number + 1}")
        counts = count_tokens(store, len(current))
    tokens = [current.token(number) for number in range(len(current))]
    return WordTokenizer.from_vocabulary(tokens, counts.tolist()), store, counts


def _train_vectors(
    corpus: Corpus,
    settings: Word2VecSettings,
    identity: Callable[[], dict[str, Any]],
    prepare: Callable[[Run], tuple[WordVectors, TokenStore, NDArray[np.int64], Matrices | None]],
    *,
    output: str | Path,
    minutes: float | None = None,
    workers: int | None = None,
    checkpoint_minutes: float = 3.0,
    without_output: bool = False,
    overwrite: bool = False,
    command: str = "",
    progress: Progress = SILENT,
) -> tuple[WordVectors, dict[str, Any]]:
    """Train vectors and save them, or resume the run.

    Args:
        identity: as for `Run`, without `minutes`.
        prepare: returns the encoder, whose vectors are not trained yet, the token store, the occurrences (V,) of each id
            in it, and the matrices to continue with, or None.
    """
    began = time.monotonic()

    def full_identity() -> dict[str, Any]:
        return {**identity(), "minutes": minutes}

    def has_outputs(folder: Path) -> bool:
        return OUTPUTS in tensor_shapes(folder / WEIGHTS)

    needed = None if without_output else has_outputs
    with Run(output, full_identity, overwrite=overwrite, has_output_layer=needed, progress=progress) as run:
        if run.done:
            return WordVectors.from_pretrained(run.output), run.metrics
        encoder, store, counts, start = prepare(run)
        bags = None if encoder.ngrams is None else ngram_bags(encoder)
        matrices = train_matrices(
            store,
            counts,
            settings,
            skip_ids=encoder.tokenizer.special_ids,
            bags=bags,
            start=start,
            workers=workers,
            minutes=minutes,
            checkpoints=run.checkpoints,
            checkpoint_minutes=checkpoint_minutes,
            progress=progress,
        )
        set_vectors(encoder, matrices, bags)
        extra_tensors = {}
        if not without_output:
            extra_tensors[OUTPUTS] = torch.from_numpy(matrices.outputs)
            if bags is not None:
                extra_tensors[OWN_ROWS] = torch.from_numpy(matrices.inputs[: len(encoder.tokenizer)])
        metrics = {"tokens": store.n_tokens, **matrices.metrics}
        if run.checkpoints is not None:
            run.checkpoints.log(metrics)
        return encoder, finish_vectors(
            run, corpus, encoder, metrics, began, asdict(settings), command, extra_tensors
        )


def ngram_bags(encoder: WordVectors) -> Bags:
    """Return the rows of each word: its own, and those of its n-grams, which follow the rows of all words."""
    assert encoder.ngrams is not None
    size, special = len(encoder.tokenizer), encoder.tokenizer.special_ids
    shortest, longest = encoder.ngrams
    bags = []
    for number in range(size):
        word = encoder.tokenizer.token(number)
        rows = [] if number in special else ngram_buckets(word, shortest, longest, len(encoder.buckets))
        bags.append([number, *(size + row for row in rows)])
    return bag_table(bags)


@torch.no_grad()
def set_vectors(encoder: WordVectors, matrices: Matrices, bags: Bags | None) -> None:
    """Copy the trained vectors into the encoder, with zeros for special tokens."""
    size = len(encoder.tokenizer)
    if bags is None:
        vectors = matrices.inputs[:size]
    else:
        starts, rows = bags
        vectors = np.stack(
            [matrices.inputs[rows[a:b]].mean(0) for a, b in zip(starts, starts[1:], strict=False)]
        )
        found = matrices.inputs[size:]
        encoder.buckets[: len(found)] = torch.from_numpy(found)
    encoder.embedding.copy_(torch.from_numpy(vectors))
    encoder.embedding[sorted(encoder.tokenizer.special_ids)] = 0.0
    encoder.eval()
