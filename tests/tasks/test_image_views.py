"""The random views of the settings reach the training of image classifiers and of locators."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.commands.toy_images import patterns
from tests.tasks.rectangles import one_rectangle
from unfreeze import ImageClassifier, ObjectLocator
from unfreeze.vision.random_views import RandomViews
from unfreeze.vision.transforms import Pixels, View

NONE: dict[str, Any] = {"flip": False, "crop_area": 1.0, "jitter": 0.0}
NETWORK: dict[str, Any] = {"image_size": 16, "width": 4, "depths": (1,), "epochs": 4, "batch_size": 8}


@pytest.mark.parametrize("task", ["classifier", "locator"])
@pytest.mark.parametrize("changed", [{}, {"flip": True}, {"crop_area": 0.3}, {"jitter": 0.4}], ids=str)
def test_training_sees_the_views_of_the_settings(
    changed: dict[str, Any], task: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, kinds = RandomViews.squares, set()

    def squares(views: RandomViews, chosen: list[tuple[int, int]]) -> tuple[Pixels, list[View]]:
        pixels, found = made(views, chosen)
        for (number, _), own, view in zip(chosen, pixels, found, strict=True):
            plain = views.transform.view(*views.sizes[number])
            if view.mirrored:
                kinds.add("flip")
            if view.source != plain.source:
                kinds.add("crop_area")
            unchanged = view.render(views.images[number], views.transform.fill, views.transform.resample)
            if not np.array_equal(own, unchanged):
                kinds.add("jitter")
        return pixels, found

    monkeypatch.setattr(RandomViews, "squares", squares)
    if task == "classifier":
        ImageClassifier(**NETWORK, **{**NONE, **changed}).fit(*patterns(8, seed=0))
    else:
        images, boxes = one_rectangle(8, 0)
        ObjectLocator(**NETWORK, **{**NONE, **changed}).fit(images, boxes)
    assert kinds == set(changed)
