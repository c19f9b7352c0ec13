"""The state of a training run in the folder `training/` of its output, so that it can be resumed after kill -9.

- `checkpoint.pt`: model, optimizer, random state, position in the stream, carried states. Only unfreeze writes it; it is
  replaced as a whole and read with `weights_only=True`.
- `log.jsonl`: one line of metrics for each measurement.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import pickle
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, is_zipfile

import torch

from unfreeze.checked import parse_json
from unfreeze.folders import writing, written_file

TRAINING = "training"
CHECKPOINT, LOG = "checkpoint.pt", "log.jsonl"
logger = logging.getLogger(__name__)


class Checkpoints:
    """The last checkpoint and the log of a training run.

    Args:
        folder: the folder `training/` of an output.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, state: dict[str, Any]) -> None:
        """Replace the checkpoint.

        Raises:
            UserError: the disk is full; the earlier checkpoint is intact.
        """
        with written_file(self.folder / CHECKPOINT) as temporary:
            try:
                torch.save(state, temporary)
            except RuntimeError as error:
                # torch's zip writer reports a full disk as "unexpected pos".
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error

    def load(self, *keys: str) -> dict[str, Any] | None:
        """The last checkpoint; None if there is none, or if it is damaged, so that training has to start again.

        Args:
            keys: keys without which a checkpoint counts as damaged.
        """
        path = self.folder / CHECKPOINT
        if not path.is_file():
            return None
        try:
            if not is_zipfile(path):  # torch would read it in its older format and fail in many ways
                raise BadZipFile
            state = torch.load(path, map_location="cpu", weights_only=True)
            if not isinstance(state, dict) or not state.keys() >= set(keys):
                raise BadZipFile
        except (RuntimeError, ValueError, LookupError, BadZipFile, pickle.UnpicklingError, EOFError):
            logger.warning("%s is damaged: training starts again from the beginning", path)
            return None
        return state

    def log(self, record: dict[str, Any]) -> None:
        """Append a record as one line of JSON."""
        path = self.folder / LOG
        with writing(path), path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def rewrite_log(self, records: list[dict[str, Any]]) -> None:
        """Replace the log by that of a checkpoint, since the resumed run will produce the later records again."""
        with written_file(self.folder / LOG) as temporary:
            temporary.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")


def read_log(output: Path) -> list[dict[str, Any]]:
    """The records of the training run in `output`; empty if it has not begun."""
    path = output / TRAINING / LOG
    if not path.is_file():
        return []
    lines = path.read_bytes().splitlines()
    return [
        parse_json(line, path, "the file is damaged", line=number) for number, line in enumerate(lines, 1)
    ]
