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
from unfreeze.memory import keep_few_kernels

ADJUSTED = {
    "self-similarity": "self_similarity",
    "intra-sentence": "intra_sentence",
    "explained": "explained",
}
"""Columns of the printed table with a measure and, in parentheses, the same adjusted."""
MOST_ENCODERS = 6
"""More could not be told apart in the pictures."""
PANELS = 6
"""Most spaces in one picture: the lowest and the top layer of each encoder, or only the top layers of many."""
MOST_NAMED = 5
"""Corpora that the report names."""


@dataclass(kw_only=True)
class Contextuality(ReadsText, PredictionOptions):
    """Measure how contextual the layers of encoders of text are, and what shape their spaces have.

    For each layer: self-similarity of words, similarity of the words of a sentence, explained variance, each also adjusted by unrelated
    words; anisotropy, isotropy and effective dimension, with 95 % intervals. DIR gets contextuality.csv, contextuality.json, pictures (PNG
    and SVG) and report.html, a page with everything. The words of several encoders are compared where all of them have vectors.

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
    keep_few_kernels()
    from itertools import islice

    from unfreeze.analysis.contexts import sentences
    from unfreeze.analysis.contextuality import contextuality, shared_words
    from unfreeze.analysis.contextuality_plots import draw_cone, draw_measures, draw_space
    from unfreeze.analysis.contextuality_report import write_csv, write_report
    from unfreeze.analysis.report_page import Picture
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
    different = len(set(texts))
    repeated = f"; {len(texts) - different:,} repeated ones are left out" if different < len(texts) else ""
    console.note(f"{counted(different, 'different sentence')}{repeated}")
    reports = {}
    for name, encoder in encoders.items():
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
        common = "both" if len(reports) == 2 else f"all {len(reports)} encoders"
        console.note(
            f"self-similarity and explained variance are those of the {counted(len(words), 'word')} that {common} have"
        )
    figures = {name: each.figures(words) for name, each in reports.items()}
    values = {name: each.as_dict(figures[name], words) for name, each in reports.items()}
    output = arguments.output
    with writing(output):
        output.mkdir(parents=True, exist_ok=True)
    write_csv(figures, output / "contextuality.csv")
    write_json(output / "contextuality.json", values)
    tops = {name: len(each.sample) - 1 for name, each in reports.items()}
    shown = {name: tuple(dict.fromkeys((0, top))) for name, top in tops.items()}
    if sum(map(len, shown.values())) > PANELS:
        shown = {name: (top,) for name, top in tops.items()}
    panels = [
        (f"{name}, layer {layer}", reports[name].sample[layer])
        for name, layers in shown.items()
        for layer in layers
    ]
    samples = {name: each.sample for name, each in reports.items()}
    pictures = []
    for name, title, caption, figure in (
        (
            "measures",
            "Measures by layer",
            "Above: as measured. Below: adjusted, minus the same of unrelated words. Bars: 95 % intervals.",
            draw_measures(figures),
        ),
        (
            "cone",
            "Cosines of unrelated words",
            "The wider a shape, the more pairs of words have this cosine. Mean 0: the vectors point in all directions.",
            draw_cone(samples),
        ),
        (
            "space",
            "Directions of unrelated words",
            "Each line is the direction of a word, seen from the origin. Lines on all sides: isotropic; on one side: a cone.",
            draw_space(panels),
        ),
    ):
        for suffix in ("png", "svg"):
            save_picture(figure, output / f"{name}.{suffix}")
        pictures.append(Picture(output / f"{name}.svg", title, caption))
    read = [Path(place).name or place for place in arguments.corpus]
    more = f" and {len(read) - MOST_NAMED} more" if len(read) > MOST_NAMED else ""
    corpus = f"Text: {', '.join(read[:MOST_NAMED])}{more}"
    write_report(reports, figures, pictures, output / "report.html", corpus=corpus)
    rows = [
        {
            "encoder": name,
            "layer": each.layer,
            "anisotropy": f"{each.anisotropy.value:.3f}",
            **{
                head: f"{getattr(each, field).value:.3f} ({getattr(each, f'{field}_adjusted').value:.3f})"
                for head, field in ADJUSTED.items()
            },
            "isotropy": f"{each.isotropy:.2g}",
            "dimension": f"{each.effective_dimension:.1f}",
        }
        for name, layers in figures.items()
        for each in layers
    ]
    text = f"{aligned(rows)}\n(in parentheses: adjusted, minus the same measure of unrelated words)"
    console.result({"output": str(output), "encoders": values}, text)
    console.note(f"tables, pictures and report are in {output}: open {output / 'report.html'}")


def _short_names(places: tuple[str, ...]) -> list[str]:
    """The last part of each path, where they differ."""
    short = [Path(place).name or place for place in places]
    return short if len(set(short)) == len(short) else list(places)
