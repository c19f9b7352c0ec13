"""Training curves for TensorBoard, written while a model is trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from unfreeze.errors import CannotWrite, MissingExtra, UserError, setting
from unfreeze.progress import Bar, Progress
from unfreeze.training.processes import is_first_process

UPDATES_BETWEEN_POINTS = 10
"""Metrics of updates are written this often, those of validations always."""


class TensorBoardProgress(Progress):
    """Shows progress as `shown` does, and writes the metrics of training runs to event files.

    Args:
        folder: where TensorBoard finds them (`tensorboard --logdir FOLDER`).

    Raises:
        MissingExtra: tensorboard is not installed.
        UserError: the folder is a file, or cannot be written.
    """

    def __init__(self, folder: Path, shown: Progress) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise MissingExtra("tensorboard", "tensorboard") from error
        if folder.is_file():
            raise UserError(f"{folder} is a file: {setting('tensorboard')} names a folder")
        self.shown = shown
        self.writer = None
        if is_first_process():
            try:
                self.writer = SummaryWriter(str(folder))
            except OSError as error:
                raise CannotWrite(f"cannot write {folder}: {error.strerror or error}") from error

    @contextmanager
    def bar(self, what: str, total: int | None = None, unit: str = "it") -> Iterator[Bar]:
        """The bar of `shown`; the curves are complete on disk when it is closed."""
        with self.shown.bar(what, total, unit) as bar:
            try:
                yield bar
            finally:
                if self.writer is not None:
                    self.writer.flush()

    def record(self, step: int, metrics: Mapping[str, float]) -> None:
        """Add a point to the curve of each metric."""
        is_held_out = "step" in metrics
        if self.writer is None or (step % UPDATES_BETWEEN_POINTS and not is_held_out):
            return
        for name, value in metrics.items():
            if name not in ("step", "epoch", "seconds"):
                self.writer.add_scalar(f"{'held out' if is_held_out else 'training'}/{name}", value, step)
