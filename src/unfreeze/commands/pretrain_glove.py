"""`unfreeze pretrain glove`: one vector per word, from counts of words that occur near each other."""

from __future__ import annotations

from dataclasses import dataclass, field

from unfreeze.commands.console import Console
from unfreeze.commands.inputs import need_one_process
from unfreeze.commands.options import CorpusOptions, ThreadOptions, run_options
from unfreeze.commands.pretrain_word2vec import say_where_vectors_are
from unfreeze.pretraining.glove.settings import GloveSettings


@dataclass(kw_only=True)
class PretrainGlove(CorpusOptions, ThreadOptions):
    """Train word vectors on unlabeled text: GloVe.

    Co-occurrences are counted once, on disk where they do not fit --memory-mb; many epochs of training follow.

    Example:
        unfreeze pretrain glove --corpus texts/ --size 100 --x-max 10 --output my-vectors
    """

    settings: GloveSettings = field(default_factory=GloveSettings)
    """Options of the vectors."""

    def __post_init__(self) -> None:
        need_one_process("pretrain glove")
        super().__post_init__()


def run(arguments: PretrainGlove, console: Console) -> None:
    """Train, and say where the vectors are."""
    from unfreeze.pretraining.glove.recipe import pretrain_glove

    _, metrics = pretrain_glove(
        arguments.text, arguments.settings, workers=arguments.workers, **run_options(arguments, console)
    )
    console.result({"output": str(arguments.output), **metrics})
    say_where_vectors_are(arguments.output, console)
