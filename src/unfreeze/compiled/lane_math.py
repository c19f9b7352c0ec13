"""exp, sigmoid and tanh of 16 floats at once, accurate to about one unit in the last place of a float32.

The polynomials are those of the Cephes library (S. L. Moshier, single precision).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from unfreeze.compiled import lanes
from unfreeze.compiled.decorators import inlined_in_order

_LOG2_E = np.float32(1.44269504088896341)
_SHIFT = np.float32(12582912.0)
"""1.5 * 2**23: adding it rounds a float32 to an integer."""
_LN2_HIGH, _LN2_LOW = np.float32(-0.693359375), np.float32(2.12194440e-4)
_LOWEST, _HIGHEST = np.float32(-87.0), np.float32(88.0)
_E0, _E1, _E2 = np.float32(1.9875691500e-4), np.float32(1.3981999507e-3), np.float32(8.3334519073e-3)
_E3, _E4, _E5 = np.float32(4.1665795894e-2), np.float32(1.6666665459e-1), np.float32(5.0000001201e-1)
_T0, _T1, _T2 = np.float32(-5.70498872745e-3), np.float32(2.06390887954e-2), np.float32(-5.37397155531e-2)
_T3, _T4 = np.float32(1.33314422036e-1), np.float32(-3.33332819422e-1)
_ONE, _TWO, _MINUS_ONE = np.float32(1.0), np.float32(2.0), np.float32(-1.0)
_SMALL = np.float32(0.625)
"""Below this tanh is computed by a polynomial, because 1 - 2 / (exp(2 x) + 1) would lose digits."""


@inlined_in_order
def exp_within(x: Any, low: Any, high: Any) -> Any:
    """e**x with x clamped to [low, high], which must lie within [-87, 88]."""
    x = lanes.clamp(x, lanes.splat(low), lanes.splat(high))
    shifted = lanes.fused(x, lanes.splat(_LOG2_E), lanes.splat(_SHIFT))
    n = lanes.subtract(shifted, lanes.splat(_SHIFT))
    # x = n ln 2 + rest, with ln 2 in two parts so that the difference is exact.
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
    """e**x with x clamped to [-87, 88]."""
    return exp_within(x, _LOWEST, _HIGHEST)


@inlined_in_order
def sigmoid(x: Any) -> Any:
    """1 / (1 + e**-x)."""
    one = lanes.splat(_ONE)
    return lanes.divide(one, lanes.add(one, exp(lanes.multiply(x, lanes.splat(_MINUS_ONE)))))


@inlined_in_order
def tanh(x: Any) -> Any:
    """Hyperbolic tangent."""
    one, two = lanes.splat(_ONE), lanes.splat(_TWO)
    large = lanes.subtract(one, lanes.divide(two, lanes.add(exp(lanes.multiply(x, two)), one)))
    square = lanes.multiply(x, x)
    sum_ = lanes.fused(lanes.splat(_T0), square, lanes.splat(_T1))
    sum_ = lanes.fused(sum_, square, lanes.splat(_T2))
    sum_ = lanes.fused(sum_, square, lanes.splat(_T3))
    sum_ = lanes.fused(sum_, square, lanes.splat(_T4))
    small = lanes.fused(lanes.multiply(sum_, square), x, x)
    return lanes.where_inside(x, lanes.splat(_SMALL), small, large)
