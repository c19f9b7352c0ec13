"""Images that are named by their files or by the folders that they are in."""

from __future__ import annotations

from pathlib import Path

import pytest

from unfreeze.errors import UserError
from unfreeze.vision.finding import find_images


def test_files_and_folders(tmp_path: Path) -> None:
    wanted = ["a/2.JPG", "a/b/1.png", "a/c.webp"]
    others = ["a/notes.txt", "a/.hidden.png", "a/.trash/3.png", "a/Thumbs.db", "z.png"]
    for name in [*wanted, *others]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    named = tmp_path / "photo"  # a file counts whatever its name is
    named.touch()
    found = list(find_images([named, str(tmp_path / "a")]))
    assert found[0].path == named
    assert sorted(str(each.path.relative_to(tmp_path)) for each in found[1:]) == sorted(wanted)
    assert list(find_images([tmp_path / "a"])) == found[1:]
    # Names of a list are relative to its folder, and else to the working directory.
    assert list(find_images(["2.JPG", str(named)], tmp_path / "a")) == [found[1], found[0]]


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none: no such file or folder"):
        next(find_images([tmp_path / "none"]))
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UserError, match="no image in this folder"):
        next(find_images([tmp_path]))
