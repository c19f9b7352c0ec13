"""`unfreeze pretrain ngram`: a language model of counts, the baseline of all others."""

from __future__ import annotations

from dataclasses import dataclass, field

from unfreeze.commands.console import Console
from unfreeze.commands.inputs import need_one_process
from unfreeze.commands.options import HeldOutOptions, RunOptions, quoted, run_options
from unfreeze.pretraining.settings import NgramSettings


@dataclass(kw_only=True)
class PretrainNgram(HeldOutOptions, RunOptions):
    """Count the n-grams of unlabeled text: a language model with interpolated modified Kneser-Ney smoothing.

    Example:
        unfreeze pretrain ngram --corpus texts/ --order 3 --output my-trigrams
    """

    settings: NgramSettings = field(default_factory=NgramSettings)
    """Options of the model."""

    def __post_init__(self) -> None:
        need_one_process("pretrain ngram")


def run(arguments: PretrainNgram, console: Console) -> None:
    """Count, and say where the model is."""
    from unfreeze.pretraining.ngram import pretrain_ngram

    _, metrics = pretrain_ngram(arguments.text, arguments.settings, **run_options(arguments, console))
    console.result({"output": str(arguments.output), **metrics})
    console.note(
        f'the model is in {arguments.output}: try `unfreeze score {quoted(arguments.output)} "a text"`'
    )
