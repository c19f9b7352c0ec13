"""The attention decoder against a plain loop of torch operations under automatic differentiation."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from unfreeze.encoders.layers.attention_decoder import AttentionDecoder, DecoderState, Memory
from unfreeze.encoders.layers.attention_kernel import AttentionSteps
from unfreeze.encoders.layers.bi_lstm import Packing

SOURCES = torch.tensor([3, 7, 1, 5, 2])
TARGETS = torch.tensor([6, 6, 4, 2, 1])


class Case:
    """Random texts for a decoder, and the tensors whose gradients are compared."""

    def __init__(self, size: int, dtype: torch.dtype, memory_size: int = 32) -> None:
        torch.manual_seed(0)
        self.decoder = AttentionDecoder(20, size, memory_size).to(dtype)
        self.x, self.states = (
            self.random(5, 6, 20, dtype=dtype),
            self.random(5, 7, memory_size, dtype=dtype),
        )
        self.hidden = [self.random(5, size, dtype=dtype) for _ in range(2)]
        self.cells = [self.random(5, size, dtype=dtype) for _ in range(2)]
        self.feed = self.random(5, size, dtype=dtype)
        self.packing = Packing(TARGETS)
        self.real = (torch.arange(6) < TARGETS[:, None])[:, :, None]

    @staticmethod
    def random(*shape: int, dtype: torch.dtype) -> Tensor:
        return torch.randn(*shape, dtype=dtype, requires_grad=True)

    @property
    def inputs(self) -> list[Tensor]:
        return [self.x, self.states, *self.hidden, *self.cells, self.feed, *self.decoder.parameters()]

    def begin(self) -> tuple[Memory, DecoderState]:
        state = DecoderState(tuple(self.hidden), tuple(self.cells), self.feed)
        return self.decoder.memory(self.states, SOURCES), state

    def ours(self) -> tuple[Tensor, Tensor]:
        memory, state = self.begin()
        found, attention = self.decoder(self.packing.pack(self.x), self.packing, memory, state)
        return self.packing.unpack(found), self.packing.unpack(attention)[:, :, :7]

    def plain(self) -> tuple[Tensor, Tensor]:
        """(B, T, D) and (B, T, S), step by step, padding included."""
        own, h, c, feed = self.decoder, list(self.hidden), list(self.cells), self.feed
        mask = torch.arange(7) < SOURCES[:, None]
        outputs, attention = [], []
        for t in range(6):
            below = self.x[:, t]
            for layer in range(2):
                z = below @ own.inputs[layer].t() + h[layer] @ own.states[layer].t() + own.biases[layer]
                if layer == 0:
                    z = z + feed @ own.feed.t()
                i, f, g, o = z.chunk(4, dim=1)
                c[layer] = f.sigmoid() * c[layer] + i.sigmoid() * g.tanh()
                below = h[layer] = o.sigmoid() * c[layer].tanh()
            scores = torch.einsum("bsm,dm,bd->bs", self.states, own.keys, below)
            weights = scores.masked_fill(~mask, -torch.inf).softmax(1)
            context = torch.einsum("bs,bsm->bm", weights, self.states)
            feed = torch.tanh(context @ own.context.t() + below @ own.top.t())
            outputs.append(feed)
            attention.append(weights)
        return torch.stack(outputs, 1), torch.stack(attention, 1)


def relative_errors(found: Sequence[Tensor], wanted: Sequence[Tensor]) -> list[float]:
    pairs = zip(found, wanted, strict=True)
    return [((one - other).abs().max() / other.abs().max()).item() for one, other in pairs]


@pytest.mark.parametrize(
    ("size", "memory_size", "dtype", "bound"),
    [
        (32, 32, torch.float64, 1e-12),
        (24, 20, torch.float64, 1e-12),
        (32, 32, torch.float32, 5e-6),
        (24, 32, torch.float32, 5e-6),  # 24 and 20 are padded to 32 in float32
        (32, 20, torch.float32, 5e-6),
        (24, 20, torch.float32, 5e-6),
    ],
)
def test_outputs_and_gradients_are_those_of_a_plain_loop(
    size: int, memory_size: int, dtype: torch.dtype, bound: float
) -> None:
    case = Case(size, dtype, memory_size)
    (found, attention), (wanted, expected) = case.ours(), case.plain()
    assert max(relative_errors([found, attention], [wanted * case.real, expected * case.real])) < bound
    weights = torch.randn_like(wanted) * case.real
    gradients = torch.autograd.grad((found * weights).sum(), case.inputs)
    others = torch.autograd.grad((wanted * weights).sum(), case.inputs)
    assert max(relative_errors(gradients, others)) < bound


def test_bf16_has_a_small_error() -> None:
    case = Case(32, torch.float32)
    wanted, _ = case.plain()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found, _ = case.ours()
    assert 0 < relative_errors([found], [wanted * case.real])[0] < 0.02
    weights = torch.randn_like(wanted) * case.real
    gradients = torch.autograd.grad((found * weights).sum(), case.inputs)
    others = torch.autograd.grad((wanted * weights).sum(), case.inputs)
    assert max(relative_errors(gradients, others)) < 0.03


@pytest.mark.parametrize("size", [32, 24])
def test_single_steps_are_those_of_a_whole_text(size: int) -> None:
    case = Case(size, torch.float32, size - 4)
    wanted, expected = case.plain()
    memory, state = case.begin()
    for t in range(3):
        found, attention, state = case.decoder.step(case.x[:, t], memory, state)
        torch.testing.assert_close(found, wanted[:, t], atol=2e-6, rtol=1e-5)
        torch.testing.assert_close(attention[:, :7], expected[:, t], atol=2e-6, rtol=1e-5)


def test_dropout_keeps_the_same_features_of_a_text_at_all_steps() -> None:
    case = Case(32, torch.float32)
    case.decoder.dropout = 0.5
    case.decoder.train()
    found, _ = case.ours()
    dropped = [(found[row, : int(n)] == 0) for row, n in enumerate(TARGETS)]
    for text in dropped[:3]:
        assert torch.equal(text, text[:1].expand_as(text)) and 0 < int(text[0].sum()) < 32
    case.decoder.eval()
    assert not (case.ours()[0][:, 0] == 0).any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_width_runs_compiled_in_float32(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = []
    made = AttentionSteps.__init__

    def recording(self: AttentionSteps, *arguments: Tensor) -> None:
        made(self, *arguments)
        compiled.append(self.compiled)

    monkeypatch.setattr(AttentionSteps, "__init__", recording)
    case = Case(24, dtype, 20)
    case.ours()
    case.decoder.step(case.x[:, 0], *case.begin())
    assert compiled == [dtype == torch.float32] * 2


def test_torch_operations_do_not_round_what_is_exact() -> None:
    """Where nothing is compiled (other devices, other widths), autocast leaves the products of the attention alone."""
    torch.manual_seed(0)
    keys, values, queries, d_contexts = (torch.randn(*shape, 20) for shape in ((3, 7), (3, 7), (3,), (3,)))
    found = []
    for enabled in (False, True):
        steps = AttentionSteps(keys, values, torch.tensor([7, 3, 1]), torch.zeros(3, 7))
        assert not steps.compiled
        contexts, d_scores, d_queries = torch.zeros(3, 20), torch.zeros(3, 7), torch.zeros(3, 20)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            steps.forward(queries, 0, contexts)
            steps.backward(d_contexts, 0, d_scores, d_queries)
        found.append([steps.attention_weights, contexts, d_scores, d_queries])
    for exact, other in zip(*found, strict=True):
        assert torch.equal(exact, other)


def test_outputs_without_a_backward_pass_are_freed() -> None:
    case = Case(32, torch.float32)
    gc.disable()
    try:
        memory, state = case.begin()
        found = case.decoder(case.packing.pack(case.x), case.packing, memory, state)
        run = weakref.ref(found[0].grad_fn.run)
        assert run() is not None
        del found
        assert run() is None
    finally:
        gc.enable()
