"""Co-occurrence counts against plain Python, and what may not change them: memory, threads, blocks."""

from __future__ import annotations

import errno
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pretraining.numbered_texts import BOS, make_store
from unfreeze.errors import UserError
from unfreeze.pretraining.glove import cooccurrence
from unfreeze.pretraining.glove.cooccurrence import Cooccurrences, count_cooccurrences
from unfreeze.pretraining.glove.cooccurrence_kernel import Pairs, decode, merge, sort_table

SIZE = 9
"""Ids of the corpora below: BOS and 1 to 8."""
LITTLE = 1e-6
"""Megabytes: a table takes a few words only, and each part is merged by itself."""


def kept(*left_out: int) -> np.ndarray:
    keep = np.ones(SIZE, np.bool_)
    keep[[BOS, *left_out]] = False
    return keep


def brute_force(documents: list[list[int]], keep: np.ndarray, window: int, symmetric: bool) -> np.ndarray:
    """(V, V) in float64, as the paper tells it."""
    matrix = np.zeros((len(keep), len(keep)))
    for document in documents:
        words = [word for word in document if word < len(keep) and keep[word]]
        for i, word in enumerate(words):
            for j in range(max(0, i - window), i):
                matrix[word, words[j]] += 1 / (i - j)
                if symmetric:
                    matrix[words[j], word] += 1 / (i - j)
    return matrix


def dense(pairs: Cooccurrences, size: int) -> np.ndarray:
    """(V, V), both directions of symmetric pairs; no entry may stand there twice."""
    rows, columns, values = pairs.read(0, pairs.n_pairs)
    entries = list(zip(rows.tolist(), columns.tolist(), values.tolist(), strict=True))
    if pairs.symmetric:
        assert (rows <= columns).all()
        entries += [(column, row, value) for row, column, value in entries if row != column]
    assert len(entries) == len({entry[:2] for entry in entries}) == pairs.n_entries
    matrix = np.zeros((size, size))
    for row, column, value in entries:
        matrix[row, column] = value
    return matrix


def file_bytes(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


corpora = st.lists(st.lists(st.integers(1, SIZE - 1), max_size=30), min_size=1, max_size=5)


@settings(max_examples=25)
@given(documents=corpora, window=st.integers(1, 12), symmetric=st.booleans(), block=st.integers(1, 40))
def test_counts_are_those_of_brute_force_whatever_the_memory(
    documents: list[list[int]], window: int, symmetric: bool, block: int
) -> None:
    keep = kept(3)
    expected = brute_force(documents, keep, window, symmetric)
    with TemporaryDirectory() as name, patch.object(cooccurrence, "BLOCK_TOKENS", block):
        folder = Path(name)
        store = make_store(folder, documents, SIZE)

        def count(memory_mb: float, workers: int) -> Cooccurrences:
            return count_cooccurrences(
                store,
                folder / f"{memory_mb}-{workers}",
                keep=keep,
                window=window,
                symmetric=symmetric,
                memory_mb=memory_mb,
                workers=workers,
            )

        if not expected.any():
            with pytest.raises(UserError, match="no two words"):
                count(1, 1)
            return
        results = [count(64, 1), count(LITTLE, 1), count(LITTLE, 3)]
        np.testing.assert_allclose(dense(results[0], SIZE), expected, rtol=3e-7)
        assert file_bytes(results[0].folder) == file_bytes(results[1].folder) == file_bytes(results[2].folder)


def test_many_runs_of_a_larger_corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[int] = []
    add = cooccurrence._Runs.add

    def recording_add(self: Any, pairs: Pairs) -> None:
        runs.append(len(pairs))
        assert (np.diff(pairs[:, 0].astype(object)) > 0).all()
        add(self, pairs)

    monkeypatch.setattr(cooccurrence._Runs, "add", recording_add)
    rng = np.random.default_rng(0)
    documents = [(rng.zipf(1.3, n) % 300 + 1).tolist() for n in (4000, 3000, 1, 2000)]
    store, keep = make_store(tmp_path, documents, 301), np.arange(301) > 0
    pairs = count_cooccurrences(store, tmp_path / "pairs", keep=keep, memory_mb=0.03, workers=2)
    assert len(runs) > 20 and max(runs) > 300
    matrix = dense(pairs, 301)
    assert (matrix == matrix.T).all()
    np.testing.assert_allclose(matrix, brute_force(documents, keep, 10, True), rtol=2e-7)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pairs", "store"]


def test_pairs_stand_in_a_scattered_order(tmp_path: Path) -> None:
    documents = [np.random.default_rng(0).integers(1, 200, 5000).tolist()]
    store = make_store(tmp_path, documents, 200)
    pairs = count_cooccurrences(store, tmp_path / "pairs", keep=np.arange(200) > 0)
    rows, columns, values = pairs.read(0, pairs.n_pairs)
    place = np.arange(len(rows))
    for numbers in (rows, columns, values):
        assert abs(np.corrcoef(place, numbers)[0, 1]) < 0.05
        assert abs(np.corrcoef(numbers[1:], numbers[:-1])[0, 1]) < 0.05


def test_blocks_are_slices_of_the_arrays(tmp_path: Path) -> None:
    store = make_store(tmp_path, [[1, 2, 3, 4, 5, 6, 7, 8]], SIZE)
    pairs = count_cooccurrences(store, tmp_path / "pairs", keep=kept(), window=3)
    for block, whole in zip(pairs.read(4, 9), pairs.read(0, pairs.n_pairs), strict=True):
        assert np.array_equal(block, whole[4:9]) and block.dtype == whole.dtype


def test_words_left_out_might_as_well_not_be_there(tmp_path: Path) -> None:
    """Neither ids that are skipped nor those beyond the vocabulary: they take no distance either."""
    rng = np.random.default_rng(1)
    words = rng.integers(1, 6, 200).tolist()
    noisy = [token for word in words for token in [*rng.choice([6, 7, 8], rng.integers(3)).tolist(), word]]
    results = []
    for name, document, size in (("plain", words, SIZE), ("noisy", noisy, 8)):
        store = make_store(tmp_path / name, [document], SIZE)
        pairs = count_cooccurrences(store, tmp_path / name / "pairs", keep=kept(6, 7)[:size], window=4)
        results.append(file_bytes(pairs.folder))
        rows, columns, _ = pairs.read(0, pairs.n_pairs)
        assert set(rows.tolist()) | set(columns.tolist()) == {1, 2, 3, 4, 5}
    assert results[0] == results[1]


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Any, pairs: Pairs) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    store = make_store(tmp_path, [[1, 2, 3]], SIZE)
    monkeypatch.setattr(cooccurrence._Runs, "add", full)
    with pytest.raises(UserError, match="cannot write .*pairs: No space left on device"):
        count_cooccurrences(store, tmp_path / "pairs", keep=kept())
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


@given(st.lists(st.integers(1, 40)), st.lists(st.integers(1, 40)))
def test_merging_adds_weights(left: list[int], right: list[int]) -> None:
    def pairs(keys: list[int]) -> Pairs:
        table = np.zeros((64, 2), np.uint64)
        for key in keys:
            table[key] += np.array([0 if table[key, 0] else key, 1], np.uint64)
        return table[: sort_table(table)]

    keys, weights = np.unique(np.array(left + right, np.uint64), return_counts=True)
    merged = merge(pairs(left), pairs(right))
    assert np.array_equal(merged, np.stack([keys, weights.astype(np.uint64)], axis=1))
    assert len(decode(merged)[0]) == len(keys)
