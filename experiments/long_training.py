"""Language models trained for days: several epochs over all files of Wikipedia, then up to twenty over the reviews of IMDb.

MultiFiT (Eisenschlos et al. 2019) pre-trains a QRNN for ten epochs and fine-tunes it on the target text for twenty; the model
of ULMFiT read a billion tokens. This experiment does the same on one CPU core, in stages that can be interrupted. It trains
two models with the same recipe:

- `pair`: both directions over one embedding, small enough to be released (16 MB in half precision), as `wiki-lm`.
- `chase`: as wide as training time allows, for the experiments on IMDb with 100 labels; its size is not limited.

    OMP_NUM_THREADS=1 python -m experiments.long_training --data DATA --runs RUNS --model pair --stages 4
    python -m experiments.long_training --data DATA --runs RUNS --model pair --show
    python -m experiments.long_training --data DATA --runs RUNS --model pair --release DIR

A stage is half an epoch, five or six of the eleven files, as a run of its own with a complete learning-rate schedule (warm
restarts, Loshchilov & Hutter 2017), so each finished stage is a usable model. An interrupted stage (Ctrl-C or `kill -9`) is resumed
by rerunning the command; a finished one is not repeated. The last file of enwiki-2015 and one in a hundred of the unlabeled reviews
are held out. `--show` prints the results so far, and `--readout` evaluates each model with 100 and 1,000 labels.
"""

from __future__ import annotations

import argparse
import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from experiments.imdb import Places
from experiments.readout import readout, shown
from unfreeze.language_models.awd_lstm import AwdLstmLanguageModel
from unfreeze.language_models.perplexity import evaluate_perplexity
from unfreeze.pretraining.lm import adapt_lm, pretrain_lm
from unfreeze.pretraining.settings import AdaptSettings, PretrainSettings, TrainingSettings
from unfreeze.pretraining.unlabeled import Corpus
from unfreeze.pretraining.vocabulary_transfer import transfer_vocabulary
from unfreeze.progress import Progress
from unfreeze.text.token_store import TokenStore
from unfreeze.text.tokenizers import WordTokenizer
from unfreeze.training.cards import LANGUAGE_MODEL_SNIPPET, write_card
from unfreeze.training.checkpoints import read_log
from unfreeze.training.loop_settings import LoopSettings
from unfreeze.transfer.policies import TransferPolicy

VALIDATE_MINUTES = 15.0
REVIEWS = "reviews"
LARGEST, HEADER = 16_000_000, 8_000
"""Maximum size of a released file, and of its header, in bytes."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Recipe of a long training."""

    embedding_size: int
    hidden_size: int
    n_layers: int
    vocabulary_size: int
    """Number of words, of Wikipedia first and then of the reviews."""
    batch_size: int
    bptt: int
    rates: tuple[float, ...]
    """Maximum learning rate of each stage; the last one also applies to further stages."""
    dropout_scale: float = 0.1
    """On Wikipedia, where there is more text than the model can memorize; the reviews use REVIEW_DROPOUT."""

    def rate(self, number: int) -> float:
        """Learning rate of a stage, counted from 1."""
        return self.rates[min(number, len(self.rates)) - 1]


PLANS = {
    "pair": Plan(
        embedding_size=192,
        hidden_size=512,
        n_layers=3,
        vocabulary_size=24_000,
        batch_size=32,
        bptt=140,
        rates=(5e-3, 4e-3, 3e-3),
    ),
    "chase": Plan(
        embedding_size=400,
        hidden_size=1152,
        n_layers=4,
        vocabulary_size=60_000,
        batch_size=32,
        bptt=140,
        rates=(4e-3, 3e-3, 2e-3),
    ),
}
REVIEW_PASSES, REVIEW_RATE, REVIEW_DROPOUT = 20, 2e-3, 0.3


def training(plan: Plan, rate: float, *, epochs: int, seed: int, dropout_scale: float) -> TrainingSettings:
    """Training settings of a stage: one cycle of the learning rate, equal for all layers."""
    return TrainingSettings(
        policy=TransferPolicy(
            mode="fine-tune", learning_rate=rate, gradual=False, discriminative=1.0, schedule="cosine"
        ),
        loop=LoopSettings(
            epochs=epochs, validate_minutes=VALIDATE_MINUTES, checkpoint_minutes=3.0, seed=seed
        ),
        batch_size=plan.batch_size,
        bptt=plan.bptt,
        alpha=0.0,
        beta=0.0,
        dropout_scale=dropout_scale,
    )


def folder_of(places: Places, model: str, stage: int | str) -> Path:
    """Folder of a stage on Wikipedia, counted from 1, or on the reviews."""
    return places.runs / model / (stage if isinstance(stage, str) else f"wikipedia-{stage:02d}")


def read_wikipedia(places: Places, model: str, number: int) -> None:
    """Run a stage: the first one from random weights, the others from the preceding stage."""
    plan, middle = PLANS[model], len(places.wikipedia) // 2
    files = places.wikipedia[:middle] if number % 2 else places.wikipedia[middle:]
    corpus = Corpus(paths=files, validation=[places.held_out_wikipedia])
    settings = training(plan, plan.rate(number), epochs=1, seed=number, dropout_scale=plan.dropout_scale)
    output = folder_of(places, model, number)
    if number > 1:
        source = folder_of(places, model, number - 1)
        going_on = AdaptSettings(training=settings, new_vocabulary=False)
        adapt_lm(source, corpus, going_on, output=output, progress=Progress())
        return
    policy = replace(settings.policy, mode="scratch")
    wanted = PretrainSettings(
        training=replace(settings, policy=policy),
        embedding_size=plan.embedding_size,
        hidden_size=plan.hidden_size,
        n_layers=plan.n_layers,
        direction="both",
        cell="qrnn",
        vocabulary_size=plan.vocabulary_size,
    )
    pretrain_lm(corpus, wanted, output=output, progress=Progress())


def read_reviews(places: Places, model: str, last: int) -> None:
    """Twenty epochs over the unlabeled reviews of IMDb, starting from the last stage on Wikipedia."""
    plan, source = PLANS[model], folder_of(places, model, last)
    settings = training(plan, REVIEW_RATE, epochs=REVIEW_PASSES, seed=0, dropout_scale=REVIEW_DROPOUT)
    wanted = AdaptSettings(training=settings, vocabulary_size=plan.vocabulary_size)
    output = folder_of(places, model, REVIEWS)
    adapt_lm(source, Corpus(paths=[places.unlabeled_reviews]), wanted, output=output, progress=Progress())


def stages(places: Places, model: str) -> Iterator[tuple[str, Path, list[dict[str, Any]]]]:
    """All stages that have been started: name, folder and measurements."""
    for folder in sorted((places.runs / model).glob("*")):
        if records := read_log(folder):
            yield folder.name, folder, records


def show(places: Places, model: str) -> None:
    """The course of the training so far, as a table."""
    print("| stage | updates | hours | held-out perplexity | bits a byte |\n|---|---:|---:|---:|---:|")
    for name, folder, records in stages(places, model):
        state = name if (folder / "config.json").is_file() else f"{name} (going on)"
        for record in records:
            print(
                f"| {state} | {record['step']:,} | {record['seconds'] / 3600:.2f} "
                f"| {record['perplexity']:.2f} | {record['bits_per_byte']:.4f} |"
            )


def fitting(model: AwdLstmLanguageModel) -> AwdLstmLanguageModel:
    """Remove the rarest words of a model, so that its file in half precision has at most LARGEST bytes."""
    size = 2 * sum(p.numel() for p in model.parameters()) + HEADER
    a_word = 2 * (model.encoder.arguments()["embedding_size"] + len(model.encoder.directions))
    count = len(model.tokenizer) - max(0, math.ceil((size - LARGEST) / a_word))
    vocabulary, counts = model.tokenizer.vocabulary[:count], model.tokenizer.counts
    smaller = WordTokenizer.from_vocabulary(vocabulary, None if counts is None else counts[:count])
    return transfer_vocabulary(model, smaller)


def release(places: Places, model: str, output: Path) -> None:
    """Write the last finished stage on Wikipedia in half precision, for release with the package."""
    finished = [
        (folder, records)
        for name, folder, records in stages(places, model)
        if name != REVIEWS and (folder / "config.json").is_file()
    ]
    if not finished:
        raise SystemExit(f"no stage of {model} is finished: there is nothing to release")
    source = finished[-1][0]
    fitting(AwdLstmLanguageModel.from_pretrained(source)).save_pretrained(output, half=True)
    released = AwdLstmLanguageModel.from_pretrained(output)
    held_out = Corpus(paths=[], validation=[places.held_out_wikipedia]).held_out_documents()
    store = TokenStore.build(held_out, released.tokenizer, places.runs / f"{model}-release-{source.name}")
    found = evaluate_perplexity(released, store)
    steps, hours = (sum(records[-1][key] for _, records in finished) for key in ("step", "seconds"))
    write_card(
        output,
        title=f"{output.name}: a language model of English (QRNN, both directions)",
        facts={
            "data": f"enwiki-2015 (Wikipedia), 11 of 12 files, read {len(finished) / 2:g} times; the last one held out",
            "held out": f"the first {found.n_tokens:,} tokens of the last file; figures are the directions' mean",
            "command": f"python -m experiments.long_training --data DATA --runs RUNS --model {model} "
            f"--stages {len(finished)}, then the same with --release DIR",
            "training": f"{steps:,} updates, {hours / 3600:.1f} hours of one core",
            "parameters": sum(p.numel() for p in released.parameters()),
            "precision": "stored in fp16",
        },
        metrics=found.metrics(),
        snippet=LANGUAGE_MODEL_SNIPPET,
        license="CC BY-SA (the text is Wikipedia's)",
    )
    print(f"released into {output}: {found}")


def main() -> None:
    """Train, show, read out or release a model."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with enwiki-2015/ and imdb/")
    parser.add_argument("--runs", type=Path, required=True, help="folder for models and results")
    parser.add_argument("--model", choices=list(PLANS), required=True)
    parser.add_argument(
        "--stages", type=int, default=4, help="number of stages on Wikipedia; two are an epoch"
    )
    parser.add_argument("--reviews", action="store_true", help="then train on the unlabeled reviews of IMDb")
    parser.add_argument("--show", action="store_true", help="print the results so far without training")
    parser.add_argument("--readout", action="store_true", help="evaluate each finished stage with labels")
    parser.add_argument(
        "--release", type=Path, metavar="DIR", help="write the last finished stage to this folder"
    )
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    places, model = Places(arguments.data, arguments.runs), arguments.model
    if arguments.show:
        show(places, model)
    if arguments.readout:
        for name, folder, _ in stages(places, model):
            if (folder / "config.json").is_file():
                print(f"{name}: {shown(readout(folder, places))}", flush=True)
    if arguments.release is not None:
        release(places, model, arguments.release)
    if arguments.show or arguments.readout or arguments.release is not None:
        return
    for number in range(1, arguments.stages + 1):
        read_wikipedia(places, model, number)
    if arguments.reviews:
        read_reviews(places, model, arguments.stages)


if __name__ == "__main__":
    main()
