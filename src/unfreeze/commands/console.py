"""What verbs print: results on standard output, everything else on standard error.

With `--json`, each result is a JSON object on a line and standard output holds nothing else. Of several processes
(`accelerate launch`, `torchrun`) only the first one prints.
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
import sys
import warnings
from collections.abc import Mapping, Sequence
from copy import copy
from pathlib import PurePath
from typing import Any

from unfreeze.commands.arguments import as_option
from unfreeze.commands.progress import LoggedProgress, LogHandler, TerminalProgress
from unfreeze.display import aligned, cell, printable
from unfreeze.errors import Notice
from unfreeze.progress import SILENT, Progress

_JSON_CONTROLS = re.compile(r"[\x7f-\x9f]")
"""Control characters that terminals interpret and JSON does not have to escape."""


class Console:
    """How a verb prints.

    Attributes:
        progress: passed to the core; shows bars on a terminal, otherwise a log line every 30 seconds.
    """

    def __init__(self, *, json: bool = False, quiet: bool = False, progress: Progress = SILENT) -> None:
        """
        Args:
            json: print results as JSON lines.
            quiet: print no notes.
            progress: shows the progress of long operations.
        """
        self.json = json
        self.quiet = quiet
        self.progress = progress
        self.speaks = is_first_process()

    def result(self, values: Mapping[str, object], text: str | None = None) -> None:
        """Print a result: a JSON object with `--json`, else `text` (by default a line "name: value" for each value)."""
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
        """Print rows with the same keys: a JSON object each, or aligned columns below a header."""
        if self.json:
            for row in rows:
                self.result(row)
        elif rows and self.speaks:
            print(printable(aligned(rows)))

    def note(self, text: str) -> None:
        """Print a note for people (where the model is, what to try next) on standard error."""
        if self.speaks and not self.quiet:
            print(printable(text), file=sys.stderr)


def make_console(*, json: bool, quiet: bool, debug: bool) -> Console:
    """The console for these options; also sets up logging and progress on standard error."""
    silent = quiet or not is_first_process()
    level = logging.DEBUG if debug else logging.WARNING if silent else logging.INFO
    on_terminal = sys.stderr.isatty()
    handler = LogHandler()
    handler.setFormatter(_NamingOptions("%(message)s" if on_terminal else "%(asctime)s %(message)s"))
    logger = logging.getLogger("unfreeze")
    logger.handlers[:] = [handler]
    logger.setLevel(level)
    logger.propagate = False
    warnings.filterwarnings(
        "ignore", module="PIL"
    )  # about damage that does not keep an image from being read
    progress = SILENT if silent else TerminalProgress() if on_terminal else LoggedProgress()
    return Console(json=json, quiet=quiet, progress=progress)


class _NamingOptions(logging.Formatter):
    """Writes settings in messages as options; other handlers still get them as arguments."""

    def format(self, record: logging.LogRecord) -> str:
        message = record.msg
        if isinstance(message, Notice):
            record = copy(record)
            record.msg = message.written(as_option)
        return super().format(record)


def is_first_process() -> bool:
    """Whether this is the only process, or the first of those that a launcher started."""
    return os.environ.get("RANK", "0") == "0"


def plain(value: Any) -> Any:
    """Convert a value, such as an array, a tensor or a path, to JSON types; NaN and infinity become null."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    return str(value) if isinstance(value, PurePath) else value


def layer_weights_line(weights: Mapping[str, Sequence[float]]) -> str:
    """ "weights of the encoder's layers, bottom to top: 0.20 0.45 0.35 at the input (times 1.10)", for each mix."""
    parts = [
        f"{' '.join(f'{share:.2f}' for share in shares)} at the {place} (times {gamma:.2f})"
        for place, (*shares, gamma) in weights.items()
    ]
    return f"weights of the encoder's layers, bottom to top: {'; '.join(parts)}" if parts else ""


def with_layer_weights(
    values: dict[str, object], text: str, weights: Mapping[str, Sequence[float]]
) -> tuple[dict[str, object], str]:
    """A result, for JSON and for people, with the weights of the encoder's layers if the model mixes them."""
    if not weights:
        return values, text
    return {**values, "layer_weights": weights}, f"{text}\n\n{layer_weights_line(weights)}"


def _writes_ascii_only() -> bool:
    return "utf" not in (sys.stdout.encoding or "").lower()
