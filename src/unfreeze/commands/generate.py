"""`unfreeze generate`: continue a prompt."""

from __future__ import annotations

from dataclasses import dataclass

from tyro.conf import Positional

from unfreeze.commands.console import Console
from unfreeze.commands.inputs import need_positive, standard_lines
from unfreeze.text.display import printable


@dataclass(kw_only=True)
class Generate:
    """Continue a prompt with a forward language model or an n-gram model.

    Example:
        unfreeze generate my-lm "The river" --tokens 60 --temperature 0.8 --top-k 40
    """

    model: Positional[str]
    """Language model: a folder, a released name, or owner/name on the hub."""

    prompt: Positional[str] = ""
    """Beginning of the text; - reads it from standard input."""

    tokens: int = 100
    """Maximum number of tokens to draw."""

    temperature: float = 1.0
    """Below 1 favors probable tokens; 0 always takes the most probable one."""

    top_k: int = 0
    """Draw from this number of most probable tokens; 0 draws from all."""

    seed: int = 0
    """Seed of the random draws."""

    stop_at_document_end: bool = True
    """Stop where the model begins a new document; otherwise that is never drawn."""

    def __post_init__(self) -> None:
        need_positive(self, "tokens")


def run(arguments: Generate, console: Console) -> None:
    """Print the text while it is generated; with --json, when it is complete."""
    from unfreeze.language_models.base import Generates, need
    from unfreeze.language_models.generate import stream_text
    from unfreeze.language_models.model import LanguageModel
    from unfreeze.language_models.settings import SamplingSettings

    model = need(LanguageModel.from_pretrained(arguments.model), Generates, arguments.model)
    prompt = "".join(standard_lines()).rstrip("\n") if arguments.prompt == "-" else arguments.prompt
    settings = SamplingSettings(
        tokens=arguments.tokens,
        temperature=arguments.temperature,
        top_k=arguments.top_k,
        seed=arguments.seed,
        stop_at_document_end=arguments.stop_at_document_end,
    )
    pieces = stream_text(model, prompt, settings)
    if console.json:
        console.result({"text": prompt + "".join(pieces)})
    elif console.speaks:
        print(printable(prompt), end="", flush=True)
        for piece in pieces:
            print(printable(piece), end="", flush=True)
        print()
