"""`unfreeze generate`: go on writing from a prompt."""

from __future__ import annotations

from dataclasses import dataclass

from tyro.conf import Positional

from unfreeze.commands.console import Console
from unfreeze.commands.inputs import need_positive, standard_lines
from unfreeze.text.display import printable


@dataclass(kw_only=True)
class Generate:
    """Go on writing from a prompt, with a forward language model or an n-gram model.

    Example:
        unfreeze generate my-lm "The river" --tokens 60 --temperature 0.8 --top-k 40
    """

    model: Positional[str]
    """Language model: a folder, a released name, or owner/name on the hub."""

    prompt: Positional[str] = ""
    """How the text begins; - reads it from standard input."""

    tokens: int = 100
    """Tokens to write at most."""

    temperature: float = 1.0
    """Under 1 keeps closer to what is likely; 0 takes the likeliest token each time."""

    top_k: int = 0
    """Draw among so many of the likeliest tokens; 0 is all."""

    seed: int = 0
    """The same seed writes the same text."""

    stop_at_document_end: bool = True
    """End where the model would begin a new document."""

    def __post_init__(self) -> None:
        need_positive(self, "tokens")


def run(arguments: Generate, console: Console) -> None:
    """Print the text while it is generated; with --json, when it is complete."""
    from unfreeze.language_models.base import Generates, need
    from unfreeze.language_models.generate import stream_text
    from unfreeze.language_models.model import LanguageModel

    model = need(LanguageModel.from_pretrained(arguments.model), Generates, arguments.model)
    prompt = "".join(standard_lines()).rstrip("\n") if arguments.prompt == "-" else arguments.prompt
    pieces = stream_text(
        model,
        prompt,
        tokens=arguments.tokens,
        temperature=arguments.temperature,
        top_k=arguments.top_k,
        seed=arguments.seed,
        stop_at_document_end=arguments.stop_at_document_end,
    )
    if console.json:
        console.result({"text": prompt + "".join(pieces)})
    elif console.speaks:
        print(printable(prompt), end="", flush=True)
        for piece in pieces:
            print(printable(piece), end="", flush=True)
        print()
