"""Processes of a distributed run: they start, end, fail and are interrupted together.

Accelerate knows how many there are (`accelerate launch --multi_gpu --num_processes 2 -m unfreeze ...`, or torchrun; on a CPU
they communicate over gloo). In addition, an error of one process ends all of them and is reported once, and no process waits
for another one that has ended. Accelerate takes a quarter of a second to import: a process that was started alone imports it
only to train a network.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

import torch

from unfreeze.errors import UserError
from unfreeze.training.precision import Precision, choose_precision

if TYPE_CHECKING:
    from accelerate import Accelerator, PartialState

T = TypeVar("T")
LONGEST_WAIT = timedelta(days=1)
"""How long a process waits for another one, which may be reading a large corpus; a process that dies is noticed at once."""


LAUNCHERS = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
"""Environment variables in which launchers (torchrun, `accelerate launch`, MPI) say how many processes they started."""


class EndsWithOthers(SystemExit):
    """Another process reports why all of them end; this one ends silently with the same exit status."""


def _processes() -> PartialState:
    """Accelerate's view of the processes that were started together."""
    from accelerate import PartialState

    # Without a GPU, Accelerate recognizes several processes only if it is told to use the CPU.
    return PartialState(cpu=not torch.accelerator.is_available(), timeout=LONGEST_WAIT)


def _is_alone() -> bool:
    """Whether no other process was started with this one."""
    launched = any(os.environ.get(name, "1") != "1" for name in LAUNCHERS)
    return not launched and not (torch.distributed.is_available() and torch.distributed.is_initialized())


def gathered(value: T) -> list[T]:
    """The values of all processes, in the order of the processes."""
    if _is_alone():
        return [value]
    from accelerate.utils import gather_object

    values: list[T] = gather_object([value])
    return values


def of_first_process(value: T) -> T:
    """The value of the first process."""
    if _is_alone():
        return value
    from accelerate.utils import broadcast_object_list

    values = [value]
    broadcast_object_list(values)
    return values[0]


@contextmanager
def together() -> Iterator[None]:
    """Context that all processes leave together or none: of the processes with an error in it, the first one raises it.

    No process may wait for another one inside.

    Raises:
        EndsWithOthers: another process reports an error, or Ctrl-C interrupted a process that is not the first one.
    """
    own_error = None
    with _interruption_of_the_first():
        try:
            yield
        except (UserError, OSError) as error:
            own_error = error
        failed = gathered(own_error is not None)
    if any(failed):
        if own_error is not None and _processes().process_index == failed.index(True):
            raise own_error
        raise EndsWithOthers(2)


@contextmanager
def _interruption_of_the_first() -> Iterator[None]:
    """Ctrl-C reaches all processes, but only the first one raises KeyboardInterrupt."""
    is_first = is_first_process()
    try:
        yield
    except KeyboardInterrupt:
        if is_first:
            raise
        raise EndsWithOthers(130) from None


@contextmanager
def first_process_first() -> Iterator[bool]:
    """The first process runs the block, then the others do; yields whether this is the first one.

    Accelerate's own `main_process_first` would let the others wait forever for a first process that failed.
    """
    is_first = is_first_process()
    if not is_first:
        with together():
            pass
    with together():
        yield is_first
    if is_first:
        with together():
            pass


def is_first_process() -> bool:
    """Whether this is the process that writes files and reports what happened."""
    return _is_alone() or bool(_processes().is_main_process)


def make_accelerator(precision: Precision = "auto") -> Accelerator:
    """Accelerate's handle on devices and processes; "auto" is decided by the first process."""
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    chosen = of_first_process(choose_precision(precision, _processes().device))
    # Accelerate keeps the precision as long as the interpreter lives, but the next run may need another one.
    AcceleratorState._reset_state()
    return Accelerator(mixed_precision=chosen, cpu=not torch.accelerator.is_available())


@contextmanager
def interrupts(accelerator: Accelerator) -> Iterator[list[int]]:
    """A list that is empty until Ctrl-C or SIGTERM, so that the current step can finish. A second Ctrl-C stops at once.

    With several processes it does not: their launcher sends the signal again after the terminal, and kills processes that
    are still running after half a minute.
    """
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return

    def on_signal(number: int, frame: object) -> None:
        if received and accelerator.num_processes == 1:
            raise KeyboardInterrupt
        received.append(number)

    previous = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
