"""The LSTM with projection against torch's own in float64, and against its equations written out, clips and all."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from unfreeze.encoders.layers.projected_lstm import Clips, ProjectedLstm, run_layers

TOLERANCES = {torch.float64: (1e-9, 1e-10), torch.float32: (2e-4, 2e-5)}


def by_equations(
    x: Tensor, layer: ProjectedLstm, h: Tensor, c: Tensor, active: list[int], clips: Clips
) -> tuple[Tensor, Tensor, Tensor]:
    """Step by step and row by row, for autograd."""
    outputs = []
    w = layer.weights()
    for t, n in enumerate(active):
        z = x[t] @ w.input.t() + h @ w.state.t() + w.bias
        i, f, g, o = z.chunk(4, dim=1)
        new_c = (f.sigmoid() * c + i.sigmoid() * g.tanh()).clamp(-clips.cell, clips.cell)
        new_h = ((o.sigmoid() * new_c.tanh()) @ w.projection.t()).clamp(-clips.projection, clips.projection)
        alive = (torch.arange(len(h)) < n)[:, None]
        h, c = torch.where(alive, new_h, h), torch.where(alive, new_c, c)
        outputs.append(new_h * alive)
    return torch.stack(outputs), h, c


def make_layer(inputs: int, cells: int, size: int, dtype: torch.dtype, seed: int = 0) -> ProjectedLstm:
    torch.manual_seed(seed)
    layer = ProjectedLstm(inputs, cells, size)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.4)
    return layer.to(dtype)


@settings(max_examples=25)
@given(
    lengths=st.lists(st.integers(0, 6), min_size=1, max_size=5),
    dtype=st.sampled_from([torch.float64, torch.float32]),
    cells=st.sampled_from([16, 32, 5]),
    cell=st.sampled_from([0.3, 3.0, torch.inf]),
    projection=st.sampled_from([0.4, torch.inf]),
    seed=st.integers(0, 9),
)
def test_forward_and_gradients_are_the_equations(
    lengths: list[int], dtype: torch.dtype, cells: int, cell: float, projection: float, seed: int
) -> None:
    lengths = sorted(lengths, reverse=True)
    active = [sum(length > t for length in lengths) for t in range(lengths[0])]
    if not active:
        return
    clips, batch = Clips(cell, projection), len(lengths)
    torch.manual_seed(seed)
    layers = [make_layer(3, cells, 4, dtype, seed + k) for k in range(2)]
    states = [
        (torch.randn(batch, 4, dtype=dtype) * 0.3, torch.randn(batch, cells, dtype=dtype) * 0.2)
        for _ in layers
    ]
    inputs = [torch.randn(len(active), batch, 3, dtype=dtype) for _ in layers]
    weights = [torch.randn(len(active), batch, 4, dtype=dtype) for _ in layers]

    mine = [x.clone().requires_grad_() for x in inputs]
    outputs, ends = run_layers(mine, layers, states, active, clips)
    torch.stack([(y * w).sum() for y, w in zip(outputs, weights, strict=True)]).sum().backward()
    gradients = [p.grad.clone() for layer in layers for p in layer.parameters() if p.grad is not None]
    for layer in layers:
        layer.zero_grad()

    rtol, atol = TOLERANCES[dtype]
    exact = [layer.double() for layer in layers]
    for parameter in (p for layer in exact for p in layer.parameters()):
        parameter.grad = None
    theirs = [x.double().requires_grad_() for x in inputs]
    total = torch.zeros((), dtype=torch.float64)
    for k in range(2):
        h, c = (part.double() for part in states[k])
        output, end_h, end_c = by_equations(theirs[k], exact[k], h, c, active, clips)
        total = total + (output * weights[k].double()).sum()
        torch.testing.assert_close(outputs[k].double(), output, rtol=rtol, atol=atol)
        torch.testing.assert_close(ends[k][0].double(), end_h, rtol=rtol, atol=atol)
        torch.testing.assert_close(ends[k][1].double(), end_c, rtol=rtol, atol=atol)
    total.backward()
    expected = [p.grad for layer in exact for p in layer.parameters()]
    for found, wanted in zip(gradients, expected, strict=True):
        assert wanted is not None
        torch.testing.assert_close(found.double(), wanted, rtol=rtol * 10, atol=atol * 10)
    for x, y in zip(mine, theirs, strict=True):
        assert x.grad is not None and y.grad is not None
        torch.testing.assert_close(x.grad.double(), y.grad, rtol=rtol * 10, atol=atol * 10)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_without_clips_it_is_torchs(dtype: torch.dtype) -> None:
    layer = make_layer(6, 32, 8, dtype)
    theirs = torch.nn.LSTM(6, 32, proj_size=8).to(dtype)
    with torch.no_grad():
        theirs.weight_ih_l0.copy_(layer.weight_input)
        theirs.weight_hh_l0.copy_(layer.weight_state)
        theirs.bias_ih_l0.copy_(layer.bias)
        theirs.bias_hh_l0.zero_()
        theirs.weight_hr_l0.copy_(layer.projection)
    x = torch.randn(7, 3, 6, dtype=dtype)
    mine, other = x.clone().requires_grad_(), x.clone().requires_grad_()
    (output,), ((h, c),) = run_layers([mine], [layer], [None], [3] * 7, Clips())
    expected, (end_h, end_c) = theirs(other)
    rtol, atol = TOLERANCES[dtype]
    for found, wanted in ((output, expected), (h, end_h[0]), (c, end_c[0])):
        torch.testing.assert_close(found, wanted, rtol=rtol, atol=atol)
    output.square().sum().backward()
    expected.square().sum().backward()
    pairs = [
        (mine.grad, other.grad),
        (layer.weight_input.grad, theirs.weight_ih_l0.grad),
        (layer.weight_state.grad, theirs.weight_hh_l0.grad),
        (layer.bias.grad, theirs.bias_ih_l0.grad),
        (layer.projection.grad, theirs.weight_hr_l0.grad),
    ]
    for found, wanted in pairs:
        assert found is not None and wanted is not None
        torch.testing.assert_close(found, wanted, rtol=rtol * 10, atol=atol * 10)


def test_bfloat16_stays_near_float32() -> None:
    layer = make_layer(16, 64, 16, torch.float32)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.mul_(0.5)
    x = torch.randn(12, 4, 16)
    gradients = []
    for enabled in (False, True):
        layer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            (output,), _ = run_layers([x], [layer], [None], [4] * 12, Clips(3.0, 3.0))
        output.float().square().sum().backward()
        gradients.append(
            [output.detach().float()] + [p.grad.clone() for p in layer.parameters() if p.grad is not None]
        )
    for exact, rough in zip(*gradients, strict=True):
        assert (rough - exact).norm() / exact.norm() < 0.02


@torch.no_grad()
def test_a_text_in_pieces_is_the_text() -> None:
    layer = make_layer(3, 16, 4, torch.float32)
    x = torch.randn(9, 2, 3)
    (whole,), (end,) = run_layers([x], [layer], [None], [2] * 9, Clips(3.0, 3.0))
    (first,), (state,) = run_layers([x[:4]], [layer], [None], [2] * 4, Clips(3.0, 3.0))
    (second,), (last,) = run_layers([x[4:]], [layer], [state], [2] * 5, Clips(3.0, 3.0))
    torch.testing.assert_close(torch.cat([first, second]), whole)
    for found, wanted in zip(last, end, strict=True):
        torch.testing.assert_close(found, wanted)
