"""The classifiers that `encoder="auto"` considers, each with its out-of-fold predictions.

Most of them are linear: fixed features of a text, and a logistic regression whose C is the one with the lowest log-loss out of
fold. The features never saw a label, so only the regression has to be fitted again for each fold.

Legend: R repetitions of the folds, N examples, K labels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unfreeze.datasets.dataset import ExampleSet
from unfreeze.encoders.directions import module_name
from unfreeze.progress import Progress
from unfreeze.runs import Run
from unfreeze.tasks.classification import make_objective, make_targets
from unfreeze.tasks.classifier_network import ClassifierNetwork, make_network
from unfreeze.tasks.cross_validation import Folds
from unfreeze.tasks.ensemble import Floats, Member, bounded, combined, losses
from unfreeze.tasks.heads import LinearHead, set_solution, standardize
from unfreeze.tasks.plans import ClassifierPlan, plan
from unfreeze.tasks.regression import CANDIDATES, Solution, solve_regression
from unfreeze.tasks.settings import ClassifierSettings
from unfreeze.tasks.tfidf import TermCounts, TermKind, TfidfNetwork
from unfreeze.training.loop import seed_everything

SPARSE_CANDIDATES = (1.0, 10.0, 100.0)
"""Values of C to choose from, for rows of length 1."""
UNCHOSEN = {CANDIDATES: 0.01, SPARSE_CANDIDATES: 10.0}
"""C where nothing can be held out."""
MANY = 5_000
"""From this number of examples, a term that a single text has is ignored: it costs time and adds nothing."""


@dataclass(frozen=True)
class Task:
    """What to learn, and what is held out in turn."""

    examples: ExampleSet
    targets: NDArray[Any]
    """(N,) of label numbers; with several labels an example (N, K) of 0 and 1."""
    folds: Folds

    @classmethod
    def of(cls, examples: ExampleSet, seed: int) -> Task:
        """With folds that the seed determines."""
        targets = make_targets(examples, examples.label_names, examples.multi_label).numpy()
        return cls(examples, targets, Folds.of(examples, seed))

    @property
    def n_labels(self) -> int:
        """K."""
        return len(self.examples.label_names)

    @property
    def n_fits(self) -> int:
        """The number of folds in all repetitions."""
        return sum(1 for _ in self.folds.parts())

    def tested(self) -> NDArray[np.bool_]:
        """(R, N): whether the training examples have the label of a held-out one; otherwise it tells nothing."""
        found = np.ones(self.folds.of_example.shape, np.bool_)
        if not self.examples.multi_label:
            for repeat, train, held_out in self.folds.parts():
                found[repeat, held_out] = np.isin(self.targets[held_out], self.targets[train])
        return found

    def mean_of(self, values: NDArray[Any]) -> tuple[float, float]:
        """The mean of figures (R, N) over the examples that tell something, and its standard error, of which copies count once."""
        tested = self.tested()
        if not tested.any():
            return float("nan"), float("nan")
        kept = tested.any(0)
        each = (values * tested).sum(0)[kept] / tested.sum(0)[kept]
        _, group = np.unique(self.folds.group[kept], return_inverse=True)
        of_text = np.bincount(group, weights=each) / np.bincount(group)
        return float(each.mean()), float(of_text.std() / np.sqrt(len(of_text)))


@dataclass(frozen=True)
class Fitted:
    """A classifier of all examples, and what classifiers like it said of examples that they did not see."""

    member: Member
    out_of_fold: Floats
    """(R, N, K) probabilities."""


class Rung(ABC):
    """A classifier to consider.

    Args:
        name: what tables call it.
        seconds: estimated cost on one core.
        once: the part of it that others which start from the same model, and later classifiers with the same unlabeled text, do not have
            again.
    """

    is_expensive = False
    """Whether it has to be better by more than chance to be taken."""

    def __init__(self, name: str, seconds: float, once: float = 0.0) -> None:
        self.name, self.seconds, self.once = name, seconds, once

    @abstractmethod
    def fit(self, task: Task, progress: Progress) -> Fitted:
        """Fit it to the folds and to all examples."""


def cost_of(rungs: Sequence[Rung]) -> float:
    """Estimated seconds of several rungs; what takes equally long once is the same model."""
    return sum(rung.seconds - rung.once for rung in rungs) + sum({rung.once for rung in rungs})


class TfidfRung(Rung):
    """TF-IDF and logistic regression."""

    def __init__(self, name: str, seconds: float, kind: TermKind) -> None:
        super().__init__(name, seconds)
        self.kind: TermKind = kind

    def fit(self, task: Task, progress: Progress) -> Fitted:
        """The document frequencies are those of each fold's training texts."""
        counts = TermCounts(task.examples.inputs(), self.kind, least=2 if len(task.examples) >= MANY else 1)

        def features(train: NDArray[np.int64], rows: NDArray[np.int64]) -> Any:
            return counts.features(rows, counts.inverse_frequencies(train))

        out_of_fold, C = cross_validated(features, task, SPARSE_CANDIDATES)
        everything = np.arange(len(task.examples))
        inverse = counts.inverse_frequencies(everything)
        solution = solve_regression(C, counts.features(everything, inverse), task.targets, task.n_labels)
        network = TfidfNetwork.solved(counts, inverse, solution, multi_label=task.examples.multi_label)
        return Fitted(
            Member(self.name, network, {"network": network.network, "kind": self.kind}), out_of_fold
        )


class RungOfSettings(Rung):
    """A `TextClassifier`.

    Args:
        settings: makes the settings of the classifier, and what they name, such as word vectors.
    """

    def __init__(
        self, name: str, seconds: float, settings: Callable[[], ClassifierSettings], once: float = 0.0
    ) -> None:
        super().__init__(name, seconds, once)
        self.settings = settings


class FrozenRung(RungOfSettings):
    """Pooled layers of a frozen encoder and logistic regression: the settings freeze the encoder and have a linear head."""

    def fit(self, task: Task, progress: Progress) -> Fitted:
        """The features are computed once; with several heads, their probabilities are averaged."""
        settings = self.settings()
        network, arguments = make_network(task.examples, plan(ClassifierPlan, settings))
        network.eval()
        features = network.read_all(network.body.inputs(task.examples.inputs()), progress)
        out_of_fold: list[Floats] = []
        for name, values in features.items():
            head = network.heads[module_name(name)]
            assert isinstance(head, LinearHead)
            x = standardize(head, values).numpy()
            found, C = cross_validated(partial(_rows, x), task, CANDIDATES)
            out_of_fold.append(found)
            set_solution(head, solve_regression(C, x, task.targets, task.n_labels))
        return Fitted(Member(self.name, network, arguments), np.mean(out_of_fold, axis=0))


class FineTunedRung(RungOfSettings):
    """A network that is trained for each fold."""

    is_expensive = True

    def fit(self, task: Task, progress: Progress) -> Fitted:
        """Fine-tune on each fold, then on all examples."""
        chosen = plan(ClassifierPlan, self.settings())
        out_of_fold = np.zeros((*task.folds.of_example.shape, task.n_labels))
        with progress.bar("folds", total=task.n_fits, unit="fold") as bar:
            for repeat, train, held_out in task.folds.parts():
                network, _ = self._network(task.examples, train, chosen)
                texts = [task.examples.examples[number].input for number in held_out]
                out_of_fold[repeat, held_out] = network.classify(texts)[0].float().cpu().numpy()
                bar.advance(1)
        network, arguments = self._network(task.examples, np.arange(len(task.examples)), chosen)
        return Fitted(Member(self.name, network, arguments), out_of_fold)

    def _network(
        self, examples: ExampleSet, numbers: NDArray[np.int64], chosen: ClassifierPlan
    ) -> tuple[ClassifierNetwork, dict[str, Any]]:
        """A network that is trained on some of the examples, in memory, and its arguments."""
        part = examples.subset(examples.examples[number] for number in numbers)
        seed_everything(chosen.seed)
        network, arguments = make_network(part, chosen)
        with Run(None, dict) as run:
            objective = make_objective(network, part, chosen, run.accelerator)
            loop = chosen.loop(chosen.epochs_for(len(part)), measures=False)
            run.train(objective, chosen.policy(), loop, self.name)
        network.eval()
        network.body.release_cache()
        return network, arguments


def _rows(x: Floats, _: NDArray[np.int64], rows: NDArray[np.int64]) -> Floats:
    return x[rows]


def cross_validated(
    features: Callable[[NDArray[np.int64], NDArray[np.int64]], Any], task: Task, candidates: tuple[float, ...]
) -> tuple[Floats, float]:
    """The out-of-fold probabilities (R, N, K) of the best C, and that C.

    Args:
        features: takes the numbers of the training examples and those of the rows that are wanted.
    """
    shape = (*task.folds.of_example.shape, task.n_labels)
    found = {C: np.zeros(shape) for C in candidates}
    for repeat, train, held_out in task.folds.parts():
        before, after = features(train, train), features(train, held_out)
        for C in candidates:
            solution: Solution = solve_regression(C, before, task.targets[train], task.n_labels)
            found[C][repeat, held_out] = combined(
                np.ones(1), solution.logits(after)[None], task.examples.multi_label
            )
    tested, multi_label = task.tested(), task.examples.multi_label

    if not tested.any():  # each class has a single example
        return found[UNCHOSEN[candidates]], UNCHOSEN[candidates]

    def loss(C: float) -> float:
        rows = [losses(bounded(each, multi_label), task.targets, multi_label) for each in found[C]]
        return float(np.stack(rows)[tested].mean())

    best = min(candidates, key=loss)
    return found[best], best
