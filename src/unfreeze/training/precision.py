"""Which number format a run computes in: probed once, and said.

bf16 is several times faster where a CPU has AMX or AVX512-BF16, and several times slower where it has neither; on a GPU
of the last years it always pays. Weights and optimizer stay in fp32; prediction is in fp32 unless asked otherwise.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import torch

from unfreeze.errors import UserError

Precision = Literal["auto", "fp32", "bf16"]
logger = logging.getLogger(__name__)

PROBE_SIZE = 1024
LARGEST_ERROR = 0.02
"""Relative error of a bf16 product that is still healthy; a broken kernel shows far more."""


@dataclass(frozen=True)
class Probe:
    """What a probe measured."""

    speedup: float
    """Time of an fp32 matrix product over the time of a bf16 one."""
    error: float
    """Relative error of the bf16 product."""


@lru_cache(maxsize=1)
def probe_bf16() -> Probe:
    """Time a 1024^3 product in both formats on this CPU (under a second)."""
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(PROBE_SIZE, PROBE_SIZE, generator=generator) for _ in range(2))
    exact, fp32 = _best_time(a, b)
    product, bf16 = _best_time(a.bfloat16(), b.bfloat16())
    error = float((product.float() - exact).norm() / exact.norm())
    return Probe(fp32 / bf16, error)


def _best_time(a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, float]:
    product, best = a @ b, float("inf")
    for _ in range(3):
        start = time.perf_counter()
        product = a @ b
        best = min(best, time.perf_counter() - start)
    return product, best


def prediction_format(precision: Precision, device: torch.device) -> torch.autocast:
    """The context in which a finished model is run; bf16 moves a probability by less than a hundredth (tested)."""
    chosen = choose_precision(precision, device)
    return torch.autocast(device.type, torch.bfloat16, enabled=chosen == "bf16")


def choose_precision(wanted: Precision, device: torch.device) -> Literal["no", "bf16"]:
    """Accelerate's name of the format to train in; logs what "auto" chose and why."""
    if wanted not in ("auto", "fp32", "bf16"):
        raise UserError(f"precision {wanted!r}: it is auto, fp32 or bf16")
    if wanted != "auto":
        return "bf16" if wanted == "bf16" else "no"
    if device.type == "cuda":
        chosen = torch.cuda.is_bf16_supported()
        logger.info("precision: %s (GPU)", "bf16" if chosen else "fp32")
        return "bf16" if chosen else "no"
    if device.type != "cpu":
        return "no"
    probe = probe_bf16()
    chosen = probe.speedup > 1.2 and probe.error < LARGEST_ERROR
    logger.info(
        "precision: %s (a bf16 product ran at %.2f times the speed of fp32, error %.4f)",
        "bf16" if chosen else "fp32",
        probe.speedup,
        probe.error,
    )
    return "bf16" if chosen else "no"
