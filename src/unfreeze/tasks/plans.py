"""Plans: the choices that the settings of a task leave open, made once its encoder is known.

The defaults of many settings depend on the encoder: word vectors, an ELMo, or a recurrent language model. `plan` looks at the
encoder, and recipes, networks and the command line follow the plan, so that each choice is made in this file only.
"""

from __future__ import annotations

import json
import math
from abc import abstractmethod
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from unfreeze.errors import UserError, setting
from unfreeze.folders import read_config
from unfreeze.registry import ENCODERS, encoder_class, find_model, released_names, weights_digest
from unfreeze.tasks.settings import (
    AnswererSettings,
    Body,
    ClassifierSettings,
    ImageClassifierSettings,
    ImageTaskSettings,
    LocatorSettings,
    TaggerSettings,
    TaskSettings,
    WordTaskSettings,
    plain_settings,
)
from unfreeze.transfer.policies import Mode, ScheduleName, TransferPolicy

if TYPE_CHECKING:
    from torch import nn

    from unfreeze.datasets.dataset import Dataset
    from unfreeze.encoders.base import Encoder

DEFAULT_ENCODER, NO_ENCODER, AUTO = "wiki-small", "none", "auto"
LEARNING_RATES: dict[str, float] = {"scratch": 2e-3, "frozen": 1e-2, "fine-tune": 5e-3}
"""Learning rate of a classifier, by transfer mode."""
UPDATES = {"scratch": 600, "frozen": 300, "fine-tune": 200}
"""Smallest number of updates of a classifier, by transfer mode; with few examples it determines the number of epochs."""
FEWEST_EPOCHS = {"scratch": 4, "frozen": 8, "fine-tune": 6}
MAX_EPOCHS = {"scratch": 40, "frozen": 60, "fine-tune": 20}


@dataclass(kw_only=True)
class Plan(TaskSettings):
    """The settings of any task with the choices that follow from its encoder."""

    default_encoder: ClassVar[str] = DEFAULT_ENCODER
    """The encoder if the settings name none, and do not train from scratch."""
    reads_images: ClassVar[bool] = False
    """Whether the encoder has to be one of images rather than of texts."""

    encoder: str
    """Name or folder of the encoder, or a file of word vectors; "none" is from scratch."""
    encoder_kind: str
    """The kind of the encoder in its config.json; "none" from scratch."""

    def __post_init__(self) -> None:
        from unfreeze.encoders.image_encoder import ImageEncoder

        super().__post_init__()
        if self.transfer not in (None, "scratch") and self.encoder == NO_ENCODER:
            raise UserError(
                f"{setting('transfer', self.transfer)} needs an encoder, and {setting('encoder')} is none"
            )
        if self.transfer == "scratch" and self.encoder != NO_ENCODER:
            raise UserError(
                f"{setting('transfer', 'scratch')} starts from random weights: leave out {setting('encoder', self.encoder)}"
            )
        if self.encoder != NO_ENCODER and issubclass(self.encoder_type, ImageEncoder) != self.reads_images:
            inputs, verb = ("images", "convnet") if self.reads_images else ("texts", "lm")
            raise UserError(
                f"{self.encoder} is of kind {self.encoder_kind}, which reads no {inputs}: name an encoder of {inputs}, such as "
                f"one of `pretrain {verb}`, or {setting('encoder', NO_ENCODER)}"
            )

    @property
    def encoder_type(self) -> type[Encoder]:
        """The class of the encoder; without one, and for a task model on word vectors, that of any encoder."""
        from unfreeze.encoders.base import Encoder

        kind = self.encoder_kind
        return encoder_class(kind, Path(self.encoder)) if kind in ENCODERS else Encoder

    @property
    def starts_from_vectors(self) -> bool:
        """Whether the encoder is a table of word vectors."""
        return self.encoder_kind == "word_vectors"

    @property
    @abstractmethod
    def mode(self) -> Mode:
        """The transfer mode: that of the settings, or the one that suits the encoder."""

    @property
    @abstractmethod
    def usual_training(self) -> tuple[int, int, int]:
        """How many examples to train on over all epochs, and the smallest and the largest number of epochs."""

    @abstractmethod
    def weights_digests(self) -> dict[str, Any]:
        """Digests of the encoder and the word vectors, for the identity of a run."""

    def epochs_for(self, n_examples: int) -> int | None:
        """Number of epochs, larger for small sets; None if time limits the training."""
        if self.minutes is not None or self.epochs is not None:
            return self.epochs
        wanted, fewest, most = self.usual_training
        return max(fewest, min(most, math.ceil(wanted / max(1, n_examples))))

    @abstractmethod
    def policy(self) -> TransferPolicy:
        """How the encoder and the rest are trained."""

    def _policy(self, learning_rate: float, schedule: ScheduleName) -> TransferPolicy:
        return TransferPolicy(
            mode=self.mode,
            learning_rate=learning_rate,
            discriminative=self.discriminative,
            gradual=self.gradual,
            schedule=schedule,
        )


@dataclass(kw_only=True)
class ClassifierPlan(ClassifierSettings, Plan):
    """The settings of a classifier with the choices that follow from its encoder.

    Raises:
        UserError: a setting does not suit the encoder.
    """

    encoder: str
    word_vectors: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.body == "bilstm" and self.encoder_kind == NO_ENCODER:
            raise UserError(
                f"{setting('body', 'bilstm')} needs an encoder; from scratch the biLSTM is the encoder"
            )
        if self.body == "bcn" and self.encoder_kind == NO_ENCODER:
            raise UserError(f"{setting('body', 'bcn')} needs an encoder or word vectors to read")
        if self.body == "bcn" and self.mix_at != "input":
            raise UserError(
                f"{setting('mix_at', self.mix_at)} is for {setting('body', 'bilstm')}: "
                f"{setting('body', 'bcn')} reads the layers at its input"
            )
        if self.body == "pooling" and not self.encoder_type.is_pooled:
            raise UserError(
                f"{self.encoder} is of kind {self.encoder_kind}, whose layers take {setting('body', 'bilstm')}"
            )
        if self.architecture != "bilstm" and self.encoder_kind != NO_ENCODER:
            raise UserError(
                f"{setting('architecture', self.architecture)} is trained from scratch: leave it out, or set {setting('encoder', NO_ENCODER)}"
            )
        if self.new_words and self.body == "bcn":
            raise UserError(f"{setting('new_words', True)} is not for {setting('body', 'bcn')}")
        if self.new_words and not self.starts_from_vectors:
            raise UserError(
                f"{setting('new_words', True)} is for an encoder of word vectors, not for {setting('encoder', self.encoder)}"
            )

    @property
    def chosen_body(self) -> Body:
        """The body: that of the settings, or the one that suits the encoder."""
        return self.body or ("pooling" if self.encoder_type.is_pooled else "bilstm")

    @property
    def stands_on_layers(self) -> bool:
        """Whether the body reads the layers of an encoder word by word; a biLSTM on word vectors is an encoder itself."""
        return self.chosen_body == "bcn" or (self.chosen_body == "bilstm" and not self.starts_from_vectors)

    @property
    def mode(self) -> Mode:
        if self.transfer is not None or self.encoder == NO_ENCODER:
            return self.transfer or "scratch"
        if self.stands_on_layers:
            return "frozen"
        return self.encoder_type.usual_transfer if self.chosen_body == "pooling" else "fine-tune"

    @property
    def has_fixed_features(self) -> bool:
        """Whether only the head is trained."""
        return self.mode == "frozen" and self.chosen_body == "pooling"

    @property
    def solves_linear_head(self) -> bool:
        """Whether the head is solved as a logistic regression: on fixed features, unless settings of the training are given."""
        training = (self.epochs, self.minutes, self.learning_rate, self.weight_decay)
        return self.has_fixed_features and self.head in (None, "linear") and training == (None,) * 4

    @property
    def pace(self) -> str:
        """The transfer mode that determines learning rate and updates: a new biLSTM is trained as from scratch."""
        return "scratch" if self.chosen_body != "pooling" else self.mode

    @property
    def usual_training(self) -> tuple[int, int, int]:
        return UPDATES[self.pace] * self.batch_size, FEWEST_EPOCHS[self.pace], MAX_EPOCHS[self.pace]

    def policy(self) -> TransferPolicy:
        usual = LEARNING_RATES[self.pace]
        return self._policy(usual if self.learning_rate is None else self.learning_rate, self.schedule)

    def weights_digests(self) -> dict[str, Any]:
        return {"encoder_weights": None if self.mode == "scratch" else weights_digest(self.encoder)}


@dataclass(kw_only=True)
class WordPlan(WordTaskSettings, Plan):
    """The settings of a task on words with the choices that follow from its encoder.

    Raises:
        UserError: a setting does not suit the encoder, or settings exclude each other.
    """

    encoder: str
    word_vectors: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.starts_from_vectors and self.word_vectors is not None:
            raise UserError(
                f"{setting('encoder', self.encoder)} is word vectors already: use a contextual encoder with "
                f"{setting('word_vectors')}"
            )
        if self.contextual is None:
            need_no_layer_options(self)

    @property
    def mode(self) -> Mode:
        return "scratch" if self.encoder == NO_ENCODER else self.transfer or "frozen"

    @property
    def static(self) -> str | None:
        """The static word vectors: those of `word_vectors`, or the encoder itself."""
        return self.encoder if self.starts_from_vectors else self.word_vectors

    @property
    def contextual(self) -> str | None:
        """The encoder, if it is more than word vectors."""
        return None if self.starts_from_vectors or self.encoder == NO_ENCODER else self.encoder

    def inputs(self) -> dict[str, Any]:
        """Arguments of `WordInputs` other than the encoders."""
        names = ("layers", "mix_at", "mix_l2", "layer_norm", "input_dropout", "characters")
        return {**{name: getattr(self, name) for name in names}, "frozen": self.mode != "fine-tune"}

    def policy(self) -> TransferPolicy:
        return self._policy(self.learning_rate, self.schedule)

    def weights_digests(self) -> dict[str, Any]:
        names = (self.contextual, self.static)
        return {"weights": [None if name is None else weights_digest(name) for name in names]}


@dataclass(kw_only=True)
class TaggerPlan(TaggerSettings, WordPlan):
    """A plan for a tagger."""

    encoder: str

    @property
    def usual_training(self) -> tuple[int, int, int]:
        return 1_000 * self.batch_size, 6, 60


@dataclass(kw_only=True)
class AnswererPlan(AnswererSettings, WordPlan):
    """A plan for an answerer."""

    encoder: str

    @property
    def usual_training(self) -> tuple[int, int, int]:
        return 0, 8, 8  # eight epochs, however many questions there are


IMAGE_LEARNING_RATES: dict[str, float] = {"scratch": 2e-3, "frozen": 1e-2, "fine-tune": 1e-3}
"""Learning rate of a task on images, by transfer mode."""
IMAGE_UPDATES = {"scratch": 1_500, "frozen": 500, "fine-tune": 500}
"""Smallest number of updates of a task on images, by transfer mode."""
FEWEST_IMAGE_EPOCHS = {"scratch": 12, "frozen": 8, "fine-tune": 6}
MOST_IMAGE_EPOCHS = {"scratch": 80, "frozen": 60, "fine-tune": 40}
SMALL_IMAGES = 96
"""Side of images in pixels, below which a ConvNet from scratch has a small stem."""


@dataclass(kw_only=True)
class ImagePlan(ImageTaskSettings, Plan):
    """The settings of a task on images with the choices that follow from its encoder.

    Raises:
        UserError: a setting does not suit the encoder.
    """

    default_encoder: ClassVar[str] = NO_ENCODER
    reads_images: ClassVar[bool] = True
    encoder: str

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.unfreeze is not None and self.mode != "fine-tune":
            raise UserError(
                f"{setting('unfreeze', self.unfreeze)} is for fine-tuning an encoder: leave it out, or set "
                f"{setting('transfer', 'fine-tune')} and {setting('encoder')}"
            )
        if self.encoder != NO_ENCODER and (name := changed_setting(self, "width depths block stem")):
            raise UserError(
                f"{setting(name)} is for a ConvNet from scratch: leave it out, or set {setting('encoder', NO_ENCODER)}"
            )

    @property
    def mode(self) -> Mode:
        return "scratch" if self.encoder == NO_ENCODER else self.transfer or "fine-tune"

    @property
    def usual_training(self) -> tuple[int, int, int]:
        mode = self.mode
        return IMAGE_UPDATES[mode] * self.batch_size, FEWEST_IMAGE_EPOCHS[mode], MOST_IMAGE_EPOCHS[mode]

    def policy(self) -> TransferPolicy:
        usual = IMAGE_LEARNING_RATES[self.mode]
        found = self._policy(usual if self.learning_rate is None else self.learning_rate, self.schedule)
        return replace(found, unfreeze=self.unfreeze)

    def weights_digests(self) -> dict[str, Any]:
        return {"encoder_weights": None if self.mode == "scratch" else weights_digest(self.encoder)}


@dataclass(kw_only=True)
class ImageClassifierPlan(ImageClassifierSettings, ImagePlan):
    """A plan for an image classifier."""

    encoder: str

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.has_fixed_features and (name := changed_setting(self, "crop_area flip jitter")):
            raise UserError(
                f"{setting(name, getattr(self, name))} is for training an encoder: a frozen one reads each image once, plain"
            )

    @property
    def has_fixed_features(self) -> bool:
        """Whether only the head is trained: the features of every image are computed once, from its middle."""
        return self.mode == "frozen"

    @property
    def solves_linear_head(self) -> bool:
        """Whether the head is solved as a logistic regression: on fixed features, unless settings of the training are given."""
        training = (self.epochs, self.minutes, self.learning_rate, self.weight_decay)
        return self.has_fixed_features and self.head in (None, "linear") and training == (None,) * 4


@dataclass(kw_only=True)
class LocatorPlan(LocatorSettings, ImagePlan):
    """A plan for an object locator."""

    encoder: str


PlanT = TypeVar("PlanT", bound=Plan)


def plan(kind: type[PlanT], settings: TaskSettings) -> PlanT:
    """Decide what the settings leave open, by the kind of the encoder that they name.

    Args:
        kind: the plan whose settings these are, such as `ClassifierPlan`.

    Raises:
        UserError: there is no such encoder, or a setting does not suit it.
    """
    values = plain_settings(settings)
    name = values["encoder"]
    if name == AUTO:
        raise UserError(f"{setting('encoder', AUTO)} is for classifiers of single texts: name an encoder")
    if name is None:
        name = NO_ENCODER if settings.transfer == "scratch" else kind.default_encoder
        if name != NO_ENCODER and name not in released_names():
            raise UserError(
                f"this installation ships no encoder {name!r}: name one, or {setting('encoder', NO_ENCODER)}"
            )
    encoder_kind = NO_ENCODER
    if name != NO_ENCODER and Path(name).is_file():
        encoder_kind = "word_vectors"
    elif name != NO_ENCODER:
        config = read_config(find_model(name))
        encoder_kind = str((config.get("encoder") or config)["kind"])
    return kind(**{**values, "encoder": name, "encoder_kind": encoder_kind})


def need_no_layer_options(settings: TaskSettings) -> None:
    """Raise UserError for a setting about the layers of an encoder, if they are neither mixed nor chosen from."""
    if name := changed_setting(settings, "layers mix_at mix_l2 layer_norm"):
        raise UserError(f"{setting(name)} is for an encoder of several layers that a biLSTM reads")


def changed_setting(settings: TaskSettings, names: str) -> str | None:
    """The first of these settings, separated by spaces, that has another value than the default."""
    usual = {field.name: field.default for field in fields(settings)}
    return next((name for name in names.split() if getattr(settings, name) != usual[name]), None)


def run_identity(
    stage: str, settings: TaskSettings, plan: Plan, train_set: Dataset[Any], validation: Dataset[Any] | None
) -> dict[str, Any]:
    """What determines the result of a fit: its data, the settings, and what it starts from."""
    values = plain_settings(settings)
    if isinstance(settings, WordTaskSettings) and settings.layers is None:
        values["layers"] = "mix"  # the default of earlier versions, whose runs are resumed
    return {
        "stage": stage,
        "train": [train_set.source, train_set.digest()],
        "validation": None if validation is None else [validation.source, validation.digest()],
        # The scheme of the tags is part of the digest of the data.
        **{name: value for name, value in values.items() if name != "scheme"},
        **plan.weights_digests(),
    }


def card_facts(
    settings: TaskSettings,
    plan: Plan,
    network: nn.Module,
    command: str,
    train_set: Dataset[Any],
    **of_data: object,
) -> dict[str, object]:
    """Facts for the model card of any task: data and facts about it, transfer, encoder, command, settings, size."""
    given = {
        name: value
        for name, value in plain_settings(settings).items()
        if value is not None and name != "encoder"
    }
    return {
        "data": Path(train_set.source).name,
        **of_data,
        "transfer": plan.mode,
        "encoder": Path(plan.encoder).name,
        "command": command,
        "settings": json.dumps(given),
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
    }
