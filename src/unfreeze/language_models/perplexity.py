"""How well a language model predicts held-out text: exact, weighted by token, each document on its own.

Every document starts from a zero state, so the result depends neither on the batch size nor on the order of documents. All
tokens but the begin symbol are targets. Perplexity compares models of one vocabulary only; bits per byte compares all:
it is the whole code length over the text's UTF-8 bytes, where a word outside of the vocabulary pays for its unknown
symbol and then eight bits for each of its bytes.
"""

from __future__ import annotations

import math
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from unfreeze.display import counted
from unfreeze.language_models.base import MeasuresPerplexity
from unfreeze.progress import SILENT, Progress
from unfreeze.text.token_store import TokenStore
from unfreeze.text.tokenizers import TextTokenizer

BATCH_SIZE = 32
"""Documents of a batch, at most."""
MAX_IDS = 1 << 21
"""Ids of a batch, padding included: a document of a million tokens shares its batch with one or two others at most."""


@dataclass(frozen=True)
class Perplexity:
    """Held-out metrics; with two directions each is their mean."""

    loss: float
    """Nats per token."""
    perplexity: float
    """exp(loss)."""
    bits_per_byte: float
    """Bits per byte of the raw UTF-8 text, including unknown words."""
    n_tokens: int
    """Number of targets in one direction."""
    unknown_share: float
    """Share of the text's bytes that are in words outside of the vocabulary."""
    n_documents: int = 0
    """Number of documents."""
    directions: dict[str, Perplexity] = field(default_factory=dict)
    """Of each direction, where the model is measured by direction."""

    @classmethod
    def of(cls, nats: float, n_tokens: int, unknown_bytes: int, store: TokenStore) -> Perplexity:
        """The metrics of a store whose targets cost `nats` in all, with `unknown_bytes` in unknown words."""
        loss, n_bytes = nats / max(1, n_tokens), max(1, store.n_bytes)
        bits = nats / math.log(2) + 8 * unknown_bytes
        share = unknown_bytes / n_bytes
        perplexity = math.exp(min(loss, 700.0))
        return cls(loss, perplexity, bits / n_bytes, n_tokens, share, store.n_documents)

    def metrics(self) -> dict[str, float]:
        """The metrics by their names in metrics.json."""
        own = asdict(self)
        del own["n_documents"], own["directions"]
        return own | {f"perplexity_{name}": found.perplexity for name, found in self.directions.items()}

    def __str__(self) -> str:
        """The metrics on one line."""
        each = ", ".join(f"{name} {own.perplexity:.2f}" for name, own in self.directions.items())
        return (
            f"perplexity {self.perplexity:.2f}{f' ({each})' if each else ''} ({self.loss:.4f} nats a token), "
            f"{self.bits_per_byte:.4f} bits per byte, "
            f"on {counted(self.n_tokens, 'token')} of {counted(self.n_documents, 'document')}; "
            f"{100 * self.unknown_share:.2f} % of the bytes in unknown words"
        )


def evaluate_perplexity(
    model: MeasuresPerplexity,
    store: TokenStore,
    tokenizer: TextTokenizer | None = None,
    *,
    progress: Progress = SILENT,
) -> Perplexity:
    """Measure `model` on all documents of `store`.

    Args:
        tokenizer: the store's, where it is not the model's own (see `store_tokenizer`).
    """
    nats: dict[str, float] = defaultdict(float)
    n_targets: dict[str, float] = defaultdict(float)
    unknown_bytes = store.unknown_bytes
    n_read = store.n_tokens * len(model.directions)
    with progress.bar("perplexity", total=n_read, unit="token") as bar:
        for part in model.measure(store, tokenizer or model.tokenizer):
            nats[part.name] += part.nats
            n_targets[part.name] += part.n_targets
            unknown_bytes += part.unknown_bytes
            bar.advance(part.n_read)
    every = {name: Perplexity.of(nats[name], round(n_targets[name]), unknown_bytes, store) for name in nats}
    first = next(iter(every.values()))
    if len(every) == 1:
        return first
    loss = sum(found.loss for found in every.values()) / len(every)
    return Perplexity(
        loss,
        float(np.exp(min(loss, 700.0))),
        sum(found.bits_per_byte for found in every.values()) / len(every),
        first.n_tokens,
        first.unknown_share,
        store.n_documents,
        every,
    )


def measure_documents(
    model: MeasuresPerplexity, documents: Callable[[], Iterable[str]], *, progress: Progress = SILENT
) -> Perplexity:
    """Measure `model` on texts, whose token ids are kept on disk meanwhile.

    Args:
        documents: returns an iterator over the texts at each call; a model that reads unknown words by their characters needs
            them twice.

    Raises:
        UserError: there is no document.
    """
    tokenizer = model.store_tokenizer(documents())
    with tempfile.TemporaryDirectory() as folder:
        store = TokenStore.build(documents(), tokenizer, Path(folder) / "tokens", progress=progress)
        return evaluate_perplexity(model, store, tokenizer, progress=progress)


def document_batches(store: TokenStore) -> Iterator[tuple[Tensor, Tensor]]:
    """Documents of similar lengths, longest first: (B, T) and (B,)."""
    order = np.argsort(-store.lengths, kind="stable")
    start = 0
    while start < len(order):
        stop = start + max(1, min(BATCH_SIZE, MAX_IDS // len(store.document(int(order[start])))))
        documents = [store.document(int(number)) for number in order[start:stop]]
        start = stop
        lengths = torch.tensor([len(document) for document in documents])
        ids = torch.full((len(documents), int(lengths.max())), store.pad_id, dtype=torch.long)
        for row, document in enumerate(documents):
            ids[row, : len(document)] = torch.from_numpy(document.astype(np.int64))
        yield ids, lengths
