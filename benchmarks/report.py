"""Output of the benchmarks: a description of the machine, a line for each measurement, and the final table."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from benchmarks.turns import median_ratio
from unfreeze.training.precision import Precision, choose_precision


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row of the table."""

    what: str
    """The measured quantity, with its unit."""
    ours: float | None = None
    theirs: float | None = None
    ratio: float | None = None
    """Ours over theirs unless `what` says otherwise; the median over rounds."""
    lstm_ratio: float | None = None
    """Ratio to our own LSTM in the same run, if ours is a QRNN."""
    goal: str = "-"
    """Goal for the ratio, if there is one."""
    failed: bool = False
    """Whether a correctness check failed; never depends on times."""


def speed_row(
    what: str,
    ours: Sequence[float],
    theirs: Sequence[float],
    *,
    lstm: Sequence[float] | None = None,
    goal: str = "-",
) -> Row:
    """Create a row from the speeds in each round.

    Args:
        lstm: speeds of our own LSTM, if ours is a QRNN.
    """
    return Row(
        what=what,
        ours=statistics.median(ours),
        theirs=statistics.median(theirs),
        ratio=median_ratio(ours, theirs),
        lstm_ratio=None if lstm is None else median_ratio(ours, lstm),
        goal=goal,
    )


def machine() -> dict[str, Any]:
    """Properties of the machine that results depend on."""
    model, flags = _processor()
    return {
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "amx_bf16": "amx_bf16" in flags,
        "avx512_bf16": "avx512_bf16" in flags,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "precision": auto_precision(),
        "bf16_speedup": round(bf16_speedup(), 2),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


def bf16_speedup() -> float:
    """Ratio of the CPU times of a product of two 1024 x 1024 matrices in fp32 and in bf16; the median of five rounds."""
    a, b = torch.randn(2, 1024, 1024)
    times: dict[torch.dtype, list[float]] = {torch.float32: [], torch.bfloat16: []}
    for _ in range(5):
        for dtype, found in times.items():
            left, right = a.to(dtype), b.to(dtype)
            start = time.process_time()
            left @ right
            found.append(time.process_time() - start)
    return statistics.median(times[torch.float32]) / statistics.median(times[torch.bfloat16])


def auto_precision() -> Literal["fp32", "bf16"]:
    """Number format that precision auto chooses on this machine."""
    return "bf16" if choose_precision("auto", torch.device("cpu")) == "bf16" else "fp32"


def precision_name(precision: Precision) -> str:
    """Name of a precision in rows, with the choice of auto."""
    return f"auto ({auto_precision()})" if precision == "auto" else precision


def _processor() -> tuple[str, set[str]]:
    """Name and flags of the processor, if known."""
    path = Path("/proc/cpuinfo")
    if not path.is_file():
        return platform.processor() or platform.machine(), set()
    lines = [line.partition(":") for line in path.read_text(encoding="utf-8").splitlines()]
    facts = {name.strip(): value.strip() for name, _, value in reversed(lines)}
    return facts.get("model name", platform.machine()), set(facts.get("flags", "").split())


def machine_line(facts: dict[str, Any]) -> str:
    """Describe the machine in one line."""
    having = [name for name in ("amx_bf16", "avx512_bf16") if facts[name]]
    return (
        f"machine: {facts['cores']} cores of {facts['cpu']} ({', '.join(having) or 'no bf16 instructions'}), "
        f"torch {facts['torch']}, {facts['threads']} threads, load {facts['load']} at the start; precision auto is "
        f"{facts['precision']} (a bf16 product runs at {facts['bf16_speedup']} times the speed of fp32)"
    )


def number(value: float | None) -> str:
    """Format with three significant digits and thousands separators."""
    if value is None:
        return "-"
    if 0 < abs(value) < 0.01:
        return f"{value:.1e}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def table(rows: Sequence[Row]) -> str:
    """Format rows as aligned columns, with ratios to our LSTM only if there are any."""
    lines = [["what", "ours", "theirs", "ratio", "to our LSTM", "goal"]]
    for row in rows:
        figures = (row.ours, row.theirs, row.ratio, row.lstm_ratio)
        lines.append([row.what, *map(number, figures), row.goal])
    if all(row.lstm_ratio is None for row in rows):
        lines = [[*line[:4], line[5]] for line in lines]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            [line[0].ljust(widths[0])] + [text.rjust(w) for text, w in zip(line[1:], widths[1:], strict=True)]
        )
        for line in lines
    )


def as_json(facts: dict[str, Any], rows: Sequence[Row], skipped: dict[str, str]) -> dict[str, Any]:
    """Results as JSON."""
    return {"machine": facts, "rows": [asdict(row) for row in rows], "skipped": skipped}
