"""`unfreeze pretrain elmo`: a bidirectional language model that reads characters, from unlabeled text."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

from unfreeze.commands.console import Console
from unfreeze.commands.options import HeldOutOptions, LoopRunOptions, chosen_settings, quoted, run_options
from unfreeze.pretraining.elmo_settings import PRESETS, ElmoSettings, small


@dataclass(kw_only=True)
class PretrainElmo(HeldOutOptions, LoopRunOptions):
    """Train ELMo on unlabeled text: a bidirectional language model that reads words by their characters.

    Words keep their capitals; the text is split into sentences. Rerun the command to resume an interrupted run. Options
    that are left out come from the preset; the help shows the values of small.

    Example:
        unfreeze pretrain elmo --corpus texts/ --preset small --minutes 60 --output my-elmo
    """

    hidden: ClassVar = frozenset("mode discriminative gradual betas keep_best".split())

    preset: Literal["tiny", "small", "paper"] = "small"
    """Sizes and training: tiny (trains in seconds), small (an hour on a laptop) or paper (the published model's; GPUs)."""

    read: Literal["characters", "words"] = "characters"
    """Read words by their characters, or by their ids in the vocabulary."""

    without_output: bool = False
    """Save only the encoder: score, fill and adapt will not work."""

    settings: ElmoSettings = field(default_factory=small)
    """Options of the model."""

    given: dict[str, Any] = field(default_factory=dict, init=False)


def run(arguments: PretrainElmo, console: Console) -> None:
    """Train, and say where the model is."""
    from unfreeze.pretraining.elmo import pretrain_elmo

    settings = chosen_settings(PRESETS[arguments.preset](), arguments.given)
    if arguments.read == "words":
        settings = replace(settings, char_cnn=None)
    _, metrics = pretrain_elmo(arguments.text, settings, **run_options(arguments, console))
    console.result({"output": str(arguments.output), **metrics})
    place = quoted(arguments.output)
    then = f'unfreeze fill {place} "We sat on the ___ of the river."'
    if arguments.without_output:
        then = f"unfreeze fit classifier --encoder {place} --train FILE --output DIR"
    console.note(f"the model is in {arguments.output}: try `{then}`")
