"""Senses of a word: clouds whose clusters are known, occurrences in a text, and sense inventories."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.encoders.elmos import small_elmo
from unfreeze.analysis.geometry import Numbers
from unfreeze.analysis.sense_sets import (
    agreement,
    best_threshold,
    cosines,
    nearest_accuracy,
    pair_vectors,
    probe_accuracy,
    probe_answers,
    read_coarse,
    read_wic,
    threshold_answers,
)
from unfreeze.analysis.senses import cluster_senses, context_vectors, find_occurrences, vectors_at
from unfreeze.errors import UserError

ELMO = small_elmo()


def clouds(sizes: list[int], width: int = 30, apart: float = 2.0, seed: int = 0) -> tuple[Numbers, list[int]]:
    """Vectors around random directions, in random order, and where each belongs."""
    random = np.random.default_rng(seed)
    centers = random.normal(size=(len(sizes), width))
    centers = apart * centers / np.linalg.norm(centers, axis=1, keepdims=True)
    labels = random.permutation(np.repeat(np.arange(len(sizes)), sizes))
    return centers[labels] + random.normal(size=(sum(sizes), width)) / np.sqrt(width), labels.tolist()


@pytest.mark.parametrize("sizes", [[40, 30], [50, 20, 30], [30, 30, 30, 30, 30]])
def test_clusters_that_are_apart_are_found(sizes: list[int]) -> None:
    vectors, true = clouds(sizes)
    found = cluster_senses(vectors)
    assert found.n_senses == len(sizes)
    assert agreement(found.labels.tolist(), [str(each) for each in true]) == (1.0, 1.0)
    assert [len(each) for each in found.typical] == sorted(sizes, reverse=True)
    assert Counter(found.labels.tolist()) == dict(enumerate(sorted(sizes, reverse=True)))
    assert f"{len(sizes)} senses have the largest mean silhouette" in found.reason


@pytest.mark.parametrize("seed", range(3))
def test_one_cloud_is_one_sense(seed: int) -> None:
    vectors, _ = clouds([80], apart=1.0, seed=seed)
    found = cluster_senses(vectors, seed=seed)
    assert found.n_senses == 1 and "no clearer than in a cloud" in found.reason


def test_equal_vectors_are_one_sense() -> None:
    found = cluster_senses(np.ones((20, 5)))
    assert found.n_senses == 1 and found.silhouettes == {} and "all vectors are equal" in found.reason
    with pytest.raises(UserError, match="do not have 2 senses"):
        cluster_senses(np.ones((20, 5)), senses=2)


def test_one_or_two_occurrences_are_no_sense() -> None:
    """Two vectors far from two clouds are the clearest cluster of all."""
    vectors, true = clouds([40, 30])
    far = -8 * vectors.mean(0) + 0.01 * np.random.default_rng(1).normal(size=(2, vectors.shape[1]))
    found = cluster_senses(np.concatenate([vectors, far]))
    assert found.n_senses == 2 and found.labels[:70].tolist() == cluster_senses(vectors).labels.tolist()
    assert cluster_senses(np.concatenate([vectors, far]), senses=3).labels.tolist().count(2) == 2
    few = cluster_senses(np.repeat(np.eye(3), 2, axis=0))
    assert few.n_senses == 1 and "no clusters have 3 occurrences each" in few.reason


def test_a_given_number_of_senses() -> None:
    vectors, true = clouds([30, 30, 30])
    found = cluster_senses(vectors, senses=2)
    assert found.n_senses == 2 and "as asked for" in found.reason
    homogeneity = {frozenset(found.labels[np.array(true) == each].tolist()) for each in range(3)}
    assert all(len(each) == 1 for each in homogeneity), "no true sense is cut"


def test_a_number_that_is_the_only_one_to_try_was_not_asked_for() -> None:
    sides = [[side, height] for side in (1, -1) for height in (0, 1e-3, 2e-3)]
    apart = cluster_senses(np.array(sides), most_senses=2)
    assert list(apart.silhouettes) == [2] and "as asked for" not in apart.reason
    alike = cluster_senses(clouds([60], apart=0.0)[0], most_senses=2)
    assert alike.n_senses == 1 and alike.reason.startswith("one sense: clusters are no clearer")


def test_typical_occurrences_are_those_in_the_middle() -> None:
    vectors, _ = clouds([40, 30])
    found = cluster_senses(vectors)
    for own in found.typical:
        mean = vectors[own].mean(0)
        first, last = (np.linalg.norm(vectors[own[place]] - mean) for place in (0, -1))
        assert first < last


@settings(max_examples=10, deadline=None)
@given(order=st.permutations(range(50)), factor=st.floats(0.5, 2))
def test_order_and_lengths_do_not_matter(order: list[int], factor: float) -> None:
    vectors, _ = clouds([30, 20])
    a, b = cluster_senses(vectors), cluster_senses(factor * vectors[order])
    assert b.labels.tolist() == a.labels[order].tolist()


# Occurrences

TEXT = ["The cat sat.", "a dog", "the Cat and the cat", "concatenate", "The cat sat.", "dog saw cat it ,"]


def test_occurrences_are_sentences_with_the_word() -> None:
    found = find_occurrences(ELMO, TEXT, "CAT ")
    assert found.n_found == len(found) == 3
    assert [words[place].lower() for words, place in zip(found.sentences, found.places, strict=True)] == [
        "cat"
    ] * 3
    assert found.places == [1, 1, 2]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("bird", "in no sentence"),
        ("concatenate", "in only one sentence"),
        ("the cat", "2 words for this encoder .the, cat.: name one word"),
        (" ", "empty"),
    ],
)
def test_a_word_that_cannot_be_compared(word: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        find_occurrences(ELMO, TEXT, word)


def test_of_many_occurrences_each_is_kept_as_often() -> None:
    text = [f"cat number {number}" for number in range(30)]
    kept = Counter(
        words[-1]
        for seed in range(200)
        for words in find_occurrences(ELMO, text, "cat", most=6, seed=seed).sentences
    )
    assert sum(kept.values()) == 1200 and len(kept) == 30
    assert min(kept.values()) > 15 and max(kept.values()) < 70, "40 are expected"


@torch.no_grad()
def test_vectors_are_those_of_each_sentence_alone() -> None:
    found = find_occurrences(ELMO, TEXT, "cat")
    vectors = vectors_at(ELMO, found.sentences, found.places)
    for number, (words, place) in enumerate(zip(found.sentences, found.places, strict=True)):
        layers, _ = ELMO.word_layers(ELMO.prepare_words([words]))
        for layer, own in zip(layers, vectors, strict=True):
            np.testing.assert_allclose(own[number], layer[0, place].numpy(), atol=1e-5)


@torch.no_grad()
def test_contexts_are_weighted_sums_of_the_other_words() -> None:
    sentences = ["The cat sat .".split(), "a cat".split(), "cat".split(), "saw the Cat and a cat it".split()]
    places = [1, 1, 0, 2]
    shares = {"the": 2 / 4, "sat": 1 / 4, "a": 2 / 4, "saw": 1 / 4, "and": 1 / 4, "it": 1 / 4}
    found = context_vectors(ELMO, sentences, places)
    for number, words in enumerate(sentences):
        layers, _ = ELMO.word_layers(ELMO.prepare_words([words]))
        for own, layer in zip(found, layers, strict=True):
            total = np.zeros(layer.shape[2])
            for word, vector in zip(words, layer[0].double().numpy(), strict=True):
                if word.lower() in shares:
                    total += 0.1 / (0.1 + shares[word.lower()]) * vector / np.sqrt((vector**2).sum())
            np.testing.assert_allclose(own[number], total, atol=1e-5)
    assert not found[0][2].any(), "a sentence of the word alone has no context"


# Sense inventories


def test_reading_wic(tmp_path: Path) -> None:
    folder = tmp_path / "dev"
    folder.mkdir()
    (folder / "dev.data.txt").write_text(
        "bank\tN\t1-2\tthe bank sleeps\tat a bank\nrun\tV\t0-0\trun now\trun\n"
    )
    (folder / "dev.gold.txt").write_text("F\nT\n")
    pairs = read_wic(folder)
    assert pairs.sentences[1] == [["at", "a", "bank"], ["run"]] and pairs.places == ([1, 0], [2, 0])
    assert pairs.same.tolist() == [False, True]
    (folder / "dev.data.txt").write_text(
        "bank\tN\t1-5\tthe bank sleeps\tat a bank\nrun\tV\t0-0\trun now\trun\n"
    )
    with pytest.raises(UserError, match="line 1: the sentence has no word 5"):
        read_wic(folder)
    (folder / "dev.gold.txt").write_text("F\n")
    with pytest.raises(UserError, match="2 pairs and 1 answers"):
        read_wic(folder)


def test_reading_coarse_senses(tmp_path: Path) -> None:
    (tmp_path / "train.data.txt").write_text("1\tthe bank sleeps\n0\tbanks\n")
    (tmp_path / "train.gold.txt").write_text("0\n1\n")
    found = read_coarse(tmp_path, "train")
    assert found.sentences == [["the", "bank", "sleeps"], ["banks"]]
    assert found.places == [1, 0] and found.senses == ["0", "1"]
    (tmp_path / "train.data.txt").write_text("1\tthe bank sleeps\nx\tbanks\n")
    with pytest.raises(UserError, match="line 2"):
        read_coarse(tmp_path, "train")
    with pytest.raises(UserError, match="no such file"):
        read_coarse(tmp_path, "test")


def test_accuracies_of_clouds() -> None:
    vectors, true = clouds([60, 40])
    names = ["river" if each else "money" for each in true]
    known, asked = vectors[:50].astype(np.float32), vectors[50:].astype(np.float32)
    assert nearest_accuracy(known, names[:50], asked, names[50:]) == 1
    assert probe_accuracy(known, names[:50], asked, names[50:]) == 1
    swapped = [{"river": "money", "money": "river"}[each] for each in names[50:]]
    assert nearest_accuracy(known, names[:50], asked, swapped) == 0
    assert probe_accuracy(known, ["river"] * 50, asked, names[50:]) == names[50:].count("river") / 50


def test_the_best_threshold_is_that_of_a_search() -> None:
    random = np.random.default_rng(0)
    same = random.random(100) < 0.5
    values = random.normal(size=100) + same
    found = best_threshold(values, same)
    best = max(np.mean((values > bound) == same) for bound in [*values, -9.0])
    assert np.mean((values > found) == same) >= best - 0.01


def test_cosines_of_rows() -> None:
    a, b = np.array([[3.0, 4.0], [0.0, 0.0]]), np.array([[4.0, 3.0], [1.0, 1.0]])
    np.testing.assert_allclose(cosines(a, b), [24 / 25, 0])


def test_answers_on_pairs_of_vectors() -> None:
    """Whether two vectors have the same sign of their first coordinate; a threshold on the cosine sees only little of it."""
    random = np.random.default_rng(0)
    a, b = random.normal(size=(2, 1200, 20))
    same = a[:, 0] * b[:, 0] > 0
    known, asked = (a[:800], b[:800]), (a[800:], b[800:])
    by_threshold = np.mean(threshold_answers(known, same[:800], asked) == same[800:])
    by_probe = np.mean(probe_answers(known, same[:800], asked) == same[800:])
    assert 0.5 < by_threshold < 0.7 < 0.85 < by_probe
    swapped = probe_answers((b[:800], a[:800]), same[:800], (b[800:], a[800:]))
    assert (swapped == probe_answers(known, same[:800], asked)).all()


def test_vectors_of_pairs(tmp_path: Path) -> None:
    folder = tmp_path / "dev"
    folder.mkdir()
    (folder / "dev.data.txt").write_text("bank\tN\t1-2\tthe bank sleeps\tat a bank\n")
    (folder / "dev.gold.txt").write_text("F\n")
    layers = pair_vectors(ELMO, read_wic(folder))
    assert len(layers) == len(ELMO.widths)
    np.testing.assert_allclose(
        layers[0][0], layers[0][1], atol=1e-6
    )  # layer 0 does not depend on the context
    assert np.abs(layers[1][0] - layers[1][1]).max() > 1e-3
