"""`unfreeze neighbors`: the words nearest to a word or a sum of words, or the occurrences nearest to one in a sentence."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from unfreeze.commands.console import Console, aligned
from unfreeze.commands.inputs import need_picture
from unfreeze.commands.options import ReadsText
from unfreeze.errors import UserError
from unfreeze.text.display import cut

SHOWN = 200
"""Characters of a sentence that are printed; --json has all."""


@dataclass(kw_only=True)
class Neighbors(ReadsText):
    """The words whose vectors are nearest to a word's, or to the sum of several words' vectors.

    A sum answers analogies: man is to king as woman is to "king woman --minus man". For cosines each vector of a sum has
    length 1 first. The search is exact. With --sentence and --corpus the word is taken in that sentence, and its nearest
    occurrences in the corpus are shown, each in its own; the corpus is embedded once and kept.

    Example:
        unfreeze neighbors my-elmo bank --sentence "he sat on the bank of the river" --corpus texts/
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

    sentence: str | None = None
    """The word as it stands in this sentence, by a contextual encoder."""

    corpus: tuple[str, ...] = ()
    """With --sentence: text whose occurrences are searched; files, folders, globs."""

    layer: int = -1
    """With --sentence: which of the encoder's layers, counted from 0; -1 is the last."""

    any_word: bool = False
    """With --sentence: search the occurrences of all words, not of this one alone."""

    plot: Path | None = None
    """Draw the words into this file (.png, .svg or .pdf)."""

    projection: Literal["pca", "tsne"] = "pca"
    """How the picture comes to two dimensions; t-SNE needs ten words."""

    overwrite: bool = False
    """Replace a picture that is there."""

    def __post_init__(self) -> None:
        if self.top < 1:
            raise UserError(f"--top must be at least 1, not {self.top}")
        if not self.words:
            raise UserError("no word was given: unfreeze neighbors VECTORS WORD")
        if (self.sentence is None) != (not self.corpus):
            raise UserError(
                "--sentence and --corpus go together: a word in a sentence, and where to look for it"
            )
        if self.sentence is not None and (len(self.words) > 1 or self.minus or self.plot is not None):
            raise UserError("--sentence takes one word, without --minus and --plot")


def run(arguments: Neighbors, console: Console) -> None:
    """Print the ranked words; draw them where asked."""
    need_picture(arguments.plot, overwrite=arguments.overwrite)
    from unfreeze.analysis.neighborhood_plot import plot_neighborhood
    from unfreeze.encoders.vector_source import open_vectors
    from unfreeze.vectors.neighbors import NeighborIndex, as_formula

    if arguments.sentence is not None:
        return run_in_context(arguments, arguments.sentence, console)
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


def run_in_context(arguments: Neighbors, sentence: str, console: Console) -> None:
    """Print the nearest occurrences, each with its sentence."""
    from unfreeze.analysis.contexts import embed_corpus, nearest_occurrences, word_vector
    from unfreeze.commands.embed import load
    from unfreeze.registry import weights_digest

    encoder = load(arguments.vectors)
    (word,) = arguments.words
    vector = word_vector(encoder, sentence, word, arguments.layer)
    weights = weights_digest(arguments.vectors)
    text = embed_corpus(
        encoder, weights, arguments.corpus, arguments.layer, **arguments.reading, progress=console.progress
    )
    found = nearest_occurrences(
        text, vector, word=None if arguments.any_word else word, top=arguments.top, excluded=sentence
    )
    rows = [{"rank": rank, **asdict(each)} for rank, each in enumerate(found, start=1)]
    lines = [f"{each.score:.3f}  {each.word}  {cut(each.sentence, SHOWN)}" for each in found]
    shown = "\n".join(lines) if lines else f"the corpus has no other occurrence of {word!r}"
    console.result({"query": word, "sentence": sentence, "occurrences": rows}, f"{word}: {sentence}\n{shown}")
