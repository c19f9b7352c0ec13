"""Threads: who has how many, and that a small batch gives the same vectors with any number of them."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.encoders.elmos import small_elmo
from unfreeze.encoders.layers.parallel import run_parallel, single_threaded_ops, split_work


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_single_threaded_ops_leave_all_threads_to_run_parallel(two_threads: None) -> None:
    def who() -> tuple[int, int]:
        return threading.get_ident(), torch.get_num_threads()

    with single_threaded_ops():
        assert torch.get_num_threads() == 1
        meet = threading.Barrier(2, timeout=10)  # breaks unless both run at the same time
        assert len(run_parallel([meet.wait, meet.wait])) == 2
        assert all(number == 1 for _, number in run_parallel([who, who]))
        assert len(split_work(10)) == 2
    assert torch.get_num_threads() == 2
    with pytest.raises(ValueError, match="within"), single_threaded_ops():
        raise ValueError("within")
    assert torch.get_num_threads() == 2 and len(split_work(10)) == 2


@given(n=st.integers(0, 1000), least=st.integers(1, 300))
def test_shares_are_all_things_once(n: int, least: int) -> None:
    found = split_work(n, least)
    assert found[0][0] == 0 and found[-1][1] == n
    assert all(one[1] == other[0] for one, other in zip(found, found[1:], strict=False))
    assert len(found) == 1 or min(last - first for first, last in found) >= least


def test_a_sentence_has_the_same_vectors_with_any_threads(two_threads: None) -> None:
    encoder = small_elmo().eval()
    batch = encoder.prepare_words([["the", "cat", "sat"], ["a", "dog"]])
    with torch.no_grad():
        several, _ = encoder.word_layers(batch)
        torch.set_num_threads(1)
        single, _ = encoder.word_layers(batch)
    learning, _ = encoder.word_layers(batch)
    for one, other, third in zip(several, single, learning, strict=True):
        torch.testing.assert_close(one, other)
        torch.testing.assert_close(one, third)
