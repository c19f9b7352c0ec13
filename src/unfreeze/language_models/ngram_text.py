"""What an n-gram model says of text, with the conventions of the other language models so that the figures compare.

Scores, perplexity and generated text as in score.py, perplexity.py and generate.py: the begin symbol is given, the end
of a document is not scored. (An n-gram model never predicts the begin symbol: what it writes has no end of its own.)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unfreeze.language_models.generate import stream_from
from unfreeze.language_models.ngram import MOST_ORDER, NgramModel
from unfreeze.language_models.perplexity import Perplexity
from unfreeze.language_models.score import TextScore, direction_score
from unfreeze.progress import SILENT, Progress
from unfreeze.text.token_store import TokenStore

BATCH_TOKENS = 1 << 20
"""Tokens that are looked up at once: about 100 bytes each."""


def score_texts(model: NgramModel, texts: Sequence[str]) -> list[TextScore]:
    """The score of each text, all in one look-up; none depends on the others."""
    pieces = [model.tokenizer.encode(text) for text in texts]
    if not pieces:
        return []
    found = model.token_log_probabilities(np.concatenate([piece.ids for piece in pieces]))
    parts = np.split(found, np.cumsum([len(piece.ids) for piece in pieces])[:-1])
    return [
        TextScore(text, {"forward": direction_score(model.tokenizer, piece, part[1:].tolist())})
        for text, piece, part in zip(texts, pieces, parts, strict=True)
    ]


def evaluate_perplexity(
    model: NgramModel, store: TokenStore, *, batch_tokens: int | None = None, progress: Progress = SILENT
) -> Perplexity:
    """Measure `model` on all documents of `store`; the figures do not depend on `batch_tokens`."""
    total = 0.0
    with progress.bar("perplexity", total=store.n_tokens, unit="token") as bar:
        for ids, n_known in _pieces(store, batch_tokens or BATCH_TOKENS, model.order - 1):
            total -= float(model.token_log_probabilities(ids)[n_known:].sum())
            bar.advance(len(ids) - n_known)
    return Perplexity.of(total, store.n_tokens - store.n_documents, store.n_bytes, store.unknown_bytes)


def _pieces(store: TokenStore, size: int, n_before: int) -> Iterator[tuple[NDArray[np.integer[Any]], int]]:
    """Pieces of all documents one after the other, each behind the last `n_before` tokens of the one before it."""
    order, cumulative = np.arange(store.n_documents), np.concatenate([[0], np.cumsum(store.lengths)])
    for start in range(0, store.n_tokens, size):
        before = min(n_before, start)
        stop = min(start + size, store.n_tokens)
        yield store.gather(order, cumulative, start - before, stop), before


class NgramReader:
    """Reads ids and says what may come next, as `unfreeze.language_models.generate.Reader` does."""

    def __init__(self, model: NgramModel) -> None:
        self.model = model
        self._last: list[int] = []

    def read(self, ids: Sequence[int]) -> None:
        """Take in `ids`; the first ones of all begin with the begin symbol."""
        self._last = [*self._last, *ids][-MOST_ORDER:]

    def log_probabilities(self) -> Tensor:
        """log p of every entry of the vocabulary to be the next, in nats: (V,) of float64."""
        return torch.from_numpy(self.model.next_probabilities(self._last)).log()


def stream_text(
    model: NgramModel,
    prompt: str,
    *,
    tokens: int = 100,
    temperature: float = 1.0,
    top_k: int = 0,
    seed: int = 0,
    stop_at_document_end: bool = True,
) -> Iterator[str]:
    """What follows the prompt, piece by piece; arguments and errors as of `unfreeze.language_models.generate.stream_text`."""
    return stream_from(
        NgramReader(model),
        model.tokenizer,
        prompt,
        tokens=tokens,
        temperature=temperature,
        top_k=top_k,
        seed=seed,
        stop_at_document_end=stop_at_document_end,
    )
