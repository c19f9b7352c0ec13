"""Run independent calls in threads, each with its share of the processors."""

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
    # One pool per process, because a fork does not inherit the threads of its parent.
    return ThreadPoolExecutor(max_workers=8, thread_name_prefix="unfreeze")


_RESERVED = threading.local()
"""Number of threads that `single_threaded_ops` reserves for `run_parallel`."""


@contextmanager
def single_threaded_ops() -> Iterator[None]:
    """Context in which torch operations use one thread each, and `run_parallel` uses all.

    After a multi-threaded operation the threads of OpenMP spin, waiting for the next one, on the processors that
    `run_parallel` needs. This took 1.5 of the 5 milliseconds for a single sentence (docs/lab-notes.md).
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # affects this thread only
    _RESERVED.threads = threads
    try:
        yield
    finally:
        _RESERVED.threads = None
        torch.set_num_threads(threads)


def _n_threads() -> int:
    return getattr(_RESERVED, "threads", None) or torch.get_num_threads()


def run_parallel(calls: Sequence[Callable[[], T]]) -> list[T]:
    """Run calls in parallel and return their results in order.

    torch operations release the GIL, so threads with one processor each run independently, whereas an operation on
    several processors synchronizes them at its end. A single call uses all processors.
    """
    threads = _n_threads()
    if len(calls) < 2 or threads < 2:
        return [call() for call in calls]
    share = max(1, threads // len(calls))
    pending = [_pool(os.getpid()).submit(_with_threads, share, call) for call in calls]
    return [future.result() for future in pending]


def _with_threads(threads: int, call: Callable[[], T]) -> T:
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)  # affects this thread only
    return call()


def split_work(n: int, least: int = 1) -> list[tuple[int, int]]:
    """Split n items among the threads and return (start, stop) for each.

    Args:
        least: minimum number of items per thread.
    """
    parts = max(1, min(_n_threads(), n // least))
    return list(itertools.pairwise(n * part // parts for part in range(parts + 1)))


KERNEL_FORMATS = (torch.float32, torch.bfloat16)
"""Number formats that the compiled kernels support."""


def as_array(tensor: Tensor) -> Any:
    """View a tensor as a NumPy array, with bfloat16 as int16."""
    return (tensor.view(torch.int16) if tensor.dtype == torch.bfloat16 else tensor).numpy()
