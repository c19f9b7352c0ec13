"""`unfreeze contextuality`: how contextual the layers of encoders are, as tables, pictures and a page."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from tyro.conf import Positional

from unfreeze.analysis.contextuality_settings import ContextualitySettings
from unfreeze.commands.console import Console
from unfreeze.commands.inputs import need_new
from unfreeze.commands.options import PredictionOptions, ReadsText
from unfreeze.display import aligned, counted
from unfreeze.errors import UserError

SHOWN = {
    "anisotropy": "anisotropy",
    "self_similarity": "self-similarity",
    "self_similarity_adjusted": "adjusted",
    "intra_sentence": "intra-sentence",
    "intra_sentence_adjusted": "adjusted ",
    "explained": "explained",
    "explained_adjusted": "adjusted  ",
    "isotropy": "isotropy",
    "effective_dimension": "dimension",
}
"""Columns of the printed table, whose heads must differ."""
MOST_ENCODERS = 6
"""More could not be told apart in the pictures."""
PANELS = 6
"""Spaces that are drawn: the lowest and the top layer of each encoder, from the first."""


@dataclass(kw_only=True)
class Contextuality(ReadsText, PredictionOptions):
    """Measure how contextual the layers of encoders of text are, and what shape their spaces have.

    For each layer: self-similarity of words, similarity of the words of a sentence, explained variance, each also adjusted by unrelated
    words; anisotropy, isotropy and effective dimension, with 95 % intervals. DIR gets contextuality.csv, contextuality.json, pictures (PNG
    and SVG) and report.html, a page with everything. Several encoders are compared on the words that all of them have.

    Example:
        unfreeze contextuality my-elmo --corpus sentences.txt --output how-contextual
        unfreeze contextuality vectors.txt my-cove my-elmo --corpus wiki/*.txt --sentences 20000 --output compared
    """

    encoders: Positional[tuple[str, ...]]
    """Encoders, language models or word vectors: folders, released names, owner/name on the hub, or files of word vectors."""

    corpus: tuple[str, ...]
    """Text to measure on: files, folders, globs, or hf:owner/name."""

    output: Path
    """Folder to write to."""

    sentences: int = 100_000
    """Largest number of sentences, from the first."""

    settings: ContextualitySettings = field(default_factory=ContextualitySettings)
    """What is compared."""

    def __post_init__(self) -> None:
        if self.sentences < 1:
            raise UserError("--sentences must be at least 1")
        if not self.encoders:
            raise UserError("no encoder was given: unfreeze contextuality ENCODER --corpus FILE --output DIR")
        if len(self.encoders) > MOST_ENCODERS:
            raise UserError(f"at most {MOST_ENCODERS} encoders are compared; {len(self.encoders)} were given")
        if len(set(self.encoders)) < len(self.encoders):
            raise UserError("an encoder was given twice")


def run(arguments: Contextuality, console: Console) -> None:
    """Measure each encoder, write the files, and print the table."""
    need_new(arguments.output, overwrite=arguments.overwrite)
    from itertools import islice

    from unfreeze.analysis.contexts import sentences
    from unfreeze.analysis.contextuality import contextuality, shared_words
    from unfreeze.analysis.contextuality_plots import draw_cone, draw_measures, draw_space
    from unfreeze.analysis.contextuality_report import Picture, write_csv, write_report
    from unfreeze.encoders.word_vectors import open_encoder
    from unfreeze.folders import write_json, writing
    from unfreeze.pictures import save_picture
    from unfreeze.text.corpus import stream_documents
    from unfreeze.training.precision import prediction_format

    names = _short_names(arguments.encoders)
    encoders = {name: open_encoder(place) for name, place in zip(names, arguments.encoders, strict=True)}
    documents = stream_documents(arguments.corpus, **arguments.reading)
    texts = list(islice(sentences(documents), arguments.sentences))
    if not texts:
        raise UserError(f"{', '.join(arguments.corpus)}: there is no sentence in it")
    reports = {}
    for name, encoder in encoders.items():
        console.note(f"{name}: {counted(len(texts), 'sentence')}")
        device = next(encoder.parameters()).device
        reports[name] = contextuality(
            encoder,
            texts,
            arguments.settings,
            number_format=lambda: prediction_format(arguments.precision, device),  # noqa: B023
            progress=console.progress,
        )
    words = None
    if len(reports) > 1:
        words = set(shared_words(list(reports.values())))
        console.note(f"words are compared on the {len(words):,} that all {len(reports)} encoders have")
    figures = {name: each.figures(words) for name, each in reports.items()}
    values = {name: each.as_dict(figures[name]) for name, each in reports.items()}
    output = arguments.output
    with writing(output):
        output.mkdir(parents=True, exist_ok=True)
    write_csv(figures, output / "contextuality.csv")
    write_json(output / "contextuality.json", values)
    panels = [
        (f"{name}, layer {layer}", each.sample[layer])
        for name, each in reports.items()
        for layer in dict.fromkeys((0, len(each.sample) - 1))
    ][:PANELS]
    samples = {name: each.sample for name, each in reports.items()}
    pictures = []
    for name, caption, figure in (
        ("measures", "The measures by layer, with their 95 % intervals.", draw_measures(figures)),
        ("cone", "Cosines of unrelated words by layer; the box has the quartiles.", draw_cone(samples)),
        ("space", "Unrelated words seen from the origin: a sphere, or a cone.", draw_space(panels)),
    ):
        for suffix in ("png", "svg"):
            save_picture(figure, output / f"{name}.{suffix}")
        pictures.append(Picture(output / f"{name}.svg", caption))
    corpus = f"Text: {', '.join(arguments.corpus)}"
    write_report(reports, figures, pictures, output / "report.html", corpus=corpus)
    rows = []
    for name, layers in figures.items():
        for each in layers:
            found = each.as_dict()
            rows.append(
                {
                    "encoder": name,
                    "layer": each.layer,
                    **{head: round(found[key], 3) for key, head in SHOWN.items()},
                }
            )
    console.result({"output": str(output), "encoders": values}, aligned(rows))
    console.note(f"tables, pictures and report are in {output}: open {output / 'report.html'}")


def _short_names(places: tuple[str, ...]) -> list[str]:
    """The last part of each path, where they differ."""
    short = [Path(place).name or place for place in places]
    return short if len(set(short)) == len(short) else list(places)
