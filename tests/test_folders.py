"""Saved things are whole or not there: full disks, damaged files, newer versions, and what is carried over."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.disk import files_of
from unfreeze import folders
from unfreeze.errors import UserError
from unfreeze.folders import (
    FORMAT_VERSION,
    Config,
    digest,
    load_tensors,
    read_config,
    save_tensors,
    write_config,
    write_json,
    write_model,
    written_file,
    written_folder,
)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file under a folder, hidden ones too."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def fail_with_full_disk(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def save_toy(path: Path, value: float = 1.0) -> None:
    with written_folder(path, keep={"training", "README.md"}) as folder:
        write_model(folder, {"kind": "toy", "value": value}, {"w": torch.full((2000,), value)})


@dataclass(frozen=True, kw_only=True)
class ToyConfig(Config):
    """With a field that is needed, and one that is not."""

    value: str
    labels: list[str]
    sizes: tuple[int, float] | None = None


def test_a_folder_takes_its_place_and_keeps_what_it_should(tmp_path: Path) -> None:
    save_toy(tmp_path / "model")
    (tmp_path / "model" / "training" / "tokens").mkdir(parents=True)
    (tmp_path / "model" / "training" / "tokens" / "ids").write_text("123")
    (tmp_path / "model" / "README.md").write_text("card")
    (tmp_path / "model" / "counts.json").write_text("of the model before")
    (tmp_path / "model" / "notes.txt").write_text("the user's")
    (tmp_path / "model" / "link").symlink_to("nowhere")
    ids = (tmp_path / "model" / "training" / "tokens" / "ids").stat().st_ino
    save_toy(tmp_path / "model", 2.0)
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
    save_toy(tmp_path / "model")
    (tmp_path / "model" / "README.md").write_text("card")
    monkeypatch.setattr(os, "link", fail_with_full_disk)
    save_toy(tmp_path / "model", 2.0)
    assert (tmp_path / "model" / "README.md").read_text() == "card"


@pytest.mark.parametrize("what", ["os.replace", "write_text", "exchange", "rename", "size"])
def test_a_full_disk_leaves_the_earlier_model(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_toy(tmp_path / "model")
    before = contents(tmp_path)
    with monkeypatch.context() as patch:
        if what == "os.replace":
            patch.setattr(os, "replace", fail_with_full_disk)
        elif what == "exchange":
            patch.setattr(folders, "_exchange", fail_with_full_disk)
        elif what != "size":
            patch.setattr(folders, "_exchange", lambda *_: False)
            patch.setattr(Path, what, fail_with_full_disk)
        with files_of(1000 if what == "size" else resource.RLIM_INFINITY), pytest.raises(UserError) as caught:
            save_toy(tmp_path / "model", 2.0)
    assert "\n" not in str(caught.value) and "intact" in str(caught.value)
    assert contents(tmp_path) == before


def test_a_disk_that_fills_between_the_two_renames_puts_the_earlier_model_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_toy(tmp_path / "model")
    before = contents(tmp_path)
    rename = Path.rename

    def fails_for_the_new(self: Path, target: Path) -> Path:
        if self.name.endswith(".part"):
            fail_with_full_disk()
        return rename(self, target)

    monkeypatch.setattr(folders, "_exchange", lambda *_: False)
    monkeypatch.setattr(Path, "rename", fails_for_the_new)
    with pytest.raises(UserError, match="No space left"):
        save_toy(tmp_path / "model", 2.0)
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
    with files_of(1000), pytest.raises(UserError, match="File too large"):
        write(path)
    assert contents(tmp_path) == {"file": b"before"}


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="cannot write"):
        save_toy(tmp_path / "file" / "model")
    with pytest.raises(UserError, match="cannot write"), written_file(tmp_path / "file" / "x"):
        pass


def test_an_error_within_the_block_leaves_everything(tmp_path: Path) -> None:
    save_toy(tmp_path / "model")
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
        read_config(tmp_path, form=ToyConfig)
    whole = (tmp_path / "config.json").read_bytes()
    for damaged in [whole[:size] for size in range(len(whole) - 2)] + [b"\xff\xfe", b"3", b"{}"]:
        (tmp_path / "config.json").write_bytes(damaged)
        with pytest.raises(UserError) as caught:
            read_config(tmp_path)
        assert "config.json" in str(caught.value) and "\n" not in str(caught.value)
    (tmp_path / "config.json").write_text(json.dumps({"format_version": FORMAT_VERSION + 1, "kind": "toy"}))
    with pytest.raises(UserError, match="upgrade"):
        read_config(tmp_path)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"value": 3}, "value is 3, not a string"),
        ({"labels": "no"}, "labels is 'no', not a list of strings"),
        ({"labels": ["a", None]}, "labels is a list, not a list of strings"),
        ({"sizes": [1]}, "sizes is a list, not a list of"),
        ({"sizes": [1, "x"]}, "sizes is a list, not a list of"),
        ({"sizes": [True, 1.0]}, "sizes is a list, not a list of"),
        ({"format_version": True}, "format version true"),
        ({"format_version": 1.5}, "format version 1.5"),
        ({"kind": {}}, "names no kind"),
    ],
)
def test_config_is_checked_by_its_dataclass(changes: dict[str, Any], said: str, tmp_path: Path) -> None:
    good = {"kind": "toy", "value": "ü", "labels": ["a"], "sizes": [1, 2], "more": {"unknown": 1}}
    write_config(tmp_path, good)
    assert read_config(tmp_path, form=ToyConfig)["more"] == {"unknown": 1}
    write_config(tmp_path, {**good, **changes})
    with pytest.raises(UserError) as caught:
        read_config(tmp_path, form=ToyConfig)
    assert said in str(caught.value) and str(tmp_path / "config.json") in str(caught.value)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"kind": %s}' % ("9" * 5000), '{"a":' * 100_000])
def test_config_that_python_cannot_read(text: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(UserError, match=r"config\.json: .*(nested too deeply|4,300 digits)"):
        read_config(tmp_path)


def test_tensors_that_changed_since_they_were_saved_are_refused(tmp_path: Path) -> None:
    save_toy(tmp_path / "model")
    path = tmp_path / "model" / "model.safetensors"
    whole = path.read_bytes()
    first = len(whole) - 4 * 2000
    for place in (
        first,
        first + 4001,
        len(whole) - 1,
    ):  # of the numbers: the header is safetensors' own affair
        for bit in range(0, 8, 3):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :])
            with pytest.raises(UserError, match=r"model\.safetensors is truncated or damaged.*its digest"):
                load_tensors(path)
    save_tensors(tmp_path / "alone" / "model.safetensors", {"w": torch.ones(3)})
    assert load_tensors(tmp_path / "alone" / "model.safetensors")["w"].tolist() == [1.0] * 3
    path.write_bytes(whole)
    assert load_tensors(path)["w"].unique().tolist() == [1.0]


@contextmanager
def umask(value: int) -> Iterator[None]:
    """Within the block new files are without these permissions."""
    before = os.umask(value)
    try:
        yield
    finally:
        os.umask(before)


def modes(folder: Path) -> dict[str, str]:
    """The permissions of a folder and of all that is in it."""
    return {
        str(path.relative_to(folder)): oct(stat.S_IMODE(path.stat().st_mode))
        for path in (folder, *folder.rglob("*"))
    }


@pytest.mark.parametrize(("mask", "file", "inner"), [(0o077, "0o600", "0o700"), (0o027, "0o640", "0o750")])
def test_new_files_and_folders_honor_the_umask(mask: int, file: str, inner: str, tmp_path: Path) -> None:
    with umask(mask):
        save_toy(tmp_path / "model")
        write_json(tmp_path / "sub" / "x.json", [1])
        save_tensors(tmp_path / "w.safetensors", {"w": torch.ones(3)})
    found = modes(tmp_path)
    assert found.pop(".") == oct(stat.S_IMODE(tmp_path.stat().st_mode))
    assert found == {
        "model": inner,
        "model/config.json": file,
        "model/model.safetensors": file,
        "sub": inner,
        "sub/x.json": file,
        "w.safetensors": file,
    }


@pytest.mark.parametrize("mode", [0o600, 0o664, 0o400])
def test_what_is_replaced_keeps_its_permissions(mode: int, tmp_path: Path) -> None:
    with umask(0o022):
        save_toy(tmp_path / "model")
        write_json(tmp_path / "x.json", [1])
        (tmp_path / "x.json").chmod(mode)
        (tmp_path / "model" / "model.safetensors").chmod(mode)
        (tmp_path / "model").chmod(0o700)
        with written_file(tmp_path / "x.json") as temporary:
            assert stat.S_IMODE(temporary.stat().st_mode) == mode | stat.S_IWUSR, "also while it is written"
            temporary.write_text("[2]")
        save_toy(tmp_path / "model", 2.0)
    found = modes(tmp_path)
    assert found["x.json"] == found["model/model.safetensors"] == oct(mode)
    assert found["model"] == "0o700" and found["model/config.json"] == "0o644"
    assert json.loads((tmp_path / "x.json").read_text()) == [2]


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


def test_what_a_link_leads_to_is_replaced_and_the_link_stays(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    target, link = tmp_path / "data" / "labels.csv", tmp_path / "link.csv"
    target.write_text("old")
    link.symlink_to(target)
    with written_file(link) as temporary:
        temporary.write_text("new")
    assert link.is_symlink() and target.read_text() == "new"
    assert sorted(contents(tmp_path)) == ["data/labels.csv", "link.csv"]
