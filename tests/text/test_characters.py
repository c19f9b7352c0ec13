"""Spelled words: AllenNLP's conventions, at any length and in any script."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from unfreeze.text.characters import (
    BEGIN_SENTENCE,
    BEGIN_WORD,
    END_SENTENCE,
    END_WORD,
    LONGEST,
    PADDING,
    frame_rows,
    spell,
)


@given(st.lists(st.text(max_size=60), max_size=5), st.integers(3, 60))
def test_a_row_is_begin_bytes_end_padding(words: list[str], longest: int) -> None:
    rows = spell(words, longest)
    assert rows.shape == (len(words), longest)
    for word, row in zip(words, rows.tolist(), strict=True):
        data = [byte + 1 for byte in word.encode("utf-8", "ignore")[: longest - 2]]
        expected = [BEGIN_WORD, *data, END_WORD]
        assert row == expected + [PADDING] * (longest - len(expected))


def test_published_numbers() -> None:
    (row,) = spell(["cat"]).tolist()
    assert row[:5] == [259, 100, 98, 117, 260] and set(row[5:]) == {261} and len(row) == LONGEST
    begin, end = frame_rows().tolist()
    assert begin[:3] == [259, BEGIN_SENTENCE, 260] and BEGIN_SENTENCE == 257
    assert end[:3] == [259, END_SENTENCE, 260] and END_SENTENCE == 258


def test_a_word_of_10000_bytes_is_cut() -> None:
    rows = spell(["x" * 10_000, "ü" * 40])
    assert (rows != PADDING).sum(1).tolist() == [50, 50]
    assert rows[0, -1] == END_WORD
