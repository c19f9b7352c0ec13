"""Checkpoints: what is saved is loaded, what is damaged is not, and a full disk keeps the earlier one."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch

from unfreeze.errors import UserError
from unfreeze.training.checkpoints import Checkpoints

STATE: dict[str, Any] = {"model": {"w": torch.arange(50.0)}, "position": {"step": 3}, "best": (0.5, {})}


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.load() is None
    checkpoints.save(STATE)
    state = checkpoints.load("model", "position")
    assert state is not None
    assert torch.equal(state["model"]["w"], STATE["model"]["w"]) and state["best"] == STATE["best"]


def test_a_damaged_checkpoint_is_none_and_is_said_in_a_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(STATE)
    path = tmp_path / "checkpoint.pt"
    assert checkpoints.load("model", "optimizer") is None, "a key is missing"
    whole = path.read_bytes()
    random = Random(0)
    damaged = [whole[:size] for size in (0, 1, 100, len(whole) // 2, len(whole) - 1)]
    damaged += [random.randbytes(200), b"\x80\x04K\x01.", b"PK\x03\x04" + bytes(100), b"text"]
    damaged += [b"\x80\x02" + random.randbytes(20) for _ in range(20)]
    for content in damaged:
        path.write_bytes(content)
        caplog.clear()
        assert checkpoints.load() is None
        assert [message.count("\n") for message in caplog.messages] == [0]
        assert "is damaged: training starts again" in caplog.text


@pytest.mark.parametrize("fails", ["replace", "write"])
def test_a_full_disk_keeps_the_earlier_checkpoint(
    fails: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def full_disk_of_torch(*_: object) -> None:
        raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534")

    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(STATE)
    with monkeypatch.context() as patch:
        if fails == "replace":
            patch.setattr(os, "replace", full_disk)
        else:
            patch.setattr(torch, "save", full_disk_of_torch)
        with pytest.raises(UserError, match="cannot write .*intact") as caught:
            checkpoints.save({**STATE, "position": {"step": 4}})
    assert "\n" not in str(caught.value)
    state = checkpoints.load()
    assert state is not None and state["position"]["step"] == 3
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]
