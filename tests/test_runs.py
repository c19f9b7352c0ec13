"""Runs: whose an output is, what is resumed and what is refused, and what kills, full disks and other processes do."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from unfreeze import identities
from unfreeze.commands.arguments import as_option
from unfreeze.errors import Interrupted, UserError
from unfreeze.folders import load_tensors, write_config, write_model, written_folder
from unfreeze.runs import Run
from unfreeze.training import precision
from unfreeze.training.checkpoints import read_log

STATE: dict[str, Any] = {"model": {"w": torch.arange(50.0)}, "position": {"step": 3}, "best": (0.5, {})}


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def opened(output: Path, identity: dict[str, Any], **options: Any) -> Run:
    """A run that was entered and left."""
    with Run(output, lambda: identity, **options) as run:
        return run


def save(run: Run) -> None:
    assert run.checkpoints is not None
    run.checkpoints.save(STATE)


def test_the_same_run_is_resumed_and_another_one_is_refused(tmp_path: Path) -> None:
    save(opened(tmp_path / "out", {"rate": 0.1, "sizes": (1, 2)}))
    again = opened(tmp_path / "out", {"rate": 0.1, "sizes": (1, 2)})
    assert not again.done and again.checkpoints is not None and again.checkpoints.load() is not None
    with pytest.raises(UserError, match=r"rate 0\.1 there, 0\.2 here.*overwrite=True") as caught:
        opened(tmp_path / "out", {"rate": 0.2, "sizes": (1, 2)})
    assert "\n" not in str(caught.value)
    assert again.checkpoints.load() is not None


def test_a_setting_that_an_earlier_version_lacked_is_no_difference(tmp_path: Path) -> None:
    save(opened(tmp_path / "out", {"rate": 0.1}))
    now = {"learning_rate": 0.2, "cell": "lstm", "zoneout": 0.0}
    with pytest.raises(UserError, match=r"another run \(learning_rate 0\.1 there, 0\.2 here\)"):
        opened(tmp_path / "out", now)
    assert not opened(tmp_path / "out", {**now, "learning_rate": 0.1}).done


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        ({"epochs": None}, {"epochs": 3}, "epochs not given there, 3 here"),
        ({"epochs": 3}, {"epochs": None}, "epochs 3 there, not given here"),
        (
            {"epochs": 3},
            {"minutes": 2.0},
            "epochs 3 there, not given here, minutes not given there, 2.0 here",
        ),
    ],
)
def test_an_option_that_was_not_given_is_called_so(
    before: dict[str, Any], now: dict[str, Any], said: str, tmp_path: Path
) -> None:
    save(opened(tmp_path / "out", before))
    with pytest.raises(UserError, match=re.escape(f"belongs to another run ({said})")):
        opened(tmp_path / "out", now)


def test_overwriting_leaves_the_model_and_nothing_else_of_the_earlier_run(tmp_path: Path) -> None:
    output = tmp_path / "out"
    first = opened(output, {"run": 1})
    save(first)
    assert first.checkpoints is not None
    first.checkpoints.log({"step": 1})
    (output / "training" / "tokenizer.json").write_text("of run 1")
    (output / "training" / "tokens").mkdir()
    (output / "training" / "tokens" / "ids").write_text("of run 1")
    write_config(output, {"kind": "toy"})
    second = opened(output, {"run": 2}, overwrite=True)
    assert not second.done and second.checkpoints is not None
    assert second.checkpoints.load() is None and read_log(output) == []
    assert files(output) == {"config.json", os.path.join("training", "run.json")}


def finish(run: Run, value: float = 1.0) -> dict[str, Any]:
    def write(output: Path) -> None:
        with written_folder(output, keep={"training"}) as folder:
            write_model(folder, {"kind": "toy"}, {"w": torch.full((3,), value)})

    return run.finish(write, {"accuracy": value}, title="Toy", facts={"data": "none"}, snippet="pass")


def test_a_finished_run_is_done_as_long_as_its_model_is_there(tmp_path: Path) -> None:
    output = tmp_path / "out"
    with Run(output, lambda: {"run": 1}) as run:
        save(run)
        assert run.checkpoints is not None
        run.checkpoints.log({"step": 1})
        (output / "training" / "tokens").mkdir()
        assert finish(run) == {"accuracy": 1.0}
    assert files(output / "training") == {"run.json", "log.jsonl"}
    assert not (output / "training" / "tokens").exists()
    again = opened(output, {"run": 1})
    assert again.done and again.metrics == {"accuracy": 1.0}
    (output / "config.json").unlink()
    assert not opened(output, {"run": 1}).done


def test_a_model_that_unfreeze_did_not_train_here_is_not_written_over(tmp_path: Path) -> None:
    write_config(tmp_path, {"kind": "toy"})
    with pytest.raises(UserError, match="already holds a model"):
        opened(tmp_path, {"run": 1})
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file"):
        opened(tmp_path / "file", {"run": 1})


@pytest.mark.parametrize("theirs", ["README.md", "training/week-1.csv"])
def test_what_is_the_users_is_left_alone(
    theirs: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data" / "training").mkdir(parents=True)
    (tmp_path / "data" / theirs).write_text("years of work")
    with pytest.raises(UserError, match=f"{theirs} is not unfreeze's .* choose another output"):
        opened(tmp_path / "data", {"run": 1}, overwrite=True)
    monkeypatch.chdir(tmp_path / "data")
    for place in (".", "", "..", "training/..", tmp_path):
        with pytest.raises(UserError, match="the folder you are in, or above it"):
            opened(Path(place), {"run": 1})
    assert files(tmp_path) == {os.path.join("data", theirs)}


def test_a_run_that_was_killed_at_once_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "training").mkdir()
    (tmp_path / "training" / ".run.json.123.part").write_text("")
    assert not opened(tmp_path, {"run": 1}).done


def test_how_often_it_is_saved_makes_no_other_run(tmp_path: Path) -> None:
    save(opened(tmp_path, {"loop": {"epochs": 2, "checkpoint_minutes": 3.0}}))
    opened(tmp_path, {"loop": {"epochs": 2, "checkpoint_minutes": 0.0}})
    assert (tmp_path / "training" / "checkpoint.pt").exists()
    with pytest.raises(UserError, match="belongs to another run"):
        opened(tmp_path, {"loop": {"epochs": 3, "checkpoint_minutes": 3.0}})


ONE, TWO = "0123456789abcdef", "f123456789abcdef"


@pytest.mark.parametrize(
    ("before", "asked", "said"),
    [
        ({"train": ["a.csv", ONE], "seed": 0}, {"train": ["a.csv", TWO], "seed": 1},
         "other examples of a.csv, seed 0 there, 1 here"),
        ({"train": ["a.csv", ONE]}, {"train": ["b.csv", TWO]}, "train 'a.csv' there, 'b.csv' here"),
        ({"validation": None}, {"validation": ["b.csv", TWO]}, "validation not given there, 'b.csv' here"),
        ({"weights": [ONE, None]}, {"weights": [TWO, None]}, "other weights of the encoder or the word vectors"),
        ({"weights": [None, ONE]}, {"weights": [None, TWO]}, "other weights of the encoder or the word vectors"),
        ({"encoder_weights": ONE}, {"encoder_weights": TWO}, "other weights of the encoder"),
        ({"digest": ONE}, {"digest": TWO}, "another digest"),
        ({"corpus": [[["a", 1], ["b", 2]]]}, {"corpus": [[["a", 1], ["b", 3]]]}, "other text in a, b"),
        ({"corpus": [[["a", 1]]]}, {"corpus": [[[name, 1] for name in "bcde"], ["hf:x/y"]]},
         "corpus a there, b, c, d, ... here"),
        ({"validation": []}, {"validation": [[["a", 1]]]}, "validation not given there, a here"),
        ({"word_vectors": "None"}, {"word_vectors": "v"}, "word_vectors not given there, 'v' here"),
        ({"gradual": True}, {"gradual": False}, "gradual=True there, gradual=False here"),
        ({"stage": "pretrain lm", "seed": 0}, {"stage": "adapt", "seed": 1}, "pretrain lm there, adapt here"),
    ],
)  # fmt: skip
def test_digests_are_not_shown(
    tmp_path: Path, before: dict[str, Any], asked: dict[str, Any], said: str
) -> None:
    save(opened(tmp_path, before))
    with pytest.raises(UserError) as caught:
        opened(tmp_path, asked)
    assert f"belongs to another run ({said})" in str(caught.value)


def test_a_damaged_record_is_one_line(tmp_path: Path) -> None:
    save(opened(tmp_path, {"run": 1}))
    for content in ('{"done": fal', '{"done": false}', "[]", "", "[" * 100_000):
        (tmp_path / "training" / "run.json").write_text(content)
        with pytest.raises(UserError, match=r"run\.json.* is damaged: remove"):
            opened(tmp_path, {"run": 1})


# Faults of runs


def test_a_second_run_is_refused_while_the_first_one_lives(tmp_path: Path) -> None:
    output, ready = tmp_path / "out", tmp_path / "ready"
    program = f"""
import time
from pathlib import Path
from unfreeze.runs import Run
with Run(Path({str(output)!r}), lambda: {{"run": 1}}):
    Path({str(ready)!r}).touch()
    time.sleep(600)
"""
    process = subprocess.Popen([sys.executable, "-c", program])
    try:
        while not ready.exists():
            assert process.poll() is None
            time.sleep(0.05)
        for identity in ({"run": 1}, {"run": 2}):
            with pytest.raises(UserError, match=f"being written by another run .process {process.pid}"):
                opened(output, identity, overwrite=True)
    finally:
        process.kill()
        process.wait()
    # The lock of a killed process stops nobody.
    assert not opened(output, {"run": 1}).done
    assert files(output) == {os.path.join("training", "run.json")}


def test_the_command_line_reads_of_options(tmp_path: Path) -> None:
    save(opened(tmp_path, {"source": "a", "learning_rate": 0.1, "gradual": True}))
    with pytest.raises(UserError) as caught:
        opened(tmp_path, {"source": "b", "learning_rate": 0.2, "gradual": False})
    said = caught.value.written(as_option)
    assert (
        "(source 'a' there, 'b' here, --learning-rate 0.1 there, 0.2 here, --gradual there, --no-gradual here)"
        in said
    )


def test_a_finished_run_without_the_output_layer_does_not_serve_one_that_needs_it(tmp_path: Path) -> None:
    output = tmp_path / "out"
    with Run(output, lambda: {"run": 1}) as run:
        finish(run)
    assert opened(output, {"run": 1}, has_output_layer=lambda folder: True).done
    lacking: dict[str, Any] = {"has_output_layer": lambda folder: False}
    said = r"another run \(without_output=True there, without_output=False here\)"
    with pytest.raises(UserError, match=said):
        opened(output, {"run": 1}, **lacking)
    assert opened(output, {"run": 1}).done, "it stays what it is"
    again = opened(output, {"run": 1}, overwrite=True, **lacking)
    assert not again.done
    assert not opened(output, {"run": 1}).done, "begun again, it is resumed with and without the output layer"


def test_a_file_system_without_locks_gets_no_lock_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with Run(tmp_path / "out", lambda: {"run": 1}) as run:
        finish(run)
    assert "lock" not in {path.name for path in (tmp_path / "out" / "training").iterdir()}


def test_a_folder_that_a_living_process_is_replacing_is_not_put_back(tmp_path: Path) -> None:
    output, earlier = tmp_path / "out", tmp_path / ".out.4711.earlier"
    with Run(output, lambda: {"run": 1}):
        output.rename(earlier)  # between the two renames, where folders cannot be exchanged in one step
        with pytest.raises(UserError, match="is being written by another run"):
            opened(output, {"run": 1})
        assert earlier.exists() and not output.exists()
        earlier.rename(output)
    assert not opened(output, {"run": 1}).done


def test_ctrl_c_says_that_a_run_with_a_checkpoint_is_resumed(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt) as caught, Run(tmp_path, lambda: {"run": 1}):
        raise KeyboardInterrupt
    assert not isinstance(caught.value, Interrupted), "there is nothing to resume"
    with (
        pytest.raises(Interrupted, match="rerun the command to resume"),
        Run(tmp_path, lambda: {"run": 1}) as run,
    ):
        save(run)
        raise KeyboardInterrupt
    with pytest.raises(Interrupted, match="saved"), Run(tmp_path, lambda: {"run": 1}):
        raise Interrupted("saved")


def test_a_link_to_a_folder_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "large-disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "large-disk" / "model")
    for value in (1.0, 2.0):
        with Run(tmp_path / "link", lambda: {"run": value}, overwrite=True) as run:  # noqa: B023
            finish(run, value)
    assert (tmp_path / "link").is_symlink() and not (tmp_path / "large-disk" / "model").is_symlink()
    assert load_tensors(tmp_path / "link" / "model.safetensors")["w"].tolist() == [2.0] * 3
    assert {path.name for path in tmp_path.iterdir()} == {"large-disk", "link"}
    assert {path.name for path in (tmp_path / "large-disk").iterdir()} == {"model"}


def test_a_mount_point_is_refused_before_anything_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    monkeypatch.setattr(os.path, "ismount", lambda path: Path(path) == volume)
    with pytest.raises(UserError, match="volume is a mount point.*name a folder inside it"):
        opened(volume, {"run": 1})
    assert not list(volume.iterdir())
    assert not opened(volume / "model", {"run": 1}).done


def test_what_a_killed_process_left_is_removed_and_what_it_moved_is_put_back(tmp_path: Path) -> None:
    output = tmp_path / "out"
    with Run(output, lambda: {"run": 1}) as run:
        finish(run)
    whole = files(tmp_path)
    # Killed between the two renames, where folders cannot be exchanged in one step.
    output.rename(tmp_path / ".out.4711.earlier")
    (tmp_path / ".out.abcdefgh.part").mkdir()
    assert opened(output, {"run": 1}).done and files(tmp_path) == whole
    # Killed while the earlier folder was removed, while files were written, and while the run was being finished.
    (tmp_path / ".out.abcdefg2.part" / "training").mkdir(parents=True)
    (tmp_path / ".out.4711.earlier").mkdir()
    (output / ".metrics.json.4711.part").touch()
    (output / "training" / ".checkpoint.pt.4711.part").touch()
    (output / "training" / "tokens").mkdir()
    (output / ".mine.4711.part").touch()
    (tmp_path / ".other.4711.earlier").mkdir()
    assert opened(output, {"run": 1}).done
    assert files(tmp_path) == whole | {os.path.join("out", ".mine.4711.part")}
    assert {path.name for path in tmp_path.iterdir()} == {"out", ".other.4711.earlier"}


def test_hidden_files_in_a_folder_called_training_are_not_removed(tmp_path: Path) -> None:
    theirs = tmp_path / "training" / ".theirs.part"
    theirs.parent.mkdir()
    theirs.touch()
    with pytest.raises(UserError, match="is not unfreeze's and would be replaced"):
        opened(tmp_path, {"run": 1})
    assert theirs.exists()


def test_what_is_prepared_once_is_made_again_where_it_is_damaged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = []

    def make(folder: Path) -> None:
        made.append(1)
        (folder / "words.json").write_text("[1, 2]")

    def load(folder: Path) -> list[int]:
        found: list[int] = json.loads((folder / "words.json").read_text())
        return found

    with Run(tmp_path / "out", lambda: {"run": 1}) as run:
        assert run.once("words.json", make, load) == run.once("words.json", make, load) == [1, 2]
        assert len(made) == 1
        (run.folder / "words.json").write_text("[1,")
        caplog.clear()
        assert run.once("words.json", make, load) == [1, 2]
    assert len(made) == 2 and "it is made again" in caplog.text


def test_a_run_is_resumed_in_its_number_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def format_of(run: Run) -> str:
        return str(run.accelerator.mixed_precision)

    output = tmp_path / "out"
    monkeypatch.setattr(precision, "processor_flags", lambda: frozenset({"amx_bf16"}))
    run = opened(output, {"run": 1})
    assert "precision" not in json.loads((output / "training" / "run.json").read_text()), (
        "nothing was computed"
    )
    assert format_of(run) == "bf16"
    save(run)
    monkeypatch.setattr(precision, "processor_flags", frozenset)
    assert format_of(opened(tmp_path / "other", {"run": 1})) == "no"
    assert format_of(opened(output, {"run": 1})) == "bf16", "what was begun on another machine"
    assert format_of(opened(output, {"run": 1}, precision="bf16")) == "bf16"
    with pytest.raises(UserError, match=r"belongs to another run \(precision 'bf16' there, 'fp32' here\)"):
        opened(output, {"run": 1}, precision="fp32")
    (output / "training" / "checkpoint.pt").unlink()
    assert format_of(opened(output, {"run": 1}, precision="fp32")) == "no", "nothing was computed yet"


def test_runs_of_earlier_versions_are_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(identities.RENAMED[""], "pace", "speed")
    save(opened(tmp_path, {"policy": {"pace": 0.1}, "spelling": None}))
    # Renamed, nested otherwise, and with settings that earlier versions did not have.
    assert not opened(tmp_path, {"speed": 0.1, "loop": {"cell": "lstm", "windows": [2], "zoneout": 0.0}}).done
    assert (tmp_path / "training" / "checkpoint.pt").exists()
    for other in ({"speed": 0.2}, {"speed": 0.1, "cell": "qrnn"}, {"speed": 0.1, "spelling": {}}):
        with pytest.raises(UserError, match="belongs to another run"):
            opened(tmp_path, other)


def test_a_run_in_memory_touches_no_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    def unwanted(*_: object) -> Any:
        raise AssertionError

    with Run(None, unwanted, precision="fp32") as run:
        assert not run.done and run.checkpoints is None and run.accelerator.mixed_precision == "no"
        assert run.finish(unwanted, {"accuracy": 1.0}, title="", facts={}, snippet="") == {"accuracy": 1.0}
    assert not list(tmp_path.iterdir())


def test_a_run_that_fails_at_once_leaves_no_folder(tmp_path: Path) -> None:
    def fail(output: Path, before: str | None = None) -> set[str]:
        with pytest.raises(UserError), Run(output, lambda: {"rate": 0.1}) as run:
            assert run.folder.is_dir()
            if before is not None:
                (run.folder / before).write_text("prepared")
            raise UserError("too large")
        return files(tmp_path)

    assert fail(tmp_path / "new") == set() and not (tmp_path / "new").exists()
    (tmp_path / "own").mkdir()
    assert fail(tmp_path / "own") == set() and list((tmp_path / "own").iterdir()) == []
    prepared = {"kept/training/tokens", "kept/training/run.json"}
    assert fail(tmp_path / "kept", "tokens") == prepared == fail(tmp_path / "kept")
