"""The folder of a run: whose it is, what a damaged or full disk does, and what is left at the end."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch

from unfreeze.errors import UserError
from unfreeze.folders import write_config
from unfreeze.training.checkpoints import RunFolder

STATE: dict[str, Any] = {"model": {"w": torch.arange(50.0)}, "position": {"step": 3}, "best": (0.5, {})}


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_the_same_run_goes_on_and_another_one_is_refused(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "out", {"rate": 0.1, "sizes": (1, 2)})
    folder.save(STATE)
    again = RunFolder(tmp_path / "out", {"rate": 0.1, "sizes": (1, 2)})
    state = again.load()
    assert not again.done and state is not None
    assert torch.equal(state["model"]["w"], STATE["model"]["w"]) and state["best"] == STATE["best"]
    with pytest.raises(UserError, match=r"rate 0\.1 there, 0\.2 here.*--overwrite") as caught:
        RunFolder(tmp_path / "out", {"rate": 0.2, "sizes": (1, 2)})
    assert "\n" not in str(caught.value)
    assert again.load() is not None


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
    RunFolder(tmp_path / "out", before).save(STATE)
    with pytest.raises(UserError, match=re.escape(f"belongs to another run ({said})")):
        RunFolder(tmp_path / "out", now)


def test_overwriting_leaves_the_model_and_nothing_else_of_the_earlier_run(tmp_path: Path) -> None:
    output = tmp_path / "out"
    first = RunFolder(output, {"run": 1})
    first.save(STATE)
    first.log({"step": 1})
    (output / "training" / "tokenizer.json").write_text("of run 1")
    (output / "training" / "tokens").mkdir()
    (output / "training" / "tokens" / "ids").write_text("of run 1")
    write_config(output, {"kind": "toy"})
    second = RunFolder(output, {"run": 2}, overwrite=True)
    assert not second.done and second.load() is None and second.records() == []
    assert files(output) == {"config.json", os.path.join("training", "run.json")}


def test_a_finished_run_is_done_as_long_as_its_model_is_there(tmp_path: Path) -> None:
    output = tmp_path / "out"
    folder = RunFolder(output, {"run": 1})
    folder.save(STATE)
    folder.log({"step": 1})
    (output / "training" / "tokens").mkdir()
    write_config(output, {"kind": "toy"})
    folder.finish()
    assert files(output / "training") == {"run.json", "log.jsonl"}
    assert not (output / "training" / "tokens").exists()
    assert RunFolder(output, {"run": 1}).done
    (output / "config.json").unlink()
    assert not RunFolder(output, {"run": 1}).done


def test_a_model_that_unfreeze_did_not_train_here_is_not_written_over(tmp_path: Path) -> None:
    write_config(tmp_path, {"kind": "toy"})
    with pytest.raises(UserError, match="already holds a model"):
        RunFolder(tmp_path, {"run": 1})
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file"):
        RunFolder(tmp_path / "file", {"run": 1})


@pytest.mark.parametrize("theirs", ["README.md", "training/week-1.csv"])
def test_what_is_the_users_is_left_alone(
    theirs: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data" / "training").mkdir(parents=True)
    (tmp_path / "data" / theirs).write_text("years of work")
    with pytest.raises(UserError, match=f"{theirs} is not unfreeze's .* choose another --output"):
        RunFolder(tmp_path / "data", {"run": 1}, overwrite=True)
    monkeypatch.chdir(tmp_path / "data")
    for place in (".", "", "..", "training/..", tmp_path):
        with pytest.raises(UserError, match="the folder you are in, or above it"):
            RunFolder(Path(place), {"run": 1})
    assert files(tmp_path) == {os.path.join("data", theirs)}


def test_a_run_that_was_killed_at_once_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "training").mkdir()
    (tmp_path / "training" / ".run.json.123.part").write_text("")
    assert not RunFolder(tmp_path, {"run": 1}).done


def test_how_often_it_is_saved_makes_no_other_run(tmp_path: Path) -> None:
    RunFolder(tmp_path, {"loop": {"epochs": 2, "checkpoint_minutes": 3.0}}).save(STATE)
    assert RunFolder(tmp_path, {"loop": {"epochs": 2, "checkpoint_minutes": 0.0}}).load() is not None
    with pytest.raises(UserError, match="belongs to another run"):
        RunFolder(tmp_path, {"loop": {"epochs": 3, "checkpoint_minutes": 3.0}})


ONE, TWO = "0123456789abcdef", "f123456789abcdef"


@pytest.mark.parametrize(
    ("before", "asked", "said"),
    [
        ({"train": ["a.csv", ONE], "seed": 0}, {"train": ["a.csv", TWO], "seed": 1},
         "other examples of a.csv, seed 0 there, 1 here"),
        ({"train": ["a.csv", ONE]}, {"train": ["b.csv", TWO]}, "train 'a.csv' there, 'b.csv' here"),
        ({"validation": None}, {"validation": ["b.csv", TWO]}, "validation not given there, 'b.csv' here"),
        ({"weights": [ONE, None]}, {"weights": [TWO, None]}, "another weights"),
        ({"weights": [None, ONE]}, {"weights": [None, TWO]}, "another weights"),
        ({"encoder_weights": ONE}, {"encoder_weights": TWO}, "another encoder weights"),
        ({"corpus": [["a", 1], ["b", 2]]}, {"corpus": [["a", 1], ["b", 3]]},
         "corpus [['a', 1], ['b', 2]] there, [['a', 1], ['b', 3]] here"),
    ],
)  # fmt: skip
def test_digests_are_not_shown(
    tmp_path: Path, before: dict[str, Any], asked: dict[str, Any], said: str
) -> None:
    RunFolder(tmp_path, before).save(STATE)
    with pytest.raises(UserError) as caught:
        RunFolder(tmp_path, asked)
    assert f"belongs to another run ({said})" in str(caught.value)


def test_damaged_files_are_one_line_each(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, {"run": 1})
    folder.save(STATE)
    path = tmp_path / "training" / "checkpoint.pt"
    whole = path.read_bytes()
    random = Random(0)
    damaged = [whole[:size] for size in (0, 1, 100, len(whole) // 2, len(whole) - 1)]
    damaged += [random.randbytes(200), b"\x80\x04K\x01.", b"PK\x03\x04" + bytes(100), b"text"]
    damaged += [b"\x80\x02" + random.randbytes(20) for _ in range(20)]
    for content in damaged:
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"checkpoint\.pt is damaged: remove it") as caught:
            folder.load()
        assert "\n" not in str(caught.value)
    for content in ('{"done": fal', '{"done": false}', "[]", "", "[" * 100_000):
        (tmp_path / "training" / "run.json").write_text(content)
        with pytest.raises(UserError, match=r"run\.json.* is damaged: remove"):
            RunFolder(tmp_path, {"run": 1})


@pytest.mark.parametrize("fails", ["replace", "write"])
def test_a_full_disk_keeps_the_earlier_checkpoint(
    fails: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def full_disk_of_torch(*_: object) -> None:
        raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534")

    folder = RunFolder(tmp_path, {"run": 1})
    folder.save(STATE)
    with monkeypatch.context() as patch:
        if fails == "replace":
            patch.setattr(os, "replace", full_disk)
        else:
            patch.setattr(torch, "save", full_disk_of_torch)
        with pytest.raises(UserError, match="cannot write .*intact") as caught:
            folder.save({**STATE, "position": {"step": 4}})
    assert "\n" not in str(caught.value)
    state = folder.load()
    assert state is not None and state["position"]["step"] == 3
    assert files(tmp_path / "training") == {"run.json", "checkpoint.pt"}
