"""`unfreeze adapt`: continue training a language model, or word vectors, on text of the target task."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from tyro.conf import Positional

from unfreeze.commands.console import Console
from unfreeze.commands.inputs import WORD_VECTORS, model_kind
from unfreeze.commands.options import (
    HeldOutOptions,
    LoopRunOptions,
    ThreadOptions,
    chosen_settings,
    quoted,
    run_options,
)
from unfreeze.errors import UserError, setting
from unfreeze.pretraining.elmo_settings import AdaptElmoSettings
from unfreeze.pretraining.settings import AdaptSettings

FOR_VECTORS = {"epochs", "learning_rate", "min_count", "seed", "minutes", "checkpoint_minutes"}


@dataclass(kw_only=True)
class Adapt(HeldOutOptions, LoopRunOptions, ThreadOptions):
    """Continue training a language model, or word2vec's vectors, on the target's text.

    The text needs no labels, and any text of the target's kind helps. A language model adopts the vocabulary of the text;
    word vectors keep their vocabulary and add new words. Rerun the command to resume an interrupted run.

    The defaults for an ELMo are --learning-rate 0.001, --batch-size 64, --bptt 20. The options for word vectors are --epochs,
    --learning-rate, --min-count (by default as in their training), --minutes, --checkpoint-minutes, --seed and --workers.

    Example:
        unfreeze adapt my-lm --corpus reviews.txt --minutes 10 --output my-reviews-lm
    """

    hidden: ClassVar = frozenset("mode betas keep_best variable_bptt alpha beta".split())

    encoder: Positional[str]
    """Language model or vectors to start from: a folder, a released name, or owner/name on the hub."""

    without_output: bool = False
    """Save only the encoder: score, fill, generate and adapt will not work."""

    settings: AdaptSettings = field(default_factory=AdaptSettings)
    """Options of the training."""

    given: dict[str, Any] = field(default_factory=dict, init=False)


def run(arguments: Adapt, console: Console) -> None:
    """Continue training, and print where the model was saved."""
    from unfreeze.language_models.base import Adapts, lacking
    from unfreeze.language_models.bilm import BiLanguageModel
    from unfreeze.language_models.model import language_model_class
    from unfreeze.registry import find_model
    from unfreeze.training.processes import together

    source, text, output, given = arguments.encoder, arguments.text, arguments.output, arguments.given
    options = run_options(arguments, console)
    if model_kind(source) == WORD_VECTORS:
        from unfreeze.pretraining.word2vec.recipe import adapt_word_vectors

        unsupported = [name for name in given if name not in FOR_VECTORS]
        unsupported += ["validation"] * bool(arguments.validation)
        unsupported += ["precision"] * (options.pop("precision") != "auto")
        if unsupported:
            raise UserError(f"{setting(unsupported[0])} is for language models: {source} holds word vectors")
        _, metrics = adapt_word_vectors(source, text, workers=arguments.workers, **given, **options)
    else:
        if arguments.workers is not None:
            raise UserError(f"{setting('workers')} is for word vectors: {source} is a language model")
        with together():
            found = language_model_class(find_model(source), source)
        if not issubclass(found, Adapts):
            raise lacking(found, Adapts, source)
        if issubclass(found, BiLanguageModel):
            from unfreeze.pretraining.elmo import adapt_elmo

            if "dropout_scale" in given:
                raise UserError(f"{setting('dropout_scale')} is for AWD-LSTM: {source} is an ELMo")
            _, metrics = adapt_elmo(source, text, chosen_settings(AdaptElmoSettings(), given), **options)
        else:
            from unfreeze.pretraining.lm import adapt_lm

            _, metrics = adapt_lm(source, text, chosen_settings(AdaptSettings(), given), **options)
    console.result({"output": str(output), **metrics})
    path = quoted(output)
    if model_kind(source) == WORD_VECTORS:
        console.note(f"the vectors are in {output}: try `unfreeze neighbors {path} WORD`")
    else:
        command = f"unfreeze fit classifier --encoder {path} --train FILE --output DIR"
        console.note(f"the model is in {output}: try `{command}`")
