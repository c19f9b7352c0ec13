"""`unfreeze pretrain convnet`: a residual network that learns the classes of labeled images."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from unfreeze.commands.console import Console
from unfreeze.commands.fit import described_classes, said_duplicates
from unfreeze.commands.images import ReadsImages
from unfreeze.commands.options import LoopRunOptions, chosen_settings, described_length, quoted, run_options
from unfreeze.display import counted
from unfreeze.tasks.convnet_presets import PRESETS, small
from unfreeze.tasks.settings import ImageClassifierSettings


@dataclass(kw_only=True)
class PretrainConvnet(ReadsImages, LoopRunOptions):
    """Train a ConvNet (ResNet) from random weights to tell the classes of images; other tasks on images can start from it.

    Images are a folder with a folder for each class, a table of files and labels, or an HDF5 file. The result is an image classifier,
    whose encoder `fit` takes with --encoder. Rerun the command to resume an interrupted run. Options that are left out come from the
    preset; the help shows the values of small.

    Example:
        unfreeze pretrain convnet --images cifar10/train --validation cifar10/test --minutes 60 --output my-convnet
        unfreeze pretrain convnet --images animals/ --positive cat --preset tiny --output cat-or-not
    """

    hidden: ClassVar = frozenset("encoder transfer discriminative gradual unfreeze".split())

    images: str
    """Labeled images to learn from: a folder, a table, an HDF5 file, or hf:owner/name."""

    validation: str | None = None
    """Labeled images to evaluate after each epoch; by default, the best epoch is kept."""

    preset: Literal["tiny", "small", "resnet18"] = "small"
    """Sizes: tiny (trains in seconds), small (an hour on two cores) or resnet18 (images of 224 pixels; needs a GPU)."""

    settings: ImageClassifierSettings = field(default_factory=small)
    """Options of the network and its training."""

    given: dict[str, Any] = field(default_factory=dict, init=False)

    @property
    def reading_images(self) -> dict[str, Any]:
        # Elsewhere --images names the folder of a table's images; here it names the table.
        advice = "names count from the folder of the table, or from the current one"
        return {**super().reading_images, "if_missing": advice}


def run(arguments: PretrainConvnet, console: Console) -> None:
    """Train, and say where the network is."""
    from unfreeze.tasks.image_classifier import fit_image_classifier
    from unfreeze.tasks.plans import ImageClassifierPlan, plan
    from unfreeze.training.processes import together

    settings = chosen_settings(PRESETS[arguments.preset](), arguments.given)
    with together():
        train_set, validation = arguments.read_images(arguments.images, progress=console.progress), None
        if arguments.validation is not None:
            known = {"multi_label": train_set.multi_label, "known_labels": train_set.label_names}
            validation = arguments.read_images(arguments.validation, **known, progress=console.progress)
        chosen = plan(ImageClassifierPlan, settings)
    epochs = chosen.epochs_for(len(train_set))
    console.note(
        f"{counted(len(train_set), 'image')} of {described_classes(train_set)}, "
        f"{described_length(epochs, chosen.minutes)}"
    )
    values: dict[str, Any] = {"output": str(arguments.output), "images": len(train_set)}
    if epochs is not None:  # else time limits the training
        values["epochs"] = epochs
    if validation is not None:
        values["duplicates"] = said_duplicates(train_set, validation, "image", console)
    _, metrics = fit_image_classifier(
        train_set, settings, validation=validation, title="ConvNet", **run_options(arguments, console)
    )
    console.result({**values, **metrics})
    place = quoted(arguments.output)
    measure = (
        ""
        if validation is not None
        else f", or `unfreeze evaluate {place} IMAGES`, which measures its accuracy"
    )
    console.note(
        f"the ConvNet is in {arguments.output}: try `unfreeze fit classifier --encoder {place} --train DIR --output DIR`{measure}"
    )
