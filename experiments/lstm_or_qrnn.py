"""Claim: a QRNN learns as much as an LSTM from the same text, and more in the same time.

This is the claim of Bradbury et al. 2017 and MultiFiT. On Wikipedia (enwiki-2015, with its last file held out), with the same
vocabulary, batch and learning rate, both cells are trained on the same tokens, and on as many as each reads in the same
time. Variants with 1, 2 and 4 layers, longer sequences (BPTT 140), wider layers, other learning rates and batch sizes are
trained for the same time. Then both cells are adapted to the unlabeled reviews of IMDb, and logistic regression predicts
sentiment from the mean of their top states (experiments/readout.py).

    OMP_NUM_THREADS=1 python -m experiments.lstm_or_qrnn --data DATA --runs RUNS --minutes 5

Minutes are those of an idle core: first the updates of all variants are timed alternately, then each variant is trained on as
many tokens as it reads in that time, so that other load on the machine does not matter. Only adaptation is limited by the
clock. Each run is a folder in RUNS and is resumed if it was interrupted.
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import tempfile
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from benchmarks.ours import Recipe, training
from benchmarks.turns import tokens_per_second
from experiments.imdb import Places
from experiments.readout import readout, shown
from unfreeze.encoders.awd_lstm import AwdLstm
from unfreeze.encoders.layers.cell_settings import CellKind
from unfreeze.encoders.layers.output import default_cutoffs
from unfreeze.encoders.layers.recurrent import Dropouts
from unfreeze.language_models.awd_lstm import AwdLstmLanguageModel
from unfreeze.language_models.perplexity import evaluate_perplexity
from unfreeze.pretraining.lm import adapt_lm
from unfreeze.pretraining.settings import AdaptSettings, TrainingSettings, small
from unfreeze.pretraining.unlabeled import Corpus
from unfreeze.progress import Progress
from unfreeze.text.corpus import stream_documents
from unfreeze.text.token_store import TokenStore
from unfreeze.text.tokenizer_files import load_tokenizer
from unfreeze.text.tokenizers import train_tokenizer
from unfreeze.training.checkpoints import read_log
from unfreeze.training.loop import seed_everything
from unfreeze.training.loop_settings import LoopSettings
from unfreeze.transfer.policies import TransferPolicy

ON_THE_WAY, AT_THE_END = 10, 100
"""Documents of the held-out file used during training and at the end."""
VOCABULARY, FILES = 30_000, 3
DROPOUT_SCALE = 0.1
ROUNDS, STEPS = 5, 3
"""Updates of each variant per round of the timing."""


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A language model and its training settings."""

    cell: CellKind
    layers: int = 3
    sizes: tuple[int, int] = (256, 640)
    """Embedding and hidden size."""
    batch_size: int = 32
    bptt: int = 70
    rate: float = 6e-3
    """Maximum learning rate."""
    tokens_of: str | None = None
    """Train on as many tokens as this variant, instead of for the same time."""


LSTM, QRNN = "LSTM, 3 layers", "QRNN, 3 layers"
VARIANTS = {
    LSTM: Variant(cell="lstm"),
    "QRNN, 3 layers, the LSTM's tokens": Variant(cell="qrnn", tokens_of=LSTM),
    QRNN: Variant(cell="qrnn"),
    "QRNN, 4 layers": Variant(cell="qrnn", layers=4),
    "QRNN, 2 layers": Variant(cell="qrnn", layers=2),
    "QRNN, 1 layer": Variant(cell="qrnn", layers=1),
    "QRNN, 3 layers, BPTT 140": Variant(cell="qrnn", bptt=140),
    "QRNN, 3 layers, 400/1152": Variant(cell="qrnn", sizes=(400, 1152)),
    "QRNN, 3 layers, 16 lanes": Variant(cell="qrnn", batch_size=16),
    "QRNN, 3 layers, 64 lanes": Variant(cell="qrnn", batch_size=64),
    "QRNN, 3 layers, rate 3e-3": Variant(cell="qrnn", rate=3e-3),
    "QRNN, 3 layers, rate 1.2e-2": Variant(cell="qrnn", rate=1.2e-2),
    "QRNN, 2 layers, rate 1.2e-2": Variant(cell="qrnn", layers=2, rate=1.2e-2),
}


class Comparison:
    """Text, vocabulary and folders shared by all variants.

    Args:
        places: locations of data and runs.
    """

    def __init__(self, places: Places) -> None:
        self.places, self.files = places, places.wikipedia[:FILES]
        places.runs.mkdir(parents=True, exist_ok=True)
        kept = places.runs / "vocabulary"
        if not kept.is_dir():
            train_tokenizer(
                stream_documents(self.files), vocabulary_size=VOCABULARY, progress=Progress()
            ).save(kept)
        self.tokenizer = load_tokenizer(kept)

    def held_out(self, count: int) -> Path:
        """The first documents of the held-out file."""
        path = self.places.runs / f"held-out-{count}.txt"
        if not path.is_file():
            documents = islice(stream_documents([self.places.held_out_wikipedia]), count)
            path.write_text("\n\n".join(documents), encoding="utf-8")
        return path

    def text(self, n_tokens: float) -> Path:
        """The first documents of the files, with about the given number of tokens."""
        path = self.places.runs / f"text-{n_tokens / 1e6:.2f}M.txt"
        if not path.is_file():
            found, size = [], 0
            for document in stream_documents(self.files):
                found.append(document)
                size += len(self.tokenizer.encode(document).ids)
                if size >= n_tokens:
                    break
            assert size >= n_tokens, f"{FILES} files hold {size:,} tokens only: raise FILES"
            path.write_text("\n\n".join(found), encoding="utf-8")
        return path

    def model(self, variant: Variant) -> AwdLstmLanguageModel:
        """Create the model with random weights."""
        seed_everything(0)
        encoder = AwdLstm(
            self.tokenizer,
            embedding_size=variant.sizes[0],
            hidden_size=variant.sizes[1],
            n_layers=variant.layers,
            cell=variant.cell,
            dropouts=Dropouts().times(DROPOUT_SCALE),
        )
        return AwdLstmLanguageModel(encoder, default_cutoffs(len(self.tokenizer)))

    def speeds(self) -> dict[str, float]:
        """Training speed of each variant in tokens per second, timed alternately; stored in RUNS."""
        kept = self.places.runs / "speeds.json"
        if not kept.is_file():
            with tempfile.TemporaryDirectory() as name:
                documents = stream_documents([self.text(300_000)])
                store = TokenStore.build(documents, self.tokenizer, Path(name) / "tokens")
                running = [
                    training(
                        name,
                        self.model(variant),
                        store,
                        Recipe(
                            batch_size=variant.batch_size,
                            bptt=variant.bptt,
                            alpha=0.0,
                            beta=0.0,
                            variable_bptt=True,
                        ),
                        n_steps=10_000,
                    )
                    for name, variant in VARIANTS.items()
                    if variant.tokens_of is None
                ]
                found: dict[str, list[float]] = {contender.name: [] for contender in running}
                for number in range(1 + ROUNDS):
                    for contender in running:
                        speed = tokens_per_second(contender.go_on(steps=STEPS))
                        if number:  # the first round warms up
                            found[contender.name].append(speed)
                for contender in running:
                    contender.stop()
            medians = {name: statistics.median(values) for name, values in found.items()}
            kept.write_text(json.dumps(medians), encoding="utf-8")
        speeds: dict[str, float] = json.loads(kept.read_text(encoding="utf-8"))
        return speeds

    def train(self, name: str, n_tokens: float) -> Path:
        """Train for one epoch on a number of tokens, and return the folder of the language model."""
        variant, output = VARIANTS[name], self.places.runs / name.translate(str.maketrans(" /", "--", ",'"))
        start = output.with_name(f"{output.name}-start")
        if not start.is_dir():
            self.model(variant).save_pretrained(start)
        recipe = small().training
        settings = replace(
            recipe,
            policy=replace(
                recipe.policy, mode="fine-tune", learning_rate=variant.rate, gradual=False, discriminative=1.0
            ),
            loop=LoopSettings(epochs=1, validate_minutes=1.0, checkpoint_minutes=1.0),
            batch_size=variant.batch_size,
            bptt=variant.bptt,
            dropout_scale=DROPOUT_SCALE,
        )
        corpus = Corpus(paths=[self.text(n_tokens)], validation=[self.held_out(ON_THE_WAY)])
        wanted = AdaptSettings(training=settings, new_vocabulary=False)
        adapt_lm(start, corpus, wanted, output=output, progress=Progress())
        return output

    def perplexity(self, model: Path) -> float:
        """Perplexity of a finished model, on more text than during training; stored in its folder."""
        kept = model / "training" / "perplexity.json"
        if not kept.is_file():
            documents = stream_documents([self.held_out(AT_THE_END)])
            with tempfile.TemporaryDirectory() as name:
                store = TokenStore.build(documents, self.tokenizer, Path(name) / "tokens")
                found = evaluate_perplexity(AwdLstmLanguageModel.from_pretrained(model), store)
            kept.write_text(json.dumps(found.perplexity), encoding="utf-8")
        return float(json.loads(kept.read_text(encoding="utf-8")))

    def row(self, name: str, model: Path, n_tokens: float, speed: float) -> str:
        """A line of the table: size, speed, tokens, minutes at that speed, final perplexity, and perplexity during training."""
        points, variant = read_log(model), VARIANTS[name]
        parameters = sum(p.numel() for p in AwdLstmLanguageModel.from_pretrained(model).parameters()) / 1e6
        at = variant.batch_size * variant.bptt / 1e6
        seen = ", ".join(f"{point['perplexity']:.1f} at {point['step'] * at:.1f} M" for point in points)
        return (
            f"| {name} | {parameters:.1f} | {speed:,.0f} | {n_tokens / 1e6:.2f} | {n_tokens / speed / 60:.1f} "
            f"| **{self.perplexity(model):.1f}** | {seen} |"
        )

    def adapt(self, source: Path, minutes: float) -> Path:
        """Adapt to the unlabeled reviews for a number of minutes."""
        output = source.with_name(source.name + "-reviews")
        training = TrainingSettings(
            policy=TransferPolicy(
                mode="fine-tune", learning_rate=4e-3, gradual=False, discriminative=1.3, schedule="slanted"
            ),
            loop=LoopSettings(epochs=None, minutes=minutes, checkpoint_minutes=1.0),
            dropout_scale=0.2,
            alpha=0.0,
            beta=0.0,
        )
        settings = AdaptSettings(training=training, vocabulary_size=VOCABULARY)
        corpus = Corpus(paths=[self.places.unlabeled_reviews])
        adapt_lm(source, corpus, settings, output=output, progress=Progress())
        return output


def main() -> None:
    """Train all variants, print the table, and read out the adapted models."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with enwiki-2015/ and imdb/")
    parser.add_argument("--runs", type=Path, required=True, help="folder for models and results")
    parser.add_argument("--minutes", type=float, default=5, help="minutes of an idle core for each variant")
    parser.add_argument("--adapt-minutes", type=float, default=5)
    parser.add_argument("--only", nargs="+", choices=["speeds", *VARIANTS], help="default: all")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    comparison = Comparison(Places(arguments.data, arguments.runs))
    speeds = comparison.speeds()
    print(
        "tokens a second, in turns: " + ", ".join(f"{name} {speed:,.0f}" for name, speed in speeds.items()),
        flush=True,
    )
    wanted, folders = arguments.only or list(VARIANTS), {}
    print("| | parameters (M) | tokens/s | tokens (M) | minutes | perplexity | on the way |")
    print("|---|---:|---:|---:|---:|---:|---|", flush=True)
    for name, variant in VARIANTS.items():
        if name in wanted:
            n_tokens = 60 * arguments.minutes * speeds[variant.tokens_of or name]
            folders[name] = comparison.train(name, n_tokens)
            print(
                comparison.row(name, folders[name], n_tokens, speeds[QRNN if variant.tokens_of else name]),
                flush=True,
            )
    for name in (LSTM, QRNN):
        if name in folders:
            adapted = comparison.adapt(folders[name], arguments.adapt_minutes)
            perplexity = read_log(adapted)[-1]["perplexity"]
            print(
                f"{name}: perplexity of reviews {perplexity:.1f}; {shown(readout(adapted, comparison.places))}",
                flush=True,
            )


if __name__ == "__main__":
    main()
