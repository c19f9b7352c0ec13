"""Worker processes that map a function over a stream, in order, in bounded memory.

Unlike `multiprocessing` and `concurrent.futures`, workers are plain `python -c` processes that talk over pipes. They neither
fork a process whose threads hold locks (torch, OpenMP, CUDA) nor run the caller's script a second time, so they work from a
notebook, from standard input, and from a script without an `if __name__` guard. The stream is read only as far as the
workers need it, where `Pool.imap` and joblib would read a whole corpus into memory (docs/lab-notes.md).
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from itertools import chain, islice
from queue import SimpleQueue
from typing import IO, Any, TypeVar, cast

from unfreeze.errors import UserError

Shared = TypeVar("Shared")
Item = TypeVar("Item")
Result = TypeVar("Result")


def available_cores() -> int:
    """Number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def batches_of_texts(texts: Iterable[str], characters: int) -> Iterator[list[str]]:
    """Group texts, in their order, until a batch has at least this many `characters`."""
    batch: list[str] = []
    size = 0
    for text in texts:
        batch.append(text)
        size += len(text)
        if size >= characters:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def ordered_results(
    function: Callable[[Shared, Item], Result],
    shared: Shared,
    items: Iterable[Item],
    *,
    workers: int | None = None,
) -> Generator[Result, None, None]:
    """Yield `function(shared, item)` for each item, in the order of `items`.

    Close the iterator to end the workers early. A single item is computed in this process, as is everything with one worker.

    Args:
        function: importable by name; its result is pickled.
        shared: pickled once per worker.
        items: read at most `workers` + 1 items ahead of the results.
        workers: number of processes (default: one per core).

    Raises:
        UserError: a worker was killed.
        Exception: any that `function` raises.
    """
    iterator = iter(items)
    beginning = list(islice(iterator, 2))
    count = available_cores() if workers is None else workers
    if count <= 1 or len(beginning) < 2:
        for item in chain(beginning, iterator):
            yield function(shared, item)
        return
    pending: deque[Future[Result]] = deque()
    # Processes are ended before the threads that wait for them are joined, so that closing early does not wait for running work.
    with ThreadPoolExecutor(count) as threads, closing(_Processes(function, shared, count)) as processes:
        try:
            for item in chain(beginning, iterator):
                pending.append(threads.submit(processes.call, item))
                if len(pending) > count:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


class _Processes:
    """At most `count` worker processes, each started when it is first needed."""

    def __init__(self, function: Callable[..., Any], shared: object, count: int) -> None:
        self._setup = pickle.dumps((function, shared))
        self._started: list[subprocess.Popen[bytes]] = []
        self._idle: SimpleQueue[subprocess.Popen[bytes] | None] = SimpleQueue()
        for _ in range(count):
            self._idle.put(None)  # a worker that has not been started

    def close(self) -> None:
        """End all workers, whatever they are computing."""
        for process in self._started:
            process.kill()
        for process in self._started:
            process.communicate()

    def call(self, item: object) -> Any:
        """Have an idle worker compute one item; may be called from as many threads as there are workers."""
        process = self._idle.get()
        try:
            process = process or self._start()
            _send(cast(IO[bytes], process.stdin), item)
            succeeded, result = _receive(cast(IO[bytes], process.stdout))
        except (EOFError, BrokenPipeError, pickle.UnpicklingError) as error:
            raise UserError("a worker process was killed (out of memory?): use fewer workers") from error
        finally:
            self._idle.put(process)
        if not succeeded:
            raise result
        return result

    def _start(self) -> subprocess.Popen[bytes]:
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "TOKENIZERS_PARALLELISM": "false",  # one thread a worker
        }
        program = [sys.executable, "-P", "-c", f"from {__name__} import serve; serve()"]
        process = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
        self._started.append(process)
        assert process.stdin is not None
        process.stdin.write(self._setup)
        return process


def serve() -> None:
    """Main loop of a worker: read the function, then answer one item after another until the pipe is closed."""
    # Ctrl-C reaches the whole process group; the parent decides what to do.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    requests, replies = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # output of libraries must not mix with the replies
    function, shared = _receive(requests)
    while True:
        try:
            item = _receive(requests)
        except EOFError:
            return
        try:
            reply = (True, function(shared, item))
        except Exception as error:  # noqa: BLE001 - raised again in the parent
            error.add_note("In a worker process:\n" + traceback.format_exc())
            reply = (False, error)
        try:
            _send(replies, reply)
        except BrokenPipeError:  # the parent was killed
            os._exit(1)


def _send(pipe: IO[bytes], value: object) -> None:
    pickle.dump(value, pipe, protocol=pickle.HIGHEST_PROTOCOL)
    pipe.flush()


def _receive(pipe: IO[bytes]) -> Any:
    return pickle.load(pipe)  # noqa: S301 - the other end is this program
