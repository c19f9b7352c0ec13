"""`unfreeze neighbors`: the words nearest to a word, or to a sum of words."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from unfreeze.commands.console import Console, aligned
from unfreeze.commands.inputs import need_picture
from unfreeze.errors import UserError


@dataclass(kw_only=True)
class Neighbors:
    """The words whose vectors are nearest to a word's, or to the sum of several words' vectors.

    A sum answers analogies: man is to king as woman is to "king woman --minus man". For cosines each vector of a sum has
    length 1 first. The search is exact.

    Example:
        unfreeze neighbors vectors.txt bank --top 20 --plot bank.png
        unfreeze neighbors vectors.bin king woman --minus man -k 5
        unfreeze neighbors my-lm superb
    """

    vectors: Positional[str]
    """A file (word2vec, GloVe, .npz; .gz of these), or a model whose first layer is asked: a folder, a released name."""

    words: Positional[tuple[str, ...]] = ()
    """Words; several are added up."""

    minus: tuple[str, ...] = ()
    """Words to be subtracted."""

    top: Annotated[int, arg(aliases=("-k",))] = 10
    """How many words to show."""

    measure: Literal["cosine", "dot"] = "cosine"
    """Nearest by cosine, or by dot product, which favors long vectors."""

    plot: Path | None = None
    """Draw the words into this file (.png, .svg or .pdf)."""

    projection: Literal["pca", "tsne"] = "pca"
    """How the picture comes to two dimensions; t-SNE needs ten words."""

    def __post_init__(self) -> None:
        if self.top < 1:
            raise UserError(f"--top must be at least 1, not {self.top}")
        if not self.words:
            raise UserError("no word was given: unfreeze neighbors VECTORS WORD")
        need_picture(self.plot)


def run(arguments: Neighbors, console: Console) -> None:
    """Print the ranked words; draw them where asked."""
    from unfreeze.analysis.neighborhood_plot import plot_neighborhood
    from unfreeze.analysis.neighbors import NeighborIndex, as_formula
    from unfreeze.encoders.vector_source import open_vectors

    asked = (*arguments.words, *arguments.minus)
    index = NeighborIndex(open_vectors(arguments.vectors, besides=asked), measure=arguments.measure)
    found = index.nearest(arguments.words, arguments.minus, top=arguments.top)
    rows = [
        {"rank": rank, "word": neighbor.word, arguments.measure: neighbor.score}
        for rank, neighbor in enumerate(found, start=1)
    ]
    if arguments.plot is not None:
        plot_neighborhood(
            index,
            found,
            arguments.words,
            arguments.minus,
            arguments.plot,
            projection=arguments.projection,
        )
    query = as_formula(arguments.words, arguments.minus)
    text = aligned(rows) if rows else "no other word has a vector with a direction"
    console.result({"query": query, "measure": arguments.measure, "neighbors": rows}, f"{query}\n{text}")
    if arguments.plot is not None:
        console.note(f"drawn: {arguments.plot}")
