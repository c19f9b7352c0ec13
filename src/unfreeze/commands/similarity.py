"""`unfreeze similarity`: how similar two words are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tyro.conf import Positional

from unfreeze.commands.console import Console


@dataclass(kw_only=True)
class Similarity:
    """Cosine similarity of two words: 1 for vectors of the same direction, 0 for orthogonal ones.

    `unfreeze evaluate VECTORS FOLDER` compares such similarities with human judgments of word pairs.

    Example:
        unfreeze similarity vectors.txt river bank
    """

    vectors: Positional[str]
    """Word vectors: a file (word2vec, GloVe, fastText, .npz; or .gz of these), or a model whose first layer is used."""

    a: Positional[str]
    """A word."""

    b: Positional[str]
    """Another word."""

    measure: Literal["cosine", "dot"] = "cosine"
    """Cosine similarity or dot product."""


def run(arguments: Similarity, console: Console) -> None:
    """Print the similarity of the two words."""
    from unfreeze.encoders.vector_source import open_vectors
    from unfreeze.vectors.neighbors import similarity

    a, b, measure = arguments.a, arguments.b, arguments.measure
    found = similarity(open_vectors(arguments.vectors, extra_words=(a, b)), a, b, measure=measure)
    console.result({"a": a, "b": b, measure: found}, f"{a}, {b}: {measure} {found:.4f}")
