"""Settings of generated text, and the limit of n-grams; no torch is imported, so that the command line shows them quickly."""

from __future__ import annotations

from dataclasses import dataclass

from unfreeze.checked import need_positive, need_seed, need_setting_types
from unfreeze.errors import UserError, setting

MAX_ORDER = 6
"""Length of the longest n-grams that an n-gram model can have."""


@dataclass(frozen=True, kw_only=True)
class SamplingSettings:
    """Length of generated text, and how its tokens are sampled.

    Raises:
        UserError: a value is out of range.
    """

    tokens: int = 100
    """Maximum number of tokens to generate, including marks such as "the next word is capitalized"."""
    temperature: float = 1.0
    """Sampling temperature: values below 1 favor probable tokens, 0 always takes the most probable one."""
    top_k: int = 0
    """Sample from this number of most probable tokens only; 0 samples from all."""
    seed: int = 0
    """Random seed."""
    stop_at_document_end: bool = True
    """Stop when the model begins a new document; otherwise it never does."""

    def __post_init__(self) -> None:
        need_setting_types(self)
        need_positive(self, "tokens")
        need_seed(self.seed)
        if not 0 <= self.temperature < float("inf"):
            raise UserError(f"{setting('temperature')} must be at least 0, not {self.temperature:g}")
        if self.top_k < 0:
            raise UserError(f"{setting('top_k')} must be at least 0, not {self.top_k}")
