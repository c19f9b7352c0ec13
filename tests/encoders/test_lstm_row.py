"""A single row where nothing learns: the compiled loop against the equations, and what is kept of weights that change."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from unfreeze.encoders.elmo import Elmo
from unfreeze.encoders.layers.projected_lstm import Clips, ProjectedLstm, run_layers
from unfreeze.encoders.layers.weight_cache import CachedLinear, WeightCache
from unfreeze.text.cased_words import CASED_SPECIAL_TOKENS, CasedTokenizer


def by_equations(layer: ProjectedLstm, x: np.ndarray, h: np.ndarray, c: np.ndarray, clips: Clips) -> tuple:
    """float64, a step at a time."""
    w = [weight.detach().double().numpy() for weight in layer.weights()]
    outputs = []
    for row in x:
        i, f, g, o = np.split(w[0] @ row + w[1] + w[2] @ h, 4)
        i, f, o = (1 / (1 + np.exp(-z)) for z in (i, f, o))
        c = np.clip(f * c + i * np.tanh(g), -clips.cell, clips.cell)
        h = np.clip(w[3] @ (o * np.tanh(c)), -clips.projection, clips.projection)
        outputs.append(h)
    return np.stack(outputs), h, c


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 0.03)])
@pytest.mark.parametrize("clips", [Clips(0.4, 0.3), Clips()])
@pytest.mark.parametrize(("size", "cells"), [(64, 16), (128, 48)])
def test_one_row_is_the_equations(
    dtype: torch.dtype, tolerance: float, clips: Clips, size: int, cells: int
) -> None:
    torch.manual_seed(0)
    layer = ProjectedLstm(24, cells, size)
    x, h, c = torch.randn(9, 1, 24), torch.randn(1, size) * 0.2, torch.randn(1, cells) * 0.3
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        (output,), ((end_h, end_c),) = run_layers([x], [layer], [(h, c)], [1] * 9, clips)
    expected = by_equations(layer, *(part.double().numpy() for part in (x[:, 0], h[0], c[0])), clips)
    for found, wanted in zip((output[:, 0], end_h[0], end_c[0]), expected, strict=True):
        np.testing.assert_allclose(found.float().numpy(), wanted, atol=tolerance)


@torch.no_grad()
def test_a_sentence_alone_is_the_sentence_in_a_batch() -> None:
    torch.manual_seed(0)
    spelling = {"embedding": 4, "filters": [[1, 8], [2, 8]], "n_highway": 1}
    elmo = Elmo(CasedTokenizer(list(CASED_SPECIAL_TOKENS)), size=64, cells=32, spelling=spelling).eval()
    sentences = ["he sat on the bank", "of the river and watched the currents for an hour"]
    together, _ = elmo.word_layers(elmo.prepare(sentences))
    for row, sentence in enumerate(sentences):
        alone, _ = elmo.word_layers(elmo.prepare([sentence]))
        for a, b in zip(alone, together, strict=True):
            torch.testing.assert_close(a[0], b[row, : a.shape[1]], rtol=1e-5, atol=1e-6)


@torch.no_grad()
@pytest.mark.parametrize("change", ["update", "load", "double"])
def test_what_is_kept_follows_the_weights(change: str) -> None:
    layer = ProjectedLstm(8, 16, 64)
    x = torch.randn(5, 1, 8)

    def run(of: ProjectedLstm) -> torch.Tensor:
        return run_layers([x.to(of.bias.dtype)], [of], [None], [1] * 5, Clips())[0][0].float()

    before = run(layer)
    if change == "update":
        for parameter in layer.parameters():
            parameter.mul_(2.0)
    elif change == "load":
        layer.load_state_dict({name: tensor * 2 for name, tensor in layer.state_dict().items()})
    else:
        layer = layer.double()
        torch.testing.assert_close(run(layer), before, rtol=1e-4, atol=1e-5)
        return
    assert not torch.allclose(run(layer), before)
    fresh = ProjectedLstm(8, 16, 64)
    fresh.load_state_dict(layer.state_dict())
    torch.testing.assert_close(run(layer), run(fresh))


@pytest.mark.parametrize("fused", [True, False])
def test_an_optimizers_step_is_seen(fused: bool) -> None:
    linear = CachedLinear(4, 3)
    x = torch.randn(2, 4)
    optimizer = torch.optim.AdamW(linear.parameters(), lr=0.5, fused=fused)

    def rounded() -> torch.Tensor:
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            return linear(x)

    before = rounded()
    linear(x).sum().backward()
    optimizer.step()
    after = rounded()
    assert not torch.allclose(before, after)
    torch.testing.assert_close(after.float(), linear(x).detach(), rtol=0.02, atol=0.02)


def test_a_layer_made_in_inference_mode_gives_the_same() -> None:
    outputs = []
    for mode in (torch.inference_mode(), torch.no_grad()):
        torch.manual_seed(0)
        with mode:
            layer = ProjectedLstm(8, 16, 64)
            (output,), _ = run_layers([torch.randn(3, 1, 8)], [layer], [None], [1] * 3, Clips())
        outputs.append(output)
    assert output.any() and torch.equal(*outputs)


def test_a_copy_keeps_nothing() -> None:
    cached, calls = WeightCache(), []
    weight = torch.zeros(2)
    for _ in range(2):
        cached.get("sum", [weight], lambda: calls.append(1))
    copy.deepcopy(cached).get("sum", [weight], lambda: calls.append(2))
    assert calls == [1, 2]
