"""What the ladder has to know of each kind of task: its rungs, its measure, and what makes two examples the same."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

from unfreeze.datasets.dataset import Dataset, ExampleSet
from unfreeze.errors import UserError, setting
from unfreeze.ladder.cells import Rung
from unfreeze.ladder.images import image_rungs
from unfreeze.ladder.settings import LadderSettings, usual_labels
from unfreeze.ladder.texts import SCRATCH, TFIDF, Majority, TextData, text_rungs
from unfreeze.ladder.unlabeled import UnlabeledText
from unfreeze.ladder.words import answerer_rungs, need_fit_for_tags, need_learnable, tagger_rungs
from unfreeze.progress import Progress
from unfreeze.tasks.settings import ImageClassifierSettings
from unfreeze.text.questions import QuestionSet
from unfreeze.text.tagged import TaggedSet

Set = Dataset[Any]


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of task on two data sets."""

    task: str
    measure: str
    baselines: tuple[str, ...]
    guessing: str | None
    """The rung that reads nothing."""
    rungs: Callable[[UnlabeledText | None], list[Rung]]
    test_texts: list[str]
    """What must not be in the unlabeled text; none for images."""
    duplicates: int
    """Test examples that are in the training set, too."""


def kind_of(
    train: Any,
    test: Any,
    settings: LadderSettings,
    progress: Progress,
    images: ImageClassifierSettings | None = None,
) -> Kind:
    """The kind of task of two sets of the same type.

    Raises:
        UserError: they cannot be learned from or measured on.
    """
    for examples, what in ((train, "to learn from"), (test, "to measure on")):
        if not len(examples):
            raise UserError(f"{examples.source}: there is no {examples.noun} {what}")
    if isinstance(train, TaggedSet):
        need_fit_for_tags(train, test)
        plain = train.scheme == "plain"
        return Kind(
            task="tagger",
            measure="accuracy" if plain else "span F1",
            baselines=(SCRATCH,),
            guessing=None,
            rungs=lambda unlabeled: tagger_rungs(train, test, settings, unlabeled, progress),
            test_texts=[" ".join(each.tokens) for each in test.examples],
            duplicates=_duplicates(train, test, lambda each: each.tokens),
        )
    if isinstance(train, QuestionSet):
        test.need_answers()
        return Kind(
            task="answerer",
            measure="F1",
            baselines=(SCRATCH,),
            guessing=None,
            rungs=lambda unlabeled: answerer_rungs(train, test, settings, unlabeled, progress),
            test_texts=sorted({each.context for each in test.examples}),
            duplicates=_duplicates(train, test, lambda each: (each.question, each.context)),
        )
    _need_one_label_each(train, test)
    if images is not None:
        if settings.unlabeled:
            raise UserError(f"{setting('unlabeled')} is for tasks on texts, and {train.source} has images")
        return Kind(
            task="image classifier",
            measure="accuracy",
            baselines=(SCRATCH,),
            guessing=Majority.name,
            rungs=lambda _: image_rungs(test, settings, progress, images),
            test_texts=[],
            duplicates=test.duplicates_of(train),
        )
    data = TextData(train, test, progress)
    return Kind(
        task="classifier",
        measure="accuracy",
        baselines=(SCRATCH, TFIDF),
        guessing=Majority.name,
        rungs=lambda unlabeled: text_rungs(data, settings, unlabeled),
        test_texts=data.inputs,
        duplicates=test.duplicates_of(train),
    )


def need_counts(train: Any, settings: LadderSettings) -> tuple[int, ...]:
    """The numbers of labels, ascending.

    Raises:
        UserError: there are not so many examples, too few for the classes, or nothing can be learned from a sample.
    """
    n_classes = len(train.label_names) if isinstance(train, ExampleSet) else 1
    for count in settings.labels:
        if count > len(train):
            raise UserError(
                f"{setting('labels', count)} is more than the {len(train):,} {train.noun}s of {train.source}"
            )
        if count < n_classes:
            raise UserError(
                f"{setting('labels', count)} cannot cover the {n_classes} classes of {train.source}"
            )
    counts = tuple(sorted(settings.labels)) or usual_labels(len(train), n_classes)
    for seed in range(settings.seed, settings.seed + settings.seeds):
        need_learnable(train.sample(counts[0], seed), counts[0])
    return counts


def _need_one_label_each(train: ExampleSet, test: ExampleSet) -> None:
    for examples in (train, test):
        if examples.multi_label:
            raise UserError(f"{examples.source}: examples have several labels; the ladder takes one each")
    classes = sorted({label for each in train.examples for label in each.labels})
    if len(classes) < 2:
        raise UserError(f"{train.source}: all {len(train)} examples are of one class; two are needed")
    for each in test.examples:
        if each.labels[0] not in classes:
            raise UserError(
                f"{test.place(each.number)} has the label {each.labels[0]!r}, which {train.source} lacks (it has "
                f"{', '.join(classes[:10])})"
            )


def _duplicates(train: Set, test: Set, key: Callable[[Any], Hashable]) -> int:
    known = {key(each) for each in train.examples}
    return sum(key(each) in known for each in test.examples)
