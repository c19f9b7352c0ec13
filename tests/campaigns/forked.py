"""Command lines in child processes of a parent that has imported everything: a start costs milliseconds, not seconds.

A child is forked before anything was computed, so it has no threads to lose, and it ends as a process of its own does: by
an exit status or by a signal. One thread and one core, so that a seed gives the same bits.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import os
import pkgutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

SLOW_IMPORTS = "torch._dynamo tyro tyro._cli sklearn.linear_model scipy.optimize scipy.sparse h5py accelerate.state".split()
"""What the package imports only when it needs it."""


class Ended(NamedTuple):
    """How a command line ended: its exit status (negative: the signal that ended it) and what it printed."""

    status: int
    out: str
    err: str


def use_one_core(folder: Path) -> None:
    """Before anything is imported: one thread, no network, and a cache in `folder` instead of the user's."""
    os.environ |= {
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "UNFREEZE_CACHE": str(folder / "cache"),
    }
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    os.cpu_count = lambda: 1  # adapt takes a thread a core for word vectors and has no --workers


def import_everything() -> Path:
    """Import the whole package; returns where it is."""
    import unfreeze

    for module in pkgutil.walk_packages(unfreeze.__path__, "unfreeze."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for name in SLOW_IMPORTS:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # or each child would copy the pages of all objects when it first collects
    return Path(unfreeze.__path__[0])


def start(words: Sequence[str], folder: Path, first: Callable[[], None] = lambda: None) -> int:
    """Begin `unfreeze` with these words in `folder`; returns the process id.

    Args:
        folder: becomes the current one; what is printed goes into .out and .err there.
        first: called in the child before the command line is run.
    """
    for name in (".out", ".err"):
        (folder / name).touch()  # the child may be killed before it opens them
    # A signal that comes before the command line begins waits for it: it is not this module that is tested.
    signals = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    process = os.fork()
    if process:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
        return process
    status = 1
    try:
        os.chdir(folder)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for number, name in ((1, ".out"), (2, ".err")):
            os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        sys.argv = ["unfreeze", *words]
        signal.signal(signal.SIGINT, signal.default_int_handler)
        from unfreeze.__main__ import main

        first()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
        status = main()
        atexit._run_exitfuncs()  # temporary folders go
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except KeyboardInterrupt:  # before the command line handles it; Python itself ends with this status
        status = 130
    except BaseException:  # noqa: BLE001  (nothing may get into the parent's code)
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def wait(process: int, folder: Path, seconds: float = 600.0) -> Ended:
    """Wait for the end of a process; one that takes longer than `seconds` is killed."""
    deadline = time.monotonic() + seconds
    while True:
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            break
        if time.monotonic() > deadline:
            os.kill(process, signal.SIGKILL)
        time.sleep(0.002)
    out, err = ((folder / name).read_text("utf-8", "replace") for name in (".out", ".err"))
    return Ended(os.waitstatus_to_exitcode(status), out, err)


def run(words: Sequence[str], folder: Path) -> Ended:
    """`unfreeze` with these words in `folder`, to its end."""
    return wait(start(words, folder), folder)
