"""`unfreeze pretrain ngram`: a language model of counts, the baseline of all others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from unfreeze.commands.console import Console
from unfreeze.commands.inputs import need_one_process, need_positive
from unfreeze.commands.options import HoldsOutText, given, quoted, run_options
from unfreeze.errors import UserError


@dataclass(kw_only=True)
class PretrainNgram(HoldsOutText):
    """Count n-grams of unlabeled text: a language model by interpolated modified Kneser-Ney.

    Example:
        unfreeze pretrain ngram --corpus texts/ --order 3 --output my-trigrams
    """

    order: int = 3
    """Words of the longest n-grams, from 1 to 6; 2 is a bigram model."""

    tokenizer: Literal["word", "subword"] = "word"
    """Vocabulary of words, or of pieces of words (for any language)."""

    vocabulary_size: int | None = None
    """Entries of the vocabulary at most (60,000 words or 16,000 pieces)."""

    min_count: int | None = None
    """Words that occur less often (3) are unknown."""

    def __post_init__(self) -> None:
        need_one_process("pretrain ngram")
        need_positive(self, "vocabulary_size", "min_count")
        if not 1 <= self.order <= 6:
            raise UserError(f"--order must be from 1 to 6, not {self.order}")


def run(arguments: PretrainNgram, console: Console) -> None:
    """Count, and say where the model is."""
    from unfreeze.pretraining.ngram import pretrain_ngram
    from unfreeze.pretraining.settings import NgramSettings

    _, metrics = pretrain_ngram(
        arguments.text,
        NgramSettings(
            order=arguments.order,
            tokenizer=arguments.tokenizer,
            **given(arguments, "vocabulary_size", "min_count"),
        ),
        output=arguments.output,
        **run_options(arguments, console),
    )
    console.result({"output": str(arguments.output), **metrics})
    console.note(
        f'the model is in {arguments.output}: try `unfreeze score {quoted(arguments.output)} "a text"`'
    )
