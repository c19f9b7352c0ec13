"""`unfreeze pretrain lm`: a language model from unlabeled text."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from unfreeze.commands.console import Console
from unfreeze.commands.inputs import corpus_of, need_positive

if TYPE_CHECKING:
    from unfreeze.pretraining.settings import PretrainSettings


@dataclass(kw_only=True)
class PretrainLm:
    """Train a language model (AWD-LSTM) on unlabeled text.

    Run the same command again after an interruption and it goes on. Options that are left out come from the preset.

    Example:
        unfreeze pretrain lm --corpus texts/ --preset tiny --minutes 5 --output my-lm
    """

    corpus: tuple[str, ...]
    """Text to learn from: files, folders, globs, hf:owner/name."""

    output: Path
    """Folder of the model to be."""

    validation: tuple[str, ...] = ()
    """Held-out text; without it one document in a hundred is held out."""

    preset: Literal["tiny", "small", "paper"] = "small"
    """Sizes and rates: tiny (seconds), small (an hour on a laptop), paper (a GPU)."""

    direction: Literal["forward", "backward", "both"] = "forward"
    """Reading direction; both trains two models over one embedding."""

    minutes: float | None = None
    """Bound the training by time and fit the schedule to it."""

    epochs: int | None = None
    """Passes over the text (1 without --minutes)."""

    tokenizer: Literal["word", "subword"] = "word"
    """Vocabulary of words, or of pieces of words (for any language)."""

    vocabulary_size: int | None = None
    """Entries of the vocabulary at most."""

    min_count: int | None = None
    """Words that occur less often are unknown."""

    softmax: Literal["adaptive", "full"] | None = None
    """Output layer; adaptive is much faster and needs words (full for subwords)."""

    word_vectors: Path | None = None
    """Start the embedding from these vectors (word2vec or GloVe format)."""

    embedding_size: int | None = None
    """Width of the embedding and the top layer."""

    hidden_size: int | None = None
    """Width of the layers between."""

    layers: int | None = None
    """Number of LSTM layers."""

    batch_size: int | None = None
    """Streams that are read side by side."""

    bptt: int | None = None
    """Tokens of each stream in a step, about."""

    rate: float | None = None
    """Largest learning rate."""

    optimizer: Literal["adamw", "nt-asgd"] = "adamw"
    """AdamW, or averaged SGD with the non-monotone trigger."""

    dropout_scale: float | None = None
    """Factor on AWD-LSTM's dropouts."""

    validate_minutes: float | None = None
    """Measure held-out perplexity this often."""

    checkpoint_minutes: float | None = None
    """Save this often where the training stands (3): so much a kill or a power cut may cost."""

    encoding: str = "utf-8"
    """Of plain text files."""

    text_column: str | None = None
    """Of tables and JSON lines."""

    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Number format; auto tries which is faster here."""

    seed: int = 0
    """The same seed gives the same model."""

    without_output: bool = False
    """Save the encoder alone: score, fill, generate and adapt will not work."""

    overwrite: bool = False
    """Replace a model of another run once this one is complete."""

    def __post_init__(self) -> None:
        need_positive(self, "epochs", "minutes", "rate", "batch_size", "bptt", "validate_minutes")
        need_positive(self, "vocabulary_size", "min_count", "embedding_size", "hidden_size", "layers")


def run(arguments: PretrainLm, console: Console) -> None:
    """Train, and say where the model is."""
    from unfreeze.pretraining.stages import pretrain_language_model

    figures = pretrain_language_model(
        corpus_of(arguments),
        arguments.output,
        make_settings(arguments),
        word_vectors=arguments.word_vectors,
        precision=arguments.precision,
        without_output=arguments.without_output,
        overwrite=arguments.overwrite,
        command=command_line(),
        progress=console.progress,
    )
    console.result({"output": str(arguments.output), **figures})
    console.note(f'the model is in {arguments.output}: try `unfreeze generate {arguments.output} "The"`')


def make_settings(arguments: PretrainLm) -> PretrainSettings:
    """The preset with what the command line changes."""
    from dataclasses import replace

    from unfreeze.pretraining.settings import PRESETS

    settings = PRESETS[arguments.preset]()
    loop = replace(
        settings.training.loop,
        epochs=arguments.epochs or (1 if arguments.minutes is None else None),
        minutes=arguments.minutes,
        optimizer=arguments.optimizer,
        validate_minutes=arguments.validate_minutes,
        seed=arguments.seed,
        **given(arguments, "checkpoint_minutes"),
    )
    policy = replace(settings.training.policy, **given(arguments, "rate"))
    training = replace(
        settings.training,
        policy=policy,
        loop=loop,
        **given(arguments, "batch_size", "bptt", "dropout_scale"),
    )
    softmax = arguments.softmax or ("full" if arguments.tokenizer == "subword" else "adaptive")
    names = ("vocabulary_size", "min_count", "embedding_size", "hidden_size")
    changes = given(arguments, *names, direction="direction", n_layers="layers", tokenizer="tokenizer")
    return replace(settings, training=training, softmax=softmax, **changes)


def given(arguments: object, *names: str, **renamed: str) -> dict[str, Any]:
    """The options that were given, under the names that the settings have for them."""
    pairs = {**{name: name for name in names}, **renamed}
    found = {own: getattr(arguments, option) for own, option in pairs.items()}
    return {name: value for name, value in found.items() if value is not None}


def command_line() -> str:
    """How the user called us, for the model card."""
    return shlex.join(["unfreeze", *sys.argv[1:]])
