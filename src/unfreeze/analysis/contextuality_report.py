"""The figures of contextuality as tables, and as one HTML page that needs no other file and asks no host for anything."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from unfreeze.analysis.contextuality import Contextuality, LayerFigures
from unfreeze.analysis.geometry import Estimate
from unfreeze.analysis.report_page import Picture, figure, scrolling, write_page
from unfreeze.display import counted
from unfreeze.folders import written_file

MEASURES = {
    "anisotropy": (
        "anisotropy",
        (
            "Mean cosine of unrelated words, a random word of each of at most {sample} random sentences: near 0 the vectors point in all directions, at 1 "
            "they all point in the same one."
        ),
    ),
    "self_similarity": (
        "self-similarity",
        (
            "Mean cosine of two occurrences of the same word, averaged over the words: 1 means that a word has the same vector in all "
            "sentences, as in static word vectors; the lower, the more its vectors depend on the context."
        ),
    ),
    "intra_sentence": (
        "intra-sentence similarity",
        (
            "Mean cosine of the words of a sentence and their mean vector, averaged over the sentences, at most 1: the higher, the more the words of "
            "one sentence are alike."
        ),
    ),
    "explained": (
        "explained variance",
        (
            "Largest share of {variance} that one vector can explain, averaged over the words: 1 means that a static vector could replace those of "
            "all contexts; the lower, the more the vectors depend on the context."
        ),
    ),
}
"""Name and explanation of each measure; all but the first are also adjusted by a baseline of unrelated words."""
OTHERS = {
    "adjusted": "The measure minus that of unrelated words (anisotropy, or their explained variance), so that spaces that differ in anisotropy can be "
    "compared: 0 means no more alike than unrelated words. One vector explains more of few vectors than of many, so the adjusted explained "
    "variance of rare words is above 0 in any case: compare it between layers and encoders.",
    "isotropy": "Smallest value of the partition function of the sampled words divided by its largest, from 0 to 1: 1 means that all directions "
    "are alike; unlike the cosines, it depends on the lengths of the vectors.",
    "effective dimension": "Number of directions in which the sampled words vary (participation ratio of the variances of their principal "
    "components): from 1, a line, to the width of the layer, all directions equally.",
}
"""Explanation of the other terms."""
VARIANCES = {
    "uncentered": "the squared length of a word's occurrences",
    "centered": "the variance of a word's occurrences around their mean",
}


def write_csv(figures: Mapping[str, Sequence[LayerFigures]], path: Path) -> None:
    """Write a line for each encoder and layer."""
    rows = [{"encoder": name, **each.as_dict()} for name, layers in figures.items() for each in layers]
    with written_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def write_report(
    reports: Mapping[str, Contextuality],
    figures: Mapping[str, Sequence[LayerFigures]],
    pictures: Sequence[Picture],
    path: Path,
    *,
    corpus: str,
) -> None:
    """Write the page.

    Args:
        reports: what was measured of each encoder.
        figures: of each encoder on the words that all have.
        pictures: stored in the page.
        corpus: what the sentences are.
    """
    first = next(iter(reports.values()))
    facts = {
        "sample": f"{first.settings.sample:,}",
        "variance": VARIANCES[first.settings.explained],
    }
    terms = {name: text.format(**facts) for name, text in MEASURES.values()} | OTHERS
    shown = [figure(each) for each in pictures]
    parts = [
        _data(reports, corpus),
        *shown[:1],
        "<h2>What the measures mean</h2>\n<dl>",
        *(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in terms.items()),
        "</dl>\n<p>Measures: Ethayarajh (2019); isotropy: Mu and Viswanath (2018).</p>",
        *shown[1:],
        "<h2>All values</h2>\n<p>In brackets: 95 % bootstrap intervals over words, sentences and sampled words.</p>",
        _table(figures),
    ]
    write_page(path, "How contextual is each layer?", parts)


def _data(reports: Mapping[str, Contextuality], corpus: str) -> str:
    """What was compared: the sentences, and the words of each encoder."""
    first = next(iter(reports.values()))
    repeated = f"; {first.n_repeated:,} repeated ones were left out" if first.n_repeated else ""
    lines = []
    for name, each in reports.items():
        without = each.n_without_vector
        left_out = f" ({without:,} more without a vector were left out)" if without else ""
        lines.append(
            f"{name}: {counted(len(each.words), 'word')}{left_out}, {counted(int(each.counts.sum()), 'occurrence')}"
        )
    words = set.intersection(*(set(each.words) for each in reports.values()))
    common = "both" if len(reports) == 2 else f"all {len(reports)} encoders"
    compared = (
        ""
        if len(reports) == 1
        else f"<p>Self-similarity and explained variance are compared on the {counted(len(words), 'word')} that {common} have, the other "
        "measures on all words with vectors.</p>"
    )
    return (
        f"<h2>Data</h2>\n<p>{escape(corpus)}: {counted(first.n_sentences, 'different sentence')}{repeated}. Words that occur in at least "
        f"{first.settings.least_contexts} of them:</p>\n<ul>"
        + "".join(f"<li>{escape(line)}</li>" for line in lines)
        + f"</ul>\n{compared}"
    )


def _table(figures: Mapping[str, Sequence[LayerFigures]]) -> str:
    """A line for each layer; each measure but the first has two columns."""
    upper, lower = [], []
    for measure, (name, _) in MEASURES.items():
        if measure == "anisotropy":
            upper.append(f'<th rowspan="2">{name}</th>')
        else:
            upper.append(f'<th colspan="2">{name}</th>')
            lower += ["<th>raw</th>", "<th>adjusted</th>"]
    ends = ['<th rowspan="2">isotropy</th>', '<th rowspan="2">effective<br>dimension</th>']
    starts = ['<th rowspan="2">encoder, layer</th>', '<th rowspan="2">width</th>']
    lines = []
    for name, layers in figures.items():
        for each in layers:
            names = [
                field
                for measure in MEASURES
                for field in (measure, f"{measure}_adjusted")
                if hasattr(each, field)
            ]
            cells = [
                str(each.width),
                *(_estimate(getattr(each, field)) for field in names),
                f"{each.isotropy:.2g}",
                f"{each.effective_dimension:.1f}",
            ]
            head = f'<th scope="row">{escape(name)}, layer&nbsp;{each.layer}</th>'
            lines.append(f"<tr>{head}{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    header = f"<thead><tr>{''.join([*starts, *upper, *ends])}</tr><tr>{''.join(lower)}</tr></thead>"
    body = "\n".join(lines)
    return scrolling(f"<table>{header}\n<tbody>{body}</tbody></table>", "All values")


def _estimate(value: Estimate) -> str:
    return f"{value.value:.3f}<br><small>[{value.low:.3f}, {value.high:.3f}]</small>"
