"""`unfreeze similarity`: how similar two words are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tyro.conf import Positional

from unfreeze.commands.console import Console


@dataclass(kw_only=True)
class Similarity:
    """Cosine of two words' vectors: 1 for the same direction, 0 for nothing in common.

    `unfreeze evaluate VECTORS FOLDER` compares such cosines with what people say of pairs of words.

    Example:
        unfreeze similarity vectors.txt river bank
    """

    vectors: Positional[str]
    """A file (word2vec, GloVe, .npz; .gz of these), or a model whose first layer is asked: a folder, a released name."""

    a: Positional[str]
    """A word."""

    b: Positional[str]
    """Another word."""

    measure: Literal["cosine", "dot"] = "cosine"
    """Cosine, or dot product."""


def run(arguments: Similarity, console: Console) -> None:
    """Print one number."""
    from unfreeze.encoders.vector_source import open_vectors
    from unfreeze.vectors.neighbors import similarity

    table = open_vectors(arguments.vectors, besides=(arguments.a, arguments.b))
    found = similarity(table, arguments.a, arguments.b, measure=arguments.measure)
    values = {"a": arguments.a, "b": arguments.b, arguments.measure: found}
    console.result(values, f"{arguments.a}, {arguments.b}: {arguments.measure} {found:.4f}")
