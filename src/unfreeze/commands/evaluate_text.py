"""`unfreeze evaluate` for language models: perplexity and bits per byte over the documents of a text."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from unfreeze.commands.console import Console
from unfreeze.commands.inputs import BILM, NGRAM
from unfreeze.text.display import counted

if TYPE_CHECKING:
    from unfreeze.commands.evaluate import Evaluate
    from unfreeze.language_models.perplexity import Perplexity
    from unfreeze.text.tokenizers import TextTokenizer


class Figures(Protocol):
    """What a measure of held-out text gives."""

    @property
    def mean(self) -> Perplexity:
        """Over all directions."""

    def figures(self) -> dict[str, float]:
        """All of them, by name."""


@dataclass(frozen=True)
class Measurer:
    """How a language model is measured."""

    tokenizer: TextTokenizer
    """Of the token store of the text."""
    measure: Callable[..., Figures]
    """(store, progress=) -> figures."""


def evaluate_language_model(arguments: Evaluate, console: Console, kind: str) -> None:
    """Measure, and say it in a line."""
    from unfreeze.text.corpus import stream_documents
    from unfreeze.text.token_store import TokenStore

    def documents() -> Iterator[str]:
        return stream_documents([arguments.data], **arguments.reading)

    measurer = make_measurer(arguments.model, kind, documents)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "tokens"
        store = TokenStore.build(documents(), measurer.tokenizer, place, progress=console.progress)
        found = measurer.measure(store, progress=console.progress)
        n_documents = store.n_documents
    values = found.figures()
    console.result({"documents": n_documents, **values}, readable(found, values, n_documents))


def readable(found: Figures, values: dict[str, float], n_documents: int) -> str:
    """The figures as a line for people."""
    mean = found.mean
    each = [
        f"{name.removeprefix('perplexity_')} {value:.2f}"
        for name, value in values.items()
        if name.startswith("perplexity_")
    ]
    directions = f" ({', '.join(each)})" if each else ""
    return (
        f"perplexity {mean.perplexity:.2f}{directions} ({mean.loss:.4f} nats a token), "
        f"{mean.bits_per_byte:.4f} bits per byte, "
        f"on {counted(mean.n_tokens, 'token')} of {counted(n_documents, 'document')}; "
        f"{100 * mean.unknown_share:.2f} % of the bytes in unknown words"
    )


def make_measurer(name: str, kind: str, documents: Callable[[], Iterator[str]]) -> Measurer:
    """What measures a language model of that kind on the documents."""
    if kind == NGRAM:
        from unfreeze.language_models import ngram_text
        from unfreeze.language_models.ngram import NgramModel

        counted = NgramModel.from_pretrained(name)
        return Measurer(counted.tokenizer, partial(ngram_text.evaluate_perplexity, counted))
    if kind == BILM:
        return _bilm_measurer(name, documents)
    from unfreeze.language_models import perplexity
    from unfreeze.language_models.awd_lstm import AwdLstmLanguageModel

    model = AwdLstmLanguageModel.from_pretrained(name)
    return Measurer(model.tokenizer, partial(perplexity.evaluate_perplexity, model))


def _bilm_measurer(name: str, documents: Callable[[], Iterator[str]]) -> Measurer:
    """Its token store names the words that the output lacks too: they are read by their spelling."""
    from unfreeze.language_models.bilm import BiLanguageModel
    from unfreeze.language_models.bilm_perplexity import BilmPerplexity, evaluate_bilm
    from unfreeze.language_models.surfaces import Surfaces
    from unfreeze.text.words import word_texts

    model = BiLanguageModel.from_pretrained(name)
    tokenizer = model.tokenizer.with_words(word for text in documents() for word in word_texts(text))

    def measure(store: Any, **options: Any) -> BilmPerplexity:
        return evaluate_bilm(model, Surfaces(model.encoder, tokenizer), store, **options)

    return Measurer(tokenizer, measure)
