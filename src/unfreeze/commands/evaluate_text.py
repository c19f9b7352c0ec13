"""`unfreeze evaluate` for language models: perplexity and bits per byte over the documents of a text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from unfreeze.commands.console import Console
from unfreeze.text.display import counted

if TYPE_CHECKING:
    from unfreeze.commands.evaluate import Evaluate
    from unfreeze.language_models.perplexity import Perplexity


def evaluate_language_model(arguments: Evaluate, console: Console) -> None:
    """Measure the model and print one line."""
    from unfreeze.language_models.model import LanguageModel
    from unfreeze.language_models.perplexity import measure_documents
    from unfreeze.text.corpus import stream_documents

    def documents() -> Iterator[str]:
        return stream_documents([arguments.data], **arguments.reading)

    model = LanguageModel.from_pretrained(arguments.model)
    found = measure_documents(model, documents, progress=console.progress)
    console.result({"documents": found.n_documents, **found.metrics()}, readable(found))


def readable(found: Perplexity) -> str:
    """The metrics as a line for people."""
    each = [f"{name} {own.perplexity:.2f}" for name, own in found.directions.items()]
    directions = f" ({', '.join(each)})" if each else ""
    return (
        f"perplexity {found.perplexity:.2f}{directions} ({found.loss:.4f} nats a token), "
        f"{found.bits_per_byte:.4f} bits per byte, "
        f"on {counted(found.n_tokens, 'token')} of {counted(found.n_documents, 'document')}; "
        f"{100 * found.unknown_share:.2f} % of the bytes in unknown words"
    )
