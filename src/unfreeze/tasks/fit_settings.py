"""How a task is fitted: what all tasks have in common, and a classifier's settings with what is chosen where they say nothing."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from unfreeze.errors import UserError, setting
from unfreeze.folders import read_config
from unfreeze.registry import find_model, released_names
from unfreeze.tasks.heads import Head
from unfreeze.tasks.pooling import Pooling
from unfreeze.training.loop_settings import LoopSettings
from unfreeze.transfer.policies import Mode, OptimizerName, ScheduleName

if TYPE_CHECKING:
    from torch import nn

DEFAULT_ENCODER = "wiki-small"
NO_ENCODER = "none"
Body = Literal["pooling", "bilstm"]
MixAt = Literal["input", "output", "both"]
RATES: dict[str, float] = {"scratch": 2e-3, "frozen": 1e-2, "fine-tune": 5e-3}
UPDATES = {"scratch": 600, "frozen": 300, "fine-tune": 200}
"""Updates that a small training set should see at least, by transfer; the number of epochs follows."""
FEWEST_EPOCHS = {"scratch": 4, "frozen": 8, "fine-tune": 6}
MOST_EPOCHS = {"scratch": 40, "frozen": 60, "fine-tune": 20}


@dataclass(frozen=True, kw_only=True)
class EncoderSettings:
    """Which encoder a task starts from."""

    encoder: str | None = None
    """Name or folder of an encoder, a language model or a task model, or a file of word vectors; "none" is from scratch; the
    released one by default."""
    transfer: Mode | None = None
    """scratch, frozen or fine-tune; what suits the task and the encoder by default."""

    @property
    def chosen_encoder(self) -> str:
        """The encoder asked for, or the default."""
        if self.encoder is not None:
            return self.encoder
        if self.transfer == "scratch":
            return NO_ENCODER
        if DEFAULT_ENCODER not in released_names():
            raise UserError(
                f"this installation ships no encoder {DEFAULT_ENCODER!r}: name one, or use {setting('encoder', 'none')}"
            )
        return DEFAULT_ENCODER

    @cached_property
    def encoder_kind(self) -> str:
        """The kind of the encoder, by its folder; "none" where there is none."""
        if self.chosen_encoder == NO_ENCODER:
            return NO_ENCODER
        if Path(self.chosen_encoder).is_file():
            return "word_vectors"
        config = read_config(find_model(self.chosen_encoder))
        return str((config.get("encoder") or config)["kind"])

    def need_fitting_transfer(self) -> None:
        """Raise the UserError for a transfer that does not go with the encoder."""
        if self.transfer is not None and self.transfer != "scratch" and self.chosen_encoder == NO_ENCODER:
            raise UserError(
                f"{setting('transfer', self.transfer)} needs an encoder, and {setting('encoder')} is none"
            )
        if self.transfer == "scratch" and self.chosen_encoder != NO_ENCODER:
            raise UserError(
                f"{setting('transfer', 'scratch')} starts from random weights: leave out {setting('encoder', self.chosen_encoder)}"
            )

    @property
    def starts_from_vectors(self) -> bool:
        """Whether the encoder is one vector a word, so that a body stands on it."""
        return self.encoder_kind == "word_vectors"


@dataclass(frozen=True, kw_only=True)
class LearningSettings(EncoderSettings):
    """What all tasks have in common: the layers of an encoder that are used, and how the task learns."""

    mix_at: MixAt = "input"
    """Where a mix of layers stands: at the body's input, its output, or both."""
    mix_l2: float = 0.0
    """L2 penalty on the weights of a mix; .001 lets them differ, 1 keeps them equal."""
    layer_norm: bool = False
    """Normalize each layer before it is mixed."""
    epochs: int | None = None
    """Passes over the examples; by default what suits the task and how many there are."""
    minutes: float | None = None
    """Bound by time instead."""
    discriminative: float = 2.6
    """Fine-tuning: each lower group's rate is divided by this; 1 turns it off."""
    gradual: bool = True
    """Fine-tuning: thaw one layer group an epoch, last first."""
    optimizer: OptimizerName = "adamw"
    """adamw or nt-asgd."""
    weight_decay: float | None = None
    """Of matrices; by default what suits the optimizer."""
    keep_best: bool = True
    """With validation examples: keep the epoch that was best."""
    checkpoint_minutes: float = 3.0
    """How much work a kill may cost."""
    seed: int = 0
    """Of everything random."""

    def need_no_layer_options(self) -> None:
        """Raise the UserError for an option about an encoder's layers, where none are mixed or chosen from."""
        usual = {field.name: field.default for field in fields(self)}
        for name in ("layers", "mix_at", "mix_l2", "layer_norm"):
            if getattr(self, name) != usual[name]:
                raise UserError(f"{setting(name)} is for an encoder of several layers that a biLSTM reads")

    def loop(self, epochs: int | None, *, measures: bool) -> LoopSettings:
        """How long it learns.

        Args:
            epochs: None where time bounds the run.
            measures: whether there are validation examples.
        """
        return LoopSettings(
            epochs=epochs,
            minutes=self.minutes,
            optimizer=self.optimizer,
            weight_decay=self.weight_decay,
            checkpoint_minutes=self.checkpoint_minutes,
            keep_best=self.keep_best and measures,
            seed=self.seed,
        )


@dataclass(frozen=True, kw_only=True)
class FitSettings(LearningSettings):
    """How a classifier is fitted. None means: chosen by what else is given."""

    body: Body | None = None
    """What stands on the encoder: pooling, or a biLSTM that starts from random weights, on word vectors or on the layers of
    a contextual encoder; pooling by default, but the biLSTM on ELMo."""
    new_words: bool | None = None
    """Word vectors: add the task's words that they lack; by default where those can learn or have n-grams."""
    word_vectors: str | None = None
    """Static vectors (word2vec, GloVe, npz; under a biLSTM also a folder): their mean stands beside the encoder's pooled
    states, or, under a biLSTM on layers, each word's beside the mix."""
    layers: Literal["mix"] | int | None = None
    """Under a biLSTM on a contextual encoder: a learned mix of all its layers, or the number of one; mix by default."""
    architecture: Literal["bilstm", "awd-lstm"] = "bilstm"
    """From scratch: a biLSTM, or a random AWD-LSTM."""
    pooling: Pooling | None = None
    """top (the paper's), top+vectors, or vectors."""
    head: Head | None = None
    """two-layer (the paper's), or linear; linear on a frozen encoder by default."""
    rate: float | None = None
    """Largest rate, of the head."""
    batch_size: int = 32
    """Examples an update, over all processes."""
    dropout_scale: float | None = None
    """Factor on the dropouts."""
    schedule: ScheduleName = "slanted"
    """slanted (triangular), cosine or constant."""
    embedding_size: int = 100
    """From scratch: width of the word vectors."""
    hidden_size: int = 128
    """From scratch: width of each direction."""
    vocabulary_size: int = 20_000
    """From scratch, and for a biLSTM on word vectors: words at most, besides the task's."""
    min_count: int = 2
    """From scratch: rarer words are unknown."""

    @property
    def stands_on_layers(self) -> bool:
        """Whether a biLSTM reads the layers of a contextual encoder."""
        return self.chosen_body == "bilstm" and not self.starts_from_vectors

    @property
    def chosen_body(self) -> Body:
        """The body asked for, or what suits the encoder."""
        if self.body == "bilstm" and self.encoder_kind == NO_ENCODER:
            raise UserError(
                f"{setting('body', 'bilstm')} stands on an encoder; from scratch the biLSTM is the encoder"
            )
        if self.encoder_kind == "elmo":
            if self.body == "pooling":
                raise UserError(
                    f"{self.chosen_encoder} is an ELMo, whose layers take {setting('body', 'bilstm')}"
                )
            return "bilstm"
        return self.body or "pooling"

    @property
    def has_fixed_features(self) -> bool:
        """Whether nothing but the head learns."""
        return self.mode == "frozen" and self.chosen_body == "pooling"

    @property
    def solves_linear_head(self) -> bool:
        """A linear head on a frozen encoder is solved as a logistic regression, unless something is said of its training."""
        asked = (self.epochs, self.minutes, self.rate, self.weight_decay)
        return self.has_fixed_features and self.head != "two-layer" and asked == (None,) * 4

    @property
    def pace(self) -> str:
        """Whose rate and number of updates it takes: a body with random weights learns as from scratch."""
        return "scratch" if self.chosen_body == "bilstm" else self.mode

    @property
    def mode(self) -> Mode:
        """The transfer asked for, or what the encoder suggests."""
        self.need_fitting_transfer()
        if self.transfer is not None or self.chosen_encoder == NO_ENCODER:
            return self.transfer or "scratch"
        if self.stands_on_layers or (self.starts_from_vectors and self.chosen_body == "pooling"):
            return "frozen"
        return "fine-tune"


def default_epochs(n_examples: int, settings: FitSettings) -> int:
    """As many epochs as give a small set enough updates, within bounds."""
    pace = settings.pace
    wanted = math.ceil(UPDATES[pace] * settings.batch_size / n_examples)
    return max(FEWEST_EPOCHS[pace], min(MOST_EPOCHS[pace], wanted))


def fit_facts(settings: LearningSettings, network: nn.Module, command: str) -> dict[str, object]:
    """What the model card of every task says: encoder, command, settings, size."""
    given = {
        name: value for name, value in asdict(settings).items() if value is not None and name != "encoder"
    }
    return {
        "encoder": Path(settings.chosen_encoder).name,
        "command": command,
        "settings": json.dumps(given),
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
    }
