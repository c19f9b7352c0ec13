"""Claim: a ConvNet that has learned classes finds boxes with few images, by the same transfer as on text.

Stage 1, `pretrain`: two residual networks learn from the photographs of CIFAR-10, one its ten classes and one cat / not cat, for the
same time. Stage 2, `cats`: they are moved to the cat / not cat exercise with 20, 50 and 209 labeled images. Stage 3, `boxes`: they are
moved to the boxes of raccoons and of pets (cats also by themselves) with 25, 50 and 100 % of the training images, one box an image.

In stages 2 and 3 the network is trained from scratch; is frozen; has its last stages, or all of them, fine-tuned with discriminative
rates; or is gradually unfrozen. Every form makes the same number of updates, and its learning rate is the best of the same few on a
quarter of all training images that is held out for this search. The seed chooses the sample of the training images (nested) and the
weights that are new. Differences from scratch have 95 % bootstrap intervals over seeds and test images (unfreeze.analysis.intervals).

    OMP_NUM_THREADS=1 python -m experiments.cat_to_box --data DATA --runs RUNS [--part cats boxes] [--set raccoons] [--minutes M]

DATA has cifar10/, catvnoncat/, oxford-pets/ and raccoon/. Networks and results are stored in RUNS: what is there is not computed again.
Tables are printed; pictures with true and found boxes, and the learning curves, are in RUNS. The table is in docs/results.md.
"""

from __future__ import annotations

import argparse
import random
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.results import Results, part_of
from unfreeze.analysis.curves import Curve, plot_curves
from unfreeze.analysis.image_plots import ShownBoxes, plot_boxes
from unfreeze.analysis.intervals import paired_difference
from unfreeze.datasets.dataset import ExampleSet, content_key
from unfreeze.progress import Progress
from unfreeze.registry import weights_digest
from unfreeze.tasks.image_classifier import ImageClassifier, fit_image_classifier
from unfreeze.tasks.object_locator import fit_locator
from unfreeze.tasks.settings import ImageClassifierSettings, ImageTaskSettings, LocatorSettings
from unfreeze.vision.annotations import BoxSet, LocatedExample, read_boxes
from unfreeze.vision.boxes import Boxes, iou_matrix
from unfreeze.vision.labeled_images import read_images

CLASSES, CATS = "ten classes", "cat / not cat"
"""What the networks of stage 1 learn."""
SCRATCH = "from scratch"
FORMS: dict[str, tuple[str | None, dict[str, Any]]] = {
    SCRATCH: (None, {}),
    "frozen": (CLASSES, {"transfer": "frozen"}),
    "last 2 stages": (CLASSES, {"unfreeze": 2, "gradual": False}),
    "all stages": (CLASSES, {"gradual": False}),
    "gradually unfrozen": (CLASSES, {}),
    "all stages, of cat / not cat": (CATS, {"gradual": False}),
}
"""What a form starts from, and its settings."""
CAT_COUNTS = (20, 50, 209)
BOX_SHARES = (0.25, 0.5, 1.0)
HELD_OUT = 0.25
"""Share of the training images that is held out for the search of a rate."""
BATCH_SIZE = 16
"""In stages 2 and 3."""
N_SHOWN = 20
"""Test images in a picture."""
PETS_TEST = 0.3
"""Share of the pets of each species to measure on."""


@dataclass(frozen=True)
class Task:
    """Something to learn: images, how to train on them, and how to measure."""

    name: str
    train: Any
    """All training images, an `ExampleSet` or a `BoxSet`."""
    counts: tuple[int, ...]
    """Numbers of training images."""
    settings: ImageTaskSettings
    measure: Callable[[Any, Any, Any], dict[str, Any]]
    """Trains on some images and measures on others: the mean `score`, and the `scores` of all."""
    test: Any
    what: str
    """What the score is."""
    size: str
    """The option with the size of its images."""
    baselines: dict[str, float]
    """The scores of baselines that look at no image."""


class Experiment:
    """The data, the networks of stage 1, and the results so far.

    Args:
        options: of the command line.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.data, self.runs = options, options.data, options.runs
        self.results = Results(options.runs / "results.jsonl")
        self.sizes = {"width": options.width, "depths": tuple(options.depths), "stem": options.stem}

    # Stage 1

    @cached_property
    def networks(self) -> dict[str, Path]:
        """The classifiers of CIFAR-10, trained now unless they are there."""
        photographs, test = (read_images(self.data / "cifar10" / part) for part in ("train", "test"))
        found = {}
        for name, relabel in ((CLASSES, lambda images: images), (CATS, cat_or_not)):
            found[name] = self.runs / f"convnet-{file_name(name)}"
            settings = ImageClassifierSettings(
                encoder="none",
                minutes=self.options.minutes,
                image_size=self.options.pretrain_size,
                batch_size=64,
                **self.sizes,
            )
            classifier, _ = fit_image_classifier(
                relabel(photographs), settings, output=found[name], progress=Progress()
            )
            row = self.results.measure(
                f"pretrain {weights_digest(str(found[name]))[:8]}",
                name,
                len(photographs),
                0,
                partial(classified, classifier, relabel(test)),
            )
            print(f"{name}: {100 * row['score']:.1f} % of {len(test):,} test images", flush=True)
        return found

    def settings(self, task: Task, form: str) -> ImageTaskSettings:
        """The settings of a form, but for the learning rate and the seed."""
        start, changes = FORMS[form]
        own = self.sizes if start is None else {}
        encoder = "none" if start is None else str(self.networks[start])
        return replace(task.settings, encoder=encoder, **own, **changes)

    # Stages 2 and 3

    def part(self, task: Task, form: str) -> str:
        """The name of a part of the results: the task with a digest of the options, and of the network that a form starts from."""
        sizes = {"pretrain_size", "cat_size", "box_size"} - {task.size}
        free = ("part", "set", "seeds", "form", "minutes", *sorted(sizes))
        start = FORMS[form][0]
        weights = "" if start is None else f" {weights_digest(str(self.networks[start]))[:8]}"
        return f"{part_of(task.name, self.options, *free)}{weights}"

    def rate(self, task: Task, form: str) -> float:
        """The learning rate of a form that is best on held-out training images."""
        if len(self.options.rates) == 1:
            return float(self.options.rates[0])
        images = shuffled(task.train)
        cut = round(HELD_OUT * len(images))
        held_out, rest = task.train.subset(images[:cut]), task.train.subset(images[cut:])
        scores = {}
        for rate in self.options.rates:
            settings = self.trained(task, form, len(rest), rate, seed=0)
            scores[rate] = self.results.measure(
                f"search {self.part(task, form)}",
                f"{form}, rate {rate:g}",
                len(rest),
                0,
                partial(task.measure, rest, settings, held_out),
            )["score"]
        return max(scores, key=lambda rate: scores[rate])

    def trained(self, task: Task, form: str, count: int, rate: float, seed: int) -> ImageTaskSettings:
        """The settings of a training: the same number of updates for all."""
        base = self.settings(task, form)
        epochs = max(1, round(self.options.updates / -(-count // base.batch_size)))
        return replace(base, learning_rate=rate, epochs=epochs, seed=seed)

    def rows(self, task: Task, form: str, count: int) -> list[dict[str, Any]]:
        """The results of a form with this number of training images, for each seed."""
        rate = self.rate(task, form)
        return [
            self.results.measure(
                self.part(task, form),
                form,
                count,
                seed,
                partial(
                    task.measure,
                    task.train.sample(count, seed),
                    self.trained(task, form, count, rate, seed),
                    task.test,
                ),
            )
            for seed in range(self.options.seeds)
        ]

    def run(self, task: Task) -> None:
        """Measure all forms, print the table of a task, and draw the curves of its forms and the boxes of some images."""
        found = {
            (form, count): self.rows(task, form, count)
            for form, count in product(self.options.form, task.counts)
        }
        print(f"\n{task.name}: {task.what} of {len(task.test)} images, {self.options.seeds} seeds")
        known = {content_key(each.input) for each in task.train.examples}
        if copies := sum(content_key(each.input) in known for each in task.test.examples):
            print(f"{copies} of them also among the training images")
        for baseline, score in task.baselines.items():
            print(f"{baseline}: {score:.3f}")
        print(f"\n{table(found, self.options.form, task.counts)}", flush=True)
        name = file_name(task.name)
        curves = [
            Curve(form, {count: [row["score"] for row in found[form, count]] for count in task.counts})
            for form in self.options.form
        ]
        plot_curves(curves, self.runs / f"{name}.png", title=task.name, what=task.what)
        if "boxes" in found[self.options.form[0], task.counts[-1]][0]:
            plot_boxes(shown_boxes(task, found, self.options.form), self.runs / f"{name}-boxes.png")


def cat_or_not(images: ExampleSet) -> ExampleSet:
    """The same images with the labels cat and not cat."""
    names = {True: ("cat",), False: ("not cat",)}
    examples = [replace(each, labels=names[each.labels == ("cat",)]) for each in images.examples]
    return replace(images, examples=examples, label_names=("cat", "not cat"))


def shuffled(images: Any) -> list[Any]:
    """The examples in an order that depends on nothing else."""
    order = list(images.examples)
    random.Random(12345).shuffle(order)
    return order


def file_name(name: str) -> str:
    """A name without spaces and slashes."""
    return name.replace(" / ", "-").replace(" ", "-")


def scored(scores: NDArray[Any]) -> dict[str, Any]:
    """The mean score and that of each image, as results have them."""
    return {"score": round(float(scores.mean()), 5), "scores": np.round(scores.astype(float), 4).tolist()}


# Classes


def classified(classifier: ImageClassifier, test: ExampleSet) -> dict[str, Any]:
    """Accuracy, and whether the label of each test image is right."""
    return scored(classifier.predict(test.inputs()) == np.array([each.labels[0] for each in test.examples]))


def measured_cats(train: ExampleSet, settings: ImageClassifierSettings, test: ExampleSet) -> dict[str, Any]:
    """Train a classifier on some images and measure it on others."""
    classifier, _ = fit_image_classifier(train, settings)
    return {"rate": settings.learning_rate, **classified(classifier, test)}


def cats(experiment: Experiment) -> Iterable[Task]:
    """Stage 2."""
    train, test = (
        read_images(experiment.data / "catvnoncat" / f"{part}_catvnoncat.h5") for part in ("train", "test")
    )
    settings = ImageClassifierSettings(image_size=experiment.options.cat_size, batch_size=BATCH_SIZE)
    counts = tuple(min(count, len(train)) for count in CAT_COUNTS)
    usual = Counter(each.labels for each in train.examples).most_common(1)[0][0]
    share = sum(each.labels == usual for each in test.examples) / len(test)
    baselines = {f"always {usual[0]}, the class that the training images have most": share}
    yield Task(
        "cat / not cat", train, counts, settings, measured_cats, test, "accuracy", "cat_size", baselines
    )


# Boxes


def measured_boxes(train: BoxSet, settings: LocatorSettings, test: BoxSet) -> dict[str, Any]:
    """Train a locator on some images and measure it on others: IoU, and the boxes that it finds."""
    locator, _ = fit_locator(train, settings)
    boxes = locator.predict(test.inputs())
    return {"rate": settings.learning_rate, **scored(overlaps(boxes, test)), "boxes": boxes.round(1).tolist()}


def overlaps(boxes: Boxes, images: BoxSet) -> NDArray[np.float64]:
    """The IoU (n,) of a box for each image (n, 4) with the true one."""
    true = np.concatenate([each.boxes for each in images.examples])
    return np.asarray(iou_matrix(boxes, true).diagonal())


def with_one_box(images: BoxSet) -> BoxSet:
    """The largest box of each image, all of one class."""
    largest = images.largest_boxes()
    examples = [replace(each, labels=("object",)) for each in largest.examples]
    return replace(largest, examples=examples, label_names=("object",))


def mean_box_score(train: BoxSet, test: BoxSet) -> float:
    """The mean IoU of the mean box of the training images, relative to the size of the image."""
    sides = np.array([[*each.size, *each.size] for each in train.examples])
    mean = (np.concatenate([each.boxes for each in train.examples]) / sides).mean(0)
    return float(overlaps(mean * np.array([[*each.size, *each.size] for each in test.examples]), test).mean())


def raccoons(data: Path) -> tuple[BoxSet, BoxSet]:
    """The split of 160 and 40 images that comes with them."""
    tables = (data / "raccoon" / "data" / f"{part}_labels.csv" for part in ("train", "test"))
    train, test = (with_one_box(read_boxes(each, data / "raccoon" / "images")) for each in tables)
    return train, test


def pets(data: Path, species: tuple[str, ...] = ("cat", "dog")) -> tuple[BoxSet, BoxSet]:
    """Pets of some species; of each, the same share is held out to measure on."""
    folder = data / "oxford-pets"
    table = folder / "sample_annotations" / "csv" / "bboxes.csv"
    images = read_boxes(table, folder / "sample_images", label_column="species")
    parts: tuple[list[LocatedExample], list[LocatedExample]] = ([], [])
    for name in species:
        own = images.subset(each for each in images.examples if each.labels == (name,))
        mixed = shuffled(own)
        cut = round(PETS_TEST * len(mixed))
        parts[0].extend(mixed[cut:])
        parts[1].extend(mixed[:cut])
    train, test = (with_one_box(images.subset(part)) for part in parts)
    return train, test


BOX_SETS: dict[str, Callable[[Path], tuple[BoxSet, BoxSet]]] = {
    "raccoons": raccoons,
    "pets": pets,
    "cats": partial(pets, species=("cat",)),
}


def boxes(experiment: Experiment) -> Iterable[Task]:
    """Stage 3."""
    settings = LocatorSettings(image_size=experiment.options.box_size, batch_size=BATCH_SIZE, boxes="one")
    for name in experiment.options.set:
        train, test = BOX_SETS[name](experiment.data)
        counts = tuple(round(share * len(train)) for share in BOX_SHARES)
        baselines = {"the mean box of all training images": mean_box_score(train, test)}
        name = f"boxes of {name}"
        yield Task(name, train, counts, settings, measured_boxes, test, "mean IoU", "box_size", baselines)


def shown_boxes(
    task: Task, found: dict[tuple[str, int], list[dict[str, Any]]], forms: Sequence[str]
) -> list[ShownBoxes]:
    """Some test images with their true boxes, and those that were found from scratch and by the best other form.

    Both have learned from all training images, with seed 0.
    """
    most, others = task.counts[-1], [form for form in forms if form != SCRATCH]
    best = max(
        others, key=lambda form: statistics.mean(row["score"] for row in found[form, most]), default=None
    )
    wanted = [form for form in (SCRATCH, best) if form in forms]
    shown = []
    for number in range(0, len(task.test), -(-len(task.test) // N_SHOWN)):
        each = task.test.examples[number]
        own = {form: found[form, most][0] for form in wanted}
        drawn = {form: np.array([row["boxes"][number]]) for form, row in own.items()}
        scores = ", ".join(f"{row['scores'][number]:.2f}" for row in own.values())
        shown.append(ShownBoxes(each.input, {"true": each.boxes, **drawn}, f"IoU {scores}"))
    return shown


PARTS: dict[str, Callable[[Experiment], Iterable[Task]]] = {"cats": cats, "boxes": boxes}


def table(
    found: dict[tuple[str, int], list[dict[str, Any]]], forms: Sequence[str], counts: Sequence[int]
) -> str:
    """Markdown: the mean score of each form by the number of images, and its difference from scratch with its interval.

    Of boxes also the share of the test images with an IoU of at least 0.5 and 0.75, with most images.
    """
    heads = [f"{count:,} images" for count in counts]
    has_boxes = "boxes" in found[forms[0], counts[-1]][0]
    if has_boxes:
        heads.append(f"IoU of 0.5, 0.75 with {counts[-1]:,}")
    lines = ["| | " + " | ".join(heads) + " |", "|---|" + "---:|" * len(heads)]
    for form in forms:
        cells = []
        for count in counts:
            rows = found[form, count]
            scores = np.array([row["scores"] for row in rows])
            cells.append(f"{scores.mean():.3f}")
            if form != SCRATCH and SCRATCH in forms:
                scratch = np.array([row["scores"] for row in found[SCRATCH, count]])
                cells[-1] += f" ({paired_difference(scores, scratch)})"
        if has_boxes:
            cells.append(", ".join(f"{100 * (scores >= least).mean():.0f} %" for least in (0.5, 0.75)))
        lines.append(f"| {form} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the parts, and print a table for each task."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with the data sets")
    parser.add_argument("--runs", type=Path, required=True, help="folder for networks and results")
    parser.add_argument("--part", nargs="+", choices=["pretrain", *PARTS], default=["pretrain", *PARTS])
    parser.add_argument("--set", nargs="+", choices=list(BOX_SETS), default=list(BOX_SETS), help="of boxes")
    parser.add_argument("--form", nargs="+", choices=list(FORMS), default=list(FORMS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument(
        "--minutes", type=float, default=60.0, help="for each network of stage 1 (default: 60)"
    )
    parser.add_argument(
        "--updates", type=int, default=400, help="of each training in stages 2 and 3 (default: 400)"
    )
    parser.add_argument(
        "--rates", nargs="+", type=float, default=[5e-4, 2e-3, 8e-3], help="learning rates to search"
    )
    parser.add_argument("--width", type=int, default=32, help="channels of the first stage (default: 32)")
    parser.add_argument("--depths", nargs="+", type=int, default=[2, 2, 2, 2], help="blocks of each stage")
    parser.add_argument("--stem", choices=["small", "large"], default="small")
    sizes = {"pretrain": 32, "cat": 64, "box": 96}
    for name, side in sizes.items():
        parser.add_argument(f"--{name}-size", type=int, default=side, help=f"pixels (default: {side})")
    experiment = Experiment(parser.parse_args(arguments))
    _ = experiment.networks
    for name in experiment.options.part:
        for task in PARTS[name](experiment) if name in PARTS else ():
            experiment.run(task)


if __name__ == "__main__":
    main()
