"""How well a language model predicts held-out text: exact, weighted by token, each document on its own.

Every document starts from a zero state, so a figure never depends on the batch size or on the order of documents. All
tokens but the begin symbol are targets. Perplexity compares models of one vocabulary only; bits per byte compares all:
it is the whole code length over the text's UTF-8 bytes, where a word outside of the vocabulary pays for its unknown
symbol and then eight bits for each of its bytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor

from unfreeze.language_models.awd_lstm import AwdLstmLanguageModel
from unfreeze.language_models.score import read_documents
from unfreeze.progress import SILENT, Progress
from unfreeze.text.token_store import TokenStore

MOST_IDS = 1 << 21
"""Ids of a batch, padding included: a document of a million tokens is measured with one or two others at most."""


@dataclass(frozen=True)
class Perplexity:
    """Held-out figures; with two directions each is their mean over tokens."""

    loss: float
    """Nats a token."""
    perplexity: float
    """exp(loss)."""
    bits_per_byte: float
    """Of the raw text."""
    n_tokens: int
    """Targets of one direction."""
    unknown_share: float
    """Of the text's bytes, in words that the vocabulary lacks."""

    @classmethod
    def of(cls, nats: float, n_tokens: int, n_bytes: int, unknown_bytes: int) -> Perplexity:
        """The figures of a text of `n_bytes`, `unknown_bytes` of them in unknown words, whose targets cost `nats` in all."""
        loss, n_bytes = nats / max(1, n_tokens), max(1, n_bytes)
        bits = nats / math.log(2) + 8 * unknown_bytes
        return cls(loss, math.exp(min(loss, 700.0)), bits / n_bytes, n_tokens, unknown_bytes / n_bytes)

    @property
    def mean(self) -> Perplexity:
        """These figures: they are the mean of all directions already."""
        return self

    def figures(self) -> dict[str, float]:
        """As metrics.json has them."""
        return asdict(self)


@torch.no_grad()
def evaluate_perplexity(
    model: AwdLstmLanguageModel, store: TokenStore, *, batch_size: int = 32, progress: Progress = SILENT
) -> Perplexity:
    """Measure `model` on all documents of `store`.

    Returns:
        The mean over the model's directions.
    """
    model.eval()
    names = model.encoder.directions
    total, n_targets = 0.0, 0
    with progress.bar("perplexity", total=store.n_tokens * len(names), unit="token") as bar:
        for name in names:
            for ids, lengths in document_batches(store, batch_size, model.tokenizer.pad_id):
                total -= float(read_documents(model, name, ids, lengths).double().sum())
                n_targets += int((lengths - 1).sum())
                bar.advance(int(lengths.sum()))
    return Perplexity.of(total / len(names), n_targets // len(names), store.n_bytes, store.unknown_bytes)


def document_batches(store: TokenStore, batch_size: int, pad_id: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Documents of similar lengths, longest first: (B, T) and (B,)."""
    order = np.argsort(-store.lengths, kind="stable")
    start = 0
    while start < len(order):
        stop = start + max(1, min(batch_size, MOST_IDS // len(store.document(int(order[start])))))
        documents = [store.document(int(number)) for number in order[start:stop]]
        start = stop
        lengths = torch.tensor([len(document) for document in documents])
        ids = torch.full((len(documents), int(lengths.max())), pad_id, dtype=torch.long)
        for row, document in enumerate(documents):
            ids[row, : len(document)] = torch.from_numpy(document.astype(np.int64))
        yield ids, lengths
