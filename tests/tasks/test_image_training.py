"""Training of an image classifier against a plain torch loop, whose every line is visible here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.commands.toy_images import LABELS, patterns
from tests.encoders.plain_resnet import PlainResNet
from unfreeze import ImageClassifier
from unfreeze.datasets.dataset import labeled_set
from unfreeze.encoders.convnet import ConvNet
from unfreeze.progress import Bar, Progress
from unfreeze.tasks.classification import ClassificationObjective
from unfreeze.tasks.classifier_network import ClassifierNetwork
from unfreeze.tasks.image_classifier import fit_image_classifier
from unfreeze.tasks.image_inputs import PooledMaps
from unfreeze.tasks.settings import ImageClassifierSettings
from unfreeze.training.loop import train
from unfreeze.training.loop_settings import LoopSettings
from unfreeze.training.objective import Loss
from unfreeze.training.processes import make_accelerator
from unfreeze.transfer.policies import Mode, OptimizerName, TransferPolicy
from unfreeze.vision.transforms import ImageTransform

SIDE, EPOCHS = 16, 5


def plain_losses(
    net: PlainResNet,
    images: Tensor,
    targets: Tensor,
    epochs: Sequence[Sequence[list[int]]],
    *,
    optimizer_name: OptimizerName,
    rate: float,
    decay: float,
    gradual: bool,
) -> list[float]:
    """AdamW or SGD on the mean cross-entropy with a slanted triangular schedule; the loss of each update.

    With `gradual`, one more stage is trained in each epoch, each with 1 / 2.6 of the rate of the one above it; a stage that
    is not trained yet has batch norm in evaluation mode.

    Args:
        images: (N, 3, S, S), scaled.
        epochs: the batches of each epoch, as numbers of images.
    """
    parts = [nn.ModuleList([net.conv1, net.bn1]), net.layer1, net.layer2, net.layer3, net.layer4, net.fc]
    groups = []
    for number, part in enumerate(parts):
        depth = len(parts) - 1 - number
        for is_matrix in (True, False):
            own = [p for p in part.parameters() if (p.ndim > 1) == is_matrix]
            groups.append({"params": own, "weight_decay": decay * is_matrix, "depth": depth})
    optimizer: torch.optim.Optimizer = torch.optim.SGD(groups, lr=rate)
    if optimizer_name == "adamw":
        optimizer = torch.optim.AdamW(groups, lr=rate, betas=(0.8, 0.99), fused=True)
    n_steps, step, losses = sum(map(len, epochs)), 0, []
    rise = max(1, n_steps // 10)
    for epoch, batches in enumerate(epochs):
        for depth, part in enumerate(reversed(parts)):
            trains = depth <= epoch or not gradual
            part.train(trains)
            part.requires_grad_(trains)
        for batch in batches:
            height = step / rise if step <= rise else 1 - (step - rise) / (n_steps - rise)
            for group in optimizer.param_groups:
                factor = 2.6 ** -group["depth"] if gradual else 1.0
                group["lr"] = rate * factor * ((1 + 31 * height) / 32)
            features = net.features(images[batch])[-1].mean((2, 3))
            features = F.batch_norm(features.double(), None, None, training=True).float()
            logits = net.fc(features)
            loss = F.cross_entropy(logits, targets[batch])
            optimizer.zero_grad()
            loss.backward()
            grads = [p.grad for group in groups for p in group["params"] if p.grad is not None]
            factor = min(1.0, 1.0 / (float(nn.utils.get_total_norm(grads)) + 1e-6))
            torch._foreach_mul_(grads, factor)
            optimizer.step()
            losses.append(loss.item())
            step += 1
    return losses


class Recording(ClassificationObjective):
    """Keeps the loss of each update."""

    losses: list[float]

    def loss(self, batch: list[int]) -> Loss:
        found = super().loss(batch)
        self.losses.append(float(found.total.detach()) / found.n_items)
        return found


def both_losses(
    mode: Mode, width: int, optimizer: OptimizerName, rate: float, decay: float
) -> tuple[list[float], list[float]]:
    """The losses of 20 updates of ResNet-18's layout in fp32, and those of the plain loop: the same weights and batches."""
    torch.manual_seed(0)
    pixels, targets = np.stack(patterns(64, seed=0, labels=LABELS)[0]), torch.arange(64) % 3
    transform = ImageTransform(size=SIDE)
    encoder = ConvNet(transform, width=width, stem="small")
    network = ClassifierNetwork(PooledMaps(encoder), 3, head="linear", head_dropout=0.0)
    (head,) = network.heads.values()
    nn.init.normal_(
        head.linear.weight, std=0.02
    )  # with the usual zeros, the first gradients of the encoder are 0
    plain = PlainResNet(width, (2, 2, 2, 2), 3, large=False).to(memory_format=torch.channels_last)
    own = {**encoder.state_dict(), "fc.weight": head.linear.weight, "fc.bias": head.linear.bias}
    plain.load_state_dict({name: tensor.detach().clone() for name, tensor in own.items()})

    objective = Recording(network, list(pixels), targets, batch_size=16)
    objective.losses = []
    train(
        objective,
        policy=TransferPolicy(mode=mode, learning_rate=rate),
        settings=LoopSettings(epochs=EPOCHS, optimizer=optimizer, weight_decay=decay),
        accelerator=make_accelerator("fp32"),
    )
    mean, std = torch.tensor(transform.mean) * 255, torch.tensor(transform.std) * 255
    images = ((torch.from_numpy(pixels) - mean) / std).permute(0, 3, 1, 2)
    epochs = [objective.epoch_batches(epoch) for epoch in range(EPOCHS)]
    wanted = plain_losses(
        plain,
        images,
        targets,
        epochs,
        optimizer_name=optimizer,
        rate=rate,
        decay=decay,
        gradual=mode == "fine-tune",
    )
    return objective.losses, wanted


@pytest.mark.parametrize(
    ("mode", "width", "rate", "optimizer", "decay"),
    [
        ("scratch", 16, 0.2, "sgd", 0.01),
        ("fine-tune", 16, 0.2, "sgd", 0.01),
        # The updates of AdamW turn rounding errors of gradients near 0 into steps of full size: with high rates, the losses of
        # two equal programs soon differ. A decay this strong shows in the losses of a few updates.
        ("scratch", 16, 3e-5, "adamw", 3.0),
        ("fine-tune", 16, 1e-4, "adamw", 3.0),
        pytest.param("scratch", 64, 0.1, "sgd", 0.01, marks=pytest.mark.slow),  # ResNet-18 in full: 12 s
    ],
)
def test_losses_are_those_of_a_plain_loop(
    mode: Mode, width: int, rate: float, optimizer: OptimizerName, decay: float
) -> None:
    """20 updates from scratch, where the loss falls to less than half, or gradually unfrozen.

    A sum in another order differs by 1e-7; as soon as this moves one value of a map across the kink of a ReLU, the losses differ
    by 1e-4. So the plain loop adds up gradients and divides in the order of ours.
    """
    found, wanted = both_losses(mode, width, optimizer, rate, decay)
    assert len(found) == 20
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5)
    if (mode, optimizer) == ("scratch", "sgd"):
        assert np.mean(wanted[-4:]) < 0.5 * np.mean(wanted[:4])
    assert max(wanted) - min(wanted) > 0.1


# What a prediction and the end of a training do not depend on


@pytest.fixture(scope="module")
def classifier() -> ImageClassifier:
    values: dict[str, Any] = {"image_size": 16, "width": 4, "depths": (1, 1), "epochs": 2, "batch_size": 8}
    images, labels = patterns(16, seed=0)
    return ImageClassifier(**values).fit(images, labels)


@settings(max_examples=20, deadline=None)
@given(order=st.permutations(range(9)), count=st.integers(1, 9))
def test_an_image_gets_the_same_answer_in_any_company_and_order(
    order: list[int], count: int, classifier: ImageClassifier
) -> None:
    random = np.random.default_rng(1)
    sides = [(16, 16), (20, 9), (7, 30)] * 3
    images = [random.integers(0, 256, (*side, 3)).astype(np.uint8) for side in sides]
    alone = np.concatenate([classifier.predict_proba([image]) for image in images])
    chosen = order[:count]
    together = classifier.predict_proba([images[number] for number in chosen])
    np.testing.assert_allclose(together, alone[chosen], rtol=0, atol=1e-6)
    streamed = [row for _, row, _ in classifier.predict_stream_known(images[number] for number in chosen)]
    np.testing.assert_allclose(np.stack(streamed), alone[chosen], rtol=0, atol=1e-6)


class Killed(BaseException):
    """Stands for kill -9: nothing catches it."""


@pytest.mark.parametrize("transfer", ["scratch", "fine-tune", "frozen"])
def test_a_killed_training_ends_with_the_weights_of_one_that_was_not(
    transfer: Mode, classifier: ImageClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Random views, colors and the layers that are unfrozen are the same after it."""
    images, labels = patterns(24, seed=2)
    train_set = labeled_set(images, labels, "toy")
    values: dict[str, Any] = {"image_size": 16, "width": 4, "depths": (1, 1)}
    if transfer != "scratch":
        classifier.save_pretrained(tmp_path / "first")
        values = {"encoder": str(tmp_path / "first")}
    options = ImageClassifierSettings(
        transfer=transfer,
        epochs=3,
        batch_size=8,
        jitter=0.0 if transfer == "frozen" else 0.2,
        learning_rate=0.01,
        checkpoint_minutes=0.0,
        **values,
    )

    def weights(folder: Path) -> bytes:
        fit_image_classifier(train_set, options, validation=train_set, output=folder, precision="fp32")
        return (folder / "model.safetensors").read_bytes()

    whole = weights(tmp_path / "whole")
    loss, count = ClassificationObjective.loss_of, 0

    def dying(self: ClassificationObjective, features: dict[str, Tensor], batch: list[int]) -> Loss:
        nonlocal count
        count += 1
        if count == 6:
            raise Killed
        return loss(self, features, batch)

    monkeypatch.setattr(ClassificationObjective, "loss_of", dying)
    with pytest.raises(Killed):
        weights(tmp_path / "killed")
    assert not (tmp_path / "killed" / "config.json").exists()
    count = 100
    assert weights(tmp_path / "killed") == whole
    assert count - 100 == 9 - 5, "it was resumed"


def test_reading_and_frozen_features_are_reported(tmp_path: Path) -> None:
    reports: list[tuple[str, int | None, str]] = []

    class Heard(Progress):
        @contextmanager
        def bar(self, what: str, total: int | None = None, unit: str = "it") -> Iterator[Bar]:
            reports.append((what, total, unit))
            yield Bar()

    ConvNet(ImageTransform(size=SIDE), width=16, depths=(1,)).save_pretrained(tmp_path)
    settings = ImageClassifierSettings(encoder=str(tmp_path), transfer="frozen")
    train_set, validation = (labeled_set(*patterns(count, seed=0), "toy") for count in (6, 4))
    fit_image_classifier(train_set, settings, validation=validation, progress=Heard())
    expected = [(what, count, "image") for what in ("read images", "features") for count in (4, 6)]
    assert sorted(reports) == sorted(expected)
