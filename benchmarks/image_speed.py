"""Image classification beside a plain PyTorch loop around a ResNet-18: images per second of training and of prediction.

    python -m benchmarks.image_speed --data DATA [--only small large] [--rounds N] [--threads N] [--workers N]

`small`: photographs of CIFAR-10, 32 pixels, the small stem, batches of 64. `large`: photographs of pets, whose files are larger, at
128 pixels, the large stem, batches of 32. Ours is `fit_image_classifier` with its random crops and flips, and `predict_proba` on
files. Theirs is what a user would write (benchmarks/plain_resnet.py): a `DataLoader` that decodes each file with PIL in every epoch,
the same crops and flips, AdamW, eager, in float32 and, for comparison with our bf16, under autocast. The network is transformers'
ResNet of the same size where transformers is installed and the stem is large, otherwise a plain ResNet; the table says which. Ours
reads each file once at the start, which is not timed, and keeps the decoded images in memory.

Both sides run alternately in one process. The probabilities must be equal from the same weights (plain ResNet); the last rows are the
share of the processor's product rate in our training.
"""

from __future__ import annotations

import argparse
import os
import statistics
from collections.abc import Callable, Sequence
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.matrix_share import TRAINING, product_rate
from benchmarks.plain_resnet import Photos, PlainResNet, operations, predict, train
from benchmarks.report import Row, auto_precision, machine, machine_line, precision_name, speed_row, table
from benchmarks.turns import Contender, StepEnd, rates_in_turns, tokens_per_second
from unfreeze.datasets.dataset import ExampleSet, labeled_set
from unfreeze.encoders.convnet import ConvNet, Stem
from unfreeze.progress import Progress
from unfreeze.tasks.classifier_network import image_network
from unfreeze.tasks.heads import LinearHead
from unfreeze.tasks.image_classifier import ImageClassifier, fit_image_classifier
from unfreeze.tasks.settings import ImageClassifierSettings
from unfreeze.training.precision import Precision
from unfreeze.vision.images import ImageFile
from unfreeze.vision.transforms import ImageTransform

STEPS = 4
"""Updates in a turn."""


@dataclass(frozen=True)
class Case:
    """Images and a network for them."""

    name: str
    stem: Stem
    size: int
    batch_size: int
    folder: Callable[[Path], Path]
    """The folder with a subfolder of JPEG files for each class."""
    n_train: int
    n_predicted: int


CASES = {
    "small": Case("CIFAR-10, 32 pixels", "small", 32, 64, lambda data: data / "cifar10" / "train", 2048, 512),
    "large": Case(
        "pets, 128 pixels", "large", 128, 32, lambda data: data / "oxford-pets" / "sample_images", 256, 128
    ),
}


class Sides:
    """Both networks, and the images for both."""

    def __init__(self, case: Case, data: Path, workers: int) -> None:
        self.case, self.workers = case, workers
        paths = sorted(case.folder(data).glob("*/*.jpg"))
        paths = paths[:: max(1, len(paths) // case.n_train)][: case.n_train]
        self.names = sorted({path.parent.name for path in paths})
        self.labels = [path.parent.name for path in paths]
        self.paths = paths
        torch.manual_seed(0)
        self.network: nn.Module = PlainResNet(len(self.names), case.stem)
        self.peer = "a plain ResNet-18"
        if case.stem == "large":
            with suppress(ImportError):
                self.network, self.peer = transformers_resnet(len(self.names)), "transformers' ResNet-18"

    def photos(self, count: int, *, augments: bool) -> Photos:
        """The first images, for the plain loop."""
        numbers = [self.names.index(label) for label in self.labels[:count]]
        return Photos(self.paths[:count], numbers, self.case.size, augments=augments)

    def examples(self) -> ExampleSet:
        """The training images, for ours."""
        return labeled_set(
            [ImageFile(path) for path in self.paths], self.labels, "the photographs", noun="image"
        )

    def formats(self) -> tuple[list[Precision], dict[str, bool]]:
        """Our precisions, and the names of the plain loops -> whether they run under autocast; bf16 only where it is fast."""
        if auto_precision() == "fp32":
            return ["fp32"], {"float32": False}
        return ["fp32", "auto"], {"float32": False, "autocast": True}

    def rows(self, what: str, precision: Precision, speeds: dict[str, list[float]]) -> list[Row]:
        """The rows of one of our precisions: beside float32, which has a goal, and of bf16 also beside autocast."""
        ours, rows = f"{what}: {precision_name(precision)}", []
        for name in [name for name in ("float32", "autocast") if name in speeds]:
            if name == "float32" or precision == "auto":
                goal = ">= 2" if name == "float32" else "-"
                text = f"{ours} beside {self.peer} in {name}"
                rows.append(speed_row(text, speeds[precision], speeds[name], goal=goal))
        return rows

    def classifier(self) -> ImageClassifier:
        """A classifier with the weights of the plain network, or with random ones beside that of transformers."""
        encoder = ConvNet(ImageTransform(size=self.case.size), stem=self.case.stem)
        network = image_network(encoder, len(self.names))
        if isinstance(self.network, PlainResNet):
            weights = self.network.state_dict()
            (head,) = network.heads.values()
            assert isinstance(head, LinearHead)
            head.linear.load_state_dict({name: weights.pop(f"fc.{name}") for name in ("weight", "bias")})
            # The head standardizes its input; with the statistics of a new network it only divides by the root of 1 + eps.
            head.norm.eps = 0.0
            encoder.load_state_dict(weights)
        return ImageClassifier.of_network(network.eval(), self.names, {})


def transformers_resnet(n_classes: int) -> nn.Module:
    """ResNet-18 of transformers with random weights, images -> logits.

    Raises:
        ImportError: transformers is not installed.
    """
    from transformers import ResNetConfig, ResNetForImageClassification

    sizes = {"embedding_size": 64, "hidden_sizes": [64, 128, 256, 512], "depths": [2, 2, 2, 2]}
    network = ResNetForImageClassification(ResNetConfig(layer_type="basic", num_labels=n_classes, **sizes))

    class Logits(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = self.network(pixel_values=x).logits
            return found

    return Logits()


class _Steps(Progress):
    """Tells the benchmark of every update."""

    def __init__(self, step: StepEnd, batch_size: int) -> None:
        super().__init__()
        self.step, self.batch_size = step, batch_size

    def record(self, step: int, metrics: Any) -> None:
        """Called by the loop after each update."""
        self.step(self.batch_size)


def our_training(sides: Sides, precision: Precision, step: StepEnd) -> None:
    """Train until the benchmark ends."""
    case = sides.case
    settings = ImageClassifierSettings(
        encoder="none", image_size=case.size, stem=case.stem, batch_size=case.batch_size, epochs=1000
    )
    progress = _Steps(step, case.batch_size)
    fit_image_classifier(sides.examples(), settings, precision=precision, progress=progress)


def training(sides: Sides, rounds: int) -> list[Row]:
    """Images per second of both trainings, in turns, and our share of the product rate."""
    case = sides.case
    precisions, peers = sides.formats()
    photos = sides.photos(case.n_train, augments=True)
    running = [Contender(each, partial(our_training, sides, each)) for each in precisions]
    for name, bf16 in peers.items():
        network = deepcopy(sides.network)

        def work_of_peer(step: StepEnd, network: nn.Module = network, bf16: bool = bf16) -> None:
            train(network, photos, case.batch_size, sides.workers, step, bf16=bf16)

        running.append(Contender(name, work_of_peer))
    speeds: dict[str, list[float]] = {contender.name: [] for contender in running}
    for contender in running:
        contender.go_on(steps=2)
    for _ in range(rounds):
        for contender in running:
            speeds[contender.name].append(tokens_per_second(contender.go_on(steps=STEPS)))
    for contender in running:
        contender.stop()
    work = TRAINING * operations(PlainResNet(len(sides.names), case.stem), case.size)
    rows = []
    for each in precisions:
        rows += sides.rows(f"train on {case.name}, images/s", each, speeds)
        chosen = "bf16" if each == "auto" else "fp32"
        rate = product_rate(torch.bfloat16 if chosen == "bf16" else torch.float32, repeats=20)
        share = statistics.median(speeds[each]) * work / rate
        rows.append(Row(what=f"train on {case.name}: share of the product rate in {chosen}", ours=share))
    return rows


@torch.no_grad()
def largest_difference(sides: Sides, classifier: ImageClassifier) -> float:
    """The largest difference of a probability between the plain network and ours, on the same squares."""
    transform = classifier.network_.encoder.processor
    assert isinstance(transform, ImageTransform)
    squares = transform.squares(sides.paths[: sides.case.batch_size])[0]
    wanted = sides.network.eval()(transform.normalized(squares).contiguous()).softmax(1).numpy()
    return float(abs(classifier.predict_proba(squares) - wanted).max())


def prediction(sides: Sides, rounds: int) -> list[Row]:
    """Images per second of both predictions from files, and the largest difference of a probability."""
    case, classifier = sides.case, sides.classifier()
    paths = sides.paths[: case.n_predicted]
    photos = sides.photos(len(paths), augments=False)

    def ours(precision: Precision) -> object:
        classifier.precision = precision
        return classifier.predict_proba(paths)

    rows = []
    if isinstance(sides.network, PlainResNet):
        apart = largest_difference(sides, classifier)
        what = f"{case.name}: largest difference of a probability from the same weights"
        rows.append(Row(what=what, ours=apart, goal="< 1e-4", failed=apart >= 1e-4))
    precisions, peers = sides.formats()
    calls: dict[str, Callable[[], object]] = {each: partial(ours, each) for each in precisions}
    for name, bf16 in peers.items():
        calls[name] = partial(predict, sides.network, photos, case.batch_size, sides.workers, bf16=bf16)
    rates = rates_in_turns(calls, len(paths), rounds, seconds=1.0)
    for each in precisions:
        rows += sides.rows(f"predict {case.name}, images/s", each, rates)
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the cases and print a table; the exit status is 1 if probabilities differ."""
    home = os.environ.get("UNFREEZE_DATA", str(Path.home() / ".cache" / "unfreeze" / "data"))
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.image_speed",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, default=Path(home), help="folder with cifar10/ and oxford-pets/")
    parser.add_argument("--only", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each comparison (default: 5)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="threads of torch")
    parser.add_argument(
        "--workers", type=int, default=0, help="processes that decode images for the plain loop"
    )
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    print(machine_line(machine()), flush=True)
    rows: list[Row] = []
    for name in options.only:
        sides = Sides(CASES[name], options.data, options.workers)
        rows += training(sides, options.rounds)
        rows += prediction(sides, options.rounds)
    print(table(rows))
    return int(any(row.failed for row in rows))


if __name__ == "__main__":
    raise SystemExit(main())
