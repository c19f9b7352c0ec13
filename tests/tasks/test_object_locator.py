"""The locator on generated rectangles: one box, several boxes, frozen features, views, saving, and mistakes in the data."""

from __future__ import annotations

import json
import logging
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import cross_val_score

from tests.disk import files_of
from tests.tasks.rectangles import SIDE, one_rectangle, several_rectangles
from unfreeze import Encoder, ObjectLocator
from unfreeze.encoders.convnet import ConvNet
from unfreeze.errors import CannotWrite, UnknownLabel, UserError
from unfreeze.folders import load_tensors
from unfreeze.registry import load
from unfreeze.tasks import locating
from unfreeze.tasks.average_precision import Located
from unfreeze.tasks.located_files import Pictures
from unfreeze.tasks.located_images import LocatedImages, box_set, with_largest_box
from unfreeze.tasks.locating import LocatingObjective, ViewFeatures
from unfreeze.tasks.locator_network import LocatorNetwork
from unfreeze.tasks.object_locator import fit_locator
from unfreeze.tasks.settings import LocatorSettings
from unfreeze.vision.boxes import iou_matrix
from unfreeze.vision.transforms import Augmentation, ImageTransform

PICTURES, BOXES = one_rectangle(48)
HELD_OUT, TRUE = one_rectangle(24, seed=1)
SMALL: dict[str, Any] = {
    "image_size": SIDE,
    "width": 8,
    "depths": (1, 1, 1),
    "stem": "small",
    "learning_rate": 0.01,
}


def small_network(boxes: Any = "one", n_labels: int = 1, fit: Any = "stretch") -> LocatorNetwork:
    torch.manual_seed(0)
    encoder = ConvNet(ImageTransform(size=SIDE, fit=fit), width=8, depths=(1, 1), stem="small")
    return LocatorNetwork(encoder, n_labels, boxes=boxes, channels=8)


@pytest.fixture(scope="module")
def locator() -> ObjectLocator:
    return ObjectLocator(**SMALL, epochs=25).fit(PICTURES, BOXES, validation=(HELD_OUT, TRUE))


def test_a_rectangle_is_found(locator: ObjectLocator) -> None:
    report = locator.evaluate(box_set(HELD_OUT, TRUE))
    assert report.overlap is not None and report.baseline_overlap is not None
    assert report.overlap.mean_iou > 0.6 > 0.4 > report.baseline_overlap.mean_iou
    assert locator.score(HELD_OUT, TRUE) == report.score == report.overlap.mean_iou
    found = locator.predict(HELD_OUT)
    assert found.shape == (24, 4)
    by_hand = np.mean([iou_matrix(a[None], b[None])[0, 0] for a, b in zip(found, TRUE, strict=True)])
    assert report.score == pytest.approx(by_hand)
    assert locator.metrics_["mean_iou"] == pytest.approx(report.score, abs=1e-5)
    assert "mean box" in str(report) and report.as_dict()["baseline"]["mean_iou"] > 0
    assert "no better" not in str(report)
    worse = replace(report, overlap=report.baseline_overlap)
    assert str(worse).endswith("no better than the mean box of the training images, put into every image")


def test_a_locator_that_is_no_better_than_the_mean_box_is_said(caplog: pytest.LogCaptureFixture) -> None:
    said = "on the validation images, the locator is no better than the mean box of the training images"
    for epochs, learning_rate in ((1, 1.0), (25, 0.01)):
        caplog.clear()
        settings = {**SMALL, "epochs": epochs, "learning_rate": learning_rate}
        ObjectLocator(**settings).fit(PICTURES, BOXES, validation=(HELD_OUT, TRUE))
        assert (said in caplog.messages) is (epochs == 1)


def test_it_is_called_like_a_pipeline_of_transformers(locator: ObjectLocator) -> None:
    (found,) = locator(HELD_OUT[0])
    assert set(found) == {"label", "box"} and set(found["box"]) == {"xmin", "ymin", "xmax", "ymax"}
    np.testing.assert_allclose(list(found["box"].values()), locator.predict(HELD_OUT[:1])[0], atol=0.05)
    assert locator(HELD_OUT[:2])[0] == [found]


def test_a_saved_locator_finds_the_same(locator: ObjectLocator, tmp_path: Path) -> None:
    locator.save_pretrained(tmp_path / "locator")
    again = load(tmp_path / "locator")
    assert isinstance(again, ObjectLocator) and again.get_params() == locator.get_params()
    np.testing.assert_array_equal(again.predict(HELD_OUT), locator.predict(HELD_OUT))
    assert again.evaluate(box_set(HELD_OUT, TRUE)) == locator.evaluate(box_set(HELD_OUT, TRUE))
    assert isinstance(
        Encoder.from_pretrained(tmp_path / "locator"), ConvNet
    )  # a task model gives its encoder
    np.testing.assert_array_equal(
        pickle.loads(pickle.dumps(locator)).predict(HELD_OUT[:2]),  # noqa: S301
        locator.predict(HELD_OUT[:2]),
    )


def test_a_box_does_not_depend_on_the_other_images(locator: ObjectLocator) -> None:
    every = locator.predict(HELD_OUT)
    np.testing.assert_allclose(locator.predict(HELD_OUT[::-1])[::-1], every, atol=1e-4)
    np.testing.assert_allclose(locator.predict(HELD_OUT[3:4])[0], every[3], atol=1e-4)


def test_several_boxes_of_two_classes_are_found() -> None:
    pictures, wanted = several_rectangles(64)
    held_out, true = several_rectangles(24, seed=1)
    locator = ObjectLocator(**SMALL, epochs=25, channels=16).fit(pictures, wanted)
    assert not locator.finds_one and locator.label_names == ("bright", "dark")
    report = locator.evaluate(box_set(held_out, true))
    assert report.overlap is None and set(report.by_label) == {"bright", "dark"}
    assert report.average_precision_50 > 0.6 > 0.2 > report.baseline_average_precision
    assert locator.score(held_out, true) == report.average_precision
    found = locator.predict(held_out)
    right = sum(sorted(a["labels"]) == sorted(b["labels"]) for a, b in zip(found, true, strict=True))
    assert right > 12  # neither missed nor found twice
    # What was found can be learned from: the boxes are images' boxes again.
    assert len(box_set(held_out, found)) == 24


def test_one_box_of_two_classes() -> None:
    pictures, wanted = several_rectangles(64)
    locator = ObjectLocator(**SMALL, epochs=20, boxes="one").fit(pictures, wanted)
    held_out, true = several_rectangles(24, seed=1)
    examples = with_largest_box(box_set(held_out, true))
    found = [locator(each.input)[0] for each in examples.examples]
    right = [one["label"] == each.labels[0] for one, each in zip(found, examples.examples, strict=True)]
    assert locator.finds_one and np.mean(right) > 0.6
    assert all(0.5 <= one["score"] <= 1 for one in found)


# Transfer


def test_frozen_features_are_computed_once_and_the_encoder_stays(
    locator: ObjectLocator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locator.save_pretrained(tmp_path / "start")
    counts = []
    forward = ConvNet.maps
    monkeypatch.setattr(
        ConvNet, "maps", lambda self, batch: counts.append(len(batch.pixels)) or forward(self, batch)
    )
    settings = LocatorSettings(encoder=tmp_path / "start", transfer="frozen", epochs=12, image_size=SIDE)
    _, metrics = fit_locator(
        box_set(PICTURES, BOXES), settings, validation=box_set(HELD_OUT, TRUE), output=tmp_path / "frozen"
    )
    n_views = locating.MOST_VIEWS
    assert sum(counts) == 48 * n_views + 24 + 2  # one more of each set tells how large the features are
    assert metrics["mean_iou"] > 0.5
    before, after = (load_tensors(tmp_path / name / "model.safetensors") for name in ("start", "frozen"))
    for name, tensor in before.items():
        assert not name.startswith("encoder.") or torch.equal(tensor, after[name])


@pytest.mark.parametrize("in_file", [False, True])
def test_features_computed_once_are_those_of_the_views(
    in_file: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locating, "CACHE_BYTES", 1_000 if in_file else 10**6)
    network = small_network("several").eval()
    data = LocatedImages.of(box_set(PICTURES[:5], BOXES[:5]), ("object",), network.encoder.processor)
    computed, live = (ViewFeatures(network, data, Augmentation(), seed=3) for _ in range(2))
    computed.compute_once()
    assert isinstance(computed.once[0], np.memmap) == in_file and (computed.n_views == 1) == in_file
    numbers = [4, 0, 2]
    with torch.no_grad():
        found, views = computed.read(numbers, 7)
        draws = [(number + 7) % computed.n_views for number in numbers]
        for row, (number, draw) in enumerate(zip(numbers, draws, strict=True)):
            wanted, (view,) = live.read([number], draw)
            assert view == views[row]
            for one, other in zip(found, wanted, strict=True):
                torch.testing.assert_close(one[row], other[0], atol=1e-5, rtol=1e-4)


def test_features_that_find_no_room_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locating, "CACHE_BYTES", 1_000)
    network = small_network("several").eval()
    data = LocatedImages.of(box_set(PICTURES[:5], BOXES[:5]), ("object",), network.encoder.processor)
    with files_of(10_000), pytest.raises(CannotWrite, match="cannot write"):
        ViewFeatures(network, data).compute_once()


@pytest.mark.parametrize("transfer", [{"gradual": True}, {"discriminative": 1.0, "gradual": False}])
def test_a_fine_tuned_encoder_moves(locator: ObjectLocator, tmp_path: Path, transfer: dict[str, Any]) -> None:
    locator.save_pretrained(tmp_path / "start")
    tuned = ObjectLocator(encoder=tmp_path / "start", image_size=SIDE, epochs=2, **transfer)
    tuned.fit(PICTURES[:16], BOXES[:16])
    before = dict(locator.network.encoder.named_parameters())
    moved = {name for name, x in tuned.network.encoder.named_parameters() if not torch.equal(x, before[name])}
    assert any(name.startswith("layer3") for name in moved)
    assert (
        any(name.startswith("conv1") for name in moved) != transfer["gradual"]
    )  # unfrozen in the fifth epoch


def test_an_interrupted_fit_resumes_to_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = LocatorSettings(**{**SMALL, "width": 4}, epochs=4, checkpoint_minutes=1e-9)
    examples = box_set(PICTURES[:20], BOXES[:20])
    fit_locator(examples, settings, output=tmp_path / "whole")
    loss, calls = LocatingObjective.loss, []

    def interrupted(self: LocatingObjective, batch: Any) -> Any:
        calls.append(batch)
        if len(calls) == 6:
            raise RuntimeError("killed")
        return loss(self, batch)

    monkeypatch.setattr(LocatingObjective, "loss", interrupted)
    with pytest.raises(RuntimeError, match="killed"):
        fit_locator(examples, settings, output=tmp_path / "resumed")
    monkeypatch.undo()
    fit_locator(examples, settings, output=tmp_path / "resumed")
    whole, resumed = (load_tensors(tmp_path / name / "model.safetensors") for name in ("whole", "resumed"))
    assert whole.keys() == resumed.keys() and all(torch.equal(whole[name], resumed[name]) for name in whole)


# Views and the loss


@pytest.mark.parametrize("fit", ["stretch", "pad", "crop"])
def test_boxes_are_where_the_views_show_them(fit: Any) -> None:
    """In a random view, the bright pixels are those of the moved box."""
    generator = np.random.default_rng(0)
    picture = np.full((40, 64, 3), 100, dtype=np.uint8)
    picture[8:28, 20:44] = 255
    network = small_network(fit=fit)
    examples = box_set([picture], [[20, 8, 44, 28]])
    data = LocatedImages.of(examples, ("object",), network.encoder.processor)
    features = ViewFeatures(network, data, Augmentation(area=(0.3, 1.0)), seed=int(generator.integers(100)))
    for draw in range(6):
        view = features.view(0, draw)
        square = view.render(data.images[0], (100, 100, 100), "bilinear")
        (box,), _ = features.targets([0], [view])
        rows, columns = np.nonzero(square[..., 0] > 178)
        edges = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        np.testing.assert_allclose(box[0].numpy(), edges, atol=1.01)


def test_the_regressor_starts_from_the_mean_box() -> None:
    network = small_network()
    data = LocatedImages.of(box_set(PICTURES, BOXES), ("object",), network.encoder.processor)
    features = ViewFeatures(network, data)
    network.start_from(features.mean_center_size())
    read, _ = features.read([0, 1], 0)
    for found in network.eval().locate(read):
        np.testing.assert_allclose(found.boxes[0].detach().numpy(), BOXES.mean(0), atol=1.5)


def test_smooth_l1_comes_first_and_then_generalized_iou() -> None:
    network = small_network()
    data = LocatedImages.of(box_set(PICTURES[:4], BOXES[:4]), ("object",), network.encoder.processor)
    features = ViewFeatures(network, data)
    for epochs, wanted in ((4, [0, 0, 1, 1]), (1, [0]), (None, [0.5, 0.5])):
        objective = LocatingObjective(network, features, epochs=epochs, giou_from=0.5)
        assert [objective.giou_share(epoch) for epoch in range(len(wanted))] == wanted


# Estimators and mistakes


def test_it_is_an_estimator_of_scikit_learn() -> None:
    small = ObjectLocator(**{**SMALL, "width": 4}, epochs=1)
    assert clone(small).get_params() == small.get_params()
    scores = cross_val_score(small, PICTURES[:8], BOXES[:8], cv=2)
    assert scores.shape == (2,) and (scores > 0).all()


@pytest.mark.parametrize(
    ("images", "boxes", "message"),
    [
        (PICTURES[:2], BOXES[:1], "2 images and boxes for 1"),
        (PICTURES[:1], [[1, 2, 3]], r"y\[0\]: boxes are \(N, 4\)"),
        (PICTURES[:1], [{"labels": ["a"]}], r'y\[0\] is a dict without "boxes"'),
        (PICTURES[:1], [{"boxes": [[1, 2, 3, 4]], "labels": ["a", "b"]}], "1 boxes and 2 labels"),
        (PICTURES[:1], [[40, 4, 60, 20]], "there is no image with a box to learn from"),
        (PICTURES[:1], [[]], "there is no image with a box to learn from"),
        (PICTURES[0], BOXES[0], "one image was given"),
        (
            np.stack(PICTURES[:2]).transpose(0, 3, 1, 2),
            BOXES[:2],
            r"images\[0\] is an array of shape .* transpose\(1, 2, 0\)",
        ),
        ([PICTURES[0], PICTURES[0] * 2.0], BOXES[:2], r"images\[1\] has values from .* of the type float64"),
    ],
)
def test_a_mistake_in_the_data_is_named(images: Any, boxes: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        ObjectLocator(**SMALL, epochs=1).fit(images, boxes)


def test_boxes_are_cut_off_at_the_edges_of_the_image() -> None:
    data = LocatedImages.of(box_set(PICTURES[:1], [[-5, 10, 20, 99]]), ("object",), ImageTransform(size=SIDE))
    assert data.true[0].boxes.tolist() == [[0, 10, 20, 32]]


def test_what_is_left_out_is_said(caplog: pytest.LogCaptureFixture) -> None:
    examples = box_set(PICTURES[:3], [[[0, 0, 9, 9], [0, 0, 12, 12]], [], [[1, 1, 8, 8]]])
    with caplog.at_level(logging.INFO, logger="unfreeze"):
        largest = with_largest_box(examples)
    assert [each.boxes.tolist() for each in largest.examples] == [[[0, 0, 12, 12]], [[1, 1, 8, 8]]]
    assert "1 image without a box left out" in caplog.text and "1 image with several boxes" in caplog.text
    with caplog.at_level(logging.INFO, logger="unfreeze"):
        locator = ObjectLocator(**{**SMALL, "width": 4}, epochs=1, channels=8).fit(
            PICTURES[:3], [each.boxes for each in examples.examples]
        )
    assert "boxes='one' looks for the largest one" in caplog.text and not locator.finds_one


def test_boxes_that_are_too_small_for_the_maps_are_said(caplog: pytest.LogCaptureFixture) -> None:
    boxes = [[[0, 0, 12, 12], [20, 20, 20.5, 20.5]]] * 2
    ObjectLocator(**{**SMALL, "width": 4}, epochs=1, channels=8).fit(PICTURES[:2], boxes)
    assert "2 of 4 boxes are too small or too close" in caplog.text
    assert "a place every 2 of 32 pixels; raise image_size or stages" in caplog.text


def test_unknown_labels_are_an_error_or_count_as_missed(locator: ObjectLocator) -> None:
    others = box_set(HELD_OUT[:2], [{"boxes": TRUE[n : n + 1], "labels": ["cat"]} for n in range(2)])
    with pytest.raises(UnknownLabel, match="'cat', which is not in the training data"):
        locator.evaluate(others)
    report = locator.evaluate(others, unknown_labels="wrong")
    assert report.by_label["cat"] == report.average_precision == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"boxes": "many"}, "boxes must be one of one, several"),
        ({"stages": 0}, "stages"),
        ({"giou_from": 2.0}, "giou_from must be from 0 to 1"),
        ({"boxes": "several", "channels": 12}, "channels must be a multiple of 8"),
        ({"stages": 4}, "stages must be from 1 to 3, the stages of the encoder, not 4"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        ObjectLocator(**{**SMALL, **settings}).fit(PICTURES[:2], BOXES[:2])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mean_box": [0.1, 0.2]}, "labels, mean_box and usual_label do not fit"),
        ({"usual_label": 3}, "labels, mean_box and usual_label do not fit"),
        ({"labels": ["a", "b"]}, "head"),
        ({"settings": {"boxes": "one", "stages": 9, "channels": 32}}, "stages must be from 1 to 3"),
        ({"settings": {"boxes": "three"}}, "boxes"),
        ({"settings": {"boxes": "one", "stages": 2, "channels": 10**9}}, "tensor|cannot be made"),
    ],
)
def test_a_damaged_folder_is_named(
    locator: ObjectLocator, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    locator.save_pretrained(tmp_path / "m")
    path = tmp_path / "m" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    with pytest.raises(UserError, match=message):
        ObjectLocator.from_pretrained(tmp_path / "m")


def test_boxes_as_fractions_are_refused() -> None:
    with pytest.raises(UserError, match="all boxes lie within one pixel; if they are fractions"):
        box_set(PICTURES[:2], [[0.1, 0.2, 0.5, 0.9], [0.0, 0.0, 1.0, 1.0]])


def test_one_box_of_one_label_has_no_average_precision(locator: ObjectLocator) -> None:
    """All scores are 1: it would depend on the order of the images."""
    report = locator.evaluate(box_set(HELD_OUT, TRUE))
    assert report.average_precision is None and "average" not in str(report)
    assert {"mean_iou", "share_50", "share_75"} == set(
        report.metrics()
    ) and "average_precision" not in report.as_dict()


def test_pictures_of_images_of_the_same_name_are_all_kept(tmp_path: Path) -> None:
    pictures, found = (
        Pictures(tmp_path / "out"),
        Located(np.zeros((0, 4)), np.zeros(0, dtype=np.int64), np.zeros(0)),
    )
    names = ("a/a.png", "b/a.png", "c/a-2.png")
    paths = {pictures.add(PICTURES[0], name, found, {"image": name, "boxes": []}) for name in names}
    assert len(paths) == 3 and all(path.is_file() for path in paths)
