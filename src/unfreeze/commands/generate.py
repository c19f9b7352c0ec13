"""`unfreeze generate`: continue a prompt."""

from __future__ import annotations

from dataclasses import dataclass, field

from tyro.conf import Positional

from unfreeze.commands.console import Console
from unfreeze.datasets.lines import standard_lines
from unfreeze.display import printable
from unfreeze.language_models.settings import SamplingSettings


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

    settings: SamplingSettings = field(default_factory=SamplingSettings)
    """How tokens are drawn."""


def run(arguments: Generate, console: Console) -> None:
    """Print the text while it is generated; with --json, when it is complete."""
    from unfreeze.language_models.base import Generates, need
    from unfreeze.language_models.generate import stream_text
    from unfreeze.language_models.model import LanguageModel

    model = need(LanguageModel.from_pretrained(arguments.model), Generates, arguments.model)
    prompt = "".join(standard_lines()).rstrip("\n") if arguments.prompt == "-" else arguments.prompt
    pieces = stream_text(model, prompt, arguments.settings)
    if console.json:
        console.result({"text": prompt + "".join(pieces)})
    elif console.speaks:
        print(printable(prompt), end="", flush=True)
        for piece in pieces:
            print(printable(piece), end="", flush=True)
        print()
