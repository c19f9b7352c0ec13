"""`unfreeze pretrain lm`: a language model from unlabeled text."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from unfreeze.commands.console import Console
from unfreeze.commands.inputs import need_positive
from unfreeze.commands.options import TrainsOnText, given, quoted, run_options
from unfreeze.errors import UserError

if TYPE_CHECKING:
    from unfreeze.pretraining.settings import PretrainSettings


@dataclass(kw_only=True)
class PretrainLm(TrainsOnText):
    """Train a language model (AWD-LSTM, or QRNNs in its place) on unlabeled text.

    Run the same command again after an interruption and it goes on. Options that are left out come from the preset.

    Example:
        unfreeze pretrain lm --corpus texts/ --preset tiny --minutes 5 --output my-lm
    """

    preset: Literal["tiny", "small", "paper"] = "small"
    """Sizes and rates: tiny (seconds), small (an hour on a laptop), paper (a GPU)."""

    direction: Literal["forward", "backward", "both"] = "forward"
    """Reading direction; both trains two models over one embedding."""

    tokenizer: Literal["word", "subword"] = "word"
    """Vocabulary of words, or of pieces of words (for any language)."""

    softmax: Literal["adaptive", "full"] | None = None
    """Output layer; adaptive is much faster and needs words (full for subwords)."""

    word_vectors: Path | None = None
    """Start the embedding from these vectors (word2vec or GloVe format)."""

    embedding_size: int | None = None
    """Width of the embedding and the top layer."""

    hidden_size: int | None = None
    """Width of the layers between."""

    layers: int | None = None
    """Number of recurrent layers."""

    cell: Literal["lstm", "qrnn"] | None = None
    """Recurrent layer, by default the preset's: lstm, or qrnn, which trains faster (docs/results.md)."""

    windows: tuple[int, ...] | None = None
    """Window of each QRNN layer, bottom to top: how many inputs a step sees (default: 2; further layers 1)."""

    zoneout: float | None = None
    """Probability of a QRNN's forget gate to be 1 in training (default: 0)."""

    optimizer: Literal["adamw", "nt-asgd"] = "adamw"
    """AdamW, or averaged SGD with the non-monotone trigger."""

    dropout_scale: float | None = None
    """Factor on AWD-LSTM's dropouts."""

    def __post_init__(self) -> None:
        super().__post_init__()
        need_positive(self, "embedding_size", "hidden_size", "layers")


def run(arguments: PretrainLm, console: Console) -> None:
    """Train, and say where the model is."""
    from unfreeze.pretraining.lm import pretrain_lm

    _, metrics = pretrain_lm(
        arguments.text,
        make_settings(arguments),
        output=arguments.output,
        word_vectors=arguments.word_vectors,
        **run_options(arguments, console),
    )
    console.result({"output": str(arguments.output), **metrics})
    console.note(f"the model is in {arguments.output}: try `{next_command(arguments)}`")


def next_command(arguments: PretrainLm) -> str:
    """What the model can do: an encoder alone writes no text, and neither does a model that reads backward only."""
    place = quoted(arguments.output)
    if arguments.without_output:
        return f"unfreeze fit classifier --encoder {place} --train FILE --output DIR"
    if arguments.direction == "backward":
        return f'unfreeze score {place} "a text"'
    return f'unfreeze generate {place} "The"'


def refuse_qrnn_options(arguments: PretrainLm) -> None:
    """Raise the UserError that names an option which LSTMs do not have."""
    if arguments.windows is not None:
        given_windows = " ".join(map(str, arguments.windows))
        raise UserError(f"--windows {given_windows} is for QRNNs: add --cell qrnn, or leave it out")
    if arguments.zoneout is not None:
        raise UserError(f"--zoneout {arguments.zoneout} is for QRNNs: add --cell qrnn, or leave it out")


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
    policy = replace(settings.training.policy, **given(arguments, learning_rate="rate"))
    training = replace(
        settings.training,
        policy=policy,
        loop=loop,
        **given(arguments, "batch_size", "bptt", "dropout_scale"),
    )
    softmax = arguments.softmax or ("full" if arguments.tokenizer == "subword" else "adaptive")
    if (arguments.cell or settings.cell) != "qrnn":
        refuse_qrnn_options(arguments)
    names = ("vocabulary_size", "min_count", "embedding_size", "hidden_size", "cell", "windows", "zoneout")
    changes = given(arguments, *names, direction="direction", n_layers="layers", tokenizer="tokenizer")
    return replace(settings, training=training, softmax=softmax, **changes)
