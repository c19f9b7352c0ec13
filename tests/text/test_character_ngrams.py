"""Buckets of n-grams; the oracle is what fastText's get_subwords gave, the many-words form is held to the one-word form."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unfreeze.text.character_ngrams import ngram_buckets, ngram_buckets_of

# model.get_subwords(word)[1] of fasttext-wheel 0.9.2, less the row of the word and the 7 rows of words before the buckets.
FASTTEXT = {
    "käse": [0, 11, 12, 13, 18, 5, 15, 14, 16, 17, 1, 10],
    "brot": [11, 3, 16, 9, 6, 10, 14, 18, 16, 10, 4, 15],
    "日本": [7, 7, 19, 9, 17, 17],
    "x": [13, 17, 11],
    "日": [7, 7, 1],
    "": [7],
    "brote": [11, 3, 16, 9, 6, 10, 14, 18, 1, 10, 1, 5, 14, 8, 10],
    "ﬀ🙂": [8, 2, 4, 0, 2, 19],
}


@pytest.mark.parametrize("word", FASTTEXT)
def test_buckets_are_those_of_fasttext(word: str) -> None:
    assert ngram_buckets(word, 2, 4, 20) == FASTTEXT[word]


def test_the_borders_alone_are_no_ngrams_and_the_whole_word_is_one() -> None:
    assert len(ngram_buckets("ab", 1, 1, 1000)) == 2
    assert len(ngram_buckets("ab", 0, 4, 1000)) == 2 + 3 + 2 + 1
    assert len(ngram_buckets("ab", 4, 9, 1000)) == 1
    assert (
        ngram_buckets("ab", 5, 9, 1000) == ngram_buckets("ab", 3, 6, 0) == ngram_buckets("ab", 0, 0, 9) == []
    )


def test_bytes_that_are_no_text_are_hashed_as_they_are() -> None:
    assert ngram_buckets("ä".encode(), 1, 3, 97) == ngram_buckets("ä", 1, 3, 97)
    assert len(ngram_buckets(b"\xff\x80b", 1, 1, 97)) == 2  # the second byte continues a character
    assert (
        len(ngram_buckets(b"\x80b", 1, 2, 97)) == 3
    )  # "b", and pairs with the borders: the byte belongs to "<"


@given(
    words=st.lists(st.text(max_size=8) | st.binary(max_size=8), max_size=9),
    minn=st.integers(0, 4),
    maxn=st.integers(0, 6),
    buckets=st.integers(0, 2_000_000),
)
def test_many_words_at_once_are_as_one_by_one(
    words: list[str | bytes], minn: int, maxn: int, buckets: int
) -> None:
    found, counts = ngram_buckets_of(words, minn, maxn, buckets)
    expected = [ngram_buckets(word, minn, maxn, buckets) for word in words]
    assert counts.tolist() == [len(one) for one in expected]
    assert found.tolist() == [bucket for one in expected for bucket in one]
