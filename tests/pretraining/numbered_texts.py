"""Corpora of numbers: a tokenizer whose tokens are their ids, and a recorder of progress."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from unfreeze.progress import Bar, Progress
from unfreeze.text.token_store import TokenStore

BOS = 0


class NumberTokenizer:
    """Ids as numbers in the text; id 0 begins each document."""

    pad_id = BOS
    special_ids = frozenset({BOS})

    def __init__(self, size: int) -> None:
        self.size = size

    def __len__(self) -> int:
        return self.size

    def fingerprint(self) -> str:
        return f"numbers-{self.size}"

    def token(self, number: int) -> str:
        return f"w{number}"

    def encode_with_unknown_bytes(self, texts: list[str]) -> list[tuple[list[int], int]]:
        return [([BOS, *map(int, text.split())], 0) for text in texts]


def make_store(folder: Path, documents: list[list[int]], size: int) -> TokenStore:
    texts = [" ".join(map(str, document)) for document in documents]
    return TokenStore.build(texts, NumberTokenizer(size), folder / "store", workers=1)


class Recorder(Progress):
    """Keeps what the bar was told."""

    def __init__(self) -> None:
        self.steps: list[int] = []
        self.figures: list[dict[str, float]] = []

    @contextmanager
    def bar(self, what: str, total: int | None = None, unit: str = "it") -> Iterator[Bar]:
        recorder = self

        class Recording(Bar):
            def advance(self, n: int = 1, **figures: float) -> None:
                recorder.steps.append(n)
                recorder.figures.append(figures)

        yield Recording()


def two_topics(n_documents: int = 300) -> list[list[int]]:
    """Documents of words 1-10 and of words 11-20, in turn."""
    rng = np.random.default_rng(0)
    return [rng.integers(1 + 10 * (i % 2), 11 + 10 * (i % 2), 40).tolist() for i in range(n_documents)]


def topic_contrast(matrix: np.ndarray) -> float:
    """Mean cosine within the topics minus that between them."""
    unit = matrix[1:] / np.linalg.norm(matrix[1:], axis=1, keepdims=True)
    cosines = unit @ unit.T
    within = [
        cosines[:10, :10][~np.eye(10, dtype=bool)].mean(),
        cosines[10:, 10:][~np.eye(10, dtype=bool)].mean(),
    ]
    return float(min(within) - cosines[:10, 10:].mean())
