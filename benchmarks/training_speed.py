"""Tokens a second of language-model training, ours beside fastai's, on the same ids, at two sizes.

    benchmarks/.peers/bin/python -m benchmarks --data DATA --only training

Batch 64, 70 tokens, AWD-LSTM's dropouts at full strength, activation regularization 2 and 1, on both sides. Ours three
times: as a user gets it (precision auto, adaptive softmax), with the full softmax, and with the full softmax in fp32,
which is the same arithmetic as fastai's. All go through their libraries' own loops, optimizers included, and take turns;
a round is some steps of each, and a row's ratio is the median over rounds. A round also measures matrix products, which
gives the share of the machine that our steps use (matrix_share.py).
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

import torch
from numpy.typing import NDArray

from benchmarks import ours, peers
from benchmarks.matrix_share import product_rate, training_operations
from benchmarks.report import Row, auto_precision
from benchmarks.texts import Texts, Words
from benchmarks.turns import Contender, median_ratio, tokens_per_second
from unfreeze.encoders.layers.output import default_cutoffs

BATCH, BPTT = 64, 70
MANY = 10_000
"""Steps to which the schedules are fitted; so many are never made."""
SIZES: dict[str, tuple[int, peers.Sizes, int]] = {
    "training-small": (16_000, (256, 640, 3), 3),
    "training-paper": (60_000, (400, 1152, 3), 1),
}
"""Words; embedding, hidden width and layers; steps a round."""

FORMS: dict[str, tuple[ours.Softmax, ours.Precision]] = {
    "auto, adaptive softmax": ("adaptive", "auto"),
    "auto, full softmax": ("full", "auto"),
    "fp32, full softmax": ("full", "fp32"),
}


def run(name: str, texts: Texts, rounds: int, say: Callable[[str], None]) -> list[Row]:
    """The rows of one size."""
    n_words, sizes, steps = SIZES[name]
    words = texts.words(n_words)
    what = f"{n_words:,} words, {sizes[0]}/{sizes[1]} x {sizes[2]}"
    speeds, peaks = measure(contenders(words, sizes), rounds, steps, say)
    theirs = speeds.pop("fastai")
    rows = [
        Row(
            what=f"train {what}, tokens/s: {form}",
            ours=statistics.median(found),
            theirs=statistics.median(theirs),
            ratio=median_ratio(found, theirs),
        )
        for form, found in speeds.items()
    ]
    return rows + shares(what, sizes, words.shares(), speeds, peaks)


def contenders(words: Words, sizes: peers.Sizes) -> list[Contender]:
    """Ours in three forms, and fastai."""
    found = [
        ours.training(
            form,
            ours.language_model(words.tokenizer, sizes, softmax),
            words.store,
            ours.Recipe(batch_size=BATCH, bptt=BPTT),
            n_steps=MANY,
            precision=precision,
        )
        for form, (softmax, precision) in FORMS.items()
    ]
    peer = peers.LanguageModelPeer(
        words.documents(), len(words.tokenizer), sizes, batch_size=BATCH, bptt=BPTT
    )
    return [*found, peer.training("fastai", 5e-3, MANY)]


def measure(
    running: Sequence[Contender], rounds: int, steps: int, say: Callable[[str], None]
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Tokens/s of every contender in each round, and the rates of products; a first step each is not counted."""
    for contender in running:
        contender.go_on(steps=1)
    speeds: dict[str, list[float]] = {contender.name: [] for contender in running}
    peaks: dict[str, list[float]] = {"fp32": [], "bf16": []}
    for _ in range(rounds):
        peaks["fp32"].append(product_rate(torch.float32))
        peaks["bf16"].append(product_rate(torch.bfloat16))
        for contender in running:
            speeds[contender.name].append(tokens_per_second(contender.go_on(steps=steps)))
        say("tokens/s " + ", ".join(f"{name} {found[-1]:,.0f}" for name, found in speeds.items()))
    for contender in running:
        contender.stop()
    return speeds, peaks


def shares(
    what: str,
    sizes: peers.Sizes,
    word_shares: NDArray,
    speeds: dict[str, list[float]],
    peaks: dict[str, list[float]],
) -> list[Row]:
    """The share of the matrix-product rate that each of our forms uses, in the format that it computes in."""
    rows = []
    for form, (softmax, precision) in FORMS.items():
        cutoffs = default_cutoffs(len(word_shares)) if softmax == "adaptive" else ()
        operations = training_operations(sizes, word_shares, cutoffs)
        peak = peaks["fp32" if precision == "fp32" else auto_precision()]
        rows.append(
            Row(
                what=f"train {what}, GFLOP/s of a product's: {form}",
                ours=statistics.median(speeds[form]) * operations / 1e9,
                theirs=statistics.median(peak) / 1e9,
                ratio=median_ratio([speed * operations for speed in speeds[form]], peak),
            )
        )
    return rows
