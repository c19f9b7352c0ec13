"""Which rungs `encoder="auto"` considers: those that can pay, within a budget of estimated seconds.

The estimates are those of one core of a server processor. They decide, not the clock, so that a seed gives the same model everywhere.
What is trained on unlabeled text always has the same seed, so that classifiers with other labels and seeds share it.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from unfreeze.caches import making, mark_used
from unfreeze.display import counted
from unfreeze.folders import cache_folder
from unfreeze.pretraining.lm import adapt_lm
from unfreeze.pretraining.settings import AdaptSettings
from unfreeze.pretraining.unlabeled import Corpus
from unfreeze.pretraining.word2vec.recipe import pretrain_word2vec
from unfreeze.pretraining.word2vec.settings import VectorSettings, Word2VecSettings
from unfreeze.progress import Progress
from unfreeze.registry import released_names, weights_digest
from unfreeze.tasks.rungs import FineTunedRung, FrozenRung, Rung, Task, TfidfRung, cost_of
from unfreeze.tasks.settings import ClassifierSettings, Pooling
from unfreeze.text.corpus import find_files

MINUTES = 10.0
"""The budget, if the settings have none."""
VECTORS_OF, STATES_OF = "wiki-small", "wiki-lm"
"""Released encoders."""
WIDTHS = {VECTORS_OF: 200, STATES_OF: 1152}
"""Of their pooled features."""

PER_WORD = {VECTORS_OF: 2e-6, STATES_OF: 6e-5}
"""Seconds to read a word."""
PER_TERM = {"words": 4e-6, "characters": 3e-5}
"""Seconds of TF-IDF for a word and fold."""
PER_FEATURE = 3e-8
"""Seconds of a logistic regression for a number of the features, and for a label."""
PER_WORD_TRAINED, PER_WORD_ADAPTED, PER_WORD_TUNED = 3e-6, 2.5e-4, 3e-4
"""Seconds for a word and pass: word vectors, a language model, a classifier that is fine-tuned."""
CHARACTERS_A_WORD = 6

SHARE_OF_VECTORS, SHARE_OF_ADAPTING = 0.5, 0.4
"""Parts of the budget that training on unlabeled text may take."""
MOST_PASSES, MOST_PASSES_ADAPTED, LEAST_WORDS = 20, 10, 50_000
"""Passes over the unlabeled text, and words that it has to have."""
ADAPTED_FROM = 20.0
"""Minutes of the budget from which a language model is adapted and fine-tuned: less would only take the time of what pays."""
TUNED_EPOCHS = 20
WIDE_VECTORS = VectorSettings(
    training=Word2VecSettings(size=200, window=30, subsample=1e-4),
    vocabulary_size=30_000,
    min_count=3,
)
"""Of the user's text: a window that spans most of a review makes the vectors of its words alike (docs/results.md)."""


def released_digests() -> dict[str, str]:
    """The weights of the released encoders that are considered, for the identity of a run."""
    return {name: weights_digest(name) for name in (VECTORS_OF, STATES_OF) if name in released_names()}


def considered(
    task: Task, settings: ClassifierSettings, progress: Progress
) -> tuple[list[Rung], dict[str, str]]:
    """The rungs within the budget, the cheapest first, and why others were left out.

    Raises:
        UserError: there is no such unlabeled text.
    """
    texts = task.examples.inputs()
    words, n_fits = sum(map(len, texts)) / CHARACTERS_A_WORD, task.n_fits
    budget = 60 * (MINUTES if settings.minutes is None else settings.minutes)
    frozen = partial(ClassifierSettings, transfer="frozen", head="linear", seed=settings.seed)

    def solving(width: int) -> float:
        return 0.1 + 7 * n_fits * len(texts) * width * task.n_labels * PER_FEATURE

    rungs: list[Rung] = [
        TfidfRung("TF-IDF of words", 0.5 + PER_TERM["words"] * words * n_fits, "words"),
        TfidfRung("TF-IDF of characters", 0.5 + PER_TERM["characters"] * words * n_fits, "characters"),
    ]
    left_out: dict[str, str] = {}
    pooled: list[tuple[str, Pooling]] = [(VECTORS_OF, "vectors"), (STATES_OF, "top")]
    for name, pooling in pooled:
        if name in released_names():
            what = "vectors" if pooling == "vectors" else "states"
            cost = PER_WORD[name] * words + solving(WIDTHS[name])
            rungs.append(
                FrozenRung(f"{what} of {name}", cost, partial(frozen, encoder=name, pooling=pooling))
            )
    if settings.unlabeled:
        own = _Unlabeled.of(settings, progress)
        vectors = own.vectors(budget)
        if isinstance(vectors, str):
            left_out["vectors of your text"] = vectors
        else:
            make = vectors.make
            rungs.append(
                FrozenRung(
                    "vectors of your text",
                    vectors.seconds + solving(WIDE_VECTORS.training.size),
                    lambda: frozen(encoder=make(), pooling="vectors"),
                    vectors.seconds,
                )
            )
        adapted = own.adapted(budget) if budget >= 60 * ADAPTED_FROM else None
        if isinstance(adapted, str):
            left_out[f"{STATES_OF}, adapted"] = adapted
        elif adapted is not None:
            rungs += _of_adapted(adapted, task, settings, words, solving(WIDTHS[STATES_OF]))
    kept: list[Rung] = []
    for rung in sorted(rungs, key=lambda rung: rung.seconds):
        needed = cost_of([*kept, rung])
        if kept and needed > budget:
            left_out[rung.name] = f"it needs a budget of {_minutes(needed)}"
        else:
            kept.append(rung)
    return kept, left_out


def _of_adapted(
    adapted: _Training, task: Task, settings: ClassifierSettings, words: float, solving: float
) -> list[Rung]:
    """The states of an adapted language model under a solved head, and the same model fine-tuned."""
    states = FrozenRung(
        f"states of {STATES_OF}, adapted",
        adapted.seconds + PER_WORD[STATES_OF] * words + solving,
        lambda: ClassifierSettings(
            encoder=adapted.make(), pooling="top", transfer="frozen", head="linear", seed=settings.seed
        ),
        adapted.seconds,
    )
    tuned = FineTunedRung(
        f"{STATES_OF}, adapted and fine-tuned",
        adapted.seconds + (1 + task.n_fits) * TUNED_EPOCHS * PER_WORD_TUNED * words,
        lambda: ClassifierSettings(encoder=adapted.make(), epochs=TUNED_EPOCHS, seed=settings.seed),
        adapted.seconds,
    )
    return [states, tuned]


@dataclass(frozen=True)
class _Training:
    """Something that is trained on the unlabeled text when it is needed."""

    seconds: float
    """Estimated."""
    make: Callable[[], Path]
    """Returns its folder."""


@dataclass(frozen=True)
class _Unlabeled:
    """The user's unlabeled text. What is trained on it is kept in the cache, for the next classifier with the same text."""

    corpus: Corpus
    words: float
    progress: Progress

    @classmethod
    def of(cls, settings: ClassifierSettings, progress: Progress) -> _Unlabeled:
        corpus = Corpus(paths=settings.unlabeled or (), text_column=settings.unlabeled_column)
        words = sum(map(len, corpus.documents())) / CHARACTERS_A_WORD
        return cls(corpus, words, progress)

    def vectors(self, budget: float) -> _Training | str:
        """Averaged word vectors, or why not."""
        passes = self._passes(PER_WORD_TRAINED, budget, SHARE_OF_VECTORS, MOST_PASSES)
        if isinstance(passes, str):
            return passes
        wanted = replace(WIDE_VECTORS, training=replace(WIDE_VECTORS.training, epochs=passes))

        def train(place: Path) -> None:
            # One thread, because several give other vectors each time.
            pretrain_word2vec(
                self.corpus, wanted, output=place, workers=1, without_output=True, progress=self.progress
            )

        seconds = PER_WORD_TRAINED * self.words * passes
        return _Training(seconds, partial(self._once, ["vectors", asdict(wanted)], train))

    def adapted(self, budget: float) -> _Training | str:
        """A released language model, adapted; or why not."""
        passes = self._passes(PER_WORD_ADAPTED, budget, SHARE_OF_ADAPTING, MOST_PASSES_ADAPTED)
        if isinstance(passes, str):
            return passes
        usual = AdaptSettings()
        loop = replace(usual.training.loop, epochs=passes)
        wanted = replace(usual, training=replace(usual.training, loop=loop))

        def train(place: Path) -> None:
            adapt_lm(
                STATES_OF, self.corpus, wanted, output=place, without_output=True, progress=self.progress
            )

        known = ["adapted", weights_digest(STATES_OF), asdict(wanted)]
        return _Training(PER_WORD_ADAPTED * self.words * passes, partial(self._once, known, train))

    def _passes(self, per_word: float, budget: float, share: float, most: int) -> int | str:
        """As many as a share of the budget allows, or why there are none."""
        if self.words < LEAST_WORDS:
            return f"the unlabeled text has fewer than {LEAST_WORDS:,} words"
        passes = min(most, int(share * budget / (per_word * self.words)))
        if passes:
            return passes
        return f"one pass over the unlabeled text needs a budget of {_minutes(per_word * self.words / share)}"

    def _once(self, known: Sequence[object], train: Callable[[Path], None]) -> Path:
        """The folder in the cache, trained now unless it is there."""
        files = [path for path in self.corpus.paths if not str(path).startswith("hf:")]
        contents = list(map(_content, find_files(files))) if files else []
        facts = json.dumps([*known, self.corpus.identity(), contents])
        place = cache_folder("trained") / hashlib.blake2b(facts.encode(), digest_size=12).hexdigest()
        with making(place):
            train(place)
        mark_used(place)
        return place


def _minutes(seconds: float) -> str:
    """ "12 minutes", rounded up; below a minute to hundredths."""
    minutes = seconds / 60
    return counted(math.ceil(minutes) if minutes > 1 else math.ceil(100 * minutes) / 100, "minute")


def _content(path: Path) -> str:
    """A digest of a file."""
    found = hashlib.blake2b(digest_size=12)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            found.update(block)
    return found.hexdigest()
