"""The QRNN layer against the papers' equations in NumPy, step by step, and what must not matter to it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.encoders.qrnn_oracle import QrnnOracle
from unfreeze.encoders.layers import qrnn as qrnn_module
from unfreeze.encoders.layers.qrnn import QrnnLayer
from unfreeze.errors import UserError


@dataclass
class Case:
    """A layer with its inputs, what follows from them, and the same by the oracle, in the same order."""

    found: list[Tensor]
    expected: list[np.ndarray]


NAMES = ("h", "c", "d_x", "d_earlier", "d_weight", "d_bias", "d_c")


def run_case(
    layer: QrnnLayer,
    steps: int,
    batch: int,
    dtype: torch.dtype = torch.float32,
    factors: Tensor | None = None,
) -> Case:
    """Forward and backward of random inputs and random gradients of both results."""
    layer = layer.to(torch.float64 if dtype == torch.float64 else torch.float32)
    weights = next(layer.parameters()).dtype
    x = torch.randn(steps, batch, layer.input_size, dtype=dtype, requires_grad=True)
    earlier = torch.randn(layer.window - 1, batch, layer.input_size, dtype=dtype, requires_grad=True)
    cell = torch.randn(1, batch, layer.hidden_size, dtype=weights, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        out, state = layer(x, (cell, earlier) if layer.window > 1 else (cell,))
    d_out, d_cell = torch.randn_like(out), torch.randn_like(state[0])
    torch.autograd.backward([out, state[0]], [d_out, d_cell])
    oracle = QrnnOracle(
        layer.weight.detach().double().numpy(),
        layer.bias.detach().double().numpy(),
        layer.window,
        None if factors is None else factors.double().numpy(),
    )
    expected = oracle.forward(*(t.detach().double().numpy() for t in (x, earlier, cell[0])))
    d_read, *others = oracle.backward(d_out.double().numpy(), d_cell[0].double().numpy())
    ahead = layer.window - 1
    assert x.grad is not None and layer.weight.grad is not None
    d_earlier = torch.zeros_like(earlier) if earlier.grad is None else earlier.grad
    found = [out, state[0][0], x.grad, d_earlier, layer.weight.grad, layer.bias.grad, cell.grad[0]]  # type: ignore[index]
    return Case([t.detach() for t in found], [*expected, d_read[ahead:], d_read[:ahead], *others])  # type: ignore[union-attr]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-5), (torch.float64, 1e-11)])
@settings(max_examples=25, deadline=None)
@given(
    steps=st.integers(1, 40),
    batch=st.integers(1, 5),
    sizes=st.tuples(st.integers(1, 9), st.sampled_from([1, 4, 15, 16, 17, 37])),
    window=st.integers(1, 3),
    seed=st.integers(0, 1000),
)
def test_equals_the_equations(
    dtype: torch.dtype,
    tolerance: float,
    steps: int,
    batch: int,
    sizes: tuple[int, int],
    window: int,
    seed: int,
) -> None:
    torch.manual_seed(seed)
    case = run_case(QrnnLayer(*sizes, 0.0, window=window), steps, batch, dtype)
    for name, found, expected in zip(NAMES, case.found, case.expected, strict=True):
        scale = max(1.0, float(np.abs(expected).max(initial=0.0)))
        np.testing.assert_allclose(found.numpy() / scale, expected / scale, atol=tolerance, err_msg=name)


@pytest.mark.parametrize(("window", "hidden_size"), [(1, 80), (2, 80), (1, 37), (3, 37)])
def test_bf16_is_near_the_equations(window: int, hidden_size: int) -> None:
    torch.manual_seed(0)
    case = run_case(QrnnLayer(96, hidden_size, 0.0, window=window), 30, 8, torch.bfloat16)
    for name, found, expected in zip(NAMES, case.found, case.expected, strict=True):
        error = np.linalg.norm(found.double().numpy() - expected) / max(1e-9, np.linalg.norm(expected))
        assert error < 0.01, f"{name}: {error}"


def test_a_long_memory_keeps_its_gradient_in_bf16() -> None:
    """A forget gate of .9995 is 1 in bfloat16; its argument is not."""
    layer = QrnnLayer(16, 16, 0.0)
    with torch.no_grad():
        layer.weight.zero_()
        layer.bias.zero_()
        layer.bias[16:32] = 7.6
    x = torch.randn(8, 2, 16)
    with torch.autocast("cpu", torch.bfloat16):
        out, _ = layer(x, (torch.ones(1, 2, 16),))
    out.float().sum().backward()
    oracle = QrnnOracle(layer.weight.detach().double().numpy(), layer.bias.detach().double().numpy(), 1)
    oracle.forward(x.double().numpy(), np.zeros((0, 2, 16)), np.ones((2, 16)))
    d_bias = oracle.backward(np.ones((8, 2, 16)), np.zeros((2, 16)))[2]
    assert layer.bias.grad is not None and np.all(d_bias[16:32] != 0)
    np.testing.assert_allclose(layer.bias.grad[16:32].numpy(), d_bias[16:32], rtol=0.02)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("training", [True, False])
def test_zoneout_scales_what_is_new(
    dtype: torch.dtype, training: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    layer = QrnnLayer(5, 20, 0.0, window=2, zoneout=0.3).train(training)
    steps, batch = 9, 3
    if training:
        factors = torch.empty(steps * batch, 20, dtype=dtype).bernoulli_(0.7)
        monkeypatch.setattr(layer, "_zoneout_factor", lambda x: factors)
        shaped = factors.view(steps, batch, 20)
    else:
        shaped = torch.full((steps, batch, 20), 0.7)
    case = run_case(layer, steps, batch, dtype, shaped)
    for name, found, expected in zip(NAMES, case.found, case.expected, strict=True):
        np.testing.assert_allclose(found.numpy(), expected, atol=2e-5, err_msg=name)


def test_zoneout_in_bf16_is_not_rounded_in_evaluation() -> None:
    """.9 is .8984 in bfloat16; over 200 steps the difference would show."""
    torch.manual_seed(0)
    layer, x = QrnnLayer(16, 32, 0.0, zoneout=0.1).eval(), torch.randn(200, 2, 16)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        factor = layer._zoneout_factor(x.bfloat16())
        found, _ = layer(x, None)
    assert torch.equal(factor, torch.full((1, 32), 0.9))
    with torch.no_grad():
        expected, _ = layer(x, None)
    torch.testing.assert_close(found.float(), expected, atol=0.02, rtol=0.0)


def test_any_strides_of_a_state_are_read() -> None:
    torch.manual_seed(0)
    layer, x = QrnnLayer(6, 32, 0.0, window=2), torch.randn(4, 3, 6)
    cell, earlier = torch.randn(1, 3, 32), torch.randn(1, 3, 6)
    expected = layer(x, (cell, earlier))[0]
    strided = [torch.stack([tensor, tensor], dim=-1)[..., 0] for tensor in (cell, earlier)]
    for grad in (True, False):
        with torch.set_grad_enabled(grad):
            assert torch.equal(layer(x, tuple(strided))[0], expected)


def test_an_empty_batch_has_no_states() -> None:
    layer = QrnnLayer(6, 32, 0.0, window=2)
    for grad in (True, False):
        with torch.set_grad_enabled(grad):
            assert layer(torch.zeros(4, 0, 6), None)[0].shape == (4, 0, 32)


def test_zoneout_is_drawn_in_training() -> None:
    torch.manual_seed(0)
    layer = QrnnLayer(5, 16, 0.0, zoneout=0.3).train()
    update = layer._zoneout_factor(torch.zeros(200, 4, 5))
    assert set(update.unique().tolist()) == {0.0, 1.0}
    assert abs(float(update.mean()) - 0.7) < 0.02


@settings(max_examples=20, deadline=None)
@given(cut=st.integers(1, 11), window=st.integers(1, 4), seed=st.integers(0, 100), grad=st.booleans())
def test_pieces_with_carried_state_equal_the_whole(cut: int, window: int, seed: int, grad: bool) -> None:
    torch.manual_seed(seed)
    layer, x = QrnnLayer(6, 19, 0.0, window=window), torch.randn(12, 3, 6)
    with torch.set_grad_enabled(grad):
        whole, after = layer(x, None)
        first, state = layer(x[:cut], None)
        second, end = layer(x[cut:], state)
    torch.testing.assert_close(torch.cat([first, second]), whole, atol=1e-6, rtol=1e-5)
    for got, wanted in zip(end, after, strict=True):
        torch.testing.assert_close(got, wanted, atol=1e-6, rtol=1e-5)


def test_rows_do_not_know_of_each_other_and_later_steps_not_of_earlier_ones() -> None:
    torch.manual_seed(0)
    layer, x = QrnnLayer(6, 18, 0.0, window=2), torch.randn(10, 4, 6)
    out = layer(x, None)[0]
    alone = torch.cat([layer(x[:, row : row + 1], None)[0] for row in range(4)], dim=1)
    torch.testing.assert_close(alone, out, atol=1e-6, rtol=1e-5)
    changed = x.clone()
    changed[6:] += 1.0
    assert torch.equal(layer(changed, None)[0][:6], out[:6])


def test_any_number_of_threads_gives_the_same() -> None:
    def run() -> list[Tensor]:
        torch.manual_seed(0)
        case = run_case(QrnnLayer(8, 32, 0.0, window=2), 7, 5)
        return case.found

    threads = torch.get_num_threads()
    results = []
    try:
        for number in (1, 2, 3):
            torch.set_num_threads(number)
            results.append(run())
    finally:
        torch.set_num_threads(threads)
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-5)


def test_scan_and_kernel_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    """The path of other devices, in float32, beside the compiled one."""

    def run() -> Case:
        torch.manual_seed(0)
        return run_case(QrnnLayer(8, 20, 0.0, window=2), 75, 3)

    compiled = run()
    monkeypatch.setattr(qrnn_module, "KERNEL_FORMATS", ())
    for name, a, b in zip(NAMES, compiled.found, run().found, strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("window", [1, 2])
def test_gpu_equals_cpu(window: int) -> None:
    torch.manual_seed(0)
    layer, x = QrnnLayer(32, 48, 0.0, window=window), torch.randn(100, 4, 32)
    expected, _ = layer(x, None)
    expected.sum().backward()
    assert layer.weight.grad is not None
    wanted = layer.weight.grad.clone()
    layer.zero_grad()
    layer.cuda()
    found, _ = layer(x.cuda(), None)
    found.sum().backward()
    torch.testing.assert_close(found.cpu(), expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(layer.weight.grad.cpu(), wanted, atol=1e-3, rtol=1e-3)


def test_weight_dropout_acts_in_training_only() -> None:
    torch.manual_seed(0)
    layer, x = QrnnLayer(16, 16, 0.5), torch.randn(6, 2, 16)
    assert not torch.equal(layer.train()(x, None)[0], layer(x, None)[0])
    assert torch.equal(layer.eval()(x, None)[0], layer(x, None)[0])
    with torch.no_grad():  # in the format of the products, whose weights are kept between calls
        before = layer(x, None)[0]
        layer.weight.mul_(2.0)
        assert not torch.equal(layer(x, None)[0], before)


def test_gradients_are_taken_once() -> None:
    layer, x = QrnnLayer(16, 16, 0.0), torch.randn(3, 2, 16)
    out = layer(x, None)[0].sum()
    out.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="run forward again"):
        out.backward()


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(UserError, match="window must be at least 1, got 0"):
        QrnnLayer(4, 4, 0.0, window=0)
    with pytest.raises(UserError, match="zoneout must be .* got 1"):
        QrnnLayer(4, 4, 0.0, zoneout=1.0)
