"""Settings of `pretrain lm`, `pretrain ngram` and `adapt`, and presets: functions that return a whole configuration.

Loads neither torch nor numba: the command line is made from these classes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from unfreeze.checked import need_not_negative, need_positive
from unfreeze.encoders.layers.cell_settings import CellKind, CellSettings, need_layers
from unfreeze.errors import UserError, setting
from unfreeze.language_models.settings import MAX_ORDER
from unfreeze.training.loop_settings import LoopSettings
from unfreeze.transfer.policies import TransferPolicy

Softmax = Literal["adaptive", "full"]


@dataclass(frozen=True, kw_only=True)
class NgramSettings:
    """Order and vocabulary of an n-gram language model.

    Raises:
        UserError: a value is out of range.
    """

    order: int = 3
    """Length of the longest n-grams in words, from 1 to 6; 2 is a bigram model."""
    tokenizer: Literal["word", "subword"] = "word"
    """Vocabulary of words, or of subwords, which suit any language."""
    vocabulary_size: int | None = None
    """Largest number of entries in the vocabulary (60,000 words or 16,000 subwords unless given)."""
    min_count: int = 3
    """Words with fewer occurrences are unknown."""

    def __post_init__(self) -> None:
        need_positive(self, "vocabulary_size", "min_count")
        if not 1 <= self.order <= MAX_ORDER:
            raise UserError(f"{setting('order')} must be from 1 to {MAX_ORDER}, not {self.order}")


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """Training of a recurrent language model, in either of its stages."""

    policy: TransferPolicy
    """Learning rates and schedule."""
    loop: LoopSettings
    """Length of the training, and the optimizer."""
    batch_size: int = 32
    """Streams of text in a batch, over all processes."""
    bptt: int = 70
    """Tokens of each stream in a batch, about."""
    variable_bptt: bool = True
    """Draw the length of each batch at random around bptt, and scale the learning rate with it."""
    alpha: float = 2.0
    """Activation regularization (the paper's alpha)."""
    beta: float = 1.0
    """Temporal activation regularization (the paper's beta)."""
    dropout_scale: float = 1.0
    """Factor on all of AWD-LSTM's dropouts."""

    def __post_init__(self) -> None:
        need_positive(self, "batch_size", "bptt")
        need_not_negative(self, "dropout_scale", "alpha", "beta")


@dataclass(frozen=True, kw_only=True)
class PretrainSettings:
    """A recurrent language model that starts from random weights (or from word vectors)."""

    training: TrainingSettings
    """How the model is trained."""
    embedding_size: int = 400
    """Width of the word embedding and of the top layer."""
    hidden_size: int = 1152
    """Width of the recurrent layers below the top one."""
    n_layers: int = 3
    """Number of recurrent layers."""
    cell: CellKind = "lstm"
    """Recurrent layer: lstm, or qrnn, which trains faster (docs/results.md)."""
    windows: tuple[int, ...] = (2,)
    """QRNN: inputs that each of the first layers sees at a time step, from the bottom; further layers see 1."""
    zoneout: float = 0.0
    """QRNN: probability of forcing a forget gate to 1 in training."""
    direction: Literal["forward", "backward", "both"] = "forward"
    """Reading direction; both trains two models over one embedding."""
    share_embedding: bool = True
    """Both directions: share one embedding."""
    tokenizer: Literal["word", "subword"] = "word"
    """Vocabulary of words, or of subwords, which suit any language."""
    vocabulary_size: int | None = None
    """Largest number of entries in the vocabulary (60,000 words or 16,000 subwords unless given)."""
    min_count: int = 3
    """Words with fewer occurrences are unknown."""
    softmax: Softmax | None = None
    """Output layer: adaptive (default for words, much faster) or full (default for subwords)."""

    def __post_init__(self) -> None:
        need_positive(self, "embedding_size", "hidden_size", "n_layers", "vocabulary_size", "min_count")
        need_layers(self.n_layers, CellSettings(kind=self.cell, windows=self.windows, zoneout=self.zoneout))
        if self.softmax == "adaptive" and self.tokenizer == "subword":
            raise UserError(
                "the adaptive softmax needs a vocabulary sorted by frequency: "
                f"use {setting('softmax', 'full')} for subwords"
            )

    @property
    def output_softmax(self) -> Softmax:
        """The output layer that was chosen, or the one that suits the vocabulary."""
        return self.softmax or ("adaptive" if self.tokenizer == "word" else "full")


def _training(learning_rate: float, **changes: object) -> TrainingSettings:
    loop = LoopSettings(epochs=1)
    return TrainingSettings(
        policy=TransferPolicy(mode="scratch", learning_rate=learning_rate, schedule="cosine"),
        loop=loop,
        **changes,  # type: ignore[arg-type]
    )


def tiny() -> PretrainSettings:
    """Trains in seconds on a CPU: for tests and the demo."""
    return PretrainSettings(
        embedding_size=64,
        hidden_size=128,
        n_layers=2,
        vocabulary_size=10_000,
        training=_training(1e-2, batch_size=16, bptt=35, alpha=0.0, beta=0.0, dropout_scale=0.2),
    )


def small() -> PretrainSettings:
    """Sizes that still learn in an hour on a CPU.

    QRNNs: in the time that LSTMs took to a held-out perplexity of 153 they reached 109, and 104 at this learning rate,
    twice that of the LSTMs. Other batch sizes, longer streams and wider layers did not help. After nine minutes two
    layers reached 74.5 and three 78.9, and after the same tokens they were equal (experiments/lstm_or_qrnn.py).
    """
    return PretrainSettings(
        embedding_size=256,
        hidden_size=640,
        n_layers=2,
        cell="qrnn",
        vocabulary_size=30_000,
        training=_training(1.2e-2, batch_size=32, alpha=0.0, beta=0.0, dropout_scale=0.1),
    )


def paper() -> PretrainSettings:
    """AWD-LSTM with ULMFiT's sizes; needs a GPU."""
    return PretrainSettings(vocabulary_size=60_000, training=_training(3e-3, batch_size=64))


PRESETS = {"tiny": tiny, "small": small, "paper": paper}


@dataclass(frozen=True, kw_only=True)
class AdaptSettings:
    """Training of a language model continued on the target's text (Howard & Ruder 2018, section 3.2)."""

    training: TrainingSettings = field(
        default_factory=lambda: TrainingSettings(
            policy=TransferPolicy(mode="fine-tune", learning_rate=4e-3, gradual=False, schedule="slanted"),
            loop=LoopSettings(epochs=1),
            dropout_scale=0.5,
        )
    )
    """How the model is trained."""
    new_vocabulary: bool = True
    """Replace the vocabulary by the words of the target's text; otherwise keep the model's."""
    vocabulary_size: int | None = None
    """Largest number of words in the vocabulary (default: as many as the model has)."""
    min_count: int = 3
    """Words with fewer occurrences are unknown."""

    def __post_init__(self) -> None:
        need_positive(self, "vocabulary_size", "min_count")
