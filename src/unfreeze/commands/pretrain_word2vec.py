"""`unfreeze pretrain word2vec`: one vector per word, from unlabeled text."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from unfreeze.checked import need_positive
from unfreeze.commands.console import Console
from unfreeze.commands.inputs import need_one_process
from unfreeze.commands.options import CorpusOptions, ThreadOptions, quoted, run_options
from unfreeze.pretraining.word2vec.settings import VectorSettings


@dataclass(kw_only=True)
class PretrainWord2vec(CorpusOptions, ThreadOptions):
    """Train word vectors on unlabeled text: skip-gram or CBOW.

    Wide windows (--window 30 --subsample 1e-4) bring words of the same topic together, narrow ones words that can replace
    each other. Rerun the command to resume an interrupted run.

    Example:
        unfreeze pretrain word2vec --corpus texts/ --size 100 --output my-vectors
    """

    minutes: float | None = None
    """Time limit in minutes; the learning rate falls to zero by then."""

    checkpoint_minutes: float = 3.0
    """Minutes between checkpoints, the most work an interruption can lose."""

    without_output: bool = False
    """Save only the vectors: adapt will not work."""

    settings: VectorSettings = field(default_factory=VectorSettings)
    """Options of the vectors."""

    def __post_init__(self) -> None:
        need_one_process("pretrain word2vec")
        super().__post_init__()
        need_positive(self, "minutes")


def run(arguments: PretrainWord2vec, console: Console) -> None:
    """Train, and say where the vectors are."""
    from unfreeze.pretraining.word2vec.recipe import pretrain_word2vec

    _, metrics = pretrain_word2vec(
        arguments.text,
        arguments.settings,
        minutes=arguments.minutes,
        workers=arguments.workers,
        checkpoint_minutes=arguments.checkpoint_minutes,
        **run_options(arguments, console),
    )
    console.result({"output": str(arguments.output), **metrics})
    say_where_vectors_are(arguments.output, console)


def say_where_vectors_are(output: Path, console: Console) -> None:
    """Print where the vectors were saved, and a command to try."""
    console.note(
        f"the vectors are in {output}: try `unfreeze neighbors {quoted(output)} WORD`, or "
        f"`unfreeze fit classifier --encoder {quoted(output)} --train FILE --output DIR`"
    )
