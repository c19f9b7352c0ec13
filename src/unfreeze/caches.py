"""Caches of results that are slow to compute: listing, locking and deletion.

    CACHE/KIND/NAME         one folder per entry; CACHE is UNFREEZE_CACHE or ~/.cache/unfreeze
    CACHE/KIND/NAME.lock    locked while the entry is created or deleted; never removed, which would allow two locks at once
    CACHE/KIND/.NAME...     being written

Kinds: `layers` of the texts of a task (tasks/word_inputs.py), `contexts` of a corpus (analysis/contexts.py), `vectors` of files
in text formats (vectors/cache.py), and what is `trained` on unlabeled text for a classifier
(tasks/candidates.py). All of it is computed again when it is missing.
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

KINDS = ("layers", "contexts", "vectors", "trained")


@dataclass(frozen=True)
class CacheEntry:
    """An entry of the cache."""

    kind: str
    path: Path
    n_bytes: int
    used: float
    """Time of creation or last use, in seconds since 1970."""


def cache_entries() -> list[CacheEntry]:
    """Return all entries, least recently used first."""
    found = []
    for kind in KINDS:
        root = cache_folder(kind)
        for path in sorted(root.iterdir()) if root.is_dir() else ():
            if path.name.startswith(".") or path.is_symlink() or not path.is_dir():
                continue
            with suppress(FileNotFoundError):  # deleted by another process in the meantime
                n_bytes = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
                found.append(CacheEntry(kind, path, n_bytes, path.stat().st_mtime))
    return sorted(found, key=lambda each: each.used)


@contextmanager
def making(path: Path) -> Iterator[None]:
    """Context with exclusive access to the entry at `path`; other processes wait.

    Raises:
        CannotWrite: the cache cannot be written.
    """
    try:
        with _locked(path):
            yield
    except CannotWrite as error:
        if isinstance(error.__cause__, OSError):  # an error within the block, such as a full disk
            raise _unwritable(path, error.__cause__) from error
        raise


@contextmanager
def _locked(path: Path, timeout: float = -1) -> Iterator[None]:
    lock = FileLock(path.with_name(f"{path.name}.lock"), timeout=timeout)
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


def mark_used(path: Path) -> None:
    """Record the use of an entry; has no effect if the cache cannot be written."""
    if os.access(path, os.W_OK):
        os.utime(path)


def delete_entry(entry: CacheEntry) -> bool:
    """Delete an entry; return False if another process is creating it.

    Raises:
        CannotWrite: the cache cannot be written.
    """
    try:
        with _locked(entry.path, timeout=0):
            shutil.rmtree(entry.path, ignore_errors=True)
    except Timeout:
        return False
    return not entry.path.exists()
