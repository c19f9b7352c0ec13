"""The report of a ladder: learning curves as pictures, and one HTML page that needs no other file."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from unfreeze.analysis.curves import STYLES, Curve, plot_curves
from unfreeze.analysis.intervals import Difference
from unfreeze.analysis.report_page import Picture, figure, scrolling, write_page
from unfreeze.display import counted, duration
from unfreeze.ladder.table import MEGABYTE, LadderTable, Row

TITLE = "Which transfer pays on this task?"
TERMS = {
    "interval": "95 % of the bootstrap samples lie in it: samples of the training examples (seeds) and test examples are both drawn with "
    "replacement. With one seed it says nothing about other samples.",
    "labels saved": "As many labels as the other rung needs for the same mean score, interpolated on the logarithm of the number of labels; "
    "> means that it never gets there, ≤ that it is better with the fewest labels already.",
    "minutes": "Mean time of one fit with its measurement, as it was here; what is made once for a rung is not in it.",
    "parameters": "Numbers that the predictions depend on, frozen ones included; below, in brackets, the share of them that started pre-trained. "
    "With word vectors under a new network, only the first layer does.",
    "MB": "Size of the saved model. Frozen rungs save the whole encoder, also where only its word vectors are read.",
}


def write_report(table: LadderTable, folder: Path, *, data: str) -> None:
    """Write curves.png, curves.svg (several where there are many rungs) and report.html.

    Args:
        data: what was learned from and measured on.
    """
    pictures = draw_curves(table, folder)
    parts = [
        _data(table, data),
        *map(figure, pictures),
        _saved(table),
        "<h2>The rungs</h2>\n<dl>",
        *(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in table.about.items()),
        "</dl>",
        "<h2>All values</h2>",
        _values(table),
        "<h2>What the columns mean</h2>\n<dl>",
        *(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in TERMS.items()),
        "</dl>",
    ]
    write_page(folder / "report.html", TITLE, parts)


def draw_curves(table: LadderTable, folder: Path) -> list[Picture]:
    """Learning curves, as PNG and SVG; where there are too many for one picture, each has the baselines."""
    curves, guess = list(table.curves), None
    if table.guessing is not None:
        guesses = [curve for curve in curves if curve.name == table.guessing]
        curves = [curve for curve in curves if curve.name != table.guessing]
        guess = guesses[0].mean(guesses[0].counts[0]) if guesses else None
    if not curves:
        return []
    pictures = []
    groups = _groups(curves, table.baselines)
    for number, group in enumerate(groups, 1):
        name = f"curves-{number}" if len(groups) > 1 else "curves"
        for suffix in ("png", "svg"):
            plot_curves(group, folder / f"{name}.{suffix}", what=table.measure, chance=guess)
        title = "Learning curves" + (f", {number} of {len(groups)}" if len(groups) > 1 else "")
        caption = f"Mean {table.measure} on the test examples by the number of labels; the bands are the range over the seeds."
        pictures.append(Picture(folder / f"{name}.svg", title, caption))
    return pictures


def _groups(curves: Sequence[Curve], baselines: Sequence[str]) -> list[list[Curve]]:
    """As few groups of about the same size as the styles of lines allow, each with the baselines at its end."""
    base = [curve for curve in curves if curve.name in baselines]
    others = [curve for curve in curves if curve.name not in baselines]
    room = len(STYLES) - len(base)
    n_groups = max(1, -(-len(others) // room))
    size = max(1, -(-len(others) // n_groups))
    return [[*others[start : start + size], *base] for start in range(0, max(1, len(others)), size)]


def _data(table: LadderTable, data: str) -> str:
    count = table.duplicates
    text = (
        f"{data}: {counted(table.n_train, 'training example')}, {counted(table.n_test, 'test example')}, of which {count:,} "
        f"{'is' if count == 1 else 'are'} in the training data, too. Each number of labels was drawn {counted(table.seeds, 'time')}."
    )
    if table.left_out_documents:
        text += f" {counted(table.left_out_documents, 'document')} of the unlabeled text equal a test text and were left out."
    items = [f"{name}: prepared once, in {duration(seconds)}" for name, seconds in table.prepared.items()]
    for name, counts in table.left_out.items():
        parts = [
            f"{count:,} labels" + (f" ({missing} of {table.seeds} samples)" if missing < table.seeds else "")
            for count, missing in counts.items()
        ]
        items.append(f"{name}: left out, because the time did not suffice: {', '.join(parts)}")
    listed = f"<ul>{''.join(f'<li>{escape(each)}</li>' for each in items)}</ul>" if items else ""
    return f"<h2>Data</h2>\n<p>{escape(text)}</p>\n{listed}"


def _saved(table: LadderTable) -> str:
    """For each baseline, as many labels as it needs to be as good."""
    parts = []
    counts = sorted({row.labels for row in table.rows})
    for name in table.baselines:
        found = {
            (row.rung, row.labels): row.against[name].equivalent for row in table.rows if name in row.against
        }
        rungs = [rung for rung in table.about if any(key[0] == rung for key in found)]
        if not rungs or table.guessing == name:
            continue
        head = "".join(f"<th>{count:,} labels</th>" for count in counts)
        lines = []
        for rung in rungs:
            cells = "".join(f"<td>{found.get((rung, count), '-')}</td>" for count in counts)
            lines.append(f'<tr><th scope="row">{escape(rung)}</th>{cells}</tr>')
        title = f"As good as {name} with how many labels?"
        inner = f"<table><thead><tr><th>rung</th>{head}</tr></thead>\n<tbody>{''.join(lines)}</tbody></table>"
        parts.append(f"<h2>{escape(title)}</h2>\n{scrolling(inner, escape(title))}")
    return "\n".join(parts)


def _values(table: LadderTable) -> str:
    baselines = [name for name in table.baselines if any(name in row.against for row in table.rows)]
    names = ["rung", "labels", table.measure, *(f"better than {name} by" for name in baselines)]
    head = "".join(f"<th>{escape(name)}</th>" for name in [*names, "minutes", "MB", "parameters"])
    lines = "\n".join(_line(row, baselines) for row in table.rows)
    return scrolling(f"<table><thead><tr>{head}</tr></thead>\n<tbody>{lines}</tbody></table>", "All values")


def _line(row: Row, baselines: Sequence[str]) -> str:
    score = row.score
    cells = [
        f"{row.labels:,}",
        f"{100 * score.mean:.1f}<br><small>[{100 * score.low:.1f}, {100 * score.high:.1f}]</small>",
        *(_difference(row.against[name].difference if name in row.against else None) for name in baselines),
        f"{row.seconds / 60:.2f}",
        f"{row.size / MEGABYTE:.2f}",
        f"{row.parameters:,}<br><small>[{100 * row.pretrained_share:.2f} %]</small>",
    ]
    return f'<tr><th scope="row">{escape(row.rung)}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'


def _difference(found: Difference | None) -> str:
    if found is None:
        return "-"
    return f"{100 * found.mean:+.1f}<br><small>[{100 * found.low:+.1f}, {100 * found.high:+.1f}]</small>"
