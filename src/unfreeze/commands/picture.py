"""`unfreeze picture`: what a ConvNet has learned, and how tasks weight the layers of an encoder, as a picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from unfreeze.checked import need_positive
from unfreeze.commands.console import Console
from unfreeze.commands.inputs import need_new
from unfreeze.errors import UserError
from unfreeze.pictures import picture_format


@dataclass(kw_only=True)
class Picture:
    """Draw what a ConvNet has learned: its first filters, its feature maps for an image, or where the evidence for a class lies.
    Or draw how fitted tasks weight the layers of their encoders.

    `filters` shows the first convolution's filters as colors, `maps` for each stage the channels that vary most over an image.
    `evidence` shows each image beside the places that speak for a class, the brighter the more (Grad-CAM); it needs an image
    classifier, as `fit classifier` and `pretrain convnet` make. The nearest
    neighbors of an image are drawn by `unfreeze neighbors MODEL IMAGE --images DIR --plot FILE`. `mixes` shows the layer weights of one or
    more classifiers, taggers or answerers that were fitted on a frozen encoder with a mix of its layers.

    Example:
        unfreeze picture filters my-convnet --output filters.png
        unfreeze picture maps my-convnet cat.jpg --output maps.png
        unfreeze picture evidence my-classifier cat.jpg dog.jpg --output evidence.png --label cat
        unfreeze picture mixes my-tagger my-answerer --output mixes.png
    """

    kind: Positional[Literal["filters", "maps", "evidence", "mixes"]]
    """What to draw."""

    model: Positional[str]
    """ConvNet, or a model with one, such as an image classifier; for mixes a fitted task: a folder, or owner/name on the hub."""

    images: Positional[tuple[str, ...]] = ()
    """Image files: one for maps; for evidence up to 40, or a folder with them. For mixes further fitted tasks."""

    output: Path
    """File to draw into (.png, .svg or .pdf)."""

    label: str | None = None
    """Evidence: the class whose evidence is shown (default: the predicted class of each image)."""

    channels: int = 8
    """Maps: number of channels of each stage to show."""

    overwrite: bool = False
    """Replace an existing file."""

    def __post_init__(self) -> None:
        need_positive(self, "channels")
        if self.label is not None and self.kind != "evidence":
            raise UserError(f"--label is for evidence, not for {self.kind}")
        if self.kind == "filters" and self.images:
            raise UserError("filters belong to the model, not to an image: leave out the images")
        if self.kind == "maps" and len(self.images) != 1:
            raise UserError(f"maps are drawn of one image; {len(self.images)} were given")
        if self.kind == "evidence" and not self.images:
            raise UserError("no image was given: unfreeze picture evidence MODEL IMAGE --output FILE")


def run(arguments: Picture, console: Console) -> None:
    """Draw the picture, and print where it is and what it shows."""
    output, images = arguments.output, list(arguments.images)
    picture_format(output)
    need_new(output, overwrite=arguments.overwrite)
    if arguments.kind == "mixes":
        draw_mixes_of([arguments.model, *images], output, console)
        return
    from unfreeze.analysis.image_features import filter_colors, strongest_maps
    from unfreeze.analysis.image_plots import (
        ShownEvidence,
        need_few,
        plot_evidence,
        plot_filters,
        plot_maps,
    )
    from unfreeze.encoders.base import Encoder
    from unfreeze.encoders.convnet import ConvNet
    from unfreeze.encoders.image_encoder import ImageEncoder
    from unfreeze.registry import load
    from unfreeze.tasks.image_classifier import ImageClassifier
    from unfreeze.vision.finding import find_images
    from unfreeze.vision.images import image_size

    shown: dict[str, object] = {"output": str(output), "kind": arguments.kind}
    if arguments.kind == "evidence":
        classifier = load(arguments.model)
        if not isinstance(classifier, ImageClassifier):
            raise UserError(f"evidence is that for a class, and {arguments.model} is no image classifier")
        images = [str(each) for each in find_images(images)]
        need_few(len(images))
        labels = None if arguments.label is None else [arguments.label] * len(images)
        evidence, labels_found = classifier.evidence(images, labels)
        shares = classifier.predict_proba(images)
        encoder = classifier.network_.encoder
        assert isinstance(encoder, ImageEncoder)
        rows = []
        for image, maps, label, row in zip(images, evidence, labels_found, shares, strict=True):
            share = float(row[classifier.label_names.index(label)])
            view = encoder.processor.view(*image_size(image))
            rows.append((share, ShownEvidence(image, view, maps, f"{label}, {100 * share:.0f} %")))
        plot_evidence([each for _, each in rows], output)
        shown["images"] = [
            {"image": image, "label": label, "score": share}
            for image, label, (share, _) in zip(images, labels_found, rows, strict=True)
        ]
    else:
        encoder = Encoder.from_pretrained(arguments.model)
        if not isinstance(encoder, ConvNet):
            raise UserError(
                f"{arguments.model} is of kind {encoder.kind}; {arguments.kind} are those of a ConvNet"
            )
        if arguments.kind == "filters":
            colors = filter_colors(encoder)
            plot_filters(colors, output)
            shown["filters"] = len(colors)
        else:
            view = encoder.processor.view(*image_size(images[0]))
            stages = strongest_maps(encoder, images[0], arguments.channels)
            plot_maps(images[0], stages, output, view)
            shown["channels"] = [stage.channels for stage in stages]
    console.result(shown, f"drawn: {output}")


def draw_mixes_of(models: list[str], output: Path, console: Console) -> None:
    """Draw the layer weights of each mix of fitted tasks; a task may mix the layers at its input and again at its output."""
    from unfreeze.analysis.contextuality_plots import plot_mixes
    from unfreeze.registry import load

    mixes: dict[str, list[float]] = {}
    for place in models:
        weights = getattr(load(place), "layer_weights", {})
        if not weights:
            raise UserError(
                f"{place} does not mix the layers of an encoder, as fit tagger, fit answerer and fit classifier do with --layers mix"
            )
        for where, (*shares, _) in weights.items():
            name = place if len(models) > 1 else Path(place).name
            mixes[f"{name}, {where}" if len(weights) > 1 else name] = shares
    plot_mixes(mixes, output)
    console.result({"output": str(output), "kind": "mixes", "mixes": mixes}, f"drawn: {output}")
