"""Settings of generated text; this module does not import torch, so that the command line can show them quickly."""

from __future__ import annotations

from dataclasses import dataclass

from unfreeze.checked import need_positive
from unfreeze.errors import UserError, setting


@dataclass(frozen=True, kw_only=True)
class SamplingSettings:
    """How tokens are drawn."""

    tokens: int = 100
    """Maximum number of tokens to draw; marks such as "the next word is capitalized" count."""
    temperature: float = 1.0
    """Below 1 favors probable tokens; 0 always takes the most probable one."""
    top_k: int = 0
    """Draw from this number of most probable tokens; 0 draws from all."""
    seed: int = 0
    """Seed of the random draws."""
    stop_at_document_end: bool = True
    """Stop where the model begins a new document; otherwise that is never drawn."""

    def __post_init__(self) -> None:
        need_positive(self, "tokens")
        if not 0 <= self.temperature < float("inf"):
            raise UserError(f"{setting('temperature')} must be at least 0, not {self.temperature:g}")
        if self.top_k < 0:
            raise UserError(f"{setting('top_k')} must be at least 0, not {self.top_k}")
