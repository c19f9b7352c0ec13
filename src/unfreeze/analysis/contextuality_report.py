"""The figures of contextuality as tables, and as one HTML page that needs no other file and asks no host for anything."""

from __future__ import annotations

import base64
import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from unfreeze.analysis.contextuality import Contextuality, LayerFigures
from unfreeze.analysis.geometry import Estimate
from unfreeze.display import counted
from unfreeze.folders import written_file

MEASURES = {
    "anisotropy": (
        "anisotropy",
        (
            "Mean cosine of unrelated words: a random word of each of {n_sampled} random sentences. Near 0 the vectors point in all directions; "
            "near 1 they lie in a narrow cone."
        ),
    ),
    "self_similarity": (
        "self-similarity",
        "Mean cosine of the occurrences of a word, averaged over the words. A static vector has 1; the lower, the more the context matters.",
    ),
    "intra_sentence": (
        "intra-sentence similarity",
        "Mean cosine of the words of a sentence and their mean, averaged over the sentences.",
    ),
    "explained": (
        "explained variance",
        "How much of the occurrences of a word a single vector explains at most (share of the first squared singular value), averaged over the words.",
    ),
}
"""Name and explanation of each measure; all but the first are also adjusted by a baseline of unrelated words."""
STYLE = """
:root { color-scheme: light }
body { font: 16px/1.55 system-ui, sans-serif; max-width: 64rem; margin: 2rem auto; padding: 0 1rem; color: #1b1b1b; background: #fff }
h1 { font-size: 1.6rem } h2 { font-size: 1.15rem; margin-top: 2.2rem }
.wide { overflow-x: auto } table { border-collapse: collapse; font-variant-numeric: tabular-nums; white-space: nowrap }
th, td { padding: .3rem .7rem; text-align: right; border-bottom: 1px solid #ddd } th:first-child, td:first-child { text-align: left }
td small { color: #666 } figure { margin: 1.5rem 0 } img { max-width: 100%; height: auto } figcaption, dd { color: #444 } dt { font-weight: 600; margin-top: .6rem }
"""


@dataclass(frozen=True)
class Picture:
    """A picture of the report."""

    path: Path
    """An SVG or PNG file."""
    caption: str


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
    facts = {"n_sampled": f"{len(first.sample[0]):,}"}
    parts = [
        f"<h1>How contextual is it?</h1>\n<p>{escape(_summary(reports, corpus))}</p>",
        *(_figure(each) for each in pictures),
        "<h2>Figures</h2>",
        _table(figures),
        "<h2>Measures</h2>\n<dl>",
        *(
            f"<dt>{escape(name)}</dt><dd>{escape(text.format(**facts))}</dd>"
            for name, text in MEASURES.values()
        ),
        (
            "<dt>adjusted</dt><dd>Minus the same measure of unrelated words: anisotropy, or their explained variance.</dd>"
            "<dt>isotropy</dt><dd>Smallest value of the partition function of the sampled words divided by its largest; 1 is isotropic.</dd>"
            "<dt>dimension</dt><dd>Effective dimension of the sampled words (participation ratio of their variances).</dd></dl>"
        ),
        (
            f"<p>In brackets: 95 % bootstrap intervals over words, sentences and sampled words. Explained variance is {first.settings.explained}. "
            "Measures: Ethayarajh (2019); isotropy: Mu and Viswanath (2018).</p>"
        ),
    ]
    page = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>How contextual is it?</title><style>{STYLE}</style></head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )
    with written_file(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _summary(reports: Mapping[str, Contextuality], corpus: str) -> str:
    words = set.intersection(*(set(each.words) for each in reports.values()))
    parts = []
    for name, each in reports.items():
        left_out = f", {each.n_without_vector:,} without a vector" if each.n_without_vector else ""
        parts.append(
            f"{name}: {counted(each.n_sentences, 'sentence')}, {counted(len(each.words), 'word')} in at least "
            f"{each.settings.least_contexts} of them{left_out}, {counted(int(each.counts.sum()), 'occurrence')}"
        )
    compared = (
        "" if len(reports) == 1 else f" Words are compared on the {len(words):,} that all encoders have."
    )
    return f"{corpus}. {'; '.join(parts)}.{compared}"


def _figure(picture: Picture) -> str:
    kind = "svg+xml" if picture.path.suffix == ".svg" else "png"
    data = base64.b64encode(picture.path.read_bytes()).decode()
    caption = escape(picture.caption)
    return f'<figure><img alt="{caption}" src="data:image/{kind};base64,{data}"><figcaption>{caption}</figcaption></figure>'


def _table(figures: Mapping[str, Sequence[LayerFigures]]) -> str:
    heads = ["encoder", "layer", "width", *(name for name, _ in MEASURES.values()), "isotropy", "dimension"]
    lines = ["<tr>" + "".join(f"<th>{escape(head)}</th>" for head in heads) + "</tr>"]
    for name, layers in figures.items():
        for each in layers:
            cells = [escape(name), str(each.layer), str(each.width)]
            for measure in MEASURES:
                cells.append(_estimate(getattr(each, measure)))
                if (adjusted := getattr(each, f"{measure}_adjusted", None)) is not None:
                    cells[-1] += f"<br>adjusted {_estimate(adjusted)}"
            cells += [f"{each.isotropy:.2g}", f"{each.effective_dimension:.1f}"]
            lines.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    return '<div class="wide"><table>\n' + "\n".join(lines) + "\n</table></div>"


def _estimate(value: Estimate) -> str:
    return f"{value.value:.3f} <small>[{value.low:.3f}, {value.high:.3f}]</small>"
