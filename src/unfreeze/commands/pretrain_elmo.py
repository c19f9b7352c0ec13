"""`unfreeze pretrain elmo`: a character-aware bidirectional language model from unlabeled text."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from unfreeze.commands.console import Console
from unfreeze.commands.inputs import corpus_of, need_positive
from unfreeze.commands.pretrain_lm import command_line, given
from unfreeze.errors import UserError

if TYPE_CHECKING:
    from unfreeze.pretraining.bilm_stage import BilmSettings


@dataclass(kw_only=True)
class PretrainElmo:
    """Train ELMo on unlabeled text: a language model of both directions that reads words by their characters.

    Words keep their capitals; the text is split into sentences. Run the same command again after an interruption and it
    goes on. Options that are left out come from the preset.

    Example:
        unfreeze pretrain elmo --corpus texts/ --preset small --minutes 60 --output my-elmo
    """

    corpus: tuple[str, ...]
    """Text to learn from: files, folders, globs, hf:owner/name."""

    output: Path
    """Folder of the model to be."""

    validation: tuple[str, ...] = ()
    """Held-out text; without it one document in a hundred is held out."""

    preset: Literal["tiny", "small", "paper"] = "small"
    """Sizes and rates: tiny (seconds), small (an hour on a laptop), paper (the published model's; GPUs)."""

    minutes: float | None = None
    """Bound the training by time and fit the schedule to it."""

    epochs: int | None = None
    """Passes over the text (1 without --minutes)."""

    read: Literal["characters", "words"] = "characters"
    """Read a word by its spelling, or by its number in the vocabulary."""

    vocabulary_size: int | None = None
    """Words of the output at most; any word can be read."""

    min_count: int | None = None
    """Words that occur less often are unknown to the output."""

    softmax: Literal["adaptive", "sampled", "full"] | None = None
    """Output layer; a sampled one is measured in full."""

    samples: int | None = None
    """Words that a target is compared with in training, with a sampled softmax (8192)."""

    size: int | None = None
    """Width of a word's vector and of each direction's states."""

    cells: int | None = None
    """Cells of each LSTM."""

    layers: int | None = None
    """LSTM layers of each direction."""

    skip_connections: bool = True
    """Layers above the first add their input to their output."""

    dropout: float | None = None
    """Of what each layer reads."""

    batch_size: int | None = None
    """Streams of each direction that are read side by side."""

    bptt: int | None = None
    """Words of each stream in a step."""

    rate: float | None = None
    """Largest learning rate."""

    optimizer: Literal["adamw", "adagrad"] | None = None
    """AdamW, or Adagrad as in the paper."""

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
    """Save the encoder alone: score, fill and adapt will not work."""

    overwrite: bool = False
    """Replace a model of another run once this one is complete."""

    def __post_init__(self) -> None:
        need_positive(self, "epochs", "minutes", "rate", "batch_size", "bptt", "validate_minutes", "samples")
        need_positive(self, "vocabulary_size", "min_count", "size", "cells", "layers")
        if self.dropout is not None and not 0 <= self.dropout < 1:
            raise UserError(f"--dropout must be at least 0 and under 1, not {self.dropout}")


def run(arguments: PretrainElmo, console: Console) -> None:
    """Train, and say where the model is."""
    from unfreeze.pretraining.bilm_stage import pretrain_bilm

    figures = pretrain_bilm(
        corpus_of(arguments),
        arguments.output,
        make_settings(arguments),
        precision=arguments.precision,
        without_output=arguments.without_output,
        overwrite=arguments.overwrite,
        command=command_line(),
        progress=console.progress,
    )
    console.result({"output": str(arguments.output), **figures})
    console.note(
        f'the model is in {arguments.output}: try `unfreeze fill {arguments.output} "We sat on the ___ of the river."`'
    )


def make_settings(arguments: PretrainElmo) -> BilmSettings:
    """The preset with what the command line changes."""
    from dataclasses import replace

    from unfreeze.pretraining.bilm_stage import PRESETS

    settings = PRESETS[arguments.preset]()
    epochs = arguments.epochs or (settings.loop.epochs if arguments.minutes is None else None)
    loop = replace(
        settings.loop,
        epochs=epochs,
        minutes=arguments.minutes,
        validate_minutes=arguments.validate_minutes,
        seed=arguments.seed,
        **given(arguments, "optimizer", "checkpoint_minutes"),
    )
    policy = replace(settings.policy, **given(arguments, "rate"))
    names = ("vocabulary_size", "min_count", "softmax", "size", "cells", "dropout", "batch_size", "bptt")
    changes = given(arguments, *names, n_layers="layers", n_samples="samples")
    if arguments.read == "words":
        changes["spelling"] = None
    return replace(settings, policy=policy, loop=loop, skip_connections=arguments.skip_connections, **changes)
