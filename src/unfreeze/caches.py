"""What is kept because it was slow to make: its size, when it was last used, and how it is given up.

    CACHE/KIND/NAME         a folder each; CACHE is the folder in UNFREEZE_CACHE, else ~/.cache/unfreeze
    CACHE/KIND/NAME.lock    held while it is made or deleted; it stays, for its removal would let two in at once
    CACHE/KIND/.NAME...     being written

Kinds: `layers` of the texts of a task (tasks/word_inputs.py), `contexts` of a corpus (analysis/contexts.py), `vectors` of files
in text formats (vectors/cache.py). All of it is made again where it is missed.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from unfreeze.errors import CannotWrite
from unfreeze.folders import cache_folder

KINDS = ("layers", "contexts", "vectors")


@dataclass(frozen=True)
class Kept:
    """One thing in the cache."""

    kind: str
    path: Path
    n_bytes: int
    used: float
    """When it was made or last used, in seconds since 1970."""


def kept_things() -> list[Kept]:
    """All that is kept, what was not used for the longest time first."""
    found = []
    for kind in KINDS:
        root = cache_folder(kind)
        for path in sorted(root.iterdir()) if root.is_dir() else ():
            if path.name.startswith(".") or path.is_symlink() or not path.is_dir():
                continue
            with suppress(FileNotFoundError):  # another process deletes it meanwhile
                n_bytes = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
                found.append(Kept(kind, path, n_bytes, path.stat().st_mtime))
    return sorted(found, key=lambda each: each.used)


@contextmanager
def making(path: Path) -> Iterator[None]:
    """Within the block nobody else makes or deletes the thing at `path`: others wait until it is there.

    Raises:
        CannotWrite: the cache cannot be written.
    """
    try:
        with _locked(path):
            yield
    except CannotWrite as error:
        if isinstance(error.__cause__, OSError):  # of the thing itself, such as a full disk
            raise _unwritable(path, error.__cause__) from error
        raise


@contextmanager
def _locked(path: Path, timeout: float = -1) -> Iterator[None]:
    lock = FileLock(_lock(path), timeout=timeout)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise
    except OSError as error:
        raise _unwritable(path, error) from None
    try:
        yield
    finally:
        lock.release()


def _unwritable(path: Path, error: OSError) -> CannotWrite:
    return CannotWrite(
        f"the cache {path.parent} cannot be written: {error.strerror or error}; "
        "set UNFREEZE_CACHE to a folder with room that can be written"
    )


def _lock(path: Path) -> Path:
    return path.with_name(f"{path.name}.lock")


def mark_used(path: Path) -> None:
    """Remember that something kept was of use now; where the cache cannot be written, nothing happens."""
    if os.access(path, os.W_OK):
        os.utime(path)


def give_up(kept: Kept) -> bool:
    """Delete it; False if another process is making it just now.

    Raises:
        CannotWrite: the cache cannot be written.
    """
    try:
        with _locked(kept.path, timeout=0):
            shutil.rmtree(kept.path, ignore_errors=True)
    except Timeout:
        return False
    return not kept.path.exists()
