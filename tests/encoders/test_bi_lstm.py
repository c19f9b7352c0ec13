"""The biLSTM against torch.nn.LSTM on packed sequences, forward and backward."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from unfreeze.encoders.layers.bi_lstm import PackedBiLstm, Packing


def published(lstm: PackedBiLstm, x: Tensor, lengths: Tensor) -> Tensor:
    """The states (B, T, width) by torch's own LSTM."""
    packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    return pad_packed_sequence(nn.LSTM.forward(lstm, packed)[0], batch_first=True, total_length=x.shape[1])[0]


def ours(lstm: PackedBiLstm, x: Tensor, lengths: Tensor) -> Tensor:
    packing = Packing(lengths)
    return packing.unpack(lstm(packing.pack(x), packing), x.shape[1])


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize(
    ("size", "dtype", "bound"),
    [
        (32, torch.float32, 1e-5),
        (20, torch.float32, 1e-5),
        (20, torch.float64, 1e-12),
    ],  # 20 is padded to 32 in float32
)
def test_states_and_gradients_are_those_of_torch(
    size: int, dtype: torch.dtype, bound: float, bidirectional: bool
) -> None:
    torch.manual_seed(0)
    lstm = PackedBiLstm(24, size, bidirectional=bidirectional).to(dtype)
    lengths = torch.tensor([6, 2, 9, 1, 9, 3])
    x = torch.randn(6, 9, 24, dtype=dtype)
    found, wanted = ([x.clone().requires_grad_()] for _ in range(2))
    states, expected = ours(lstm, found[0], lengths), published(lstm, wanted[0], lengths)
    torch.testing.assert_close(states, expected, atol=bound, rtol=bound)
    weights = torch.randn_like(states)
    gradients = torch.autograd.grad((states * weights).sum(), [*found, *lstm.parameters()])
    others = torch.autograd.grad((expected * weights).sum(), [*wanted, *lstm.parameters()])
    for one, other in zip(gradients, others, strict=True):
        torch.testing.assert_close(one, other, atol=bound, rtol=10 * bound)
    with torch.no_grad():
        torch.testing.assert_close(ours(lstm, x, lengths), expected, atol=bound, rtol=bound)


def test_bf16_has_a_small_error() -> None:
    torch.manual_seed(0)
    lstm = PackedBiLstm(64, 64)
    lengths, x = torch.tensor([12, 7, 3]), torch.randn(3, 12, 64)
    with torch.no_grad():
        exact = ours(lstm, x, lengths)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rounded = ours(lstm, x, lengths)
    assert rounded.dtype == torch.bfloat16
    assert 0 < float((rounded - exact).abs().max()) < 0.02


@given(lengths=st.lists(st.integers(0, 6), min_size=1, max_size=6), seed=st.integers(0, 99))
def test_a_text_does_not_depend_on_the_others(lengths: list[int], seed: int) -> None:
    torch.manual_seed(seed)
    lstm = PackedBiLstm(8, 16)
    x, all_lengths = torch.randn(len(lengths), 6, 8), torch.tensor(lengths)
    with torch.no_grad():
        together = ours(lstm, x, all_lengths)
        for row, length in enumerate(lengths):
            alone = ours(lstm, x[row : row + 1], all_lengths[row : row + 1])
            torch.testing.assert_close(together[row, :length], alone[0, :length], atol=1e-6, rtol=1e-5)
            assert not together[row, length:].any()


def test_packing_puts_every_position_back() -> None:
    lengths = torch.tensor([2, 0, 5, 3])
    packing, x = Packing(lengths), torch.arange(40.0).view(4, 5, 2)
    real = (torch.arange(5) < lengths[:, None])[:, :, None]
    assert len(packing.pack(x)) == 10
    assert torch.equal(packing.unpack(packing.pack(x), 5), x * real)
    assert packing.active == [3, 3, 2, 1, 1] and packing.starts == [0, 3, 6, 8, 9, 10]


def test_states_without_a_backward_pass_are_freed() -> None:
    lstm, packing = PackedBiLstm(8, 16, bidirectional=False), Packing(torch.tensor([3, 2]))
    gc.disable()
    try:
        states = lstm(torch.randn(5, 8), packing)
        direction = weakref.ref(states.grad_fn.directions[0])
        assert direction() is not None
        del states
        assert direction() is None
    finally:
        gc.enable()
