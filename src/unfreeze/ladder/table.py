"""The finished cells as a table: scores with intervals, sizes, and how many labels each rung saves.

Legend: S seeds, E test examples, D draws.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from unfreeze.analysis.curves import Curve
from unfreeze.analysis.intervals import Difference, Draws, Interval, between, mean_ratio
from unfreeze.display import aligned
from unfreeze.folders import written_file

MEGABYTE = 1e6


class Equivalent(NamedTuple):
    """How many labels another rung needs for the same score, interpolated on the logarithm of the labels."""

    labels: float
    bound: str
    """"" if the number is between measured ones; ">" if the other rung never gets there, "<=" if its first point is better."""

    def __str__(self) -> str:
        return (
            f"{'≤ ' if self.bound == '<=' else self.bound + ' ' if self.bound else ''}{round(self.labels):,}"
        )


@dataclass(frozen=True, kw_only=True)
class Against:
    """A rung compared with another one on the same labels, seeds and test examples."""

    difference: Difference | None
    """None where the other was not measured."""
    equivalent: Equivalent


@dataclass(frozen=True, kw_only=True)
class Row:
    """A rung on a number of labels."""

    rung: str
    labels: int
    scores: tuple[float, ...]
    """Of each seed."""
    score: Interval
    """Their mean, and the interval over seeds and test examples."""
    seconds: float
    """Mean time of a fit with its measurement, without what was prepared once."""
    parameters: int
    pretrained_share: float
    """Of the parameters."""
    size: int
    """Bytes of the saved model."""
    against: Mapping[str, Against]
    """By the name of the rung that it is compared with."""

    def flat(self) -> dict[str, Any]:
        """The row as one level of JSON values, for CSV."""
        found: dict[str, Any] = {
            "rung": self.rung,
            "labels": self.labels,
            "seeds": len(self.scores),
            "score": self.score.mean,
            "score_low": self.score.low,
            "score_high": self.score.high,
            "seconds": self.seconds,
            "parameters": self.parameters,
            "pretrained_share": self.pretrained_share,
            "size": self.size,
        }
        for name, each in self.against.items():
            key = name.lower().replace(" ", "_").replace("-", "_")
            found[f"as_{key}_with"], found[f"as_{key}_bound"] = each.equivalent
            for part in Difference._fields:
                found[f"over_{key}_{part}"] = (
                    None if each.difference is None else getattr(each.difference, part)
                )
        return found


@dataclass(frozen=True, kw_only=True)
class LadderTable:
    """What a ladder measured."""

    measure: str
    """What the scores are: accuracy, span F1 or F1."""
    rows: list[Row]
    """In the order of the rungs, each by rising numbers of labels."""
    about: Mapping[str, str]
    """What each rung does."""
    prepared: Mapping[str, float]
    """Seconds of what was done once for a rung."""
    baselines: tuple[str, ...]
    """Rungs that the others are compared with."""
    guessing: str | None = None
    """The rung that reads nothing."""
    left_out: Mapping[str, Mapping[int, int]]
    """Rung -> number of labels -> how many of its seeds did not fit into the time."""
    n_test: int
    n_train: int
    seeds: int
    duplicates: int
    """Test examples that are in the training data, too."""
    left_out_documents: int = 0
    """Documents of the unlabeled text that were left out because they equal a test text."""

    @property
    def curves(self) -> list[Curve]:
        """The scores of each rung by number of labels."""
        found: dict[str, dict[int, tuple[float, ...]]] = {}
        for row in self.rows:
            found.setdefault(row.rung, {})[row.labels] = row.scores
        return [Curve(name, values) for name, values in found.items()]

    def as_dict(self) -> dict[str, Any]:
        """The table as JSON values."""
        found = asdict(self)
        for row, own in zip(found["rows"], self.rows, strict=True):
            row["score"] = own.score._asdict()
            row["against"] = {
                name: {
                    "difference": None if each.difference is None else each.difference._asdict(),
                    "equivalent": each.equivalent._asdict(),
                }
                for name, each in own.against.items()
            }
        return found

    def __str__(self) -> str:
        """A line for each rung and number of labels, for people."""
        lines = []
        for row in self.rows:
            line: dict[str, Any] = {
                "rung": row.rung,
                "labels": f"{row.labels:,}",
                self.measure: f"{100 * row.score.mean:.1f}",
                "95 % interval": f"[{100 * row.score.low:.1f}, {100 * row.score.high:.1f}]",
            }
            for name, each in row.against.items():
                line[f"labels of {name}"] = str(each.equivalent)
            line |= {
                "minutes": f"{row.seconds / 60:.2f}",
                "MB": f"{row.size / MEGABYTE:.2f}",
                "parameters": f"{row.parameters:,}",
                "pre-trained": f"{100 * row.pretrained_share:.2f} %",
            }
            lines.append(line)
        return aligned(lines)

    def write_csv(self, path: Path) -> None:
        """Write a line for each rung and number of labels."""
        rows = [row.flat() for row in self.rows]
        names = list(dict.fromkeys(name for row in rows for name in row))
        with written_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            writer.writerows(rows)


def equivalent_labels(other: Curve, score: float) -> Equivalent:
    """The number of labels with which `other` is as good as `score`."""
    found, first, last = other.labels_for(score), other.counts[0], other.counts[-1]
    if found is None:
        return Equivalent(float(last), ">")
    return Equivalent(found, "<=" if found == first and other.mean(first) > score else "")


def make_rows(
    results: Mapping[tuple[str, int], Sequence[Mapping[str, Any]]], baselines: Sequence[str], draws: int
) -> list[Row]:
    """Rows with intervals from stored results.

    Args:
        results: the results of the seeds, in their order, by rung and number of labels; each with "score", "numerators" (E,),
            "denominators" (E,) or none for ones, "seconds", "parameters", "pretrained", "size".
        baselines: rungs that the others are compared with.
        draws: D.
    """
    if not results:
        return []
    every = [row for rows in results.values() for row in rows]
    n_examples = len(every[0]["numerators"])
    drawn = Draws(n_examples, draws)
    above = drawn.sums([row["numerators"] for row in every])
    # Scores without denominators share one row of ones, whose sum over a draw is always E.
    below = np.full_like(above, float(n_examples))
    own = [number for number, row in enumerate(every) if row.get("denominators") is not None]
    if own:
        below[own] = drawn.sums([every[number]["denominators"] for number in own])
    place: dict[tuple[str, int], slice] = {}
    for key, rows in results.items():
        start = max((part.stop for part in place.values()), default=0)
        place[key] = slice(start, start + len(rows))

    def samples(key: tuple[str, int], n_seeds: int) -> Any:
        part = slice(place[key].start, place[key].start + n_seeds)
        return drawn.ratios(above[part], below[part])

    def mean(key: tuple[str, int], n_seeds: int) -> float:
        return float(sum(row["score"] for row in results[key][:n_seeds])) / n_seeds

    curves = {
        name: Curve(
            name,
            {
                count: [row["score"] for row in rows]
                for (rung, count), rows in results.items()
                if rung == name
            },
        )
        for name in baselines
        if any(rung == name for rung, _ in results)
    }
    found = []
    for key, rows in results.items():
        rung, count = key
        score = mean(key, len(rows))
        against = {}
        for name, curve in curves.items():
            if name == rung:
                continue
            difference, other = None, (name, count)
            if other in results:
                shared = min(len(rows), len(results[other]))
                low, high = between(samples(key, shared) - samples(other, shared))
                difference = Difference(mean(key, shared) - mean(other, shared), low, high)
            against[name] = Against(difference=difference, equivalent=equivalent_labels(curve, score))
        found.append(
            Row(
                rung=rung,
                labels=count,
                scores=tuple(row["score"] for row in rows),
                score=Interval(score, *between(samples(key, len(rows)))),
                seconds=sum(row["seconds"] for row in rows) / len(rows),
                parameters=round(sum(row["parameters"] for row in rows) / len(rows)),
                pretrained_share=sum(row["pretrained"] / row["parameters"] for row in rows) / len(rows),
                size=round(sum(row["size"] for row in rows) / len(rows)),
                against=against,
            )
        )
    return found


def score_of(numerators: Sequence[float], denominators: Sequence[float] | None) -> float:
    """The score of one seed on all test examples."""
    return mean_ratio([sum(numerators)], [len(numerators) if denominators is None else sum(denominators)])
