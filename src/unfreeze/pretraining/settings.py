"""Recipes for language models: functions that return a whole configuration."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from unfreeze.encoders.directions import Direction
from unfreeze.encoders.layers.recurrent import CellKind, CellSettings, need_layers
from unfreeze.errors import UserError
from unfreeze.training.loop_settings import LoopSettings
from unfreeze.transfer.policies import TransferPolicy

Softmax = Literal["adaptive", "full"]


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """How a language model learns, in either of its stages."""

    policy: TransferPolicy
    """Rates and schedule."""
    loop: LoopSettings
    """How long, and with what optimizer."""
    batch_size: int = 32
    """Lanes over all processes."""
    bptt: int = 70
    """Base length of a batch in tokens."""
    variable_bptt: bool = True
    """Draw the length anew for each batch, the rate scaled with it."""
    alpha: float = 2.0
    """Activation regularization."""
    beta: float = 1.0
    """Temporal activation regularization."""
    dropout_scale: float = 1.0
    """Factor on AWD-LSTM's dropouts."""


@dataclass(frozen=True, kw_only=True)
class PretrainSettings:
    """A language model from random weights (or word vectors)."""

    training: TrainingSettings
    """How it learns."""
    embedding_size: int = 400
    """E."""
    hidden_size: int = 1152
    """H of the layers between."""
    n_layers: int = 3
    """Number of recurrent layers."""
    cell: CellKind = "lstm"
    """lstm, or qrnn, which has no recurrent product and trains faster (docs/results.md)."""
    windows: tuple[int, ...] = (2,)
    """Of QRNNs: how many inputs a step of the first layers sees; layers beyond those named see 1."""
    zoneout: float = 0.0
    """Of QRNNs: probability of a forget gate to be 1 in training."""
    direction: Direction = "forward"
    """forward, backward, or both."""
    share_embedding: bool = True
    """With both directions: one embedding for both."""
    tokenizer: Literal["word", "subword"] = "word"
    """Vocabulary of whole words, or of pieces of them."""
    vocabulary_size: int | None = None
    """At most; 60,000 words or 16,000 pieces by default."""
    min_count: int = 3
    """Rarer words are unknown."""
    softmax: Softmax = "adaptive"
    """Output layer: adaptive needs a frequency-sorted vocabulary (word); full works with any."""

    def __post_init__(self) -> None:
        need_layers(self.n_layers, CellSettings(kind=self.cell, windows=self.windows, zoneout=self.zoneout))
        if self.softmax == "adaptive" and self.tokenizer == "subword":
            raise UserError(
                "the adaptive softmax needs a frequency-sorted vocabulary: take --softmax full for subwords"
            )


def _training(rate: float, **changes: object) -> TrainingSettings:
    loop = LoopSettings(epochs=1)
    return TrainingSettings(
        policy=TransferPolicy(mode="scratch", rate=rate, schedule="cosine"),
        loop=loop,
        **changes,  # type: ignore[arg-type]
    )


def tiny() -> PretrainSettings:
    """Seconds on a CPU: for tests and the demo."""
    return PretrainSettings(
        embedding_size=64,
        hidden_size=128,
        n_layers=2,
        vocabulary_size=10_000,
        training=_training(1e-2, batch_size=16, bptt=35, alpha=0.0, beta=0.0, dropout_scale=0.2),
    )


def small() -> PretrainSettings:
    """Sizes at which a run of an hour on a CPU still learns.

    QRNNs, since in the minutes that LSTMs took to a held-out perplexity of 153 they reached 109, and 104 at this rate, twice
    that of the LSTMs; other batches, longer streams and wider layers did not help (experiments/lstm_or_qrnn.py).
    """
    return PretrainSettings(
        embedding_size=256,
        hidden_size=640,
        n_layers=3,
        cell="qrnn",
        vocabulary_size=30_000,
        training=_training(1.2e-2, batch_size=32, alpha=0.0, beta=0.0, dropout_scale=0.1),
    )


def paper() -> PretrainSettings:
    """AWD-LSTM as ULMFiT has it; meant for a GPU."""
    return PretrainSettings(vocabulary_size=60_000, training=_training(3e-3, batch_size=64))


PRESETS = {"tiny": tiny, "small": small, "paper": paper}


@dataclass(frozen=True, kw_only=True)
class AdaptSettings:
    """Going on on the target's text (Howard & Ruder 2018, section 3.2)."""

    training: TrainingSettings = field(
        default_factory=lambda: TrainingSettings(
            policy=TransferPolicy(mode="fine-tune", rate=4e-3, gradual=False, schedule="slanted"),
            loop=LoopSettings(epochs=1),
            dropout_scale=0.5,
        )
    )
    """How it learns."""
    new_vocabulary: bool = True
    """Take the target's words as the vocabulary; else keep the pre-trained one."""
    vocabulary_size: int | None = None
    """At most; as many as the pre-trained model has by default."""
    min_count: int = 3
    """Rarer words are unknown."""
