"""`unfreeze neighbors`: the words nearest to a word or a sum of words, the occurrences nearest to one in a sentence, or images."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from unfreeze.checked import need_positive
from unfreeze.commands.console import Console
from unfreeze.commands.inputs import refuse_images
from unfreeze.commands.options import PlotOptions, ReadsText
from unfreeze.display import aligned, cut
from unfreeze.errors import UserError

SENTENCE_WIDTH = 200
"""Characters of a sentence that are printed; --json has all."""


@dataclass(kw_only=True)
class Neighbors(ReadsText, PlotOptions):
    """Find the words whose vectors are nearest to that of a word, or to the sum of several words' vectors.

    A sum answers analogies: man is to king as woman is to "king woman --minus man". For cosines, the vectors of a sum are
    scaled to length 1 first. The search is exact. With --sentence and --corpus, the word is taken in that sentence, and its
    nearest occurrences in the corpus are shown, each in its sentence; the vectors of the corpus are cached. With a ConvNet and
    --images, the images of a folder whose features are nearest to those of an image are shown.

    Example:
        unfreeze neighbors my-elmo bank --sentence "he sat on the bank of the river" --corpus texts/
        unfreeze neighbors vectors.txt bank --top 20 --plot bank.png
        unfreeze neighbors vectors.bin king woman --minus man -k 5
        unfreeze neighbors my-lm superb
        unfreeze neighbors my-convnet cat.jpg --images photos/ --plot cats.png
    """

    vectors: Positional[str]
    """Word vectors: a file (word2vec, GloVe, fastText, .npz; or .gz of these), or a model whose first layer is used; or a
    ConvNet."""

    words: Positional[tuple[str, ...]] = ()
    """Words whose vectors are added; with --images, image files, or folders with their subfolders."""

    minus: tuple[str, ...] = ()
    """Words whose vectors are subtracted."""

    top: Annotated[int, arg(aliases=("-k",))] = 10
    """Number of words, occurrences or images to show."""

    measure: Literal["cosine", "dot"] = "cosine"
    """Cosine similarity, or dot product, which favors long vectors."""

    sentence: str | None = None
    """Sentence in which the word occurs; needs a contextual encoder."""

    corpus: tuple[str, ...] = ()
    """With --sentence: text to search for occurrences: files, folders, globs."""

    images: tuple[str, ...] = ()
    """With a ConvNet: images to search: files, or folders with their subfolders."""

    layer: int = -1
    """With --sentence or --images: layer of the encoder, counted from 0; -1 is the last."""

    any_word: bool = False
    """With --sentence: search the occurrences of all words instead of those of this word."""

    projection: Literal["pca", "tsne"] = "pca"
    """Projection of the plot to two dimensions; t-SNE needs ten words."""

    def __post_init__(self) -> None:
        need_positive(self, "top")
        if not self.words:
            raise UserError("no word was given: unfreeze neighbors VECTORS WORD")
        if self.images and (
            self.minus or self.sentence is not None or self.corpus or self.measure != "cosine"
        ):
            raise UserError("--images goes without --minus, --measure, --sentence and --corpus")
        if (self.sentence is None) != (not self.corpus):
            raise UserError(
                "--sentence and --corpus go together: a word in a sentence, and the text to search"
            )
        if self.sentence is not None and (len(self.words) > 1 or self.minus or self.plot is not None):
            raise UserError("--sentence takes one word, without --minus and --plot")


def run(arguments: Neighbors, console: Console) -> None:
    """Print the nearest words, and plot them if `--plot` is given."""
    arguments.need_picture()
    if arguments.images:
        return run_of_images(arguments, console)
    from unfreeze.analysis.neighborhood_plot import plot_neighborhood
    from unfreeze.encoders.vector_source import open_vectors
    from unfreeze.vectors.neighbors import NeighborIndex, as_formula

    refuse_images(
        arguments.vectors, "add the images to search, --images DIR, to find the neighbors of an image"
    )
    if arguments.sentence is not None:
        return run_in_context(arguments, arguments.sentence, console)
    words, minus, measure = arguments.words, arguments.minus, arguments.measure
    index = NeighborIndex(open_vectors(arguments.vectors, extra_words=(*words, *minus)), measure=measure)
    found = index.nearest(words, minus, top=arguments.top)
    rows = [
        {"rank": rank, "word": each.word, measure: each.score} for rank, each in enumerate(found, start=1)
    ]
    if arguments.plot is not None:
        plot_neighborhood(index, found, words, minus, arguments.plot, projection=arguments.projection)
    query = as_formula(words, minus)
    text = aligned(rows) if rows else "no other word has a vector with a direction"
    console.result({"query": query, "measure": measure, "neighbors": rows}, f"{query}\n{text}")
    if arguments.plot is not None:
        console.note(f"drawn: {arguments.plot}")


def run_in_context(arguments: Neighbors, sentence: str, console: Console) -> None:
    """Print the nearest occurrences in the corpus, each with its sentence."""
    from unfreeze.analysis.contexts import embed_corpus, nearest_occurrences, word_vector
    from unfreeze.encoders.word_vectors import open_encoder
    from unfreeze.registry import weights_digest

    encoder, weights = open_encoder(arguments.vectors), weights_digest(arguments.vectors)
    (word,) = arguments.words
    vector = word_vector(encoder, sentence, word, arguments.layer)
    text = embed_corpus(
        encoder, weights, arguments.corpus, arguments.layer, **arguments.reading, progress=console.progress
    )
    found = nearest_occurrences(
        text, vector, word=None if arguments.any_word else word, top=arguments.top, excluded=sentence
    )
    rows = [{"rank": rank, **asdict(each)} for rank, each in enumerate(found, start=1)]
    lines = [f"{each.score:.3f}  {each.word}  {cut(each.sentence, SENTENCE_WIDTH)}" for each in found]
    shown = "\n".join(lines) if lines else f"the corpus has no other occurrence of {word!r}"
    console.result({"query": word, "sentence": sentence, "occurrences": rows}, f"{word}: {sentence}\n{shown}")


def run_of_images(arguments: Neighbors, console: Console) -> None:
    """Print the nearest images of each image, and draw them if `--plot` is given."""
    from unfreeze.analysis.image_features import nearest_images
    from unfreeze.analysis.image_plots import plot_nearest
    from unfreeze.encoders.base import Encoder
    from unfreeze.encoders.image_encoder import ImageEncoder
    from unfreeze.vision.finding import find_images

    encoder = Encoder.from_pretrained(arguments.vectors)
    if not isinstance(encoder, ImageEncoder):
        raise UserError(
            f"{arguments.vectors} is of kind {encoder.kind}, which reads no images: name a ConvNet"
        )
    queries = [each.path for each in find_images(arguments.words)]
    collection = list(find_images(arguments.images))
    found = nearest_images(
        encoder,
        queries,
        collection,
        top=arguments.top,
        layer=arguments.layer,
        progress=console.progress,
    )
    if arguments.plot is not None:
        plot_nearest(queries, found, arguments.plot)
    for image, near in zip(map(str, queries), found, strict=True):
        rows = [
            {"rank": rank, "image": each.image, "cosine": each.score} for rank, each in enumerate(near, 1)
        ]
        text = aligned(rows) if rows else "there is no other image"
        console.result({"query": image, "measure": "cosine", "neighbors": rows}, f"{image}\n{text}")
    if arguments.plot is not None:
        console.note(f"drawn: {arguments.plot}")
