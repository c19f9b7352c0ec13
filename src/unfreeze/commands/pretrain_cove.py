"""`unfreeze pretrain cove`: a translator, and with it the encoder CoVe, from pairs of texts."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from unfreeze.checked import need_positive
from unfreeze.commands.console import Console
from unfreeze.commands.options import LoopRunOptions, ReadsPairs, chosen_settings, quoted, run_options
from unfreeze.display import counted
from unfreeze.pretraining.translation.settings import PRESETS, TranslationSettings, small
from unfreeze.text.pairs import MOST_WORDS


@dataclass(kw_only=True)
class PretrainCove(ReadsPairs, LoopRunOptions):
    """Train a translator on texts and their translations; its encoder is CoVe, which tasks can start from.

    Pairs come from a table with a column for each side, or from two text files whose lines belong together. Rerun the
    command to resume an interrupted run. Options that are left out come from the preset; the help shows the values of small.

    Example:
        unfreeze pretrain cove --pairs train.en train.de --validation-pairs val.en val.de --output en-de
        unfreeze pretrain cove --pairs pairs.tsv --word-vectors glove.txt --minutes 60 --output my-cove
    """

    hidden: ClassVar = frozenset("mode discriminative gradual betas".split())

    pairs: tuple[str, ...]
    """Pairs to learn from: tables, or two files with a text per line; several of these are joined."""

    validation_pairs: tuple[str, ...] = ()
    """Held-out pairs, given in the same way (default: one pair in fifty, at most 1,000)."""

    max_words: int = MOST_WORDS
    """Skip pairs that have more words on a side."""

    preset: Literal["tiny", "small", "paper"] = "small"
    """Sizes and training: tiny (trains in seconds), small (an hour on two cores) or paper (the published sizes and recipe)."""

    word_vectors: Path | None = None
    """Vectors of the source's words (a file of word2vec, GloVe or fastText, or a folder); they are not trained by default."""

    settings: TranslationSettings = field(default_factory=small)
    """Options of the model."""

    given: dict[str, Any] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        need_positive(self, "max_words")


def run(arguments: PretrainCove, console: Console) -> None:
    """Train, and say where the model is."""
    from unfreeze.pretraining.translation.recipe import pretrain_cove

    settings = chosen_settings(PRESETS[arguments.preset](), arguments.given)
    pairs = arguments.read_pairs(arguments.pairs, arguments.max_words)
    validation = None
    if arguments.validation_pairs:
        validation = arguments.read_pairs(arguments.validation_pairs, arguments.max_words)
    _, metrics = pretrain_cove(
        pairs,
        settings,
        validation=validation,
        word_vectors=arguments.word_vectors,
        **run_options(arguments, console),
    )
    values = {"output": str(arguments.output), **metrics}
    if validation is not None:
        learned = set(pairs.sources)
        duplicates = sum(source in learned for source in validation.sources)
        values["duplicates"] = duplicates
        console.note(
            f"validated on {counted(len(validation), 'pair')} of {validation.source}; {duplicates} of their texts "
            f"{'is' if duplicates == 1 else 'are'} in the training pairs, too"
        )
    console.result(values)
    place = quoted(arguments.output)
    console.note(f'the translator is in {arguments.output}: try `unfreeze translate {place} "a text"`')
