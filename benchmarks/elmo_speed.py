"""ELMo compared with AllenNLP: embedding, training, and the recurrent loop of the LSTM compared with torch's.

    benchmarks/.peers/bin/python -m benchmarks --data DATA --only elmo

Our model has random weights, at the original size (93.6 M parameters) and at that of the preset `small`. AllenNLP reads
the exported model and must compute the same vectors. Both get tokenized sentences of Wikipedia in the order of the text, and
the time includes character ids and batching. Training uses 64 rows of 20 positions in both directions, with 40,000 words, of which
8,192 are sampled, and our side uses the training loop of the package. All sides run alternately.
"""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import count, islice
from pathlib import Path
from typing import Literal

import torch

from benchmarks import ours
from benchmarks.report import Row
from benchmarks.texts import NoData, Texts
from benchmarks.turns import Contender, median_ratio, tokens_per_second
from unfreeze.encoders.elmo import Elmo
from unfreeze.formats.bilm import write_bilm
from unfreeze.language_models.bilm import BiLanguageModel
from unfreeze.pretraining.bilm_objective import BilmObjective
from unfreeze.pretraining.elmo_settings import ElmoSettings, paper, small
from unfreeze.text.cased_words import CasedTokenizer, train_cased_tokenizer
from unfreeze.text.corpus import stream_documents
from unfreeze.text.token_store import TokenStore
from unfreeze.training.precision import Precision, prediction_format

N_WORDS, N_SAMPLES = 40_000, 8_192
ROWS, POSITIONS = 64, 20
SIZES: dict[str, Callable[[], ElmoSettings]] = {"original": paper, "small": small}
N_BATCHES = {"original": 2, "small": 6}
"""Batches of 64 sentences per round."""
N_SINGLE = {"original": 8, "small": 48}
"""Single sentences per round."""
STEPS = {"original": 1, "small": 4}
"""Training steps per round."""
TOLERANCE = 1e-5
MANY = 10_000


class Sides:
    """One of our models with random weights, and its export for AllenNLP.

    Args:
        folder: folder for the files and the token store.
    """

    def __init__(self, texts: Texts, size: str, folder: Path) -> None:
        self.size, self.folder = size, folder
        self.settings = SIZES[size]()
        self.documents = list(islice(stream_documents(texts.wikipedia()[:1]), 400))
        self.surfaces = train_cased_tokenizer(self.documents, size=1 << 20)
        torch.manual_seed(0)
        self.model = self.new_model("sampled")
        self.encoder = self.model.encoder
        self.files = write_bilm(self.encoder, _made(folder / size))

    def new_model(self, softmax: Literal["sampled", "adaptive"]) -> BiLanguageModel:
        """The model with random weights."""
        own = dataclasses.asdict(self.settings)
        sizes = {name: own[name] for name in ("size", "cells", "n_layers", "spelling", "dropout")}
        vocabulary = self.surfaces.first(N_WORDS)
        return BiLanguageModel(Elmo(vocabulary, **sizes), softmax, N_SAMPLES)

    def sentences(self) -> Iterator[list[str]]:
        """Tokenized sentences of Wikipedia."""
        for text in self.documents:
            pieces, words = self.surfaces.encode(text), list[str]()
            for word, (start, end) in zip(pieces.words, pieces.offsets, strict=True):
                if word >= 0:
                    words.append(text[start:end])
                elif words:
                    yield words
                    words = []


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def run(name: str, texts: Texts, rounds: int, say: Callable[[str], None]) -> list[Row]:
    """Run one of the parts and return its rows.

    Raises:
        NoData: the text or AllenNLP is missing.
    """
    if name == "elmo-loop":
        return time_loop(rounds, say)
    try:
        import allennlp  # noqa: F401
    except ImportError:
        raise NoData("AllenNLP is not installed: run benchmarks/setup") from None
    part = embedding if name == "elmo-embedding" else training
    rows = []
    for size in SIZES:
        rows += part(Sides(texts, size, texts.folder / "elmo"), rounds, say)
    return rows


# Embedding

Layers = Callable[[Sequence[list[str]]], Sequence[torch.Tensor]]


def embedding(sides: Sides, rounds: int, say: Callable[[str], None]) -> list[Row]:
    """Words per second of batches and of single sentences, and the difference of the vectors."""
    from benchmarks.allennlp_peer import EmbeddingPeer

    peer = EmbeddingPeer(*sides.files)
    n_parameters = sum(p.numel() for p in sides.encoder.parameters())
    sentences = list(islice(sides.sentences(), ROWS * N_BATCHES[sides.size]))
    batches = [sentences[at : at + ROWS] for at in range(0, len(sentences), ROWS)]
    singles = [[sentence] for sentence in sentences[: N_SINGLE[sides.size]]]
    difference = largest_difference(partial(layers, sides.encoder, "fp32"), peer, batches[0])
    say(f"{n_parameters:,} parameters; AllenNLP reads our files, vectors differ by {difference:.1e} at most")
    what = f"{sides.size}, {n_parameters / 1e6:.1f} M parameters"
    rows = [
        Row(
            what=f"ELMo {what}: largest difference of vectors",
            ours=difference,
            goal=f"< {TOLERANCE}",
            failed=difference >= TOLERANCE,
        )
    ]
    for form, calls in {f"{ROWS} sentences": batches, "one sentence": singles}.items():
        speeds = measure(calls, sides.encoder, peer, rounds, say)
        theirs = speeds.pop("AllenNLP")
        rows += [
            Row(
                what=f"embed {what}, words/s, {form}: {precision}",
                ours=statistics.median(found),
                theirs=statistics.median(theirs),
                ratio=median_ratio(found, theirs),
                goal=">= 6" if precision != "fp32" else "-",
            )
            for precision, found in speeds.items()
        ]
    return rows


@torch.no_grad()
def layers(encoder: Elmo, precision: Precision, sentences: Sequence[list[str]]) -> list[torch.Tensor]:
    """As `embed` computes them."""
    encoder.eval()
    with prediction_format(precision, torch.device("cpu")):
        return encoder.word_layers(encoder.prepare_words(sentences))[0]


def largest_difference(our_layers: Layers, peer: object, sentences: Sequence[list[str]]) -> float:
    """Largest difference of any element of any layer; theirs include sentence boundaries."""
    peer.forget()  # type: ignore[attr-defined]
    theirs = peer.layers(sentences)  # type: ignore[attr-defined]
    found = our_layers(sentences)
    return max(
        float((a[row, : len(words)] - b[row, 1 : len(words) + 1]).abs().max())
        for a, b in zip(found, theirs, strict=True)
        for row, words in enumerate(sentences)
    )


def measure(
    calls: Sequence[Sequence[list[str]]],
    encoder: Elmo,
    peer: object,
    rounds: int,
    say: Callable[[str], None],
) -> dict[str, list[float]]:
    """Words per second of each side in each round."""
    sides: dict[str, Layers] = {
        "auto": partial(layers, encoder, "auto"),
        "fp32": partial(layers, encoder, "fp32"),
        "AllenNLP": peer.layers,  # type: ignore[attr-defined]
    }
    n_words = sum(len(words) for call in calls for words in call)
    speeds: dict[str, list[float]] = {name: [] for name in sides}
    for side in sides.values():
        side(calls[-1])  # the first call sets things up
    for _ in range(rounds):
        for name, side in sides.items():
            start = time.perf_counter()
            for call in calls:
                side(call)
            speeds[name].append(n_words / (time.perf_counter() - start))
        say("words/s " + ", ".join(f"{name} {found[-1]:,.0f}" for name, found in speeds.items()))
    return speeds


# Training

FORMS: dict[str, tuple[Literal["sampled", "adaptive"], Precision]] = {
    "auto, sampled softmax": ("sampled", "auto"),
    "auto, adaptive softmax": ("adaptive", "auto"),
    "fp32, sampled softmax": ("sampled", "fp32"),
}


def training(sides: Sides, rounds: int, say: Callable[[str], None]) -> list[Row]:
    """Training speed in tokens per second."""
    from benchmarks.allennlp_peer import TrainingPeer

    store = TokenStore.build(sides.documents, sides.surfaces, sides.folder / f"store-{sides.size}")
    running = [our_training(sides, store, form) for form in FORMS]
    peer = TrainingPeer(*sides.files, N_WORDS, N_SAMPLES)
    running.append(peer.training("AllenNLP", their_batches(sides)))
    for contender in running:
        contender.go_on(steps=1)
    speeds: dict[str, list[float]] = {contender.name: [] for contender in running}
    for _ in range(rounds):
        for contender in running:
            speeds[contender.name].append(tokens_per_second(contender.go_on(steps=STEPS[sides.size])))
        say("tokens/s " + ", ".join(f"{name} {found[-1]:,.0f}" for name, found in speeds.items()))
    for contender in running:
        contender.stop()
    theirs = speeds.pop("AllenNLP")
    return [
        Row(
            what=f"train ELMo {sides.size}, tokens/s: {form}",
            ours=statistics.median(found),
            theirs=statistics.median(theirs),
            ratio=median_ratio(found, theirs),
            goal=">= 4" if form.startswith("auto") else "-",
        )
        for form, found in speeds.items()
    ]


def our_training(sides: Sides, store: TokenStore, form: str) -> Contender:
    """The training loop of `pretrain elmo`, with Adam as on AllenNLP's side."""
    softmax, precision = FORMS[form]
    model, surfaces = sides.new_model(softmax), sides.surfaces

    def make() -> BilmObjective:
        return BilmObjective(model, surfaces, store, batch_size=ROWS, bptt=POSITIONS)

    policy = dataclasses.replace(small().policy, learning_rate=1e-3)
    return ours.contender(form, make, policy, n_steps=MANY, precision=precision, tokens=ours.lane_tokens)


def their_batches(sides: Sides) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Batches of as many positions as ours, including two boundaries per row; words outside the output are unknown."""
    from benchmarks.allennlp_peer import spell

    vocabulary: CasedTokenizer = sides.model.tokenizer
    words = (word for _ in count() for sentence in sides.sentences() for word in sentence)
    while True:
        rows = [list(islice(words, POSITIONS - 2)) for _ in range(ROWS)]
        yield spell(rows), torch.tensor([vocabulary.encode_words(row).ids for row in rows])


# The time loop


def time_loop(rounds: int, say: Callable[[str], None]) -> list[Row]:
    """One layer in both directions over 20 steps in bf16: 64 rows with and without gradients, and one row."""
    from benchmarks.projected_loop import OurLoop, TorchLoop

    rows = []
    for size, make in SIZES.items():
        settings = make()
        torch.manual_seed(0)
        sides = (
            OurLoop(settings.projection_size, settings.hidden_size),
            TorchLoop(settings.projection_size, settings.hidden_size),
        )
        for n_rows, learns in ((ROWS, False), (ROWS, True), (1, False)):
            x = torch.randn(POSITIONS, n_rows, settings.projection_size)
            times = STEPS[size] * (1 if n_rows == ROWS else 8)
            for side in sides:
                side.run(x, learns)  # the first call sets things up
            found = [[tokens_a_second(side.run, x, learns, times) for side in sides] for _ in range(rounds)]
            mine, theirs = zip(*found, strict=True)
            done = f"{'row' if n_rows == 1 else 'rows'}, {'forward and backward' if learns else 'forward'}"
            say(f"{size}, {n_rows} {done}, tokens/s: ours {mine[-1]:,.0f}, torch {theirs[-1]:,.0f}")
            rows.append(
                Row(
                    what=f"LSTM {settings.projection_size}/{settings.hidden_size}, bf16, tokens/s, {n_rows} {done}; theirs nn.LSTM(proj_size)",
                    ours=statistics.median(mine),
                    theirs=statistics.median(theirs),
                    ratio=median_ratio(mine, theirs),
                    goal=">= 3",
                )
            )
    return rows


def tokens_a_second(
    run: Callable[[torch.Tensor, bool], None], x: torch.Tensor, learns: bool, times: int
) -> float:
    """Number of positions of one direction."""
    start = time.perf_counter()
    for _ in range(times):
        run(x, learns)
    return times * x.shape[0] * x.shape[1] / (time.perf_counter() - start)
