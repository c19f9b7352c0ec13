"""`unfreeze cache`: list or delete cached results."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from unfreeze.commands.console import Console
from unfreeze.display import counted
from unfreeze.errors import UserError, setting

if TYPE_CHECKING:
    from unfreeze.caches import CacheEntry

DAY = 24 * 60 * 60


@dataclass(kw_only=True)
class Cache:
    """List or delete cached results; they are computed again when they are needed.

    Cached are the layers of a frozen encoder for a task's texts (layers), the words of a corpus in their sentences for
    `neighbors --corpus` (contexts), word vectors read from text formats (vectors), and what `fit classifier` has trained
    on your unlabeled text: word vectors and language models (trained). The cache is the folder in UNFREEZE_CACHE, by default ~/.cache/unfreeze.

    Example:
        unfreeze cache
        unfreeze cache --delete layers --unused-days 7
        unfreeze cache --delete all
    """

    delete: Literal["layers", "contexts", "vectors", "trained", "all"] | None = None
    """Delete the entries of this kind."""

    unused_days: float = 0.0
    """Only entries that have not been used for this number of days."""

    def __post_init__(self) -> None:
        if not 0 <= self.unused_days < math.inf:
            raise UserError(f"{setting('unused_days')} must be at least 0, not {self.unused_days}")


def run(arguments: Cache, console: Console) -> None:
    """List the entries and their total size, or delete them."""
    from unfreeze.caches import cache_entries, delete_entry

    now = time.time()
    chosen = [each for each in cache_entries() if each.used <= now - DAY * arguments.unused_days]
    if arguments.delete is None:
        rows = [
            {
                "kind": each.kind,
                "gigabytes": round(each.n_bytes / 1e9, 3),
                "unused_days": round(max(0.0, (now - each.used) / DAY), 2),
                "path": str(each.path),
            }
            for each in chosen
        ]
        console.table(rows)
        console.note(f"{len(chosen)} cached, {gigabytes(chosen)}")
        return
    chosen = [each for each in chosen if arguments.delete in (each.kind, "all")]
    deleted = [each for each in chosen if delete_entry(each)]
    values = {"deleted": len(deleted), "bytes": sum(each.n_bytes for each in deleted)}
    console.result(values, f"deleted {len(deleted)}, {gigabytes(deleted)}")
    if in_use := len(chosen) - len(deleted):
        console.note(f"not deleted, since another process is writing: {counted(in_use, 'result')}")


def gigabytes(entries: Sequence[CacheEntry]) -> str:
    """Total size of some entries."""
    return f"{sum(each.n_bytes for each in entries) / 1e9:.2f} GB"
