"""How long each side trains until it reaches the same held-out perplexity, from random weights, on the same text.

    benchmarks/.peers/bin/python -m benchmarks --data DATA --only perplexity --minutes 6

The sides are our LSTM, our QRNN and fastai's LSTM. All have the same words, sizes, batch and dropouts and take turns of
some seconds, the first ones shorter, because ours are soon past the level at which fastai ends. fastai runs its
`fit_one_cycle` fitted to `--minutes`; ours run as a user gets them (precision auto, adaptive softmax, cosine schedule)
fitted to the same time, either cell with its own learning rate. After each turn the held-out perplexity is measured by our
exact code, fastai's weights through `unfreeze convert`; measuring counts for nobody. The level to be reached is the one at
which fastai ends, and for the QRNN also the one at which our LSTM does. Regularization is light on all sides (dropouts
times .1, no activation regularization): in minutes nobody overfits.
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
"""Of each side, as long as each other; after each its level is measured."""
FIRST_TURNS = (0.125, 0.125, 0.25, 0.5)
"""The shares in which the first turn is taken."""
CALIBRATION_STEPS = 4

Course = list[tuple[float, float]]
"""(seconds, perplexity) after each turn."""


@dataclass
class Side:
    """One training, and what was measured of it."""

    training: Contender
    model: Callable[[], AwdLstmLanguageModel]
    """The weights as they are now."""
    course: Course
    """As far as it is."""


def run(texts: Texts, minutes: float, say: Callable[[str], None]) -> list[Row]:
    """Train all, and compare the times."""
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
    """When one of ours, and the others, are at the perplexity at which the side `goal` ends."""
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
    """The perplexities with which one of ours, and the others, end."""
    return Row(
        what=f"perplexity after {minutes:g} minutes, {what}, {name}",
        ours=ends[name],
        theirs=ends["fastai"],
        ratio=ends[name] / ends["fastai"],
        lstm_ratio=None if name == "LSTM" else ends[name] / ends["LSTM"],
    )


def times_faster(seconds: float | None, others: float | None) -> float | None:
    """How many times as long the others need; None if one of them is never there."""
    return others / seconds if seconds and others else None


def our_side(cell: CellKind, words: Words, n_steps: int, folder: Path) -> Side:
    """Ours as a user gets it; the folder is for others."""
    model = ours.language_model(words.tokenizer, SIZES, cell, "adaptive", DROPOUT_SCALE)
    recipe = ours.Recipe(
        rate=OUR_RATES[cell], batch_size=BATCH, bptt=BPTT, variable_bptt=True, alpha=0.0, beta=0.0
    )
    training = ours.training(cell.upper(), model, words.store, recipe, n_steps=n_steps)
    return Side(training, lambda: model, [])


def fastai_side(words: Words, n_steps: int, folder: Path) -> Side:
    """fastai as it is."""
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
    """Steps that it makes in so many minutes, so that its schedule can be fitted to them."""
    side.training.go_on(steps=1)
    steps = side.training.go_on(steps=CALIBRATION_STEPS)
    side.training.stop()
    return max(TURNS, round(60 * minutes * len(steps) / sum(step.seconds for step in steps)))


def train_in_turns(
    sides: Sequence[Side], words: Words, turn_seconds: float, say: Callable[[str], None]
) -> None:
    """Until all have made their steps."""
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
    """When a course is first at `level`, straight lines in log perplexity between its points; None if it never is."""
    before: tuple[float, float] | None = None
    for seconds, perplexity in course:
        if perplexity <= level:
            if before is None:
                return seconds
            share = math.log(before[1] / level) / math.log(before[1] / perplexity)
            return before[0] + share * (seconds - before[0])
        before = seconds, perplexity
    return None
