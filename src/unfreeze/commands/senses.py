"""`unfreeze senses`: the senses of a word, as clusters of its occurrences in a text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from tyro.conf import Positional

from unfreeze.checked import need_positive, need_seed
from unfreeze.commands.console import Console
from unfreeze.commands.options import PlotOptions, ReadsText
from unfreeze.display import counted
from unfreeze.errors import UserError

CONTEXT = 45
"""Characters that are shown on each side of the word."""
MOST_DRAWN = 8
"""Senses that can be told apart in a picture."""
WORDS_AROUND = 4
"""Words on each side that name a sense in the picture."""


@dataclass(kw_only=True)
class Senses(ReadsText, PlotOptions):
    """Cluster the occurrences of a word in a text by their context, and show typical sentences of each cluster.

    An occurrence is described by the vectors of the other words of its sentence (rare ones count more), or with `--by word` by the word's own
    vector, which depends more on grammar than on the sense, and is always the same if the encoder is one of static word vectors. The number of
    senses is the one whose clusters are clearest (largest mean silhouette), or one if these are no clearer than in a cloud without clusters.
    Clusters are not always senses: a frequent word with a single sense is divided by the topics of its sentences.

    Example:
        unfreeze senses my-elmo mouse --corpus texts/
        unfreeze senses my-elmo bank --corpus wiki.txt --senses 2 --top 5 --plot bank.png
    """

    encoder: Positional[str]
    """Encoder, language model or word vectors: a folder, a released name, owner/name on the hub, or a file of word vectors."""

    word: Positional[str]
    """The word; case is ignored."""

    corpus: tuple[str, ...]
    """Text with the word: files, folders, globs, or hf:owner/name."""

    by: Literal["sentence", "word"] = "sentence"
    """Cluster the occurrences by the other words of their sentences, or by the vectors of the word itself."""

    layer: int = -1
    """Layer of the encoder, counted from 0; -1 is the last."""

    senses: int | None = None
    """Number of senses (default: chosen by the vectors)."""

    most_senses: int = 8
    """Largest number of senses that is tried."""

    occurrences: int = 1000
    """Largest number of occurrences; of more, so many are sampled."""

    top: int = 3
    """Number of sentences to show for each sense."""

    seed: int = 0
    """Seed of all random numbers: the same seed gives the same senses."""

    def __post_init__(self) -> None:
        need_positive(self, "senses", "top")
        need_seed(self.seed)
        if self.occurrences < 2:
            raise UserError("--occurrences must be at least 2: one cannot be compared")
        if self.most_senses < 2:
            raise UserError("--most-senses must be at least 2; for a single cluster use --senses 1")
        if self.senses is not None and self.most_senses != Senses.most_senses:
            raise UserError("--most-senses has no effect with --senses")
        if self.plot is not None and (most := self.senses or self.most_senses) > MOST_DRAWN:
            name = "--most-senses" if self.senses is None else "--senses"
            raise UserError(f"--plot can show at most {MOST_DRAWN} senses, and {name} is {most}")


def run(arguments: Senses, console: Console) -> None:
    """Print the clusters, and draw them if `--plot` is given."""
    arguments.need_picture()
    from unfreeze.analysis.contexts import sentences
    from unfreeze.analysis.senses import cluster_senses, context_vectors, find_occurrences, vectors_at
    from unfreeze.encoders.base import layer_number
    from unfreeze.encoders.word_vectors import open_encoder
    from unfreeze.text.corpus import stream_documents

    encoder, word = open_encoder(arguments.encoder), arguments.word
    layer = layer_number(arguments.layer, len(encoder.widths))
    with console.progress.bar("read", unit="sentence") as bar:

        def read() -> Iterator[str]:
            for text in sentences(stream_documents(arguments.corpus, **arguments.reading)):
                bar.advance(1)
                yield text

        found = find_occurrences(encoder, read(), word, most=arguments.occurrences, seed=arguments.seed)
    describe = context_vectors if arguments.by == "sentence" else vectors_at
    clustered = describe(encoder, found.sentences, found.places, console.progress)[layer]
    senses = cluster_senses(
        clustered, senses=arguments.senses, most_senses=arguments.most_senses, seed=arguments.seed
    )
    if arguments.plot is not None:
        from unfreeze.analysis.contextuality_plots import plot_occurrences

        vectors = vectors_at(encoder, found.sentences, found.places)
        panels = [(f"{word}, layer {each}", vectors[each]) for each in dict.fromkeys((0, layer))]
        if arguments.by == "sentence":
            panels.append((f"its sentences, layer {layer}", clustered))
        first = [own[0] for own in senses.typical]
        names = [_around(found.sentences[each], found.places[each]) for each in first]
        plot_occurrences(panels, senses.labels.tolist(), names, arguments.plot)
    lines = [
        f"{word}: {counted(found.n_found, 'sentence')}"
        + (f", {len(found):,} of them compared" if len(found) < found.n_found else "")
        + f"; {senses.reason}"
    ]
    rows = []
    for number, own in enumerate(senses.typical, start=1):
        shown = [(found.sentences[each], found.places[each]) for each in own[: arguments.top]]
        lines += [
            f"\nsense {number}: {counted(len(own), 'occurrence')} ({100 * len(own) / len(found):.0f} %)"
        ]
        lines += [_in_context(words, place) for words, place in shown]
        rows.append({"occurrences": len(own), "typical": [" ".join(words) for words, _ in shown]})
    values = {
        "word": word,
        "by": arguments.by,
        "layer": layer,
        "sentences": found.n_found,
        "compared": len(found),
        "senses": rows,
        "silhouettes": senses.silhouettes,
        "silhouette_without_senses": senses.null,
        "reason": senses.reason,
    }
    console.result(values, "\n".join(lines))
    if arguments.plot is not None:
        console.note(f"drawn: {arguments.plot}")


def _around(words: list[str], place: int) -> str:
    """The word with a few others around it, which name a sense in a picture."""
    return " ".join(words[max(0, place - WORDS_AROUND) : place + WORDS_AROUND + 1]).strip(" ,.;:")


def _in_context(words: list[str], place: int) -> str:
    """A line with the word in the middle column, as concordances have it."""
    before, after = " ".join(words[:place]), " ".join(words[place + 1 :])
    before = before if len(before) <= CONTEXT else "…" + before[1 - CONTEXT :]
    after = after if len(after) <= CONTEXT else after[: CONTEXT - 1] + "…"
    return f"  {before:>{CONTEXT}} [{words[place]}] {after}"
