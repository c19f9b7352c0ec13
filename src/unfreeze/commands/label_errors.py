"""`unfreeze evaluate MODEL FILE --label-errors`: the likely label errors in a labeled file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from unfreeze.commands.console import Console
from unfreeze.display import aligned, counted, cut

if TYPE_CHECKING:
    from unfreeze.datasets.dataset import ExampleSet
    from unfreeze.tasks.classifier import Classifier

CLEAR = 0.6
"""Part of the errors of the most frequent label from which on there is a warning."""
TEXT_WIDTH = 60
"""Characters of a text that are printed."""


def report_label_errors(
    classifier: Classifier,
    examples: ExampleSet,
    folds: int,
    shown: int,
    output: Path | None,
    console: Console,
) -> None:
    """Find the likely label errors; print the first `shown` of them, and write all to a table if there is an output."""
    from unfreeze.tasks.label_errors import find_label_errors
    from unfreeze.tasks.prediction_files import write_table

    found = find_label_errors(classifier, examples, folds=folds, progress=console.progress)
    rows = [
        {
            "place": examples.place(each.example.number),
            "given": each.given,
            "suggested": each.suggested,
            "self_confidence": each.self_confidence,
            "margin": each.margin,
            **classifier.row(each.example),
        }
        for each in found.issues
    ]
    if found.single:
        names = ", ".join(found.single[:10]) + (", ..." if len(found.single) > 10 else "")
        console.note(f"not judged, because no other example has the label: {names}")
    if 1 - found.accuracy > CLEAR * (1 - found.majority):
        console.note(
            f"the models agree with {100 * found.accuracy:.0f} % of the labels, and the most frequent label has "
            f"{100 * found.majority:.0f} %: they have learned too little to tell wrong labels from difficult examples"
        )
    if output is not None:
        header = (
            "place",
            "given",
            "suggested",
            "self_confidence",
            "margin",
            *classifier.row(examples.examples[0]),
        )
        write_table(output, rows, header=header)
    summary = (
        f"{counted(len(rows), 'likely label error')} among {counted(found.n_judged, 'example')}; "
        f"out-of-fold accuracy {found.accuracy:.4f} ({counted(found.folds, 'fold')})"
    )
    first = rows[:shown]
    for row in [] if console.json else first:
        row.update(
            {
                name: cut(" ".join(str(row[name]).split()), TEXT_WIDTH)
                for name in ("text", "pair")
                if name in row
            }
        )
    more = (
        f"\n{len(rows) - len(first):,} more: --worst {len(rows)} shows all" if len(rows) > len(first) else ""
    )
    table = f"\n\n{aligned(first)}" if first else ""
    values = {
        "label_errors": rows,
        "judged": found.n_judged,
        "accuracy": found.accuracy,
        "folds": found.folds,
        "labels": list(found.label_names),
        "joint": found.joint,
        "not_judged": list(found.single),
    }
    console.result(values, summary + table + more)
