"""The mix of layers against its equation in NumPy, and what must not matter to it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unfreeze.encoders.layers.layer_mix import LayerMix
from unfreeze.errors import UserError


@given(n_layers=st.integers(1, 4), seed=st.integers(0, 99), layer_norm=st.booleans())
def test_the_equation(n_layers: int, seed: int, layer_norm: bool) -> None:
    torch.manual_seed(seed)
    mix = LayerMix([6] * n_layers, layer_norm=layer_norm)
    with torch.no_grad():
        mix.weights.normal_()
        mix.gamma.fill_(1.7)
    layers = [torch.randn(2, 3, 6) for _ in range(n_layers)]
    w = np.exp(mix.weights.detach().double().numpy())
    arrays = [layer.double().numpy() for layer in layers]
    if layer_norm:
        arrays = [(x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5) for x in arrays]
    expected = 1.7 * sum(share * x for share, x in zip(w / w.sum(), arrays, strict=True))
    np.testing.assert_allclose(mix(layers).detach().numpy(), expected, rtol=1e-4, atol=1e-5)


def test_it_starts_as_the_mean_and_a_vector_is_its_own() -> None:
    mix = LayerMix([4, 4], layer_norm=True)
    layers = [torch.randn(3, 5, 4) for _ in range(2)]
    assert mix.shares.tolist() == [0.5, 0.5]
    torch.testing.assert_close(mix([x[1:2, 2:] for x in layers]), mix(layers)[1:2, 2:])


def test_unequal_widths_are_projected() -> None:
    mix = LayerMix([4, 7])
    assert mix([torch.randn(1, 2, 4), torch.randn(1, 2, 7)]).shape == (1, 2, 7)


def test_the_penalty_is_the_square_of_the_weights() -> None:
    mix = LayerMix([2, 2])
    with torch.no_grad():
        mix.weights.copy_(torch.tensor([3.0, -4.0]))
    assert mix.penalty(0.1).item() == pytest.approx(2.5)


def test_layers_must_be_as_many_as_weights() -> None:
    with pytest.raises(UserError, match="2 layers was given 1"):
        LayerMix([2, 2])([torch.zeros(1, 1, 2)])
