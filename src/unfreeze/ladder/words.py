"""The rungs of a tagger and of an answerer: both read words by an encoder's layers, word vectors and characters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from unfreeze.errors import UserError, setting
from unfreeze.ladder.cells import Measured, Rung
from unfreeze.ladder.settings import LadderSettings
from unfreeze.ladder.sizes import epochs_of, parameter_counts, saved_size
from unfreeze.ladder.texts import SCRATCH
from unfreeze.ladder.unlabeled import CHARACTERS, MadeModel, RungOnModel, UnlabeledText
from unfreeze.progress import Progress
from unfreeze.registry import weights_digest
from unfreeze.tasks.metrics import answer_f1
from unfreeze.tasks.plans import DEFAULT_ENCODER, NO_ENCODER
from unfreeze.tasks.question_answerer import QuestionAnswerer, fit_answerer
from unfreeze.tasks.sequence_tagger import SequenceTagger, fit_tagger
from unfreeze.tasks.settings import AnswererSettings, TaggerSettings, WordTaskSettings, plain_settings
from unfreeze.text.questions import QuestionSet
from unfreeze.text.tag_schemes import spans_of
from unfreeze.text.tagged import TaggedSet

READ = {"words": 1e-4, "states": 2.5e-4}
"""Estimated seconds of one core for reading a word by the body alone, and by an encoder below it."""
LEARNED = 3.0
"""How many times as long as reading learning from a word takes, in each epoch; a frozen encoder reads a text once."""

Scores = tuple[list[float], list[float] | None]
"""Numerators and denominators of the score of each test example."""


class WordRung(RungOnModel):
    """A tagger or an answerer with these settings.

    Args:
        settings: without the seed; the encoder of a `made` model is filled in.
        fit_task: fits with these settings.
        scores: measures on the test examples.
        words: mean number of words of an example to learn from, and of all test examples.
        epochs: updates, batch size, fewest and most epochs that the task chooses.
    """

    def __init__(
        self,
        name: str,
        about: str,
        settings: WordTaskSettings,
        *,
        fit_task: Callable[[Any, Any], Any],
        scores: Callable[[Any], Scores],
        words: tuple[float, float],
        epochs: tuple[int, int, int, int],
        made: MadeModel | None = None,
    ) -> None:
        self.name, self.about, self.settings, self.made = name, about, settings, made
        self._fit, self._scores, self._words, self._epochs = fit_task, scores, words, epochs

    def identity(self) -> dict[str, Any]:
        settings = {**plain_settings(self.settings), "encoder": None, "seed": None}
        if self.made is not None:
            return {"settings": settings, "made": self.made.identity()}
        encoder = self.settings.encoder
        weights = None if encoder in (None, NO_ENCODER) else weights_digest(str(encoder))
        return {"settings": settings, "weights": weights}

    def seconds(self, count: int) -> float:
        each, test = self._words
        epochs = self.settings.epochs or epochs_of(*self._epochs, count)
        has_encoder = self.made is None and self.settings.encoder != NO_ENCODER
        once = READ["states"] if has_encoder else READ["words"]
        return 1.0 + epochs * LEARNED * READ["words"] * each * count + once * (each * count + test)

    def fit(self, sample: Any, seed: int) -> Measured:
        fitted = self._fit(sample, replace(self.settings, seed=seed))
        fitted.precision = "auto"
        numerators, denominators = self._scores(fitted)
        parameters, pretrained = parameter_counts(
            fitted.network_, scratch=self.settings.encoder == NO_ENCODER
        )
        return Measured(
            numerators=numerators,
            denominators=denominators,
            parameters=parameters,
            pretrained=pretrained,
            size=saved_size(fitted.save_pretrained),
        )


def tagger_rungs(
    train: TaggedSet,
    test: TaggedSet,
    settings: LadderSettings,
    unlabeled: UnlabeledText | None,
    progress: Progress,
) -> list[Rung]:
    """The rungs of a tagger, measured by F1 of spans, or by accuracy of plain tags."""

    def scores(tagger: SequenceTagger) -> Scores:
        gold = test.in_scheme(tagger.scheme_).examples
        found = tagger.predict([each.tokens for each in gold])
        if tagger.scheme_ == "plain":
            pairs = [list(zip(each.tags, tags, strict=True)) for each, tags in zip(gold, found, strict=True)]
            return [float(sum(a == b for a, b in pair)) for pair in pairs], [float(len(x)) for x in pairs]
        true = [set(spans_of(each.tags, tagger.scheme_)) for each in gold]
        own = [set(spans_of(tags, tagger.scheme_)) for tags in found]
        both = list(zip(true, own, strict=True))
        return [2.0 * len(a & b) for a, b in both], [float(len(a) + len(b)) for a, b in both]

    def fit_task(sample: TaggedSet, own: TaggerSettings) -> SequenceTagger:
        return fit_tagger(sample, own, progress=progress)[0]

    usual = TaggerSettings(epochs=settings.epochs, scheme=train.scheme)
    options = {
        "fit_task": fit_task,
        "scores": scores,
        "words": (train.n_words / len(train), test.n_words),
        "epochs": (1_000, usual.batch_size, 6, 60),
    }
    return _rungs(usual, "a biLSTM with a CRF", options, settings, unlabeled)


def answerer_rungs(
    train: QuestionSet,
    test: QuestionSet,
    settings: LadderSettings,
    unlabeled: UnlabeledText | None,
    progress: Progress,
) -> list[Rung]:
    """The rungs of an answerer, measured by F1 of the words of the answers."""

    def scores(answerer: QuestionAnswerer) -> Scores:
        found = answerer.best_answers(test, progress=progress)
        true = [[answer.text for answer in each.answers] for each in test.examples]
        return [answer_f1(one, own) for one, own in zip(found, true, strict=True)], None

    def fit_task(sample: QuestionSet, own: AnswererSettings) -> QuestionAnswerer:
        return fit_answerer(sample, own, progress=progress)[0]

    usual = AnswererSettings(epochs=settings.epochs)
    n_words = [
        sum(len(each.context) + len(each.question) for each in examples.examples) / CHARACTERS
        for examples in (train, test)
    ]
    options = {
        "fit_task": fit_task,
        "scores": scores,
        "words": (n_words[0] / len(train), n_words[1]),
        "epochs": (0, usual.batch_size, 8, 8),
    }
    return _rungs(usual, "a reader with attention between question and context", options, settings, unlabeled)


def _rungs(
    usual: WordTaskSettings,
    body: str,
    options: dict[str, Any],
    settings: LadderSettings,
    unlabeled: UnlabeledText | None,
) -> list[Rung]:
    rungs: list[Rung] = [
        WordRung(
            SCRATCH,
            f"Word vectors and a character CNN with random weights under {body}, all trained on the sample.",
            replace(usual, encoder=NO_ENCODER),
            **options,
        )
    ]
    if unlabeled is not None:
        made = unlabeled.word_vectors(settings)
        about = f"Skip-gram vectors of the unlabeled text (window 30) and a character CNN under {body}."
        rungs.append(WordRung("own word vectors", about, usual, made=made, **options))
    for name in (DEFAULT_ENCODER, *settings.encoder):
        short = Path(str(name)).name
        about = f"The layers of {short}, frozen and mixed (word vectors: frozen), and a character CNN under {body}."
        shown = "language model, layers mixed" if name == DEFAULT_ENCODER else short
        rungs.append(WordRung(shown, about, replace(usual, encoder=name), **options))
    return rungs


def need_fit_for_tags(train: TaggedSet, test: TaggedSet) -> None:
    """Raise UserError if the tags of two sets are of different sorts."""
    if (train.scheme == "plain") != (test.scheme == "plain"):
        raise UserError(
            f"{train.source} and {test.source}: one has spans and the other plain tags (which column is it?)"
        )


def need_learnable(sample: Any, count: int) -> None:
    """Raise UserError for a sample of sentences or questions from which nothing can be learned."""
    if isinstance(sample, TaggedSet) and len(sample.tag_names()) < 2:
        raise UserError(
            f"{setting('labels', count)} of {sample.source}: a sample has one tag only; take more"
        )
    if isinstance(sample, QuestionSet) and not any(each.answers for each in sample.examples):
        raise UserError(
            f"{setting('labels', count)} of {sample.source}: no question of a sample has an answer; take more"
        )
