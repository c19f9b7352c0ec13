"""Documents a second that a classifier labels, our LSTM's and our QRNN's beside fastai's, on real reviews.

    benchmarks/.peers/bin/python -m benchmarks --data DATA --only prediction

A fastai classifier with random weights is converted; our QRNN has the same sizes and random weights of its own. All get
the same ids (tokenizing is not part of it) of the same reviews. Many at once: what `TextClassifier.predict_proba` does with
ids, against `learn.get_preds` with batches of 64. One at a time: the same of a single text, against what `learn.predict`
does with one (a loader of its own, `get_preds` with the decoded label). fastai in fp32; ours in fp32 and in the format that
precision auto chooses. A round is all reviews once on every side, ours first.
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
from unfreeze.tasks.classification import all_features
from unfreeze.tasks.networks import pooled_network
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
    """fastai's with random weights, and its conversion."""
    torch.manual_seed(0)
    model = peers.classifier(len(tokenizer), SIZES, len(LABELS)).eval()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "words.json").write_text(json.dumps(tokenizer.vocabulary), encoding="utf-8")
        weights = peers.save(model, folder / "c.pth")
        convert_fastai(weights, folder / "words.json", folder / "c", labels=LABELS)
        return peers.ClassifierPeer(model), TextClassifier.from_pretrained(folder / "c")


def qrnn_classifier(tokenizer: TextTokenizer) -> TextClassifier:
    """Of the same sizes, with random weights."""
    torch.manual_seed(0)
    network = pooled_network(ours.encoder(tokenizer, SIZES, "qrnn"), len(LABELS))
    return TextClassifier(network.eval(), LABELS, {})


@torch.no_grad()
def probabilities(
    classifier: TextClassifier, documents: Sequence[Ids], precision: Precision = "fp32"
) -> torch.Tensor:
    """`TextClassifier.predict_proba` from ids on: (N, K)."""
    with prediction_format(precision, torch.device("cpu")):
        features = all_features(classifier.network, documents)
    return classifier.network.probabilities(features)


def agreement(found: torch.Tensor, theirs: torch.Tensor) -> str:
    """How far two tables of probabilities are apart."""
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
    """Documents a second of each classifier of ours in each precision, and of fastai, over the same calls in turns."""

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
