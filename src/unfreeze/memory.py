"""Give memory that is free back to the system, before a long training keeps it for hours."""

from __future__ import annotations

import ctypes
import gc

WORTHWHILE = 1_000_000


def release_free_memory(n_words: int) -> None:
    """Return free blocks of the heap to the system where its C library can (glibc); else do nothing.

    Millions of short-lived strings leave a heap of holes, which glibc keeps: after ten files of Wikipedia 90 of 177 MB.

    Args:
        n_words: how many were handled; below `WORTHWHILE` there is nothing to win, and a tenth of a second to lose.
    """
    if n_words < WORTHWHILE:
        return
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
