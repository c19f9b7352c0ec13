"""The ladder: every rung on one task, for rising numbers of labels, resumable at any moment."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from unfreeze.datasets.dataset import Dataset, ExampleSet
from unfreeze.display import counted, duration
from unfreeze.errors import Interrupted, UserError, setting
from unfreeze.folders import write_json
from unfreeze.ladder.cells import Rung, Schedule, plan_cells
from unfreeze.ladder.report import write_report
from unfreeze.ladder.results import Results, key_of, open_results
from unfreeze.ladder.settings import LadderSettings, usual_labels
from unfreeze.ladder.table import LadderTable, make_rows, score_of
from unfreeze.ladder.texts import SCRATCH, TFIDF, Majority, TextData, text_rungs
from unfreeze.ladder.unlabeled import UnlabeledText
from unfreeze.progress import SILENT, Progress
from unfreeze.tasks.base import Parameters, held_out_pair
from unfreeze.text.examples import example_set

logger = logging.getLogger(__name__)

BASELINES = (SCRATCH, TFIDF)
DRAWS = 2_000
"""Draws of the bootstrap."""


class Ladder(Parameters, LadderSettings):
    """Every rung of transfer learning on one task, for rising numbers of labels.

    The settings are those of `unfreeze.ladder.settings.LadderSettings`.

    Example:
        >>> texts = ["a wonderful story", "a terrible story", "wonderful acting", "terrible acting"] * 5
        >>> labels = ["pos", "neg"] * 10
        >>> table = Ladder(labels=(4,), seeds=1, minutes=0.05).run((texts, labels), test=(texts[:2], labels[:2]))
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
    train: ExampleSet,
    test: ExampleSet,
    settings: LadderSettings,
    *,
    output: str | Path | None = None,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> LadderTable:
    """The same with data sets, such as `read_examples` reads from files."""
    settings.__post_init__()
    if output is None:
        with TemporaryDirectory() as place:
            return run_ladder(train, test, settings, output=Path(place) / "ladder", progress=progress)
    counts = need_counts(train, test, settings)
    folder = Path(output)
    identity = {"task": "classifier", "train": train.digest(), "test": test.digest()}
    with open_results(folder, identity, overwrite=overwrite) as results:
        unlabeled = None
        if settings.unlabeled:
            unlabeled = UnlabeledText(settings, test.inputs(), folder, progress)
        rungs = text_rungs(TextData(train, test, progress), settings, unlabeled)
        seeds = range(settings.seed, settings.seed + settings.seeds)
        schedule = plan_cells(rungs, counts, seeds, 60 * settings.minutes)
        logger.info(
            "%s of %s fits are planned, about %s on one core",
            *(len(schedule.cells), len(schedule.cells) + len(schedule.left_out), duration(schedule.seconds)),
        )
        try:
            found, prepared = compute(train, rungs, schedule, results, identity, progress)
        except KeyboardInterrupt as error:
            raise Interrupted(
                f"interrupted; {counted(len(results.rows), 'result')} in {folder} are kept: rerun the command to resume"
            ) from error
        table = LadderTable(
            measure="accuracy",
            rows=make_rows(_by_rung(rungs, counts, found), BASELINES, DRAWS),
            baselines=BASELINES,
            guessing=Majority.name,
            about={rung.name: rung.about for rung in rungs},
            prepared=prepared,
            left_out=_left_out(schedule),
            n_test=len(test),
            n_train=len(train),
            seeds=settings.seeds,
            duplicates=test.duplicates_of(train),
            left_out_documents=0 if unlabeled is None else unlabeled.n_left_out,
        )
        table.write_csv(folder / "ladder.csv")
        write_json(folder / "table.json", table.as_dict())
        write_report(table, folder, data=f"{Path(train.source).name}, measured on {Path(test.source).name}")
        return table


def need_counts(train: ExampleSet, test: ExampleSet, settings: LadderSettings) -> tuple[int, ...]:
    """The numbers of labels, ascending.

    Raises:
        UserError: there are not so many examples or too few for the classes, the test examples have other labels, or an example
            has several.
    """
    for examples, what in ((train, "to learn from"), (test, "to measure on")):
        if not len(examples):
            raise UserError(f"{examples.source}: there is no example {what}")
        if examples.multi_label:
            raise UserError(f"{examples.source}: examples have several labels; the ladder takes one each")
    classes = sorted({label for each in train.examples for label in each.labels})
    if len(classes) < 2:
        raise UserError(f"{train.source}: all {len(train)} examples are of one class; two are needed")
    for each in test.examples:
        if each.labels[0] not in classes:
            raise UserError(
                f"{test.place(each.number)} has the label {each.labels[0]!r}, which {train.source} lacks (it has "
                f"{', '.join(classes[:10])})"
            )
    for count in settings.labels:
        if count > len(train):
            raise UserError(
                f"{setting('labels', count)} is more than the {len(train):,} examples of {train.source}"
            )
        if count < len(classes):
            raise UserError(
                f"{setting('labels', count)} cannot cover the {len(classes)} classes of {train.source}"
            )
    return tuple(sorted(settings.labels)) or usual_labels(len(train), len(classes))


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
    assert len(by_name) == len(rungs), "two rungs of one name"
    identities = {rung.name: rung.identity() for rung in rungs}
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
                    results.add(of_rung, {"rung": cell.rung, "prepared": round(seconds, 1)})
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
            prepared[cell.rung] = results.rows[of_rung]["prepared"]
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
