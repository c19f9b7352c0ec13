"""`unfreeze pretrain word2vec`: one vector a word, from unlabeled text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from unfreeze.commands.console import Console
from unfreeze.commands.inputs import need_one_process, need_positive
from unfreeze.commands.options import LearnsFromText, given, quoted, run_options
from unfreeze.errors import UserError

if TYPE_CHECKING:
    from unfreeze.pretraining.word2vec.settings import VectorSettings


@dataclass(kw_only=True)
class PretrainWord2vec(LearnsFromText):
    """Train word vectors on unlabeled text: skip-gram or CBOW.

    Wide windows (--window 30 --subsample 1e-4) bring together what is said of the same thing, narrow ones what can take
    the same place. Run the same command again after an interruption and it goes on.

    Example:
        unfreeze pretrain word2vec --corpus texts/ --size 100 --output my-vectors
    """

    architecture: Literal["skip-gram", "cbow"] = "skip-gram"
    """Each context word predicts the center (skip-gram), or their mean does (cbow)."""

    hierarchical: bool = False
    """Hierarchical softmax instead of negative sampling."""

    size: int = 100
    """Numbers in a vector."""

    window: int = 5
    """At most so many words to each side."""

    negatives: int = 5
    """Random words that each window is told from."""

    epochs: int = 5
    """Passes over the text."""

    rate: float | None = None
    """First rate (0.025; 0.05 for cbow)."""

    subsample: float = 1e-3
    """Words more frequent than this share are thinned out; 0 keeps all."""

    ngrams: tuple[int, int] | None = None
    """Make words of their character n-grams too, such as 3 6: unseen words get vectors."""

    buckets: int = 200_000
    """Rows that n-grams are hashed to."""

    phrases: int = 0
    """Passes that join words which stand together into phrases (new_york)."""

    phrase_threshold: float = 10.0
    """Higher gives fewer phrases."""

    vocabulary_size: int = 200_000
    """Words at most."""

    min_count: int = 5
    """Words that occur less often are left out."""

    minutes: float | None = None
    """Bound the training by time; the rate falls to zero by then."""

    workers: int | None = None
    """Threads; one a core by default. With 1, a seed gives the same bits."""

    checkpoint_minutes: float = 3.0
    """Save this often where the training stands: so much a kill or a power cut may cost."""

    seed: int = 0
    """Of everything random."""

    without_output: bool = False
    """Save the vectors alone: adapt will not work."""

    def __post_init__(self) -> None:
        need_one_process("pretrain word2vec")
        need_positive(
            self, "size", "window", "epochs", "rate", "minutes", "workers", "vocabulary_size", "min_count"
        )
        if self.ngrams is not None and not 1 <= self.ngrams[0] <= self.ngrams[1]:
            raise UserError(f"--ngrams takes two rising numbers from 1 on, such as 3 6, not {self.ngrams}")


def run(arguments: PretrainWord2vec, console: Console) -> None:
    """Train, and say where the vectors are."""
    from unfreeze.pretraining.word2vec.recipe import pretrain_word2vec

    _, metrics = pretrain_word2vec(
        arguments.text,
        make_settings(arguments),
        output=arguments.output,
        minutes=arguments.minutes,
        workers=arguments.workers,
        checkpoint_minutes=arguments.checkpoint_minutes,
        **run_options(arguments, console),
    )
    console.result({"output": str(arguments.output), **metrics})
    console.note(
        f"the vectors are in {arguments.output}: try `unfreeze neighbors {quoted(arguments.output)} WORD`, or "
        f"`unfreeze fit classifier --encoder {quoted(arguments.output)} --train FILE --output DIR`"
    )


def make_settings(arguments: PretrainWord2vec) -> VectorSettings:
    """What the command line says."""
    from unfreeze.pretraining.word2vec.settings import VectorSettings, Word2VecSettings

    names = (
        "architecture",
        "hierarchical",
        "size",
        "window",
        "negatives",
        "epochs",
        "subsample",
        "seed",
    )
    own = ("vocabulary_size", "min_count", "ngrams", "buckets", "phrases", "phrase_threshold")
    return VectorSettings(
        training=Word2VecSettings(**given(arguments, *names, learning_rate="rate")), **given(arguments, *own)
    )
