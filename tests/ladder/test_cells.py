"""Which cells are computed within a time, and that a ladder that was interrupted anywhere ends with the same table."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unfreeze.datasets.dataset import ExampleSet, labeled_set
from unfreeze.errors import UserError
from unfreeze.ladder.cells import Measured, Rung, plan_cells
from unfreeze.ladder.ladder import compute
from unfreeze.ladder.results import RESULTS, open_results
from unfreeze.ladder.settings import LadderSettings, usual_labels
from unfreeze.progress import SILENT

COSTS = st.lists(
    st.tuples(st.integers(0, 9), st.integers(0, 20), st.sampled_from(["", "vectors"])),
    min_size=1,
    max_size=4,
)


class Toy(Rung):
    """A rung whose scores depend on the sample and the seed."""

    def __init__(self, name: str, each: float = 1.0, once: float = 0.0, shared: str = "") -> None:
        self.name, self.about = name, name
        self.each, self.once, self.shared = each, once, shared
        self.stop_at = -1
        self.n_fits = self.n_prepared = 0

    def identity(self) -> dict[str, Any]:
        return {"each": self.each}

    def seconds(self, count: int) -> float:
        return self.each * count

    def preparations(self) -> dict[str, float]:
        return {self.shared or self.name: self.once} if self.once else {}

    def prepare(self) -> float:
        self.n_prepared += 1
        return 2.0

    def fit(self, sample: ExampleSet, seed: int) -> Measured:
        if self.n_fits == self.stop_at:
            raise KeyboardInterrupt
        self.n_fits += 1
        right = [float(len(each.input + self.name) % 3 != seed % 3) for each in sample.examples[:2]]
        return Measured(numerators=right, parameters=2, pretrained=1, size=3)


@given(COSTS, st.sets(st.integers(1, 9), min_size=1, max_size=4), st.integers(1, 3), st.floats(0, 300))
def test_what_is_chosen_fits_and_begins_with_few_labels_and_the_first_seeds(
    costs: list[tuple[int, int, str]], counts: set[int], n_seeds: int, budget: float
) -> None:
    rungs = [Toy(str(number), *each) for number, each in enumerate(costs)]
    schedule = plan_cells(rungs, sorted(counts), range(n_seeds), budget)
    spent, prepared = 0.0, set[str]()
    for cell in schedule.cells:
        rung = rungs[int(cell.rung)]
        spent += rung.seconds(cell.labels)
        prepared |= rung.preparations().keys()
    once = {name: each for rung in rungs for name, each in rung.preparations().items()}
    # Rungs that share a preparation estimate it alike; the toys do not, and the first one counts.
    if len({rung.once for rung in rungs if rung.shared and rung.once}) < 2:
        assert spent + sum(once[name] for name in prepared) == pytest.approx(schedule.seconds)
    assert schedule.seconds <= budget + 1e-9
    assert len(schedule.cells) + len(schedule.left_out) == len(rungs) * len(counts) * n_seeds
    assert not set(schedule.cells) & set(schedule.left_out)
    for rung in rungs:
        own = [(count, seed) for name, count, seed in schedule.cells if name == rung.name]
        taken = [sum(count == each for each, _ in own) for count in sorted(counts)]
        assert taken == sorted(taken, reverse=True)
        assert all(seed < taken[sorted(counts).index(count)] for count, seed in own)
        # Only the last number of labels may lack seeds.
        assert sum(0 < each < n_seeds for each in taken) <= 1


def test_cheap_rungs_come_first_and_everything_fits_into_enough_time() -> None:
    rungs = [Toy("dear", 10.0), Toy("cheap", 1.0), Toy("prepared", 1.0, once=5.0)]
    found = plan_cells(rungs, [3, 1], range(2), 27.0)
    assert [(cell.rung, cell.labels) for cell in found.cells[::2]] == [
        ("cheap", 1),
        ("cheap", 3),
        ("prepared", 1),
        ("prepared", 3),
    ]
    assert found.seconds == 21.0
    assert not plan_cells(rungs, [3, 1], range(2), 101.0).left_out


SET = labeled_set(["a", "bb", "ccc", "dddd", "eeeee", "ffffff"], ["x", "y"] * 3, "here")
IDENTITY = {"task": "toy", "train": "1", "test": "2"}


def toys() -> list[Toy]:
    return [Toy("one"), Toy("two", 2.0, once=1.0)]


def run(folder: Path, rungs: list[Toy]) -> Any:
    schedule = plan_cells(rungs, [2, 4, 6], range(2), 100.0)
    with open_results(folder, IDENTITY) as results:
        found, prepared = compute(SET, rungs, schedule, results, IDENTITY, SILENT)
    rows = {cell: {**row, "seconds": 0} for cell, row in found.items()}
    return rows, prepared


@settings(max_examples=40)
@given(stop=st.integers(0, 6), cut=st.integers(0, 400))
def test_an_interrupted_ladder_ends_with_the_same_table(
    stop: int, cut: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("ladder")
    expected = run(folder / "whole", toys())
    stopped = toys()
    stopped[1].stop_at = stop
    try:
        run(folder / "stopped", stopped)
    except KeyboardInterrupt:
        assert stop < 6
    # A kill can also leave a part of a line, or the whole file if it came before anything was written.
    file = folder / "stopped" / RESULTS
    data = file.read_bytes()
    file.write_bytes(data[: max(0, len(data) - cut)])
    kept = file.read_bytes().count(b"\n")
    again = toys()
    assert run(folder / "stopped", again) == expected
    assert sum(rung.n_fits for rung in again) >= 12 - kept
    third = toys()
    assert run(folder / "stopped", third) == expected
    assert [(rung.n_fits, rung.n_prepared) for rung in third] == [(0, 0), (0, 0)]


def test_more_labels_and_seeds_are_added_to_what_is_there(tmp_path: Path) -> None:
    run(tmp_path, toys())
    rungs = toys()
    with open_results(tmp_path, IDENTITY) as results:
        schedule = plan_cells(rungs, [2, 5], range(3), 100.0)
        compute(SET, rungs, schedule, results, IDENTITY, SILENT)
    assert [rung.n_fits for rung in rungs] == [4, 4]


def test_results_of_other_data_are_refused_or_replaced(tmp_path: Path) -> None:
    run(tmp_path, toys())
    other = {**IDENTITY, "train": "3"}
    with (
        pytest.raises(UserError, match="belongs to a ladder of other training examples"),
        open_results(tmp_path, other),
    ):
        pass
    with open_results(tmp_path, IDENTITY) as results:
        assert len(results.rows) == 14
    with open_results(tmp_path, other, overwrite=True) as results:
        assert not results.rows
    (tmp_path / "else").mkdir()
    (tmp_path / "else" / "notes.txt").write_text("mine")
    with (
        pytest.raises(UserError, match="holds notes.txt and no ladder"),
        open_results(tmp_path / "else", IDENTITY),
    ):
        pass


def test_two_processes_do_not_write_the_same_results(tmp_path: Path) -> None:
    with (
        open_results(tmp_path, IDENTITY),
        pytest.raises(UserError, match="is being written by another run"),
        open_results(tmp_path, IDENTITY),
    ):
        pass


def test_damaged_results_are_named(tmp_path: Path) -> None:
    run(tmp_path, toys())
    lines = (tmp_path / RESULTS).read_text().splitlines(keepends=True)
    (tmp_path / RESULTS).write_text("".join([lines[0], "nonsense\n", *lines[1:]]))
    with (
        pytest.raises(UserError, match=r"results.jsonl:2.* the file is damaged: remove this line"),
        open_results(tmp_path, IDENTITY),
    ):
        pass


@given(st.integers(1, 3_000_000), st.integers(2, 200))
def test_the_usual_numbers_of_labels_rise_by_about_three(n_examples: int, n_classes: int) -> None:
    counts = usual_labels(n_examples, n_classes)
    assert counts[-1] == n_examples and list(counts) == sorted(set(counts))
    assert all(
        after / before >= 2
        for before, after in zip(counts[1:], counts[2:], strict=False)
        if after < n_examples
    )
    assert all(after / before <= 5 for before, after in zip(counts, counts[1:], strict=False))
    assert len(counts) == 1 or counts[0] >= min(n_examples, max(30, 2 * n_classes))


def test_settings_are_checked() -> None:
    for changes, said in (
        ({"labels": (0,)}, "labels must be above 0"),
        ({"labels": (3, 3)}, "labels has a number twice"),
        ({"minutes": 0.0}, "minutes"),
        ({"seeds": 0}, "seeds"),
        ({"encoder": ("a", "a")}, "encoder has a name twice"),
    ):
        with pytest.raises(UserError, match=said):
            replace(LadderSettings(), **changes)
    assert LadderSettings(unlabeled="texts.txt").unlabeled == ("texts.txt",)  # type: ignore[arg-type]


def test_any_line_of_the_results_may_be_removed(tmp_path: Path) -> None:
    expected = run(tmp_path / "whole", toys())
    lines = (tmp_path / "whole" / RESULTS).read_text().splitlines(keepends=True)
    for number in range(1, len(lines)):
        folder = shutil.copytree(tmp_path / "whole", tmp_path / str(number))
        (folder / RESULTS).write_text("".join(lines[:number] + lines[number + 1 :]))
        assert run(folder, toys())[0] == expected[0]
