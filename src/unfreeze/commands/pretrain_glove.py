"""`unfreeze pretrain glove`: one vector a word, from counts of words that stand near one another."""

from __future__ import annotations

from dataclasses import dataclass

from unfreeze.commands.console import Console
from unfreeze.commands.inputs import need_one_process, need_positive
from unfreeze.commands.options import LearnsFromText, given, quoted, run_options


@dataclass(kw_only=True)
class PretrainGlove(LearnsFromText):
    """Train word vectors on unlabeled text: GloVe.

    Co-occurrences are counted once, on disk where they do not fit --memory-mb, and then learned from for many epochs.

    Example:
        unfreeze pretrain glove --corpus texts/ --size 100 --x-max 10 --output my-vectors
    """

    size: int = 100
    """Numbers in a vector."""

    window: int = 10
    """Words to each side that count as neighbors, by one over their distance."""

    epochs: int = 25
    """Passes over the counts."""

    rate: float = 0.05
    """First rate, of AdaGrad."""

    x_max: float = 100.0
    """Counts from here on weigh the same; 10 suits a small corpus."""

    alpha: float = 0.75
    """Smaller counts weigh (count / x-max)^alpha."""

    vocabulary_size: int = 200_000
    """Words at most."""

    min_count: int = 5
    """Words that occur less often are left out."""

    memory_mb: int = 1024
    """Memory while counting; the rest goes to disk."""

    workers: int | None = None
    """Threads; one a core by default. With 1, a seed gives the same bits."""

    seed: int = 0
    """Of everything random."""

    def __post_init__(self) -> None:
        need_one_process("pretrain glove")
        need_positive(self, "size", "window", "epochs", "rate", "x_max", "alpha", "memory_mb")
        need_positive(self, "workers", "vocabulary_size", "min_count")


def run(arguments: PretrainGlove, console: Console) -> None:
    """Train, and say where the vectors are."""
    from unfreeze.pretraining.glove.recipe import pretrain_glove
    from unfreeze.pretraining.glove.settings import GloveSettings

    names = "size window epochs x_max alpha vocabulary_size min_count memory_mb seed".split()
    _, metrics = pretrain_glove(
        arguments.text,
        GloveSettings(**given(arguments, *names, learning_rate="rate")),
        output=arguments.output,
        workers=arguments.workers,
        **run_options(arguments, console),
    )
    console.result({"output": str(arguments.output), **metrics})
    console.note(
        f"the vectors are in {arguments.output}: try `unfreeze neighbors {quoted(arguments.output)} WORD`, or "
        f"`unfreeze fit classifier --encoder {quoted(arguments.output)} --train FILE --output DIR`"
    )
