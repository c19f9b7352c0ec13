"""`unfreeze fit locator`: the box of the object in each image, or the boxes of several, from images with boxes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from unfreeze.commands.console import Console
from unfreeze.commands.fit import FitOptions
from unfreeze.commands.images import read_annotated
from unfreeze.commands.options import ReadsTables, described_length, quoted, run_options
from unfreeze.display import counted
from unfreeze.tasks.settings import LocatorSettings

MAX_LABELS_SHOWN = 8


@dataclass(kw_only=True)
class ReadsBoxes(ReadsTables):
    """Options of a verb that reads images with boxes."""

    images: Path | None = None
    """Folder of the images that annotations name (default: looked for beside the annotations)."""

    image_column: str | None = None
    """Name or number (from 1) of the column of a table that names the images (default: found by its usual names)."""

    label_column: str | None = None
    """Name or number (from 1) of the label column of a table (default: found by its usual names)."""

    skip_damaged: bool = False
    """Leave out damaged images and name them; to find them, all are decoded once more."""


@dataclass(kw_only=True)
class FitLocator(FitOptions, ReadsBoxes):
    """Train a locator on images with boxes around objects.

    Annotations are a folder of Pascal VOC's XML files, a COCO file (JSON), a folder of YOLO's text files, or a table (CSV) with a
    box on each line. If every training image has exactly one box, the locator finds one box in each image, otherwise any number
    of boxes, each with its label. Start from an encoder of images, such as one of `unfreeze pretrain convnet`. Rerun the
    command to resume an interrupted run.

    Example:
        unfreeze fit locator --train raccoons/annotations --images raccoons/images --encoder my-convnet --output finder
        unfreeze fit locator --train train.json --validation more.json --encoder my-convnet --transfer frozen --output quick
        unfreeze fit locator --train boxes.csv --boxes one --image-size 160 --encoder none --output from-scratch
    """

    train: str
    """Annotations to learn from: a folder of XML or YOLO files, a COCO file, or a table."""

    validation: str | None = None
    """Annotations of images to evaluate on after each epoch; by default, the best epoch is kept."""

    labels: int | None = None
    """Number of images to learn from (default: all); a larger sample contains the smaller ones of the same seed."""

    settings: LocatorSettings = field(default_factory=LocatorSettings)
    """Options of the locator."""


def run(arguments: FitLocator, console: Console) -> None:
    """Read the annotations, say what will be done, fit, and report."""
    from unfreeze.tasks.located_images import box_count
    from unfreeze.tasks.object_locator import fit_locator
    from unfreeze.tasks.plans import LocatorPlan, plan
    from unfreeze.training.processes import together

    settings, validation = arguments.settings, None
    with together():
        train_set = read_annotated(arguments, arguments.train, progress=console.progress)
        train_set = arguments.sampled(train_set, settings.seed)
        if arguments.validation is not None:
            validation = read_annotated(
                arguments,
                arguments.validation,
                known_labels=train_set.label_names,
                progress=console.progress,
            )
        chosen = plan(LocatorPlan, settings)
    count, epochs = box_count(settings, train_set), chosen.epochs_for(len(train_set))
    numbers = Counter(label for example in train_set.examples for label in example.labels)
    labels = [f"{name} {numbers[name]}" for name in train_set.label_names[:MAX_LABELS_SHOWN]]
    labels += ["..."] * (len(train_set.label_names) > MAX_LABELS_SHOWN)
    start = "random weights" if chosen.mode == "scratch" else chosen.encoder
    console.note(
        f"{counted(len(train_set), 'image')}, {counted(numbers.total(), 'box')} ({', '.join(labels)}); "
        f"{'one box' if count == 'one' else 'several boxes'} an image, {chosen.mode} from {start}, "
        f"{described_length(epochs, settings.minutes)}"
    )
    locator, metrics = fit_locator(
        train_set, settings, validation=validation, **run_options(arguments, console)
    )
    measured = f"fitted on {train_set.source}"
    if validation is not None:
        names = {"mean_iou": "mean IoU", "average_precision": "average precision"}
        shown = [f"{what} {metrics[name]:.4f}" for name, what in names.items() if name in metrics]
        measured = f"{', '.join(shown)} on {validation.source}"
    result = {
        "images": len(train_set),
        "boxes": numbers.total(),
        "boxes_per_image": count,
        "transfer": chosen.mode,
        "encoder": chosen.encoder,
        "epochs": epochs,
        "labels": list(locator.label_names),
    }
    console.result({"output": str(arguments.output), **result, **metrics}, measured)
    place = quoted(arguments.output)
    console.note(
        f"the locator is in {arguments.output}: try `unfreeze predict {place} IMAGE --output PICTURES` or "
        f"`unfreeze evaluate {place} ANNOTATIONS`"
    )
