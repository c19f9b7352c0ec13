"""The options that `fit tagger` and `fit answerer` have in common: what words are read by, and how the task learns."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from unfreeze.checked import shown
from unfreeze.commands.fit_classifier import is_number
from unfreeze.commands.inputs import need_positive
from unfreeze.commands.options import given
from unfreeze.errors import UserError

SETTINGS = (
    "encoder transfer word_vectors characters mix_at mix_l2 epochs minutes learning_rate batch_size hidden_size "
    "gradual discriminative schedule keep_best checkpoint_minutes seed"
)


@dataclass(kw_only=True)
class FitOnWords:
    """Options of a task on words."""

    train: Path
    """Examples to learn from."""

    output: Path
    """Folder of the model to be."""

    validation: Path | None = None
    """Examples to measure on after each epoch; the best epoch is kept."""

    encoder: str | None = None
    """Encoder, language model, task model or word vectors to start from: a folder, a name, a file of vectors; wiki-small,
    which ships with unfreeze, by default; none is from scratch."""

    transfer: Literal["scratch", "frozen", "fine-tune"] | None = None
    """How the encoder moves: not at all (frozen, by default), or with the task (fine-tune); scratch has none."""

    word_vectors: str | None = None
    """Vectors (a folder, or word2vec or GloVe format) of each word beside the encoder's layers."""

    characters: int | None = None
    """Width of a character CNN's vector of each word (50); 0 is none."""

    layers: str | None = None
    """mix (all of the encoder's layers, weighted by the task), or the number of one; -1 is the last."""

    mix_at: Literal["input", "output", "both"] | None = None
    """Where the mix stands: at the body's input (default), its output (an answerer: before its modelling layers), or both."""

    mix_l2: float | None = None
    """L2 penalty on the mix's weights: .001 lets the layers differ, 1 keeps them equal (0)."""

    layer_norm: bool = False
    """Normalize each layer before it is mixed."""

    labels: int | None = None
    """Learn from so many of the examples only: a sample that is fixed by the seed and that smaller ones are part of."""

    encoding: str = "utf-8"
    """Of text files."""

    epochs: int | None = None
    """Passes over the examples (answerers 8; taggers by the number of sentences)."""

    minutes: float | None = None
    """Bound the training by time instead, and fit the schedule to it."""

    learning_rate: float | None = None
    """Largest learning rate, of the body and the head (.002)."""

    batch_size: int | None = None
    """Examples an update (taggers 16, answerers 32)."""

    hidden_size: int | None = None
    """Of each direction of the LSTMs (taggers 200, answerers 100)."""

    gradual: bool = True
    """Fine-tuning: thaw one layer group an epoch, last first."""

    discriminative: float | None = None
    """Fine-tuning: each lower layer learns this many times slower (2.6); 1 turns it off."""

    schedule: Literal["slanted", "cosine", "constant"] | None = None
    """How the rate moves."""

    keep_best: bool = True
    """With --validation: end with the epoch that was best, else with the last."""

    checkpoint_minutes: float | None = None
    """Save this often where the training stands (3): so much a kill or a power cut may cost."""

    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Number format; auto tries which is faster here."""

    seed: int = 0
    """The same seed gives the same sample and the same model."""

    overwrite: bool = False
    """Replace a model of another run once this one is complete."""

    def __post_init__(self) -> None:
        if self.epochs is not None and self.minutes is not None:
            raise UserError("a run is bounded by --epochs or by --minutes, not by both")
        need_positive(self, "labels", "epochs", "minutes", "learning_rate", "batch_size", "hidden_size")
        if self.characters is not None and self.characters < 0:
            raise UserError(f"--characters must be at least 0, not {self.characters}")
        if self.mix_l2 is not None and not 0 <= self.mix_l2 < math.inf:
            raise UserError(f"--mix-l2 must be at least 0, not {self.mix_l2}")
        if self.layers not in (None, "mix") and not is_number(self.layers):
            raise UserError(f"--layers is mix or the number of a layer, not {shown(self.layers)}")

    def options(self, *besides: str) -> dict[str, Any]:
        """What the command line changes of a task's settings.

        Args:
            besides: options of the task's own.
        """
        options = {**given(self, *SETTINGS.split(), *besides), "layer_norm": self.layer_norm}
        if self.layers is not None:
            options["layers"] = "mix" if self.layers == "mix" else int(self.layers)
        return options
