"""What the C library does with memory that is free: kept while a training asks for the same blocks again and again, given
back before it begins."""

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


_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1
"""Parameters of glibc's mallopt, as its malloc.h numbers them."""


def keep_freed_blocks() -> None:
    """Let the C library (glibc) keep large blocks that are freed, for the rest of the process; elsewhere do nothing.

    By default a block of 32 MB or more goes back to the system when it is freed, and each of its pages is found and zeroed
    anew when the next step asks for it: a product of 4,480 x 400 x 8,016 in bf16 took 65 ms so, and 36 in memory that was
    kept (docs/lab-notes.md).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, 1 << 30)
        mallopt(_TRIM_THRESHOLD, 1 << 30)
