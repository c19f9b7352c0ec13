"""The memory of the machine, and settings of the C library for freed memory.

Preparing a corpus leaves free blocks that should be returned to the system before hours of training. Training
frees and allocates the same large blocks at each step, and these should not be returned.
"""

from __future__ import annotations

import ctypes
import gc
import os
import sys

WORTHWHILE = 1_000_000


def memory_of_machine() -> float:
    """Bytes of physical memory; infinity where the system does not say."""
    return (
        os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else float("inf")
    )


def release_free_memory(n_words: int) -> None:
    """Return free blocks of the heap to the system, if the C library supports it (glibc).

    Millions of short-lived strings fragment the heap, and glibc does not release the free blocks: after ten files of
    Wikipedia, 90 of 177 MB.

    Args:
        n_words: number of words processed; below `WORTHWHILE` nothing is done, because it takes a tenth of a second.
    """
    if n_words < WORTHWHILE:
        return
    gc.collect()
    trim_heap()


def trim_heap() -> None:
    """Return the free blocks of the heap to the system (glibc); has no effect on other systems."""
    if sys.platform != "linux":
        return
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1
"""Parameters of glibc's mallopt, with the numbers of malloc.h."""


def keep_freed_blocks() -> None:
    """Let the C library (glibc) reuse large freed blocks for the rest of the process; has no effect on other systems.

    By default blocks of 32 MB and more are returned to the system when freed, and their pages are mapped and zeroed again
    when the next step allocates them: a product of 4,480 x 400 by 400 x 8,016 in bf16 took 65 ms then, and 36 in reused
    memory (docs/lab-notes.md).
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    # Older versions of glibc reject thresholds above 32 MB. Then the other setting must not be used either, because it
    # disables the automatic increase of the threshold.
    if mallopt is not None and (mallopt(_MMAP_THRESHOLD, 1 << 30) or mallopt(_MMAP_THRESHOLD, 32 << 20)):
        mallopt(_TRIM_THRESHOLD, 1 << 30)


def keep_few_kernels() -> None:
    """Let oneDNN keep few of the kernels that it makes for every shape of a batch; call it before torch computes anything.

    By default it keeps 1,024, more than a megabyte for each shape of an LSTM's batch in bf16. Where almost every batch has another shape they
    are not used again: `contextuality` grew by 200 MB from 5,000 to 15,000 sentences with all of them (docs/lab-notes.md).
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "32")
