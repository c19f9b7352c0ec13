"""Suggestions: uncertain texts that differ, no text twice, the same whatever the buffer, in memory for the candidates."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tests.commands.toy import reviews
from unfreeze.errors import UserError
from unfreeze.tasks import suggestions
from unfreeze.tasks.suggestions import KEPT, _badge, choose, margins, squared_distances, suggest, text_key
from unfreeze.tasks.text_classifier import TextClassifier

STRATEGIES = ("margin", "clusters", "badge")
LABELED = reviews(40, seed=1)
POOL = [text for text, _ in reviews(150, seed=2)]


def cloud(n: int, n_labels: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return random.dirichlet(np.ones(n_labels), n), random.normal(size=(n, 5))


@pytest.mark.parametrize("n_labels", [2, 4])
def test_margins_are_the_two_largest_probabilities_apart(n_labels: int) -> None:
    shares, _ = cloud(30, n_labels, seed=0)
    expected = [sorted(row)[-1] - sorted(row)[-2] for row in shares.tolist()]
    np.testing.assert_allclose(margins(shares), expected)
    independent = [min(2 * abs(p - 0.5) for p in row) for row in shares.tolist()]
    np.testing.assert_allclose(margins(shares, multi_label=True), independent)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_different_candidates_are_chosen_most_uncertain_first(strategy: suggestions.Strategy) -> None:
    shares, x = cloud(60, 3, seed=1)
    chosen = choose(shares, x, 12, strategy=strategy, seed=3)
    assert len(set(chosen.tolist())) == 12
    assert (np.diff(margins(shares)[chosen]) >= 0).all()
    np.testing.assert_array_equal(choose(shares, x, 12, strategy=strategy, seed=3), chosen)
    assert sorted(choose(shares, x, 99, strategy=strategy)) == list(range(60))
    same = choose(np.full((20, 2), 0.5), np.zeros((20, 4)), 5, strategy=strategy)
    assert len(set(same.tolist())) == 5  # where nothing differs, any five


def test_margin_takes_the_least_certain() -> None:
    shares, x = cloud(50, 2, seed=2)
    expected = np.argsort(np.abs(shares[:, 0] - shares[:, 1]))[:7]
    np.testing.assert_array_equal(choose(shares, x, 7, strategy="margin"), expected)


@pytest.mark.parametrize("strategy", ["clusters", "badge"])
def test_diverse_strategies_reach_every_group(strategy: suggestions.Strategy) -> None:
    """Four far groups, one of them large: the most uncertain texts are all in it."""
    random = np.random.default_rng(4)
    centers = 20 * np.eye(4)
    group = np.repeat([0, 1, 2, 3], [70, 10, 10, 10])
    x = centers[group] + random.normal(size=(100, 4))
    sure = np.where(group == 0, 0.01, 0.2) + 0.001 * random.random(100)
    shares = np.column_stack([0.5 + sure / 2, 0.5 - sure / 2])
    assert set(group[choose(shares, x, 4, strategy="margin")]) == {0}
    assert set(group[choose(shares, x, 8, strategy=strategy)]) == {0, 1, 2, 3}


def test_badge_is_k_means_plus_plus_on_the_gradients() -> None:
    """Against the outer products themselves: the same random numbers draw the same candidates."""
    shares, x = cloud(40, 3, seed=5)
    error = shares - np.eye(3)[shares.argmax(1)]
    gradients = np.einsum("nk,np->nkp", error, x).reshape(40, -1)
    random = np.random.default_rng(9)
    expected = [int((gradients**2).sum(1).argmax())]
    for _ in range(9):
        far = squared_distances(gradients, gradients[expected]).min(1)
        far[expected] = 0
        expected.append(int(random.choice(40, p=far / far.sum())))
    assert _badge(shares, x, 10, False, 9).tolist() == expected


def test_distances_are_those_of_brute_force() -> None:
    x, y = np.random.default_rng(0).normal(size=(2, 6, 3))
    expected = [[sum((a - b) ** 2) for b in y] for a in x]
    np.testing.assert_allclose(squared_distances(x, y), expected, atol=1e-12)


@pytest.fixture(scope="module")
def classifier() -> TextClassifier:
    texts, labels = map(list, zip(*LABELED, strict=True))
    return TextClassifier(transfer="frozen", pooling="vectors").fit(texts, labels)


def test_no_text_twice_and_none_that_is_labeled(classifier: TextClassifier) -> None:
    known = [text for text, _ in LABELED]
    pool = [*POOL, *(f" {text.upper()} " for text in POOL), *known, "", "  ", "xyzzy qwxyz"]
    found = suggest(classifier, pool, 20, exclude=known)
    keys = [text_key(each.input) for each in found.found]
    assert len(set(keys)) == 20 and not {*keys} & {*map(text_key, known)}
    assert (found.n_read, found.n_unknown) == (len(pool), 3) and found.n_excluded >= len(known)
    sure = [each.margin for each in found.found]
    assert sure == sorted(sure)
    for each, row in zip(found.found, classifier.predict_proba([e.input for e in found.found]), strict=True):
        assert each.score == pytest.approx(row.max(), abs=1e-5)
        assert each.margin == pytest.approx(abs(row[0] - row[1]), abs=1e-5)
        assert each.why.startswith(f"{each.label} or {each.runner_up}, margin 0.")
    different = {text_key(text) for text in POOL} - {*map(text_key, known)}
    assert sum(each.stands_for for each in found.found) == min(len(different), KEPT * 20) - 20


def test_the_size_of_the_buffer_does_not_matter(
    classifier: TextClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = suggest(classifier, POOL, 6)
    monkeypatch.setattr(TextClassifier, "buffer", 16)
    parts = suggest(classifier, POOL, 6)
    assert [each.input for each in parts.found] == [each.input for each in whole.found]


def test_memory_is_that_of_the_candidates(
    classifier: TextClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An endless stream, cut off: what is kept between buffers never grows."""
    monkeypatch.setattr(TextClassifier, "buffer", 32)
    sizes: list[int] = []
    real = suggestions.margins

    def counted(shares: np.ndarray, multi_label: bool = False) -> np.ndarray:
        sizes.append(len(shares))
        return real(shares, multi_label)

    monkeypatch.setattr(suggestions, "margins", counted)
    stream = (f"{text} {n}" for n, text in enumerate(itertools.islice(itertools.cycle(POOL), 400)))
    suggest(classifier, stream, 3)
    assert max(sizes) <= 3 * KEPT + 32


def test_what_cannot_be_suggested_is_said(classifier: TextClassifier) -> None:
    with pytest.raises(UserError, match="none of the 2 texts can be suggested: 1 are labeled already, 1 are"):
        suggest(classifier, [LABELED[0][0], ""], 5, exclude=[LABELED[0][0]])
    with pytest.raises(UserError, match="count must be at least 1"):
        suggest(classifier, POOL, 0)
    assert len(suggest(classifier, POOL[:3], 5).found) == 3


def test_of_several_labels_the_undecided_one_is_named() -> None:
    rows = [
        (text, [label, *(["long"] if number % 3 else [])]) for number, (text, label) in enumerate(LABELED)
    ]
    texts, labels = map(list, zip(*rows, strict=True))
    classifier = TextClassifier(transfer="frozen", pooling="vectors", epochs=3).fit(texts, labels)
    for each in suggest(classifier, POOL, 5).found:
        shares = classifier.predict_proba([each.input])[0]
        nearest = float(np.abs(shares - 0.5).min())
        assert each.doubt is not None and abs(each.doubt - 0.5) == pytest.approx(nearest, abs=1e-5)
        assert each.doubt == pytest.approx(
            float(shares[classifier.label_names.index(each.runner_up)]), abs=1e-5
        )
        assert each.why.startswith(f"{each.runner_up} with a probability of {each.doubt:.2f}")
