"""kill -9 and Ctrl-C in the middle of every stage, on the real command line: the same command then ends with the same bits."""

from __future__ import annotations

import contextlib
import io
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.commands.toy import plain_documents, reviews, write_corpus, write_table
from tests.commands.toy_images import write_images
from unfreeze.commands.main import main

SIZES = "--preset tiny --embedding-size 16 --hidden-size 24 --direction both --softmax full"
PRETRAIN = f"pretrain lm --corpus plain.txt {SIZES} --batch-size 8 --bptt 20"
FIT = "fit classifier --train train.csv --validation test.csv --batch-size 8"
STAGES = {
    "pretrain": f"{PRETRAIN} --epochs 3",
    "adapt": "adapt lm --corpus reviews.txt --batch-size 4 --bptt 20 --epochs 4 --optimizer nt-asgd --learning-rate 2",
    "scratch": f"{FIT} --encoder none --hidden-size 16 --epochs 30",
    "frozen": f"{FIT} --encoder lm --transfer frozen --epochs 60",
    "fine-tune": f"{FIT} --encoder lm --pooling top+vectors --epochs 30",
    "images": "fit classifier --train pictures --image-size 16 --width 8 --depths 1 1 --batch-size 8 --jitter 0.2 --epochs 60",
    "word2vec": "pretrain word2vec --corpus plain.txt --size 200 --min-count 1 --window 10 --epochs 100 --workers 1",
}
PATIENCE = 300.0


def number_format(line: str) -> list[str]:
    """What makes sums the same; word vectors know no other."""
    return [] if "word2vec" in line else ["--precision", "fp32"]


def call(line: str, output: Path) -> str:
    """Run to the end in this process; returns what was said on standard error."""
    err = io.StringIO()
    words = [*shlex.split(line), *number_format(line), "--output", str(output)]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(err):
        status = main(words)
    assert status == 0, err.getvalue()
    return err.getvalue()


def stop(line: str, output: Path, number: signal.Signals) -> tuple[int, str]:
    """Run in another process, send the signal after the first checkpoint; returns status and standard error."""
    words = [*shlex.split(line), *number_format(line), "--output", str(output), "--checkpoint-minutes", "0"]
    program = [sys.executable, "-m", "unfreeze", *words]
    process = subprocess.Popen(program, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + PATIENCE
    while not (output / "training" / "checkpoint.pt").is_file():
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.005)
    process.send_signal(number)
    _, err = process.communicate(timeout=PATIENCE)
    return process.returncode, err


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with texts and a language model."""
    root = tmp_path_factory.mktemp("interruption")
    write_table(root / "train.csv", reviews(80, seed=1))
    write_table(root / "test.csv", reviews(20, seed=2))
    write_images(root / "pictures", 48, seed=5)
    write_corpus(root / "reviews.txt", [text for text, _ in reviews(300, seed=3)])
    write_corpus(root / "plain.txt", plain_documents(300, seed=4))
    with contextlib.chdir(root):
        call(f"{PRETRAIN} --epochs 1", Path("lm"))
    return root


def slow(*values: object) -> object:
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    ("stage", "number"),
    [
        ("fine-tune", signal.SIGKILL),
        *(slow(stage, signal.SIGKILL) for stage in STAGES if stage != "fine-tune"),
        *(slow(stage, signal.SIGINT) for stage in STAGES),
    ],
)
def test_the_same_command_goes_on_to_the_same_bits(
    stage: str, number: signal.Signals, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(world)
    line = STAGES[stage]
    call(line, tmp_path / "whole")
    status, err = stop(line, tmp_path / "stopped", number)
    assert not (tmp_path / "stopped" / "config.json").exists(), "it was over before the signal came"
    last = err.splitlines()[-1] if err else ""
    if number == signal.SIGKILL:
        assert status == -signal.SIGKILL
    else:
        assert status == 130 and "rerun the command to resume" in last and "Traceback" not in err
    assert "resuming from " in call(line, tmp_path / "stopped")
    whole, resumed = (tmp_path / name / "model.safetensors" for name in ("whole", "stopped"))
    assert whole.read_bytes() == resumed.read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"whole", "stopped"}
    left = {path.name for path in (tmp_path / "stopped" / "training").iterdir()}
    assert left == {"run.json", "log.jsonl"}
