"""`unfreeze translate`: translations of texts, in order and streamed, and a plot of the attention."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from itertools import islice

from unfreeze.commands.console import Console
from unfreeze.commands.inputs import TRANSLATOR, need_kind
from unfreeze.commands.options import PlotOptions, TextArguments
from unfreeze.errors import UserError
from unfreeze.pretraining.translation.settings import Search

TEXTS_AT_ONCE = 256


@dataclass(kw_only=True)
class Translate(TextArguments, PlotOptions):
    """Translate texts with a model of `pretrain cove`, one translation per line.

    Texts are read and translated as a stream, in order; no translation depends on the other texts. With --json, each
    translation comes with its score, its tokens and how much of each token's attention each word of the text got.

    Example:
        unfreeze translate en-de "A man rides a bicycle."
        unfreeze translate en-de --file test.en --beams 1
        unfreeze translate en-de "A man rides a bicycle." --plot attention.png
    """

    search: Search = field(default_factory=Search)
    """Options of the search for a translation."""


def run(arguments: Translate, console: Console) -> None:
    """Print the translation of each text, and draw the attention if asked to."""
    arguments.need_picture()
    need_kind(
        arguments.model, TRANSLATOR, "translate", "a translator: make one with `unfreeze pretrain cove`"
    )
    texts = arguments.given_texts()
    first = list(islice(texts, TEXTS_AT_ONCE))
    if arguments.plot is not None and (len(first) != 1 or next(texts, None) is not None):
        raise UserError(
            f"--plot draws the attention of one text, and {'several' if first else 'no text'} were given"
        )
    from unfreeze.analysis.attention_plot import plot_attention
    from unfreeze.pretraining.translation.translator import Translator

    translator = Translator.from_pretrained(arguments.model)
    while first:
        # The attention of a long text takes much memory: only where it is shown.
        wanted = console.json or arguments.plot is not None
        found = translator.translate(first, **asdict(arguments.search), attention=wanted)
        for text, each in zip(first, found, strict=True):
            values = {
                "text": text,
                "translation": each.text,
                "score": each.score,
                "tokens": each.tokens,
                "source_words": each.source_words,
                "attention": each.attention,
            }
            console.result(values, " ".join(each.text.split()))
            if (
                arguments.plot is not None
            ):  # after the translation, which a text that is too long to be drawn has, too
                plot_attention(each.attention, each.source_words, each.tokens, arguments.plot)
                console.note(f"drawn: {arguments.plot}")
        first = list(islice(texts, TEXTS_AT_ONCE))
