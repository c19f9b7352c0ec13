"""Concat pooling of long documents: the same in any pieces, and gradients over each document's own last tokens."""

from __future__ import annotations

import sys
from functools import lru_cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.language_models.models import NO_DROPOUT
from unfreeze.encoders.layers.cell_settings import CellSettings
from unfreeze.encoders.layers.recurrent import RecurrentStack, detached
from unfreeze.tasks import pooling
from unfreeze.tasks.pooling import Pooling, pool_documents, pooled_width

VOCABULARY, PAD = 30, 1
PIECE, GRADIENT_TOKENS = 7, 20

lengths_strategy = st.lists(st.integers(1, 65), min_size=1, max_size=5)
poolings = st.sampled_from(["top", "top+vectors"])


CELLS = {"lstm": CellSettings(), "qrnn": CellSettings(kind="qrnn", windows=(2, 2))}


@pytest.fixture(autouse=True, scope="module", params=CELLS)
def _small_pieces(request: pytest.FixtureRequest) -> object:
    """Every test with LSTMs and with QRNNs, whose states have other parts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules[__name__], "CELL", request.param)
        patch.setattr(pooling, "PIECE", PIECE)
        patch.setattr(pooling, "STEP", 3)
        patch.setattr(pooling, "GRADIENT_TOKENS", GRADIENT_TOKENS)
        yield


CELL = "lstm"


def stack() -> RecurrentStack:
    return _stack(CELL)


@lru_cache(maxsize=2)
def _stack(cell: str) -> RecurrentStack:
    torch.manual_seed(0)
    sizes = {"hidden_size": 6, "output_size": 5, "n_layers": 2}
    found = RecurrentStack(nn.Embedding(VOCABULARY, 4), **sizes, dropouts=NO_DROPOUT, cells=CELLS[cell])
    for parameter in found.parameters():
        nn.init.normal_(parameter, 0.0, 0.5)
    return found.train()


def documents(lengths: list[int], seed: int) -> Tensor:
    """(T, B) of ids, padded at the end."""
    torch.manual_seed(seed)
    ids = torch.full((max(lengths), len(lengths)), PAD)
    for column, length in enumerate(lengths):
        ids[:length, column] = torch.randint(2, VOCABULARY, (length,))
    return ids


def pooled_by_definition(ids: Tensor, pooling: Pooling, detach_at: int = 0) -> Tensor:
    """One document (T,) read at once; nothing before `detach_at` is part of the graph."""
    if detach_at:
        with torch.no_grad():
            before = stack()(ids[:detach_at, None])
        after = stack()(ids[detach_at:, None], detached(before.state))
        top, vectors = (
            torch.cat([one.detach(), two])[:, 0]
            for one, two in ((before.top, after.top), (before.layers[0], after.layers[0]))
        )
    else:
        output = stack()(ids[:, None])
        top, vectors = output.top[:, 0], output.layers[0][:, 0]
    parts = [top[-1], top.amax(0), top.mean(0)]
    return torch.cat([*parts, vectors.mean(0)] if pooling == "top+vectors" else parts)


@settings(max_examples=20)
@given(lengths=lengths_strategy, seed=st.integers(0, 99), pooling=poolings)
def test_all_of_every_document_is_pooled_whatever_the_pieces(
    lengths: list[int], seed: int, pooling: Pooling
) -> None:
    ids = documents(lengths, seed)
    with_gradients = pool_documents(stack(), ids, torch.tensor(lengths), pooling)
    with torch.no_grad():
        without = pool_documents(stack(), ids, torch.tensor(lengths), pooling)
        expected = torch.stack([pooled_by_definition(ids[:n, b], pooling) for b, n in enumerate(lengths)])
    assert expected.shape == (len(lengths), pooled_width(stack().widths, pooling))
    torch.testing.assert_close(without, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(with_gradients.detach(), expected, atol=1e-5, rtol=1e-5)


def gradients(loss: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(loss, list(stack().parameters())))


@settings(max_examples=20)
@given(lengths=lengths_strategy, seed=st.integers(0, 99), pooling=poolings)
def test_gradients_are_those_of_each_documents_own_last_tokens(
    lengths: list[int], seed: int, pooling: Pooling
) -> None:
    """The reference detaches each document alone, at the last whole piece that leaves GRADIENT_TOKENS tokens."""
    ids = documents(lengths, seed)
    weights = torch.randn(len(lengths), pooled_width(stack().widths, pooling))
    found = gradients((pool_documents(stack(), ids, torch.tensor(lengths), pooling) * weights).sum())
    loss = torch.zeros(())
    for b, n in enumerate(lengths):
        body = max(0, n - GRADIENT_TOKENS) // PIECE * PIECE
        assert n - body < GRADIENT_TOKENS + PIECE and (body == 0 or n - body >= GRADIENT_TOKENS)
        loss = loss + (pooled_by_definition(ids[:n, b], pooling, body) * weights[b]).sum()
    for got, wanted in zip(found, gradients(loss), strict=True):
        torch.testing.assert_close(got, wanted, atol=1e-4, rtol=1e-4)


def test_a_long_neighbor_takes_no_gradient_from_a_short_document() -> None:
    lengths = [60, 20]
    ids = documents(lengths, 0)
    together = gradients(pool_documents(stack(), ids, torch.tensor(lengths))[1].sum())
    alone = gradients(pool_documents(stack(), ids[:20, 1:], torch.tensor([20]))[0].sum())
    for got, wanted in zip(together, alone, strict=True):
        torch.testing.assert_close(got, wanted, atol=1e-5, rtol=1e-5)
    assert all(bool(grad.any()) for grad in alone)


def test_documents_that_have_ended_are_hardly_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pooling, "PIECE", 512)
    lengths = torch.arange(1, 65)
    run = 0
    for start, stop in pooling._pieces(lengths):
        assert 0 <= start < stop <= 64
        run += (stop - start) * int((lengths > start).sum())
    assert (
        int(lengths.sum()) <= run < 1.15 * int(lengths.sum())
    )  # padding to the longest would take twice the sum


def test_documents_of_one_length_are_read_in_whole_pieces() -> None:
    assert list(pooling._pieces(torch.full((9,), 20))) == [(0, 7), (7, 14), (14, 20)]
