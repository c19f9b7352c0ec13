"""From text to a saved folder of word vectors: `pretrain word2vec`, `pretrain glove`, and `adapt` of such vectors.

Both prepare the same way: a tokenizer and a token store in `training/` of the output, so that a run that was killed goes on
without reading the corpus again. The folder keeps the output matrix beside the vectors, so that `adapt` can go on.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unfreeze.checked import need_call
from unfreeze.encoders.word_vectors import WordVectors, read_encoder
from unfreeze.errors import UserError
from unfreeze.folders import (
    CONFIG,
    WEIGHTS,
    load_tensors,
    read_config,
    read_metrics,
    write_model,
    written_folder,
)
from unfreeze.pretraining.token_blocks import count_tokens
from unfreeze.pretraining.unlabeled import Corpus
from unfreeze.pretraining.word2vec.phrases import PhraseTokenizer, learn_phrases
from unfreeze.pretraining.word2vec.settings import VectorSettings, Word2VecSettings
from unfreeze.pretraining.word2vec.tables import bag_table
from unfreeze.pretraining.word2vec.train import Bags, Matrices, train_matrices
from unfreeze.progress import SILENT, Progress
from unfreeze.registry import find_model
from unfreeze.text.character_ngrams import ngram_buckets
from unfreeze.text.rules import SPECIAL_TOKENS
from unfreeze.text.token_store import TokenStore
from unfreeze.text.tokenizer_files import load_tokenizer
from unfreeze.text.tokenizers import TextTokenizer, WordTokenizer, train_tokenizer
from unfreeze.training.cards import write_card
from unfreeze.training.checkpoints import RENAMED, RunFolder

logger = logging.getLogger(__name__)

OUTPUTS, OWN_ROWS = "outputs.weight", "outputs.own"
"""Tensors that only `adapt` needs: the output matrix, and with n-grams the words' own rows."""

SNIPPET = """
from unfreeze.encoders.vector_source import open_vectors

vectors = open_vectors(".")  # this folder
print(len(vectors), vectors.size, vectors.words[:10])
"""


@dataclass
class VectorStage:
    """A corpus, the folder that grows, and what both kinds of vectors do with them."""

    corpus: Corpus
    output: Path
    asked: dict[str, Any]
    overwrite: bool
    progress: Progress

    def __post_init__(self) -> None:
        self.folder = RunFolder(self.output, self.asked, overwrite=self.overwrite)
        self.began = time.monotonic()

    def finished(self) -> dict[str, Any] | None:
        """The figures of a run that is complete already."""
        if not self.folder.done:
            return None
        logger.info("%s is complete already", self.output)
        return read_metrics(self.output)

    def words(self, vocabulary_size: int, min_count: int) -> TextTokenizer:
        """The vocabulary of the corpus."""
        return self.tokenizer(
            lambda documents: train_tokenizer(
                documents, vocabulary_size=vocabulary_size, min_count=min_count, progress=self.progress
            )
        )

    def tokenizer(self, make: Callable[[Iterator[str]], TextTokenizer]) -> TextTokenizer:
        """Made once, kept beside the checkpoints."""
        place = self.folder.folder
        if not (place / "tokenizer.json").is_file():
            make(self.corpus.documents()).save(place)
        return load_tokenizer(place)

    def store(self, tokenizer: Any, name: str = "tokens") -> TokenStore:
        """The ids of all documents, built once."""
        place = self.folder.folder / name
        if place.is_dir():
            return TokenStore.open(place)
        return TokenStore.build(self.corpus.documents(), tokenizer, place, progress=self.progress)

    def save(
        self,
        encoder: WordVectors,
        figures: dict[str, Any],
        *,
        title: str,
        command: str,
        more: dict[str, Tensor] | None = None,
        settings: dict[str, Any],
    ) -> dict[str, Any]:
        """The folder of the encoder with `more` tensors, its card, and the end of the run."""
        with written_folder(self.output, keep={"training", "README.md", "metrics.json"}) as target:
            config = {**encoder.config(), "trained": settings}
            write_model(target, config, {**encoder.weights(), **(more or {})})
            encoder.tokenizer.save(target)
        figures = {"vocabulary": len(encoder.tokenizer) - len(SPECIAL_TOKENS), **figures}
        figures["seconds"] = round(time.monotonic() - self.began, 1)
        facts: dict[str, object] = {
            "data": ", ".join(Path(str(path)).name for path in self.corpus.paths),
            "command": command,
            "settings": json.dumps(settings),
        }
        write_card(self.output, title=title, facts=facts, metrics=figures, snippet=SNIPPET)
        self.folder.finish()
        return figures


def pretrain_word2vec(
    corpus: Corpus,
    output: str | Path,
    settings: VectorSettings,
    *,
    minutes: float | None = None,
    workers: int | None = None,
    checkpoint_minutes: float = 3.0,
    without_output: bool = False,
    overwrite: bool = False,
    command: str = "",
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Word vectors from unlabeled text. Run again after a kill, it goes on.

    Args:
        minutes, workers, checkpoint_minutes: as in `train_matrices`.
        without_output: save the vectors alone; `adapt` will not work.

    Returns:
        What metrics.json holds: vocabulary, tokens, the last loss, words/s.

    Raises:
        UserError: the corpus or the output cannot be used.
        Interrupted: Ctrl-C, after a checkpoint.
    """
    asked = {"stage": "pretrain word2vec", **corpus.identity(), **asdict(settings), "minutes": minutes}
    stage = VectorStage(corpus, Path(output), asked, overwrite, progress)
    if (figures := stage.finished()) is not None:
        return figures
    tokenizer = stage.words(settings.vocabulary_size, settings.min_count)
    words, store, counts = _with_phrases(stage, tokenizer, settings)
    _need_memory(len(words), settings)
    encoder = WordVectors(
        words, size=settings.training.size, ngrams=settings.ngrams, buckets=settings.buckets
    )
    limits = {"minutes": minutes, "workers": workers, "checkpoint_minutes": checkpoint_minutes}
    return _train(stage, encoder, store, counts, settings, None, limits, without_output, command)


def _need_memory(vocabulary_size: int, settings: VectorSettings) -> None:
    """Refuse what cannot fit: vectors while they are trained and once more as they are saved, and the outputs."""
    size, buckets = settings.training.size, settings.buckets if settings.ngrams else 0
    needed = 4 * size * (3 * vocabulary_size + 2 * buckets)
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else None
    if there is not None and needed > there:
        rows = f"{vocabulary_size:,} words" + (f" and {buckets:,} buckets of n-grams" if buckets else "")
        raise UserError(
            f"{size:,} numbers each for {rows} need {needed / 1e9:,.0f} GB of memory, and this machine has {there / 1e9:,.0f}"
        )


def adapt_word_vectors(
    source: str | Path,
    corpus: Corpus,
    output: str | Path,
    *,
    epochs: int | None = None,
    learning_rate: float | None = None,
    min_count: int | None = None,
    seed: int = 0,
    minutes: float | None = None,
    workers: int | None = None,
    without_output: bool = False,
    overwrite: bool = False,
    command: str = "",
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Go on training word2vec's vectors on other text; its words that are new get vectors too. Resumable as the first stage.

    Args:
        source: a folder with its output matrix.
        epochs, learning_rate, min_count: as in training by default.

    Raises:
        UserError: `source` cannot go on; as `pretrain_word2vec`.
    """
    place = find_model(source)
    encoder = read_encoder(place)
    tensors = load_tensors(place / WEIGHTS)
    trained = read_config(place).get("trained")
    if OUTPUTS not in tensors or not isinstance(trained, dict):
        raise UserError(
            f"{source} holds no output matrix to go on with: train it by pretrain word2vec, without --without-output"
        )
    changes = {
        name: value
        for name, value in (("epochs", epochs), ("learning_rate", learning_rate))
        if value is not None
    }
    trained = {RENAMED[""].get(name, name): value for name, value in trained.items()}
    need_call(Word2VecSettings, f"{place / CONFIG}: trained", **trained)
    training = Word2VecSettings(**{**trained, **changes, "seed": seed})
    settings = VectorSettings(training=training, ngrams=encoder.ngrams, buckets=max(1, len(encoder.buckets)))
    settings = replace(settings, min_count=settings.min_count if min_count is None else min_count)
    asked = {
        "stage": "adapt",
        "source": str(source),
        **corpus.identity(),
        **asdict(settings),
        "minutes": minutes,
    }
    stage = VectorStage(corpus, Path(output), asked, overwrite, progress)
    if (figures := stage.finished()) is not None:
        return figures
    tokenizer = stage.tokenizer(
        lambda documents: _grown(
            encoder.tokenizer, train_tokenizer(documents, min_count=settings.min_count, progress=progress)
        )
    )
    store = stage.store(tokenizer)
    counts = count_tokens(store, len(tokenizer))
    before = encoder.tokenizer.counts or [0] * len(encoder.tokenizer)
    both = counts + np.pad(np.array(before, np.int64), (0, len(counts) - len(before)))
    words = WordTokenizer(tokenizer.vocabulary, both.tolist())
    larger = WordVectors(words, **encoder.arguments())
    start = _start_from(encoder, tensors, len(words), settings)
    logger.info("%d new words", len(words) - len(before))
    limits = {"minutes": minutes, "workers": workers}
    return _train(stage, larger, store, counts, settings, start, limits, without_output, command)


def _grown(old: TextTokenizer, found: TextTokenizer) -> WordTokenizer:
    """The old vocabulary, and behind it what the corpus has besides."""
    return WordTokenizer([*old.vocabulary, *(word for word in found.vocabulary if old.id(word) is None)])


def _start_from(
    encoder: WordVectors, tensors: dict[str, Tensor], vocabulary_size: int, settings: VectorSettings
) -> Matrices:
    """The matrices of an earlier training, with the usual start for new words.

    The inner nodes of a Huffman tree mean something else as soon as the counts change: they start anew.
    """
    n_old, size = len(encoder.tokenizer), encoder.size
    start = Matrices.start(
        vocabulary_size + len(encoder.buckets), vocabulary_size, size, settings.training.seed
    )
    start.inputs[:n_old] = tensors.get(OWN_ROWS, encoder.embedding.detach()).numpy()
    start.inputs[vocabulary_size:] = encoder.buckets.numpy()
    if not settings.training.hierarchical:
        start.outputs[:n_old] = tensors[OUTPUTS].numpy()
    return start


def _with_phrases(
    stage: VectorStage, tokenizer: TextTokenizer, settings: VectorSettings
) -> tuple[WordTokenizer, TokenStore, NDArray[np.int64]]:
    """The vocabulary with its phrases, the store of its ids, and how often each occurs."""
    current: Any = tokenizer
    store = stage.store(current)
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
        store = stage.store(current, f"phrases-{number + 1}")
        counts = count_tokens(store, len(current))
    tokens = [current.token(number) for number in range(len(current))]
    return WordTokenizer.from_vocabulary(tokens, counts.tolist()), store, counts


def _train(
    stage: VectorStage,
    encoder: WordVectors,
    store: TokenStore,
    counts: NDArray[np.int64],
    settings: VectorSettings,
    start: Matrices | None,
    limits: dict[str, Any],
    without_output: bool,
    command: str,
) -> dict[str, Any]:
    special = encoder.tokenizer.special_ids
    bags = None if encoder.ngrams is None else ngram_bags(encoder)
    matrices = train_matrices(
        store,
        counts,
        settings.training,
        skip_ids=special,
        bags=bags,
        start=start,
        folder=stage.folder,
        **limits,
        progress=stage.progress,
    )
    set_vectors(encoder, matrices, bags)
    more = {} if without_output else {OUTPUTS: torch.from_numpy(matrices.outputs)}
    if bags is not None and not without_output:
        more[OWN_ROWS] = torch.from_numpy(matrices.inputs[: len(encoder.tokenizer)])
    kind = "CBOW" if settings.training.architecture == "cbow" else "skip-gram"
    figures = {"tokens": store.n_tokens, **matrices.figures}
    stage.folder.log(figures)
    return stage.save(
        encoder,
        figures,
        title=f"Word vectors ({kind})",
        command=command,
        more=more,
        settings=asdict(settings.training),
    )


def ngram_bags(encoder: WordVectors) -> Bags:
    """For each word its own row and those of its n-grams, behind the words' rows."""
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
    """Write what was learned into the encoder; special tokens are zero."""
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
