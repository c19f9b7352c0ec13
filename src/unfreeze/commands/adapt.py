"""`unfreeze adapt`: a language model, or word vectors, go on learning on the text of their target."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Literal

from tyro.conf import Positional

from unfreeze.commands.console import Console
from unfreeze.commands.inputs import WORD_VECTORS, model_kind
from unfreeze.commands.options import TrainsOnText, given, quoted, run_options
from unfreeze.errors import UserError

if TYPE_CHECKING:
    from unfreeze.pretraining.settings import AdaptSettings

FOR_LANGUAGE_MODELS = (
    "discriminative gradual schedule vocabulary_size new_vocabulary batch_size bptt optimizer dropout_scale validation "
    "validate_minutes checkpoint_minutes precision"
)


@dataclass(kw_only=True)
class Adapt(TrainsOnText):
    """Go on training a language model, or word2vec's vectors, on the target's text.

    A language model takes the target's vocabulary, vectors keep their own and add the target's words. The text needs no labels: all that there is of the target's kind helps. Run the same command again after an
    interruption and it goes on.

    Example:
        unfreeze adapt my-lm --corpus reviews.txt --minutes 10 --output my-reviews-lm
    """

    encoder: Positional[str]
    """Language model or vectors to start from: a folder, a released name, or owner/name on the hub."""

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

    optimizer: Literal["adamw", "nt-asgd"] | None = None
    """AdamW, or averaged SGD with the non-monotone trigger."""

    dropout_scale: float | None = None
    """Factor on AWD-LSTM's dropouts."""


def run(arguments: Adapt, console: Console) -> None:
    """Train, and say where the model is."""
    from unfreeze.language_models.base import Adapts, lacking
    from unfreeze.language_models.bilm import BiLanguageModel
    from unfreeze.language_models.model import language_model_class
    from unfreeze.pretraining.lm import adapt_lm
    from unfreeze.registry import find_model
    from unfreeze.training.processes import together

    if model_kind(arguments.encoder) == WORD_VECTORS:
        return run_on_vectors(arguments, console)
    with together():
        found = language_model_class(find_model(arguments.encoder), arguments.encoder)
    if not issubclass(found, Adapts):
        raise lacking(found, Adapts, arguments.encoder)
    if issubclass(found, BiLanguageModel):
        return run_on_bilm(arguments, console)
    _, metrics = adapt_lm(
        arguments.encoder,
        arguments.text,
        make_settings(arguments),
        output=arguments.output,
        **run_options(arguments, console),
    )
    console.result({"output": str(arguments.output), **metrics})
    console.note(
        f"the model is in {arguments.output}: "
        f"try `unfreeze fit classifier --encoder {quoted(arguments.output)} --train FILE --output DIR`"
    )


def run_on_bilm(arguments: Adapt, console: Console) -> None:
    """ELMo goes on."""
    from dataclasses import replace

    from unfreeze.pretraining.elmo import adapt_elmo
    from unfreeze.pretraining.elmo_settings import AdaptElmoSettings

    if arguments.dropout_scale is not None:
        raise UserError(f"--dropout-scale is for AWD-LSTM: {arguments.encoder} is an ELMo")
    settings = AdaptElmoSettings(new_vocabulary=arguments.new_vocabulary)
    loop = replace(
        settings.loop,
        epochs=arguments.epochs or (None if arguments.minutes else 1),
        **given(arguments, "minutes", "optimizer", "validate_minutes", "checkpoint_minutes", "seed"),
    )
    policy = replace(
        settings.policy, **given(arguments, "discriminative", "gradual", "schedule", learning_rate="rate")
    )
    changes = given(arguments, "batch_size", "bptt", "vocabulary_size", "min_count")
    _, metrics = adapt_elmo(
        arguments.encoder,
        arguments.text,
        replace(settings, policy=policy, loop=loop, **changes),
        output=arguments.output,
        **run_options(arguments, console),
    )
    console.result({"output": str(arguments.output), **metrics})
    console.note(
        f"the model is in {arguments.output}: "
        f"try `unfreeze fit classifier --encoder {quoted(arguments.output)} --train FILE --output DIR`"
    )


def run_on_vectors(arguments: Adapt, console: Console) -> None:
    """Word2vec goes on."""
    from unfreeze.pretraining.word2vec.recipe import adapt_word_vectors

    usual = {field.name: field.default for field in fields(arguments)}
    for name in FOR_LANGUAGE_MODELS.split():
        if getattr(arguments, name) != usual[name]:
            raise UserError(
                f"--{name.replace('_', '-')} is for language models: {arguments.encoder} holds word vectors"
            )
    options = run_options(arguments, console)
    del options["precision"]
    _, metrics = adapt_word_vectors(
        arguments.encoder,
        arguments.text,
        output=arguments.output,
        **given(arguments, "epochs", "min_count", "seed", "minutes", learning_rate="rate"),
        **options,
    )
    console.result({"output": str(arguments.output), **metrics})
    console.note(
        f"the vectors are in {arguments.output}: try `unfreeze neighbors {quoted(arguments.output)} WORD`"
    )


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
        settings.training.policy,
        **given(arguments, "discriminative", "gradual", "schedule", learning_rate="rate"),
    )
    changes = given(arguments, "batch_size", "bptt", "dropout_scale")
    training = replace(settings.training, policy=policy, loop=loop, **changes)
    return replace(settings, training=training, **given(arguments, "vocabulary_size", "min_count"))
