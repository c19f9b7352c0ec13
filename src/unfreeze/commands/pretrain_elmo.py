"""`unfreeze pretrain elmo`: a character-aware bidirectional language model from unlabeled text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from unfreeze.commands.console import Console
from unfreeze.commands.inputs import need_positive
from unfreeze.commands.options import TrainsOnText, given, quoted, run_options
from unfreeze.errors import UserError

if TYPE_CHECKING:
    from unfreeze.pretraining.elmo_settings import ElmoSettings


@dataclass(kw_only=True)
class PretrainElmo(TrainsOnText):
    """Train ELMo on unlabeled text: a language model of both directions that reads words by their characters.

    Words keep their capitals; the text is split into sentences. Run the same command again after an interruption and it
    goes on. Options that are left out come from the preset.

    Example:
        unfreeze pretrain elmo --corpus texts/ --preset small --minutes 60 --output my-elmo
    """

    preset: Literal["tiny", "small", "paper"] = "small"
    """Sizes and rates: tiny (seconds), small (an hour on a laptop), paper (the published model's; GPUs)."""

    read: Literal["characters", "words"] = "characters"
    """Read a word by its spelling, or by its number in the vocabulary."""

    softmax: Literal["adaptive", "sampled", "full"] | None = None
    """Output layer; a sampled one is measured in full."""

    vocabulary_size: int | None = None
    """Words of the output at most; any word can be read."""

    min_count: int | None = None
    """Words that occur less often are unknown to the output."""

    batch_size: int | None = None
    """Streams of each direction that are read side by side."""

    bptt: int | None = None
    """Words of each stream in a step."""

    without_output: bool = False
    """Save the encoder alone: score, fill and adapt will not work."""

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

    optimizer: Literal["adamw", "adagrad"] | None = None
    """AdamW, or Adagrad as in the paper."""

    def __post_init__(self) -> None:
        super().__post_init__()
        need_positive(self, "samples", "size", "cells", "layers")
        if self.dropout is not None and not 0 <= self.dropout < 1:
            raise UserError(f"--dropout must be at least 0 and under 1, not {self.dropout}")


def run(arguments: PretrainElmo, console: Console) -> None:
    """Train, and say where the model is."""
    from unfreeze.pretraining.elmo import pretrain_elmo

    _, metrics = pretrain_elmo(
        arguments.text,
        make_settings(arguments),
        output=arguments.output,
        **run_options(arguments, console),
    )
    console.result({"output": str(arguments.output), **metrics})
    place = quoted(arguments.output)
    then = f'unfreeze fill {place} "We sat on the ___ of the river."'
    if arguments.without_output:
        then = f"unfreeze fit classifier --encoder {place} --train FILE --output DIR"
    console.note(f"the model is in {arguments.output}: try `{then}`")


def make_settings(arguments: PretrainElmo) -> ElmoSettings:
    """The preset with what the command line changes."""
    from dataclasses import replace

    from unfreeze.pretraining.elmo_settings import PRESETS

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
    policy = replace(settings.policy, **given(arguments, learning_rate="rate"))
    names = ("vocabulary_size", "min_count", "softmax", "dropout", "batch_size", "bptt")
    changes = given(
        arguments, *names, n_layers="layers", n_samples="samples", projection_size="size", hidden_size="cells"
    )
    if arguments.read == "words":
        changes["char_cnn"] = None
    return replace(settings, policy=policy, loop=loop, skip_connections=arguments.skip_connections, **changes)
