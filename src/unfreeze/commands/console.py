"""Where a verb's results and remarks go: results to standard output, everything else to standard error.

With `--json` every result is one JSON object on one line and standard output holds nothing else. Of several processes
(`accelerate launch`, `torchrun`) only the first one speaks.
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from unfreeze.commands.progress import LoggedProgress, LogHandler, TerminalProgress
from unfreeze.progress import SILENT, Progress
from unfreeze.text.display import cut, printable

_JSON_CONTROLS = re.compile(r"[\x7f-\x9f]")
"""Control characters that JSON need not escape and a terminal may obey."""


class Console:
    """What a verb's `run` prints with.

    Attributes:
        progress: to hand to the core; bars on a terminal, a log line every 30 seconds elsewhere.
    """

    def __init__(self, *, json: bool = False, quiet: bool = False, progress: Progress = SILENT) -> None:
        """
        Args:
            json: results are JSON lines.
            quiet: `note` says nothing.
            progress: who shows how far long work is.
        """
        self.json = json
        self.quiet = quiet
        self.progress = progress
        self.speaks = is_first_process()

    def result(self, values: Mapping[str, object], text: str | None = None) -> None:
        """One result: a JSON object, or for people `text` (without it: a line "name: value" for each value)."""
        if not self.speaks:
            return
        if self.json:
            line = json.dumps(plain(values), ensure_ascii=_writes_ascii_only(), allow_nan=False)
            print(_JSON_CONTROLS.sub(lambda match: f"\\u{ord(match[0]):04x}", line))
        elif text is not None:
            print(printable(text))
        else:
            print(printable("\n".join(f"{name}: {cell(value)}" for name, value in values.items())))

    def table(self, rows: Sequence[Mapping[str, object]]) -> None:
        """Rows with the same keys: a JSON object each, or aligned columns below the keys."""
        if self.json:
            for row in rows:
                self.result(row)
        elif rows and self.speaks:
            print(printable(aligned(rows)))

    def note(self, text: str) -> None:
        """A remark for people (where the model is, what to do next), on standard error."""
        if self.speaks and not self.quiet:
            print(printable(text), file=sys.stderr)


def make_console(*, json: bool, quiet: bool, debug: bool) -> Console:
    """The console of a run, with logging and progress set up on standard error as the options say."""
    silent = quiet or not is_first_process()
    level = logging.DEBUG if debug else logging.WARNING if silent else logging.INFO
    on_terminal = sys.stderr.isatty()
    handler = LogHandler()
    handler.setFormatter(logging.Formatter("%(message)s" if on_terminal else "%(asctime)s %(message)s"))
    logger = logging.getLogger("unfreeze")
    logger.handlers[:] = [handler]
    logger.setLevel(level)
    logger.propagate = False
    progress = SILENT if silent else TerminalProgress() if on_terminal else LoggedProgress()
    return Console(json=json, quiet=quiet, progress=progress)


def is_first_process() -> bool:
    """Whether this is the process that speaks, of those that a launcher started."""
    return os.environ.get("RANK", "0") == "0"


def plain(value: Any) -> Any:
    """`value` in what JSON knows: arrays and numbers of NumPy and torch, paths; not-a-number and infinity become null."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    return str(value) if isinstance(value, PurePath) else value


LONGEST_CELL = 100
"""A broken corpus has words of megabytes; --json has them whole."""


def cell(value: object) -> str:
    """A value as people read it: four significant digits, "-" for what is not there."""
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def aligned(rows: Sequence[Mapping[str, object]]) -> str:
    """A text table: the keys of the first row as its head, numbers to the right."""
    names = list(rows[0])
    lines = [names] + [[cut(cell(row.get(name)), LONGEST_CELL) for name in names] for row in rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(names))]
    to_right = [all(isinstance(row.get(name), (int, float, type(None))) for row in rows) for name in names]
    return "\n".join(
        "  ".join(
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(line, widths, to_right, strict=True)
        ).rstrip()
        for line in lines
    )


def _writes_ascii_only() -> bool:
    return "utf" not in (sys.stdout.encoding or "").lower()
