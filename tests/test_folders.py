"""Saved things are whole or not there: full disks, damaged files, newer versions, and what is carried over."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from unfreeze.errors import UserError
from unfreeze.folders import (
    FORMAT_VERSION,
    digest,
    load_tensors,
    read_config,
    save_tensors,
    write_config,
    write_json,
    written_file,
    written_folder,
)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file under a folder, hidden ones too."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@contextmanager
def disk_of(size: int) -> Iterator[None]:
    """Within the block no file can grow beyond `size` bytes: writes fail for real, in every library."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def fail_with_full_disk(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def write_model(path: Path, value: float = 1.0) -> None:
    with written_folder(path, keep={"training", "README.md"}) as folder:
        write_config(folder, {"kind": "toy", "value": value})
        save_tensors(folder / "model.safetensors", {"w": torch.full((2000,), value)})


def test_a_folder_takes_its_place_and_keeps_what_it_should(tmp_path: Path) -> None:
    write_model(tmp_path / "model")
    (tmp_path / "model" / "training" / "tokens").mkdir(parents=True)
    (tmp_path / "model" / "training" / "tokens" / "ids").write_text("123")
    (tmp_path / "model" / "README.md").write_text("card")
    (tmp_path / "model" / "counts.json").write_text("of the model before")
    (tmp_path / "model" / "notes.txt").write_text("the user's")
    (tmp_path / "model" / "link").symlink_to("nowhere")
    ids = (tmp_path / "model" / "training" / "tokens" / "ids").stat().st_ino
    write_model(tmp_path / "model", 2.0)
    assert read_config(tmp_path / "model")["value"] == 2.0
    assert load_tensors(tmp_path / "model" / "model.safetensors")["w"].unique().tolist() == [2.0]
    kept = {
        "config.json",
        "model.safetensors",
        "README.md",
        os.path.join("training", "tokens", "ids"),
        "notes.txt",
    }
    assert contents(tmp_path / "model").keys() == kept
    assert (tmp_path / "model" / "link").is_symlink()
    assert (tmp_path / "model" / "training" / "tokens" / "ids").stat().st_ino == ids, "linked, not copied"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_file_system_without_links_gets_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_model(tmp_path / "model")
    (tmp_path / "model" / "README.md").write_text("card")
    monkeypatch.setattr(os, "link", fail_with_full_disk)
    write_model(tmp_path / "model", 2.0)
    assert (tmp_path / "model" / "README.md").read_text() == "card"


@pytest.mark.parametrize("what", ["os.replace", "write_text", "rename", "size"])
def test_a_full_disk_leaves_the_earlier_model(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_model(tmp_path / "model")
    before = contents(tmp_path)
    with monkeypatch.context() as patch:
        if what == "os.replace":
            patch.setattr(os, "replace", fail_with_full_disk)
        elif what != "size":
            patch.setattr(Path, what, fail_with_full_disk)
        with disk_of(1000 if what == "size" else resource.RLIM_INFINITY), pytest.raises(UserError) as caught:
            write_model(tmp_path / "model", 2.0)
    assert "\n" not in str(caught.value) and "intact" in str(caught.value)
    assert contents(tmp_path) == before


def test_a_disk_that_fills_between_the_two_renames_puts_the_earlier_model_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_model(tmp_path / "model")
    before = contents(tmp_path)
    rename = Path.rename

    def fails_for_the_new(self: Path, target: Path) -> Path:
        if self.name.endswith(".part"):
            fail_with_full_disk()
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fails_for_the_new)
    with pytest.raises(UserError, match="No space left"):
        write_model(tmp_path / "model", 2.0)
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    "write",
    [
        lambda path: save_tensors(path, {"w": torch.zeros(2000)}),
        lambda path: write_json(path, ["text"] * 2000),
    ],
    ids=["tensors", "json"],
)
def test_a_full_disk_leaves_the_earlier_file(write: Callable[[Path], None], tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("before")
    with disk_of(1000), pytest.raises(UserError, match="File too large"):
        write(path)
    assert contents(tmp_path) == {"file": b"before"}


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="cannot write"):
        write_model(tmp_path / "file" / "model")
    with pytest.raises(UserError, match="cannot write"), written_file(tmp_path / "file" / "x"):
        pass


def test_an_error_within_the_block_leaves_everything(tmp_path: Path) -> None:
    write_model(tmp_path / "model")
    before = contents(tmp_path)
    with pytest.raises(KeyError), written_folder(tmp_path / "model") as folder:
        (folder / "half").write_text("written")
        raise KeyError
    with pytest.raises(KeyError), written_file(tmp_path / "model" / "config.json") as file:
        file.write_text("half")
        raise KeyError
    assert contents(tmp_path) == before


def test_config_is_read_back_or_refused(tmp_path: Path) -> None:
    write_config(tmp_path, {"kind": "toy", "value": "ü"})
    assert read_config(tmp_path, kinds={"toy"}) == {
        "format_version": FORMAT_VERSION,
        "kind": "toy",
        "value": "ü",
    }
    with pytest.raises(UserError, match="'toy'"):
        read_config(tmp_path, kinds={"other"})
    with pytest.raises(UserError, match="lacks 'labels'"):
        read_config(tmp_path, needs=("value", "labels"))
    whole = (tmp_path / "config.json").read_bytes()
    for damaged in [whole[:size] for size in range(len(whole) - 2)] + [b"\xff\xfe", b"3", b"{}"]:
        (tmp_path / "config.json").write_bytes(damaged)
        with pytest.raises(UserError) as caught:
            read_config(tmp_path)
        assert "config.json" in str(caught.value) and "\n" not in str(caught.value)
    (tmp_path / "config.json").write_text(json.dumps({"format_version": FORMAT_VERSION + 1, "kind": "toy"}))
    with pytest.raises(UserError, match="upgrade"):
        read_config(tmp_path)


def test_tensors_are_read_back_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    saved = {"a": torch.arange(6.0).view(2, 3).t(), "b": torch.tensor([1], dtype=torch.int64)}
    save_tensors(path, saved)
    found = load_tensors(path)
    assert found.keys() == saved.keys() and all(torch.equal(found[name], saved[name]) for name in saved)
    whole = path.read_bytes()
    for size in [0, 4, 8, 40, len(whole) - 1]:
        path.write_bytes(whole[:size])
        with pytest.raises(UserError, match="truncated") as caught:
            load_tensors(path)
        assert "\n" not in str(caught.value)
    path.unlink()
    with pytest.raises(UserError, match="missing"):
        load_tensors(path)


def test_digest_tells_contents_apart(tmp_path: Path) -> None:
    for name, text in (("a", "1"), ("b", "1"), ("c", "2")):
        (tmp_path / name).write_text(text)
    assert digest(tmp_path / "a") == digest(tmp_path / "b") != digest(tmp_path / "c")
    shutil.rmtree(tmp_path)
    with pytest.raises(UserError, match="missing"):
        digest(tmp_path / "a")


def test_names_that_are_not_utf8_come_back_from_json(tmp_path: Path) -> None:
    value = {"label": os.fsdecode(b"caf\xe9"), "other": "café"}
    write_json(tmp_path / "a.json", value)
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == value
