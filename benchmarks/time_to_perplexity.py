"""How long each side trains until it reaches the same held-out perplexity, from random weights, on the same text.

    benchmarks/.peers/bin/python -m benchmarks --data DATA --only perplexity --minutes 6

Both have the same words, sizes, batch and dropouts and take turns of some seconds. fastai runs its `fit_one_cycle`
fitted to `--minutes`; ours runs as a user gets it (precision auto, adaptive softmax, cosine schedule) fitted to the
same time. After each turn the held-out perplexity of both is measured by our exact code, fastai's weights through
`unfreeze convert`; measuring counts for neither. The level to be reached is the one at which fastai ends. Regularization
is light on both sides (dropouts times .1, no activation regularization): in minutes nobody overfits.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks import ours, peers
from benchmarks.report import Row
from benchmarks.texts import Texts, Words
from benchmarks.turns import Contender
from unfreeze.formats.fastai import convert_fastai
from unfreeze.pretraining.language_model import LanguageModel
from unfreeze.pretraining.perplexity import evaluate_perplexity

N_WORDS = 10_000
SIZES: peers.Sizes = (128, 256, 2)
BATCH, BPTT = 32, 70
OUR_RATE, FASTAI_RATE = 5e-3, 1e-2
DROPOUT_SCALE = 0.1
TURNS = 8
"""Of each side; so many levels are measured of each."""
CALIBRATION_STEPS = 4


@dataclass
class Side:
    """One training, and what was measured of it."""

    training: Contender
    model: Callable[[], LanguageModel]
    """The weights as they are now."""
    course: list[tuple[float, float]]
    """(seconds, perplexity) after each turn."""


def run(texts: Texts, minutes: float, say: Callable[[str], None]) -> list[Row]:
    """Train both, and compare the times."""
    words = texts.words(N_WORDS)
    with tempfile.TemporaryDirectory() as name:
        steps = [calibrated(make(words, 1_000, Path(name)), minutes) for make in (our_side, fastai_side)]
        sides = our_side(words, steps[0], Path(name)), fastai_side(words, steps[1], Path(name))
        train_in_turns(sides, words, 60 * minutes / TURNS, say)
    our_course, their_course = (side.course for side in sides)
    level = their_course[-1][1]
    times = [seconds_to(course, level) for course in (our_course, their_course)]
    what = f"{N_WORDS:,} words, {SIZES[0]}/{SIZES[1]} x {SIZES[2]}"
    ratio = times[1] / times[0] if times[0] and times[1] else None
    return [
        Row(what=f"seconds to perplexity {level:.1f}, {what}", ours=times[0], theirs=times[1], ratio=ratio),
        Row(
            what=f"perplexity after {minutes:g} minutes, {what}",
            ours=our_course[-1][1],
            theirs=level,
            ratio=our_course[-1][1] / level,
        ),
    ]


def our_side(words: Words, n_steps: int, folder: Path) -> Side:
    """Ours as a user gets it."""
    model = ours.language_model(words.tokenizer, SIZES, "adaptive", DROPOUT_SCALE)
    recipe = ours.Recipe(rate=OUR_RATE, batch_size=BATCH, bptt=BPTT, variable_bptt=True, alpha=0.0, beta=0.0)
    training = ours.training("ours", model, words.store, recipe, n_steps=n_steps)
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

    def model() -> LanguageModel:
        convert_fastai(peers.save(peer.model, folder / "lm.pth"), vocabulary, folder / "lm")
        return LanguageModel.from_pretrained(folder / "lm")

    return Side(peer.training("fastai", FASTAI_RATE, n_steps), model, [])


def calibrated(side: Side, minutes: float) -> int:
    """Steps that it makes in so many minutes, so that its schedule can be fitted to them."""
    side.training.go_on(steps=1)
    steps = side.training.go_on(steps=CALIBRATION_STEPS)
    side.training.stop()
    return max(TURNS, round(60 * minutes * len(steps) / sum(step.seconds for step in steps)))


def train_in_turns(
    sides: tuple[Side, Side], words: Words, turn_seconds: float, say: Callable[[str], None]
) -> None:
    """Until both have made their steps."""
    while not all(side.training.done for side in sides):
        for side in sides:
            if not side.training.go_on(seconds=turn_seconds):
                continue
            perplexity = evaluate_perplexity(side.model(), words.held_out).perplexity
            side.course.append((side.training.seconds, perplexity))
            say(
                f"{side.training.name:<6} {side.training.seconds:6.1f} s, {side.training.n_tokens:>10,} tokens: "
                f"perplexity {perplexity:.1f}"
            )
    for side in sides:
        side.training.stop()


def seconds_to(course: list[tuple[float, float]], level: float) -> float | None:
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
