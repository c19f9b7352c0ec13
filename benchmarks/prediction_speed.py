"""Documents a second that a classifier labels, ours beside fastai's, with the same weights on real reviews.

    benchmarks/.peers/bin/python -m benchmarks --data DATA --only prediction

A fastai classifier with random weights is converted; both get the same ids (tokenizing is not part of it) of the same
reviews. Many at once: what `TextClassifier.predict_proba` does with ids, against `learn.get_preds` with batches of 64.
One at a time: the same of a single text, against what `learn.predict` does with one (a loader of its own, `get_preds`
with the decoded label). Both in fp32, ours also in the format that precision auto chooses. A round is all reviews once on either side, ours first.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from benchmarks import peers
from benchmarks.report import Row
from benchmarks.texts import Texts
from benchmarks.turns import median_ratio
from unfreeze.formats.fastai import convert_fastai
from unfreeze.tasks.classification import Ids, all_features
from unfreeze.tasks.text_classifier import TextClassifier
from unfreeze.text.tokenizers import TextTokenizer
from unfreeze.training.precision import Precision, prediction_format

N_WORDS = 16_000
SIZES: peers.Sizes = (256, 640, 3)
LABELS = ["neg", "pos"]
N_REVIEWS, N_SINGLE = 128, 12
Predict = Callable[[Sequence[Ids]], torch.Tensor]


def run(texts: Texts, rounds: int, say: Callable[[str], None]) -> list[Row]:
    """Many reviews at once, and one at a time."""
    tokenizer = texts.words(N_WORDS).tokenizer
    reviews = [np.asarray(ids, dtype=np.uint32) for ids in tokenizer.encode_ids(texts.reviews(N_REVIEWS))]
    peer, ours = same_classifier(tokenizer)
    say(agreement(probabilities(ours, reviews), peer.probabilities(reviews)))
    what = f"documents/s, {N_WORDS:,} words, {SIZES[0]}/{SIZES[1]} x {SIZES[2]}"
    return [
        compare(
            f"classify, {what}: {N_REVIEWS} reviews",
            lambda documents: probabilities(ours, documents),
            peer.probabilities,
            [reviews],
            rounds,
        ),
        compare(
            f"classify, {what}: {N_REVIEWS} reviews, ours in precision auto",
            lambda documents: probabilities(ours, documents, "auto"),
            peer.probabilities,
            [reviews],
            rounds,
        ),
        compare(
            f"classify, {what}: one at a time",
            lambda documents: probabilities(ours, documents),
            lambda documents: peer.predict(documents[0]),
            [[review] for review in reviews[:N_SINGLE]],
            rounds,
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


@torch.no_grad()
def probabilities(
    classifier: TextClassifier, documents: Sequence[Ids], precision: Precision = "fp32"
) -> torch.Tensor:
    """`TextClassifier.predict_proba` from ids on: (N, K)."""
    with prediction_format(precision, torch.device("cpu")):
        features = all_features(classifier.network, documents)
    return classifier.network.probabilities(features)


def agreement(ours: torch.Tensor, theirs: torch.Tensor) -> str:
    """How far two tables of probabilities are apart."""
    difference = (ours - theirs).abs().max(1).values
    return (
        f"probabilities differ by {difference.median():.1e} (median), {difference.max():.1e} (largest; fastai pools a "
        f"document's last 1,440 tokens, ours all); {int((difference < 1e-5).sum())} of {len(ours)} by less than 1e-5"
    )


def compare(what: str, ours: Predict, theirs: Predict, calls: Sequence[Sequence[Ids]], rounds: int) -> Row:
    """Documents a second of both over the same calls, in turns."""
    n_documents = sum(len(documents) for documents in calls)
    speeds: dict[Predict, list[float]] = {ours: [], theirs: []}
    for predict in speeds:
        predict(calls[-1][-1:])  # the first call sets things up
    for _ in range(rounds):
        for predict, found in speeds.items():
            start = time.perf_counter()
            for documents in calls:
                predict(documents)
            found.append(n_documents / (time.perf_counter() - start))
    return Row(
        what=what,
        ours=statistics.median(speeds[ours]),
        theirs=statistics.median(speeds[theirs]),
        ratio=median_ratio(speeds[ours], speeds[theirs]),
    )
