"""The contracts know nothing of text: a toy encoder of images under the network and the objective of the classifier."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from unfreeze.encoders.base import Batch, Encoder
from unfreeze.registry import ENCODERS
from unfreeze.tasks.classification import ClassificationObjective
from unfreeze.tasks.classifier_network import pooled_network
from unfreeze.training.loop import train
from unfreeze.training.loop_settings import LoopSettings
from unfreeze.transfer.policies import TransferPolicy

NOTHING = SimpleNamespace(save=lambda folder: None)  # a processor that has nothing to save


@dataclass(frozen=True, kw_only=True)
class Images(Batch):
    pixels: Tensor  # (B, 1, 4, 4)


class ToyConvNet(Encoder):
    kind, widths = "toy_images", [4]
    load_processor = classmethod(lambda cls, folder: NOTHING)

    def __init__(self, processor: SimpleNamespace) -> None:
        super().__init__()
        self.processor, self.filters = processor, nn.Conv2d(1, 4, 2)

    def prepare(self, inputs: list[np.ndarray]) -> Images:
        pixels = torch.from_numpy(np.stack(inputs)).float()[:, None]
        return Images(lengths=torch.full((len(inputs),), 9), pixels=pixels / 255)

    def layers(self, batch: Images) -> tuple[list[Tensor], Tensor]:
        features = self.filters(batch.pixels).relu().flatten(2).transpose(1, 2)  # (B, 9, 4)
        return [features], torch.ones(features.shape[:2], dtype=torch.bool)


def test_a_classifier_of_stripes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENCODERS, "toy_images", f"{__name__}:ToyConvNet")
    stripes = np.tile([200, 0], (4, 2)) + np.random.default_rng(0).integers(0, 50, (60, 4, 4))
    images, targets = [each.T if n % 2 else each for n, each in enumerate(stripes)], torch.arange(60) % 2
    torch.manual_seed(0)
    network = pooled_network(ToyConvNet(NOTHING), 2)
    objective, settings = ClassificationObjective(network, images[:40], targets[:40]), LoopSettings(epochs=20)
    train(objective, policy=TransferPolicy(mode="scratch", learning_rate=0.01), settings=settings)
    found = network.eval().probabilities(network.read_all(images[40:]))
    assert torch.equal(found.argmax(1), targets[40:])
    network.encoder.save_pretrained(tmp_path)
    vectors = Encoder.from_pretrained(tmp_path).encode(images)
    np.testing.assert_allclose(vectors[7:8], network.encoder.encode(images[7:8]), rtol=1e-5)
