"""Calls that are independent of each other, each in a thread of its own with its share of the processors."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


@lru_cache(maxsize=1)
def _pool(process: int) -> ThreadPoolExecutor:
    """The threads of a process; a fork has none of its parent's."""
    return ThreadPoolExecutor(max_workers=8, thread_name_prefix="unfreeze")


_HELD = threading.local()
"""Threads that `single_threaded_ops` holds back for `run_parallel`."""


@contextmanager
def single_threaded_ops() -> Iterator[None]:
    """Within the block each of torch's operations has one thread, and the calls of `run_parallel` have all.

    Behind an operation of several threads OpenMP's go on waiting busily for the next one, on the processors that
    `run_parallel` needs: of a single sentence's five milliseconds this took one and a half (docs/lab-notes.md).
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # of this thread alone
    _HELD.threads = threads
    try:
        yield
    finally:
        _HELD.threads = None
        torch.set_num_threads(threads)


def _n_threads() -> int:
    return getattr(_HELD, "threads", None) or torch.get_num_threads()


def run_parallel(calls: Sequence[Callable[[], T]]) -> list[T]:
    """What the calls return, in their order.

    torch's operations run without Python's lock, so that two threads of one processor each wait for nobody, where two
    processors in each operation wait for each other at its end. One call alone has all of them.
    """
    threads = _n_threads()
    if len(calls) < 2 or threads < 2:
        return [call() for call in calls]
    share = max(1, threads // len(calls))
    pending = [_pool(os.getpid()).submit(_with_threads, share, call) for call in calls]
    return [future.result() for future in pending]


def _with_threads(threads: int, call: Callable[[], T]) -> T:
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)  # of this thread alone
    return call()


def split_work(n: int, least: int = 1) -> list[tuple[int, int]]:
    """n things dealt to the threads: where each one's begin and end.

    Args:
        least: things that are worth a thread.
    """
    parts = max(1, min(_n_threads(), n // least))
    return list(itertools.pairwise(n * part // parts for part in range(parts + 1)))


KERNEL_FORMATS = (torch.float32, torch.bfloat16)
"""Number formats that compiled kernels read and write."""


def as_array(tensor: Tensor) -> Any:
    """The memory of a tensor as NumPy sees it: bfloat16 as int16."""
    return (tensor.view(torch.int16) if tensor.dtype == torch.bfloat16 else tensor).numpy()
