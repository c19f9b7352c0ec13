"""A classifier on an encoder's layers: any of them at any place, and long texts that do not depend on their batch."""

from __future__ import annotations

import pytest
import torch

from tests.encoders.elmos import small_elmo
from tests.pretraining.models import random_model, word_tokenizer
from unfreeze.tasks import layered
from unfreeze.tasks.layered import LayeredNetwork

TEXTS = ["The cat sat on the mat.", "", "A dog saw the bird and the cat , and it flew away", "cat"]


@pytest.mark.parametrize("layers", ["mix", 0, 1, -1])
@pytest.mark.parametrize("mix_at", ["input", "output", "both"])
@torch.no_grad()
def test_layers_of_unequal_widths_anywhere(layers: object, mix_at: object) -> None:
    encoder = random_model(word_tokenizer(), "both", ()).encoder.eval()
    assert len(set(encoder.widths)) > 1
    network = LayeredNetwork(encoder, 2, hidden_size=4, layers=layers, mix_at=mix_at).eval()  # type: ignore[arg-type]
    together = network.read(TEXTS)["joint"]
    for row, text in enumerate(TEXTS):
        torch.testing.assert_close(network.read([text])["joint"][0], together[row], rtol=1e-4, atol=1e-5)


def test_the_gradient_of_a_long_text_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layered, "MOST_WORDS", 6)
    network = LayeredNetwork(small_elmo(), 2, hidden_size=4).eval()
    network.layer_groups()
    found = []
    for texts in ([TEXTS[2]], [TEXTS[0], TEXTS[2], TEXTS[3]]):
        network.zero_grad()
        network.read(texts)["joint"][len(texts) // 2].square().sum().backward()
        found.append([p.grad.clone() for p in network.body.parameters() if p.grad is not None])
    assert found[0] and len(found[0]) == len(found[1])
    for x, y in zip(*found, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-4, atol=1e-6)
