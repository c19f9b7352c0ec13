"""Number formats of training and prediction.

bf16 is several times faster on CPUs with AMX or AVX512-BF16 and several times slower on those with neither; on recent GPUs it
is always faster. "auto" decides by the flags of the processor, which are the same at every start, whereas timings on a
busy machine gave speedups from 2.9 to 280. Weights and optimizer stay in fp32; prediction is in fp32 by default.
"""

from __future__ import annotations

import logging
from functools import lru_cache
from pathlib import Path
from typing import Literal

import torch

from unfreeze.errors import UserError

Precision = Literal["auto", "fp32", "bf16"]
logger = logging.getLogger(__name__)

FAST_BF16 = {"amx_bf16", "avx512_bf16", "bf16"}
"""Flags in /proc/cpuinfo of processors with bf16 multiplication; the last one is that of ARM."""
LARGEST_ERROR = 0.02
"""Largest relative error of a correct bf16 product; that of a broken kernel is far larger."""


@lru_cache(maxsize=1)
def processor_flags() -> frozenset[str]:
    """The flags of the CPU from /proc/cpuinfo; empty on systems without it."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
    found = (line.partition(":")[2] for line in lines if line.startswith(("flags", "Features")))
    return frozenset(next(found, "").split())


@lru_cache(maxsize=1)
def bf16_error() -> float:
    """Relative error of a bf16 product of two 256 x 256 matrices on this CPU."""
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(256, 256, generator=generator) for _ in range(2))
    exact = a @ b
    return float(((a.bfloat16() @ b.bfloat16()).float() - exact).norm() / exact.norm())


def prediction_format(precision: Precision, device: torch.device) -> torch.autocast:
    """Context in which a fitted model predicts; bf16 changes a probability by less than 0.01 (tested)."""
    chosen = choose_precision(precision, device)
    return torch.autocast(device.type, torch.bfloat16, enabled=chosen == "bf16")


def choose_precision(wanted: Precision, device: torch.device) -> Literal["no", "bf16"]:
    """Return the number format under Accelerate's name; log what "auto" chose and why.

    Raises:
        UserError: `wanted` is not one of these formats.
    """
    if wanted not in ("auto", "fp32", "bf16"):
        raise UserError(f"unknown precision {wanted!r}: use auto, fp32 or bf16")
    if wanted != "auto":
        return "bf16" if wanted == "bf16" else "no"
    if device.type == "cuda":
        fast, why = torch.cuda.is_bf16_supported(), "GPU"
    elif device.type == "cpu" and (flags := FAST_BF16 & processor_flags()):
        fast, why = bf16_error() < LARGEST_ERROR, f"{', '.join(sorted(flags))}, error {bf16_error():.4f}"
    else:
        fast, why = False, f"{device.type} without fast bf16"
    logger.info("precision: %s (%s)", "bf16" if fast else "fp32", why)
    return "bf16" if fast else "no"
