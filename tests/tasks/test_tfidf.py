"""TF-IDF as a network: against scikit-learn's, saved and loaded."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from unfreeze import TextClassifier
from unfreeze.errors import UserError
from unfreeze.tasks.regression import solve_regression
from unfreeze.tasks.tfidf import TermCounts, TermKind, TfidfNetwork, terms_of
from unfreeze.text.words import word_texts

TEXTS = [
    "A great film, a great story!",
    "I loved every minute of it.",
    "warm, funny and clever",
    "a dull film without a story",
    "I hated every minute",
    "cold; flat; stupid",
    "not a great film",
]
TARGETS = np.array([1, 1, 1, 0, 0, 0, 0])


def network_of(kind: TermKind, texts: list[str] = TEXTS, least: int = 1) -> TfidfNetwork:
    """Fitted on all texts with C = 10."""
    counts, rows = TermCounts(texts, kind, least), np.arange(len(texts))
    inverse = counts.inverse_frequencies(rows)
    solution = solve_regression(10.0, counts.features(rows, inverse), TARGETS, 2)
    return TfidfNetwork.solved(counts, inverse, solution, multi_label=False)


@pytest.mark.parametrize("least", [1, 2])
@pytest.mark.parametrize("kind", ["words", "characters"])
def test_equals_scikit_learn(kind: TermKind, least: int) -> None:
    vectorizer = TfidfVectorizer(analyzer=lambda text: terms_of(text, kind), sublinear_tf=True, min_df=least)
    regression = LogisticRegression(C=10.0, max_iter=1000).fit(vectorizer.fit_transform(TEXTS), TARGETS)
    unseen = ["a great and funny story", "stupid, dull", "unheard-of words only: xyz", ""]
    found, known = network_of(kind, least=least).classify(unseen)
    np.testing.assert_allclose(
        found.numpy(), regression.predict_proba(vectorizer.transform(unseen)), atol=1e-4
    )
    assert known.tolist()[:2] == [True, True] and not known[3]


def test_words_and_pairs_as_scikit_learn_has_them() -> None:
    analyze = TfidfVectorizer(tokenizer=word_texts, token_pattern=None, ngram_range=(1, 2)).build_analyzer()
    for text in TEXTS:
        assert sorted(terms_of(text, "words")) == sorted(analyze(text))


def test_character_ngrams_of_a_word() -> None:
    assert terms_of("Ab", "characters") == [" a", "ab", "b ", " ab", "ab ", " ab "]
    assert terms_of("", "characters") == []


def test_rows_of_a_fold_ignore_terms_that_its_training_texts_lack() -> None:
    counts, train, held_out = TermCounts(TEXTS, "words"), np.arange(4), np.arange(4, 7)
    vectorizer = TfidfVectorizer(
        tokenizer=word_texts, token_pattern=None, ngram_range=(1, 2), sublinear_tf=True
    )
    vectorizer.fit([TEXTS[number] for number in train])
    expected = vectorizer.transform([TEXTS[number] for number in held_out]).toarray()
    found = counts.features(held_out, counts.inverse_frequencies(train)).toarray()
    place = {term: number for number, term in enumerate(counts.terms)}
    columns = [place[term] for term in vectorizer.get_feature_names_out()]
    np.testing.assert_allclose(found[:, columns], expected)
    assert found.sum() == pytest.approx(expected.sum())  # and no weight elsewhere


@given(st.permutations(range(len(TEXTS))))
def test_the_order_of_texts_does_not_matter(order: list[int]) -> None:
    network = network_of("words")
    alone, _ = network.classify(TEXTS)
    mixed, _ = network.classify([TEXTS[number] for number in order])
    np.testing.assert_allclose(mixed.numpy(), alone.numpy()[order], atol=1e-6)


def test_saved_and_loaded(tmp_path: Path) -> None:
    network = network_of("characters")
    arguments = {"network": "tfidf", "kind": "characters"}
    classifier = TextClassifier.of_network(network, ["bad", "good"], arguments)
    classifier.save_pretrained(tmp_path / "model")
    loaded = TextClassifier.from_pretrained(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict_proba(TEXTS), classifier.predict_proba(TEXTS))
    assert not list((tmp_path / "model").glob("*.pkl"))
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    newer = {**config, "settings": {**config["settings"], "stems": True}}
    (tmp_path / "model" / "config.json").write_text(json.dumps(newer))
    with pytest.raises(UserError, match="asks for stems: upgrade"):
        TextClassifier.from_pretrained(tmp_path / "model")
    (tmp_path / "model" / "config.json").write_text(json.dumps(config))
    terms = tmp_path / "model" / "terms.json"
    terms.write_text(json.dumps(json.loads(terms.read_text())[:-1]))
    with pytest.raises(UserError, match=r"does not fit the .* terms of terms.json: the files are damaged"):
        TextClassifier.from_pretrained(tmp_path / "model")


def test_a_label_for_each_of_several() -> None:
    counts, rows = TermCounts(TEXTS, "words"), np.arange(len(TEXTS))
    inverse = counts.inverse_frequencies(rows)
    targets = np.stack([TARGETS, np.zeros(7), np.ones(7)], axis=1).astype(np.float32)
    features = counts.features(rows, inverse)
    network = TfidfNetwork.solved(
        counts, inverse, solve_regression(10.0, features, targets, 3), multi_label=True
    )
    found = network.classify(TEXTS)[0].numpy()
    expected = LogisticRegression(C=10.0, max_iter=1000).fit(features, TARGETS).predict_proba(features)[:, 1]
    np.testing.assert_allclose(found[:, 0], expected, atol=1e-4)
    assert found[:, 1].max() < 1e-6 and found[:, 2].min() > 1 - 1e-6
