"""CoVe and its translator beside the published ways: embedding, training, and the time to a BLEU of 25 on Multi30k.

    benchmarks/setup-joeynmt                     (once: JoeyNMT in an environment of its own, benchmarks/.joeynmt)
    benchmarks/.joeynmt/bin/python -m benchmarks.translation_speed --data DATA [--only embedding training bleu] [--threads N]

`embedding`: words a second of CoVe's encoder (300 cells a direction, random weights) on captions, beside `torch.nn.LSTM` on packed
sequences in float32, as salesforce/cove does it; both get the same batches as word vectors, and must give the same states.
`training`: target tokens a second beside JoeyNMT 2.3.0 with the same architecture, sizes, tokens and batch size, each in its own
loop, alternately in one process; and the share of the processor's product rate. `bleu`: both train alternately, a turn at a time,
until the greedy translations of the validation captions reach a BLEU of 25; the time of measuring does not count.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from sacrebleu.metrics import BLEU
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from benchmarks.matrix_share import product_rate
from benchmarks.report import Row, auto_precision, machine, machine_line, precision_name, table
from benchmarks.turns import Contender, StepEnd, median_ratio, rates_in_turns, tokens_per_second
from unfreeze.encoders.cove import CoVe
from unfreeze.pretraining.translation.objective import EncodedPairs, TranslationObjective
from unfreeze.pretraining.translation.recipe import make_translator
from unfreeze.pretraining.translation.settings import small
from unfreeze.progress import Progress
from unfreeze.text.cased_words import train_cased_tokenizer
from unfreeze.text.marked_words import joined
from unfreeze.text.pairs import PairSet, read_pairs
from unfreeze.text.tokenizers import train_tokenizer
from unfreeze.training.loop import train
from unfreeze.training.loop_settings import LoopSettings
from unfreeze.training.precision import prediction_format
from unfreeze.transfer.policies import TransferPolicy

PARTS = ("embedding", "training", "bleu")
LEARNING_RATE = 1e-3
WANTED = 25.0
TURN = 30.0
"""Seconds of a turn in the comparison of BLEU."""
BATCHES = {64: 6, 256: 3}
"""Captions in a batch, and how many batches."""


def captions(data: Path, name: str) -> PairSet:
    """A part of Multi30k."""
    return read_pairs([data / "multi30k" / f"{name}.{language}" for language in ("en", "de")])


def embedding(data: Path, rounds: int, size: int) -> list[Row]:
    """Words per second in batches of `size` captions, and the largest difference of the states."""
    texts = captions(data, "train").sources[: size * BATCHES[size]]
    encoder = CoVe(train_cased_tokenizer(texts, size=10_000)).eval()
    torch.manual_seed(0)
    nn.init.normal_(encoder.words.weight)
    batches = [encoder.prepare(texts[at : at + size]) for at in range(0, len(texts), size)]
    published = nn.LSTM(300, 300, 2, bidirectional=True, batch_first=True)
    for layer, own in enumerate(encoder.lstms):
        for name, parameter in own.named_parameters():
            getattr(published, name.replace("_l0", f"_l{layer}")).data.copy_(parameter.data)

    @torch.no_grad()
    def theirs() -> list[torch.Tensor]:
        found = []
        for batch in batches:
            packed = pack_padded_sequence(
                encoder.words(batch.ids), batch.lengths, batch_first=True, enforce_sorted=False
            )
            found.append(pad_packed_sequence(published(packed)[0], batch_first=True)[0])
        return found

    def ours(precision: Any) -> list[torch.Tensor]:
        with torch.no_grad(), prediction_format(precision, torch.device("cpu")):
            return [encoder.layers(batch)[0][-1] for batch in batches]

    difference = max(float((a - b).abs().max()) for a, b in zip(ours("fp32"), theirs(), strict=True))
    calls: dict[str, Callable[[], object]] = {
        "bf16": lambda: ours("bf16"),
        "fp32": lambda: ours("fp32"),
        "theirs": theirs,
    }
    n_words = sum(int(batch.lengths.sum()) for batch in batches)
    rates = rates_in_turns(calls, n_words, rounds, seconds=1.0)
    peer = rates.pop("theirs")
    rows = [
        Row(
            what=f"CoVe, {size} captions: largest difference of states",
            ours=difference,
            goal="< 1e-5",
            failed=difference >= 1e-5,
        )
    ]
    for precision, found in rates.items():
        medians = statistics.median(found), statistics.median(peer)
        rows.append(
            Row(
                what=f"embed CoVe 300/300, words/s, {size} captions: {precision}",
                ours=medians[0],
                theirs=medians[1],
                ratio=median_ratio(found, peer),
                goal=">= 3",
            )
        )
    return rows


class Sides:
    """Both translators with the same tokens, sizes, batch size and learning rate."""

    def __init__(self, data: Path, folder: Path, threads: int) -> None:
        from benchmarks.joeynmt_peer import JoeyPeer

        train_pairs, self.held_out = captions(data, "train"), captions(data, "val")
        self.settings = settings = small()
        source = train_cased_tokenizer(train_pairs.sources, size=settings.source_vocabulary_size, min_count=2)
        target = train_tokenizer(
            train_pairs.targets, kind="subword", vocabulary_size=settings.vocabulary_size, workers=1
        )
        torch.manual_seed(0)
        self.translator = make_translator(source, target, None, settings)
        self.pairs = EncodedPairs.of(self.translator, train_pairs)

        def tokens(pairs: PairSet) -> tuple[list[list[str]], list[list[str]]]:
            encoded, numbers = EncodedPairs.of(self.translator, pairs), range(len(pairs))
            sides = (encoded.sources, source, 0), (encoded.targets, target, 1)
            return tuple(
                [[own.token(n) for n in texts[number][first:]] for number in numbers]
                for texts, own, first in sides
            )  # type: ignore[return-value]

        sizes = {
            "embedding_size": settings.embedding_size,
            "hidden_size": settings.hidden_size,
            "n_layers": settings.n_layers,
            "batch_size": settings.batch_size,
            "dropout": settings.dropout,
            "learning_rate": LEARNING_RATE,
        }
        self.peer = JoeyPeer(folder / "joeynmt", tokens(train_pairs), tokens(self.held_out), sizes)
        torch.set_num_threads(threads)  # JoeyNMT leaves it alone, but its imports may not

    def contenders(self) -> list[Contender]:
        """Both trainings."""
        return [Contender("ours", self._train), Contender("JoeyNMT", self.peer.train)]

    def _train(self, step: StepEnd) -> None:
        objective = _Counting(self.translator, self.pairs, batch_size=self.settings.batch_size, seed=0)
        policy = TransferPolicy(mode="scratch", learning_rate=LEARNING_RATE, schedule="constant")
        loop = LoopSettings(epochs=1000, weight_decay=0.0, betas=(0.9, 0.999))
        train(objective, policy=policy, settings=loop, progress=_Steps(step, objective))

    def bleu(self, name: str) -> float:
        """BLEU of the greedy translations of the validation captions."""
        if name == "ours":
            written = self.translator.predict(self.held_out.sources, beams=1)
        else:
            written = [joined(tokens) for tokens in self.peer.translate()]
        return float(BLEU().corpus_score(written, [self.held_out.targets]).score)


class _Counting(TranslationObjective):
    """Remembers the number of tokens of the last batch."""

    n_tokens = 0

    def loss(self, batch: Sequence[int]) -> Any:
        found = super().loss(batch)
        self.n_tokens = found.n_items
        return found


class _Steps(Progress):
    """Tells the benchmark of every update."""

    def __init__(self, step: StepEnd, objective: _Counting) -> None:
        super().__init__()
        self.step, self.objective = step, objective

    def record(self, step: int, metrics: Any) -> None:
        """Called by the loop after each update."""
        self.step(self.objective.n_tokens)


def training(sides: Sides, rounds: int) -> list[Row]:
    """Target tokens per second of both, in turns of some updates."""
    both, speeds = sides.contenders(), {"ours": [], "JoeyNMT": []}
    for contender in both:
        contender.go_on(steps=3)
    for _ in range(rounds):
        for contender in both:
            steps = contender.go_on(steps=8)
            speeds[contender.name].append(tokens_per_second(steps))
    for contender in both:
        contender.stop()
    n_ours = sum(parameter.numel() for parameter in sides.translator.parameters())
    print(f"parameters: ours {n_ours:,}, JoeyNMT {sides.peer.n_parameters:,}", flush=True)
    medians = {name: statistics.median(found) for name, found in speeds.items()}
    precision = auto_precision()
    rate = product_rate(torch.bfloat16 if precision == "bf16" else torch.float32, repeats=20)
    return [
        Row(
            what=f"train a translator, target tokens/s: {precision_name('auto')} beside float32",
            ours=medians["ours"],
            theirs=medians["JoeyNMT"],
            ratio=median_ratio(speeds["ours"], speeds["JoeyNMT"]),
        ),
        Row(
            what=f"share of the processor's product rate in {precision}",
            ours=medians["ours"] * work(sides) / rate,
        ),
    ]


def work(sides: Sides) -> float:
    """Floating-point operations in products for a target token, forward and backward: six for each weight that it meets.

    The words of the source count by their number for each token of the target.
    """
    translator, encoder = sides.translator, sides.translator.encoder
    words = sum(sides.pairs.sources.lengths) / sum(sides.pairs.targets.lengths)
    of_words = sum(p.numel() for lstm in encoder.lstms for p in lstm.parameters() if p.dim() == 2)
    of_tokens = sum(p.numel() for p in translator.decoder.parameters() if p.dim() == 2)
    of_words += translator.decoder.keys.numel()
    of_tokens += translator.embedding.weight.numel() - translator.decoder.keys.numel()
    return 6.0 * (words * of_words + of_tokens)


def to_bleu(sides: Sides, patience: float) -> list[Row]:
    """Seconds of training until the validation captions reach the wanted BLEU.

    A side that has trained `patience` times as long as the one that reached it is stopped, and its time counts as at least that.
    """
    running, reached = sides.contenders(), dict[str, float]()
    stopped = False
    while running:
        for contender in list(running):
            contender.go_on(seconds=TURN)
            found = sides.bleu(contender.name)
            print(
                f"{contender.name}: {contender.seconds:.0f} s, {len(contender.steps)} updates, BLEU {found:.2f}",
                flush=True,
            )
            too_long = any(contender.seconds >= patience * seconds for seconds in reached.values())
            if found >= WANTED or too_long:
                stopped |= found < WANTED
                reached[contender.name] = contender.seconds
                contender.stop()
                running.remove(contender)
    ours, theirs = reached["ours"], reached["JoeyNMT"]
    what = f"seconds to BLEU {WANTED:g} on Multi30k's validation captions"
    if stopped:
        what += f" (the slower side was stopped below it, after {patience:g} times the seconds of the faster)"
    return [Row(what=what, ours=ours, theirs=theirs, ratio=theirs / ours, goal=">= 3")]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the parts and print a table."""
    home = os.environ.get("UNFREEZE_DATA", str(Path.home() / ".cache" / "unfreeze" / "data"))
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.translation_speed",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, default=Path(home), help="folder with multi30k/")
    parser.add_argument(
        "--rounds", type=int, default=5, help="rounds of each comparison of speed (default: 5)"
    )
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="parts (default: all)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="threads of torch")
    parser.add_argument(
        "--patience",
        type=float,
        default=4.0,
        help="bleu: stop the side that has trained this many times as long as the other needed (default: 4)",
    )
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    print(machine_line(machine()), flush=True)
    rows: list[Row] = []
    if "embedding" in options.only:
        for size in BATCHES:
            rows += embedding(options.data, options.rounds, size)
    for name in ("training", "bleu"):
        if name in options.only:
            with tempfile.TemporaryDirectory() as folder:
                sides = Sides(options.data, Path(folder), options.threads)
                rows += (
                    training(sides, options.rounds)
                    if name == "training"
                    else to_bleu(sides, options.patience)
                )
    print(table(rows))


if __name__ == "__main__":
    main()
