"""Stored results of experiments: existing results are not computed again, so that a run can be split into parts."""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from unfreeze.analysis.curves import Curve
from unfreeze.registry import weights_digest

LONGEST = 300
"""Values of more characters, such as the scores of all test examples, are stored but not printed."""


def part_of(name: str, arguments: argparse.Namespace, *free: str) -> str:
    """Name of a part with a digest of the options that its results depend on; models count by their weights.

    Args:
        free: options that only select which results are computed.
    """
    facts = {key: value for key, value in vars(arguments).items() if key not in ("data", "runs", *free)}
    for model in ("elmo", "vectors", "lm"):
        if facts.get(model) is not None:
            facts[model] = weights_digest(facts[model])
    digest = hashlib.blake2b(repr(sorted(facts.items())).encode(), digest_size=4)
    return f"{name} {digest.hexdigest()}"


def with_model(form: str, model: str) -> str:
    """A form with a digest of the model that it alone reads: with another model it is another form."""
    return f"{form} ({weights_digest(model)[:8]})"


class Results:
    """Results by (part, method, labels, seed), stored as JSON lines."""

    def __init__(self, path: Path) -> None:
        self.path = path
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        self.rows: list[dict[str, Any]] = [json.loads(line) for line in lines]

    def measure(
        self, part: str, method: str, labels: int, seed: int, run: Callable[[], dict[str, Any]]
    ) -> dict[str, Any]:
        """Return the stored result of a combination, or compute it with `run` and store it with its duration."""
        key = {"part": part, "method": method, "labels": labels, "seed": seed}
        for row in self.rows:
            if key.items() <= row.items():
                return row
        start = time.monotonic()
        row = key | run() | {"seconds": round(time.monotonic() - start, 1)}
        self.rows.append(row)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        shown = {name: value for name, value in row.items() if len(json.dumps(value)) <= LONGEST}
        print(json.dumps(shown), flush=True)
        return row

    def curves(self, part: str, figure: str = "accuracy") -> list[Curve]:
        """One metric by method and number of labels, with methods in the order of their first result."""
        found: dict[str, dict[int, list[float]]] = {}
        for row in self.rows:
            if row["part"] == part and figure in row:
                found.setdefault(row["method"], {}).setdefault(row["labels"], []).append(row[figure])
        return [Curve(name, values) for name, values in found.items()]


def table(curves: Sequence[Curve]) -> str:
    """Markdown table in percent, with methods in rows, numbers of labels in columns, and the range over seeds."""
    counts = sorted({count for curve in curves for count in curve.counts})
    lines = [
        "| | " + " | ".join(f"{count:,} labels" for count in counts) + " |",
        "|---|" + "---:|" * len(counts),
    ]
    for curve in curves:
        cells = [_cell(curve.accuracies.get(count)) for count in counts]
        lines.append(f"| {curve.name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(figures: Sequence[float] | None) -> str:
    if not figures:
        return "-"
    mean = f"{100 * sum(figures) / len(figures):.1f}"
    if len(figures) == 1:
        return mean
    return f"{mean} ({100 * min(figures):.1f} to {100 * max(figures):.1f}, {len(figures)} seeds)"
