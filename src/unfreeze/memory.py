"""What the C library does with memory that was freed.

Preparing a corpus leaves holes that are better given back before a training keeps them for hours; a training frees and
asks for the same large blocks at every step, which are better kept.
"""

from __future__ import annotations

import ctypes
import gc
import sys

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
    if sys.platform != "linux":
        return
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1
"""Parameters of glibc's mallopt, as its malloc.h numbers them."""


def keep_freed_blocks() -> None:
    """Let the C library (glibc) keep large blocks that are freed, for the rest of the process; on other systems do nothing.

    By default a block of 32 MB or more goes back to the system when it is freed, and each of its pages is found and zeroed
    anew when the next step asks for it: a product of 4,480 x 400 by 400 x 8,016 in bf16 took 65 ms so, and 36 in memory
    that was kept (docs/lab-notes.md).
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    # Older glibc refuses thresholds over 32 MB. Where none is taken, the other setting alone would make things worse: it
    # stops malloc from raising the threshold by itself.
    if mallopt is not None and (mallopt(_MMAP_THRESHOLD, 1 << 30) or mallopt(_MMAP_THRESHOLD, 32 << 20)):
        mallopt(_TRIM_THRESHOLD, 1 << 30)
