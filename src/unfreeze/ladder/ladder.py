"""The ladder: every rung on one task, for rising numbers of labels, resumable at any moment."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from unfreeze.datasets.dataset import Dataset
from unfreeze.display import duration
from unfreeze.errors import Interrupted, UserError, setting
from unfreeze.folders import write_json
from unfreeze.ladder.cells import Rung, Schedule, plan_cells
from unfreeze.ladder.kinds import kind_of, need_counts
from unfreeze.ladder.report import write_report
from unfreeze.ladder.results import Results, key_of, open_results
from unfreeze.ladder.settings import LadderSettings
from unfreeze.ladder.table import LadderTable, make_rows, score_of
from unfreeze.ladder.unlabeled import UnlabeledText
from unfreeze.progress import SILENT, Progress
from unfreeze.tasks.base import Parameters, held_out_pair
from unfreeze.tasks.settings import ImageClassifierSettings
from unfreeze.text.examples import example_set

logger = logging.getLogger(__name__)

DRAWS = 2_000
"""Draws of the bootstrap."""


class Ladder(Parameters, LadderSettings):
    """Every rung of transfer learning on one task, for rising numbers of labels.

    The settings are those of `unfreeze.ladder.settings.LadderSettings`.

    Example:
        >>> texts = ["a wonderful story", "a terrible story", "wonderful acting", "terrible acting"] * 5
        >>> labels = ["pos", "neg"] * 10
        >>> table = Ladder(labels=(4,), seeds=1, minutes=0.014).run((texts, labels), test=(texts[:2], labels[:2]))
        >>> [row.rung for row in table.rows]
        ['largest class', 'TF-IDF', 'released word vectors, averaged']
        >>> table.rows[1].score.mean
        1.0
    """

    def run(
        self,
        train: tuple[Any, Any],
        *,
        test: tuple[Any, Any],
        output: str | Path | None = None,
        overwrite: bool = False,
        progress: Progress = SILENT,
    ) -> LadderTable:
        """Measure all rungs that fit into the time. Call it again with the same output to resume.

        Args:
            train, test: X and y: texts and the label of each.
            output: folder for the results, the models that are made once, and the table; None keeps nothing.
            overwrite: replace the results of other data in that folder.

        Raises:
            UserError: the data cannot be learned from or measured on, or the output belongs to another ladder.
            Interrupted: Ctrl-C; finished results are kept.
        """
        sets = [
            example_set(*held_out_pair(pair), source)
            for pair, source in ((train, "the training texts"), (test, "the test texts"))
        ]
        return run_ladder(sets[0], sets[1], self, output=output, overwrite=overwrite, progress=progress)


def run_ladder(
    train: Dataset[Any],
    test: Dataset[Any],
    settings: LadderSettings,
    *,
    images: ImageClassifierSettings | None = None,
    output: str | Path | None = None,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> LadderTable:
    """The same with data sets, such as those that `read_examples`, `read_tagged`, `read_questions` and `read_images` give.

    Args:
        images: the examples are images; settings of the ConvNet from scratch.

    Other arguments, Returns, Raises:
        As in `Ladder.run`.
    """
    settings.__post_init__()
    if output is None:
        with TemporaryDirectory() as place:
            folder = Path(place) / "ladder"
            return run_ladder(train, test, settings, images=images, output=folder, progress=progress)
    kind = kind_of(train, test, settings, progress, images)
    counts = need_counts(train, settings)
    folder = Path(output)
    identity = {"task": kind.task, "train": train.digest(), "test": test.digest()}
    with open_results(folder, identity, overwrite=overwrite) as results:
        try:
            unlabeled = None
            if settings.unlabeled:
                unlabeled = UnlabeledText(settings, kind.test_texts, folder, progress)
            rungs = kind.rungs(unlabeled)
            need_different_names(rungs)
            seeds = range(settings.seed, settings.seed + settings.seeds)
            schedule = plan_cells(rungs, counts, seeds, 60 * settings.minutes)
            n_planned = len(schedule.cells)
            logger.info(
                "%d of %d fits are planned, about %s on one core",
                *(n_planned, n_planned + len(schedule.left_out), duration(schedule.seconds)),
            )
            found, prepared = compute(train, rungs, schedule, results, identity, progress)
        except KeyboardInterrupt as error:
            raise Interrupted(
                f"interrupted; the results so far are in {folder}: rerun the command to resume"
            ) from error
        table = LadderTable(
            measure=kind.measure,
            rows=make_rows(_by_rung(rungs, counts, found), kind.baselines, DRAWS),
            about={rung.name: rung.about for rung in rungs},
            prepared=prepared,
            baselines=kind.baselines,
            guessing=kind.guessing,
            left_out=_left_out(schedule),
            n_test=len(test),
            n_train=len(train),
            seeds=settings.seeds,
            duplicates=kind.duplicates,
            left_out_documents=0 if unlabeled is None else unlabeled.n_left_out,
        )
        if not table.rows:
            raise UserError(
                f"{setting('minutes', settings.minutes)} is not enough for any rung: give more time, or fewer labels"
            )
        table.write_csv(folder / "ladder.csv")
        write_json(folder / "table.json", table.as_dict())
        write_report(table, folder, data=f"{Path(train.source).name}, measured on {Path(test.source).name}")
        return table


def need_different_names(rungs: Sequence[Rung]) -> None:
    """Raise UserError if two rungs have one name: the last parts of the encoders' paths are the same."""
    names = [rung.name for rung in rungs]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UserError(f"{setting('encoder')}: two rungs would be called {twice[0]!r}: rename a folder")


Found = dict[tuple[str, int, int], dict[str, Any]]
"""Results by rung, number of labels and seed."""


def compute(
    train: Dataset[Any],
    rungs: Sequence[Rung],
    schedule: Schedule,
    results: Results,
    identity: Mapping[str, Any],
    progress: Progress,
) -> tuple[Found, dict[str, float]]:
    """Compute what is missing of the planned cells; returns their results, and the seconds of the preparations by rung."""
    by_name = {rung.name: rung for rung in rungs}
    # Rungs without settings, such as the largest class and TF-IDF, differ by their class only.
    identities = {rung.name: [type(rung).__name__, rung.identity()] for rung in rungs}
    found: Found = {}
    prepared: dict[str, float] = {}
    ready: set[str] = set()
    with progress.bar("ladder", total=len(schedule.cells), unit="fit") as bar:
        for cell in schedule.cells:
            rung = by_name[cell.rung]
            of_rung = key_of(identity, identities[cell.rung])
            key = key_of(of_rung, cell.labels, cell.seed)
            # Of a rung whose results are all there, nothing has to be prepared again.
            if key not in results.rows and cell.rung not in ready:
                seconds = rung.prepare()
                ready.add(cell.rung)
                if of_rung not in results.rows:
                    results.add(of_rung, {"rung": cell.rung, "prepared": round(seconds, 3)})
            if key not in results.rows:
                start = time.monotonic()
                measured = rung.fit(train.sample(cell.labels, cell.seed), cell.seed)
                score = score_of(measured.numerators, measured.denominators)
                row = {
                    **cell._asdict(),
                    "score": score,
                    "seconds": round(time.monotonic() - start, 2),
                    **vars(measured),
                }
                results.add(key, row)
            found[cell] = results.rows[key]
            # Its line may have been removed from the file.
            prepared[cell.rung] = results.rows.get(of_rung, {}).get("prepared", 0.0)
            bar.advance()
    return found, {rung.name: prepared[rung.name] for rung in rungs if prepared.get(rung.name)}


def _by_rung(
    rungs: Sequence[Rung], counts: Sequence[int], found: Found
) -> dict[tuple[str, int], list[dict[str, Any]]]:
    """The results of the seeds by rung and number of labels, in the order of the rungs."""
    result: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for rung in rungs:
        for count in counts:
            rows = [found[key] for key in sorted(found) if key[:2] == (rung.name, count)]
            if rows:
                result[rung.name, count] = rows
    return result


def _left_out(schedule: Schedule) -> dict[str, dict[int, int]]:
    counts = Counter((cell.rung, cell.labels) for cell in schedule.left_out)
    found: dict[str, dict[int, int]] = {}
    for (rung, labels), seeds in counts.items():
        found.setdefault(rung, {})[labels] = seeds
    return found
