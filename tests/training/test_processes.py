"""Several processes end as one does: with its weights, its figures and its one line on standard error.

Two processes are started once, as a launcher starts them, and run one command line after another. Neither ends when a
command fails, so one that waited for the other in vain would wait here: a hang is an error of the test. The launchers
themselves are run at the end.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, redirect_stderr, redirect_stdout
from dataclasses import asdict, dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from tests.commands.toy import plain_documents, reviews, write_corpus, write_table
from tests.commands.toy_images import write_images
from tests.tasks.rectangles import one_rectangle
from unfreeze.commands.main import main
from unfreeze.training import loop
from unfreeze.training.checkpoints import Checkpoints

LONGEST = 300.0
"""Seconds that a command may take on a busy machine; on a free core it takes one or two."""

PRETRAIN = "pretrain lm --corpus texts.txt --preset tiny --direction both --dropout-scale 0 --precision fp32"
ADAPT = "adapt lm --corpus reviews.txt --batch-size 6 --bptt 12 --dropout-scale 0 --precision fp32"
FIT = "fit classifier --train train.csv --validation validation.csv --batch-size 9 --dropout-scale 0 --precision fp32"
SGD = "--optimizer nt-asgd --learning-rate 0.03"
COMMANDS = {
    "pretrain": PRETRAIN,
    "qrnn": f"{PRETRAIN} --cell qrnn --batch-size 6 --bptt 12",
    "adapt": ADAPT,
    "scratch": f"{FIT} --encoder none --epochs 2 --embedding-size 12 --hidden-size 16",
    "frozen": f"{FIT} --encoder lm --transfer frozen --epochs 2",
    "fine-tune": f"{FIT} --encoder lm --transfer fine-tune --epochs 3",
    "fine-tune by sgd": f"{FIT} --encoder lm --transfer fine-tune --epochs 3 {SGD}",
}
SMALL_NETWORK = f"--width 8 --depths 1 1 --stem small --epochs 2 --batch-size 5 --precision fp32 {SGD}"
COMMANDS |= {
    "images": f"fit classifier --train pictures --validation held-out --image-size 16 --jitter 0.2 {SMALL_NETWORK}",
    "boxes": f"fit locator --train boxes/boxes.csv --image-size 24 {SMALL_NETWORK}",
    "several boxes": f"fit locator --train boxes/boxes.csv --boxes several --image-size 24 {SMALL_NETWORK}",
}
LARGEST_ERRORS = {"fine-tune": 1e-3}
"""Where a gradient is next to nothing, Adam makes a part of a step out of a rounding error; SGD does not."""


@dataclass
class Ending:
    """How a command ended in one process."""

    status: int
    out: str
    err: str

    @property
    def complaints(self) -> list[str]:
        """The lines that say why it ended."""
        return [line for line in self.err.splitlines() if line.startswith("unfreeze: ")]


def ending_of(line: str, happens: str = "nothing") -> Ending:
    """Run a command line in this process, where something happens on the way."""
    out, err = StringIO(), StringIO()
    with redirect_stdout(out), redirect_stderr(err), EVENTS[happens]():
        try:
            status = main(line.split())
        except SystemExit as end:
            assert isinstance(end.code, int)
            status = end.code
    return Ending(status, out.getvalue(), err.getvalue())


@contextmanager
def interrupted() -> Iterator[None]:
    """Ctrl-C within the eighth step, which ends first; a launcher may pass on what the terminal has sent already."""
    update = loop._Run.update

    def then_interrupt(run: loop._Run, batch: Any) -> dict[str, float]:
        figures = update(run, batch)
        if run.step == 8:
            for _ in range(run.accelerator.num_processes):
                os.kill(os.getpid(), signal.SIGINT)
        return figures

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop._Run, "update", then_interrupt)
        yield


@contextmanager
def full_disk() -> Iterator[None]:
    """A checkpoint is due at once, and finds no room."""

    def no_room(checkpoints: Checkpoints, state: Any) -> None:
        raise OSError(28, "No space left on device")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoints, "save", no_room)
        patch.setattr(loop._Run, "checkpoint_due", True)
        yield


EVENTS: dict[str, Callable[[], AbstractContextManager[None]]] = {
    "nothing": nullcontext,
    "interrupted": interrupted,
    "full disk": full_disk,
}


@contextmanager
def without_dropout() -> Iterator[None]:
    """Heads have dropouts that no option turns off, and each process draws its own masks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.nn.Dropout, "forward", lambda module, x: x)
        yield


def serve() -> None:
    """What each of the two processes does: run the command in each line it reads, and answer how that ended."""
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    with without_dropout():
        for request in sys.stdin:
            print(json.dumps(asdict(ending_of(*json.loads(request)))), file=replies, flush=True)


class Pair:
    """The two processes."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = {
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(free.getsockname()[1]),
                "WORLD_SIZE": "2",
            }
        self.processes = [
            subprocess.Popen(
                [sys.executable, "-c", "from tests.training.test_processes import serve; serve()"],
                cwd=folder,
                env={
                    **os.environ,
                    **address,
                    "RANK": rank,
                    "LOCAL_RANK": rank,
                    "PYTHONPATH": os.pathsep.join(sys.path),
                },
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for rank in "01"
        ]

    def run(self, line: str, happens: str = "nothing") -> list[Ending]:
        """The same command line in both."""
        for process in self.processes:
            assert process.stdin is not None
            print(json.dumps([line, happens]), file=process.stdin, flush=True)
        return [self._reply(process) for process in self.processes]

    def _reply(self, process: subprocess.Popen[str]) -> Ending:
        assert process.stdout is not None
        if not select.select([process.stdout], [], [], LONGEST)[0]:
            self.end()
            raise AssertionError("a process waits for the other one in vain")
        line = process.stdout.readline()
        assert line, f"a process ended with the status {process.wait()}"
        return Ending(**json.loads(line))

    def end(self) -> None:
        """Kill both."""
        for process in self.processes:
            process.kill()
            process.communicate()


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Two processes in a folder with texts, reviews and the language model lm; this process goes there too."""
    folder = tmp_path_factory.mktemp("processes")
    write_corpus(folder / "texts.txt", plain_documents(60, seed=0))
    write_corpus(folder / "reviews.txt", [text for text, _ in reviews(60, seed=1)])
    write_table(folder / "train.csv", reviews(50, seed=2))
    write_table(folder / "validation.csv", reviews(30, seed=3))
    write_table(folder / "good.csv", [("A funny film.", "pos")] * 4)
    write_table(folder / "other.csv", [("A funny film.", "neutral")])
    write_corpus(folder / "blank.txt", ["", " "])
    write_images(folder / "pictures", 6, seed=4)
    write_images(folder / "held-out", 3, seed=5)
    (folder / "boxes").mkdir()
    pictures, edges = one_rectangle(11, 0)
    rows = ["filename,class,xmin,ymin,xmax,ymax"]
    for number, (picture, box) in enumerate(zip(pictures, edges, strict=True)):
        PIL.Image.fromarray(picture).save(folder / "boxes" / f"{number}.png")
        rows.append(",".join([f"{number}.png", "paper", *map(str, box)]))
    (folder / "boxes" / "boxes.csv").write_text("\n".join(rows) + "\n")
    two = Pair(folder)
    with pytest.MonkeyPatch.context() as patch, without_dropout():
        patch.chdir(folder)
        assert ending_of(f"{PRETRAIN} --output lm").status == 0
        yield two
    two.end()


def run(pair: Pair, processes: int, line: str, happens: str = "nothing") -> list[Ending]:
    return [ending_of(line, happens)] if processes == 1 else pair.run(line, happens)


def succeed(pair: Pair, processes: int, line: str) -> None:
    """Run it; all end well, and the first alone speaks."""
    endings = run(pair, processes, line)
    assert [ending.status for ending in endings] == [0] * processes, endings
    assert endings[0].out and not any(ending.out or ending.err for ending in endings[1:])


def alone(pair: Pair, name: str) -> Path:
    """Where one process's result of a command is."""
    output = Path(f"{name}-1".replace(" ", "-"))
    if not output.exists():
        succeed(pair, 1, f"{COMMANDS[name]} --output {output}")
    return output


def assert_same(found: Path, expected: Path, largest_error: float = 1e-4) -> None:
    """The same figures and weights, up to the order in which numbers are added up."""
    tensors = load_file(found / "model.safetensors")
    for name, tensor in load_file(expected / "model.safetensors").items():
        error = root_mean_square(tensors[name].double() - tensor.double())
        assert error <= largest_error * (root_mean_square(tensor.double()) + 0.01), name
    figures, wanted = (json.loads((folder / "metrics.json").read_text()) for folder in (found, expected))
    for folder, values in ((found, figures), (expected, wanted)):
        seconds = [record["seconds"] for record in records(folder)]
        assert values.pop("seconds") in seconds and seconds[0] >= 0 and seconds == sorted(seconds)
    assert figures == pytest.approx(wanted, rel=1e-4)
    steps, wanted = ([record["step"] for record in records(folder)] for folder in (found, expected))
    assert steps == wanted


def root_mean_square(x: Tensor) -> float:
    return float(x.norm()) / max(1, x.numel()) ** 0.5


def records(folder: Path) -> list[dict[str, Any]]:
    """The lines of the run's log, of which there is one for each measurement however many processes made it."""
    return [json.loads(line) for line in (folder / "training" / "log.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("name", COMMANDS)
def test_two_processes_end_as_one_does(pair: Pair, name: str) -> None:
    output = Path(f"{name}-2".replace(" ", "-"))
    succeed(pair, 2, f"{COMMANDS[name]} --output {output}")
    assert_same(output, alone(pair, name), LARGEST_ERRORS.get(name, 1e-4))


MISTAKES = {
    "no corpus": (f"{PRETRAIN} --corpus absent.txt", "absent.txt"),
    "a corpus without text": (f"{PRETRAIN} --corpus blank.txt", "no text"),
    "lanes that cannot be dealt": (f"{ADAPT} --batch-size 3", "divided among 2 processes"),
    "another run's output": (f"{ADAPT} --epochs 7", "belongs to another run"),
    "another fit's output": (f"{COMMANDS['scratch']} --seed 7", "belongs to another run"),
    "no examples": (f"{FIT} --train absent.csv", "absent.csv"),
    "one class": (f"{FIT} --train good.csv --validation good.csv", "one class"),
    "a label that is not in the training data": (f"{FIT} --validation other.csv", "not in the training data"),
    "too large a rate": (f"{ADAPT} --learning-rate 1e30", "smaller learning rate"),
    "too large a rate for a classifier": (
        f"{FIT} --encoder none --learning-rate 1e30",
        "smaller learning rate",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_ends_both_with_one_line(pair: Pair, name: str) -> None:
    line, message = MISTAKES[name]
    output = {"another run's output": "adapt", "another fit's output": "scratch"}.get(name)
    place = f"wrong-{name}".replace(" ", "-") if output is None else alone(pair, output)
    endings = pair.run(f"{line} --output {place}")
    assert [ending.status for ending in endings] == [2, 2], endings
    complaints = [line for ending in endings for line in ending.complaints]
    assert len(complaints) == 1 and message in complaints[0]


@pytest.mark.parametrize("name", ["adapt", "fine-tune"])
def test_a_full_disk_ends_both_with_one_line(pair: Pair, name: str) -> None:
    endings = pair.run(f"{COMMANDS[name]} --output full-{name}", happens="full disk")
    assert [ending.status for ending in endings] == [2, 2], endings
    assert "No space left" in endings[0].complaints[0] and not endings[1].err


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [("adapt", 2, 1), ("adapt", 1, 2), ("fine-tune", 2, 1), ("fine-tune", 1, 2), ("qrnn", 2, 1)],
)
def test_an_interrupted_run_goes_on_with_another_number_of_processes(
    pair: Pair, name: str, before: int, after: int
) -> None:
    output = Path(f"{name}-{before}-then-{after}")
    line = f"{COMMANDS[name]} --output {output}"
    endings = run(pair, before, line, happens="interrupted")
    assert [ending.status for ending in endings] == [130] * before, endings
    assert "rerun the command to resume" in endings[0].complaints[0]
    assert not any(ending.err for ending in endings[1:])
    assert (output / "training" / "checkpoint.pt").is_file()
    succeed(pair, after, line)
    assert_same(output, alone(pair, name), LARGEST_ERRORS.get(name, 1e-4))


@pytest.mark.parametrize("name", ["adapt", "fine-tune"])
def test_each_process_goes_on_with_its_own_dropout_masks(pair: Pair, name: str) -> None:
    whole, cut = (f"{COMMANDS[name]} --dropout-scale 1 --output {name}-{kind}" for kind in ("whole", "cut"))
    succeed(pair, 2, whole)
    assert [ending.status for ending in pair.run(cut, happens="interrupted")] == [130, 130]
    succeed(pair, 2, cut)
    assert_same(Path(f"{name}-cut"), Path(f"{name}-whole"), largest_error=0.0)


@pytest.mark.parametrize("name", ["adapt", "frozen"])
def test_time_bounds_both_alike(pair: Pair, name: str) -> None:
    line = COMMANDS[name].replace("--epochs 2", "")
    succeed(pair, 2, f"{line} --minutes 0.01 --output minutes-{name}")
    assert records(Path(f"minutes-{name}"))[-1]["step"] > 1


def test_fewer_examples_than_processes(pair: Pair) -> None:
    """One process has no example in any batch."""
    Path("one.csv").write_text("text,label\nThe film was very funny.,pos|short\n")
    line = f"{FIT.replace('train.csv', 'one.csv').replace('validation.csv', 'one.csv')} --multi-label --encoder none --epochs 3"
    for processes in (1, 2):
        succeed(pair, processes, f"{line} --output one-{processes}")
    assert_same(Path("one-2"), Path("one-1"))


@pytest.mark.parametrize("boxes", ["", "--boxes several"])
def test_fewer_images_than_processes(pair: Pair, boxes: str) -> None:
    """A process without images takes part in the sums of the batch norms, and adds nothing to them."""
    name = "several-box" if boxes else "one-box"
    Path(f"boxes/{name}.csv").write_text("".join(Path("boxes/boxes.csv").read_text().splitlines(True)[:2]))
    line = f"fit locator --train boxes/{name}.csv {boxes} --image-size 24 {SMALL_NETWORK}"
    for processes in (1, 2):
        succeed(pair, processes, f"{line} --output {name}-{processes}")
    assert_same(Path(f"{name}-2"), Path(f"{name}-1"))


def test_fewer_tokens_than_lanes(pair: Pair) -> None:
    """One process has no target in any batch."""
    Path("few.txt").write_text("a mouse sat there\n")
    line = f"{PRETRAIN.replace('texts.txt', 'few.txt')} --min-count 1 --validation few.txt --bptt 2"
    for processes in (1, 2):
        succeed(pair, processes, f"{line} --output few-{processes}")
    assert_same(Path("few-2"), Path("few-1"))


ACCELERATE = "accelerate launch --multi_gpu --num_processes 2 --num_machines 1 --mixed_precision no --dynamo_backend no"
TORCHRUN = "torchrun --standalone --nproc_per_node 2"


def launch(launcher: str, line: str) -> subprocess.Popen[str]:
    """Start a launcher in a process group of its own."""
    program = [f"{Path(sys.executable).parent}/{launcher}", "-m", "unfreeze", *line.split()]
    return subprocess.Popen(
        " ".join(program).split(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.mark.parametrize("launcher", [ACCELERATE, pytest.param(TORCHRUN, marks=pytest.mark.slow)])
def test_launchers_start_both(pair: Pair, launcher: str) -> None:
    output = Path(launcher.split()[0])
    process = launch(launcher, f"{COMMANDS['adapt']} --output {output}")
    out, err = process.communicate(timeout=LONGEST)
    assert process.returncode == 0 and out.count(f"output: {output}") == 1, err
    assert_same(output, alone(pair, "adapt"))


@pytest.mark.slow
def test_ctrl_c_at_a_launcher_costs_nothing(pair: Pair) -> None:
    line = f"{COMMANDS['adapt']} --minutes 0.05 --validate-minutes 0.0001 --output ctrl-c"
    process = launch(ACCELERATE, line)
    log = Path("ctrl-c/training/log.jsonl")
    wait_until(lambda: log.is_file() and log.stat().st_size > 0)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=LONGEST)
    assert (
        process.returncode != 0 and err.count("unfreeze: ") == 1 and "rerun the command to resume" in err
    ), err
    process = launch(TORCHRUN, line)
    _, err = process.communicate(timeout=LONGEST)
    assert process.returncode == 0 and "resuming from step" in err, err


def wait_until(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + LONGEST
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.02)
