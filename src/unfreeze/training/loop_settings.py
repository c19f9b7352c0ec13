"""Settings of the training loop. Loads no torch: the command line is made from this class."""

from __future__ import annotations

from dataclasses import dataclass

from unfreeze.checked import need_not_negative, need_positive, need_seed
from unfreeze.errors import UserError, setting
from unfreeze.transfer.policies import OptimizerName


@dataclass(frozen=True, kw_only=True)
class LoopSettings:
    """Length of a training run, its optimizer, and how often it is saved and validated.

    Raises:
        UserError: a value is out of range, or neither `epochs` nor `minutes` bounds the training.
    """

    epochs: int | None = 1
    """Passes over the data; `minutes` replaces the default."""
    minutes: float | None = None
    """Time limit in minutes; the learning rate schedule is fitted to it."""
    optimizer: OptimizerName = "adamw"
    """AdamW, averaged SGD with the non-monotone trigger (NT-ASGD), Adagrad, or SGD."""
    betas: tuple[float, float] = (0.8, 0.99)
    """Adam's decay rates; the defaults are fastai's for ULMFiT."""
    weight_decay: float | None = None
    """Weight decay of matrices; biases and gains have none (default: 0.01 for AdamW, 1.2e-6 for NT-ASGD)."""
    clip: float | None = 1.0
    """Maximum norm of the gradient; None does not clip."""
    checkpoint_minutes: float = 3.0
    """Minutes between checkpoints, the most work an interruption can lose."""
    validate_minutes: float | None = None
    """Minutes between validations within an epoch (default: only at its end)."""
    keep_best: bool = False
    """Keep the weights of the epoch with the best validation score."""
    seed: int = 0
    """Seed of all random numbers: the same seed gives the same model on the same machine."""

    def __post_init__(self) -> None:
        if self.epochs is None and self.minutes is None:
            raise UserError(f"training needs a limit: {setting('epochs')} or {setting('minutes')}")
        need_positive(self, "epochs", "minutes", "validate_minutes", "clip")
        need_not_negative(self, "checkpoint_minutes", "weight_decay")
        need_seed(self.seed)
