"""Settings of the tasks: the keyword arguments of `TextClassifier`, `SequenceTagger`, `QuestionAnswerer`,
`ImageClassifier` and `ObjectLocator`.

Loads no torch and reads no files: the command line is made from these classes. What a setting of None becomes depends on
the encoder; `plans.py` decides it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

from unfreeze.checked import need_positive, need_seed, need_setting_types, plain
from unfreeze.encoders.feature_settings import BlockName, JoinedLayers, Stem
from unfreeze.errors import UserError, setting
from unfreeze.text.tag_schemes import Scheme
from unfreeze.training.loop_settings import LoopSettings
from unfreeze.transfer.policies import Mode, OptimizerName, ScheduleName
from unfreeze.vision.transforms import MAX_SIZE, Fit

Body = Literal["pooling", "bilstm", "bcn"]
MixAt = Literal["input", "output", "both"]
Layers = JoinedLayers | int
Pooling = Literal["top", "top+vectors", "vectors"]
Head = Literal["two-layer", "linear", "maxout"]
BoxCount = Literal["one", "several"]


@dataclass(kw_only=True)
class TaskSettings:
    """What all tasks have in common: the encoder, and the training."""

    encoder: str | Path | None = None
    """Encoder to start from: the name or folder of an encoder or of a task model; "none" trains from scratch."""
    transfer: Mode | None = None
    """Transfer mode: frozen, fine-tune or scratch (default: chosen by the task and the encoder)."""
    epochs: int | None = None
    """Passes over the training examples (default: chosen by the task and the number of examples)."""
    minutes: float | None = None
    """Time limit in minutes, instead of a number of epochs; the learning rate schedule is fitted to it."""
    discriminative: float = 2.6
    """Fine-tuning: factor by which the learning rate falls from each layer group to the one below it; 1 turns this off."""
    gradual: bool = True
    """Fine-tuning: unfreeze the layer groups one at a time, one more every epoch from the top; in the first epoch, only the head
    is trained."""
    optimizer: OptimizerName = "adamw"
    """AdamW, averaged SGD with the non-monotone trigger (NT-ASGD), or Adagrad."""
    weight_decay: float | None = None
    """Weight decay of matrices; biases and gains have none (default: chosen by the optimizer)."""
    keep_best: bool = True
    """With validation examples: keep the weights of the best epoch instead of the last."""
    checkpoint_minutes: float = 3.0
    """Minutes between checkpoints, the most work an interruption can lose."""
    seed: int = 0
    """Seed of all random numbers: the same seed gives the same model on the same machine."""

    def __post_init__(self) -> None:
        """Check the values; raises UserError for one that cannot work."""
        need_setting_types(self)
        if self.epochs is not None and self.minutes is not None:
            raise UserError(f"give {setting('epochs')} or {setting('minutes')}, not both")
        need_positive(self, "epochs", "minutes", "learning_rate", "batch_size")
        need_seed(self.seed)
        self._need_one_of("transfer", Mode)
        self._need_one_of("schedule", ScheduleName)
        self._need_one_of("optimizer", OptimizerName)
        if not 1 <= self.discriminative < math.inf:
            raise UserError(f"{setting('discriminative')} must be 1 (off) or more, not {self.discriminative}")
        if self.weight_decay is not None and not 0 <= self.weight_decay < math.inf:
            raise UserError(f"{setting('weight_decay')} must be at least 0, not {self.weight_decay}")

    def _need_one_of(self, name: str, choices: Any) -> None:
        value = getattr(self, name)
        if value is not None and value not in get_args(choices):
            raise UserError(f"{setting(name)} must be one of {', '.join(get_args(choices))}, not {value!r}")

    def loop(self, epochs: int | None, *, measures: bool) -> LoopSettings:
        """Settings of the training loop.

        Args:
            epochs: None where time bounds the training.
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


def plain_settings(settings: TaskSettings) -> dict[str, Any]:
    """All settings by name, as JSON has them: scalars of NumPy as Python's, paths as strings."""
    return {field.name: plain(getattr(settings, field.name)) for field in fields(settings)}


@dataclass(kw_only=True)
class TextTaskSettings(TaskSettings):
    """What all tasks on texts have in common: how the layers of the encoder are used."""

    encoder: str | Path | None = None
    """Encoder to start from: the name or folder of an encoder, a language model or a task model, or a file of word vectors;
    "none" trains from scratch; "auto", for a classifier of texts, weighs TF-IDF, word vectors and states of language models by
    cross-validation (default: auto for a classifier of texts without other settings of the training, else wiki-small, which ships
    with unfreeze; on images "none")."""
    word_vectors: str | Path | None = None
    """Static word vectors to concatenate to the layers of the encoder: a folder, or a file in word2vec or GloVe format."""
    mix_at: MixAt = "input"
    """Place of the learned mix of layers: the input of the body, its output, or both."""
    mix_l2: float = 0.0
    """L2 penalty on the weights of the layer mix; 0.001 lets the layers differ, 1 keeps them equal."""
    layer_norm: bool = False
    """Normalize each layer before it is mixed."""

    def __post_init__(self) -> None:
        super().__post_init__()
        need_positive(self, "hidden_size", "vocabulary_size", "min_count", "embedding_size")
        self._need_one_of("mix_at", MixAt)
        if not 0 <= self.mix_l2 < math.inf:
            raise UserError(f"{setting('mix_l2')} must be at least 0, not {self.mix_l2}")
        layers = plain(getattr(self, "layers", None))
        named = layers is None or layers in get_args(JoinedLayers)
        if not named and (not isinstance(layers, int) or isinstance(layers, bool)):
            raise UserError(
                f"{setting('layers')} is mix, bottom+top or the number of a layer, not {layers!r}"
            )


@dataclass(kw_only=True)
class ClassifierSettings(TextTaskSettings):
    """Settings of a text classifier.

    Raises:
        UserError: a value is out of range.
    """

    minutes: float | None = None
    """Time limit in minutes, instead of a number of epochs; the learning rate schedule is fitted to it. With the encoder auto a
    budget of estimated time (default there: 10)."""
    body: Body | None = None
    """Network on the encoder: pooling over the document; a biLSTM on word vectors or on the layers of a contextual encoder;
    or bcn, the biattentive classification network, which also reads pairs of texts (default: pooling; bilstm on an ELMo)."""
    layers: Layers | None = None
    """With the bodies bilstm and bcn on a contextual encoder: mix, a learned mix of all layers; bottom+top, the bottom and the top layer,
    concatenated; or the number of one layer; -1 is the last (default: mix; bottom+top on a CoVe)."""
    pooling: Pooling | None = None
    """Document vector: the last, maximal and mean state of the top layer (top), the mean word vector (vectors), or both
    (default: top; vectors on word vectors; top+vectors on a CoVe)."""
    head: Head | None = None
    """Classifier on the document vector: two-layer, linear or maxout (default: two-layer; linear on a frozen encoder with
    pooling; maxout with bcn)."""
    new_words: bool | None = None
    """On word vectors: add the words of the task that have no vector (default: if the vectors train or have n-grams)."""
    learning_rate: float | None = None
    """Largest learning rate, that of the head (default: chosen by the transfer mode; see find-rate)."""
    batch_size: int = 32
    """Texts in a batch, over all processes."""
    dropout_scale: float | None = None
    """Factor on the dropouts of the encoder (default: 0.5 for a pre-trained one, else 1)."""
    schedule: ScheduleName = "slanted"
    """Learning rate schedule; slanted is slanted triangular."""
    architecture: Literal["bilstm", "awd-lstm"] = "bilstm"
    """From scratch: encoder with random weights to train."""
    embedding_size: int = 100
    """From scratch: width of the word embedding."""
    hidden_size: int = 128
    """From scratch, and of the bodies bilstm and bcn: width of each direction."""
    vocabulary_size: int = 20_000
    """From scratch, and for bilstm and bcn on word vectors: largest number of words, besides those of the task."""
    min_count: int = 2
    """From scratch: words with fewer occurrences are unknown."""
    unlabeled: tuple[str, ...] | None = None
    """With the encoder auto: unlabeled text of the same kind, to train word vectors on, and with a large budget a language model: files, folders, globs, or hf:owner/name."""
    unlabeled_column: str | None = None
    """Column of the unlabeled text in tables and JSON lines (default: found by its name)."""

    def __post_init__(self) -> None:
        if isinstance(self.unlabeled, str | Path):
            raise UserError(f"{setting('unlabeled')} is a list of files, not {str(self.unlabeled)!r}")
        if self.unlabeled is not None:
            self.unlabeled = tuple(self.unlabeled)  # JSON has lists
            if not all(isinstance(each, str) for each in self.unlabeled):
                self.unlabeled = tuple(map(str, self.unlabeled))
        super().__post_init__()
        if self.dropout_scale is not None and not 0 <= self.dropout_scale < math.inf:
            raise UserError(f"{setting('dropout_scale')} must be at least 0, not {self.dropout_scale}")
        self._need_one_of("body", Body)
        self._need_one_of("pooling", Pooling)
        self._need_one_of("head", Head)


@dataclass(kw_only=True)
class WordTaskSettings(TextTaskSettings):
    """Settings of the tasks on words: each word is read by an encoder's layers, word vectors and its characters."""

    layers: Layers | None = None
    """mix, a learned mix of all layers of the encoder; bottom+top, its bottom and its top layer, concatenated; or the number
    of one layer; -1 is the last (default: mix; bottom+top on a CoVe)."""
    vectors_learn: bool | None = None
    """Train the word vectors with the task (default: the task's own vectors; those of a file if the encoder is fine-tuned)."""
    characters: int = 50
    """Width of the character CNN's vector of each word; 0 turns it off."""
    learning_rate: float = 2e-3
    """Largest learning rate, that of the body and the head."""
    schedule: ScheduleName = "cosine"
    """Learning rate schedule; slanted is slanted triangular."""
    embedding_size: int = 100
    """Without an encoder or word vectors: width of the task's own word embedding."""
    vocabulary_size: int = 50_000
    """Largest number of words taken from a file of word vectors, besides those of the task."""
    min_count: int = 2
    """Without an encoder or word vectors: words with fewer occurrences are unknown."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.characters < 0:
            raise UserError(f"{setting('characters')} must be at least 0, not {self.characters}")
        for name in ("input_dropout", "dropout"):
            if not 0 <= getattr(self, name, 0.0) < 1:
                raise UserError(f"{setting(name)} must be at least 0 and below 1, not {getattr(self, name)}")


@dataclass(kw_only=True)
class TaggerSettings(WordTaskSettings):
    """Settings of a sequence tagger.

    Raises:
        UserError: a value is out of range.
    """

    scheme: Scheme | None = None
    """Scheme of the tags: iob1, bio, bioes, or plain tags such as parts of speech (default: detected from the tags)."""
    input_dropout: float = 0.3
    """Dropout on the input of the body."""
    dropout: float = 0.3
    """Dropout after each layer of the body."""
    hidden_size: int = 200
    """Width of each direction of the biLSTM."""
    n_layers: int = 1
    """Layers of the biLSTM."""
    batch_size: int = 16
    """Sentences in a batch, over all processes."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._need_one_of("scheme", Scheme)
        need_positive(self, "n_layers")


@dataclass(kw_only=True)
class AnswererSettings(WordTaskSettings):
    """Settings of a question answerer.

    Raises:
        UserError: a value is out of range.
    """

    input_dropout: float = 0.2
    """Dropout on the input of the reader."""
    dropout: float = 0.2
    """Dropout after each part of the reader."""
    hidden_size: int = 100
    """Width of each direction of the reader's LSTMs."""
    batch_size: int = 32
    """Questions in a batch, over all processes."""


@dataclass(kw_only=True)
class ImageOptions:
    """Settings that all tasks on images have, besides those of any task."""

    image_size: int | None = None
    """Side of the square that the network sees, in pixels (default: that of the encoder; from scratch 64)."""
    resize: Fit | None = None
    """What happens to images that are no squares: crop the middle, stretch, or pad (default: that of the encoder, or crop;
    stretch where boxes are wanted)."""
    crop_area: float = 0.35
    """Smallest part of an image's area that a random crop of training has; 1 turns random crops off. Without
    effect on a classifier with a frozen encoder, which reads each image once, plain; a locator then reads a few random views."""
    flip: bool = True
    """Mirror training images at random."""
    jitter: float = 0.0
    """Largest relative change of the brightness, contrast and saturation of training images; 0 turns this off."""
    unfreeze: int | None = None
    """Fine-tuning: number of stages of the encoder to train, from the top; the others stay frozen (default: all, and the layers
    before them)."""
    width: int = 64
    """From scratch: channels of the ConvNet's first stage; each further stage has twice as many."""
    depths: tuple[int, ...] = (2, 2, 2, 2)
    """From scratch: residual blocks of each stage."""
    block: BlockName = "basic"
    """From scratch: kind of the blocks; bottleneck is that of ResNet-50."""
    stem: Stem | None = None
    """From scratch: beginning of the ConvNet, large for images of 100 pixels and more, or small (default: by the image size)."""


@dataclass(kw_only=True)
class ImageTaskSettings(TaskSettings, ImageOptions):
    """What all tasks on images have in common."""

    learning_rate: float | None = None
    """Largest learning rate, that of the head (default: chosen by the transfer mode; see find-rate)."""
    batch_size: int = 32
    """Images in a batch, over all processes."""
    schedule: ScheduleName = "slanted"
    """Learning rate schedule; slanted is slanted triangular."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, choices in (("resize", Fit), ("block", BlockName), ("stem", Stem)):
            self._need_one_of(name, choices)
        need_positive(self, "image_size", "width", "unfreeze")
        if self.image_size is not None and self.image_size > MAX_SIZE:
            raise UserError(f"{setting('image_size')} must be at most {MAX_SIZE:,}, not {self.image_size}")
        self.depths = tuple(self.depths)  # JSON has lists
        if not self.depths or min(self.depths) < 1:
            raise UserError(f"{setting('depths')} must be at least 1 for each stage, not {self.depths}")
        if not 0 < self.crop_area <= 1:
            raise UserError(f"{setting('crop_area')} must be above 0 and at most 1, not {self.crop_area}")
        if not 0 <= self.jitter < 1:
            raise UserError(f"{setting('jitter')} must be from 0 to below 1, not {self.jitter}")


@dataclass(kw_only=True)
class ImageClassifierSettings(ImageTaskSettings):
    """Settings of an image classifier.

    Raises:
        UserError: a value is out of range.
    """

    head: Head | None = None
    """Classifier on the mean of the top feature map: two-layer, linear or maxout (default: linear)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._need_one_of("head", Head)


@dataclass(kw_only=True)
class LocatorSettings(ImageTaskSettings):
    """Settings of an object locator.

    Raises:
        UserError: a value is out of range.
    """

    boxes: BoxCount | None = None
    """Boxes in an image: one, which is the largest where there are several, or several (default: one if each training image has
    exactly one)."""
    image_size: int | None = None
    """Side of the square that the network sees, in pixels (default: that of the encoder, and at least 128)."""
    stages: int | None = None
    """Number of stages of the encoder, from the top, whose feature maps are read (default: 2, or 1 if the encoder has one)."""
    channels: int | None = None
    """Channels of the head (default: 32 for one box, 64 for several)."""
    giou_from: float = 0.5
    """One box: fraction of the epochs after which generalized IoU is the loss; before, it is smooth L1 of center and size. Within
    a time limit, half of each all the time."""
    batch_size: int = 16
    """Images in a batch, over all processes."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._need_one_of("boxes", BoxCount)
        need_positive(self, "stages", "channels")
        if not 0 <= self.giou_from <= 1:
            raise UserError(f"{setting('giou_from')} must be from 0 to 1, not {self.giou_from}")
        if self.boxes == "several" and self.channels is not None and self.channels % 8:
            raise UserError(
                f"{setting('channels')} must be a multiple of 8 for several boxes, not {self.channels}"
            )
