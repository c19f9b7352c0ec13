"""Time that each side takes to reach the same held-out perplexity, from random weights, on the same text.

    benchmarks/.peers/bin/python -m benchmarks --data DATA --only perplexity --minutes 6

The sides are our LSTM, our QRNN and fastai's LSTM. All have the same vocabulary, sizes, batch and dropouts, and run alternately
for some seconds each; the first turns are shorter, because ours soon reach the final perplexity of fastai. fastai runs
`fit_one_cycle` scheduled for `--minutes`; ours run with default settings (precision auto, adaptive softmax, cosine schedule)
scheduled for the same time, each cell with its own learning rate. After each turn the held-out perplexity is computed by our
exact code, for fastai after `unfreeze convert`; evaluation time is not counted. The target is the final perplexity of fastai, and
for the QRNN also that of our LSTM. Regularization is light on all sides (dropouts times .1, no activation regularization),
because there is no overfitting within minutes.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, repeat
from pathlib import Path

from benchmarks import ours, peers
from benchmarks.report import Row
from benchmarks.sizes import Sizes
from benchmarks.texts import Texts, Words
from benchmarks.turns import Contender
from unfreeze.encoders.layers.cell_settings import CellKind
from unfreeze.formats.fastai import convert_fastai
from unfreeze.language_models.awd_lstm import AwdLstmLanguageModel
from unfreeze.language_models.perplexity import evaluate_perplexity

N_WORDS = 10_000
SIZES: Sizes = (128, 256, 2)
BATCH, BPTT = 32, 70
OUR_RATES: dict[CellKind, float] = {"lstm": 5e-3, "qrnn": 5e-3}
FASTAI_RATE = 1e-2
DROPOUT_SCALE = 0.1
TURNS = 8
"""Turns of equal length per side; the perplexity is measured after each."""
FIRST_TURNS = (0.125, 0.125, 0.25, 0.5)
"""Fractions into which the first turn is divided."""
CALIBRATION_STEPS = 4

Course = list[tuple[float, float]]
"""(seconds, perplexity) after each turn."""


@dataclass
class Side:
    """A training and its measurements."""

    training: Contender
    model: Callable[[], AwdLstmLanguageModel]
    """The current weights."""
    course: Course
    """Current held-out perplexity."""


def run(texts: Texts, minutes: float, say: Callable[[str], None]) -> list[Row]:
    """Train all sides and compare the times."""
    words = texts.words(N_WORDS)
    makers = [*(partial(our_side, cell) for cell in OUR_RATES), fastai_side]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        steps = [calibrated(make(words, 1_000, folder), minutes) for make in makers]
        sides = [make(words, n_steps, folder) for make, n_steps in zip(makers, steps, strict=True)]
        train_in_turns(sides, words, 60 * minutes / TURNS, say)
    courses = {side.training.name: side.course for side in sides}
    ends = {name: course[-1][1] for name, course in courses.items()}
    what = f"{N_WORDS:,} words, {SIZES[0]}/{SIZES[1]} x {SIZES[2]}"
    rows = []
    for name in (cell.upper() for cell in OUR_RATES):
        rows += [time_row(courses, "fastai", name, what), end_row(ends, name, minutes, what)]
    return [*rows, time_row(courses, "LSTM", "QRNN", what)]


def time_row(courses: dict[str, Course], goal: str, name: str, what: str) -> Row:
    """Times at which one of ours and the others reach the final perplexity of the side `goal`."""
    level = courses[goal][-1][1]
    seconds = {side: seconds_to(course, level) for side, course in courses.items()}
    whose = "" if goal == "fastai" else f" of our {goal}"
    return Row(
        what=f"seconds to perplexity {level:.1f}{whose}, {what}, {name}",
        ours=seconds[name],
        theirs=seconds["fastai"],
        ratio=times_faster(seconds[name], seconds["fastai"]),
        lstm_ratio=None if name == "LSTM" else times_faster(seconds[name], seconds["LSTM"]),
    )


def end_row(ends: dict[str, float], name: str, minutes: float, what: str) -> Row:
    """Final perplexities of one of ours and the others."""
    return Row(
        what=f"perplexity after {minutes:g} minutes, {what}, {name}",
        ours=ends[name],
        theirs=ends["fastai"],
        ratio=ends[name] / ends["fastai"],
        lstm_ratio=None if name == "LSTM" else ends[name] / ends["LSTM"],
    )


def times_faster(seconds: float | None, others: float | None) -> float | None:
    """Ratio of the time of the others to ours; None if one of them never reaches the perplexity."""
    return others / seconds if seconds and others else None


def our_side(cell: CellKind, words: Words, n_steps: int, folder: Path) -> Side:
    """Our side with default settings; the folder is only used by others."""
    model = ours.language_model(words.tokenizer, SIZES, cell, "adaptive", DROPOUT_SCALE)
    recipe = ours.Recipe(
        rate=OUR_RATES[cell], batch_size=BATCH, bptt=BPTT, variable_bptt=True, alpha=0.0, beta=0.0
    )
    training = ours.training(cell.upper(), model, words.store, recipe, n_steps=n_steps)
    return Side(training, lambda: model, [])


def fastai_side(words: Words, n_steps: int, folder: Path) -> Side:
    """fastai's side."""
    peer = peers.LanguageModelPeer(
        words.documents(),
        len(words.tokenizer),
        SIZES,
        batch_size=BATCH,
        bptt=BPTT,
        dropout_scale=DROPOUT_SCALE,
        alpha=0.0,
        beta=0.0,
    )
    vocabulary = folder / "vocabulary.json"
    vocabulary.write_text(json.dumps(words.tokenizer.vocabulary), encoding="utf-8")

    def model() -> AwdLstmLanguageModel:
        convert_fastai(peers.save(peer.model, folder / "lm.pth"), vocabulary, folder / "lm")
        return AwdLstmLanguageModel.from_pretrained(folder / "lm")

    return Side(peer.training("fastai", FASTAI_RATE, n_steps), model, [])


def calibrated(side: Side, minutes: float) -> int:
    """Number of steps in a number of minutes, for its schedule."""
    side.training.go_on(steps=1)
    steps = side.training.go_on(steps=CALIBRATION_STEPS)
    side.training.stop()
    return max(TURNS, round(60 * minutes * len(steps) / sum(step.seconds for step in steps)))


def train_in_turns(
    sides: Sequence[Side], words: Words, turn_seconds: float, say: Callable[[str], None]
) -> None:
    """Run until all have made their steps."""
    for share in chain(FIRST_TURNS, repeat(1.0)):
        if all(side.training.done for side in sides):
            break
        for side in sides:
            if not side.training.go_on(seconds=share * turn_seconds):
                continue
            perplexity = evaluate_perplexity(side.model(), words.held_out).perplexity
            side.course.append((side.training.seconds, perplexity))
            say(
                f"{side.training.name:<6} {side.training.seconds:6.1f} s, {side.training.n_tokens:>10,} tokens: "
                f"perplexity {perplexity:.1f}"
            )
    for side in sides:
        side.training.stop()


def seconds_to(course: Course, level: float) -> float | None:
    """Time at which a perplexity is first reached, interpolated linearly in log perplexity; None if it never is."""
    before: tuple[float, float] | None = None
    for seconds, perplexity in course:
        if perplexity <= level:
            if before is None:
                return seconds
            share = math.log(before[1] / level) / math.log(before[1] / perplexity)
            return before[0] + share * (seconds - before[0])
        before = seconds, perplexity
    return None
