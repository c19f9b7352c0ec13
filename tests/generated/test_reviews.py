"""Reviews: fixed by their seed, balanced, clean, and with the difficulties that real ones have."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from hashlib import sha256

import pytest

from unfreeze.generated import Review, movie_reviews, product_reviews
from unfreeze.generated.texts import with_noise

MAKERS = {"movies": movie_reviews, "products": product_reviews}
DENIALS = re.compile(
    r"not at all|not once|in no way|by no means|anything but|far from|hardly|never|nobody could|nothing about|not exactly"
)
CONCESSIONS = re.compile(
    r", (but|yet|and yet|although|though|even though|while) |[.] (Still|But|However|Nevertheless|And yet)"
)


@cache
def many(name: str) -> list[Review]:
    return MAKERS[name](3000, 11)


@pytest.mark.parametrize(
    ("name", "digest"),
    [("movies", "f6effda99675c048"), ("products", "f353613ad4225488")],
)
def test_the_same_for_a_seed(name: str, digest: str) -> None:
    """The digest stands for "on any machine and Python version": a change of it changes all published demo figures."""
    reviews = MAKERS[name](200, 3)
    assert sha256("\n".join(f"{r.label} {r.text}" for r in reviews).encode()).hexdigest()[:16] == digest
    assert reviews == MAKERS[name](500, 3)[:200]
    assert reviews[:5] != MAKERS[name](5, 4)


@pytest.mark.parametrize("count", [0, 1, 7, 100])
def test_count_and_balance(count: int) -> None:
    labels = Counter(review.label for review in movie_reviews(count, 5))
    assert labels.total() == count
    assert abs(labels["positive"] - labels["negative"]) <= 1


def test_movies_and_products_differ_for_one_seed() -> None:
    assert not {review.text for review in many("movies")} & {review.text for review in many("products")}


@pytest.mark.parametrize("name", MAKERS)
def test_hardly_any_duplicates_within_and_across_seeds(name: str) -> None:
    texts = [review.text for seed in (21, 22, 23) for review in MAKERS[name](1000, seed)]
    assert len(texts) - len(set(texts)) < 0.005 * len(texts)


@pytest.mark.parametrize("name", MAKERS)
def test_clean_text(name: str) -> None:
    for review in many(name):
        text = review.text
        assert text == text.strip()
        assert not re.search(r"  |[{}\[\]|<>~_#/\n]| [,.;:!?]|[,;:][,.;:]", text), text
        assert not re.search(
            r"\b[Aa] (?!(?i:us|uni[tq]|one|eu))[aeiouAEIOU]|\b[Aa]n (?!(?i:hour|honest|8|11))[^aeiouAEIOU\"']",
            text,
        ), text
        assert re.search(r"[.!?]$", text), text
        assert 1 <= len(re.findall(r"[.!?]+(?= |$)", text)) <= 11, text


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("label", ["positive", "negative"])
def test_denials_and_mixed_reviews_in_both_classes(name: str, label: str) -> None:
    texts = [review.text for review in many(name) if review.label == label]
    assert sum(bool(DENIALS.search(text)) for text in texts) > 0.15 * len(texts)
    assert sum(bool(CONCESSIONS.search(text)) for text in texts) > 0.15 * len(texts)


@pytest.mark.parametrize(
    ("name", "good", "bad"), [("movies", "great", "awful"), ("products", "great", "flimsy")]
)
def test_words_lean_to_their_class_but_occur_in_both(name: str, good: str, bad: str) -> None:
    for word, label in ((good, "positive"), (bad, "negative")):
        found = Counter(review.label for review in many(name) if word in review.text)
        assert 0.55 < found[label] / found.total() < 0.99


@pytest.mark.parametrize(
    ("name", "patterns"),
    [
        ("movies", [r"river bank|bank of the", r"savings bank|robs the bank|at the bank", r"mouse", r"currents", r"electric current|current of"]),
        ("products", [r"river bank|from the bank\b|bank of the", r"bank account|the bank asked", r"[Tt]his mouse|the mouse is in my hand",
                      r"mouse in the (kitchen|cellar|attic|pantry)|A mouse (had|got)", r"The currents|against the current", r"current of|current account"]),
    ],
)  # fmt: skip
def test_ambiguous_words_occur_in_each_sense(name: str, patterns: list[str]) -> None:
    for pattern in patterns:
        assert sum(bool(re.search(pattern, review.text)) for review in many(name)) >= 3, pattern


def test_roughened_text_keeps_its_words() -> None:
    """With each habit forced in turn, at most one word is changed besides its case."""
    text = "It's a simple, honest sentence about nothing."
    for draws in (
        [0.0] * 9,
        [0.5] * 9,
        [0.01, 0.9, 0.4, 0.6, 0.01, 0.6, 0.3, 0.6, 0.02],
        [0.9, 0.9, 0.9, 0.9, 0.001],
    ):
        stream = iter(draws + [0.9] * 9)
        rough = with_noise(text, stream.__next__).lower().replace("'", "").rstrip(".!").split()
        plain = text.lower().replace("'", "").rstrip(".").split()
        assert len(rough) == len(plain)
        assert sum(a != b for a, b in zip(rough, plain, strict=True)) <= 1
