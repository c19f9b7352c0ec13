"""Speed of classification in documents per second on real reviews: our LSTM and QRNN compared with fastai's LSTM.

    benchmarks/.peers/bin/python -m benchmarks --data DATA --only prediction

A fastai classifier with random weights is converted; our QRNN has the same sizes and other random weights. All get the ids
of the same reviews, without tokenization. Many at once: the part of `TextClassifier.predict_proba` after tokenization, compared
with `learn.get_preds` with batches of 64. One at a time: the same for a single text, compared with the steps of `learn.predict`
(a new data loader, and `get_preds` with the decoded label). fastai runs in fp32, ours in fp32 and in the format chosen by precision
auto. Each round runs all reviews once on each side, ours first.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import torch

from benchmarks import ours, peers
from benchmarks.report import Row, precision_name, speed_row
from benchmarks.sizes import Sizes
from benchmarks.texts import Texts
from benchmarks.turns import rates_in_turns
from unfreeze.formats.fastai import convert_fastai
from unfreeze.tasks.bodies import Ids
from unfreeze.tasks.classifier_network import pooled_network
from unfreeze.tasks.text_classifier import TextClassifier
from unfreeze.text.tokenizers import TextTokenizer
from unfreeze.training.precision import Precision, prediction_format

N_WORDS = 16_000
SIZES: Sizes = (256, 640, 3)
LABELS = ["neg", "pos"]
N_REVIEWS, N_SINGLE = 128, 12
PRECISIONS: tuple[Precision, ...] = ("fp32", "auto")
Predict = Callable[[Sequence[Ids]], torch.Tensor]


def run(texts: Texts, rounds: int, say: Callable[[str], None]) -> list[Row]:
    """Many reviews at once, and one at a time."""
    tokenizer = texts.words(N_WORDS).tokenizer
    reviews = [np.asarray(ids, dtype=np.uint32) for ids in tokenizer.encode_ids(texts.reviews(N_REVIEWS))]
    peer, lstm = same_classifier(tokenizer)
    say(agreement(probabilities(lstm, reviews), peer.probabilities(reviews)))
    classifiers = {"LSTM": lstm, "QRNN": qrnn_classifier(tokenizer)}
    what = f"classify, documents/s, {N_WORDS:,} words, {SIZES[0]}/{SIZES[1]} x {SIZES[2]}"
    many, single = [reviews], [[review] for review in reviews[:N_SINGLE]]
    return [
        *compare(f"{what}: {N_REVIEWS} reviews", classifiers, peer.probabilities, many, rounds, say),
        *compare(
            f"{what}: one at a time",
            classifiers,
            lambda documents: peer.predict(documents[0]),
            single,
            rounds,
            say,
        ),
    ]


def same_classifier(tokenizer: TextTokenizer) -> tuple[peers.ClassifierPeer, TextClassifier]:
    """A classifier of fastai with random weights, and its conversion."""
    torch.manual_seed(0)
    model = peers.classifier(len(tokenizer), SIZES, len(LABELS)).eval()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "words.json").write_text(json.dumps(tokenizer.vocabulary), encoding="utf-8")
        weights = peers.save(model, folder / "c.pth")
        convert_fastai(weights, folder / "words.json", folder / "c", labels=LABELS)
        return peers.ClassifierPeer(model), TextClassifier.from_pretrained(folder / "c")


def qrnn_classifier(tokenizer: TextTokenizer) -> TextClassifier:
    """A QRNN classifier of the same sizes with random weights."""
    torch.manual_seed(0)
    network = pooled_network(ours.encoder(tokenizer, SIZES, "qrnn"), len(LABELS))
    return TextClassifier.of_network(network.eval(), LABELS, {})


@torch.no_grad()
def probabilities(
    classifier: TextClassifier, documents: Sequence[Ids], precision: Precision = "fp32"
) -> torch.Tensor:
    """`TextClassifier.predict_proba` given ids: (N, K)."""
    with prediction_format(precision, torch.device("cpu")):
        features = classifier.network.read_all(documents)
    return classifier.network.probabilities(features)


def agreement(found: torch.Tensor, theirs: torch.Tensor) -> str:
    """Largest difference of two tables of probabilities."""
    difference = (found - theirs).abs().max(1).values
    return (
        f"probabilities differ by {difference.median():.1e} (median), {difference.max():.1e} (largest; fastai pools a "
        f"document's last 1,440 tokens, ours all); {int((difference < 1e-5).sum())} of {len(found)} by less than 1e-5"
    )


def compare(
    what: str,
    classifiers: dict[str, TextClassifier],
    theirs: Predict,
    calls: Sequence[Sequence[Ids]],
    rounds: int,
    say: Callable[[str], None],
) -> list[Row]:
    """Documents per second of our classifiers in each precision and of fastai, measured alternately."""

    def all_calls(predict: Predict) -> None:
        for documents in calls:
            predict(documents)

    names = {
        (cell, precision): f"{cell}, {precision_name(precision)}"
        for precision, cell in product(PRECISIONS, classifiers)
    }
    sides: dict[str, Predict] = {
        name: partial(probabilities, classifiers[cell], precision=precision)
        for (cell, precision), name in names.items()
    }
    work = {name: partial(all_calls, predict) for name, predict in (sides | {"fastai": theirs}).items()}
    speeds = rates_in_turns(work, sum(map(len, calls)), rounds)
    say(f"{what}: " + "; ".join(f"{name} {found[-1]:,.1f}" for name, found in speeds.items()))
    return [
        speed_row(
            f"{what}, {name}",
            speeds[name],
            speeds["fastai"],
            lstm=speeds[names["LSTM", precision]] if cell == "QRNN" else None,
        )
        for (cell, precision), name in names.items()
    ]
