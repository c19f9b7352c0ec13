"""Phrases against brute force: which pairs are found, and how texts are joined."""

from __future__ import annotations

import pickle
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pretraining.numbered_texts import BOS, NumberTokenizer, make_store
from unfreeze.pretraining.token_blocks import count_tokens
from unfreeze.pretraining.word2vec import phrases
from unfreeze.pretraining.word2vec.phrases import PhraseTokenizer, count_pairs, learn_phrases

MARK = 9  # a special token that stands between words


class MarkedTokenizer(NumberTokenizer):
    special_ids = frozenset({BOS, MARK})


documents_strategy = st.lists(st.lists(st.integers(1, 9), max_size=12), min_size=1, max_size=6)


@settings(deadline=None, max_examples=30)
@given(documents=documents_strategy, gather=st.sampled_from([1, 128]))
def test_pairs_are_counted_within_documents_and_over_marks(
    tmp_path_factory: pytest.TempPathFactory, documents: list[list[int]], gather: int
) -> None:
    store = make_store(tmp_path_factory.mktemp("store"), documents, 10)
    words = [[token for token in document if token != MARK] for document in documents]
    expected = Counter(pair for document in words for pair in zip(document, document[1:], strict=False))
    keys, counts = count_pairs(store, 10, MarkedTokenizer.special_ids)
    assert {divmod(int(key), 10): int(n) for key, n in zip(keys, counts, strict=True)} == expected
    assert (np.diff(keys) > 0).all()


def test_the_score_is_the_papers(tmp_path: Path) -> None:
    documents = [[1, 2, 3, 1, 2, 4], [1, 2, 5, 3, 4, 1, 2], [3, 5, 4, 3, 5]]
    store = make_store(tmp_path, documents, 6)
    counts = count_tokens(store, 6)
    flat = Counter(token for document in documents for token in document)
    pairs = Counter(pair for document in documents for pair in zip(document, document[1:], strict=False))
    n_words = sum(flat.values())
    scores = {(a, b): (n - 2) * n_words / (flat[a] * flat[b]) for (a, b), n in pairs.items() if n >= 2}
    for threshold in (0.5, 1.5, 2.1):
        found = learn_phrases(store, counts, frozenset({BOS}), min_count=2, threshold=threshold)
        assert set(found) == {pair for pair, score in scores.items() if score > threshold}
    assert learn_phrases(store, counts, frozenset({BOS}), min_count=1, threshold=1.0)[0] == (1, 2)


def test_texts_are_joined_from_left_to_right_and_marks_left_out() -> None:
    tokenizer = PhraseTokenizer(MarkedTokenizer(10), [(1, 2), (2, 3)])
    joined = [ids for ids, _ in tokenizer.encode_with_unknown_bytes(["1 2 3", "9 1 9 2 2 3", "", "2 1"])]
    assert joined == [[0, 10, 3], [0, 10, 11], [0], [0, 2, 1]]
    assert [tokenizer.token(number) for number in (1, 10, 11)] == ["w1", "w1_w2", "w2_w3"]
    longer = PhraseTokenizer(tokenizer, [(10, 3)])
    assert longer.encode_with_unknown_bytes(["1 2 3"])[0][0] == [0, 12] and longer.token(12) == "w1_w2_w3"
    assert len(longer) == 13 and longer.fingerprint() != tokenizer.fingerprint()
    copied = pickle.loads(pickle.dumps(longer))  # noqa: S301
    assert copied.fingerprint() == longer.fingerprint()


def test_rare_pairs_are_dropped_when_there_are_too_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(phrases, "MAX_PAIRS", 3)
    store = make_store(tmp_path, [[1, 2, 1, 2, 3, 4, 5, 6, 7]], 10)
    keys, counts = count_pairs(store, 10, frozenset({BOS}))
    assert (keys.tolist(), counts.tolist()) == ([12], [2])
