"""Exponential, sigmoid and hyperbolic tangent of 16 floats at once, to about the last digit of a float32.

The coefficients are those of the Cephes library (S. L. Moshier, single precision).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from unfreeze.compiled import lanes
from unfreeze.compiled.decorators import inlined_in_order

_LOG2_E = np.float32(1.44269504088896341)
_SHIFT = np.float32(12582912.0)
"""1.5 * 2**23: a float32 that this is added to has no digits behind the point."""
_LN2_HIGH, _LN2_LOW = np.float32(-0.693359375), np.float32(2.12194440e-4)
_LOWEST, _HIGHEST = np.float32(-87.0), np.float32(88.0)
_E0, _E1, _E2 = np.float32(1.9875691500e-4), np.float32(1.3981999507e-3), np.float32(8.3334519073e-3)
_E3, _E4, _E5 = np.float32(4.1665795894e-2), np.float32(1.6666665459e-1), np.float32(5.0000001201e-1)
_T0, _T1, _T2 = np.float32(-5.70498872745e-3), np.float32(2.06390887954e-2), np.float32(-5.37397155531e-2)
_T3, _T4 = np.float32(1.33314422036e-1), np.float32(-3.33332819422e-1)
_ONE, _TWO, _MINUS_ONE = np.float32(1.0), np.float32(2.0), np.float32(-1.0)
_SMALL = np.float32(0.625)
"""Below this tanh is a polynomial: 1 - 2 / (exp(2 x) + 1) would lose digits."""


@inlined_in_order
def exp_within(x: Any, low: Any, high: Any) -> Any:
    """e**x; from `low` to `high`, beyond which it stays where it is. The bounds are at least -87 and at most 88."""
    x = lanes.within(x, lanes.splat(low), lanes.splat(high))
    shifted = lanes.fused(x, lanes.splat(_LOG2_E), lanes.splat(_SHIFT))
    n = lanes.subtract(shifted, lanes.splat(_SHIFT))
    rest = lanes.fused(n, lanes.splat(_LN2_HIGH), x)
    rest = lanes.fused(n, lanes.splat(_LN2_LOW), rest)
    sum_ = lanes.fused(lanes.splat(_E0), rest, lanes.splat(_E1))
    sum_ = lanes.fused(sum_, rest, lanes.splat(_E2))
    sum_ = lanes.fused(sum_, rest, lanes.splat(_E3))
    sum_ = lanes.fused(sum_, rest, lanes.splat(_E4))
    sum_ = lanes.fused(sum_, rest, lanes.splat(_E5))
    square = lanes.multiply(rest, rest)
    sum_ = lanes.fused(sum_, square, lanes.add(rest, lanes.splat(_ONE)))
    return lanes.multiply(sum_, lanes.power_of_two(shifted))


@inlined_in_order
def exp(x: Any) -> Any:
    """e**x; from -87 to 88, beyond which it stays where it is."""
    return exp_within(x, _LOWEST, _HIGHEST)


@inlined_in_order
def sigmoid(x: Any) -> Any:
    """1 / (1 + e**-x)."""
    one = lanes.splat(_ONE)
    return lanes.divide(one, lanes.add(one, exp(lanes.multiply(x, lanes.splat(_MINUS_ONE)))))


@inlined_in_order
def tanh(x: Any) -> Any:
    """The hyperbolic tangent."""
    one, two = lanes.splat(_ONE), lanes.splat(_TWO)
    large = lanes.subtract(one, lanes.divide(two, lanes.add(exp(lanes.multiply(x, two)), one)))
    square = lanes.multiply(x, x)
    sum_ = lanes.fused(lanes.splat(_T0), square, lanes.splat(_T1))
    sum_ = lanes.fused(sum_, square, lanes.splat(_T2))
    sum_ = lanes.fused(sum_, square, lanes.splat(_T3))
    sum_ = lanes.fused(sum_, square, lanes.splat(_T4))
    small = lanes.fused(lanes.multiply(sum_, square), x, x)
    return lanes.where_inside(x, lanes.splat(_SMALL), small, large)
