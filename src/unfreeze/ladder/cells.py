"""The cells of the ladder, one for each rung, number of labels and seed; and which of them fit into the time.

The choice goes by estimates and not by the clock, so that a rerun, or a run that was interrupted, ends with the same table.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What one fit gave: its score on each test example, and the size of the model.

    The score is sum(numerators) / sum(denominators): accuracy with denominators of 1, micro-averaged F1 with twice the right
    spans over true and predicted ones.
    """

    numerators: Sequence[float]
    denominators: Sequence[float] | None = None
    """None for 1 each."""
    parameters: int
    """Numbers that the prediction depends on."""
    pretrained: int
    """How many of them started from a pre-trained model."""
    size: int
    """Bytes of the saved model."""


class Rung(ABC):
    """One way to learn the task.

    Attributes:
        name: in tables and pictures.
        about: what it does, in a sentence.
    """

    name: str
    about: str

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """What determines the result besides the data, the number of labels and the seed, as JSON values."""

    @abstractmethod
    def seconds(self, count: int) -> float:
        """Estimated seconds of one core for fitting on `count` labels, and for measuring."""

    def preparations(self) -> dict[str, float]:
        """Estimated seconds of what is done once, by name; rungs share what has the same name."""
        return {}

    def prepare(self) -> float:
        """Do what is done once, or find it done; returns the seconds that it took."""
        return 0.0

    @abstractmethod
    def fit(self, sample: Any, seed: int) -> Measured:
        """Learn from a sample, a data set of the task, and measure on the test examples."""


class Cell(NamedTuple):
    """A rung on a sample."""

    rung: str
    labels: int
    seed: int


@dataclass(frozen=True)
class Schedule:
    """What is computed, in this order, and what is left out."""

    cells: list[Cell]
    """Cheap ones first."""
    left_out: list[Cell]
    seconds: float
    """Estimated seconds of all that is computed."""


def plan_cells(rungs: Sequence[Rung], counts: Sequence[int], seeds: Sequence[int], budget: float) -> Schedule:
    """Choose the cells whose estimated seconds together fit into `budget`.

    Pairs of a rung and a number of labels are taken in the order of their estimate for all seeds, preparation included. Where
    not all seeds fit, the first ones are taken. A rung that does not fit at some number of labels ends there.
    """
    pairs = []
    for number, rung in enumerate(rungs):
        preparation = sum(rung.preparations().values())
        pairs += [(preparation + len(seeds) * rung.seconds(count), number, count) for count in sorted(counts)]
    left, prepared, ended = budget, set[str](), set[int]()
    cells: list[Cell] = []
    for _, number, count in sorted(pairs):
        rung = rungs[number]
        start = sum(seconds for name, seconds in rung.preparations().items() if name not in prepared)
        each = rung.seconds(count)
        fitting = 0 if number in ended else len(seeds)
        while fitting and start + fitting * each > left:
            fitting -= 1
        if fitting < len(seeds):
            ended.add(number)
        if fitting:
            left -= start + fitting * each
            prepared |= rung.preparations().keys()
            cells += [Cell(rung.name, count, seed) for seed in seeds[:fitting]]
    every = [Cell(rung.name, count, seed) for rung in rungs for count in sorted(counts) for seed in seeds]
    chosen = set(cells)
    return Schedule(cells, [cell for cell in every if cell not in chosen], budget - left)
