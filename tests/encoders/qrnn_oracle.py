"""An oracle: a QRNN with fo-pooling in NumPy, float64, step by step, by the equations of Bradbury et al. 2017 (1, 3, 5).

    z_t, f_t, o_t = tanh, sigmoid, sigmoid of W [x_t; x_(t-1); ...; x_(t-K+1)] + b
    c_t = f_t c_(t-1) + (1 - f_t) z_t        h_t = o_t c_t

Backward is the chain rule by hand, from the last step to the first. With zoneout 1 - f_t is multiplied by a factor.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def _sigmoid(x: Array) -> Array:
    return 1.0 / (1.0 + np.exp(-x))


@dataclass
class QrnnOracle:
    """One layer over one sequence of rows.

    Args:
        weight: (3 H, K I).
        bias: (3 H,).
        factors: (T, B, H) on 1 - f; None is 1.
    """

    weight: Array
    bias: Array
    window: int
    factors: Array | None = None

    def forward(self, x: Array, earlier: Array, cell: Array) -> tuple[Array, Array]:
        """(T, B, I), (K - 1, B, I), (B, H) -> (T, B, H) and c after the last step."""
        self.read, self.steps = np.concatenate([earlier, x]), []
        states = []
        for t in range(len(x)):
            seen = np.concatenate(
                [self.read[self.window - 1 + t - back] for back in range(self.window)], axis=1
            )
            z, f, o = np.split(seen @ self.weight.T + self.bias, 3, axis=1)
            z, f, o = np.tanh(z), _sigmoid(f), _sigmoid(o)
            update = (1.0 - f) * (1.0 if self.factors is None else self.factors[t])
            before, cell = cell, (1.0 - update) * cell + update * z
            self.steps.append((seen, z, f, o, update, before, cell))
            states.append(o * cell)
        return np.array(states), cell

    def backward(self, d_states: Array, d_cell: Array) -> tuple[Array, Array, Array, Array]:
        """Gradients of (K - 1 + T, B, I) inputs, weight, bias and the first c, given those of what forward returned."""
        d_read, d_weight, d_bias = (
            np.zeros_like(self.read),
            np.zeros_like(self.weight),
            np.zeros_like(self.bias),
        )
        for t in reversed(range(len(self.steps))):
            seen, z, f, o, update, before, cell = self.steps[t]
            factor = 1.0 if self.factors is None else self.factors[t]
            d_o = d_states[t] * cell * o * (1.0 - o)
            d_cell = d_cell + d_states[t] * o
            d_z = d_cell * update * (1.0 - z * z)
            d_f = -d_cell * (z - before) * factor * f * (1.0 - f)
            d_cell = d_cell * (1.0 - update)
            d_gates = np.concatenate([d_z, d_f, d_o], axis=1)
            d_weight += d_gates.T @ seen
            d_bias += d_gates.sum(0)
            for back, part in enumerate(np.split(d_gates @ self.weight, self.window, axis=1)):
                d_read[self.window - 1 + t - back] += part
        return d_read, d_weight, d_bias, d_cell
