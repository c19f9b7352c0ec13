"""Fine-tuning the upper stages of a ConvNet: the stages below do not move by a bit, nor do their running statistics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unfreeze import ImageClassifier
from unfreeze.errors import UserError
from unfreeze.folders import load_tensors

IMAGES = np.random.default_rng(0).integers(0, 256, (12, 16, 16, 3)).astype(np.uint8)
LABELS = ["a", "b", "c"] * 4


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("start")
    ImageClassifier(image_size=16, width=4, depths=(1, 1, 1), epochs=2).fit(IMAGES, LABELS).save_pretrained(
        folder
    )
    return folder


@pytest.mark.parametrize("gradual", [True, False])
def test_the_lower_stages_stay(start: Path, gradual: bool, tmp_path: Path) -> None:
    tuned = ImageClassifier(
        encoder=start, unfreeze=2, gradual=gradual, epochs=4, learning_rate=0.1, batch_size=4
    )
    tuned.fit(IMAGES, LABELS).save_pretrained(tmp_path)
    before, after = (load_tensors(folder / "model.safetensors") for folder in (start, tmp_path))
    same = {name for name in before if name.startswith("encoder.") and before[name].equal(after[name])}
    lower = ("encoder.conv1", "encoder.bn1", "encoder.layer1")
    assert same == {name for name in before if name.startswith(lower)}


@pytest.mark.parametrize(
    "settings",
    [{"encoder": "none"}, {"transfer": "frozen"}, {"unfreeze": 0}, {"unfreeze": -1}, {"unfreeze": 5}],
)
def test_it_is_for_fine_tuning(start: Path, settings: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="unfreeze"):
        ImageClassifier(**{"encoder": start, "unfreeze": 1, **settings}).fit(IMAGES, LABELS)
