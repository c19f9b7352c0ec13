"""Exponential, sigmoid and tanh against float64, over all that float32 can hold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from unfreeze.compiled import lane_math, lanes
from unfreeze.compiled.decorators import compiled_in_order


@compiled_in_order
def _exp(x: Any, result: Any) -> None:
    for j in range(0, x.shape[1], 16):
        lanes.store(result, 0, j, lane_math.exp(lanes.load(x, 0, j)))


@compiled_in_order
def _sigmoid(x: Any, result: Any) -> None:
    for j in range(0, x.shape[1], 16):
        lanes.store(result, 0, j, lane_math.sigmoid(lanes.load(x, 0, j)))


@compiled_in_order
def _tanh(x: Any, result: Any) -> None:
    for j in range(0, x.shape[1], 16):
        lanes.store(result, 0, j, lane_math.tanh(lanes.load(x, 0, j)))


FUNCTIONS = {
    "exp": (_exp, np.exp),
    "sigmoid": (_sigmoid, lambda x: 1 / (1 + np.exp(-x))),
    "tanh": (_tanh, np.tanh),
}


@pytest.mark.parametrize("name", list(FUNCTIONS))
def test_to_the_last_digits(name: str) -> None:
    ours, exact = FUNCTIONS[name]
    sizes = np.geomspace(1e-30, 80, 4000)
    x = np.concatenate([-sizes, sizes, np.linspace(-30, 30, 8000)]).astype(np.float32)[None]
    result = np.zeros_like(x)
    ours(x, result)
    np.testing.assert_allclose(result, exact(x.astype(np.float64)), rtol=6e-7, atol=1e-38)


@pytest.mark.parametrize(
    ("name", "expected"), [("sigmoid", [0.0, 1.0, 0.0, 1.0]), ("tanh", [-1.0, 1.0, -1.0, 1.0])]
)
def test_beyond_all_bounds(name: str, expected: list[float]) -> None:
    x = np.zeros((1, 16), np.float32)
    x[0, :4] = [-1e30, 1e30, -np.inf, np.inf]
    result = np.zeros_like(x)
    FUNCTIONS[name][0](x, result)
    np.testing.assert_allclose(result[0, :4], expected, atol=1e-37)


def test_nan_stays() -> None:
    x = np.full((1, 16), np.nan, np.float32)
    result = np.zeros_like(x)
    for function, _ in FUNCTIONS.values():
        function(x, result)
        assert np.isnan(result).all()
