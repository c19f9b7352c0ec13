"""Speed of language-model training in tokens per second: our LSTM and QRNN compared with fastai's LSTM, at two sizes.

    benchmarks/.peers/bin/python -m benchmarks --data DATA --only training

All sides use batches of 64 x 70 tokens, the full dropouts of AWD-LSTM, and activation regularization of 2 and 1. Ours has six
variants: each cell with default settings (precision auto, adaptive softmax); each cell with the full softmax in fp32, which for
LSTMs is the same computation as fastai's; and, with the full softmax in precision auto, an LSTM, and a QRNN with a hidden
size that gives it as many parameters. All use the training loops of their libraries, including the optimizer, and run
alternately. A round consists of some steps of each, and ratios are medians over rounds; the second ratio of a QRNN is to
the LSTM with the same softmax and precision. Each round also measures matrix products, for the utilization of the processor
by our steps (matrix_share.py).
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from numpy.typing import NDArray

from benchmarks import ours, peers
from benchmarks.matrix_share import product_rate, training_operations
from benchmarks.report import Row, auto_precision, precision_name, speed_row
from benchmarks.sizes import Sizes, count_parameters, equal_hidden_size
from benchmarks.texts import Texts, Words
from benchmarks.turns import Contender, median_ratio, tokens_per_second
from unfreeze.encoders.layers.cell_settings import CellKind
from unfreeze.training.precision import Precision

BATCH, BPTT = 64, 70
MANY = 10_000
"""Length of the schedules, more than the steps that are made."""
SIZES: dict[str, tuple[int, Sizes, int]] = {
    "training-small": (16_000, (256, 640, 3), 3),
    "training-paper": (60_000, (400, 1152, 3), 1),
}
"""Words; embedding size, hidden size and layers; steps per round."""


@dataclass(frozen=True, kw_only=True)
class Form:
    """One of our language models and its training settings."""

    n_words: int
    sizes: Sizes
    cell: CellKind
    softmax: ours.Softmax
    precision: Precision

    @property
    def cutoffs(self) -> tuple[int, ...]:
        """Cutoffs of the adaptive softmax."""
        return ours.cutoffs(self.softmax, self.n_words)

    @property
    def name(self) -> str:
        """Name in the report; M are millions of parameters."""
        embedding, hidden, n_layers = self.sizes
        millions = count_parameters(self.sizes, self.cell, self.n_words, len(self.cutoffs)) / 1e6
        return (
            f"{self.cell.upper()} {embedding}/{hidden} x {n_layers}, {millions:.1f} M, "
            f"{precision_name(self.precision)}, {self.softmax} softmax"
        )


def all_forms(n_words: int, sizes: Sizes) -> list[Form]:
    """Each LSTM is followed by a QRNN of the same sizes, or with as many parameters for the full softmax in precision auto."""
    equal = (sizes[0], equal_hidden_size(sizes, n_words), sizes[2])
    kinds: list[tuple[ours.Softmax, Precision, Sizes]] = [
        ("adaptive", "auto", sizes),
        ("full", "auto", equal),
        ("full", "fp32", sizes),
    ]
    return [
        Form(n_words=n_words, sizes=chosen, cell=cell, softmax=softmax, precision=precision)
        for softmax, precision, qrnn_sizes in kinds
        for cell, chosen in (("lstm", sizes), ("qrnn", qrnn_sizes))
    ]


def run(name: str, texts: Texts, rounds: int, say: Callable[[str], None]) -> list[Row]:
    """Measure one size and return its rows."""
    n_words, sizes, steps = SIZES[name]
    words = texts.words(n_words)
    forms = all_forms(len(words.tokenizer), sizes)
    speeds, peaks = measure(contenders(words, sizes, forms), rounds, steps, say)
    lstms = {(form.softmax, form.precision): speeds[form.name] for form in forms if form.cell == "lstm"}
    what = f"train {n_words:,} words"
    rows = [
        speed_row(
            f"{what}, tokens/s: {form.name}",
            speeds[form.name],
            speeds["fastai"],
            lstm=lstms[form.softmax, form.precision] if form.cell == "qrnn" else None,
        )
        for form in forms
    ]
    return rows + shares(what, forms, words.shares(), speeds, peaks)


def contenders(words: Words, sizes: Sizes, forms: Sequence[Form]) -> list[Contender]:
    """All variants of ours, and fastai."""
    found = [
        ours.training(
            form.name,
            ours.language_model(words.tokenizer, form.sizes, form.cell, form.softmax),
            words.store,
            ours.Recipe(batch_size=BATCH, bptt=BPTT),
            n_steps=MANY,
            precision=form.precision,
        )
        for form in forms
    ]
    peer = peers.LanguageModelPeer(
        words.documents(), len(words.tokenizer), sizes, batch_size=BATCH, bptt=BPTT
    )
    return [*found, peer.training("fastai", 5e-3, MANY)]


def measure(
    running: Sequence[Contender], rounds: int, steps: int, say: Callable[[str], None]
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Tokens/s of each contender in each round, and rates of matrix products; the first step of each is not counted."""
    for contender in running:
        contender.go_on(steps=1)
    speeds: dict[str, list[float]] = {contender.name: [] for contender in running}
    peaks: dict[str, list[float]] = {"fp32": [], "bf16": []}
    for _ in range(rounds):
        peaks["fp32"].append(product_rate(torch.float32))
        peaks["bf16"].append(product_rate(torch.bfloat16))
        for contender in running:
            speeds[contender.name].append(tokens_per_second(contender.go_on(steps=steps)))
        say("tokens/s " + "; ".join(f"{name} {found[-1]:,.0f}" for name, found in speeds.items()))
    for contender in running:
        contender.stop()
    return speeds, peaks


def shares(
    what: str,
    forms: Sequence[Form],
    word_shares: NDArray,
    speeds: dict[str, list[float]],
    peaks: dict[str, list[float]],
) -> list[Row]:
    """Utilization of each of our variants, relative to the rate of matrix products in its number format."""
    rows = []
    for form in forms:
        operations = training_operations(form.sizes, form.cell, word_shares, form.cutoffs)
        peak = peaks["fp32" if form.precision == "fp32" else auto_precision()]
        found = [speed * operations for speed in speeds[form.name]]
        rows.append(
            Row(
                what=f"{what}, GFLOP/s of a product's: {form.name}",
                ours=statistics.median(found) / 1e9,
                theirs=statistics.median(peak) / 1e9,
                ratio=median_ratio(found, peak),
            )
        )
    return rows
