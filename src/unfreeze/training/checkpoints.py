"""What a run needs to go on after kill -9, in the folder `training/` beside the model that it will become.

- `run.json`: what was asked (the fingerprint of the command) and whether it is done.
- `checkpoint.pt`: model, optimizer, random state, position in the stream, carried states. Ours alone, replaced whole,
  read with `weights_only=True`.
- `log.jsonl`: one line of figures each time something is measured.
"""

from __future__ import annotations

import errno
import json
import os
import pickle
import re
import shutil
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, is_zipfile

import torch

from unfreeze.checked import parse_json, read_json_file
from unfreeze.errors import UserError
from unfreeze.folders import CONFIG, OWN, need_own_place, write_json, writing, written_file

TRAINING = "training"
RUN, CHECKPOINT, LOG = "run.json", "checkpoint.pt", "log.jsonl"
HARMLESS = {"checkpoint_minutes"}
"""Settings that do not change what comes out: a run goes on when they differ."""

RENAMED: dict[str, dict[str, str]] = {
    "": {"rate": "learning_rate"},
    "pretrain elmo": {"size": "projection_size", "cells": "hidden_size", "spelling": "char_cnn"},
}
"""Settings that had another name when some runs were begun, old name -> new name: of every stage (""), or of one."""


class RunFolder:
    """The `training/` folder of an output.

    Args:
        output: the folder of the model to be.
        asked: everything that makes this run what it is, as JSON values; a second run of the same goes on.
        overwrite: an output of another run may be replaced, once the new one is complete.

    Raises:
        UserError: the output belongs to another run, or cannot be written.
    """

    def __init__(self, output: Path, asked: dict[str, Any], *, overwrite: bool = False) -> None:
        self.output, self.folder = output, output / TRAINING
        asked = json.loads(json.dumps(asked))
        earlier = self._read()
        self.done = False
        if earlier is not None and _essence(earlier["asked"]) == _essence(asked):
            self.done = bool(earlier["done"]) and (output / CONFIG).is_file()
            return
        # A run that ended before its first checkpoint, over a mistake for example, has nothing to lose.
        holds_work = (output / CONFIG).is_file() or (self.folder / CHECKPOINT).is_file()
        if holds_work and not overwrite:
            raise UserError(
                f"{output} {_difference(earlier, asked)}: choose another --output, or add --overwrite"
            )
        if output.exists() and not output.is_dir():
            raise UserError(f"{output} is a file: --output names a folder")
        need_own_place(output)
        if not holds_work:
            self._need_nothing_else(known=earlier is not None)
        # Another run's tokenizer and token ids must not be taken for this one's.
        self._remove_all_but(RUN)
        self._asked = asked
        write_json(self.folder / RUN, {"done": False, "asked": asked})

    def _read(self) -> dict[str, Any] | None:
        path = self.folder / RUN
        if not path.is_file():
            return None
        advice = f"remove {self.folder} and start again"
        found: dict[str, Any] = read_json_file(path, f"the file is damaged: {advice}")
        if not isinstance(found, dict) or not {"asked", "done"} <= found.keys():
            raise UserError(f"{path} is damaged: {advice}")
        self._asked = found["asked"]
        return found

    def _need_nothing_else(self, *, known: bool) -> None:
        """Raise the UserError for files of the user's that have the names of a model's."""
        taken = [path for name in sorted(OWN - {TRAINING}) if (path := self.output / name).exists()]
        if not known:  # a killed process may have left a file half written
            taken += [path for path in self.folder.glob("*") if not path.name.endswith(".part")]
        if taken:
            raise UserError(f"{taken[0]} is not unfreeze's and would be replaced: choose another --output")

    def _remove_all_but(self, *names: str) -> None:
        for entry in self.folder.glob("*"):
            if entry.name in names:
                continue
            if entry.is_dir():
                shutil.rmtree(entry)
            else:
                entry.unlink()

    def finish(self) -> None:
        """The model is written: what only served to go on is removed."""
        write_json(self.folder / RUN, {"done": True, "asked": self._asked})
        self._remove_all_but(RUN, LOG)

    def save(self, state: dict[str, Any]) -> None:
        """Write the checkpoint, whole or not at all."""
        with written_file(self.folder / CHECKPOINT) as temporary:
            try:
                torch.save(state, temporary)
            except (
                RuntimeError
            ) as error:  # all that torch's zip writer says of a full disk is "unexpected pos"
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error

    def load(self) -> dict[str, Any] | None:
        """The last checkpoint, or None."""
        path = self.folder / CHECKPOINT
        if not path.is_file():
            return None
        try:
            if not is_zipfile(path):  # torch would take it for its older format, and fail in a dozen ways
                raise BadZipFile
            state = torch.load(path, map_location="cpu", weights_only=True)
        except (RuntimeError, ValueError, LookupError, BadZipFile, pickle.UnpicklingError) as error:
            raise UserError(f"{path} is damaged: remove it to start the run anew") from error
        assert isinstance(state, dict)
        return state

    def log(self, record: dict[str, Any]) -> None:
        """Append one line of figures."""
        path = self.folder / LOG
        with writing(path), path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def rewrite_log(self, records: list[dict[str, Any]]) -> None:
        """Go back to the log of a checkpoint: what was measured after it will be measured again."""
        with written_file(self.folder / LOG) as temporary:
            temporary.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")

    def records(self) -> list[dict[str, Any]]:
        """All lines of the log."""
        return read_log(self.output)


def read_log(output: Path) -> list[dict[str, Any]]:
    """What was measured while the model in `output` was trained; nothing where that has not begun."""
    path = output / TRAINING / LOG
    if not path.is_file():
        return []
    lines = path.read_bytes().splitlines()
    return [
        parse_json(line, path, "the file is damaged", line=number) for number, line in enumerate(lines, 1)
    ]


def _essence(asked: Any, new_names: dict[str, str] | None = None) -> Any:
    """What was asked for under today's names, without what is harmless."""
    if not isinstance(asked, dict):
        return asked
    if new_names is None:
        new_names = RENAMED[""] | RENAMED.get(str(asked.get("stage")), {})
    return {
        new_names.get(name, name): _essence(value, new_names)
        for name, value in asked.items()
        if name not in HARMLESS
    }


def _difference(earlier: dict[str, Any] | None, asked: dict[str, Any]) -> str:
    """What an existing output was made with, as far as it differs."""
    if earlier is None:
        return "already holds a model"
    before, asked = _essence(earlier["asked"]), _essence(asked)
    names = [name for name in {**before, **asked} if before.get(name) != asked.get(name)]
    shown = ", ".join(_shown(name, before.get(name), asked.get(name)) for name in names[:3])
    return f"belongs to another run ({shown})"


def _shown(name: str, before: Any, asked: Any) -> str:
    """A difference for people, to whom digests say nothing."""
    sources = [each[0] if _is_source(each) else each for each in (before, asked)]
    if _is_source(asked) and sources[0] == sources[1]:
        return f"other examples of {asked[0]}"
    if _has_digest(sources[0]) or _has_digest(sources[1]):
        return f"another {name.replace('_', ' ')}"
    there, here = ("not given" if each is None else repr(each) for each in sources)
    return f"{name} {there} there, {here} here"


def _is_source(value: Any) -> bool:
    """Whether it is where examples come from, and their digest."""
    if not isinstance(value, list) or len(value) != 2:
        return False
    return isinstance(value[0], str) and not _has_digest(value[0]) and _has_digest(value[1])


def _has_digest(value: Any) -> bool:
    if isinstance(value, list):
        return any(_has_digest(each) for each in value)
    return isinstance(value, str) and re.fullmatch(r"[0-9a-f]{16,}", value) is not None
