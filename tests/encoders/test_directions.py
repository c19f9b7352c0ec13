"""Reversal within lengths and one vector a word, against plain Python."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unfreeze.encoders.directions import (
    direction_of,
    gather_words,
    module_name,
    reversed_within,
    stack_names,
    word_positions,
)
from unfreeze.errors import UserError

rows_of_lengths = st.lists(st.integers(1, 7), min_size=1, max_size=5)


@given(lengths=rows_of_lengths, extra=st.integers(0, 3), first=st.integers(0, 1))
def test_rows_are_reversed_within_their_lengths(lengths: list[int], extra: int, first: int) -> None:
    width = max(lengths) + extra
    x = torch.arange(len(lengths) * width).view(len(lengths), width)
    found = reversed_within(x, torch.tensor(lengths), first)
    for row, length, got in zip(x.tolist(), lengths, found.tolist(), strict=True):
        assert got == row[:first] + row[first:length][::-1] + row[max(first, length) :]
    assert torch.equal(reversed_within(found, torch.tensor(lengths), first), x)
    vectors = torch.stack([x, -x], dim=2)
    assert torch.equal(
        reversed_within(vectors, torch.tensor(lengths), first), torch.stack([found, -found], dim=2)
    )


@st.composite
def piece_words(draw: st.DrawFn) -> list[int]:
    """Word numbers of pieces as tokenizers give them: rising, with marks (-1) between, and words that were folded away."""
    words: list[int] = [-1]
    number = 0
    for _ in range(draw(st.integers(0, 6))):
        words += [-1] * draw(st.integers(0, 2)) + [number] * draw(st.integers(1, 3))
        number += draw(st.sampled_from([1, 1, 1, 3]))
    return words


@given(rows=st.lists(piece_words(), min_size=1, max_size=4), last=st.booleans())
def test_each_word_gets_its_first_or_last_piece(rows: list[list[int]], last: bool) -> None:
    width = max(map(len, rows))
    layer = torch.arange(1.0, len(rows) * (width - 1) + 1).view(len(rows), width - 1, 1)
    (found,), mask = gather_words([layer], rows, last)
    assert found.shape[1] == max(max(row) for row in rows) + 1
    for number, row in enumerate(rows):
        expected: list[float] = []
        for word in range(max(row) + 1):
            places = [place for place, of in enumerate(row) if of == word]
            # A word without a piece was folded into the one before it.
            expected.append(
                layer[number, places[-1 if last else 0] - 1, 0].item() if places else expected[-1]
            )
        assert mask[number].tolist() == [True] * len(expected) + [False] * (found.shape[1] - len(expected))
        assert found[number, : len(expected), 0].tolist() == expected
        assert not found[number, len(expected) :].any()


def test_texts_without_words_have_no_vectors() -> None:
    (vectors,), mask = gather_words([torch.zeros(2, 0, 3)], [[-1], [-1]], last=True)
    assert vectors.shape == (2, 0, 3) and mask.shape == (2, 0)
    assert word_positions([], last=True) == ([], 0)


def test_names_of_directions() -> None:
    assert stack_names("both") == ["forward", "backward"]
    assert stack_names("backward") == ["backward"]
    assert [direction_of(module_name(name)) for name in stack_names("both")] == ["forward", "backward"]
    with pytest.raises(UserError, match="sideways"):
        stack_names("sideways")  # type: ignore[arg-type]
