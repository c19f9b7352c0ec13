"""Claim: a QRNN learns a language as well as an LSTM from the same text, and more in the same minutes.

Bradbury et al. 2017 and MultiFiT say so; the lecture adds "as many layers as we want". On Wikipedia (enwiki-2015, its last
file held out), one vocabulary, widths and batch: both cells over the same tokens; the QRNN for the minutes that the LSTM
took; 1, 2 and 4 layers and a wider one for the same minutes, and with longer streams (BPTT 140). Then both cells go on on
IMDb's unlabeled reviews for equal minutes, and a logistic regression reads sentiment from the mean of their top states
(experiments/readout.py).

    python -m experiments.lstm_or_qrnn --data DATA --runs RUNS --megabytes 14

Run it on a core of its own, for minutes are compared: `OMP_NUM_THREADS=1 taskset -c 1 ...`. Every run is a folder of RUNS and
goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from experiments.imdb import Places
from experiments.readout import readout, shown
from unfreeze.encoders.layers.recurrent import CellKind
from unfreeze.pretraining.language_model import LanguageModel
from unfreeze.pretraining.perplexity import evaluate_perplexity
from unfreeze.pretraining.settings import AdaptSettings, PretrainSettings, TrainingSettings, small
from unfreeze.pretraining.stages import adapt_language_model, pretrain_language_model
from unfreeze.pretraining.unlabeled import Corpus
from unfreeze.progress import Progress
from unfreeze.text.corpus import stream_documents
from unfreeze.text.token_store import TokenStore
from unfreeze.training.loop_settings import LoopSettings
from unfreeze.transfer.policies import TransferPolicy

ON_THE_WAY, AT_THE_END = 10, 100
"""Documents of the held-out file: few for the points of a course, since measuring takes minutes too, more for the figure."""
VOCABULARY = 30_000


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A language model, and how it is trained."""

    cell: CellKind
    layers: int = 3
    sizes: tuple[int, int] = (256, 640)
    """Embedding and hidden size."""
    bptt: int = 70
    same_tokens: bool = False
    """One pass over the small corpus, instead of the LSTM's minutes on the large one."""


VARIANTS = {
    "LSTM, 3 layers, same tokens": Variant(cell="lstm", same_tokens=True),
    "QRNN, 3 layers, same tokens": Variant(cell="qrnn", same_tokens=True),
    "QRNN, 3 layers": Variant(cell="qrnn"),
    "QRNN, 4 layers": Variant(cell="qrnn", layers=4),
    "QRNN, 2 layers": Variant(cell="qrnn", layers=2),
    "QRNN, 1 layer": Variant(cell="qrnn", layers=1),
    "QRNN, 3 layers, 400/1152": Variant(cell="qrnn", sizes=(400, 1152)),
    "QRNN, 3 layers, BPTT 140": Variant(cell="qrnn", bptt=140),
}
ADAPTED = ("LSTM, 3 layers, same tokens", "QRNN, 3 layers")
"""The two that took the same minutes."""


def small_corpus(places: Places, megabytes: float) -> Path:
    """The beginning of the first file, which both cells read once."""
    path = places.runs / "small-corpus.txt"
    if not path.is_file():
        with places.wikipedia[0].open(encoding="utf-8") as file:
            lines, size = [], 0.0
            for line in file:
                size += len(line.encode())
                if size > 1e6 * megabytes and not line.strip():
                    break
                lines.append(line)
        path.write_text("".join(lines), encoding="utf-8")
    return path


def held_out(places: Places, count: int) -> Path:
    """The first documents of the held-out file."""
    path = places.runs / f"held-out-{count}.txt"
    if not path.is_file():
        documents = islice(stream_documents([places.held_out_wikipedia]), count)
        path.write_text("\n\n".join(documents), encoding="utf-8")
    return path


def settings_of(variant: Variant, minutes: float | None) -> PretrainSettings:
    """The preset `small` with what the variant changes."""
    settings = small()
    bound = {"epochs": 1, "minutes": None} if minutes is None else {"epochs": None, "minutes": minutes}
    loop = LoopSettings(**bound, validate_minutes=1.5, checkpoint_minutes=1.0)  # type: ignore[arg-type]
    return replace(
        settings,
        training=replace(settings.training, loop=loop, bptt=variant.bptt),
        vocabulary_size=VOCABULARY,
        cell=variant.cell,
        n_layers=variant.layers,
        embedding_size=variant.sizes[0],
        hidden_size=variant.sizes[1],
    )


def course(folder: Path) -> list[dict[str, Any]]:
    """What was measured on the way."""
    lines = (folder / "training" / "log.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def train(places: Places, name: str, corpora: dict[bool, list[Path]], minutes: float | None) -> Path:
    """One variant; the folder of its language model."""
    variant, output = (
        VARIANTS[name],
        places.runs / name.replace(", ", "-").replace(" ", "-").replace("/", "-"),
    )
    corpus = Corpus(paths=corpora[variant.same_tokens], validation=[held_out(places, ON_THE_WAY)])
    bound = None if variant.same_tokens else minutes
    pretrain_language_model(corpus, output, settings_of(variant, bound), progress=Progress())
    return output


def final_perplexity(places: Places, output: Path) -> float:
    """Of the finished model, on more text than its course was measured on; kept in its folder."""
    kept = output / "training" / "perplexity.json"
    if not kept.is_file():
        model = LanguageModel.from_pretrained(output)
        documents = stream_documents([held_out(places, AT_THE_END)])
        with tempfile.TemporaryDirectory() as name:
            store = TokenStore.build(documents, model.tokenizer, Path(name) / "tokens")
            kept.write_text(json.dumps(evaluate_perplexity(model, store).perplexity), encoding="utf-8")
    return float(json.loads(kept.read_text(encoding="utf-8")))


def row(places: Places, name: str, output: Path) -> str:
    """A line of the table: size, tokens, minutes, and the held-out perplexity at every point."""
    points = course(output)
    model = LanguageModel.from_pretrained(output)
    parameters = sum(p.numel() for p in model.parameters()) / 1e6
    tokens = points[-1]["step"] * 32 * VARIANTS[name].bptt / 1e6
    seen = ", ".join(f"{point['perplexity']:.1f} at {point['seconds'] / 60:.1f} min" for point in points)
    return (
        f"| {name} | {parameters:.1f} | {tokens:.1f} | {points[-1]['seconds'] / 60:.1f} "
        f"| **{final_perplexity(places, output):.1f}** | {seen} |"
    )


def adapt(places: Places, source: Path, minutes: float) -> Path:
    """On the reviews without labels."""
    output = source.with_name(source.name + "-reviews")
    training = TrainingSettings(
        policy=TransferPolicy(
            mode="fine-tune", rate=4e-3, gradual=False, discriminative=1.3, schedule="slanted"
        ),
        loop=LoopSettings(epochs=None, minutes=minutes, checkpoint_minutes=1.0),
        dropout_scale=0.2,
        alpha=0.0,
        beta=0.0,
    )
    settings = AdaptSettings(training=training, vocabulary_size=VOCABULARY)
    adapt_language_model(
        source, Corpus(paths=[places.unlabeled_reviews]), output, settings, progress=Progress()
    )
    return output


def main() -> None:
    """All variants, the table, and what the adapted ones know."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with enwiki-2015/ and imdb/")
    parser.add_argument("--runs", type=Path, required=True, help="folder for what is made")
    parser.add_argument("--megabytes", type=float, default=14, help="of text that both cells read once")
    parser.add_argument("--adapt-minutes", type=float, default=5)
    parser.add_argument("--only", nargs="+", choices=list(VARIANTS), help="variants to train; all by default")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    places = Places(arguments.data, arguments.runs)
    places.runs.mkdir(parents=True, exist_ok=True)
    corpora = {True: [small_corpus(places, arguments.megabytes)], False: places.wikipedia[:2]}
    folders, minutes = {}, None
    for name in arguments.only or VARIANTS:
        folders[name] = train(places, name, corpora, minutes)
        if minutes is None:  # the LSTM's, which comes first
            minutes = course(folders[name])[-1]["seconds"] / 60
        print(row(places, name, folders[name]), flush=True)
    print(
        "| | parameters (M) | tokens (M) | minutes | perplexity | on the way |\n|---|---:|---:|---:|---:|---|"
    )
    for name, folder in folders.items():
        print(row(places, name, folder))
    for name in ADAPTED:
        if name in folders:
            adapted = adapt(places, folders[name], arguments.adapt_minutes)
            perplexity = course(adapted)[-1]["perplexity"]
            print(
                f"{name}: perplexity of reviews {perplexity:.1f}; {shown(readout(adapted, places))}",
                flush=True,
            )


if __name__ == "__main__":
    main()
