"""The lifecycle of everything that trains: a `Run` goes from settings and data to a saved folder.

A recipe reads from top to bottom:

    with Run(output, identity, precision=precision, overwrite=overwrite, progress=progress) as run:
        if run.done:  # the same command again: nothing to do
            return Model.from_pretrained(run.output), run.metrics
        tokenizer = run.once("tokenizer.json", make, TextTokenizer.load)
        ...
        records = run.train(objective, policy, loop, "language model")
        return model, run.finish(model.save_pretrained, metrics, title=..., facts=..., snippet=...)

The folder `training/` of the output has `run.json` (the identity of the run, its number format, and whether it is done), the
prepared data, the checkpoint and the log. After kill -9 at any moment, the same command resumes from there and ends with the
same weights.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from unfreeze.checked import read_json_file
from unfreeze.errors import Interrupted, UserError, setting
from unfreeze.folders import (
    CONFIG,
    OWN,
    moved_away,
    need_own_place,
    read_metrics,
    remove_leftovers,
    restore_folder,
    write_json,
    writing,
)
from unfreeze.identities import difference, same_run
from unfreeze.progress import SILENT, Progress
from unfreeze.training.cards import write_card
from unfreeze.training.checkpoints import CHECKPOINT, LOG, TRAINING, Checkpoints
from unfreeze.training.loop import train
from unfreeze.training.loop_settings import LoopSettings
from unfreeze.training.objective import Objective
from unfreeze.training.precision import Precision
from unfreeze.training.processes import first_process_first, is_first_process, make_accelerator, together
from unfreeze.transfer.policies import TransferPolicy

if TYPE_CHECKING:
    from accelerate import Accelerator

T = TypeVar("T")
RUN, LOCK = "run.json", "lock"
logger = logging.getLogger(__name__)


class Run:
    """One training and its output, from the start to the finished folder; a context manager.

    Several processes that were started together (`accelerate launch`) each open the same run; the first one writes.

    Args:
        output: the folder to write the model to; None trains in memory and saves nothing.
        identity: returns everything that determines the result (settings, digests of the data) as JSON values. A run of
            the same identity is resumed; another one in the same folder is an error.
        precision: number format of the training; "auto" is decided once, so that a resumed run continues in the same format.
        overwrite: replace the model of another run, once this one is complete.
        has_output_layer: tells whether a finished output has the part that `without_output` leaves out; None if this call
            does not need it. A finished run without it is another run.
        progress: reports the progress of long work.

    Attributes:
        done: whether the output is complete already.
        folder: `training/` in the output, for data that is prepared once.

    Raises:
        UserError: the output belongs to another run or to the user, is being written by another process, or cannot be
            written. Raised on entering.
    """

    def __init__(
        self,
        output: str | Path | None,
        identity: Callable[[], dict[str, Any]],
        *,
        precision: Precision = "auto",
        overwrite: bool = False,
        has_output_layer: Callable[[Path], bool] | None = None,
        progress: Progress = SILENT,
    ) -> None:
        path = None if output is None else Path(output)
        # A symbolic link stays; the folder that it points to is written.
        self._output = path.resolve() if path is not None and path.is_symlink() else path
        self._identity, self._precision, self._overwrite = identity, precision, overwrite
        self._has_output_layer = has_output_layer
        self.progress, self.done = progress, False
        self._record: dict[str, Any] = {}
        self._lock: int | None = None
        self._made: list[Path] = []

    @property
    def output(self) -> Path:
        """The folder of the model; a run in memory has none."""
        assert self._output is not None, "a run in memory has no folder"
        return self._output

    @property
    def folder(self) -> Path:
        """The folder `training/` in the output, for checkpoints, the log and prepared text."""
        return self.output / TRAINING

    @property
    def checkpoints(self) -> Checkpoints | None:
        """Where the state of the training is saved; None in memory."""
        return None if self._output is None else Checkpoints(self.folder)

    def __enter__(self) -> Self:
        if self._output is None:
            return self
        with together():
            identity = json.loads(json.dumps(self._identity()))
        try:
            with first_process_first() as is_first:
                self._open(identity, is_first)
        except BaseException:
            self._release()
            raise
        if self.done:
            logger.info("%s is complete already", self.output)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        has_checkpoint = self._output is not None and not self.done and (self.folder / CHECKPOINT).is_file()
        if kind is not None and self._made:
            self._remove_if_unused()
        self._release()
        if kind is KeyboardInterrupt and has_checkpoint:
            raise Interrupted("interrupted; rerun the command to resume from the last checkpoint") from error

    # Ownership of the output

    def _open(self, identity: dict[str, Any], is_first: bool) -> None:
        """Find out whether this run is new, can be resumed or is done, and refuse an output that belongs to another run."""
        if is_first:
            self._restore()
            if self.output.exists() and not self.output.is_dir():
                raise UserError(f"{self.output} is a file: {setting('output')} names a folder")
            if not self.folder.is_dir():
                self._need_free(None, identity)  # before anything is created
            self._acquire()
            remove_leftovers(self.output)
        record = self._read()
        is_done = record is not None and bool(record["done"]) and (self.output / CONFIG).is_file()
        if is_done and self._has_output_layer is not None and not self._has_output_layer(self.output):
            assert record is not None
            record["asked"]["without_output"], identity["without_output"] = True, False
        if record is None or not self._continues(record, identity):
            self._need_free(record, identity)
            # Another run's tokenizer and token ids must not be used by this one.
            self._remove_all_but(RUN, LOCK)
            identity.pop("without_output", None)  # an unfinished run can be resumed with it or without it
            self._record = {"done": False, "asked": identity}
            write_json(self.folder / RUN, self._record)
            return
        self._record, self.done = record, is_done
        if not self.done:
            need_own_place(self.output)
        elif is_first:
            self._remove_all_but(RUN, LOG, LOCK)  # left by a process that was killed in `finish`

    def _read(self) -> dict[str, Any] | None:
        path = self.folder / RUN
        if not path.is_file():
            return None
        advice = f"remove {self.folder} and start again"
        found: dict[str, Any] = read_json_file(path, f"the file is damaged: {advice}")
        if not isinstance(found, dict) or not {"asked", "done"} <= found.keys():
            raise UserError(f"{path} is damaged: {advice}")
        return found

    def _holds_work(self) -> bool:
        """Whether there is a model or a checkpoint that must not be lost."""
        return (self.output / CONFIG).is_file() or (self.folder / CHECKPOINT).is_file()

    def _continues(self, record: dict[str, Any], identity: dict[str, Any]) -> bool:
        """Whether `record` is that of the same run as this one."""
        if not same_run(record, identity):
            return False
        if self._precision in ("auto", record.get("precision", self._precision)):
            return True
        if self._holds_work():
            return False
        del record["precision"]  # nothing was computed in it yet
        return True

    def _need_free(self, record: dict[str, Any] | None, identity: dict[str, Any]) -> None:
        """Raise UserError if the output belongs to another run or to the user."""
        need_own_place(self.output)
        if self._holds_work():
            if not self._overwrite:
                other = difference(record, {**identity, "precision": self._precision})
                raise UserError(
                    f"{self.output} {other}: choose another {setting('output')}, or add {setting('overwrite', True)}"
                )
            return
        taken = [path for name in sorted(OWN - {TRAINING}) if (path := self.output / name).exists()]
        if record is None:  # a process that was killed right after its start may have left a lock
            taken += [path for path in self.folder.glob("*") if path.name != LOCK]
        if taken:
            raise UserError(
                f"{taken[0]} is not unfreeze's and would be replaced: choose another {setting('output')}"
            )

    def _acquire(self) -> None:
        """Keep other processes from this output, for as long as this process lives.

        Raises:
            UserError: another process has it.
        """
        self._made = [place for place in (self.folder, self.output) if not place.exists()]
        with writing(self.output):
            self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = self._locked(self.folder / LOCK)
        if self._lock is not None:
            with suppress(OSError):  # on a full disk, the message of other processes names none
                os.truncate(self._lock, 0)
                os.write(self._lock, str(os.getpid()).encode())

    def _restore(self) -> None:
        """Put the output back if a process was killed between the two renames that replace it (`folders.take_place`).

        A process that is alive has the lock, which moves with the folder.
        """
        for earlier in moved_away(self.output):
            lock = self._locked(earlier / TRAINING / LOCK)
            restore_folder(self.output)
            if lock is not None:
                os.close(lock)

    def _locked(self, path: Path) -> int | None:
        """The descriptor of a lock file that this process now has; None where there can be no locks.

        Raises:
            UserError: another process has the lock.
        """
        while True:
            try:
                lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            except OSError:  # a read-only folder: an error follows if something has to be written
                return None
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.read(lock, 20).decode("ascii", "replace")
                os.close(lock)
                raise UserError(
                    f"{self.output} is being written by another run (process {holder}): wait until it has ended, "
                    f"or choose another {setting('output')}"
                ) from None
            except OSError:  # a file system without locks
                os.close(lock)
                path.unlink(missing_ok=True)
                return None
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(lock), path.stat()):
                    return lock
            os.close(lock)  # its holder has just ended and removed it

    def _release(self) -> None:
        if self._lock is not None:
            with suppress(OSError):
                (self.folder / LOCK).unlink()
            os.close(self._lock)
            self._lock = None

    def _remove_if_unused(self) -> None:
        """After an error, remove the folders that this run made if they hold nothing but its identity."""
        if {entry.name for entry in self.folder.glob("*")} <= {RUN, LOCK}:
            (self.folder / RUN).unlink(missing_ok=True)
            self._release()
            with suppress(OSError):  # another run has begun in it, or the user has put something there
                for place in self._made:
                    place.rmdir()

    # Steps of a recipe

    @cached_property
    def accelerator(self) -> Accelerator:
        """Accelerate's handle, with the number format of the run, which is decided at the first use."""
        known = self._record.get("precision")
        accelerator = make_accelerator(known or self._precision)
        if known is None and self._output is not None:
            with together():
                self._record["precision"] = "bf16" if accelerator.mixed_precision == "bf16" else "fp32"
                if is_first_process():
                    write_json(self.folder / RUN, self._record)
        return accelerator

    def once(self, name: str, make: Callable[[Path], object], load: Callable[[Path], T]) -> T:
        """Load data that an earlier start of this run prepared, or prepare it; damaged data is prepared again.

        Args:
            name: file or folder in `folder` whose presence marks the data as complete.
            make: writes the data into `folder`, and `name` last, as a whole.
            load: reads the data from `folder`.
        """
        place = self.folder / name
        with first_process_first():
            if place.exists():
                try:
                    return load(self.folder)
                except (UserError, LookupError, ValueError) as error:
                    logger.warning("%s; it is made again", error)
                    shutil.rmtree(place) if place.is_dir() else place.unlink()
            make(self.folder)
            return load(self.folder)

    def train(
        self, objective: Objective, policy: TransferPolicy, settings: LoopSettings, what: str
    ) -> list[dict[str, Any]]:
        """Train in the loop, from the last checkpoint on; returns the records (`training.loop.train`)."""
        return train(
            objective,
            policy=policy,
            settings=settings,
            checkpoints=self.checkpoints,
            accelerator=self.accelerator,
            progress=self.progress,
            what=what,
        )

    @property
    def metrics(self) -> dict[str, Any]:
        """The metrics of a run that is done."""
        return read_metrics(self.output)

    def finish(
        self,
        save: Callable[[Path], None],
        metrics: dict[str, Any],
        *,
        title: str,
        facts: dict[str, object],
        snippet: str,
    ) -> dict[str, Any]:
        """Save the model and its card, and remove what was only needed to resume; returns `metrics`.

        Args:
            save: writes the model into a folder, whole or not at all.
            title, facts, snippet: of the model card (`training.cards.write_card`).
        """
        with together():
            if self._output is not None and is_first_process():
                save(self.output)
                write_card(self.output, title=title, facts=facts, metrics=metrics, snippet=snippet)
                self._record["done"] = True
                write_json(self.folder / RUN, self._record)
                self._remove_all_but(RUN, LOG, LOCK)
        return metrics

    def _remove_all_but(self, *names: str) -> None:
        for entry in self.folder.glob("*"):
            if entry.name in names:
                continue
            if entry.is_dir():
                shutil.rmtree(entry)
            else:
                entry.unlink()
