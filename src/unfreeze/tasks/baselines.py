"""The baseline of all comparisons: TF-IDF of words and word pairs with logistic regression, by scikit-learn.

Unigrams and bigrams of the package's own words (`text.words`, lower-cased), logarithmic term frequencies, rows of length 1,
and a C that is chosen by cross-validation on the training labels. No unlabeled text is used, and no test text enters the
vocabulary or the choice. 100 reviews take about a second, 25,000 some minutes (scikit-learn is imported at the first call).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unfreeze.datasets.dataset import ExampleSet
from unfreeze.errors import UserError
from unfreeze.text.words import word_texts

CANDIDATES = (0.1, 1.0, 10.0, 100.0, 1000.0)
"""Values of C, the inverse of the L2 penalty, to choose from."""
MAX_FOLDS = 5
UNCHOSEN = 10.0
"""C if a class has a single example, so that nothing can be held out."""
MANY = 5_000
"""From this number of examples, words and pairs that occur in a single text are ignored: they cost time and add nothing."""
STEPS = 1_000


@dataclass(frozen=True)
class TfidfClassifier:
    """Logistic regression on TF-IDF of words and pairs of words, fitted."""

    label_names: tuple[str, ...]
    """The classes, in the order of the columns of `predict_proba`."""
    C: float
    """The C that was chosen."""
    cross_validated: float | None
    """Accuracy of that C on held-out folds of the training labels; None if there was no choice."""
    vectorizer: Any
    """A fitted TfidfVectorizer."""
    regression: Any
    """A fitted LogisticRegression."""

    def predict_proba(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """The probabilities of the classes (N, K)."""
        if not len(texts):
            return np.zeros((0, len(self.label_names)))
        found: NDArray[np.float64] = self.regression.predict_proba(self.vectorizer.transform(texts))
        return found

    def predict(self, texts: Sequence[str]) -> list[str]:
        """The most probable label of each text."""
        return [self.label_names[best] for best in self.predict_proba(texts).argmax(axis=1)]

    def accuracy(self, examples: ExampleSet) -> float:
        """Fraction of texts whose predicted label is right; a label that is not in the training data never is.

        Raises:
            UserError: there is no example, or texts may have many labels.
        """
        _check(examples)
        predicted = self.predict([example.input for example in examples.examples])
        right = [(name,) == e.labels for name, e in zip(predicted, examples.examples, strict=True)]
        return float(np.mean(right))


def fit_tfidf(
    examples: ExampleSet, *, candidates: Sequence[float] = CANDIDATES, seed: int = 0
) -> TfidfClassifier:
    """Fit TF-IDF (1-2 grams) and logistic regression on labeled texts.

    C is the one with the best accuracy over stratified folds of `examples` (of equal ones the one with the lowest
    log-loss); words and their weights are determined for each fold separately.

    Args:
        examples: one label a text, at least two classes.
        candidates: what C is chosen from.
        seed: of the folds.

    Raises:
        UserError: texts with many labels, one class only, or no words.
    """
    _check(examples)
    texts = [example.input for example in examples.examples]
    names = tuple(sorted({label for example in examples.examples for label in example.labels}))
    if len(names) < 2:
        raise UserError(f"{examples.source}: all {len(texts)} examples are of one class; two are needed")
    number_of = {name: number for number, name in enumerate(names)}
    targets = np.array([number_of[example.labels[0]] for example in examples.examples])
    chosen, accuracy = _choose_C(texts, targets, candidates, seed)
    vectorizer = _fit_vectorizer(texts, examples.source)
    regression = _regression(chosen).fit(vectorizer.transform(texts), targets)
    return TfidfClassifier(names, chosen, accuracy, vectorizer, regression)


def tfidf_accuracy(train: ExampleSet, test: ExampleSet, *, seed: int = 0) -> float:
    """Accuracy on `test` of the baseline that learned from `train`; see `fit_tfidf`."""
    return fit_tfidf(train, seed=seed).accuracy(test)


def _check(examples: ExampleSet) -> None:
    if not len(examples):
        raise UserError(f"{examples.source} holds no examples")
    if isinstance(examples.examples[0].input, tuple):
        raise UserError(f"{examples.source} holds pairs of texts; this baseline reads single texts")
    if examples.multi_label:
        raise UserError(f"{examples.source}: texts may have many labels; this baseline gives one")


def _choose_C(
    texts: Sequence[str], targets: NDArray[np.int64], candidates: Sequence[float], seed: int
) -> tuple[float, float | None]:
    """The C with the best cross-validated accuracy, and that accuracy."""
    if min(Counter(targets.tolist()).values()) < 2 or len(candidates) == 1:
        return (candidates[0] if len(candidates) == 1 else UNCHOSEN), None
    right = dict.fromkeys(candidates, 0)
    loss = dict.fromkeys(candidates, 0.0)
    for train, held_out in folds(targets, seed):
        vectorizer = _fit_vectorizer([texts[n] for n in train], "a fold of the examples")
        before, after = (vectorizer.transform([texts[n] for n in part]) for part in (train, held_out))
        for C in candidates:
            found = _regression(C).fit(before, targets[train]).predict_proba(after)
            right[C] += int((found.argmax(axis=1) == targets[held_out]).sum())
            of_true = found[np.arange(len(held_out)), targets[held_out]]
            loss[C] -= float(np.log(np.maximum(of_true, 1e-12)).sum())
    best = max(candidates, key=lambda C: (right[C], -loss[C]))
    return best, right[best] / len(texts)


def folds(targets: NDArray[np.int64], seed: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """(training numbers, held-out numbers); every class is in each training part."""
    from sklearn.model_selection import StratifiedKFold

    n_folds = min(MAX_FOLDS, *Counter(targets.tolist()).values())
    folds = StratifiedKFold(n_folds, shuffle=True, random_state=seed)
    found: Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]] = folds.split(targets, targets)
    return found


def _fit_vectorizer(texts: Sequence[str], source: str) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(
        tokenizer=word_texts,
        token_pattern=None,
        ngram_range=(1, 2),
        sublinear_tf=True,
        min_df=2 if len(texts) >= MANY else 1,
        dtype=np.float64,
    )
    try:
        return vectorizer.fit(texts)
    except ValueError as error:  # scikit-learn's "empty vocabulary"
        raise UserError(f"{source}: there is no word in the {len(texts)} texts") from error


def _regression(C: float) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=C, max_iter=STEPS)
