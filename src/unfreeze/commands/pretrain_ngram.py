"""`unfreeze pretrain ngram`: a language model of counts, the baseline of all others."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from unfreeze.commands.console import Console
from unfreeze.commands.inputs import corpus_of, need_one_process, need_positive
from unfreeze.commands.pretrain_lm import command_line, given
from unfreeze.errors import UserError


@dataclass(kw_only=True)
class PretrainNgram:
    """Count n-grams of unlabeled text: a language model by interpolated modified Kneser-Ney.

    Example:
        unfreeze pretrain ngram --corpus texts/ --order 3 --output my-trigrams
    """

    corpus: tuple[str, ...]
    """Text to learn from: files, folders, globs, hf:owner/name."""

    output: Path
    """Folder of the model to be."""

    order: int = 3
    """Words of the longest n-grams, from 1 to 6; 2 is a bigram model."""

    validation: tuple[str, ...] = ()
    """Held-out text; without it one document in a hundred is held out."""

    tokenizer: Literal["word", "subword"] = "word"
    """Vocabulary of words, or of pieces of words (for any language)."""

    vocabulary_size: int | None = None
    """Entries of the vocabulary at most (60,000 words or 16,000 pieces)."""

    min_count: int | None = None
    """Words that occur less often (3) are unknown."""

    encoding: str = "utf-8"
    """Of plain text files."""

    text_column: str | None = None
    """Of tables and JSON lines."""

    overwrite: bool = False
    """Replace a model of another run once this one is complete."""

    def __post_init__(self) -> None:
        need_one_process("pretrain ngram")
        need_positive(self, "vocabulary_size", "min_count")
        if not 1 <= self.order <= 6:
            raise UserError(f"--order must be from 1 to 6, not {self.order}")


def run(arguments: PretrainNgram, console: Console) -> None:
    """Count, and say where the model is."""
    from unfreeze.pretraining.ngram_stage import NgramSettings, pretrain_ngram

    figures = pretrain_ngram(
        corpus_of(arguments),
        arguments.output,
        NgramSettings(
            order=arguments.order,
            tokenizer=arguments.tokenizer,
            **given(arguments, "vocabulary_size", "min_count"),
        ),
        overwrite=arguments.overwrite,
        command=command_line(),
        progress=console.progress,
    )
    console.result({"output": str(arguments.output), **figures})
    console.note(f'the model is in {arguments.output}: try `unfreeze score {arguments.output} "a text"`')
