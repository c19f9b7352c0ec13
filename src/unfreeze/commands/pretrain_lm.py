"""`unfreeze pretrain lm`: a language model from unlabeled text."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from unfreeze.commands.console import Console
from unfreeze.commands.options import HeldOutOptions, LoopRunOptions, chosen_settings, quoted, run_options
from unfreeze.errors import UserError, setting
from unfreeze.pretraining.settings import PRESETS, PretrainSettings, small


@dataclass(kw_only=True)
class PretrainLm(HeldOutOptions, LoopRunOptions):
    """Train a language model (AWD-LSTM, or QRNNs instead of its LSTMs) on unlabeled text.

    Rerun the command to resume an interrupted run. Options that are left out come from the preset; the help shows the
    values of small.

    Example:
        unfreeze pretrain lm --corpus texts/ --preset tiny --minutes 5 --output my-lm
    """

    hidden: ClassVar = frozenset(
        "mode discriminative gradual betas keep_best variable_bptt alpha beta share_embedding".split()
    )

    preset: Literal["tiny", "small", "paper"] = "small"
    """Sizes and training: tiny (trains in seconds), small (an hour on a laptop) or paper (needs a GPU)."""

    word_vectors: Path | None = None
    """Start the embedding from these vectors (word2vec or GloVe format)."""

    without_output: bool = False
    """Save only the encoder: score, fill, generate and adapt will not work."""

    settings: PretrainSettings = field(default_factory=small)
    """Options of the model."""

    given: dict[str, Any] = field(default_factory=dict, init=False)


def run(arguments: PretrainLm, console: Console) -> None:
    """Train, and say where the model is."""
    from unfreeze.pretraining.lm import pretrain_lm

    settings = chosen_settings(PRESETS[arguments.preset](), arguments.given)
    for name in ("windows", "zoneout"):
        if name in arguments.given and settings.cell != "qrnn":
            raise UserError(f"{setting(name)} is for QRNNs: add {setting('cell', 'qrnn')}, or leave it out")
    _, metrics = pretrain_lm(
        arguments.text, settings, word_vectors=arguments.word_vectors, **run_options(arguments, console)
    )
    console.result({"output": str(arguments.output), **metrics})
    then = next_command(arguments.output, settings.direction, without_output=arguments.without_output)
    console.note(f"the model is in {arguments.output}: try `{then}`")


def next_command(output: Path, direction: str, *, without_output: bool) -> str:
    """A command to try next; an encoder by itself predicts no words, and a backward model cannot continue a text."""
    place = quoted(output)
    if without_output:
        return f"unfreeze fit classifier --encoder {place} --train FILE --output DIR"
    return (
        f'unfreeze score {place} "a text"' if direction == "backward" else f'unfreeze generate {place} "The"'
    )
