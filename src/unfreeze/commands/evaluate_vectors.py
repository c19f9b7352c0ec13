"""`unfreeze evaluate` on word vectors: Spearman's correlation on sets of word pairs, accuracy on analogies."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from unfreeze.commands.console import Console, aligned

if TYPE_CHECKING:
    from unfreeze.analysis.analogies import AnalogyReport
    from unfreeze.analysis.similarity import PairsReport
    from unfreeze.commands.evaluate import Evaluate


def evaluate_vectors(arguments: Evaluate, console: Console) -> None:
    """A table of the sets of word pairs, and one of the sections of analogies."""
    from unfreeze.analysis.analogies import evaluate_analogies, totals
    from unfreeze.analysis.similarity import evaluate_pairs
    from unfreeze.analysis.word_sets import read_sets
    from unfreeze.encoders.vector_source import open_vectors
    from unfreeze.text.rules import normalized

    sets, sections = read_sets(arguments.data, arguments.encoding)
    case_insensitive = not arguments.case_sensitive
    words = [word for one in sets for pair in one.pairs for word in pair]
    asked = [normalized(word) for word in words] if case_insensitive else words
    table = open_vectors(arguments.model, besides=asked)
    pairs = evaluate_pairs(table, sets, restrict=arguments.restrict, case_insensitive=case_insensitive)
    analogies = evaluate_analogies(
        table.known(),
        sections,
        restrict=arguments.restrict,
        case_insensitive=case_insensitive,
        progress=console.progress,
    )
    tables = [pair_rows(pairs), analogy_rows([*analogies, *totals(analogies)]) if analogies else []]
    if console.json:
        for rows in tables:
            console.table(rows)
    else:
        console.result({}, "\n\n".join(aligned(rows) for rows in tables if rows))


def pair_rows(reports: Sequence[PairsReport]) -> list[dict[str, object]]:
    """A row for each set of word pairs."""
    return [
        {
            "set": report.name,
            "pairs": report.n_pairs,
            "missing": report.n_missing,
            "spearman": _known(report.spearman),
        }
        for report in reports
    ]


def analogy_rows(reports: Sequence[AnalogyReport]) -> list[dict[str, object]]:
    """A row for each section of analogies."""
    return [
        {
            "analogies": report.name,
            "questions": report.n_questions,
            "missing": report.n_missing,
            "correct": report.n_correct,
            "accuracy": _known(report.accuracy),
        }
        for report in reports
    ]


def _known(number: float) -> float | None:
    return None if math.isnan(number) else number
