"""`encoder="auto"`: every rung that can pay within a budget, and their ensemble.

The rungs are TF-IDF of words and of characters, averaged vectors of the released language model, word vectors of the user's own
text, and states of the released language model. Each predicts the labeled examples out of fold. The ensemble
(`tasks.ensemble`) takes them all, with weights from these predictions: choosing one of them, or leaving out what seems to add
nothing by cross-validation on a hundred labels, costs accuracy (docs/lab-notes.md). Which rungs are considered follows from their estimated
cost, not from the clock, so that a seed gives the same model everywhere.

Legend: R repetitions of the folds, N examples, M members, K labels.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from unfreeze.caches import making, mark_used
from unfreeze.datasets.dataset import ExampleSet
from unfreeze.folders import cache_folder
from unfreeze.pretraining.unlabeled import Corpus
from unfreeze.pretraining.word2vec.recipe import pretrain_word2vec
from unfreeze.pretraining.word2vec.settings import VectorSettings, Word2VecSettings
from unfreeze.progress import Progress
from unfreeze.registry import released_names, weights_digest
from unfreeze.tasks.ensemble import (
    FLOOR,
    EnsembleNetwork,
    Floats,
    calibration_error,
    combined,
    fit_weights,
    log_odds,
    losses,
)
from unfreeze.tasks.rungs import Fitted, FrozenRung, Rung, Task, TfidfRung
from unfreeze.tasks.settings import ClassifierSettings, Pooling
from unfreeze.text.corpus import find_files

MINUTES = 10.0
"""The budget, if the settings have none."""
VECTORS_OF, STATES_OF = "wiki-small", "wiki-lm"
"""Released encoders."""
NEGLIGIBLE = 0.02
"""Members with a smaller weight are left out."""

# Seconds of one core of a server processor: estimates, which decide what is considered.
PER_WORD = {VECTORS_OF: 2e-6, STATES_OF: 6e-5}
PER_TERM = {"words": 4e-6, "characters": 3e-5}
PER_FEATURE = 3e-8
PER_WORD_TRAINED = 3e-6
SHARE_OF_VECTORS = 0.5
"""Part of the budget that own word vectors may take."""
MOST_PASSES, LEAST_WORDS = 20, 50_000
"""Own word vectors: passes over the text, and words that it has to have."""
BYTES_A_WORD = 6
VOCABULARY, LEAST_COUNT, SIZE, WINDOW, SUBSAMPLE = 30_000, 3, 200, 30, 1e-4


def released_digests() -> dict[str, str]:
    """The weights of the released encoders that are considered, for the identity of a run."""
    return {name: weights_digest(name) for name in (VECTORS_OF, STATES_OF) if name in released_names()}


@dataclass(frozen=True)
class Row:
    """A line of the table: one rung, or the ensemble."""

    name: str
    accuracy: float
    """Out of fold."""
    error: float
    """Its standard error."""
    loss: float
    """Log-loss out of fold."""
    seconds: float
    """Estimated cost; not what it took."""
    weight: float | None = None
    """In the ensemble; 0 where it was left out."""


@dataclass(frozen=True)
class Choice:
    """The ensemble, and how it came about."""

    network: EnsembleNetwork
    fitted: list[Fitted]
    """All rungs that were considered."""
    rows: list[Row]
    """The rungs, then the ensemble."""
    left_out: dict[str, str]
    """Rungs that were not considered, and why."""
    majority: float
    """Share of the most frequent label, or of the most frequent set of labels."""
    calibration_error: float

    def metrics(self) -> dict[str, Any]:
        """What metrics.json has of it."""
        return {
            "cross_validated_accuracy": self.rows[-1].accuracy,
            "majority": self.majority,
            "calibration_error": self.calibration_error,
            "considered": [asdict(row) for row in self.rows],
            "left_out": self.left_out,
        }


def choose(examples: ExampleSet, settings: ClassifierSettings, progress: Progress) -> Choice:
    """Fit the rungs that the budget allows, and their ensemble.

    Raises:
        UserError: the unlabeled text cannot be read.
    """
    task = Task.of(examples, settings.seed)
    rungs, left_out = considered(task, settings, progress)
    with progress.bar("rungs", total=len(rungs), unit="rung") as bar:
        fitted = []
        for rung in rungs:
            fitted.append(rung.fit(task, progress))
            bar.advance(1)
    weights, found, rows = _weighed(task, rungs, fitted)
    members = [each.member for each, weight in zip(fitted, weights, strict=True) if weight]
    network = EnsembleNetwork(members, multi_label=examples.multi_label)
    with torch.no_grad():
        network.weights.copy_(torch.from_numpy(weights[weights > 0]))
    best = found.max(-1) if not examples.multi_label else np.maximum(found, 1 - found)
    right = _is_right(found, task) if not examples.multi_label else (found >= 0.5) == (task.targets > 0)
    usual = Counter(example.labels for example in examples.examples).most_common(1)[0][1]
    return Choice(
        network.eval(),
        fitted,
        rows,
        left_out,
        usual / len(examples),
        calibration_error(best.ravel(), right.ravel()),
    )


def _weighed(task: Task, rungs: Sequence[Rung], fitted: Sequence[Fitted]) -> tuple[Floats, Floats, list[Row]]:
    """The weights (M,), the cross-fitted probabilities of the ensemble (R, N, K), and the table."""
    multi_label, tested = task.examples.multi_label, task.tested()
    scores = np.stack([_scores(each.out_of_fold, multi_label) for each in fitted])

    def weights_of(members: Sequence[int], repeat: int | slice, kept: Any) -> Floats:
        rows = scores[list(members)][:, repeat][:, kept]
        wanted = np.broadcast_to(task.targets, (*tested.shape, *task.targets.shape[1:]))[repeat][kept]
        repeats = task.folds.n_repeats if isinstance(repeat, slice) else 1
        return fit_weights(rows, wanted, multi_label=multi_label, repeats=repeats)

    def cross_fitted(members: Sequence[int]) -> Floats:
        found = np.zeros(scores.shape[1:])
        for repeat, train, held_out in task.folds.parts():
            weights = weights_of(members, repeat, train[tested[repeat, train]])
            found[repeat, held_out] = combined(
                weights, scores[list(members), repeat][:, held_out], multi_label
            )
        return found

    everything = list(range(len(fitted)))
    weights = weights_of(everything, slice(None), tested)
    kept = [number for number in everything if weights[number] >= NEGLIGIBLE] or [int(weights.argmax())]
    weights = np.zeros(len(fitted))
    weights[kept] = weights_of(kept, slice(None), tested)
    found = cross_fitted(everything)
    rows = [
        _row(rung.name, rung.seconds, cross_fitted([number]), task, float(weights[number]))
        for number, rung in enumerate(rungs)
    ]
    rows.append(_row("all of them", sum(rung.seconds for rung in rungs), found, task))
    return weights, found, rows


def _scores(probabilities: Floats, multi_label: bool) -> Floats:
    return log_odds(torch.from_numpy(probabilities), multi_label).numpy()


def _is_right(probabilities: Floats, task: Task) -> Any:
    """(R, N): whether the label is right, all labels if there may be several."""
    if task.examples.multi_label:
        return ((probabilities >= 0.5) == (task.targets > 0)).all(-1)
    return probabilities.argmax(-1) == task.targets


def _row(name: str, seconds: float, found: Floats, task: Task, weight: float | None = None) -> Row:
    right = _is_right(found, task).mean(0)
    loss = np.mean(
        [losses(each, task.targets, task.examples.multi_label) for each in np.maximum(found, FLOOR)]
    )
    error = float(right.std() / np.sqrt(len(right)))
    return Row(name, float(right.mean()), error, float(loss), round(seconds, 1), weight)


def considered(
    task: Task, settings: ClassifierSettings, progress: Progress
) -> tuple[list[Rung], dict[str, str]]:
    """The rungs within the budget, the cheapest first, and why others were left out."""
    texts = task.examples.inputs()
    characters = sum(map(len, texts))
    words, n_fits = characters / BYTES_A_WORD, task.n_fits
    budget = 60 * (MINUTES if settings.minutes is None else settings.minutes)

    def frozen(encoder: str | Path, pooling: Pooling) -> ClassifierSettings:
        return ClassifierSettings(
            encoder=encoder, transfer="frozen", pooling=pooling, head="linear", seed=settings.seed
        )

    def solving(width: int) -> float:
        return 0.1 + 7 * n_fits * len(texts) * width * task.n_labels * PER_FEATURE

    rungs: list[Rung] = [
        TfidfRung("TF-IDF of words", 0.5 + PER_TERM["words"] * words * n_fits, "words"),
        TfidfRung("TF-IDF of characters", 0.5 + PER_TERM["characters"] * words * n_fits, "characters"),
    ]
    left_out: dict[str, str] = {}
    if settings.unlabeled:
        vectors, reason = _own_vectors(settings, SHARE_OF_VECTORS * budget, progress)
        if vectors is None:
            left_out["vectors of your text"] = reason
        else:
            seconds, make = vectors
            rungs.append(
                FrozenRung("vectors of your text", seconds + solving(SIZE), lambda: frozen(make(), "vectors"))
            )
    released: tuple[tuple[str, Pooling, int], ...] = ((VECTORS_OF, "vectors", 200), (STATES_OF, "top", 1152))
    for encoder, pooling, width in released:
        if encoder in released_names():
            what = "vectors" if pooling == "vectors" else "states"
            cost = PER_WORD[encoder] * words + solving(width)
            rungs.append(FrozenRung(f"{what} of {encoder}", cost, frozen(encoder, pooling)))
    kept: list[Rung] = []
    for rung in sorted(rungs, key=lambda rung: rung.seconds):
        spent = sum(each.seconds for each in kept)
        if kept and spent + rung.seconds > budget:
            left_out[rung.name] = f"it would take about {rung.seconds / 60:.1f} minutes more"
        else:
            kept.append(rung)
    return kept, left_out


def _own_vectors(
    settings: ClassifierSettings, budget: float, progress: Progress
) -> tuple[tuple[float, Callable[[], Path]] | None, str]:
    """Estimated seconds and a function that trains word vectors and returns their folder; or None and the reason.

    The vectors are kept in the cache, so that the next classifier with the same unlabeled text starts with them.
    """
    corpus = Corpus(paths=settings.unlabeled or (), text_column=settings.unlabeled_column)
    files = find_files(list(corpus.paths))
    words = sum(path.stat().st_size for path in files) / BYTES_A_WORD
    if words < LEAST_WORDS:
        return None, f"the unlabeled text has fewer than {LEAST_WORDS:,} words"
    passes = min(MOST_PASSES, int(budget / (PER_WORD_TRAINED * words)))
    if passes < 1:
        minutes = PER_WORD_TRAINED * words / SHARE_OF_VECTORS / 60
        return None, f"one pass over the unlabeled text takes a budget of about {minutes:.0f} minutes"
    training = Word2VecSettings(size=SIZE, window=WINDOW, subsample=SUBSAMPLE, epochs=passes)
    wanted = VectorSettings(training=training, vocabulary_size=VOCABULARY, min_count=LEAST_COUNT)

    def make() -> Path:
        known = json.dumps([corpus.identity(), asdict(wanted), list(map(_content, files))])
        place = cache_folder("trained") / hashlib.blake2b(known.encode(), digest_size=12).hexdigest()
        with making(place):
            # One thread, because several give other vectors each time.
            pretrain_word2vec(corpus, wanted, output=place, workers=1, without_output=True, progress=progress)
        mark_used(place)
        return place

    return (PER_WORD_TRAINED * words * passes, make), ""


def _content(path: Path) -> str:
    """A digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=12)).hexdigest()
