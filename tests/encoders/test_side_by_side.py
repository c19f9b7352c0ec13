"""Threads: who has how many, and that a small batch gives the same vectors with any number of them."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.encoders.elmos import small_elmo
from unfreeze.encoders.layers.side_by_side import one_thread_each, shares, side_by_side


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_one_thread_each_leaves_all_to_calls_side_by_side(two_threads: None) -> None:
    def who() -> tuple[int, int]:
        return threading.get_ident(), torch.get_num_threads()

    with one_thread_each():
        assert torch.get_num_threads() == 1
        meet = threading.Barrier(2, timeout=10)  # breaks unless both run at the same time
        assert len(side_by_side([meet.wait, meet.wait])) == 2
        assert all(number == 1 for _, number in side_by_side([who, who]))
        assert len(shares(10)) == 2
    assert torch.get_num_threads() == 2
    with pytest.raises(ValueError, match="within"), one_thread_each():
        raise ValueError("within")
    assert torch.get_num_threads() == 2 and len(shares(10)) == 2


@given(n=st.integers(0, 1000), least=st.integers(1, 300))
def test_shares_are_all_things_once(n: int, least: int) -> None:
    found = shares(n, least)
    assert found[0][0] == 0 and found[-1][1] == n
    assert all(one[1] == other[0] for one, other in zip(found, found[1:], strict=False))
    assert len(found) == 1 or min(last - first for first, last in found) >= least


def test_a_sentence_has_the_same_vectors_with_any_threads(two_threads: None) -> None:
    encoder = small_elmo().eval()
    batch = encoder.prepare([["the", "cat", "sat"], ["a", "dog"]])
    with torch.no_grad():
        several, _ = encoder.word_layers(batch)
        torch.set_num_threads(1)
        single, _ = encoder.word_layers(batch)
    learning, _ = encoder.word_layers(batch)
    for one, other, third in zip(several, single, learning, strict=True):
        torch.testing.assert_close(one, other)
        torch.testing.assert_close(one, third)
