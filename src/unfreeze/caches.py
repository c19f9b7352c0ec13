"""What is kept because it was slow to make: its size, when it was last used, and how it is given up.

    CACHE/KIND/NAME     a folder each; CACHE is the folder in UNFREEZE_CACHE, else ~/.cache/unfreeze
    CACHE/KIND/NAME.lock    held while it is made

Kinds: `layers` of a task's texts (tasks/word_inputs.py), `contexts` of a corpus (analysis/contexts.py), `vectors` of files
in text formats (formats/vector_cache.py). All of it is made again where it is missed.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

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
            if path.is_dir() and not path.is_symlink():
                n_bytes = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
                found.append(Kept(kind, path, n_bytes, path.stat().st_mtime))
    return sorted(found, key=lambda each: each.used)


def mark_used(path: Path) -> None:
    """Remember that something kept was of use now; where the cache cannot be written, nothing happens."""
    if os.access(path, os.W_OK):
        os.utime(path)


def give_up(kept: Kept) -> bool:
    """Delete it; False if another process is making it just now."""
    lock = FileLock(kept.path.with_name(f"{kept.path.name}.lock"))
    try:
        with lock.acquire(timeout=0):
            shutil.rmtree(kept.path)
    except Timeout:
        return False
    Path(lock.lock_file).unlink(missing_ok=True)
    return True
