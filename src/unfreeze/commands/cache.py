"""`unfreeze cache`: what is kept to save time, how large it is, and away with it."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from unfreeze.commands.console import Console
from unfreeze.errors import UserError

if TYPE_CHECKING:
    from unfreeze.caches import Kept

DAY = 24 * 60 * 60


@dataclass(kw_only=True)
class Cache:
    """List what is kept to save time, or delete it: it is made again where it is missed.

    Kept are the layers that a frozen encoder gives a task's texts (`fit`), the contexts of words in a corpus (`neighbors
    --corpus`), and word vectors of files in text formats; in the folder in UNFREEZE_CACHE, else in ~/.cache/unfreeze.

    Example:
        unfreeze cache
        unfreeze cache --delete layers --unused-days 7
        unfreeze cache --delete all
    """

    delete: Literal["layers", "contexts", "vectors", "all"] | None = None
    """Delete what is kept of this kind."""

    unused_days: float = 0.0
    """Only what was not used for so many days."""

    def __post_init__(self) -> None:
        if not 0 <= self.unused_days < math.inf:
            raise UserError(f"--unused-days must be at least 0, not {self.unused_days}")


def run(arguments: Cache, console: Console) -> None:
    """A line each, and the sum."""
    from unfreeze.caches import give_up, kept_things

    oldest = time.time() - DAY * arguments.unused_days
    chosen = [each for each in kept_things() if each.used <= oldest]
    if arguments.delete is None:
        console.table([row(each) for each in chosen])
        console.note(f"{len(chosen)} kept, {gigabytes(chosen)}")
        return
    chosen = [each for each in chosen if arguments.delete in (each.kind, "all")]
    gone = [each for each in chosen if give_up(each)]
    values = {"deleted": len(gone), "bytes": sum(each.n_bytes for each in gone)}
    console.result(values, f"deleted {len(gone)}, {gigabytes(gone)}")
    if len(gone) < len(chosen):
        stay = len(chosen) - len(gone)
        are = (
            "is being made by another process and stays" if stay == 1 else "are being made by others and stay"
        )
        console.note(f"{stay} {are}")


def row(kept: Kept) -> dict[str, object]:
    """As the table and JSON have it."""
    days = max(0.0, (time.time() - kept.used) / DAY)
    return {
        "kind": kept.kind,
        "gigabytes": round(kept.n_bytes / 1e9, 3),
        "unused_days": round(days, 2),
        "path": str(kept.path),
    }


def gigabytes(kept: list[Kept]) -> str:
    """Their sum."""
    return f"{sum(each.n_bytes for each in kept) / 1e9:.2f} GB"
