"""`unfreeze adapt`: a language model, or word vectors, go on learning on the text of their target."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tyro.conf import Positional

from unfreeze.commands.console import Console
from unfreeze.commands.inputs import (
    BILM,
    WORD_VECTORS,
    corpus_of,
    model_kind,
    need_language_model,
    need_positive,
)
from unfreeze.commands.pretrain_lm import command_line, given
from unfreeze.errors import UserError

if TYPE_CHECKING:
    from unfreeze.pretraining.settings import AdaptSettings


@dataclass(kw_only=True)
class Adapt:
    """Go on training a language model, or word2vec's vectors, on the target's text.

    A language model takes the target's vocabulary, vectors keep their own and add the target's words. The text needs no labels: all that there is of the target's kind helps. Run the same command again after an
    interruption and it goes on.

    Example:
        unfreeze adapt my-lm --corpus reviews.txt --minutes 10 --output my-reviews-lm
    """

    encoder: Positional[str]
    """Language model or vectors to start from: a folder, a released name, or owner/name on the hub."""

    corpus: tuple[str, ...]
    """The target's text: files, folders, globs, hf:owner/name."""

    output: Path
    """Folder of the model to be."""

    validation: tuple[str, ...] = ()
    """Held-out text; without it one document in a hundred is held out."""

    minutes: float | None = None
    """Bound the training by time and fit the schedule to it."""

    epochs: int | None = None
    """Passes over the text (1 without --minutes; vectors: as many as they were trained with)."""

    rate: float | None = None
    """Largest learning rate, of the top (vectors: that of their training)."""

    discriminative: float | None = None
    """Each lower layer learns this many times slower (2.6); 1 turns it off."""

    gradual: bool = False
    """Thaw one layer group an epoch, instead of all at once."""

    schedule: Literal["slanted", "cosine", "constant"] | None = None
    """How the rate moves; slanted is slanted triangular."""

    new_vocabulary: bool = True
    """Take the target's words as the vocabulary; else keep the model's."""

    vocabulary_size: int | None = None
    """Words at most; as many as the model has by default."""

    min_count: int | None = None
    """Words that occur less often are unknown."""

    batch_size: int | None = None
    """Streams that are read side by side."""

    bptt: int | None = None
    """Tokens of each stream in a step, about."""

    optimizer: Literal["adamw", "nt-asgd"] | None = None
    """AdamW, or averaged SGD with the non-monotone trigger."""

    dropout_scale: float | None = None
    """Factor on AWD-LSTM's dropouts."""

    validate_minutes: float | None = None
    """Measure held-out perplexity this often."""

    checkpoint_minutes: float | None = None
    """Save this often where the training stands (3): so much a kill or a power cut may cost."""

    encoding: str = "utf-8"
    """Of plain text files."""

    text_column: str | None = None
    """Of tables and JSON lines."""

    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Number format; auto tries which is faster here."""

    seed: int = 0
    """The same seed gives the same model."""

    without_output: bool = False
    """Save the encoder alone: score, fill, generate and adapt will not work."""

    overwrite: bool = False
    """Replace a model of another run once this one is complete."""

    def __post_init__(self) -> None:
        need_positive(self, "epochs", "minutes", "rate", "batch_size", "bptt", "validate_minutes")
        need_positive(self, "vocabulary_size", "min_count")


def run(arguments: Adapt, console: Console) -> None:
    """Train, and say where the model is."""
    from unfreeze.pretraining.stages import adapt_language_model
    from unfreeze.training.processes import together

    if model_kind(arguments.encoder) == WORD_VECTORS:
        return run_on_vectors(arguments, console)
    with together():
        kind = need_language_model(arguments.encoder, "adapt", besides=(BILM,))
    if kind == BILM:
        return run_on_bilm(arguments, console)
    figures = adapt_language_model(
        arguments.encoder,
        corpus_of(arguments),
        arguments.output,
        make_settings(arguments),
        precision=arguments.precision,
        without_output=arguments.without_output,
        overwrite=arguments.overwrite,
        command=command_line(),
        progress=console.progress,
    )
    console.result({"output": str(arguments.output), **figures})
    console.note(
        f"the model is in {arguments.output}: "
        f"try `unfreeze fit classifier --encoder {arguments.output} --train FILE --output DIR`"
    )


def run_on_bilm(arguments: Adapt, console: Console) -> None:
    """ELMo goes on."""
    from dataclasses import replace

    from unfreeze.pretraining.bilm_stage import AdaptBilmSettings, adapt_bilm

    if arguments.dropout_scale is not None:
        raise UserError(f"--dropout-scale is for AWD-LSTM: {arguments.encoder} is an ELMo")
    settings = AdaptBilmSettings(new_vocabulary=arguments.new_vocabulary)
    loop = replace(
        settings.loop,
        epochs=arguments.epochs or (None if arguments.minutes else 1),
        **given(arguments, "minutes", "optimizer", "validate_minutes", "checkpoint_minutes", "seed"),
    )
    policy = replace(settings.policy, **given(arguments, "rate", "discriminative", "gradual", "schedule"))
    changes = given(arguments, "batch_size", "bptt", "vocabulary_size", "min_count")
    figures = adapt_bilm(
        arguments.encoder,
        corpus_of(arguments),
        arguments.output,
        replace(settings, policy=policy, loop=loop, **changes),
        precision=arguments.precision,
        without_output=arguments.without_output,
        overwrite=arguments.overwrite,
        command=command_line(),
        progress=console.progress,
    )
    console.result({"output": str(arguments.output), **figures})
    console.note(
        f"the model is in {arguments.output}: "
        f"try `unfreeze fit classifier --encoder {arguments.output} --train FILE --output DIR`"
    )


def run_on_vectors(arguments: Adapt, console: Console) -> None:
    """Word2vec goes on."""
    from unfreeze.pretraining.unlabeled import Corpus
    from unfreeze.pretraining.vector_stages import adapt_word_vectors

    for name in (
        "discriminative",
        "schedule",
        "vocabulary_size",
        "batch_size",
        "bptt",
        "optimizer",
        "dropout_scale",
    ):
        if getattr(arguments, name) is not None:
            raise UserError(
                f"--{name.replace('_', '-')} is for language models: {arguments.encoder} holds word vectors"
            )
    figures = adapt_word_vectors(
        arguments.encoder,
        Corpus(paths=arguments.corpus, encoding=arguments.encoding, text_column=arguments.text_column),
        arguments.output,
        **given(arguments, "epochs", "rate", "min_count", "seed", "minutes"),
        without_output=arguments.without_output,
        overwrite=arguments.overwrite,
        command=command_line(),
        progress=console.progress,
    )
    console.result({"output": str(arguments.output), **figures})
    console.note(f"the vectors are in {arguments.output}: try `unfreeze neighbors {arguments.output} WORD`")


def make_settings(arguments: Adapt) -> AdaptSettings:
    """The default settings with what the command line changes."""
    from dataclasses import replace

    from unfreeze.pretraining.settings import AdaptSettings

    settings = AdaptSettings(new_vocabulary=arguments.new_vocabulary)
    loop = replace(
        settings.training.loop,
        epochs=arguments.epochs or (None if arguments.minutes else 1),
        **given(arguments, "minutes", "optimizer", "validate_minutes", "checkpoint_minutes", "seed"),
    )
    policy = replace(
        settings.training.policy, **given(arguments, "rate", "discriminative", "gradual", "schedule")
    )
    changes = given(arguments, "batch_size", "bptt", "dropout_scale")
    training = replace(settings.training, policy=policy, loop=loop, **changes)
    return replace(settings, training=training, **given(arguments, "vocabulary_size", "min_count"))
