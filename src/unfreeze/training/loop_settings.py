"""How long the training loop trains, and with what."""

from __future__ import annotations

import math
from dataclasses import dataclass

from unfreeze.errors import UserError
from unfreeze.transfer.optimizers import OptimizerName


@dataclass(frozen=True, kw_only=True)
class LoopSettings:
    """How long, and with what."""

    epochs: int | None = 1
    """Passes over the data; None with `minutes`."""
    minutes: float | None = None
    """Bound by time: the schedule is fitted to it, and passes go on until it is over (or `epochs` are)."""
    optimizer: OptimizerName = "adamw"
    """adamw, nt-asgd or adagrad."""
    betas: tuple[float, float] = (0.8, 0.99)
    """Adam's; fastai's values for ULMFiT."""
    weight_decay: float | None = None
    """Of matrices; vectors take none. By default .01 for AdamW and 1.2e-6 for NT-ASGD, whose rate is a thousand times larger."""
    clip: float | None = 1.0
    """Largest norm of the gradient."""
    checkpoint_minutes: float = 3.0
    """How much work a kill may cost."""
    validate_minutes: float | None = None
    """Validate also within an epoch, this often."""
    keep_best: bool = False
    """End with the weights of the epoch whose score was the best."""
    seed: int = 0
    """Of everything random."""

    def __post_init__(self) -> None:
        if self.epochs is None and self.minutes is None:
            raise UserError("a run needs a bound: epochs, or minutes")
        if self.epochs is not None and self.epochs < 1:
            raise UserError(f"{self.epochs} epochs: at least 1")
        if self.minutes is not None and not 0 < self.minutes < math.inf:
            raise UserError(f"{self.minutes} minutes: more than 0")
        if not self.checkpoint_minutes >= 0:
            raise UserError(f"a checkpoint every {self.checkpoint_minutes} minutes: at least 0")
