"""Results of a ladder's cells in DIR/results.jsonl, one a line, written as soon as a cell is finished.

A killed process leaves at most one incomplete line at the end, which is dropped at the next start. `ladder.json` says which
data the results are of.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from unfreeze.checked import parse_json, read_json_file
from unfreeze.errors import UserError, setting
from unfreeze.folders import write_json, writing

IDENTITY, RESULTS = "ladder.json", "results.jsonl"


def key_of(*parts: Any) -> str:
    """16 hex digits that identify JSON values."""
    text = json.dumps(parts, sort_keys=True)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


class Results:
    """The finished cells of a ladder by key; a new one is on the disk when `add` returns."""

    def __init__(self, file: Any, rows: dict[str, dict[str, Any]]) -> None:
        self._file, self.rows = file, rows

    def add(self, key: str, row: dict[str, Any]) -> None:
        """Store the result of a cell."""
        row = {"key": key, **row}
        self._file.write(json.dumps(row).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        self.rows[key] = row


@contextmanager
def open_results(folder: Path, identity: dict[str, Any], *, overwrite: bool = False) -> Iterator[Results]:
    """The results in a folder, kept from other processes meanwhile.

    Args:
        identity: what the results have in common, as JSON values.
        overwrite: drop the results of another identity.

    Raises:
        UserError: the folder holds something else, is written by another process, or its files are damaged.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file: {setting('output')} names a folder")
    # A run that was killed right after its start may have left an empty file of results.
    entries = [path.name for path in folder.glob("*") if path.name[0] != "." and not _is_empty_start(path)]
    if entries and IDENTITY not in entries:
        raise UserError(
            f"{folder} holds {sorted(entries)[0]} and no ladder: choose another {setting('output')}"
        )
    is_new = not folder.exists()
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / RESULTS).open("a+b")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"{folder} is being written by another run: wait until it has ended, or choose another {setting('output')}"
            ) from None
        except OSError:  # a file system without locks
            pass
        identity = json.loads(json.dumps(identity))
        if IDENTITY in entries:
            advice = f"remove {folder} and start again"
            found = read_json_file(folder / IDENTITY, f"the file is damaged: {advice}")
            if found != identity:
                if not overwrite:
                    raise UserError(
                        f"{folder} belongs to a ladder of {_difference(found, identity)}: choose another "
                        f"{setting('output')}, or add {setting('overwrite', True)}"
                    )
                file.truncate(0)
        write_json(folder / IDENTITY, identity)
        results = Results(file, _read(file, folder / RESULTS))
        try:
            yield results
        except BaseException:
            if is_new and not results.rows:  # a mistake that is noticed at once leaves no folder
                for name in (IDENTITY, RESULTS):
                    (folder / name).unlink(missing_ok=True)
                with suppress(OSError):
                    folder.rmdir()
            raise


def _is_empty_start(path: Path) -> bool:
    return path.name == RESULTS and path.is_file() and not path.stat().st_size


def _read(file: Any, path: Path) -> dict[str, dict[str, Any]]:
    """The rows by key; an incomplete last line is cut off."""
    file.seek(0)
    text: bytes = file.read()
    complete = text.rfind(b"\n") + 1
    file.truncate(complete)
    rows = {}
    for number, line in enumerate(text[:complete].splitlines(), 1):
        row = parse_json(line, path, "the file is damaged: remove this line", line=number)
        if not isinstance(row, dict) or not isinstance(row.get("key"), str):
            raise UserError(f"{path}:{number} is no result: the file is damaged: remove this line")
        rows[row["key"]] = row
    return rows


def _difference(found: Any, identity: dict[str, Any]) -> str:
    """What another identity has else, for a message."""
    if not isinstance(found, dict):
        return "another kind"
    names = [name for name in identity if found.get(name) != identity[name]]
    nouns = {"task": "another task", "train": "other training examples", "test": "other test examples"}
    return nouns.get(names[0] if names else "", "another version")
