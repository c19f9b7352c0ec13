"""Batches against brute force: the stream that the lanes spell out, padding and buckets from lists of lists."""

from __future__ import annotations

from itertools import chain, pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.text.test_token_store import ByteTokenizer
from unfreeze.datasets.batches import bucketed_batches
from unfreeze.errors import UserError
from unfreeze.text.batches import IGNORE, LaneBatch, LanguageModelLanes, pad_sequences
from unfreeze.text.token_store import TokenStore

LENGTHS = st.lists(st.integers(0, 12), min_size=1, max_size=10)
LANES = st.fixed_dictionaries(
    {
        "batch_size": st.integers(1, 9),
        "bptt": st.integers(1, 30),
        "variable": st.booleans(),
        "direction": st.sampled_from(["forward", "backward"]),
        "shuffle": st.booleans(),
        "seed": st.integers(0, 2**32),
    }
)


class RangeTokenizer(ByteTokenizer):
    """A document "3 6" is the tokens 3, 4, 5."""

    def __init__(self) -> None:
        super().__init__(size=2**16)

    def encode_with_unknown_bytes(self, texts: list[str]) -> list[tuple[list[int], int]]:
        return [(list(range(*map(int, text.split()))), 0) for text in texts]


def numbered_store(lengths: list[int]) -> TokenStore:
    """A store of documents of 1 + `lengths` tokens, in which no token occurs twice."""
    ends = 10 + np.cumsum([1 + length for length in lengths])
    texts = [f"{end - 1 - length} {end}" for end, length in zip(ends, lengths, strict=True)]
    with TemporaryDirectory() as folder:
        return TokenStore.build(texts, RangeTokenizer(), Path(folder) / "store", workers=1)


def documents_of(store: TokenStore, direction: str = "forward") -> list[list[int]]:
    documents = [store.document(number).tolist() for number in range(store.n_documents)]
    return documents if direction == "forward" else [ids[:1] + ids[:0:-1] for ids in documents]


def lanes_of(batches: list[LaneBatch]) -> list[list[tuple[int, int]]]:
    """The (input, target) pairs of each lane, without those that are none."""
    inputs = torch.cat([batch.inputs for batch in batches], dim=1).tolist()
    targets = torch.cat([batch.targets for batch in batches], dim=1).tolist()
    for lane_inputs, lane_targets in zip(inputs, targets, strict=True):
        real = [target != IGNORE for target in lane_targets]
        assert real == sorted(real, reverse=True)  # a lane ends once
        padding = [token for token, is_real in zip(lane_inputs, real, strict=True) if not is_real]
        assert set(padding) <= {ByteTokenizer.pad_id}
    return [
        [pair for pair in zip(*lane, strict=True) if pair[1] != IGNORE]
        for lane in zip(inputs, targets, strict=True)
    ]


def stream_of(batches: list[LaneBatch]) -> list[int]:
    """The stream that the lanes spell, which must follow on each other with one token in common."""
    pairs = list(chain.from_iterable(lanes_of(batches)))
    assert all(target == following for (_, target), (following, _) in pairwise(pairs))
    return [pairs[0][0], *(target for _, target in pairs)]


def same(some: list[LaneBatch], others: list[LaneBatch]) -> bool:
    return len(some) == len(others) and all(
        torch.equal(a.inputs, b.inputs)
        and torch.equal(a.targets, b.targets)
        and (a.rate_scale, a.first) == (b.rate_scale, b.first)
        for a, b in zip(some, others, strict=True)
    )


@settings(max_examples=50)
@given(lengths=LENGTHS, options=LANES, epoch=st.integers(0, 5))
def test_every_token_but_the_first_is_a_target_once(
    lengths: list[int], options: dict[str, Any], epoch: int
) -> None:
    store = numbered_store(lengths)
    assume(store.n_tokens > 1)
    lanes = LanguageModelLanes(store, **options)
    batches = list(lanes.epoch(epoch))
    assert len(batches) == lanes.n_batches(epoch)
    stream = stream_of(batches)
    assert lanes.n_targets == len(stream) - 1 == store.n_tokens - 1
    documents = documents_of(store, options["direction"])
    if options["shuffle"]:
        documents.sort(key=lambda ids: stream.index(ids[0]))
    assert stream == list(chain.from_iterable(documents))
    sizes = {len(lane) for lane in lanes_of(batches)}
    assert max(sizes) - min(sizes) <= 1
    assert [batch.first for batch in batches] == [True] + [False] * (len(batches) - 1)
    assert {batch.inputs.dtype for batch in batches} | {batch.targets.dtype for batch in batches} == {
        torch.int64
    }


@settings(max_examples=50)
@given(lengths=LENGTHS, options=LANES, world_size=st.integers(1, 4), data=st.data())
def test_the_ranks_have_the_rows_of_the_single_process(
    lengths: list[int], options: dict[str, Any], world_size: int, data: st.DataObject
) -> None:
    options["batch_size"] *= world_size
    store = numbered_store(lengths)
    whole = list(LanguageModelLanes(store, **options).epoch(1))
    ranks = [
        list(LanguageModelLanes(store, rank=rank, world_size=world_size, **options).epoch(1))
        for rank in range(world_size)
    ]
    together = [
        LaneBatch(
            torch.cat([part.inputs for part in parts]),
            torch.cat([part.targets for part in parts]),
            parts[0].rate_scale,
            parts[0].first,
        )
        for parts in zip(*ranks, strict=True)
    ]
    assert same(together, whole)


@settings(max_examples=50)
@given(lengths=LENGTHS, options=LANES, data=st.data())
def test_a_start_in_the_middle_gives_the_batches_that_skipping_gives(
    lengths: list[int], options: dict[str, Any], data: st.DataObject
) -> None:
    store = numbered_store(lengths)
    whole = list(LanguageModelLanes(store, **options).epoch(2))
    start = data.draw(st.integers(0, len(whole)))
    assert same(list(LanguageModelLanes(store, **options).epoch(2, start)), whole[start:])


@settings(max_examples=50)
@given(lengths=LENGTHS, options=LANES, data=st.data())
def test_a_part_of_the_documents_is_read_and_nothing_else(
    lengths: list[int], options: dict[str, Any], data: st.DataObject
) -> None:
    store = numbered_store(lengths)
    chosen = data.draw(st.lists(st.integers(0, len(lengths) - 1), unique=True))
    expected = [documents_of(store)[number] for number in chosen]
    lanes = LanguageModelLanes(store, documents=np.array(chosen, dtype=np.int64), **options)
    batches = list(lanes.epoch(0))
    assert lanes.n_targets == max(0, sum(map(len, expected)) - 1)
    if lanes.n_targets:
        assert sorted(stream_of(batches)) == sorted(chain.from_iterable(expected))
    else:
        assert batches == []


def test_an_evaluation_reads_the_documents_in_order_in_equal_steps() -> None:
    store = numbered_store([10, 0, 30])
    batches = list(LanguageModelLanes(store, batch_size=1, bptt=20, variable=False, shuffle=False).epoch(0))
    assert [batch.inputs.tolist()[0] for batch in batches] == [
        list(range(10, 30)),
        list(range(30, 50)),
        [50, 51],
    ]
    assert [batch.rate_scale for batch in batches] == [1.0, 1.0, 0.1]


def test_more_lanes_than_tokens() -> None:
    [batch] = LanguageModelLanes(numbered_store([2]), batch_size=5).epoch(0)
    assert batch.inputs.tolist() == [[1], [1], [1], [10], [11]]
    assert batch.targets.tolist() == [[IGNORE], [IGNORE], [IGNORE], [11], [12]]


def test_a_store_of_one_token_has_no_batch() -> None:
    lanes = LanguageModelLanes(numbered_store([0]), batch_size=5)
    assert (lanes.n_targets, lanes.n_batches(0), list(lanes.epoch(0))) == (0, 0, [])


def test_backward_documents_begin_with_their_first_token() -> None:
    [batch] = LanguageModelLanes(
        numbered_store([3, 0, 2]), batch_size=1, direction="backward", shuffle=False
    ).epoch(0)
    assert batch.inputs.tolist() == [[10, 13, 12, 11, 14, 15, 17]]
    assert batch.targets.tolist() == [[13, 12, 11, 14, 15, 17, 16]]


@pytest.mark.parametrize("options", [{"variable": False}, {"shuffle": False}], ids=["orders", "lengths"])
def test_epochs_and_seeds_differ(options: dict[str, Any]) -> None:
    store = numbered_store([60] * 40)
    runs = {
        (seed, epoch): list(LanguageModelLanes(store, batch_size=2, seed=seed, **options).epoch(epoch))
        for seed in (0, 1)
        for epoch in (0, 1)
    }
    for some in runs:
        for others in runs:
            assert same(runs[some], runs[others]) == (some == others)


def test_variable_lengths_have_the_published_distribution() -> None:
    """Merity et al. 2018, section 5: 70 with probability .95, else 35; normal with standard deviation 5."""
    store = numbered_store([60_000])
    lanes = LanguageModelLanes(store, batch_size=1)
    batches = [list(lanes.epoch(epoch))[:-1] for epoch in range(4)]  # the last one is the rest
    lengths = np.array([batch.inputs.shape[1] for batch in chain.from_iterable(batches)])
    scales = np.array([batch.rate_scale for batch in chain.from_iterable(batches)])
    assert np.allclose(scales, lengths / 70)
    short = lengths < 52
    assert 0.02 < short.mean() < 0.08
    assert abs(lengths[~short].mean() - 70) < 1 and abs(lengths[short].mean() - 35) < 2
    assert 4 < lengths[~short].std() < 6


@settings(max_examples=50)
@given(length=st.integers(1, 400), bptt=st.integers(1, 8), epoch=st.integers(0, 9))
def test_no_variable_length_is_tiny(length: int, bptt: int, epoch: int) -> None:
    lanes = LanguageModelLanes(numbered_store([length]), batch_size=1, bptt=bptt)
    shortest = min(5, bptt, length)
    assert min(batch.inputs.shape[1] for batch in lanes.epoch(epoch)) >= shortest


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"batch_size": 6, "world_size": 4}, "6 cannot be divided among 4 processes"),
        ({"batch_size": 0}, "at least 1"),
        ({"batch_size": 6, "bptt": 0}, "at least 1"),
    ],
)
def test_sizes_that_cannot_work_are_clear_errors(options: dict[str, int], match: str) -> None:
    with pytest.raises(UserError, match=match):
        LanguageModelLanes(numbered_store([3]), **options)


SEEDS = st.none() | st.integers(0, 2**32)


@given(lengths=st.lists(st.integers(0, 300), max_size=200), batch_size=st.integers(1, 40), seed=SEEDS)
def test_buckets_hold_every_example_once_and_none_alone(
    lengths: list[int], batch_size: int, seed: int | None
) -> None:
    batches = bucketed_batches(lengths, batch_size=batch_size, seed=seed)
    assert sorted(chain.from_iterable(batches)) == list(range(len(lengths)))
    assert batches == bucketed_batches(lengths, batch_size=batch_size, seed=seed)
    sizes = sorted(map(len, batches))
    if len(lengths) >= 2:
        assert sizes[0] >= 2
        assert sizes[-1] <= max(batch_size, 3)
        assert len(sizes) <= -(-len(lengths) // max(2, batch_size))


def test_buckets_without_a_seed_go_from_long_to_short() -> None:
    lengths = [3, 9, 1, 7, 7, 2]
    assert bucketed_batches(lengths, batch_size=2) == [[1, 3], [4, 0], [5, 2]]


def test_buckets_waste_little_and_differ_from_seed_to_seed() -> None:
    lengths = np.random.default_rng(0).lognormal(5, 0.7, size=2000).astype(int)
    epochs = [bucketed_batches(lengths.tolist(), batch_size=32, seed=seed) for seed in (0, 1)]
    for batches in epochs:
        padded = sum(len(batch) * lengths[batch].max() for batch in batches)
        assert padded < 1.25 * lengths.sum()  # 3.3 with batches at random
    assert not {frozenset(batch) for batch in epochs[0]} & {frozenset(batch) for batch in epochs[1]}
    heaviest = [int(np.argmax([lengths[batch].sum() for batch in batches])) for batches in epochs]
    assert heaviest[0] != heaviest[1]


@given(sequences=st.lists(st.lists(st.integers(0, 2**40), max_size=9), max_size=6), pad_id=st.integers(0, 9))
def test_padding_on_the_right(sequences: list[list[int]], pad_id: int) -> None:
    ids, lengths = pad_sequences(sequences, pad_id)
    assert ids.dtype == lengths.dtype == torch.int64
    assert ids.shape == (len(sequences), max(map(len, sequences), default=0))
    assert lengths.tolist() == [len(sequence) for sequence in sequences]
    for row, sequence in zip(ids.tolist(), sequences, strict=True):
        assert row == sequence + [pad_id] * (len(row) - len(sequence))
