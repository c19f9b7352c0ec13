"""Sizes that do not fit into memory are refused before anything is allocated."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from unfreeze import ImageClassifier, TextClassifier
from unfreeze.errors import UserError
from unfreeze.training import memory_check
from unfreeze.training.memory_check import BYTES, within_memory


def make_network() -> nn.Module:
    return nn.Sequential(nn.Embedding(50, 8), nn.LSTM(8, 6, 2), nn.Linear(6, 3))


def test_counts_every_parameter_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    needed = BYTES * sum(parameter.numel() for parameter in make_network().parameters())
    settings = SimpleNamespace(hidden_size=6, embedding_size=8, n_layers=None)
    monkeypatch.setattr(memory_check, "memory_of_machine", lambda: needed)
    with within_memory(settings):
        make_network()
        with torch.device("meta"):  # the sketch of a saved encoder
            make_network()
    monkeypatch.setattr(memory_check, "memory_of_machine", lambda: needed - 1)
    with (
        pytest.raises(UserError, match="^embedding_size=8 is too large for this machine"),
        within_memory(settings),
    ):
        make_network()


def test_the_same_weights_as_without_the_check() -> None:
    torch.manual_seed(0)
    expected = list(make_network().parameters())
    torch.manual_seed(0)
    with within_memory(SimpleNamespace()):
        found = list(make_network().parameters())
    assert all(map(torch.equal, found, expected))


def test_estimators_refuse_absurd_sizes() -> None:
    texts, labels = ["good film", "bad film"] * 4, ["a", "b"] * 4
    with pytest.raises(UserError, match="^hidden_size=1000000000 is too large"):
        TextClassifier(encoder="none", hidden_size=10**9).fit(texts, labels)
    images = torch.zeros(8, 8, 8, 3, dtype=torch.uint8).numpy()
    with pytest.raises(UserError, match="^width=1000000 is too large"):
        ImageClassifier(encoder="none", width=10**6).fit(images, labels)
