"""Sixteen floats at once: every operation against NumPy, at any place of an array, whatever stands around."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unfreeze.compiled import lanes
from unfreeze.compiled.decorators import compiled


@compiled
def _copy(source: np.ndarray, row: int, column: int, n: int, target: np.ndarray) -> None:
    lanes.store_some(target, row, column, n, lanes.load_some(source, row, column, n))


@compiled
def _add_multiple(a: np.ndarray, b: np.ndarray, factor: np.float32) -> None:
    product = lanes.multiply_add(lanes.splat(factor), lanes.load(a, 1, 0), lanes.zeros())
    lanes.store(b, 2, 0, lanes.add(lanes.load(b, 2, 0), product))


@compiled
def _totals(rows: np.ndarray, result: np.ndarray, start: int, stride: int) -> None:
    a, b, c, d = (
        lanes.load(rows, 0, 0),
        lanes.load(rows, 1, 0),
        lanes.load(rows, 2, 0),
        lanes.load(rows, 3, 0),
    )
    e, f, g, h = (
        lanes.load(rows, 4, 0),
        lanes.load(rows, 5, 0),
        lanes.load(rows, 6, 0),
        lanes.load(rows, 7, 0),
    )
    tile = (a, b, c, d, e, f, g, h, h, g, f, e, d, c, b, a)
    lanes.prefetch(rows, 0, 0)
    lanes.store_totals(result, start, stride, tile)


@settings(deadline=None)
@given(row=st.integers(0, 2), column=st.integers(0, 20), n=st.integers(0, 16))
def test_some_lanes_leave_the_others_alone(row: int, column: int, n: int) -> None:
    source = np.random.default_rng(0).normal(size=(3, 36)).astype(np.float32)
    target = np.full((3, 36), 7, np.float32)
    _copy(source, row, column, n, target)
    expected = np.full((3, 36), 7, np.float32)
    expected[row, column : column + n] = source[row, column : column + n]
    assert np.array_equal(target, expected)


def test_the_end_of_an_array_is_not_passed() -> None:
    source, target = np.arange(5, dtype=np.float32).reshape(1, 5), np.zeros((1, 5), np.float32)
    _copy(source, 0, 2, 3, target)
    assert target.tolist() == [[0, 0, 2, 3, 4]]


def test_multiples_are_added() -> None:
    a, b = np.random.default_rng(1).normal(size=(2, 3, 16)).astype(np.float32)
    expected = b.copy()
    expected[2] += np.float32(0.3) * a[1]
    _add_multiple(a, b, np.float32(0.3))
    np.testing.assert_allclose(b, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("start", "stride"), [(0, 4), (3, 5), (1, 16)])
def test_totals_of_sixteen(start: int, stride: int) -> None:
    rows = np.random.default_rng(2).normal(size=(8, 16)).astype(np.float32)
    result = np.full(start + 3 * stride + 6, 9, np.float32)
    expected = result.astype(np.float64)
    sums = rows.astype(np.float64).sum(1)
    for number, total in enumerate([*sums, *sums[::-1]]):
        expected[start + stride * (number // 4) + number % 4] = total
    _totals(rows, result, start, stride)
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-5)
